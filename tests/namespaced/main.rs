//! The operator with fewer rights, as the chart gives them: Roles alone (`rbac.scope: Namespaced`), Secrets that it may not
//! read (`secrets.access: WriteOnly`), and what the chart renders under the Pod Security Standard `restricted`. By itself:
//! an operator for the whole cluster would serve the same namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fakes/port.rs"]
mod port;

#[path = "../redteam/chart.rs"]
mod chart;
mod write_only;

use std::process::{Command, Stdio};

use harness::{Bao, Cluster, Leaks, Space, condition, env, plant, wait_for};
use serde_json::{Value, json};

fn reference(store: &str, kind: &str) -> Value {
    json!({
        "storeRef": { "name": store, "kind": kind }, "refreshInterval": "1s",
        "data": [{ "key": "KEY", "secretRef": { "name": "key" } }],
    })
}

async fn own_store(space: &Space, bao: &Bao) {
    space.secret("bao", &json!({ "token": bao.token(&["reader"]).await })).await;
    let mut vault = bao.provider();
    vault["auth"] = json!({ "token": { "secretRef": { "name": "bao", "key": "token" } } });
    let store = json!({
        "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore",
        "metadata": { "name": "own", "namespace": space.name },
        "spec": { "provider": { "vault": vault }, "healthCheckInterval": "1s", "limits": { "minRefreshInterval": "1s" } },
    });
    space.cluster.apply(&store).await;
}

fn can(account: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let scope = if namespace.is_empty() { vec!["-A"] } else { vec!["-n", namespace] };
    let kubectl = Command::new("kubectl").args(["auth", "can-i", verb, resource, "--as", account]).args(scope).output();
    String::from_utf8_lossy(&kubectl.unwrap().stdout).trim() == "yes"
}

#[tokio::test]
async fn with_roles_alone_it_serves_its_namespaces_and_sees_no_other() {
    let cluster = Cluster::connect().await;
    let bao = Bao::new().await;
    let (mine, second, foreign) = tokio::join!(
        cluster.namespace("served", "acme"),
        cluster.namespace("served", ""),
        cluster.namespace("foreign", "acme"),
    );
    let host = env("BAO_ADDR").strip_prefix("https://").unwrap().to_owned();
    let values = json!({
        "rbac": { "scope": "Namespaced" }, "watchNamespaces": [mine.name, second.name],
        "tenantStores": { "enabled": true, "allowedHosts": [host] },
    });
    let installed = chart::install(&cluster, "namespaced", &values).await;
    let account = format!("system:serviceaccount:{}:{}", installed.namespace, installed.name);
    wait_for("the roles are known", || async {
        if can(&account, "list", "secrets", &mine.name) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    for (verb, resource) in [
        ("list", "secrets"),
        ("list", "namespaces"),
        ("get", "clustersecretstores.secretref.dev"),
        ("list", "secretreferences.secretref.dev"),
    ] {
        assert!(!can(&account, verb, resource, ""), "{verb} {resource} everywhere");
        assert!(!can(&account, verb, resource, &foreign.name), "{verb} {resource} in a namespace that is not served");
    }
    let operator = installed.start().await;

    let (old, new, beta) = (plant("old"), plant("new"), plant("beta"));
    bao.put("acme--key", json!({ "value": old })).await;
    bao.put("beta--key", json!({ "value": beta })).await;
    for space in [&mine, &second, &foreign] {
        own_store(space, &bao).await;
        space.reference("app", &reference("own", "SecretStore")).await;
    }
    mine.until_data("app", &json!({ "KEY": old })).await;
    bao.put("acme--key", json!({ "value": new })).await;
    mine.until_data("app", &json!({ "KEY": new })).await;
    mine.until_event("SecretReference", "app", "Synced").await;

    // The label of a namespace counts here, too, and a change of it is seen.
    second.until_reason("app", "OrgNotBound").await;
    let bind = |org: Value| json!({ "metadata": { "labels": { "secretref.dev/org": org } } });
    cluster.merge("Namespace", None, &second.name, &bind(json!("beta"))).await;
    second.until_data("app", &json!({ "KEY": beta })).await;
    cluster.merge("Namespace", None, &second.name, &bind(Value::Null)).await;
    second.until_reason("app", "OrgNotBound").await;

    // What is lost.
    mine.reference("platform", &reference("platform", "ClusterSecretStore")).await;
    let told = mine.until_reason("platform", "StoreNotFound").await;
    assert_eq!(condition(&told, "Ready")["status"], "False");
    assert!(foreign.data("app").await.is_none(), "a namespace that is not served was served");
    assert!(foreign.get("SecretReference", "app").await.unwrap()["status"]["conditions"].is_null());

    // A restart finds everything as it is.
    operator.restart().await;
    bao.put("acme--key", json!({ "value": old })).await;
    mine.until_data("app", &json!({ "KEY": old })).await;
    Leaks::new().assert_none("the operator's output", &operator.output());
    for space in [mine, second, foreign] {
        space.done().await;
    }
}

/// Server-side, as the admission of Pod Security sees it: what it would refuse in a pod it warns of in a Deployment.
#[tokio::test]
async fn what_the_chart_renders_is_restricted() {
    let cluster = Cluster::connect().await;
    let space = cluster.namespace("restricted", "").await;
    let labels = json!({ "metadata": { "labels": {
        "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
    } } });
    cluster.merge("Namespace", None, &space.name, &labels).await;
    admits(&space).await;
    let on = json!({ "enabled": true });
    for values in [
        json!({}),
        json!({ "replicaCount": 2, "networkPolicy": on, "podDisruptionBudget": on, "hooks": on, "rollout": on }),
        json!({ "tenantStores": { "enabled": true, "allowedHosts": ["a.example"] }, "rbac": { "scope": "Namespaced" }, "watchNamespaces": [space.name] }),
    ] {
        let mut all = json!({ "crds": { "enabled": false }, "fullnameOverride": format!("restricted-{}", space.name) });
        for (key, value) in values.as_object().unwrap() {
            all[key] = value.clone();
        }
        let rendered = chart::render(&space.name, &all);
        let said = dry_run(&rendered);
        assert!(!said.contains("PodSecurity"), "{said}");
        // And the pod by itself, which would be refused.
        let pod = pod_of(&rendered, &space.name);
        dry_run(&pod.to_string());
        let mut bad = pod;
        bad["spec"]["containers"][0]["securityContext"]["capabilities"] = json!({ "add": ["NET_ADMIN"] });
        let refused = cluster.create(&bad).await;
        let message = refused.expect_err("the namespace does not enforce").message;
        assert!(message.contains("PodSecurity"), "{message}");
    }
    space.done().await;
}

/// Waits until pods are admitted as they will be: the API server hears of the labels, and the controller manager makes the
/// account, a moment after the namespace is there.
async fn admits(space: &Space) {
    let pod = |security: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "probe", "namespace": space.name },
            "spec": { "containers": [{ "name": "app", "image": "example.com/none", "securityContext": security }] },
        })
    };
    let restricted = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    let asked = async |pod: Value| {
        let request = axum::http::Request::post(format!("/api/v1/namespaces/{}/pods?dryRun=All", space.name));
        let request = request.header("Content-Type", "application/json").body(pod.to_string().into_bytes()).unwrap();
        space.cluster.client.request::<Value>(request).await.map_err(|e| e.to_string())
    };
    wait_for("a pod that is restricted is admitted, and no other one", || async {
        asked(pod(restricted.clone())).await?;
        match asked(pod(json!({ "privileged": true }))).await {
            Err(why) if why.contains("PodSecurity") => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}

/// The pod of the Deployment.
fn pod_of(rendered: &str, namespace: &str) -> Value {
    let deployment = rendered.split("\n---").find(|d| d.contains("\nkind: Deployment")).expect("a Deployment");
    let deployment: Value = serde_saphyr::from_str(deployment).unwrap();
    let mut spec = deployment["spec"]["template"]["spec"].clone();
    // Accounts are not made by a dry run.
    spec["serviceAccountName"] = json!("default");
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "restricted", "namespace": namespace }, "spec": spec })
}

/// Everything that the API server says of it, warnings too; it must not refuse it.
fn dry_run(manifest: &str) -> String {
    use std::io::Write;
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["apply", "--dry-run=server", "-f", "-"]);
    let piped = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("kubectl");
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    said
}
