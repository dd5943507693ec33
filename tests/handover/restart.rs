//! A restart costs nothing at stores that list changes: the marks in the lists are those that the targets remember.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    TURN,
    four::Four,
    harness::{plant, wait_for},
    world::secret,
};

const NAMES: usize = 30;

#[tokio::test]
async fn a_restart_costs_one_list_and_no_write() {
    let _turn = TURN.lock().await;
    let four = Four::new().await;
    let [_, _, infisical, azure] = &four.stores;
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
    // A cycle has seen everything in its steady state.
    tokio::time::sleep(Duration::from_secs(8)).await;
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
    // Two cycles, and time to lead and to probe.
    tokio::time::sleep(Duration::from_secs(18)).await;
    for (store, asked) in [infisical, azure].into_iter().zip(asked) {
        let requests = store.proxy.as_ref().unwrap().requests().split_off(asked);
        let read = requests.iter().filter(|r| r.contains("--key-") || r.contains("/KEY_")).count();
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
