//! `secretref explain NAMESPACE/NAME`: what the objects of the cluster say, with the caller's own rights.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{
    harness::{CANARY, plant},
    world::{World, secret},
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

    let good = explain(&name("good"), &[], &kubeconfig);
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    for part in [
        "K: key: the platform-wide one, version 1",
        "P: plain",
        "reference Synced: True (Synced",
        "store Ready: True",
        "not in them",
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
