//! Logins without a credential of the store's own: Kubernetes, against the real TokenReview, and JWT.

use std::{process::Command, sync::Arc};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::Method;
use secretref::{
    api::{JwtAuth, KubernetesAuth, ServiceAccountRef, VaultAuth},
    stores::{ClusterCredentials, Failure},
};
use serde_json::json;

use crate::{
    cluster::Place,
    env::{Bao, documented, error, key, plant, source, try_vault, vault},
};

fn kubernetes(role: &str, audiences: Option<&[&str]>, account: Option<&str>) -> VaultAuth {
    let auth = KubernetesAuth {
        mount_path: None,
        role: role.into(),
        audiences: audiences.map(|list| list.iter().map(|a| (*a).to_owned()).collect()),
        service_account_ref: account.map(|name| ServiceAccountRef { name: name.into() }),
    };
    VaultAuth { kubernetes: Some(auth), ..VaultAuth::default() }
}

#[tokio::test]
async fn by_the_operators_service_account() {
    let place = Place::new("login").await;
    let bao = Bao::new("login").await;
    bao.put("acme--a", json!({ "value": "canary-1" })).await;
    // The documented commands, with names that no other test has.
    let dir = std::env::temp_dir().join(&place.name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("reader.hcl"), documented("vault reader")).unwrap();
    let commands = documented("vault kubernetes auth").replace("secretref", &place.name);
    let commands = commands.replace("bao-reviewer", &format!("{}-reviewer", place.name));
    let done = Command::new("sh")
        .args(["-euc", &commands])
        .current_dir(&dir)
        .env("BAO_NAMESPACE", &bao.namespace)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::fs::remove_dir_all(&dir).unwrap();

    let rule = json!({ "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [place.name], "verbs": ["create"] });
    let operator = place.account(&place.name, Some(json!({ "rules": [rule] }))).await;
    let platform = || Arc::new(ClusterCredentials::platform(operator.clone(), None, None));
    let at = |auth: VaultAuth| vault(bao.settings(auth), Some(bao.ca.clone()), platform());

    let store = at(kubernetes(&place.name, None, None));
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    assert!(store.probe().await.unwrap().list);
    assert_eq!(store.logins(), 1);
    for auth in [kubernetes("no-such-role", None, None), kubernetes(&place.name, Some(&["other"]), None)] {
        let store = at(auth);
        let e = error(
            store.get(&key("acme--a"), None).await,
            Failure::Unauthenticated,
            "the Kubernetes login at auth/kubernetes",
        );
        assert!(
            e.message.contains("bound to the ServiceAccount that logs in")
                && e.message.contains("its namespace and audience"),
            "{e}"
        );
        error(store.probe().await, Failure::Unauthenticated, "rejected");
    }
    assert_eq!(bao.asked("update", "auth/kubernetes/login"), 3, "rejected logins are remembered");
    for audience in ["https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", ""] {
        let auth = kubernetes(&place.name, Some(&["vault", audience]), None);
        let made = try_vault(bao.settings(auth), Some(bao.ca.clone()), platform()).map(|_| ());
        error(made, Failure::Misconfigured, "set audiences");
    }

    // A tenant's account is another identity: the role is not bound to it.
    place.account("app", None).await;
    let tenant = Arc::new(ClusterCredentials::tenant(place.client.clone(), place.name.clone()));
    let settings = bao.settings(kubernetes(&place.name, Some(&["vault"]), Some("app")));
    let store = vault(settings, Some(bao.ca.clone()), tenant);
    error(store.get(&key("acme--a"), None).await, Failure::Unauthenticated, "rejected");

    // The API server cannot be asked: no fault of the credential's, and back as soon as it can.
    let config =
        json!({ "kubernetes_host": "https://127.0.0.1:1", "kubernetes_ca_cert": bao.ca, "disable_local_ca_jwt": true });
    bao.must(Method::POST, "auth/kubernetes/config", config).await;
    let away = at(kubernetes(&place.name, None, None));
    let said = away.get(&key("acme--a"), None).await.unwrap_err();
    assert!(matches!(said.failure, Failure::Unavailable | Failure::Unauthenticated), "{said}");
    place.end().await;
}

#[tokio::test]
async fn by_a_jwt_from_a_secret() {
    let bao = Bao::new("jwt").await;
    bao.policy("reader", documented("vault reader")).await;
    bao.put("acme--a", json!({ "value": "canary-1" })).await;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    bao.must(Method::POST, "sys/auth/jwt", json!({ "type": "jwt" })).await;
    bao.must(Method::POST, "auth/jwt/config", json!({ "jwt_validation_pubkeys": pem("PUBLIC KEY", public.as_ref()) }))
        .await;
    let role =
        json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_policies": "reader" });
    bao.must(Method::POST, "auth/jwt/role/op", role).await;
    let jwt = |audience: &str| {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({ "sub": "operator", "aud": audience, "iat": now, "nbf": now, "exp": now + 600 });
        let parts = [json!({ "alg": "ES256", "typ": "JWT" }), claims].map(|p| URL_SAFE_NO_PAD.encode(p.to_string()));
        let text = parts.join(".");
        let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        plant(&format!("{text}.{}\n", URL_SAFE_NO_PAD.encode(signature)))
    };
    let auth = || {
        let jwt = JwtAuth { mount_path: None, role: "op".into(), jwt: source("jwt") };
        bao.settings(VaultAuth { jwt: Some(jwt), ..VaultAuth::default() })
    };
    let store = bao.with(auth(), &[("jwt", &jwt("vault"))]);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    let store = bao.with(auth(), &[("jwt", &jwt("other"))]);
    error(store.get(&key("acme--a"), None).await, Failure::Unauthenticated, "the JWT login at auth/jwt was rejected");
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}
