//! What outlives an operator: notifications that it took, and what it knew. A binary of its own: it stops the operator that
//! the tests of another one share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]
#![allow(dead_code, reason = "not all of the world is used here")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../fakes/fault_proxy.rs"]
mod fault_proxy;
#[path = "../operator/four.rs"]
mod four;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fakes/otlp.rs"]
mod otlp;
#[path = "../fakes/port.rs"]
mod port;
mod restart;
#[path = "../operator/world.rs"]
mod world;

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    harness::{Operator, free_address, plant, plant_credential, seconds, signed, unique, wait_for, wait_until},
    world::{HOOKS, World, one},
};

fn with_interval(interval: &str) -> Value {
    let mut spec = one("KEY", "key");
    spec["refreshInterval"] = json!(interval);
    spec
}

async fn notify(address: SocketAddr, store: &str, key: &str) {
    let body = json!({ "keys": ["acme--key"] }).to_string();
    wait_for("the notification is taken", || async {
        let request = reqwest::Client::new().post(format!("http://{address}/hooks/generic/{store}"));
        let headers = signed(key, seconds(), &body);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        match request.body(body.clone()).send().await {
            Ok(answer) if answer.status() == 202 => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}

/// How long a part may take, with whatever else runs on the machine: a change of leader, for one.
const LONG: Duration = Duration::from_secs(180);

/// The tests of this binary stop the operator: one at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_notification_outlives_the_operator_that_took_it() {
    let _turn = TURN.lock().await;
    let world = World::new().await;
    let own = &world.operator.namespace;
    let key = plant_credential(&format!("{}{}{}{}", unique(), unique(), unique(), unique()));
    let data = json!({ (world.store.as_str()): STANDARD.encode(&key) });
    let secret = json!({ "name": "secretref-hooks", "namespace": own });
    world.cluster.apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": data })).await;
    let values: Vec<String> = (0..6).map(|i| plant(&format!("value-{i}"))).collect();
    let put = async |i: usize| world.bao.put("acme--key", json!({ "value": values[i] })).await;
    let until = async |i: usize| {
        for app in ["seldom", "zero"] {
            let what = json!({ "KEY": values[i] });
            wait_until(&format!("{app} holds value {i}"), LONG, || async {
                let data = world.acme.data(app).await;
                if data.as_ref() == Some(&what) { Ok(()) } else { Err(format!("{data:?}")) }
            })
            .await;
        }
    };
    put(0).await;
    world.reference("seldom", with_interval("8760h")).await;
    world.reference("zero", with_interval("0s")).await;
    until(0).await;

    // What others left in the namespace: of a replica that is long gone, and what nobody can read.
    let junk = json!({ "not-a-store": "nonsense\n9999999999999 *\n9999999999999 x y\n" });
    for (name, data) in [("gone", json!({ "uid": "1000 *\n" })), ("junk", junk)] {
        let metadata = json!({ "name": format!("secretref-notifications-{name}"), "namespace": own,
            "labels": { "secretref.dev/notifications": "true" } });
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data });
        world.cluster.apply(&object).await;
    }

    // After a restart both are in sync, and nothing was read: told, they are found all the same.
    world.operator.restart().await;
    world.until_store(&world.store, "True", "Healthy").await;
    put(1).await;
    notify(*HOOKS, &world.store, &key).await;
    until(1).await;
    wait_for("what is old is removed", || async {
        match world.cluster.get("ConfigMap", Some(own), "secretref-notifications-gone").await {
            None => Ok(()),
            Some(ring) => Err(ring.to_string()),
        }
    })
    .await;
    world.cluster.delete("ConfigMap", Some(own), "secretref-notifications-junk").await;

    // Somebody changes the ring, or takes it away: it is written all the same.
    let rings = async || {
        let mut all = world.cluster.list("ConfigMap", Some(own)).await;
        all.retain(|r| r["metadata"]["labels"]["secretref.dev/notifications"] == "true");
        all
    };
    let ring = rings().await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    for i in [2, 3] {
        if i == 2 {
            world.cluster.merge("ConfigMap", Some(own), &ring, &json!({ "data": { "uid": "1000 *" } })).await;
        } else {
            world.cluster.delete("ConfigMap", Some(own), &ring).await;
        }
        put(i).await;
        notify(*HOOKS, &world.store, &key).await;
        until(i).await;
    }
    assert_eq!(rings().await.len(), 1);

    // The leader hangs; a standby takes the news, and acts on it when it leads.
    let address = free_address();
    let standby = Operator::start(own, &["--hooks-addr", &address.to_string()]).await;
    world.operator.signal("STOP");
    put(4).await;
    notify(address, &world.store, &key).await;
    until(4).await;

    // That one dies without a word. The former leader takes the news while nobody leads, and acts on it when it does.
    world.operator.signal("CONT");
    world.operator.ready().await;
    wait_for("each replica has a ring of its own", || async {
        let rings = rings().await;
        if rings.len() == 2 { Ok(()) } else { Err(format!("{rings:?}")) }
    })
    .await;
    standby.kill();
    put(5).await;
    notify(*HOOKS, &world.store, &key).await;
    until(5).await;
    harness::Leaks::new().assert_none("the standby's output", &standby.output());
    world.done().await;
}
