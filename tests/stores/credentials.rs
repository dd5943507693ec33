//! Where stores get their credentials in a cluster.

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use secretref::{
    api::{CaRef, CaRefKind, SecretKeyRef, ServiceAccountRef},
    secret::SecretValue,
    stores::{ClusterCredentials, Credentials, Failure},
};
use serde_json::json;

use crate::{
    cluster::Place,
    env::{error, plant},
};

fn at(namespace: Option<&str>, name: &str, key: &str) -> SecretKeyRef {
    SecretKeyRef { name: name.into(), namespace: namespace.map(Into::into), key: key.into() }
}

#[tokio::test]
async fn secrets() {
    let place = Place::new("credentials").await;
    place.secret("login", json!({ "token": "canary-t\r\n\n", "spaces": " x " })).await;
    let all = ClusterCredentials::platform(place.client.clone(), None, None);
    let here = Some(place.name.as_str());
    let value = |text: &str| SecretValue::from(text.to_owned());
    assert_eq!(all.secret(&at(here, "login", "token")).await.unwrap(), value("canary-t"));
    assert_eq!(all.secret(&at(here, "login", "spaces")).await.unwrap(), value(" x "));
    error(all.secret(&at(here, "login", "other")).await, Failure::NotReady, "no key other");
    error(all.secret(&at(here, "other", "token")).await, Failure::NotReady, "create it");
    error(all.secret(&at(Some("no-such"), "login", "token")).await, Failure::NotReady, "create it");
    error(all.secret(&at(None, "login", "token")).await, Failure::Misconfigured, "names no namespace");
    error(all.secret(&at(Some("../x"), "login", "token")).await, Failure::Misconfigured, "lower-case");
    let with_default = ClusterCredentials::platform(place.client.clone(), Some(place.name.clone()), None);
    assert_eq!(with_default.secret(&at(None, "login", "token")).await.unwrap(), value("canary-t"));
    let nobody = ClusterCredentials::platform(place.account("nobody", None).await, None, None);
    error(nobody.secret(&at(here, "login", "token")).await, Failure::NotReady, "get Secrets in namespace");

    // A tenant's store: its own namespace only.
    let tenant = ClusterCredentials::tenant(place.client.clone(), place.name.clone());
    assert_eq!(tenant.secret(&at(None, "login", "token")).await.unwrap(), value("canary-t"));
    assert_eq!(tenant.secret(&at(here, "login", "token")).await.unwrap(), value("canary-t"));
    error(tenant.secret(&at(Some("kube-system"), "login", "token")).await, Failure::Misconfigured, "another namespace");
    place.end().await;
}

#[tokio::test]
async fn ca_certificates() {
    let place = Place::new("ca").await;
    place.secret("ca", json!({ "ca.crt": "PEM" })).await;
    place.create::<ConfigMap>(json!({ "metadata": { "name": "ca" }, "data": { "ca.crt": "PEM" } })).await;
    let credentials = ClusterCredentials::platform(place.client.clone(), None, None);
    for kind in [CaRefKind::Secret, CaRefKind::ConfigMap] {
        let at = |name: &str, key: &str| CaRef {
            kind,
            name: name.into(),
            namespace: Some(place.name.clone()),
            key: key.into(),
        };
        assert_eq!(credentials.ca_bundle(&at("ca", "ca.crt")).await.unwrap(), "PEM");
        error(credentials.ca_bundle(&at("ca", "other")).await, Failure::NotReady, "no key other");
        error(credentials.ca_bundle(&at("other", "ca.crt")).await, Failure::NotReady, "create it");
        let tenant = ClusterCredentials::tenant(place.client.clone(), "default".into());
        error(tenant.ca_bundle(&at("ca", "ca.crt")).await, Failure::Misconfigured, "another namespace");
    }
    place.end().await;
}

#[tokio::test]
async fn tokens_of_service_accounts() {
    let place = Place::new("tokens").await;
    let rule = json!({ "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["operator"], "verbs": ["create"] });
    let operator = place.account("operator", Some(json!({ "rules": [rule] }))).await;
    let vault = ["vault".to_owned()];
    let found = ClusterCredentials::platform(operator.clone(), None, None);
    let token = found.service_account_token(None, &vault).await.unwrap();
    let token = plant(token.expose_str().unwrap());
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["aud"], json!(["vault"]));
    assert_eq!(payload["sub"], format!("system:serviceaccount:{}:operator", place.name));
    assert_eq!(payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap(), 600);

    // Never one that the API server itself takes, by any of its names.
    let issuer = payload["iss"].as_str().unwrap();
    for audiences in [
        &[][..],
        &[""],
        &["https://kubernetes.default.svc"],
        &["vault", "kubernetes.default.svc.cluster.local"],
        &[issuer],
    ] {
        let audiences: Vec<String> = audiences.iter().map(|a| (*a).to_owned()).collect();
        error(found.service_account_token(None, &audiences).await, Failure::Misconfigured, "set audiences");
    }

    // An administrator's laptop has no ServiceAccount, unless told.
    let laptop = ClusterCredentials::platform(place.client.clone(), None, None);
    error(laptop.service_account_token(None, &vault).await, Failure::NotReady, "--service-account");
    let named = |name: &str| {
        ClusterCredentials::platform(place.client.clone(), None, Some((place.name.clone(), name.to_owned())))
    };
    assert!(named("operator").service_account_token(None, &vault).await.is_ok());
    error(named("other").service_account_token(None, &vault).await, Failure::NotReady, "create it");
    let nobody = ClusterCredentials::platform(place.account("nobody", None).await, None, None);
    error(nobody.service_account_token(None, &vault).await, Failure::NotReady, "resources [serviceaccounts/token]");

    // A tenant's account is of its own namespace, and must be named.
    place.create::<ServiceAccount>(json!({ "metadata": { "name": "app" } })).await;
    let app = ServiceAccountRef { name: "app".into() };
    let tenant = ClusterCredentials::tenant(place.client.clone(), place.name.clone());
    assert!(tenant.service_account_token(Some(&app), &vault).await.is_ok());
    error(tenant.service_account_token(None, &vault).await, Failure::Misconfigured, "add serviceAccountRef");
    error(
        named("operator").service_account_token(Some(&app), &vault).await,
        Failure::Misconfigured,
        "remove serviceAccountRef",
    );
    place.end().await;
}
