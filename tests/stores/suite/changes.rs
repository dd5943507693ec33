//! Marks of change: what polls stand on.

use std::sync::Arc;

use secretref::{naming::StoreKey, stores::Store};

use super::{CannotBe, Holds, Subject, Verdict, Who, acme, always, read, single};

pub async fn a_mark_stays(subject: &dyn Subject) -> Verdict {
    let key = acme(subject, "calm");
    subject.plant(&key, &single("canary-1")).await;
    let (one, other) = (subject.store(Who::Reader), subject.store(Who::Reader));
    let token = one.get(&key, None).await.unwrap().unwrap().token;
    assert_eq!(one.get(&key, None).await.unwrap().unwrap().token, token);
    if subject.has_identities() {
        assert_eq!(other.get(&key, None).await.unwrap().unwrap().token, token, "also for another session");
    }
    Holds
}

pub async fn a_write_moves_it(subject: &dyn Subject) -> Verdict {
    let (key, store) = (acme(subject, "moved"), subject.store(Who::Reader));
    let mut before = None;
    // As fast as it goes: also within one second.
    for n in 0..5 {
        subject.plant(&key, &single(format!("canary-{n}"))).await;
        let stored = store.get(&key, None).await.unwrap().unwrap();
        assert_eq!(super::bare(&stored), format!("canary-{n}").as_bytes());
        assert!(before.as_ref() != Some(&stored.token), "the mark did not move with value {n}");
        before = Some(stored.token);
    }
    Holds
}

/// A number that begins anew must not look like the one before.
pub async fn made_anew_it_is_another(subject: &dyn Subject) -> Verdict {
    let (key, store) = (acme(subject, "anew"), subject.store(Who::Reader));
    subject.plant(&key, &single("canary-1")).await;
    let before = store.get(&key, None).await.unwrap().unwrap();
    subject.withdraw(&key).await;
    assert_eq!(store.get(&key, None).await, Ok(None));
    subject.plant(&key, &single("canary-2")).await;
    let after = store.get(&key, None).await.unwrap().unwrap();
    assert_ne!(after.token, before.token);
    assert_eq!(super::bare(&after), b"canary-2");
    Holds
}

/// Forty keys, so many of them planted, at a store that lists changes.
async fn forty(subject: &dyn Subject, planted: usize) -> Option<(Arc<dyn Store>, Vec<StoreKey>)> {
    let store = subject.store(Who::Reader);
    let keys: Vec<_> = (0..40).map(|n| acme(subject, &format!("k-{n}"))).collect();
    for key in &keys[..planted] {
        subject.plant(key, &single("canary-1")).await;
    }
    store.lists_changes(keys.len()).then_some((store, keys))
}

const LISTS_NONE: Verdict = CannotBe("lists no changes");

pub async fn lists_agree_with_reads(subject: &dyn Subject) -> Verdict {
    let Some((store, keys)) = forty(subject, 40).await else { return LISTS_NONE };
    let marks = store.changes(&keys).await.unwrap().expect("a list is cheaper here");
    for key in &keys {
        let read = store.get(key, None).await.unwrap().unwrap().token;
        let listed = &marks[key];
        assert!(read.is_still(listed) || read.is_young() || listed.is_young(), "{key}: {read:?} {listed:?}");
    }
    Holds
}

pub async fn lists_never_invent(subject: &dyn Subject) -> Verdict {
    let Some((store, keys)) = forty(subject, 20).await else { return LISTS_NONE };
    let marks = store.changes(&keys).await.unwrap().expect("a list is cheaper here");
    assert!(keys[20..].iter().all(|key| !marks.contains_key(key)));
    assert!(marks.keys().all(|key| keys.contains(key)), "keys that nobody asked for");
    Holds
}

pub async fn lists_see_a_change(subject: &dyn Subject) -> Verdict {
    let Some((store, keys)) = forty(subject, 40).await else { return LISTS_NONE };
    let before = store.get(&keys[7], None).await.unwrap().unwrap().token;
    subject.plant(&keys[7], &single("canary-2")).await;
    let marks = store.changes(&keys).await.unwrap().expect("a list is cheaper here");
    assert!(!before.is_still(&marks[&keys[7]]), "it would not be read again");
    Holds
}

pub async fn a_list_is_cheap(subject: &dyn Subject) -> Verdict {
    let (store, writer) = (subject.store(Who::Reader), subject.store(Who::Writer));
    let keys: Vec<_> = (0..60).map(|n| acme(subject, &format!("k-{n}"))).collect();
    for key in &keys {
        writer.set(key, &always(single("canary-1"))).await.ok();
        subject.plant(key, &single("canary-1")).await;
    }
    if !store.lists_changes(keys.len()) {
        return LISTS_NONE;
    }
    // The first one may have to log in, and to find out what there is.
    store.changes(&keys).await.unwrap();
    let before = subject.requests().len();
    store.changes(&keys).await.unwrap().expect("a list is cheaper here");
    let took = subject.requests().len() - before;
    assert!(took <= keys.len().div_ceil(25), "{took} requests for {} keys", keys.len());
    assert_eq!(read(&*store, &keys[0]).await, b"canary-1");
    Holds
}
