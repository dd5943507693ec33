//! One login for all, renewed where that does not end it, replaced when it is gone, and no identity locked out.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use secretref::{
    api::{InfisicalAuth, InfisicalKubernetesAuth, ServiceAccountRef},
    stores::{Failure, Store},
};

use crate::{
    env::{error, key, plant},
    fakes::infisical::{FakeInfisical, Fault, Identity, RELEASES, Release, Role},
    infisical_env::{Account, by_secret, credentials, settings, store, try_store, value},
};

async fn fake(release: Release) -> FakeInfisical {
    let fake = FakeInfisical::start(release).await;
    fake.put("/acme", "A", "canary-1");
    fake
}

async fn read_many(store: &Arc<dyn Store>, times: usize) {
    let wanted = key("acme/A");
    let reads = (0..times).map(|_| store.get(&wanted, None));
    assert!(futures::future::join_all(reads).await.into_iter().all(|r| r.unwrap().is_some()));
}

#[tokio::test]
async fn one_login_serves_all() {
    for release in RELEASES {
        let fake = fake(release).await;
        let store = store(&fake, &fake.identity(Role::Viewer));
        read_many(&store, 50).await;
        assert_eq!((store.logins(), fake.asked("login")), (1, 1));
        let (known, unknown) = if release == Release::Current { ("v4", "v3") } else { ("v3", "v4") };
        assert_eq!((fake.asked(&format!("{known} get /acme/A")), fake.asked(unknown)), (50, 0), "{release:?}");
        assert_eq!(fake.asked("open v4 list") + fake.asked("no route"), 1, "which API it is was asked once");
    }
}

#[tokio::test]
async fn a_token_that_is_gone_is_replaced_once_for_all_who_need_it() {
    for release in RELEASES {
        let fake = fake(release).await;
        let identity = fake.identity(Role::Viewer);
        let store = store(&fake, &identity);
        read_many(&store, 1).await;
        fake.revoke_tokens();
        read_many(&store, 20).await;
        assert_eq!((store.logins(), fake.asked("login")), (2, 2));
        fake.revoke_tokens();
        assert!(store.probe().await.unwrap().get, "the probe logs in, too");
        assert_eq!(store.logins(), 3);

        // Now the client secret is revoked as well: rejected once, remembered, and never tried in a loop.
        fake.revoke_tokens();
        fake.revoke_secret(&identity);
        for _ in 0..20 {
            error(store.get(&key("acme/A"), None).await, Failure::Unauthenticated, "put a new client secret");
        }
        error(store.probe().await, Failure::Unauthenticated, "the Universal Auth login was rejected");
        assert!(store.maintain().await.unwrap() >= Duration::from_secs(5));
        assert_eq!((fake.asked("login"), fake.failures(&identity)), (4, 1));
    }
}

#[tokio::test]
async fn a_short_life_is_renewed_and_then_replaced_without_a_failed_read() {
    let fake = fake(Release::October2024).await;
    let identity = fake.identity_with(Role::Viewer, Duration::from_secs(12), Duration::from_secs(30));
    let store = store(&fake, &identity);
    let (begun, mut next) = (Instant::now(), Instant::now());
    while begun.elapsed() < Duration::from_secs(42) {
        if Instant::now() >= next {
            next = Instant::now() + store.maintain().await.unwrap();
        }
        read_many(&store, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(fake.asked("renew") >= 2, "{} renewals", fake.asked("renew"));
    assert!((2..=3).contains(&store.logins()), "{} logins", store.logins());
    assert_eq!(fake.asked("refused"), 0, "no read met a dead token");
}

#[tokio::test]
async fn a_token_that_lives_as_long_as_it_may_is_never_renewed() {
    let fake = fake(Release::October2024).await;
    let usual = store(&fake, &fake.identity(Role::Viewer));
    read_many(&usual, 1).await;
    assert!(usual.maintain().await.unwrap() > Duration::from_secs(20 * 86_400));

    let life = Duration::from_secs(10);
    let store = store(&fake, &fake.identity_with(Role::Viewer, life, life));
    for _ in 0..2 {
        let wait = store.maintain().await.unwrap();
        assert!(wait >= Duration::from_secs(1) && wait < life, "{wait:?}");
        tokio::time::sleep(wait + Duration::from_millis(100)).await;
    }
    // Whoever keeps it alive has been late: it is replaced when it is needed.
    tokio::time::sleep(life).await;
    read_many(&store, 3).await;
    assert_eq!((fake.asked("renew"), store.logins()), (0, 3));
}

#[tokio::test]
async fn a_token_of_few_uses_is_replaced() {
    for release in RELEASES {
        let fake = fake(release).await;
        let identity = fake.identity(Role::Viewer);
        fake.limit_uses(&identity, 3);
        let store = store(&fake, &identity);
        for _ in 0..10 {
            read_many(&store, 1).await;
        }
        assert_eq!(store.logins(), 4);
    }
}

#[tokio::test]
async fn a_token_that_is_never_taken_is_not_asked_for_again_and_again() {
    let fake = fake(Release::Current).await;
    let identity = fake.identity(Role::Viewer);
    fake.limit_uses(&identity, 0);
    let store = store(&fake, &identity);
    for _ in 0..20 {
        error(store.get(&key("acme/A"), None).await, Failure::Unauthenticated, "access token settings");
    }
    assert_eq!(fake.asked("login"), 1);
}

#[tokio::test]
async fn logins_that_are_rejected() {
    for release in RELEASES {
        let fake = fake(release).await;
        let identity = fake.identity(Role::Viewer);
        let with = |id: &str, secret: &str| {
            let settings = settings(&fake.address(), by_secret());
            try_store(settings, Some(fake.served.ca.clone()), credentials(id, secret)).unwrap()
        };
        let wanted = key("acme/A");
        let Identity { client_id, client_secret, .. } = &identity;
        let unknown = with("00000000-0000-4000-8000-000000000000", client_secret);
        error(unknown.get(&wanted, None).await, Failure::Unauthenticated, "check the client id");
        error(with(client_id, " \n").get(&wanted, None).await, Failure::Unauthenticated, "correct its Secret");
        assert_eq!(fake.failures(&identity), 0);
        let spaced = with(&format!("{client_id}\n"), &format!(" {client_secret}\n"));
        assert_eq!(
            value(spaced.get(&wanted, None).await.unwrap()),
            "canary-1",
            "white space around it does not matter"
        );

        // Three stores, each with a wrong secret: the third one is told that it is locked out, as is the good one.
        for _ in 0..3 {
            error(with(client_id, "canary-wrong").get(&wanted, None).await, Failure::Unauthenticated, "5 minutes");
        }
        let locked = error(with(client_id, client_secret).get(&wanted, None).await, Failure::Unauthenticated, "unlock");
        assert!(locked.to_string().contains("locked out after too many failures"), "{locked}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_no_rejected_login() {
    let fake = fake(Release::Current).await;
    let store = store(&fake, &fake.identity(Role::Viewer));
    fake.fault(Some(Fault::Status(503)));
    error(store.get(&key("acme/A"), None).await, Failure::Unavailable, "look into its log");
    fake.fault(Some(Fault::Page(502)));
    error(store.get(&key("acme/A"), None).await, Failure::Unavailable, "look into its log");
    fake.fault(Some(Fault::Page(200)));
    error(store.get(&key("acme/A"), None).await, Failure::Misconfigured, "hostUrl");
    fake.fault(None);
    assert!(store.probe().await.is_err(), "what makes no sense is remembered for a moment");
    tokio::time::sleep(Duration::from_secs(6)).await;
    read_many(&store, 1).await;
}

#[tokio::test]
async fn by_a_service_account() {
    for release in RELEASES {
        let fake = fake(release).await;
        let identity = fake.identity(Role::Viewer);
        let auth = |audiences: Option<&str>, account: Option<&str>| InfisicalAuth {
            universal_auth: None,
            kubernetes: Some(InfisicalKubernetesAuth {
                identity_id: identity.id.clone(),
                audiences: audiences.map(|a| vec![a.to_owned()]),
                service_account_ref: account.map(|name| ServiceAccountRef { name: name.to_owned() }),
            }),
        };
        let at = |auth: InfisicalAuth, account: Arc<Account>| {
            try_store(settings(&fake.address(), auth), Some(fake.served.ca.clone()), account)
        };
        let account = |jwt: &str| Arc::new(Account { jwt: plant(jwt), asked: Mutex::default() });

        let good = account(&identity.jwt);
        let store = at(auth(None, None), good.clone()).unwrap();
        read_many(&store, 5).await;
        assert_eq!(*good.asked.lock().unwrap(), [(None, vec!["infisical".to_owned()])]);
        let named = account(&identity.jwt);
        read_many(&at(auth(Some("vault.example"), Some("app")), named.clone()).unwrap(), 1).await;
        assert_eq!(*named.asked.lock().unwrap(), [(Some("app".to_owned()), vec!["vault.example".to_owned()])]);

        let other = at(auth(None, None), account("canary-other-jwt")).unwrap();
        for _ in 0..5 {
            error(other.get(&key("acme/A"), None).await, Failure::Unauthenticated, "audience");
        }
        assert_eq!(fake.asked("login"), 3);
        let own = at(auth(Some("https://kubernetes.default.svc"), None), good.clone());
        error(own.map(|_| ()), Failure::Misconfigured, "set audiences");
    }
}
