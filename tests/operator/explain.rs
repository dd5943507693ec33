//! `secretref explain NAMESPACE/NAME`: what the objects of the cluster say, with the caller's own rights, and what only the
//! leader knows. The way to its pod is tried with the chart: tests/chart/install.sh.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{
    harness::{CANARY, plant, wait_for},
    world::{EXPLAIN, World, secret},
};

fn explain(reference: &str, more: &[&str], kubeconfig: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretref"));
    command.arg("explain").arg(reference).args(more).env("KUBECONFIG", kubeconfig);
    tokio::task::block_in_place(|| command.output().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_objects_are_told_and_that_it_is_less() {
    let world = World::new().await;
    let kubeconfig = std::env::var("KUBECONFIG").unwrap();
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    let data = json!([secret("K", "key"), { "key": "P", "value": plant("plain") }]);
    world.reference("good", json!({ "data": data })).await;
    world.acme.until_reason("good", "Synced").await;
    world.reference("bad", json!({ "data": [secret("K", "gone")] })).await;
    world.acme.until_reason("bad", "SecretNotFound").await;
    let name = |reference: &str| format!("{}/{reference}", world.acme.name);

    let elsewhere = ["--operator-namespace", &world.acme.name];
    let good = explain(&name("good"), &elsewhere, &kubeconfig);
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    for part in [
        "K: key: the platform-wide one, version 1",
        "P: plain",
        "reference Synced: True (Synced",
        "store Ready: True",
        "is not in them, and it was not asked: no operator leads in ",
        ": name its namespace with --operator-namespace",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains(CANARY), "{text}");
    let bad = explain(&name("bad"), &["--output", "json"], &kubeconfig);
    assert_eq!(bad.status.code(), Some(1));
    let whole: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert!(
        whole["status"]["conditions"].as_array().unwrap().iter().any(|c| c["reason"] == "SecretNotFound"),
        "{whole}"
    );
    assert!(!whole.to_string().contains(CANARY));
    let none = explain(&name("none"), &[], &kubeconfig);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no SecretReference none"), "{none:?}");
    world.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_tells_what_the_objects_do_not() {
    let world = World::new().await;
    let kubeconfig = std::env::var("KUBECONFIG").unwrap();
    let leader = ["--leader-addr", &EXPLAIN.to_string()];
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    world.bao.put("acme--pinned", json!({ "value": plant("pinned") })).await;
    world.bao.put("acme--shop-a", json!({ "value": plant("found") })).await;
    let mut pinned = secret("PIN", "pinned");
    pinned["secretRef"]["version"] = json!("1");
    pinned["secretRef"]["scope"] = json!("Org");
    let find = json!({ "find": { "prefix": "shop-" } });
    let spec = json!({ "data": [secret("K", "key"), pinned], "dataFrom": [find], "refreshInterval": "300s" });
    world.reference("good", spec).await;
    world.acme.until_reason("good", "Synced").await;
    let reference = format!("{}/good", world.acme.name);

    let parts = [
        "K: key: the platform-wide one, version 1\n  1. acme--key     NotFound (checked ",
        "  2. GLOBAL--key   Found (checked ",
        ", in the cache for ",
        "acme--pinned version 1   Pinned (checked ",
        "a pinned version is read once",
        "dataFrom[0].find: shop-\n  1. acme--shop-*     Found (",
        "s ago, next check in ",
    ];
    // The status is there before the leader takes note of what it says.
    let text = wait_for("the leader tells everything", || async {
        let text = explain(&reference, &leader, &kubeconfig);
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        match parts.iter().find(|part| !text.contains(**part)) {
            None => Ok(text),
            Some(part) => Err(format!("no {part:?} in {text}")),
        }
    })
    .await;
    assert!(!text.contains(CANARY) && !text.contains("not in them"), "{text}");
    let global = "/leader/entries/0/candidates/1";
    let (whole, now, last, next) = wait_for("a moment at which no check is due", || async {
        let whole = explain(&reference, &[&leader[..], &["--output", "json"]].concat(), &kubeconfig);
        let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
        let time = |pointer: &str| {
            let text =
                whole.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {whole}"));
            text.parse::<jiff::Timestamp>().unwrap()
        };
        let (now, last) = (time("/leader/time"), time(&format!("{global}/lastCheck")));
        let next = time(&format!("{global}/nextCheck"));
        if now < next { Ok((whole, now, last, next)) } else { Err(whole.to_string()) }
    })
    .await;
    assert!(last <= now && now < next && next.duration_since(now).as_secs() <= 300, "{whole}");
    assert!(!whole.to_string().contains(CANARY), "{whole}");

    // A new look is a new time, and a failure is named.
    world.bao.put("GLOBAL--key", json!({ "value": plant("again") })).await;
    world.sync_now("good", "1").await;
    wait_for("a later look", || async {
        let whole = explain(&reference, &[&leader[..], &["--output", "json"]].concat(), &kubeconfig);
        let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
        let at = whole.pointer(&format!("{global}/lastCheck")).and_then(Value::as_str).unwrap_or_default();
        if at.parse::<jiff::Timestamp>().is_ok_and(|at| at > last) { Ok(()) } else { Err(whole.to_string()) }
    })
    .await;
    let nobody = explain(&reference, &["--leader-addr", "127.0.0.1:1"], &kubeconfig);
    assert_eq!(nobody.status.code(), Some(0), "what the objects say is said all the same");
    assert!(String::from_utf8_lossy(&nobody.stdout).contains("it was not asked: nobody listens on 127.0.0.1:1"));
    world.done().await;
}
