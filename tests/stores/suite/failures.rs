//! The server in trouble. None of it is ever taken for "not there".

use std::{sync::Arc, time::Duration};

use secretref::{
    audit::Audit,
    stores::{
        Failure, Settings, Store, StoreError, Stored,
        layers::{Access, Cache, Freshness, Identity, Layers},
        settings,
    },
    telemetry::Metrics,
};

use super::{CannotBe, Fault, Holds, Subject, Verdict, Who, acme, read, single};
use crate::env::{error, eventually};

const NO_SERVER: Verdict = CannotBe("has no server");

/// A store that has answered once, and a fault that has begun.
async fn then(subject: &dyn Subject, fault: Fault) -> Option<Arc<dyn Store>> {
    let (store, key) = (subject.store(Who::Reader), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    assert_eq!(read(&*store, &key).await, b"canary-1");
    subject.fault(Some(fault)).await.then_some(store)
}

async fn get(subject: &dyn Subject, store: &dyn Store) -> Result<Option<Stored>, StoreError> {
    store.get(&acme(subject, "there"), None).await
}

/// It is over: the same session goes on.
async fn recovers(subject: &dyn Subject, store: &dyn Store) {
    subject.fault(None).await;
    eventually("the store answers again", || async { get(subject, store).await.is_ok() }).await;
    assert_eq!(read(store, &acme(subject, "there")).await, b"canary-1");
    assert_eq!(store.get(&acme(subject, "not-there"), None).await, Ok(None));
}

pub async fn throttled_with_a_time(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Throttled(Some(7))).await else { return NO_SERVER };
    let error = error(
        get(subject, &*store).await,
        Failure::RateLimited(Some(Duration::from_secs(7))),
        &name_of(subject, "there"),
    );
    assert!(error.message.contains("requestsPerSecond"), "{error}");
    recovers(subject, &*store).await;
    Holds
}

pub async fn throttled_without(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Throttled(None)).await else { return NO_SERVER };
    error(get(subject, &*store).await, Failure::RateLimited(None), &name_of(subject, "there"));
    recovers(subject, &*store).await;
    Holds
}

pub async fn an_error_of_the_server(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Status(500, None, "canary-in-a-stack-trace")).await else {
        return NO_SERVER;
    };
    error(get(subject, &*store).await, Failure::Unavailable, &name_of(subject, "there"));
    error(store.list(&subject.scheme().scope_prefix(&super::owner(None))).await, Failure::Unavailable, "");
    error(store.probe().await, Failure::Unavailable, "");
    recovers(subject, &*store).await;
    Holds
}

pub async fn unavailable_for_a_while(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Unavailable).await else { return NO_SERVER };
    error(get(subject, &*store).await, Failure::Unavailable, &name_of(subject, "there"));
    error(store.probe().await, Failure::Unavailable, "");
    recovers(subject, &*store).await;
    Holds
}

pub async fn down_and_back(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Down).await else { return NO_SERVER };
    error(get(subject, &*store).await, Failure::Unavailable, &name_of(subject, "there"));
    error(store.probe().await, Failure::Unavailable, "");
    recovers(subject, &*store).await;
    Holds
}

/// The layers' time is what ends it.
pub async fn silence(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Silence).await else { return NO_SERVER };
    let quick = Settings { timeout: Duration::from_millis(300), ..settings(&Default::default(), None, None, None) };
    let metrics = Arc::new(Metrics::new());
    let identity = Identity {
        kind: "ClusterSecretStore",
        namespace: None,
        name: "platform".into(),
        uid: "uid".into(),
        generation: 1,
        provider: "store",
    };
    let cache = Arc::new(Cache::new(Cache::CAPACITY, metrics.clone()));
    let layers = Layers::new(identity, store.clone(), quick, cache, metrics, Arc::new(Audit::off()), "operator".into());
    error(layers.probe().await, Failure::Unavailable, "did not answer");
    let access = Access { requester: "test", trace_id: "1", freshness: Freshness::PastCache };
    error(layers.get(&acme(subject, "there"), None, &access).await, Failure::Unavailable, "");
    recovers(subject, &*store).await;
    Holds
}

pub async fn an_outage_in_the_middle(subject: &dyn Subject) -> Verdict {
    let (store, key) = (subject.store(Who::Reader), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    let reads = async {
        for _ in 0..60 {
            match store.get(&key, None).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an outage was taken for a certain absence"),
                Err(error) => assert_eq!(error.failure, Failure::Unavailable, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outage = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let there_is_one = subject.fault(Some(Fault::Down)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        subject.fault(None).await;
        there_is_one
    };
    let ((), there_is_one) = tokio::join!(reads, outage);
    if there_is_one { Holds } else { NO_SERVER }
}

pub async fn overload_is_not_absence(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Status(503, None, "upstream connect error")).await else {
        return NO_SERVER;
    };
    for name in ["there", "not-there"] {
        error(store.get(&acme(subject, name), None).await, Failure::Unavailable, name_of(subject, name).as_str());
    }
    recovers(subject, &*store).await;
    Holds
}

fn name_of(subject: &dyn Subject, name: &str) -> String {
    acme(subject, name).as_str().to_owned()
}
