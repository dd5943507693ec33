//! Who sends signed notifications in these tests, as a user's pipeline does.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    time::Duration,
};

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
    /// Where the server's log was when this test began.
    log_from: u64,
}

/// The server's own log.
pub fn log_file() -> String {
    format!("{}/audit.log", env("SECRETREF_BAO"))
}

impl Sender {
    pub async fn new(spec: Value) -> Self {
        let log_from = std::fs::metadata(log_file()).unwrap().len();
        let world = World::with(spec).await;
        let key = give_key(&world, &world.store).await;
        let sender = Self { world, key, address: *HOOKS, log_from };
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
        self.text(&body.to_string()).await
    }

    /// The same of any text. While it is told to come again, it does: the API server has no time.
    pub async fn text(&self, body: &str) -> StatusCode {
        let path = format!("/hooks/generic/{}", self.world.store);
        wait_for("a notification is taken or refused", || async {
            let headers = signed(&self.key, seconds(), body);
            match self.send(&path, &headers, body.to_owned()).await.status() {
                StatusCode::SERVICE_UNAVAILABLE => Err("it may come again".to_owned()),
                status => Ok(status),
            }
        })
        .await
    }

    pub async fn keys(&self, keys: &[&str]) {
        assert_eq!(self.generic(&json!({ "keys": keys })).await, StatusCode::ACCEPTED);
    }

    /// Reads of this test's values so far, by the server's own log.
    pub fn reads(&self) -> usize {
        let mut file = File::open(log_file()).unwrap();
        file.seek(SeekFrom::Start(self.log_from)).unwrap();
        let mut log = Vec::new();
        file.read_to_end(&mut log).unwrap();
        let log = String::from_utf8_lossy(&log);
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
        rest().await;
        assert_eq!(self.reads(), before, "a notification cost a read");
    }

    /// Waits until nothing is looked at any more, and answers how many reads there were.
    pub async fn settled(&self) -> usize {
        wait_for("nothing is looked at any more", || async {
            let before = self.reads();
            rest().await;
            let now = self.reads();
            if now == before { Ok(now) } else { Err(format!("{} reads", now - before)) }
        })
        .await
    }

    pub async fn done(self) {
        self.world.done().await;
    }
}

/// Longer than any look out of turn may come late.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(5500)).await;
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
