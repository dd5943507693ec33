//! What was there before, and what is known without a value.

use secretref::stores::{Failure, VersionState};

use super::{CannotBe, Holds, Subject, Verdict, Who, acme, always, bare, read, single, version};
use crate::env::error;

const NONE: Verdict = CannotBe("keeps no versions, or lists and restores none");

/// A store that keeps no versions says so wherever it is asked for one.
async fn keeps(subject: &dyn Subject) -> bool {
    let (store, key) = (subject.store(Who::Writer), acme(subject, "unversioned"));
    if store.features().versions {
        return true;
    }
    subject.plant(&key, &single("canary-1")).await;
    if subject.name() == "infisical-v4" {
        // It is read by its number, but neither listed nor restored.
        assert_eq!(store.get(&key, Some("7")).await, Ok(None));
    } else {
        error(store.get(&key, Some("7")).await, Failure::Misconfigured, "version");
    }
    error(store.versions(&key).await, Failure::Misconfigured, "version");
    error(store.restore(&key, "1").await, Failure::Misconfigured, "not possible");
    false
}

async fn three(subject: &dyn Subject) -> [String; 3] {
    let (store, key) = (subject.store(Who::Writer), acme(subject, "history"));
    let mut versions = Vec::new();
    for n in 1..=3 {
        versions.push(version(store.set(&key, &always(single(format!("canary-{n}")))).await.unwrap()));
    }
    versions.try_into().unwrap()
}

pub async fn latest_and_pinned(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    let (versions, store, key) = (three(subject).await, subject.store(Who::Reader), acme(subject, "history"));
    let latest = store.get(&key, None).await.unwrap().unwrap();
    assert_eq!((latest.version.as_deref(), bare(&latest)), (Some(&*versions[2]), b"canary-3".to_vec()));
    for (n, version) in versions.iter().enumerate() {
        let pinned = store.get(&key, Some(version)).await.unwrap().unwrap();
        assert_eq!(bare(&pinned), format!("canary-{}", n + 1).as_bytes());
        assert_eq!(pinned.version.as_deref(), Some(&**version));
    }
    Holds
}

pub async fn an_unknown_one(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    let versions = three(subject).await;
    // Of the form that this store's versions have.
    let unknown = if versions[0].len() > 10 { "0".repeat(versions[0].len()) } else { "99".to_owned() };
    assert_eq!(subject.store(Who::Reader).get(&acme(subject, "history"), Some(&unknown)).await, Ok(None));
    Holds
}

pub async fn one_that_is_none(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    three(subject).await;
    let store = subject.store(Who::Reader);
    for wrong in ["", "latest", "../x", "1?x=y", "-1", "1 2"] {
        error(store.get(&acme(subject, "history"), Some(wrong)).await, Failure::Misconfigured, "version");
    }
    Holds
}

pub async fn newest_first(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    let versions = three(subject).await;
    let listed = subject.store(Who::Writer).versions(&acme(subject, "history")).await.unwrap();
    let mut found: Vec<String> = listed.iter().filter_map(|m| m.version.clone()).collect();
    assert!(listed.iter().all(|m| m.state == VersionState::Enabled && m.created.is_some()), "{listed:?}");
    assert!(listed.windows(2).all(|w| w[0].created >= w[1].created), "{listed:?}");
    if listed.windows(2).all(|w| w[0].created > w[1].created) || versions[0].len() < 10 {
        found.reverse();
        assert_eq!(found, versions);
    } else {
        // Versions of one second have no order in a store whose clock ticks in seconds.
        found.sort();
        let mut versions = versions.to_vec();
        versions.sort();
        assert_eq!(found, versions);
    }
    Holds
}

pub async fn restore(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    let (versions, store, key) = (three(subject).await, subject.store(Who::Writer), acme(subject, "history"));
    let restored = store.restore(&key, &versions[0]).await.unwrap().expect("it is there");
    let latest = store.get(&key, None).await.unwrap().unwrap();
    assert_eq!((bare(&latest), latest.version.as_deref()), (b"canary-1".to_vec(), Some(&*restored)));
    assert_eq!(bare(&store.get(&key, Some(&versions[2])).await.unwrap().unwrap()), b"canary-3", "nothing is lost");
    Holds
}

pub async fn restore_deleted(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    let (versions, store, key) = (three(subject).await, subject.store(Who::Writer), acme(subject, "history"));
    if !store.features().undelete {
        return CannotBe("keeps nothing of what was deleted");
    }
    store.delete(&key).await.unwrap();
    assert_eq!(store.get(&key, None).await, Ok(None));
    store.restore(&key, &versions[2]).await.unwrap().expect("it can be restored");
    assert_eq!(read(&*store, &key).await, b"canary-3");
    store.delete(&key).await.unwrap();
    store.restore(&key, &versions[0]).await.unwrap().expect("also an older one");
    assert_eq!(read(&*store, &key).await, b"canary-1");
    Holds
}

pub async fn restore_an_unknown_one(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    let (versions, store) = (three(subject).await, subject.store(Who::Writer));
    let unknown = if versions[0].len() > 10 { "0".repeat(versions[0].len()) } else { "99".to_owned() };
    assert_eq!(store.restore(&acme(subject, "history"), &unknown).await, Ok(None));
    assert_eq!(store.restore(&acme(subject, "never-was"), &versions[0]).await, Ok(None));
    assert_eq!(read(&*store, &acme(subject, "history")).await, b"canary-3");
    Holds
}

pub async fn of_nothing_at_all(subject: &dyn Subject) -> Verdict {
    if !keeps(subject).await {
        return NONE;
    }
    assert_eq!(subject.store(Who::Writer).versions(&acme(subject, "nothing")).await, Ok(vec![]));
    Holds
}

pub async fn metadata_without_a_value(subject: &dyn Subject) -> Verdict {
    let (store, key) = (subject.store(Who::Writer), acme(subject, "described"));
    subject.plant(&key, &single("canary-1")).await;
    let metadata = store.metadata(&key).await.unwrap().expect("it is there");
    assert_eq!(metadata.state, VersionState::Enabled);
    let stored = store.get(&key, None).await.unwrap().unwrap();
    assert_eq!(metadata.version, stored.version);
    assert!(!format!("{metadata:?}").contains("canary-1"));
    Holds
}

pub async fn metadata_of_nothing(subject: &dyn Subject) -> Verdict {
    let (store, key) = (subject.store(Who::Writer), acme(subject, "nothing"));
    assert_eq!(store.metadata(&key).await, Ok(None));
    subject.plant(&key, &single("canary-1")).await;
    subject.withdraw(&key).await;
    let deleted = store.metadata(&key).await.unwrap();
    if store.features().undelete {
        assert_eq!(deleted.map(|m| m.state), Some(VersionState::Deleted));
    } else {
        assert_eq!(deleted, None);
    }
    Holds
}
