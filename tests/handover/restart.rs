//! A restart costs nothing at stores that list changes: the marks in the lists are those that the targets remember.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    TURN,
    four::{Four, Store},
    harness::{condition, plant, wait_for},
    world::secret,
};

const NAMES: usize = 30;

#[tokio::test]
async fn a_restart_costs_one_list_and_no_write() {
    let _turn = TURN.lock().await;
    let four = Four::new().await;
    let [_, _, infisical, azure] = &four.stores;
    // Nothing fails here: that a machine that stalls is late is no news of a store, which references would tell.
    for store in [infisical, azure] {
        let patient = json!({ "spec": { "limits": { "timeout": "60s" } } });
        let cluster = &four.world.cluster;
        let generation = cluster.merge("ClusterSecretStore", None, &store.name, &patient).await["metadata"].take();
        wait_for("the store is patient", || async {
            let now = four.world.store_object(&store.name).await;
            let known = now["status"]["observedGeneration"] == generation["generation"];
            if known && condition(&now, "Ready")["status"] == "True" { Ok(()) } else { Err(now["status"].to_string()) }
        })
        .await;
    }
    let names: Vec<String> = (0..NAMES).map(|n| format!("key-{n:02}")).collect();
    for name in &names {
        four.put("infisical", false, name, &plant(&format!("infisical-{name}"))).await;
        four.put("key-vault", false, name, &plant(&format!("azure-{name}"))).await;
    }
    // What was written within the last minute would have to be read again: its clock ticks in seconds.
    four.key_vault.age(3600);
    let targets: Vec<String> =
        [infisical, azure].iter().flat_map(|s| (0..NAMES).map(|n| format!("{}-{n}", s.kind))).collect();
    for store in [infisical, azure] {
        for (n, name) in names.iter().enumerate() {
            let data = json!([secret("KEY", name)]);
            let spec = json!({ "storeRef": { "name": store.name }, "refreshInterval": "6s", "data": data });
            four.world.reference(&format!("{}-{n}", store.kind), spec).await;
        }
    }
    for target in &targets {
        four.world.acme.until_reason(target, "Synced").await;
    }
    let reads = |store: &Store, since: usize| {
        let requests = store.proxy.as_ref().unwrap().requests().split_off(since);
        (requests.iter().filter(|r| r.contains("--key-") || r.contains("/KEY_")).count(), requests)
    };
    // A cycle has seen everything in its steady state.
    wait_for("a cycle reads nothing by itself", || async {
        let before = [infisical, azure].map(|store| reads(store, 0).0);
        tokio::time::sleep(Duration::from_secs(8)).await;
        let after = [infisical, azure].map(|store| reads(store, 0).0);
        if after == before { Ok(()) } else { Err(format!("{before:?}, then {after:?}")) }
    })
    .await;
    let versions = async || {
        let mut all: Vec<Value> = Vec::new();
        for target in &targets {
            let (secret, reference) =
                (four.world.acme.get("Secret", target).await, four.world.acme.get("SecretReference", target).await);
            all.extend([secret, reference].map(|o| o.unwrap()["metadata"]["resourceVersion"].clone()));
        }
        all
    };
    let before = versions().await;
    four.world.operator.terminate().await;
    let asked = [infisical, azure].map(|store| store.proxy.as_ref().unwrap().requests().len());
    four.world.operator.start_again().await;
    for (store, asked) in [infisical, azure].into_iter().zip(asked) {
        wait_for("the store is asked again", || async {
            if reads(store, asked).1.is_empty() { Err("it is not".to_owned()) } else { Ok(()) }
        })
        .await;
    }
    // Two cycles.
    tokio::time::sleep(Duration::from_secs(14)).await;
    for (store, asked) in [infisical, azure].into_iter().zip(asked) {
        let (read, requests) = reads(store, asked);
        assert_eq!(read, 0, "{}: a restart reads what lists tell: {requests:?}", store.kind);
    }
    assert_eq!(versions().await, before, "a restart writes nothing");

    // And a change is seen as before.
    let new = plant("after-the-restart");
    four.put("key-vault", false, "key-07", &new).await;
    four.put("infisical", false, "key-07", &new).await;
    wait_for("the changes arrive", || async {
        for store in [infisical, azure] {
            let data = four.world.acme.data(&format!("{}-7", store.kind)).await.unwrap();
            if data["KEY"] != json!(new) {
                return Err(format!("{} holds {data}", store.kind));
            }
        }
        Ok(())
    })
    .await;
    four.world.done().await;
}
