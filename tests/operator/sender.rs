//! Who sends signed notifications in these tests, as a user's pipeline does.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{env, plant_credential, seconds, signed, unique, wait_for},
    world::{HOOKS, World, one},
};

/// Polls come so seldom that none comes into a test.
pub const SELDOM: &str = "8760h";

/// A store with a key of its own for notifications.
pub struct Sender {
    pub world: World,
    /// Of the sender; as long as one that openssl made.
    pub key: String,
    pub address: SocketAddr,
}

impl Sender {
    pub async fn new(spec: Value) -> Self {
        let world = World::with(spec).await;
        let key = give_key(&world, &world.store).await;
        let sender = Self { world, key, address: *HOOKS };
        wait_for("the new key is good", || async {
            let answer = sender.generic(&json!({ "keys": ["no-such-key"] })).await;
            if answer == StatusCode::ACCEPTED { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
        sender
    }

    /// A request of this store's, at this path, signed so.
    pub async fn send(&self, path: &str, headers: &[(&str, String)], body: impl Into<reqwest::Body>) -> Response {
        let mut request = reqwest::Client::new().post(format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.expect("an answer")
    }

    pub async fn generic(&self, body: &Value) -> StatusCode {
        let (body, path) = (body.to_string(), format!("/hooks/generic/{}", self.world.store));
        self.send(&path, &signed(&self.key, seconds(), &body), body).await.status()
    }

    pub async fn keys(&self, keys: &[&str]) {
        assert_eq!(self.generic(&json!({ "keys": keys })).await, StatusCode::ACCEPTED);
    }

    /// Reads of this test's values so far, by the server's own log.
    pub fn reads(&self) -> usize {
        let log = std::fs::read_to_string(format!("{}/audit.log", env("SECRETREF_BAO"))).unwrap();
        let mine = format!("\"path\":\"{}/\"", self.world.bao.namespace);
        let asked = |line: &&str| line.contains("\"type\":\"request\"") && line.contains(&mine);
        let read = |line: &&str| line.contains("secret/data/") && line.contains("\"operation\":\"read\"");
        log.lines().filter(asked).filter(read).count()
    }

    pub async fn notified(&self, source: &str, result: &str) -> f64 {
        self.world.operator.metric("secretref_notifications_total", &[source, result]).await
    }

    /// Nothing reads a value for longer than a look out of turn may come late.
    pub async fn quiet(&self, before: usize) {
        tokio::time::sleep(Duration::from_millis(5500)).await;
        assert_eq!(self.reads(), before, "a notification cost a read");
    }

    pub async fn done(self) {
        self.world.done().await;
    }
}

/// A new key in the Secret of the operator's namespace; others of it stay.
pub async fn give_key(world: &World, store: &str) -> String {
    let key = plant_credential(&format!("{}{}{}{}{}", unique(), unique(), unique(), unique(), unique()));
    let (own, secret) = (&world.operator.namespace, "secretref-hooks");
    // Created by whichever test comes first.
    let empty = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret, "namespace": own } });
    let _ = world.cluster.create(&empty).await;
    let data = json!({ "data": { store: STANDARD.encode(&key) } });
    world.cluster.merge("Secret", Some(own), secret, &data).await;
    key
}

pub fn seldom(key: &str, name: &str) -> Value {
    let mut spec = one(key, name);
    spec["refreshInterval"] = json!(SELDOM);
    spec
}

pub fn never(key: &str, name: &str) -> Value {
    let mut spec = one(key, name);
    spec["refreshInterval"] = json!("0s");
    spec
}
