//! Writes and what guards them.

use std::collections::BTreeMap;

use secretref::{
    naming::StoreKey,
    stores::{Failure, Store, When, Write, Written},
};

use super::{CannotBe, Holds, Subject, Verdict, Who, acme, always, read, single, version, when};
use crate::env::error;

const READ_ONLY: Verdict = CannotBe("read only");

/// A store that is read only refuses, and nothing changes.
async fn writes(subject: &dyn Subject) -> bool {
    let (store, key) = (subject.store(Who::Writer), acme(subject, "read-only"));
    if store.features().write {
        return true;
    }
    subject.plant(&key, &single("canary-1")).await;
    error(store.set(&key, &always(single("canary-2"))).await, Failure::Misconfigured, "not possible");
    error(store.delete(&key).await, Failure::Misconfigured, "not possible");
    assert_eq!(read(&*store, &key).await, b"canary-1");
    false
}

pub async fn create_only(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "once"));
    version(store.set(&key, &when(single("canary-1"), When::Absent)).await.unwrap());
    assert_eq!(store.set(&key, &when(single("canary-2"), When::Absent)).await, Ok(Written::Conflict));
    assert_eq!(read(&*subject.store(Who::Reader), &key).await, b"canary-1");
    Holds
}

pub async fn only_if_the_version_is(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "guarded"));
    let first = version(store.set(&key, &always(single("canary-1"))).await.unwrap());
    assert_eq!(store.get(&key, None).await.unwrap().unwrap().version.as_deref(), Some(&*first));
    let second = version(store.set(&key, &when(single("canary-2"), When::Version(first.clone()))).await.unwrap());
    assert_ne!(first, second);
    assert_eq!(store.set(&key, &when(single("canary-3"), When::Version(first))).await, Ok(Written::Conflict));
    let missing = when(single("canary-4"), When::Version(second));
    assert_eq!(store.set(&acme(subject, "not-there"), &missing).await, Ok(Written::Conflict));
    assert_eq!(read(&*store, &key).await, b"canary-2");
    assert_eq!(store.get(&acme(subject, "not-there"), None).await, Ok(None));
    Holds
}

pub async fn create_or_update(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "any"));
    for value in ["canary-1", "canary-2", "canary-2"] {
        version(store.set(&key, &always(single(value))).await.unwrap());
        assert_eq!(read(&*store, &key).await, value.as_bytes());
    }
    Holds
}

/// Ten at once; answers how many were told that they wrote.
async fn race(store: &dyn Store, key: &StoreKey, condition: When) -> usize {
    let writes = (0..10).map(|n| {
        let write = when(single(format!("canary-{n}")), condition.clone());
        async move { store.set(key, &write).await }
    });
    let answers = futures::future::join_all(writes).await;
    let mut wrote = 0;
    for answer in answers {
        match answer {
            Ok(Written::Version(_)) => wrote += 1,
            Ok(Written::Conflict) => {}
            // Told to come back: nothing was written.
            Err(error) if matches!(error.failure, Failure::Unavailable | Failure::RateLimited(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    wrote
}

pub async fn two_create_at_once(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "raced"));
    let wrote = race(&*store, &key, When::Absent).await;
    let value = read(&*store, &key).await;
    assert!(value.starts_with(b"canary-"));
    if !store.features().atomic {
        assert!(wrote >= 1);
        return CannotBe("checks just before it writes");
    }
    assert_eq!(wrote, 1);
    Holds
}

pub async fn two_update_at_once(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "raced"));
    let first = version(store.set(&key, &always(single("canary-first"))).await.unwrap());
    let wrote = race(&*store, &key, When::Version(first)).await;
    assert_ne!(read(&*store, &key).await, b"canary-first");
    if !store.features().atomic {
        assert!(wrote >= 1);
        return CannotBe("checks just before it writes");
    }
    assert_eq!(wrote, 1);
    Holds
}

pub async fn tags_are_kept(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "tagged"));
    if !store.features().tags {
        return CannotBe("keeps no tags");
    }
    let tags: BTreeMap<String, String> = [("owner".to_owned(), "team-a".to_owned())].into();
    let tagged = Write { tags: Some(tags.clone()), ..always(single("canary-1")) };
    store.set(&key, &tagged).await.unwrap();
    store.set(&key, &always(single("canary-2"))).await.unwrap();
    assert_eq!(store.metadata(&key).await.unwrap().unwrap().tags, tags);
    let untagged = Write { tags: Some(BTreeMap::new()), ..always(single("canary-3")) };
    store.set(&key, &untagged).await.unwrap();
    assert_eq!(store.metadata(&key).await.unwrap().unwrap().tags, BTreeMap::new());
    Holds
}

pub async fn the_content_type_is_kept(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "typed"));
    if !store.features().content_type {
        return CannotBe("keeps no content type");
    }
    let typed = Write { content_type: Some("application/json".into()), ..always(single("{}")) };
    store.set(&key, &typed).await.unwrap();
    store.set(&key, &always(single(r#"{"a":"canary"}"#))).await.unwrap();
    assert_eq!(store.metadata(&key).await.unwrap().unwrap().content_type.as_deref(), Some("application/json"));
    Holds
}

pub async fn delete(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "gone"));
    assert_eq!(store.delete(&key).await, Ok(false), "there was nothing");
    store.set(&key, &always(single("canary-1"))).await.unwrap();
    assert_eq!(store.delete(&key).await, Ok(true));
    assert_eq!(subject.store(Who::Reader).get(&key, None).await, Ok(None));
    assert_eq!(store.delete(&key).await, Ok(false), "a second time");
    Holds
}

pub async fn deleted_and_made_again(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Writer), acme(subject, "phoenix"));
    store.set(&key, &always(single("canary-1"))).await.unwrap();
    store.delete(&key).await.unwrap();
    match store.set(&key, &when(single("canary-2"), When::Absent)).await {
        Ok(written) => version(written),
        Err(refused) => {
            // A name that still belongs to what was deleted is told how to get free.
            error::<()>(Err(refused), Failure::Misconfigured, "recover");
            return CannotBe("keeps the name of what was deleted until it is purged");
        }
    };
    assert_eq!(read(&*store, &key).await, b"canary-2");
    Holds
}

pub async fn delete_while_reading(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (writer, reader) = (subject.store(Who::Writer), subject.store(Who::Reader));
    let key = acme(subject, "vanishing");
    writer.set(&key, &always(single("canary-1"))).await.unwrap();
    let reads = async {
        for _ in 0..20 {
            match reader.get(&key, None).await {
                Ok(Some(stored)) => assert_eq!(super::bare(&stored), b"canary-1"),
                Ok(None) => {}
                Err(error) => panic!("neither there nor gone: {error}"),
            }
        }
    };
    let (_, deleted) = tokio::join!(reads, writer.delete(&key));
    assert_eq!(deleted, Ok(true));
    assert_eq!(reader.get(&key, None).await, Ok(None));
    Holds
}

pub async fn a_reader_may_not_write(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Reader), acme(subject, "forbidden"));
    error(store.set(&key, &always(single("canary-1"))).await, Failure::Denied, key.as_str());
    assert_eq!(store.get(&key, None).await, Ok(None));
    Holds
}

pub async fn a_reader_may_not_delete(subject: &dyn Subject) -> Verdict {
    if !writes(subject).await {
        return READ_ONLY;
    }
    let (store, key) = (subject.store(Who::Reader), acme(subject, "kept"));
    subject.plant(&key, &single("canary-1")).await;
    error(store.delete(&key).await, Failure::Denied, key.as_str());
    assert_eq!(read(&*store, &key).await, b"canary-1");
    Holds
}
