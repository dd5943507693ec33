//! Signed change notifications: a change arrives at once, and whatever else is sent costs the store nothing.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{Operator, env, free_address, plant, plant_credential, unique, wait_for},
    world::{HOOKS, World, one, secret},
};

/// Polls come so seldom that none comes into a test.
const SELDOM: &str = "8760h";

/// A store with a key of its own for notifications.
struct Sender {
    world: World,
    /// Of the sender; as long as one that openssl made.
    key: String,
    address: SocketAddr,
}

impl Sender {
    async fn new(spec: Value) -> Self {
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
    async fn send(&self, path: &str, headers: &[(&str, String)], body: impl Into<reqwest::Body>) -> Response {
        let mut request = reqwest::Client::new().post(format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.expect("an answer")
    }

    async fn generic(&self, body: &Value) -> StatusCode {
        let (body, path) = (body.to_string(), format!("/hooks/generic/{}", self.world.store));
        self.send(&path, &signed(&self.key, seconds(), &body), body).await.status()
    }

    async fn keys(&self, keys: &[&str]) {
        assert_eq!(self.generic(&json!({ "keys": keys })).await, StatusCode::ACCEPTED);
    }

    /// Reads of this test's values so far, by the server's own log.
    fn reads(&self) -> usize {
        let log = std::fs::read_to_string(format!("{}/audit.log", env("SECRETREF_BAO"))).unwrap();
        let mine = format!("\"path\":\"{}/\"", self.world.bao.namespace);
        let asked = |line: &&str| line.contains("\"type\":\"request\"") && line.contains(&mine);
        let read = |line: &&str| line.contains("secret/data/") && line.contains("\"operation\":\"read\"");
        log.lines().filter(asked).filter(read).count()
    }

    async fn notified(&self, source: &str, result: &str) -> f64 {
        self.world.operator.metric("secretref_notifications_total", &[source, result]).await
    }

    /// Nothing reads a value for longer than a look out of turn may come late.
    async fn quiet(&self, before: usize) {
        tokio::time::sleep(Duration::from_millis(5500)).await;
        assert_eq!(self.reads(), before, "a notification cost a read");
    }

    async fn done(self) {
        self.world.done().await;
    }
}

/// A new key in the Secret of the operator's namespace; others of it stay.
async fn give_key(world: &World, store: &str) -> String {
    let key = plant_credential(&format!("{}{}{}{}{}", unique(), unique(), unique(), unique(), unique()));
    let (own, secret) = (&world.operator.namespace, "secretref-hooks");
    // Created by whichever test comes first.
    let empty = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret, "namespace": own } });
    let _ = world.cluster.create(&empty).await;
    let data = json!({ "data": { store: STANDARD.encode(&key) } });
    world.cluster.merge("Secret", Some(own), secret, &data).await;
    key
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn mac(key: &str, text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    tag.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn signed(key: &str, seconds: u64, body: &str) -> Vec<(&'static str, String)> {
    let signature = format!("sha256={}", mac(key, &format!("{seconds}.{body}")));
    vec![("x-secretref-timestamp", seconds.to_string()), ("x-secretref-signature", signature)]
}

fn seldom(key: &str, name: &str) -> Value {
    let mut spec = one(key, name);
    spec["refreshInterval"] = json!(SELDOM);
    spec
}

fn never(key: &str, name: &str) -> Value {
    let mut spec = one(key, name);
    spec["refreshInterval"] = json!("0s");
    spec
}

#[tokio::test]
async fn a_change_arrives_at_once_and_no_other_reference_is_touched() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let (old, new, other) = (plant("old"), plant("new"), plant("other"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.bao.put("acme--other", json!({ "value": other })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.reference("zero", never("KEY", "key")).await;
    world.reference("other", seldom("KEY", "other")).await;
    for app in ["hour", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": old })).await;
    }
    world.acme.until_data("other", &json!({ "KEY": other })).await;
    let before = sender.reads();

    world.bao.put("acme--key", json!({ "value": new })).await;
    let sent = Instant::now();
    sender.keys(&["acme--key"]).await;
    for app in ["hour", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": new })).await;
    }
    // What a poll would have brought comes months later; this bound is for a machine that is busy.
    assert!(sent.elapsed() < Duration::from_secs(20), "{:?}", sent.elapsed());
    assert_eq!(sender.reads(), before + 1, "one read serves all, and nothing else was read");

    // "Anything": each key once.
    let newest = plant("newest");
    world.bao.put("acme--key", json!({ "value": newest })).await;
    assert_eq!(sender.generic(&json!({ "all": true })).await, StatusCode::ACCEPTED);
    for app in ["hour", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": newest })).await;
    }
    wait_for("both keys of the store are read once", || async {
        let reads = sender.reads() - before;
        if reads == 3 { Ok(()) } else { Err(format!("{reads} reads")) }
    })
    .await;
    // The first change was found at the first look: nobody looks again.
    sender.quiet(before + 3).await;
    sender.done().await;
}

/// `0s` means "when told", also where another reference has the same key polled.
#[tokio::test]
async fn a_reference_that_is_not_refreshed_hears_of_changes_by_notifications_only() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("polled", one("KEY", "key")).await;
    world.reference("zero", never("KEY", "key")).await;
    for app in ["polled", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": old })).await;
    }
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.acme.until_data("polled", &json!({ "KEY": new })).await;
    world.polled(3.0).await;
    assert_eq!(world.acme.data("zero").await.unwrap(), json!({ "KEY": old }), "nobody told it");
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("zero", &json!({ "KEY": new })).await;

    // Deleted in the store: told of it, it falls back, and comes back when told again.
    let global = plant("global");
    world.bao.put("GLOBAL--key", json!({ "value": global })).await;
    world.bao.delete("acme--key").await;
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("zero", &json!({ "KEY": global })).await;
    world.bao.put("acme--key", json!({ "value": old })).await;
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("zero", &json!({ "KEY": old })).await;
    sender.done().await;
}

/// The notification is faster than the change: a standby that lags, or a pipeline that signs before the write ends.
#[tokio::test]
async fn a_change_that_comes_after_its_notification_is_seen_by_a_later_look() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.acme.until_data("hour", &json!({ "KEY": old })).await;
    let before = sender.reads();
    sender.keys(&["acme--key"]).await;
    wait_for("the first look", || async { if sender.reads() > before { Ok(()) } else { Err(String::new()) } }).await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.acme.until_data("hour", &json!({ "KEY": new })).await;
    // Without a change there are four looks, and then no more.
    let before = sender.reads();
    tokio::time::sleep(Duration::from_secs(1)).await;
    sender.keys(&["acme--key"]).await;
    wait_for("four looks", || async {
        let reads = sender.reads() - before;
        if reads == 4 { Ok(()) } else { Err(format!("{reads} looks")) }
    })
    .await;
    sender.quiet(before + 4).await;
    sender.done().await;
}

#[tokio::test]
async fn a_new_name_is_found_at_once() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let reader = r#"
path "secret/data/*"     { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["list"] }
path "secret/metadata"   { capabilities = ["list"] }
"#;
    world.bao.policy("reader", reader).await;
    let (first, second) = (plant("first"), plant("second"));
    world.bao.put("acme--db-user", json!({ "value": first })).await;
    let found = json!([{ "find": { "prefix": "db-", "keyCase": "ScreamingSnake" } }]);
    world.reference("found", json!({ "refreshInterval": SELDOM, "dataFrom": found })).await;
    world.acme.until_data("found", &json!({ "DB_USER": first })).await;
    world.bao.put("acme--db-password", json!({ "value": second })).await;
    sender.keys(&["acme--db-password"]).await;
    world.acme.until_data("found", &json!({ "DB_USER": first, "DB_PASSWORD": second })).await;
    sender.done().await;
}

#[tokio::test]
async fn what_does_not_prove_itself_gets_one_answer_and_costs_no_read() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.acme.until_data("hour", &json!({ "KEY": value })).await;
    let other = give_key(world, "of-another-store").await;
    let before = sender.reads();
    let (body, now) = (json!({ "keys": ["acme--key"] }).to_string(), seconds());
    let path = format!("/hooks/generic/{}", world.store);
    let good = signed(&sender.key, now, &body);
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        headers.retain(|(n, _)| *n != name);
        if !value.is_empty() {
            headers.push((
                if name == "x-secretref-timestamp" { "x-secretref-timestamp" } else { "x-secretref-signature" },
                value.to_owned(),
            ));
        }
        headers
    };
    let bare = mac(&sender.key, &format!("{now}.{body}"));
    let forged = [
        ("no headers", path.clone(), vec![], body.clone()),
        ("no time", path.clone(), with("x-secretref-timestamp", ""), body.clone()),
        ("no signature", path.clone(), with("x-secretref-signature", ""), body.clone()),
        ("another time", path.clone(), with("x-secretref-timestamp", &(now + 1).to_string()), body.clone()),
        ("no such time", path.clone(), with("x-secretref-timestamp", "+1"), body.clone()),
        ("another form", path.clone(), with("x-secretref-signature", &bare), body.clone()),
        (
            "a shorter one",
            path.clone(),
            with("x-secretref-signature", &format!("sha256={}", &bare[..62])),
            body.clone(),
        ),
        ("another body", path.clone(), good.clone(), json!({ "all": true }).to_string()),
        ("another store's key", path.clone(), signed(&other, now, &body), body.clone()),
        ("an empty key", path.clone(), signed("", now, &body), body.clone()),
        ("too old", path.clone(), signed(&sender.key, now - 400, &body), body.clone()),
        ("of the future", path.clone(), signed(&sender.key, now + 400, &body), body.clone()),
        ("no such store", "/hooks/generic/no-such-store".into(), good.clone(), body.clone()),
        ("a key, but no store", "/hooks/generic/of-another-store".into(), signed(&other, now, &body), body.clone()),
        ("a tenant's store", format!("/hooks/generic/{}/{}", world.acme.name, world.store), good.clone(), body.clone()),
        ("another source", format!("/hooks/infisical/{}", world.store), good.clone(), body.clone()),
        ("another source", format!("/hooks/event-grid/{}", world.store), good.clone(), body.clone()),
    ];
    let mut answers = Vec::new();
    for (what, path, headers, body) in forged {
        let answer = sender.send(&path, &headers, body).await;
        let mut shown: Vec<String> = answer.headers().iter().map(|h| format!("{h:?}")).collect();
        shown.retain(|h| !h.contains("date"));
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        answers.push((shown, answer.text().await.unwrap()));
        assert_eq!(answers[0], *answers.last().unwrap(), "{what}: another answer");
    }
    assert!(answers[0].1.is_empty(), "{:?}", answers[0]);
    // Well signed, but nothing that can be taken.
    let refused = async |body: String| {
        let headers = signed(&sender.key, seconds(), &body);
        sender.send(&path, &headers, body).await.status()
    };
    for bad in ["", "{}", "null", r#"{"keys":[]}"#, r#"{"keys":["acme--key"],"value":"x"}"#] {
        assert_eq!(refused(bad.to_owned()).await, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(refused("x".repeat(300 * 1024)).await, StatusCode::PAYLOAD_TOO_LARGE);
    let http = reqwest::Client::new();
    let at = |path: &str| format!("http://{}{path}", sender.address);
    assert_eq!(http.get(at(&path)).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    for nowhere in ["/", "/hooks", "/hooks/other/store", "/metrics"] {
        assert_eq!(http.post(at(nowhere)).send().await.unwrap().status(), StatusCode::NOT_FOUND, "{nowhere}");
    }
    // Good, but of no use to anyone here: accepted like any other.
    sender.keys(&["acme--unused", "globex--key", "no-key-at-all"]).await;
    sender.quiet(before).await;
    assert!(sender.notified("generic", "refused").await >= 15.0);
    sender.done().await;
}

/// The same request again, in another order, or thousands of them: the store is asked as if there had been few.
#[tokio::test]
async fn replays_and_floods_are_a_few_reads() {
    let sender = Sender::new(json!({ "limits": { "minRefreshInterval": "1h" } })).await;
    let world = &sender.world;
    let value = plant("value");
    for i in 0..4 {
        world.bao.put(&format!("acme--key-{i}"), json!({ "value": value })).await;
    }
    let data: Vec<Value> = (0..4).map(|i| secret(&format!("KEY_{i}"), &format!("key-{i}"))).collect();
    world.reference("hour", json!({ "refreshInterval": SELDOM, "data": data })).await;
    world.acme.until_reason("hour", "Synced").await;
    let (before, replayed) = (sender.reads(), sender.notified("generic", "replayed").await);

    let path = format!("/hooks/generic/{}", world.store);
    let body = json!({ "keys": ["acme--key-0"] }).to_string();
    let headers = signed(&sender.key, seconds(), &body);
    assert_eq!(sender.send(&path, &headers, body.clone()).await.status(), StatusCode::ACCEPTED);
    // Two changes within a second are signed alike: after that it is the same one again.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for _ in 0..50 {
        assert_eq!(sender.send(&path, &headers, body.clone()).await.status(), StatusCode::ACCEPTED);
    }
    assert!(sender.notified("generic", "replayed").await - replayed >= 50.0);
    tokio::time::sleep(Duration::from_millis(3000)).await;
    assert_eq!(sender.reads() - before, 4, "one notification, four looks");

    // One key over and over, each time newly signed.
    let (before, begun) = (sender.reads(), Instant::now());
    for i in 0..40 {
        let body = json!({ "keys": ["acme--key-1"] }).to_string() + &" ".repeat(i);
        let headers = signed(&sender.key, seconds(), &body);
        assert_eq!(sender.send(&path, &headers, body).await.status(), StatusCode::ACCEPTED);
    }
    let took = usize::try_from(begun.elapsed().as_secs()).unwrap();
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let reads = sender.reads() - before;
    assert!(reads <= took + 6, "{reads} reads for one key told of for {took} s");

    // Thousands of keys that nobody uses: beyond the rate, the store as a whole, and that once.
    let before = sender.reads();
    for n in 0..20 {
        let keys: Vec<String> = (0..256).map(|i| format!("globex--key-{n}-{i}")).collect();
        assert_eq!(sender.generic(&json!({ "keys": keys })).await, StatusCode::ACCEPTED);
    }
    assert!(sender.notified("generic", "overflow").await >= 19.0);
    wait_for("each key of the store is read once", || async {
        let reads = sender.reads() - before;
        if reads >= 4 { Ok(()) } else { Err(format!("{reads} reads")) }
    })
    .await;
    sender.quiet(before + 4).await;
    sender.done().await;
}

/// Whoever takes it writes it down, without a name in it; the leader hears of it.
#[tokio::test]
async fn a_standby_takes_notifications_too_and_a_new_key_is_good_at_once() {
    let mut sender = Sender::new(json!({})).await;
    let own = sender.world.operator.namespace.clone();
    sender.address = free_address();
    let standby = Operator::start(&own, &["--hooks-addr", &sender.address.to_string()]).await;
    let world = &sender.world;
    let (old, new, newest) = (plant("old"), plant("new"), plant("newest"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.acme.until_data("hour", &json!({ "KEY": old })).await;
    assert!(standby.metric("secretref_leader", &[]).await < 0.5, "it is a standby");
    world.bao.put("acme--key", json!({ "value": new })).await;
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("hour", &json!({ "KEY": new })).await;
    assert!(standby.metric("secretref_notifications_total", &["accepted"]).await > 0.5);

    let uid = world.store_object(&world.store).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let rings = world.cluster.list("ConfigMap", Some(&own)).await;
    let ring = rings.iter().find(|r| r["data"].get(&uid).is_some()).expect("a ring with a note of the store");
    assert_eq!(ring["metadata"]["labels"]["secretref.dev/notifications"], "true");
    assert!(ring["metadata"]["name"].as_str().unwrap().starts_with("secretref-notifications-"), "{ring}");
    assert!(!ring["data"].to_string().contains("acme"), "a name in {ring}");

    // Another key in the Secret: the old one is good no longer, the new one at the first use.
    let leaked = std::mem::take(&mut sender.key);
    sender.key = give_key(&sender.world, &sender.world.store).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let world = &sender.world;
    world.bao.put("acme--key", json!({ "value": newest })).await;
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("hour", &json!({ "KEY": newest })).await;
    let body = json!({ "keys": ["acme--key"] }).to_string();
    let path = format!("/hooks/generic/{}", world.store);
    let answer = sender.send(&path, &signed(&leaked, seconds(), &body), body).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    crate::harness::Leaks::new().assert_none("the standby's output", &standby.output());
    assert_eq!(standby.terminate().await, Some(0), "{}", standby.logs());
    sender.done().await;
}

/// A script of docs/notifications.md, as it stands there.
async fn documented(sender: &Sender, marker: &str, stdin: std::process::Stdio) {
    let docs = include_str!("../../docs/notifications.md");
    let (_, after) = docs.split_once(&format!("<!-- tests: {marker} -->\n```sh\n")).expect("the script");
    let script = after.split_once("\n```").unwrap().0;
    let sent = tokio::process::Command::new("bash")
        .args(["-euc", script])
        .env("URL", format!("http://{}/hooks/generic/{}", sender.address, sender.world.store))
        .env("KEY", &sender.key)
        .stdin(stdin)
        .output()
        .await
        .unwrap();
    assert!(sent.status.success() && sent.stderr.is_empty(), "{}", String::from_utf8_lossy(&sent.stderr));
}

#[tokio::test]
async fn the_documented_scripts_work() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let (old, new, newest) = (plant("old"), plant("new"), plant("newest"));
    world.bao.put("acme--db-password", json!({ "value": old })).await;
    world.reference("hour", seldom("KEY", "db-password")).await;
    world.acme.until_data("hour", &json!({ "KEY": old })).await;
    world.bao.put("acme--db-password", json!({ "value": new })).await;
    documented(&sender, "generic", std::process::Stdio::null()).await;
    world.acme.until_data("hour", &json!({ "KEY": new })).await;

    // What this test wrote, as the server's own log has it; between it lines that are none of its business.
    world.bao.put("acme--db-password", json!({ "value": newest })).await;
    let log = std::fs::read_to_string(format!("{}/audit.log", env("SECRETREF_BAO"))).unwrap();
    let mine = format!("\"path\":\"{}/\"", world.bao.namespace);
    let lines: Vec<&str> = log.lines().filter(|l| l.contains(&mine)).collect();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{}", unique()));
    std::fs::write(&file, format!("not json\n{}\n", lines.join("\n"))).unwrap();
    let accepted = sender.notified("generic", "accepted").await;
    documented(&sender, "audit pipeline", std::fs::File::open(&file).unwrap().into()).await;
    std::fs::remove_file(file).unwrap();
    world.acme.until_data("hour", &json!({ "KEY": newest })).await;
    assert!(sender.notified("generic", "accepted").await >= accepted + 1.0);
    sender.done().await;
}

/// A store of another provider, which nothing answers for; its uid.
async fn other_store(world: &mut World, provider: Value) -> (String, String) {
    let name = world.store_name();
    let object = json!({
        "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore",
        "metadata": { "name": name }, "spec": { "provider": provider },
    });
    let object = world.cluster.apply(&object).await;
    (name, object["metadata"]["uid"].as_str().unwrap().to_owned())
}

async fn noted(world: &World, uid: &str) -> bool {
    let rings = world.cluster.list("ConfigMap", Some(&world.operator.namespace)).await;
    rings.iter().any(|r| r["data"].get(uid).is_some())
}

#[tokio::test]
async fn event_grid_shakes_hands_and_tells_of_its_own_vault_only() {
    let mut sender = Sender::new(json!({})).await;
    let vault = format!("kv-{}", unique());
    let auth = json!({ "clientSecret": { "tenantId": "t", "clientId": "c", "clientSecret": { "secretRef":
        { "name": "no-such-secret", "namespace": sender.world.home.name, "key": "k" } } } });
    let provider = json!({ "azureKeyVault": { "vaultUrl": format!("https://{vault}.vault.invalid"), "auth": auth } });
    let (store, uid) = other_store(&mut sender.world, provider).await;
    let key = give_key(&sender.world, &store).await;
    let path = format!("/hooks/event-grid/{store}");
    let validation = json!([{
        "id": "1", "topic": "t", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": { "validationCode": "512d38b6-c7b8", "validationUrl": "https://rp.eventgrid.invalid/x" },
        "eventTime": "2018-01-25T22:12:19Z", "metadataVersion": "1", "dataVersion": "1",
    }])
    .to_string();
    wait_for("the store is known", || async {
        let answer = sender.send(&format!("{path}?code={key}"), &[], validation.clone()).await;
        if answer.status() != StatusCode::OK {
            return Err(answer.status().to_string());
        }
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "validationResponse": "512d38b6-c7b8" }));
        Ok(())
    })
    .await;
    assert_eq!(sender.send(&path, &[], validation.clone()).await.status(), StatusCode::UNAUTHORIZED);

    // CloudEvents ask first whether anybody wants them; of which store is nobody's business.
    for store in [store.as_str(), "no-such-store"] {
        let url = format!("http://{}/hooks/event-grid/{store}", sender.address);
        let request = reqwest::Client::new()
            .request(Method::OPTIONS, url)
            .header("WebHook-Request-Origin", "eventgrid.azure.net");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["webhook-allowed-origin"], "eventgrid.azure.net");
    }

    let event = |vault: &str| {
        json!([{
            "id": "2", "subject": "acme--key", "eventType": "Microsoft.KeyVault.SecretNewVersionCreated",
            "data": { "Id": format!("https://{vault}.vault.invalid/secrets/acme--key/1"), "VaultName": vault,
                "ObjectType": "Secret", "ObjectName": "acme--key", "Version": "1" },
            "eventTime": "2019-07-25T01:08:33Z", "metadataVersion": "1", "dataVersion": "1",
        }])
        .to_string()
    };
    for wrong in ["wrong".to_owned(), sender.key.clone(), key.to_uppercase(), format!("{key}0")] {
        let answer = sender.send(&path, &[("x-secretref-key", wrong)], event(&vault)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let foreign = sender.send(&path, &[("x-secretref-key", key.clone())], event("kv-another")).await;
    assert_eq!(foreign.status(), StatusCode::ACCEPTED);
    assert!(!noted(&sender.world, &uid).await, "the other vault is no news");
    let ours = sender.send(&path, &[("authorization", format!("Bearer {key}"))], event(&vault)).await;
    assert_eq!(ours.status(), StatusCode::ACCEPTED);
    assert!(noted(&sender.world, &uid).await, "what is accepted is written down");
    sender.done().await;
}

#[tokio::test]
async fn infisical_tells_of_its_own_project_and_environment_only() {
    let mut sender = Sender::new(json!({})).await;
    let credential =
        json!({ "secretRef": { "name": "no-such-secret", "namespace": sender.world.home.name, "key": "k" } });
    let auth = json!({ "universalAuth": { "clientId": credential, "clientSecret": credential } });
    let project = unique();
    let settings =
        json!({ "hostUrl": "https://infisical.invalid", "projectId": project, "environment": "prod", "auth": auth });
    let (store, uid) = other_store(&mut sender.world, json!({ "infisical": settings })).await;
    let key = give_key(&sender.world, &store).await;
    let path = format!("/hooks/infisical/{store}");
    let now = seconds() * 1000;
    let body = |event: &str, project: &str, environment: &str, at: u64| {
        json!({ "event": event, "timestamp": at, "project": { "workspaceId": project, "projectId": project,
            "projectName": "p", "environment": environment, "secretPath": "/acme" } })
        .to_string()
    };
    let sign = |key: &str, body: &str| vec![("x-infisical-signature", format!("t={now};{}", mac(key, body)))];
    let test = body("test", &project, "prod", now);
    wait_for("the store is known", || async {
        let answer = sender.send(&path, &sign(&key, &test), test.clone()).await.status();
        if answer == StatusCode::ACCEPTED { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    for (what, body) in [
        ("another project", body("secrets.modified", "another", "prod", now)),
        ("another environment", body("secrets.modified", &project, "dev", now)),
        ("another event", body("secrets.reminder-expired", &project, "prod", now)),
    ] {
        assert_eq!(sender.send(&path, &sign(&key, &body), body).await.status(), StatusCode::ACCEPTED, "{what}");
    }
    let good = body("secrets.modified", &project, "prod", now);
    let old = body("secrets.modified", &project, "prod", now - 400_000);
    for (what, headers, body) in [
        ("unsigned", vec![], good.clone()),
        ("another key", sign(&sender.key, &good), good.clone()),
        ("an old one with a new time in the header", sign(&key, &old), old),
    ] {
        assert_eq!(sender.send(&path, &headers, body).await.status(), StatusCode::UNAUTHORIZED, "{what}");
    }
    assert!(!noted(&sender.world, &uid).await, "nothing of this was news");
    assert_eq!(sender.send(&path, &sign(&key, &good), good).await.status(), StatusCode::ACCEPTED);
    assert!(noted(&sender.world, &uid).await);
    sender.done().await;
}
