//! Each failure is told from "not found", has its own row, and says what to do.

use std::time::Duration;

use secretref::{
    api::Capabilities,
    stores::{Failure, VersionState, When, Write},
};

use crate::{
    azure::{by_secret, credentials, settings, store, try_store, value, vault},
    env::{documented, error, eventually, key},
    fakes::{FakeKeyVault, Role, key_vault::CLIENT, tls::Line},
};

#[tokio::test]
async fn not_found_is_certain_and_nothing_else_is_not_found() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    assert_eq!(store.get(&a, None).await.unwrap(), None);
    fake.put("acme--a", "canary-1");
    fake.delete("acme--a");
    assert_eq!(store.get(&a, None).await.unwrap(), None, "deleted");
    // A 404 of something that stands in front says nothing of the key.
    fake.fail(1, 404, None);
    error(store.get(&a, None).await, Failure::Misconfigured, "check the store's address (vaultUrl)");
    for status in [301, 307] {
        fake.fail(1, status, None);
        error(store.get(&a, None).await, Failure::Misconfigured, "redirects");
    }
    for status in [500, 502, 503, 504] {
        fake.fail(1, status, None);
        error(store.get(&a, None).await, Failure::Unavailable, "state of the service");
    }
    fake.fail(1, 400, None);
    error(store.get(&a, None).await, Failure::Misconfigured, "does not take this");
    for status in [204, 200] {
        fake.fail(1, status, None);
        error(store.get(&a, None).await, Failure::Misconfigured, "not one of a Key Vault");
    }
    assert_eq!(store.get(&a, None).await.unwrap(), None);
}

#[tokio::test]
async fn disabled_is_disabled() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    let first = fake.put("acme--a", "canary-1");
    fake.put("acme--a", "canary-2");
    fake.disable("acme--a");
    error(store.get(&a, None).await, Failure::Disabled, "reading acme--a failed: it is disabled in the vault");
    assert_eq!(value(&store.get(&a, Some(&first)).await.unwrap().unwrap()), "canary-1");
}

#[tokio::test]
async fn rights_are_named_as_the_role_that_gives_them() {
    let fake = vault(Role::None).await;
    let (store, a) = (store(&fake), key("acme--a"));
    fake.put("acme--a", "canary-1");
    let user = "Key Vault Secrets User";
    // Whether it is there or not.
    error(store.get(&a, None).await, Failure::Denied, user);
    error(store.get(&key("acme--none"), None).await, Failure::Denied, user);
    error(store.list("acme--").await, Failure::Denied, user);
    error(store.versions(&a).await, Failure::Denied, user);
    error(store.probe().await, Failure::Denied, user);
    for (role, get, list, write) in
        [(Role::GetOnly, true, false, false), (Role::User, true, true, false), (Role::Officer, true, true, true)]
    {
        fake.role(CLIENT, role);
        // Asked again by a new store: the right to write is known for an hour.
        let store = crate::azure::store(&fake);
        assert_eq!(store.probe().await.unwrap(), Capabilities { get, list, write }, "{role:?}");
        assert_eq!(value(&store.get(&a, None).await.unwrap().unwrap()), "canary-1");
    }
    // Revoked: the next read says so.
    fake.role(CLIENT, Role::None);
    error(store.get(&a, None).await, Failure::Denied, user);
    assert_eq!(store.logins(), 1, "a denial is no reason to log in again");
}

#[tokio::test]
async fn the_documented_roles_are_enough() {
    let (fake, a) = (vault(Role::None).await, key("acme--a"));
    fake.role_definition(CLIENT, documented("azure reader"));
    let version = fake.put("acme--a", "canary-1");
    let store = store(&fake);
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: false });
    let read = store.get(&a, None).await.unwrap().unwrap();
    assert_eq!((store.list("acme--").await.unwrap(), store.versions(&a).await.unwrap().len()), (vec![a.clone()], 1));
    assert_eq!(store.changes(&[a.clone(), key("b")]).await.unwrap().unwrap().len(), 1);
    let write = Write { payload: read.payload, when: When::Always, content_type: None, tags: None };
    error(store.set(&a, &write).await, Failure::Denied, "Key Vault Secrets Officer");

    fake.role_definition(CLIENT, documented("azure writer"));
    let store = crate::azure::store(&fake);
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: true });
    store.set(&a, &write).await.unwrap();
    assert!(store.delete(&a).await.unwrap());
    assert_eq!(store.metadata(&a).await.unwrap().unwrap().state, VersionState::Deleted);
    assert!(store.restore(&a, &version).await.unwrap().is_some());
    assert_eq!(fake.count("purge"), 0);
}

#[tokio::test]
async fn a_probe_reads_no_value_changes_nothing_and_is_cheap() {
    let fake = vault(Role::Officer).await;
    let store = store(&fake);
    fake.put("acme--a", "canary-1");
    assert!(store.probe().await.unwrap().write);
    let (first, writes) = (fake.requests(), fake.count("update"));
    assert_eq!((first, writes), (3, 1));
    for _ in 0..5 {
        assert!(store.probe().await.unwrap().write);
    }
    assert_eq!((fake.requests() - first, fake.count("update")), (10, 1), "the right to write is not asked each time");
    assert_eq!((fake.count("set"), fake.count("delete"), fake.is_there("secretref-probe")), (0, 0, false));
    // Somebody has a secret of that name after all.
    fake.put("secretref-probe", "canary-1");
    assert!(store.probe().await.unwrap().get);
    fake.disable("secretref-probe");
    assert!(store.probe().await.unwrap().get);
}

#[tokio::test]
async fn network_rules_are_not_taken_for_missing_rights() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    for (inner, part) in
        [("ForbiddenByFirewall", "az keyvault network-rule add"), ("ForbiddenByConnection", "private endpoint")]
    {
        fake.network(Some(inner));
        error(store.get(&a, None).await, Failure::Denied, part);
        error(store.probe().await, Failure::Denied, part);
        error(store.changes(&[a.clone(), key("b"), key("c")]).await, Failure::Denied, part);
        fake.network(None);
        assert_eq!(store.get(&a, None).await.unwrap(), None);
    }
}

#[tokio::test]
async fn throttling_tells_how_long() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    assert_eq!(store.get(&a, None).await.unwrap(), None);
    let before = fake.requests();
    fake.fail(2, 429, Some("7"));
    let seven = Failure::RateLimited(Some(Duration::from_secs(7)));
    error(store.get(&a, None).await, seven, "limits.requestsPerSecond");
    assert_eq!(fake.requests() - before, 1, "the layers retry, not the store");
    error(store.probe().await, seven, "limits.requestsPerSecond");
    fake.fail(1, 429, None);
    error(store.list("").await, Failure::RateLimited(None), "limits.requestsPerSecond");
    assert_eq!(store.get(&a, None).await.unwrap(), None);
}

#[tokio::test]
async fn an_outage_and_its_end() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    fake.put("acme--a", "canary-1");
    assert!(store.get(&a, None).await.unwrap().is_some());
    fake.served.stop().await;
    error(store.get(&a, None).await, Failure::Unavailable, "reading acme--a failed: ");
    error(store.get(&a, None).await, Failure::Unavailable, "Connection refused");
    error(store.probe().await, Failure::Unavailable, "cannot be reached");
    fake.served.start();
    assert_eq!(value(&store.get(&a, None).await.unwrap().unwrap()), "canary-1");
    assert_eq!(store.logins(), 1, "an outage costs no login");
    fake.served.line(Line::Breaks);
    error(store.get(&a, None).await, Failure::Unavailable, "the connection broke");
    // Who hangs is given up from outside, and the next read is as good as any.
    fake.served.line(Line::Hangs);
    let late = tokio::time::timeout(Duration::from_millis(300), store.get(&a, None)).await;
    assert!(late.is_err());
    fake.served.line(Line::Good);
    eventually("it is back", || async { store.get(&a, None).await.is_ok_and(|found| found.is_some()) }).await;
}

#[tokio::test]
async fn no_connection() {
    let fake = vault(Role::User).await;
    let stranger = FakeKeyVault::start().await;
    let with = |url: &str, ca: Option<String>| {
        let settings = secretref::api::AzureKeyVault { vault_url: url.into(), ..settings(&fake, Some(by_secret())) };
        try_store(settings, ca, credentials())
    };
    let a = key("acme--a");
    let untrusted = with(&fake.url(), Some(stranger.ca())).unwrap();
    error(untrusted.get(&a, None).await, Failure::Unavailable, "caRef");
    let untrusted = with(&fake.url(), None).unwrap();
    error(untrusted.probe().await, Failure::Unavailable, "caRef");
    let closed = with("https://127.0.0.1:1", Some(fake.ca())).unwrap();
    error(closed.get(&a, None).await, Failure::Unavailable, "Connection refused");
    let nowhere = with("https://no-such-vault.invalid", Some(fake.ca())).unwrap();
    error(nowhere.get(&a, None).await, Failure::Unavailable, "cannot be reached");
    for wrong in ["http://localhost:1", "nonsense", "https://"] {
        error(with(wrong, Some(fake.ca())).map(|_| ()), Failure::Misconfigured, "https://NAME.vault.azure.net");
    }
    error(with(&fake.url(), Some("no certificate".into())).map(|_| ()), Failure::Misconfigured, "PEM");
    // By address as well as by name.
    let by_address = with(&fake.url().replace("localhost", "127.0.0.1"), Some(fake.ca())).unwrap();
    assert_eq!(by_address.get(&a, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_wants_a_token_for_something_else_gets_none() {
    let fake = vault(Role::User).await;
    for resource in [
        "https://management.azure.com",
        "https://graph.microsoft.com",
        "https://storage.azure.com",
        "https://vault.azure.net.evil.example",
        "https://evil.example/vault.azure.net",
        "api://AzureADTokenExchange",
        "",
    ] {
        fake.ask_for(resource);
        let store = store(&fake);
        error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "asks for a token of another service");
        error(store.probe().await, Failure::Misconfigured, "and gets none");
        assert_eq!((fake.count("token"), store.logins()), (0, 0), "{resource}");
    }
    // Key Vault's own, and a private cloud's: the host itself.
    for resource in
        ["https://vault.azure.net", "https://vault.azure.cn", "https://managedhsm.azure.net", "https://localhost"]
    {
        fake.ask_for(resource);
        assert_eq!(store(&fake).get(&key("acme--a"), None).await.unwrap(), None, "{resource}");
    }
}
