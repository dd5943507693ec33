//! Who asks, and what that one may.

use secretref::stores::Failure;

use super::{CannotBe, Holds, Subject, Verdict, Who, acme, always, global, read, single};
use crate::env::error;

const NO_LOGIN: Verdict = CannotBe("has no login");

pub async fn wrong_ones(subject: &dyn Subject) -> Verdict {
    if !subject.has_identities() {
        return NO_LOGIN;
    }
    let (store, key) = (subject.store(Who::Stranger), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    error(store.get(&key, None).await, Failure::Unauthenticated, "");
    error(store.probe().await, Failure::Unauthenticated, "");
    // A thousand reads are not a thousand logins, which would lock the identity out.
    let before = subject.requests().len();
    for _ in 0..50 {
        error(store.get(&key, None).await, Failure::Unauthenticated, "");
    }
    let asked = subject.requests().len() - before;
    assert!(asked <= 50, "{asked} requests");
    assert!(subject.logins().is_none_or(|logins| logins <= 3), "{:?} logins", subject.logins());
    Holds
}

/// Sessions end at the server: a new login helps, where there is one to make.
pub async fn ones_that_end(subject: &dyn Subject) -> Verdict {
    let (store, key) = (subject.store(Who::Reader), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    assert_eq!(read(&*store, &key).await, b"canary-1");
    if !subject.end_sessions().await {
        return CannotBe("has no sessions");
    }
    assert_eq!(read(&*store, &key).await, b"canary-1");
    assert_eq!(store.get(&acme(subject, "not-there"), None).await, Ok(None));
    Holds
}

pub async fn without_any_right(subject: &dyn Subject) -> Verdict {
    if !subject.has_identities() {
        return NO_LOGIN;
    }
    let (store, key) = (subject.store(Who::Powerless), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    let denied = error(store.get(&key, None).await, Failure::Denied, key.as_str());
    assert!(denied.message.len() > 40, "no guidance: {denied}");
    error(store.get(&acme(subject, "not-there"), None).await, Failure::Denied, "");
    error(store.list(&subject.scheme().scope_prefix(&super::owner(None))).await, Failure::Denied, "");
    error(store.probe().await, Failure::Denied, "");
    Holds
}

pub async fn one_login_for_many_reads(subject: &dyn Subject) -> Verdict {
    let Some(before) = subject.logins() else { return NO_LOGIN };
    let (store, key) = (subject.store(Who::Reader), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    let reads = (0..100).map(|_| store.get(&key, None));
    for answer in futures::future::join_all(reads).await {
        assert_eq!(super::bare(&answer.unwrap().unwrap()), b"canary-1");
    }
    let logins = subject.logins().unwrap() - before;
    assert!(logins <= 1, "{logins} logins");
    Holds
}

pub async fn what_a_reader_may(subject: &dyn Subject) -> Verdict {
    let capabilities = subject.store(Who::Reader).probe().await.unwrap();
    assert!(capabilities.get && capabilities.list && !capabilities.write, "{capabilities:?}");
    Holds
}

pub async fn what_a_writer_may(subject: &dyn Subject) -> Verdict {
    let store = subject.store(Who::Writer);
    if !store.features().write {
        return CannotBe("read only");
    }
    let capabilities = store.probe().await.unwrap();
    if subject.name().starts_with("infisical") {
        assert!(!capabilities.write, "{capabilities:?}");
        store.set(&acme(subject, "first"), &always(single("canary-1"))).await.unwrap();
        let capabilities = store.probe().await.unwrap();
        assert!(capabilities.get && capabilities.list && capabilities.write, "{capabilities:?}");
        return CannotBe("shows whether it may write by a write alone");
    }
    assert!(capabilities.get && capabilities.list && capabilities.write, "{capabilities:?}");
    Holds
}

pub async fn a_probe_reads_no_value(subject: &dyn Subject) -> Verdict {
    let keys = [acme(subject, "there"), global(subject, "there")];
    for key in &keys {
        subject.plant(key, &single("canary-1")).await;
    }
    let store = subject.store(Who::Reader);
    let before = subject.requests().len();
    store.probe().await.unwrap();
    store.probe().await.unwrap();
    let requests = subject.requests().split_off(before);
    assert!(requests.len() <= 16, "a probe is cheap: {requests:?}");
    for key in &keys {
        let name = key.as_str().rsplit('/').next().unwrap();
        assert!(!requests.iter().any(|r| r.ends_with(name) || r.contains(&format!("{name}?"))), "{requests:?}");
    }
    Holds
}

/// The role is taken away and given back: each is seen at the next probe.
pub async fn back_within_one_probe(subject: &dyn Subject) -> Verdict {
    let (store, key) = (subject.store(Who::Reader), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    store.probe().await.unwrap();
    if !subject.has_identities() {
        return CannotBe("has no rights");
    }
    subject.rights(false).await;
    error(store.probe().await, Failure::Denied, "");
    error(store.get(&key, None).await, Failure::Denied, "");
    subject.rights(true).await;
    store.probe().await.unwrap();
    assert_eq!(read(&*store, &key).await, b"canary-1");
    Holds
}
