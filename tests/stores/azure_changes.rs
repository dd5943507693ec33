//! Lists, and the marks by which changes are found: what they cost, and that none is missed.

use std::collections::HashMap;

use secretref::{
    naming::StoreKey,
    stores::{ChangeToken, Failure, Store},
};

use crate::{
    azure::{store, value, vault},
    env::{error, key},
    fakes::{FakeKeyVault, Role, key_vault::CLIENT},
};

/// A vault of so many secrets, all of them old.
async fn filled(secrets: usize) -> FakeKeyVault {
    let fake = vault(Role::User).await;
    for n in 0..secrets {
        fake.put(&format!("acme--{n:03}"), "canary-1");
    }
    fake.age(3600);
    fake
}

fn keys(range: std::ops::Range<usize>) -> Vec<StoreKey> {
    range.map(|n| key(&format!("acme--{n:03}"))).collect()
}

async fn marks(store: &dyn Store, keys: &[StoreKey]) -> HashMap<StoreKey, ChangeToken> {
    store.changes(keys).await.unwrap().expect("a list")
}

#[tokio::test]
async fn a_list_has_every_page() {
    let fake = filled(76).await;
    fake.put("GLOBAL--a", "canary-1");
    fake.disable("acme--007");
    let store = store(&fake);
    let mut listed = store.list("acme--").await.unwrap();
    listed.sort();
    assert_eq!(listed, keys(0..76), "disabled ones are there, too");
    assert_eq!(fake.count("list"), 4);
    assert_eq!(store.list("global--").await.unwrap(), [key("GLOBAL--a")]);
    assert_eq!(store.list("").await.unwrap().len(), 77);
}

#[tokio::test]
async fn many_keys_are_looked_at_in_one_request_for_25_secrets() {
    let fake = filled(60).await;
    let store = store(&fake);
    assert!(store.lists_changes(2), "nothing is known yet: one look tells");
    assert!(!store.lists_changes(1) && !store.lists_changes(0), "a list is never cheaper than one read");
    let marks = marks(&*store, &keys(0..50)).await;
    assert_eq!((fake.count("list"), fake.count("get"), marks.len()), (3, 0, 50));
    // Three pages: cheaper than four reads, not than three.
    assert!(store.lists_changes(4) && !store.lists_changes(3));
}

#[tokio::test]
async fn a_vault_that_is_too_large_is_not_listed_again_and_again() {
    let fake = filled(130).await;
    let store = store(&fake);
    assert_eq!(store.changes(&keys(0..3)).await.unwrap(), None);
    assert_eq!(fake.count("list"), 3, "no more pages than keys");
    assert!(!store.lists_changes(3) && !store.lists_changes(4));
    // With many more keys it may be worth it.
    assert!(store.lists_changes(50));
    assert_eq!(marks(&*store, &keys(0..50)).await.len(), 50);
    assert!(store.lists_changes(7) && !store.lists_changes(6));
}

#[tokio::test]
async fn a_read_is_compared_with_lists() {
    let fake = filled(3).await;
    let store = store(&fake);
    let all = keys(0..3);
    let read = store.get(&all[0], None).await.unwrap().unwrap().token;
    let listed = marks(&*store, &all).await;
    assert!(read.is_still(&listed[&all[0]]));

    // A new version, a value that is switched off and on, an attribute: all move the mark.
    fake.put("acme--000", "canary-2");
    assert!(!read.is_still(&marks(&*store, &all).await[&all[0]]));
    fake.age(120);
    assert!(!read.is_still(&marks(&*store, &all).await[&all[0]]));
    let read = store.get(&all[1], None).await.unwrap().unwrap().token;
    fake.disable("acme--001");
    assert!(!read.is_still(&marks(&*store, &all).await[&all[1]]));

    // Gone: it is not in the list, which proves nothing; a read does.
    fake.delete("acme--002");
    assert!(!marks(&*store, &all).await.contains_key(&all[2]));
    assert_eq!(store.get(&all[2], None).await.unwrap(), None);
}

#[tokio::test]
async fn a_change_within_the_same_second_is_not_missed() {
    let fake = vault(Role::User).await;
    let store = store(&fake);
    let a = [key("acme--a"), key("acme--b")];
    fake.put("acme--a", "canary-1");
    let read = store.get(&a[0], None).await.unwrap().unwrap();
    let at = fake.latest("acme--a").updated;
    fake.put("acme--a", "canary-2");
    fake.change("acme--a", |version| version.updated = at);
    let listed = marks(&*store, &a).await;
    assert!(!read.token.is_still(&listed[&a[0]]), "young marks say nothing");
    let again = store.get(&a[0], None).await.unwrap().unwrap();
    assert_ne!(again.token, read.token, "two versions of one second have two marks");
    assert_eq!(value(&again), "canary-2");
    // A minute later it is settled.
    fake.age(61);
    let read = store.get(&a[0], None).await.unwrap().unwrap().token;
    assert!(read.is_still(&marks(&*store, &a).await[&a[0]]));
}

#[tokio::test]
async fn age_is_told_by_the_servers_clock() {
    // Ours is two hours behind or ahead of the server's.
    for skew in [7200, -7200] {
        let fake = vault(Role::User).await;
        let store = store(&fake);
        fake.clock(skew);
        fake.put("acme--a", "canary-1");
        let all = [key("acme--a"), key("acme--b")];
        let read = store.get(&all[0], None).await.unwrap().unwrap().token;
        assert!(!read.is_still(&marks(&*store, &all).await[&all[0]]), "{skew}: just written");
        fake.age(120);
        let read = store.get(&all[0], None).await.unwrap().unwrap().token;
        assert!(read.is_still(&marks(&*store, &all).await[&all[0]]), "{skew}: settled");
        // A time that has not come yet is no settled one.
        fake.age(-600);
        let read = store.get(&all[0], None).await.unwrap().unwrap().token;
        assert!(!read.is_still(&marks(&*store, &all).await[&all[0]]), "{skew}: in the future");
    }
}

#[tokio::test]
async fn marks_are_found_by_the_name_that_was_asked_for() {
    let fake = vault(Role::User).await;
    fake.put("Acme--A", "canary-1");
    fake.put("GLOBAL--a", "canary-1");
    let store = store(&fake);
    let asked = [key("acme--a"), key("ACME--a"), key("GLOBAL--a"), key("acme--none")];
    let mut found: Vec<_> = marks(&*store, &asked).await.into_keys().collect();
    found.sort();
    assert_eq!(found, [key("ACME--a"), key("GLOBAL--a"), key("acme--a")]);
}

#[tokio::test]
async fn without_the_right_to_list_keys_are_read_one_by_one() {
    let fake = filled(3).await;
    fake.role(CLIENT, Role::GetOnly);
    let store = store(&fake);
    let all = keys(0..3);
    assert!(store.lists_changes(3));
    assert_eq!(store.changes(&all).await.unwrap(), None);
    assert!(!store.lists_changes(3) && !store.lists_changes(500), "it is not tried every cycle");
    assert!(store.get(&all[0], None).await.unwrap().is_some());
    error(store.list("acme--").await, Failure::Denied, "secret permission List");
    // The probe notices when the right is there.
    assert!(!store.probe().await.unwrap().list);
    fake.role(CLIENT, Role::User);
    assert!(store.probe().await.unwrap().list);
    assert!(store.lists_changes(3));
    // Any other failure is one.
    fake.fail(1, 500, None);
    error(store.changes(&all).await, Failure::Unavailable, "state of the service");
}

#[tokio::test]
async fn a_list_that_goes_on_elsewhere_takes_no_token_there() {
    let fake = filled(30).await;
    let other = vault(Role::User).await;
    let store = store(&fake);
    fake.lists_go_on_at(&other.url());
    error(store.list("acme--").await, Failure::Misconfigured, "tokens never follow");
    error(store.changes(&keys(0..30)).await, Failure::Misconfigured, "another host");
    assert_eq!(other.served.requests(), 0);
}
