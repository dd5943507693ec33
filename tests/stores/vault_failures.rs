//! Each row of the failure table that a real OpenBao shows.

use std::{path::PathBuf, process::Command, sync::Arc};

use reqwest::Method;
use secretref::{api::Capabilities, stores::Failure};
use serde_json::{Value, json};

use crate::env::{Bao, Fixed, by_token, documented, error, eventually, key, plant, try_vault, vault, vault_settings};

#[tokio::test]
async fn certain_that_it_is_not_there() {
    let bao = Bao::new("missing").await;
    let store = bao.reader().await;
    for name in ["acme--deleted", "acme--destroyed"] {
        bao.put(name, json!({ "value": "canary-1" })).await;
        assert!(store.get(&key(name), None).await.unwrap().is_some());
    }
    bao.must(Method::DELETE, "secret/data/acme--deleted", Value::Null).await;
    bao.must(Method::PUT, "secret/destroy/acme--destroyed", json!({ "versions": [1] })).await;
    for name in ["acme--never", "acme--deleted", "acme--destroyed", "acme--never/in/a/folder"] {
        assert_eq!(store.get(&key(name), None).await.unwrap(), None, "{name}");
    }
    assert_eq!(store.get(&key("acme--deleted"), Some("1")).await.unwrap(), None);
    assert_eq!(bao.asked("read", "sys/internal/ui/mounts/secret"), 1, "the mount is looked at once");

    bao.must(Method::PUT, "secret/undelete/acme--deleted", json!({ "versions": [1] })).await;
    assert!(store.get(&key("acme--deleted"), None).await.unwrap().is_some());
}

#[tokio::test]
async fn a_mount_that_is_none() {
    let bao = Bao::new("mounts").await;
    bao.policy("all", r#"path "*" { capabilities = ["read", "list", "create", "update"] }"#).await;
    let token = bao.token(json!({ "policies": ["all"] })).await;
    let at = |mount: &str| {
        let mut settings = bao.settings(by_token());
        settings.mount = Some(mount.into());
        bao.with(settings, &[("token", &token)])
    };
    bao.mount("transit", "transit", "").await;
    for mount in ["transit", "cubbyhole"] {
        let store = at(mount);
        error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "not a KV version 2 mount");
        error(store.list("acme--").await, Failure::Misconfigured, "not a KV version 2 mount");
        error(store.probe().await, Failure::Misconfigured, "not a KV version 2 mount");
    }
    let store = at("no/such");
    error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "no such mount");
    error(store.list("acme--").await, Failure::Misconfigured, "no such mount");
    error(store.probe().await, Failure::Misconfigured, "no mount no/such");

    bao.mount("team/kv", "kv", "2").await;
    assert_eq!(at("team/kv").get(&key("acme--a"), None).await.unwrap(), None);
    assert_eq!(at("team/kv").probe().await.unwrap(), Capabilities { get: true, list: true, write: true });
    // Gone in the middle of a session.
    let store = at("team/kv");
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap(), None);
    bao.must(Method::DELETE, "sys/mounts/team/kv", Value::Null).await;
    error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "no such mount");
}

#[tokio::test]
async fn a_namespace_that_is_none() {
    let bao = Bao::new("namespaces").await;
    bao.put("acme--elsewhere", json!({ "value": "canary-1" })).await;
    let token = bao.token(json!({ "policies": ["default"] })).await;
    let mut settings = bao.settings(by_token());
    settings.namespace = Some("no/such".into());
    let store = bao.with(settings, &[("token", &token)]);
    error(store.get(&key("acme--elsewhere"), None).await, Failure::Misconfigured, "no such namespace");
    error(store.probe().await, Failure::Misconfigured, "no such namespace");
    // The same path of another namespace is another secret.
    let mut settings = bao.settings(by_token());
    settings.namespace = None;
    let admin = bao.with(settings, &[("token", &crate::env::env("BAO_TOKEN"))]);
    assert_eq!(admin.get(&key("acme--elsewhere"), None).await.unwrap(), None);
}

#[tokio::test]
async fn a_policy_that_denies() {
    let bao = Bao::new("denied").await;
    for name in ["acme--a", "beta--a", "beta/team/a"] {
        bao.put(name, json!({ "value": "canary-1" })).await;
    }
    bao.policy("acme", r#"path "secret/data/acme--*" { capabilities = ["read"] }"#).await;
    let store = bao.with_token(&bao.token(json!({ "policies": ["acme"] })).await);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    let e = error(store.get(&key("beta--a"), None).await, Failure::Denied, "reading beta--a failed");
    assert!(e.message.contains(r#"path "secret/data/beta--*" { capabilities = ["read"] }"#), "{e}");
    error(store.get(&key("beta--missing"), None).await, Failure::Denied, "secret/data/beta--*");
    error(store.get(&key("beta/team/a"), None).await, Failure::Denied, r#""secret/data/beta/*""#);
    error(store.list("acme--").await, Failure::Denied, r#"path "secret/metadata/*" { capabilities = ["list"] }"#);
    // Policies for some organisations: the store is healthy.
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: false, write: false });
    // Denied keys cost no more than healthy ones: the probe alone has looked the token up again.
    assert_eq!(bao.asked("read", "auth/token/lookup-self"), 2);
    assert_eq!(store.logins(), 1);

    // The documented line, added, is enough.
    bao.policy("acme", r#"path "secret/data/beta--*" { capabilities = ["read"] }"#).await;
    assert!(store.get(&key("beta--a"), None).await.unwrap().is_some());
    // All rights on the mount gone: the store says so.
    bao.policy("acme", r#"path "other/*" { capabilities = ["read"] }"#).await;
    error(store.probe().await, Failure::Denied, r#"path "secret/data/*""#);
    let mut settings = bao.settings(by_token());
    settings.mount = Some("no-such".into());
    let store = bao.with(settings, &[("token", &bao.token(json!({ "policies": ["acme"] })).await)]);
    error(store.get(&key("acme--a"), None).await, Failure::Denied, "no-such/data/acme--*");
    error(store.probe().await, Failure::Denied, "or there is no such mount");
}

#[tokio::test]
async fn the_documented_reader_reads_and_lists_and_nothing_else() {
    let bao = Bao::new("reader").await;
    let store = bao.reader().await;
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: false });
    // A value of the probed key is not read.
    assert_eq!(bao.asked("read", "secret/data"), 0);
}

#[tokio::test]
async fn a_rate_limit_quota() {
    let bao = Bao::new("quota").await;
    let store = bao.reader().await;
    bao.put("acme--a", json!({ "value": "canary-1" })).await;
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    let quota = format!("sys/quotas/rate-limit/{}", bao.namespace);
    let root = Bao { namespace: String::new(), ..Bao::new("quota-admin").await };
    let path = format!("{}/secret/", bao.namespace);
    root.must(Method::POST, &quota, json!({ "rate": 1, "interval": "60s", "path": path })).await;
    let mut results = Vec::new();
    for _ in 0..3 {
        results.push(store.get(&key("acme--a"), None).await);
    }
    root.must(Method::DELETE, &quota, Value::Null).await;
    error(results.pop().unwrap(), Failure::RateLimited(None), "rate limit quota");
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
}

#[tokio::test]
async fn no_connection() {
    let bao = Bao::new("tls").await;
    let credentials = || Arc::new(Fixed([("token".to_owned(), "t".to_owned())].into()));
    let at = |address: &str, ca: Option<String>| vault(vault_settings(address, by_token()), ca, credentials());
    let other = stranger();
    for store in [at(&bao.address, Some(other)), at(&bao.address, None)] {
        error(store.get(&key("acme--a"), None).await, Failure::Unavailable, "caBundle or caRef");
        error(store.probe().await, Failure::Unavailable, "caBundle or caRef");
    }
    let closed = at("https://127.0.0.1:1", Some(bao.ca.clone()));
    error(closed.get(&key("acme--a"), None).await, Failure::Unavailable, "Connection refused");
    let nowhere = at("https://no-such-host.invalid:8200", Some(bao.ca.clone()));
    error(nowhere.get(&key("acme--a"), None).await, Failure::Unavailable, "cannot be reached");
    // Plain HTTP to a TLS port: the server says so in plain text.
    let plain = at(&bao.address.replace("https:", "http:"), None);
    error(plain.get(&key("acme--a"), None).await, Failure::Misconfigured, "address");
    for (address, ca) in [(bao.address.as_str(), "no certificate"), ("nonsense", "")] {
        let ca = (!ca.is_empty()).then(|| ca.to_owned());
        let made = try_vault(vault_settings(address, by_token()), ca, credentials()).map(|_| ());
        error(made, Failure::Misconfigured, ": ");
    }
}

/// A certificate of nobody.
fn stranger() -> String {
    let command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj /CN=x -days 2";
    let made = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap()
}

/// An OpenBao of its own; it goes with the test, however that ends.
struct Own(PathBuf);

impl Own {
    fn script(&self, name: &str) -> String {
        let script = format!("{}/tests/openbao/{name}", env!("CARGO_MANIFEST_DIR"));
        let done = Command::new(script).arg(&self.0).env("PORT", "18276").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.script("down.sh");
    }
}

/// A server that nobody has initialised, and that ends with the test.
#[tokio::test]
async fn not_initialised() {
    let config = std::env::temp_dir().join(format!("secretref-fresh-{}.hcl", std::process::id()));
    let listener = r#"listener "tcp" { address = "127.0.0.1:18278", tls_disable = true }"#;
    std::fs::write(&config, format!("storage \"inmem\" {{}}\n{}\n", listener.replace(", ", "\n"))).unwrap();
    let mut server = tokio::process::Command::new(format!("{}/bin/bao", crate::env::env("SECRETREF_BAO")));
    let server = server.arg("server").arg(format!("-config={}", config.display())).kill_on_drop(true);
    let _server = server.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let credentials = Arc::new(Fixed([("token".to_owned(), "t".to_owned())].into()));
    let store = vault(vault_settings("http://127.0.0.1:18278", by_token()), None, credentials);
    eventually("it answers", || async { store.probe().await.is_err_and(|e| !e.message.contains("cannot be reached")) })
        .await;
    std::fs::remove_file(config).unwrap();
    error(store.probe().await, Failure::Unavailable, "not initialised: initialise it");
    // Anything else it answers as if it were sealed.
    error(store.get(&key("acme--a"), None).await, Failure::Unavailable, ": ");
}

/// Sealing is for all: not on the server that the other tests use.
#[tokio::test]
async fn sealed_and_back() {
    let own = Own(std::env::temp_dir().join(format!("secretref-sealed-{}", std::process::id())));
    let up = |printed: String| {
        let value = |name: &str| {
            let line = printed.lines().find_map(|l| l.strip_prefix(&format!("{name}="))).unwrap();
            line.to_owned()
        };
        (value("BAO_ADDR"), std::fs::read_to_string(value("BAO_CACERT")).unwrap(), plant(&value("BAO_TOKEN")))
    };
    let (address, ca, token) = up(own.script("up.sh"));
    let bao = Bao::at(address, ca, token, "sealed").await;
    bao.put("acme--a", json!({ "value": "canary-1" })).await;
    bao.policy("reader", documented("vault reader")).await;
    let (role, secret) = bao.app_role(json!({ "token_policies": ["reader"] })).await;
    let store = bao.with(bao.settings(crate::env::by_role(&role)), &[("secret-id", &secret)]);
    let fresh = bao.with(bao.settings(crate::env::by_role(&role)), &[("secret-id", &secret)]);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());

    let root = Bao { namespace: String::new(), ..bao };
    eventually("it is sealed", || async {
        root.call(Method::PUT, "sys/seal", json!({})).await;
        root.call(Method::GET, "sys/seal-status", Value::Null).await.1["sealed"] == true
    })
    .await;
    error(store.get(&key("acme--a"), None).await, Failure::Unavailable, "sealed: unseal it");
    error(store.get(&key("acme--missing"), None).await, Failure::Unavailable, "sealed: unseal it");
    error(store.probe().await, Failure::Unavailable, "sealed: unseal it (`bao operator unseal`)");
    // A login that a sealed server cannot answer is not held against the credential.
    error(fresh.get(&key("acme--a"), None).await, Failure::Unavailable, "sealed: unseal it");

    let pid = std::fs::read_to_string(own.0.join("pid")).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    eventually("it ends", || async {
        store.probe().await.is_err_and(|e| e.message.contains("cannot be reached") || e.message.contains("broke"))
    })
    .await;
    up(own.script("up.sh"));
    assert!(store.probe().await.unwrap().get);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    assert!(fresh.get(&key("acme--a"), None).await.unwrap().is_some());
    assert_eq!(store.logins(), 1, "a restart costs no login");
}
