//! Change streams as a store has them: they live on the store's session, and never end it.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use reqwest::Method;
use secretref::{
    api::Vault,
    stores::{Notice, Store},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    env::{Bao, by_role, documented, eventually, key},
    fakes::{
        FakeVaultEvents,
        infisical::{FakeInfisical, Licence, Release, Role},
    },
    infisical_env,
};

/// What the stream says next; a dead machine would take longer.
async fn next(stream: &mut BoxStream<'static, Notice>) -> Notice {
    timeout(Duration::from_secs(60), stream.next()).await.expect("a notice within a minute").unwrap()
}

/// The stream runs, and says nothing, until it has asked.
async fn asks(stream: &mut BoxStream<'static, Notice>, asked: impl Fn() -> bool) {
    let asked = eventually("it asks", || async { asked() });
    tokio::select! {
        () = asked => {}
        heard = stream.next() => panic!("{heard:?}"),
    }
}

async fn quiet(stream: &mut BoxStream<'static, Notice>) {
    let heard = timeout(Duration::from_secs(3), stream.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn listener(name: &str, policies: &[&str]) -> (Bao, FakeVaultEvents, std::sync::Arc<dyn Store>) {
    let bao = Bao::new(name).await;
    bao.policy("reader", documented("vault reader")).await;
    bao.policy("listener", r#"path "sys/events/subscribe/kv*" { capabilities = ["read"] }"#).await;
    let fake = FakeVaultEvents::before(&bao.address, &bao.ca).await;
    let (role, secret) = bao.app_role(json!({ "token_policies": policies })).await;
    let settings =
        Vault { address: fake.address(), ca_bundle: Some(fake.served.ca.clone()), ..bao.settings(by_role(&role)) };
    let credentials = crate::env::Fixed([("secret-id".to_owned(), secret)].into());
    let store = crate::env::vault(settings, None, std::sync::Arc::new(credentials));
    (bao, fake, store)
}

#[tokio::test]
async fn vault_s_events_live_as_long_as_the_session_and_come_back_with_the_next() {
    let (bao, fake, store) = listener("events", &["reader", "listener"]).await;
    let mut stream = store.notices().unwrap();
    assert_eq!(next(&mut stream).await, Notice::Anything);
    fake.tell("kv-v2/data-write", "secret/data/acme--key");
    fake.tell("kv-v2/data-write", "other/data/acme--other");
    fake.tell("kv-v2/metadata-delete", "secret/metadata/acme/path");
    assert_eq!(next(&mut stream).await, Notice::Key(key("acme--key")));
    assert_eq!(next(&mut stream).await, Notice::Key(key("acme/path")));
    assert_eq!((store.logins(), fake.asked()), (1, vec![101]));

    // The token is revoked, and with it goes the connection.
    let list = Method::from_bytes(b"LIST").unwrap();
    let accessors = bao.must(list, "auth/token/accessors", Value::Null).await;
    for accessor in accessors["data"]["keys"].as_array().unwrap() {
        bao.must(Method::POST, "auth/token/revoke-accessor", json!({ "accessor": accessor })).await;
    }
    fake.end_subscriptions();
    assert_eq!(next(&mut stream).await, Notice::Anything);
    assert_eq!((store.logins(), fake.asked()), (2, vec![101, 403, 101]));

    // Whoever does not listen any more is gone.
    drop(stream);
    eventually("it hangs up", || async {
        fake.say("anyone");
        fake.subscribers() == 0
    })
    .await;
}

#[tokio::test]
async fn a_login_that_may_not_listen_reads_as_ever() {
    let (bao, fake, store) = listener("no-events", &["reader"]).await;
    bao.put("acme--key", json!({ "value": "canary-1" })).await;
    let mut stream = store.notices().unwrap();
    asks(&mut stream, || !fake.asked().is_empty()).await;
    quiet(&mut stream).await;
    assert!(store.get(&key("acme--key"), None).await.unwrap().is_some());
    assert_eq!((store.logins(), fake.asked()), (1, vec![403]));
}

/// OpenBao has no such path: one request, and no other.
#[tokio::test]
async fn openbao_is_asked_once() {
    let bao = Bao::new("no-path").await;
    let policy = format!("{}\npath \"sys/*\" {{ capabilities = [\"read\"] }}", documented("vault reader"));
    bao.policy("reader", &policy).await;
    let (role, secret) = bao.app_role(json!({ "token_policies": ["reader"] })).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    let mut stream = store.notices().unwrap();
    asks(&mut stream, || bao.asked("read", "sys/events") > 0).await;
    quiet(&mut stream).await;
    assert_eq!((store.logins(), bao.asked("read", "sys/events")), (1, 1));
}

#[tokio::test]
async fn infisical_s_events_are_of_the_environment_and_below_the_root() {
    let fake = FakeInfisical::start(Release::Current).await;
    fake.licence(Licence::Enterprise);
    let identity = fake.identity(Role::Viewer);
    fake.make_folder("/apps");
    let store = infisical_env::store_with(&fake, &identity, |settings| settings.root_path = Some("/apps".into()));
    let mut stream = store.notices().unwrap();
    assert_eq!(next(&mut stream).await, Notice::Anything);
    fake.put("/acme", "OUTSIDE", "canary-1");
    fake.put("/applications/acme", "OUTSIDE", "canary-1");
    fake.put_in("staging", "/apps/acme", "OUTSIDE", "canary-1");
    fake.put("/apps/acme", "INSIDE", "canary-1");
    fake.put("/apps", "TOP", "canary-1");
    fake.remove("/apps/acme", "INSIDE");
    for inside in ["acme/INSIDE", "TOP", "acme/INSIDE"] {
        assert_eq!(next(&mut stream).await, Notice::Key(key(inside)));
    }
    // An event that never ends: the stream is given up, and a new one begins.
    fake.say(&format!("data: {}", "x".repeat(2 << 20)));
    assert_eq!(next(&mut stream).await, Notice::Anything);
    assert_eq!((fake.asked("subscribe"), store.logins()), (2, 1));
}

/// A token that is not taken there is still the session's: reads find out whether it is good.
#[tokio::test]
async fn a_stream_that_is_refused_does_not_end_the_session() {
    let fake = FakeInfisical::start(Release::Current).await;
    fake.licence(Licence::Enterprise);
    let identity = fake.identity(Role::Viewer);
    fake.put("/acme", "KEY", "canary-1");
    let store = infisical_env::store(&fake, &identity);
    assert!(store.get(&key("acme/KEY"), None).await.unwrap().is_some());
    fake.revoke_tokens();
    let mut stream = store.notices().unwrap();
    asks(&mut stream, || fake.asked("subscribe") > 0).await;
    quiet(&mut stream).await;
    assert_eq!(store.logins(), 1);
    assert!(store.get(&key("acme/KEY"), None).await.unwrap().is_some());
    assert_eq!((next(&mut stream).await, store.logins()), (Notice::Anything, 2));
}
