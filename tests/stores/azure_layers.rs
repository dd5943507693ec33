//! The store under its layers: its requests are counted one by one, and what fails for a moment is tried again.

use std::{sync::Arc, time::Duration};

use secretref::{
    api::Provider,
    audit::Audit,
    stores::{
        Failure,
        layers::{Access, Cache, Freshness, Identity, Layers},
        settings,
    },
    telemetry::Metrics,
};

use crate::{
    azure::{store, vault},
    env::{error, eventually, key},
    fakes::{FakeKeyVault, Role},
};

const ACCESS: Access<'static> =
    Access { requester: "SecretReference/acme/a", trace_id: "0", freshness: Freshness::PastCache };

/// With so many requests at once, and then one every thousand seconds.
fn layers(fake: &FakeKeyVault, burst: u32) -> Layers {
    let provider = Provider { azure_key_vault: Some(crate::azure::settings(fake, None)), ..Provider::default() };
    let mut settings = settings(&provider, None, None, None);
    (settings.requests_per_second, settings.burst) = (0.001, burst);
    let metrics = Arc::new(Metrics::new());
    let identity = Identity {
        kind: "ClusterSecretStore",
        namespace: None,
        name: "platform".into(),
        uid: "1".into(),
        generation: 1,
        provider: "azureKeyVault",
    };
    let cache = Arc::new(Cache::new(1 << 20, metrics.clone()));
    Layers::new(identity, store(fake), settings, cache, metrics, Arc::new(Audit::off()), "operator".into())
}

#[tokio::test]
async fn every_page_of_a_list_counts_and_a_login_does_not() {
    let fake = vault(Role::User).await;
    for n in 0..120 {
        fake.put(&format!("acme--{n}"), "canary-1");
    }
    // One request without a token, which the vault sends back, and two of five pages: the third waits for its turn.
    let few = layers(&fake, 3);
    {
        let mut list = std::pin::pin!(few.list("acme--", &ACCESS));
        let two_pages = eventually("two pages", || async { fake.count("list") >= 2 });
        tokio::select! {
            biased;
            () = two_pages => {}
            ended = &mut list => panic!("{ended:?}"),
        }
        let ended = tokio::time::timeout(Duration::from_secs(2), list).await;
        assert!(ended.is_err(), "{ended:?}");
    }
    assert_eq!((fake.count("challenge"), fake.count("list"), fake.count("token")), (1, 2, 1));
    let enough = layers(&fake, 6);
    assert_eq!(enough.list("acme--", &ACCESS).await.unwrap().len(), 120);
}

#[tokio::test]
async fn a_moment_of_trouble_is_not_noticed_and_a_throttled_vault_is_left_alone() {
    let fake = vault(Role::User).await;
    fake.put("acme--a", "canary-1");
    let layers = layers(&fake, 100);
    fake.fail(1, 503, None);
    assert!(layers.get(&key("acme--a"), None, &ACCESS).await.unwrap().is_some());
    assert_eq!((fake.count("get"), fake.count("token")), (2, 1));
    fake.fail(1, 429, Some("30"));
    let throttled = layers.get(&key("acme--a"), None, &ACCESS).await;
    error(throttled, Failure::RateLimited(Some(Duration::from_secs(30))), "limits.requestsPerSecond");
    let before = fake.served.requests();
    assert!(layers.get(&key("acme--a"), None, &ACCESS).await.is_err());
    assert!(layers.held_for().is_some_and(|rest| rest > Duration::from_secs(20)));
    assert_eq!(fake.served.requests(), before, "not asked at all");
}
