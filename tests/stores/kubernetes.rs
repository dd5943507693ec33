//! Secrets of a namespace as a store.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use secretref::{
    api::{Capabilities, KubernetesProvider, Provider},
    secret::SecretValue,
    stores::{Change, Connector, Failure, Marks, Property, Store, connect},
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    cluster::{Place, config, reader},
    env::{Fixed, error, eventually, key, map, text},
};

pub fn store(client: &Client, namespace: &str) -> Arc<dyn Store> {
    let provider = KubernetesProvider { namespace: Some(namespace.to_owned()) };
    let provider = Provider { kubernetes: Some(provider), ..Provider::default() };
    let credentials = Arc::new(Fixed::default());
    let with = Connector { ca: None, credentials, client: Some(client.clone()), marks: Marks::random() };
    connect(&provider, with).unwrap()
}

#[tokio::test]
async fn values_under_the_documented_role() {
    let place = Place::new("values").await;
    let reader = place.account("reader", Some(reader())).await;
    let store = store(&reader, &place.name);
    place
        .create::<Secret>(json!({
            "metadata": { "name": "acme--a" },
            "stringData": { "value": "canary-ü漢🔑", "empty": "" },
            "data": { "binary": "AP+AY2FuYXJ5LQ==" },
        }))
        .await;
    place.secret("acme--none", json!({})).await;
    let stored = store.get(&key("acme--a"), None).await.unwrap().unwrap();
    let binary = Property::Text(SecretValue::new(b"\x00\xff\x80canary-".to_vec()));
    let found = map(&stored);
    assert_eq!((&found["value"], &found["empty"], &found["binary"]), (&text("canary-ü漢🔑"), &text(""), &binary));
    assert!(map(&store.get(&key("acme--none"), None).await.unwrap().unwrap()).is_empty());

    // A change is a new token; another Secret of the same name is too.
    let api = place.api::<Secret>();
    let patch = Patch::Merge(json!({ "stringData": { "value": "canary-2" } }));
    api.patch("acme--a", &PatchParams::default(), &patch).await.unwrap();
    let changed = store.get(&key("acme--a"), None).await.unwrap().unwrap();
    assert_ne!((&changed.token, &changed.version), (&stored.token, &stored.version));
    place.remove("acme--a").await;
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap(), None);
    place.secret("acme--a", json!({ "value": "canary-2" })).await;
    assert_ne!(store.get(&key("acme--a"), None).await.unwrap().unwrap().token, changed.token);

    for name in ["acme--b", "acme-corp--a", "global--a"] {
        place.secret(name, json!({ "value": "canary-1" })).await;
    }
    let mut listed = store.list("acme--").await.unwrap();
    listed.sort();
    assert_eq!(listed, [key("acme--a"), key("acme--b"), key("acme--none")]);
    assert!(store.list("beta--").await.unwrap().is_empty());
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: false });
    error(store.get(&key("acme--a"), Some("1")).await, Failure::Misconfigured, "versions");
    for name in ["", "ACME--a", "a/b", "../configmaps/x", "a?x=y", "-a"] {
        error(store.get(&key(name), None).await, Failure::Misconfigured, "reading");
    }
    place.end().await;
}

#[tokio::test]
async fn rights() {
    let place = Place::new("rights").await;
    place.secret("acme--a", json!({ "value": "canary-1" })).await;
    let nobody = store(&place.account("nobody", None).await, &place.name);
    let role = r#"apiGroups [""], resources [secrets], verbs [get, list, watch]"#;
    error(nobody.get(&key("acme--a"), None).await, Failure::Denied, role);
    error(nobody.list("acme--").await, Failure::Denied, role);
    error(nobody.probe().await, Failure::Denied, "resources [namespaces], verbs [get]");

    // A missing Secret is certain only if the namespace can be seen.
    let blind = json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }] });
    let blind = store(&place.account("blind", Some(blind)).await, &place.name);
    assert!(blind.get(&key("acme--a"), None).await.unwrap().is_some());
    error(blind.get(&key("acme--missing"), None).await, Failure::Denied, "resources [namespaces], verbs [get]");

    // The role is taken away: the store says so.
    let gone = store(&place.account("reader", Some(reader())).await, &place.name);
    assert!(gone.probe().await.unwrap().get);
    place.api::<RoleBinding>().delete("reader", &DeleteParams::default()).await.unwrap();
    eventually("denied", || async { gone.probe().await.is_err_and(|e| e.failure == Failure::Denied) }).await;

    let all = store(&place.client, &place.name);
    assert_eq!(all.probe().await.unwrap(), Capabilities { get: true, list: true, write: true });
    // What logs in at the API server itself is never given out, whoever may read it.
    place.create::<ServiceAccount>(json!({ "metadata": { "name": "acme--login" } })).await;
    for (name, kind) in
        [("acme--login", "kubernetes.io/service-account-token"), ("acme--boot", "bootstrap.kubernetes.io/token")]
    {
        let annotations = json!({ "kubernetes.io/service-account.name": "acme--login" });
        place.create::<Secret>(json!({ "metadata": { "name": name, "annotations": annotations }, "type": kind })).await;
        error(all.get(&key(name), None).await, Failure::Denied, "never given out");
    }
    assert_eq!(all.list("acme--").await.unwrap(), [key("acme--a")]);

    let mut wrong = config().await;
    wrong.auth_info = kube::config::AuthInfo { token: Some("nonsense".to_owned().into()), ..Default::default() };
    let wrong = store(&Client::try_from(wrong).unwrap(), &place.name);
    error(wrong.get(&key("acme--a"), None).await, Failure::Unauthenticated, "identity");
    error(wrong.probe().await, Failure::Unauthenticated, "identity");
    place.end().await;
}

#[tokio::test]
async fn a_namespace_that_is_none_or_goes() {
    let place = Place::new("goes").await;
    let missing = store(&place.client, "no-such-namespace");
    error(missing.get(&key("acme--a"), None).await, Failure::Misconfigured, "there is no namespace");
    error(missing.list("acme--").await, Failure::Misconfigured, "there is no namespace");
    error(missing.probe().await, Failure::Misconfigured, "there is no namespace");

    // Something holds the namespace while its Secrets are already gone.
    place.create::<ConfigMap>(json!({ "metadata": { "name": "x", "finalizers": ["secretref.dev/test"] } })).await;
    place.secret("acme--a", json!({ "value": "canary-1" })).await;
    let store = store(&place.client, &place.name);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    Api::<Namespace>::all(place.client.clone()).delete(&place.name, &DeleteParams::default()).await.unwrap();
    eventually("the Secret is gone", || async { store.get(&key("acme--a"), None).await.is_err() }).await;
    error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "is being deleted");
    error(store.list("acme--").await, Failure::Misconfigured, "is being deleted");
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    place.api::<ConfigMap>().patch("x", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_watch_tells_every_change() {
    let place = Place::new("watch").await;
    place.secret("acme--a", json!({ "value": "canary-1" })).await;
    place.create::<ServiceAccount>(json!({ "metadata": { "name": "login" } })).await;
    let annotations = json!({ "kubernetes.io/service-account.name": "login" });
    let hidden = json!({ "metadata": { "name": "login", "annotations": annotations }, "type": "kubernetes.io/service-account-token" });
    place.create::<Secret>(hidden).await;
    let store = store(&place.account("reader", Some(reader())).await, &place.name);
    let mut changes = store.watch().unwrap();
    let mut next = async || tokio::time::timeout(Duration::from_secs(120), changes.next()).await.unwrap().unwrap();
    let token = async |name: &str| store.get(&key(name), None).await.unwrap().unwrap().token;

    assert_eq!(next().await, Change::All(vec![(key("acme--a"), token("acme--a").await)]));
    place.secret("acme--b", json!({ "value": "canary-1" })).await;
    assert_eq!(next().await, Change::Key(key("acme--b"), Some(token("acme--b").await)));
    let patch = Patch::Merge(json!({ "stringData": { "value": "canary-2" } }));
    place.api::<Secret>().patch("acme--a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(next().await, Change::Key(key("acme--a"), Some(token("acme--a").await)));
    place.remove("acme--b").await;
    assert_eq!(next().await, Change::Key(key("acme--b"), None));
    place.end().await;
}

#[tokio::test]
async fn an_api_server_that_is_away_or_silent() {
    let at = |url: String| Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
    let closed = store(&at("http://127.0.0.1:1".into()), "x");
    error(closed.get(&key("acme--a"), None).await, Failure::Unavailable, "cannot be reached");
    // It takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store(&at(format!("http://{}", silent.local_addr().unwrap())), "x");
    let wanted = key("acme--a");
    let (get, list, probe) = tokio::join!(store.get(&wanted, None), store.list("acme--"), store.probe());
    error(get, Failure::Unavailable, "cannot be reached");
    error(list, Failure::Unavailable, "cannot be reached");
    error(probe, Failure::Unavailable, "cannot be reached");
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_list_is_never_answered_starts_over() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let store = store(&Client::try_from(kube::Config::new(address.parse().unwrap())).unwrap(), "x");
    let mut changes = store.watch().unwrap();
    tokio::spawn(async move { changes.next().await });
    let first = silent.accept().await.unwrap();
    let second = silent.accept().await.unwrap();
    assert_ne!(first.1, second.1);
}
