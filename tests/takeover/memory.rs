//! What is left of values in an operator that has used them: in its memory, in its logs at their most talkative, and in what
//! a crash leaves behind.

use std::{fs::File, os::unix::fs::FileExt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    ALONE,
    harness::{Bao, Cluster, Leaks, Operator, Space, plant, wait_until},
};

/// A store of this test's own, without a cache.
async fn store(cluster: &Cluster, own: &Space, bao: &Bao) -> String {
    own.secret("bao", &json!({ "token": bao.token(&["reader"]).await })).await;
    let name = format!("store-{}", own.name);
    let mut vault = bao.provider();
    let token = json!({ "name": "bao", "namespace": own.name, "key": "token" });
    vault["auth"] = json!({ "token": { "secretRef": token } });
    let spec = json!({
        "provider": { "vault": vault }, "cache": { "ttl": "0s" }, "limits": { "minRefreshInterval": "1s" },
        "healthCheckInterval": "1s",
    });
    let object = json!({
        "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore", "metadata": { "name": name }, "spec": spec,
    });
    cluster.apply(&object).await;
    name
}

fn reference(store: &str, name: &str, interval: &str) -> Value {
    let data = json!([{ "key": "KEY", "secretRef": { "name": name } }]);
    json!({ "storeRef": { "name": store }, "refreshInterval": interval, "data": data })
}

/// How often any of these is in the memory of a process, and where.
fn held(pid: u32, needles: &[String]) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A mapping may go while it is looked at.
        let Ok(read) = memory.read_at(&mut bytes, from) else { continue };
        for needle in needles {
            let hits = bytes[..read].windows(needle.len()).filter(|w| *w == needle.as_bytes()).count();
            if hits > 0 {
                found.push(format!("{hits} times {needle} in {line}"));
            }
        }
    }
    found
}

#[tokio::test]
async fn nothing_of_a_value_stays_in_memory() {
    let _alone = ALONE.lock().await;
    let (cluster, bao) = (Cluster::connect().await, Bao::new().await);
    let (own, acme) = (cluster.namespace("memory", "").await, cluster.namespace("memory", "acme").await);
    let store = store(&cluster, &own, &bao).await;
    let operator = Operator::start(&own.name, &["--namespace", &acme.name]).await;
    let value = plant("memory");
    bao.put("acme--key", json!({ "value": value })).await;
    acme.reference("app", &reference(&store, "key", "0s")).await;
    acme.until_data("app", &json!({ "KEY": value })).await;
    acme.until_reason("app", "Synced").await;
    let needles = [value.clone(), STANDARD.encode(&value)];
    assert_ne!(held(std::process::id(), &needles[..1]), Vec::<String>::new(), "the search is blind");
    // Connections keep the last answer in their buffers until the next one, or until they are closed.
    wait_until("nothing of it is left", Duration::from_secs(600), || async {
        let found = held(operator.pid(), &needles);
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    })
    .await;
    cluster.delete("ClusterSecretStore", None, &store).await;
    acme.done().await;
    own.done().await;
}

/// Whatever is turned up: logs of every level, of this crate and of those it stands on.
#[tokio::test]
async fn no_setting_makes_the_logs_talk() {
    let _alone = ALONE.lock().await;
    let (cluster, bao) = (Cluster::connect().await, Bao::new().await);
    let (own, acme) = (cluster.namespace("talkative", "").await, cluster.namespace("talkative", "acme").await);
    let store = store(&cluster, &own, &bao).await;
    let all = "trace,kube=trace,kube_client=trace,kube_client::client=trace,kube_runtime=trace,hyper=trace,\
               hyper_util=trace,reqwest=trace,rustls=trace,h2=trace,tower=trace,minijinja=trace,log=trace";
    let variables = [("RUST_LOG", all), ("RUST_BACKTRACE", "full")];
    let operator = Operator::start_with(&own.name, &["--namespace", &acme.name], &variables).await;
    let (value, text) = (plant("talkative"), plant("no-base64"));
    bao.put("acme--key", json!({ "value": value })).await;
    bao.put("acme--text", json!({ "value": text, "nested": { "deep": text } })).await;
    acme.reference("app", &reference(&store, "key", "1s")).await;
    acme.until_data("app", &json!({ "KEY": value })).await;
    let mut wrong = reference(&store, "text", "1s");
    wrong["data"][0]["secretRef"]["decode"] = json!("Base64");
    acme.reference("wrong", &wrong).await;
    acme.until_reason("wrong", "PropertyNotFound").await;
    let mut broken = reference(&store, "text", "1s");
    broken["target"] = json!({ "template": { "data": { "url": "{{ KEY.a.b }}" } } });
    acme.reference("broken", &broken).await;
    acme.until_reason("broken", "TemplateError").await;
    let mut refused = reference(&store, "text", "1s");
    refused["target"] = json!({ "type": "kubernetes.io/dockerconfigjson" });
    refused["data"][0]["key"] = json!(".dockerconfigjson");
    acme.reference("refused", &refused).await;
    acme.until_reason("refused", "TargetRejected").await;
    let leaks = Leaks::new();
    assert!(operator.logs().contains("TRACE") || operator.logs().contains("DEBUG"), "nothing was turned up");
    leaks.assert_none("the operator's output", &operator.output());
    leaks.assert_none("/metrics", &operator.metrics().await);
    cluster.assert_no_leaks(&leaks, Some(&acme.name)).await;
    cluster.delete("ClusterSecretStore", None, &store).await;
    acme.done().await;
    own.done().await;
}

/// A crash is not to write the memory of the process to a disk.
#[tokio::test]
async fn a_crash_leaves_no_core() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::connect().await;
    let own = cluster.namespace("crash", "").await;
    let operator = Operator::start(&own.name, &["--namespace", &own.name]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", operator.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    own.done().await;
}
