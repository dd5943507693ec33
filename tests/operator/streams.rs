//! Change streams of stores: a change arrives at once though nothing is polled for long, and a stream that is not
//! there, breaks or floods costs nothing but a few reads.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    fakes::{
        FakeInfisical, FakeVaultEvents,
        infisical::{Licence, PROJECT, Release, Role},
    },
    harness::{Bao, plant, plant_credential, wait_for, wait_until},
    world::{World, secret},
};

/// Polls come so seldom that none comes into a test.
const SELDOM: &str = "8760h";

/// An Infisical with one key in use, `acme/DB_PASSWORD`, by reference `app`.
struct Infisical {
    world: World,
    fake: FakeInfisical,
    store: String,
}

impl Infisical {
    async fn new(release: Release, licence: Licence, role: Role) -> Self {
        let mut world = World::new().await;
        let fake = FakeInfisical::start(release).await;
        fake.licence(licence);
        let identity = fake.identity(role);
        let login = json!({ "id": identity.client_id, "secret": plant_credential(&identity.client_secret) });
        world.home.secret("infisical", &login).await;
        let by = |key: &str| json!({ "secretRef": { "name": "infisical", "namespace": world.home.name, "key": key } });
        let provider = json!({ "vault": null, "infisical": {
            "hostUrl": fake.address(), "caBundle": fake.served.ca, "projectId": PROJECT, "environment": "dev",
            "auth": { "universalAuth": { "clientId": by("id"), "clientSecret": by("secret") } },
        } });
        let limits = json!({ "requestsPerSecond": 100, "burst": 100 });
        let store = world.add_store(json!({ "provider": provider, "limits": limits })).await;
        world.until_store(&store, "True", "Healthy").await;
        Self { world, fake, store }
    }

    async fn with_stream() -> Self {
        let infisical = Self::new(Release::Current, Licence::Enterprise, Role::Viewer).await;
        subscribed(|| infisical.fake.subscribers()).await;
        infisical
    }

    async fn reference(&self, name: &str, interval: &str, data: Value) {
        let spec = json!({ "storeRef": { "name": self.store }, "refreshInterval": interval, "data": data });
        self.world.reference(name, spec).await;
    }

    /// Waits until nothing is looked at any more: what was written before its references were made is, a few times.
    async fn quiet(&self) {
        let mut before = usize::MAX;
        while before != self.reads() {
            before = self.reads();
            settle().await;
        }
    }

    /// Requests for values so far: single ones, and whole folders.
    fn reads(&self) -> usize {
        self.fake.asked("v4 get /acme") + self.fake.asked("v4 list")
    }
}

async fn subscribed(count: impl Fn() -> usize) {
    wait_for("the operator listens", || async { if count() == 1 { Ok(()) } else { Err(format!("{}", count())) } })
        .await;
}

/// Longer than any look out of turn may come late.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(5500)).await;
}

fn password() -> Value {
    json!([secret("PASSWORD", "db-password")])
}

#[tokio::test]
async fn a_change_in_infisical_arrives_by_its_stream() {
    let infisical = Infisical::with_stream().await;
    let (old, new, other) = (plant("old"), plant("new"), plant("other"));
    infisical.fake.put("/acme", "DB_PASSWORD", &old);
    infisical.fake.put("/acme", "API_KEY", &other);
    infisical.reference("hour", SELDOM, password()).await;
    infisical.reference("zero", "0s", password()).await;
    infisical.reference("other", SELDOM, json!([secret("KEY", "api-key")])).await;
    for app in ["hour", "zero"] {
        infisical.world.acme.until_data(app, &json!({ "PASSWORD": old })).await;
    }
    infisical.world.acme.until_data("other", &json!({ "KEY": other })).await;
    infisical.quiet().await;
    let before = infisical.reads();

    infisical.fake.put("/acme", "DB_PASSWORD", &new);
    // A poll would come months later.
    for app in ["hour", "zero"] {
        infisical.world.acme.until_data(app, &json!({ "PASSWORD": new })).await;
    }
    // What is no reference's, another environment's, or no event at all.
    infisical.fake.put("/globex", "DB_PASSWORD", &plant("globex"));
    infisical.fake.put("/acme", "UNUSED", &plant("unused"));
    infisical.fake.put_in("staging", "/acme", "API_KEY", &plant("staging"));
    infisical.fake.say("event: secret:update\ndata: {\"canary-junk\":\n\n: comment\n\ndata: [[[[\n\n");
    settle().await;
    let reads = infisical.reads() - before;
    assert_eq!(reads, 1, "one read serves all, and nothing else was read: {:?}", infisical.fake.take_asked());

    // Deleted: GLOBAL's after two looks, as with any other notification.
    let global = plant("global");
    infisical.fake.put("/GLOBAL", "DB_PASSWORD", &global);
    infisical.fake.remove("/acme", "DB_PASSWORD");
    infisical.world.acme.until_data("zero", &json!({ "PASSWORD": global })).await;
    assert!(infisical.world.operator.metric("secretref_notifications_total", &["stream", "accepted"]).await >= 2.0);
    infisical.world.done().await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_opened_again_and_everything_is_looked_at_once() {
    let infisical = Infisical::with_stream().await;
    for name in ["DB_PASSWORD", "API_KEY"] {
        infisical.fake.put("/acme", name, &plant(name));
    }
    let data = json!([secret("PASSWORD", "db-password"), secret("KEY", "api-key")]);
    infisical.reference("app", SELDOM, data).await;
    infisical.world.acme.until_reason("app", "Synced").await;
    infisical.quiet().await;
    let (before, logins) = (infisical.reads(), infisical.fake.asked("login"));

    // Nobody hears of this one.
    infisical.fake.end_subscriptions();
    let (password, key) = (plant("password-meanwhile"), plant("key-meanwhile"));
    infisical.fake.put("/acme", "DB_PASSWORD", &password);
    infisical.fake.put("/acme", "API_KEY", &key);
    infisical.world.acme.until_data("app", &json!({ "PASSWORD": password, "KEY": key })).await;
    subscribed(|| infisical.fake.subscribers()).await;
    settle().await;
    let reads = infisical.reads() - before;
    assert!(reads <= 4, "{reads} reads for two keys and what they fall back to");
    assert_eq!(infisical.fake.asked("login"), logins, "the session is the same");

    // Its token is revoked: whoever finds that out logs in, and the stream comes back with the new one.
    infisical.fake.revoke_tokens();
    infisical.fake.end_subscriptions();
    let newest = plant("newest");
    infisical.fake.put("/acme", "DB_PASSWORD", &newest);
    infisical.world.acme.until_data("app", &json!({ "PASSWORD": newest, "KEY": key })).await;
    subscribed(|| infisical.fake.subscribers()).await;
    assert_eq!(infisical.fake.asked("login"), logins + 1);
    infisical.world.until_store(&infisical.store, "True", "Healthy").await;
    infisical.world.done().await;
}

/// Without a licence, without the right, and of a release without the route.
#[tokio::test]
async fn a_server_without_a_stream_is_asked_once_and_is_healthy() {
    let cases = [
        (Release::Current, Licence::None, Role::Viewer, "subscribe"),
        (Release::Current, Licence::Enterprise, Role::In(vec!["/acme", "/GLOBAL"]), "subscribe"),
        (Release::October2024, Licence::Enterprise, Role::Viewer, "no route"),
    ];
    for (release, licence, role, asked) in cases {
        let infisical = Infisical::new(release, licence, role).await;
        let (old, new) = (plant("old"), plant("new"));
        infisical.fake.put("/acme", "DB_PASSWORD", &old);
        infisical.reference("app", "1s", password()).await;
        infisical.world.acme.until_data("app", &json!({ "PASSWORD": old })).await;
        wait_for("it is asked", || async { if infisical.fake.asked(asked) > 0 { Ok(()) } else { Err(String::new()) } })
            .await;
        settle().await;
        // Polls do what they did before.
        infisical.fake.put("/acme", "DB_PASSWORD", &new);
        infisical.world.acme.until_data("app", &json!({ "PASSWORD": new })).await;
        let store = infisical.world.until_store(&infisical.store, "True", "Healthy").await;
        assert_eq!(infisical.fake.asked("login"), 1, "{release:?} {licence:?}");
        // The older release has not the newer secrets either, and is asked for them once.
        let more = usize::from(release == Release::October2024);
        assert!((1..=1 + more).contains(&infisical.fake.asked(asked)), "{release:?}: {}", infisical.fake.asked(asked));
        let name = store["metadata"]["name"].as_str().unwrap();
        let told = |line: &&str| line.contains("the store tells no changes") && line.contains(name);
        let output = wait_for("it is told", || async {
            let output = infisical.world.operator.output();
            if output.lines().any(|line| told(&line)) { Ok(output) } else { Err("nothing".to_owned()) }
        })
        .await;
        let lines: Vec<&str> = output.lines().filter(told).collect();
        assert_eq!(lines.len(), 1, "told once: {lines:?}");
        assert!(lines[0].contains("INFO") && lines[0].contains(": "), "{}", lines[0]);
        infisical.world.done().await;
    }
}

#[tokio::test]
async fn a_flood_of_events_is_a_few_reads() {
    let infisical = Infisical::with_stream().await;
    let (old, new) = (plant("old"), plant("new"));
    infisical.fake.put("/acme", "DB_PASSWORD", &old);
    infisical.reference("app", SELDOM, password()).await;
    infisical.world.acme.until_data("app", &json!({ "PASSWORD": old })).await;
    infisical.quiet().await;
    let (before, begun) = (infisical.reads(), Instant::now());
    for n in 0..20_000 {
        infisical.fake.put("/globex", &format!("KEY_{}", n % 5000), "x");
    }
    infisical.fake.put("/acme", "DB_PASSWORD", &new);
    infisical.world.acme.until_data("app", &json!({ "PASSWORD": new })).await;
    settle().await;
    let (reads, seconds) = (infisical.reads() - before, usize::try_from(begun.elapsed().as_secs()).unwrap());
    // Everything once in a second at most, and so each key that is told of by itself.
    assert!(reads <= 2 * (seconds + 1), "{reads} reads in {seconds} s for 20,000 events");
    // A busy machine takes its time for what is only counted.
    wait_until("all events are counted", Duration::from_secs(120), || async {
        let overflow = infisical.world.operator.metric("secretref_notifications_total", &["stream", "overflow"]).await;
        if overflow > 15_000.0 { Ok(()) } else { Err(overflow.to_string()) }
    })
    .await;
    infisical.world.until_store(&infisical.store, "True", "Healthy").await;
    infisical.world.done().await;
}

/// A store on an OpenBao that has Vault's events in front, with a login that may listen to them or not.
async fn vault(listens: bool) -> (World, FakeVaultEvents, String) {
    let bao = Bao::new().await;
    let fake = FakeVaultEvents::before(&bao.address, &bao.ca).await;
    let mut world = World::on(bao, json!({})).await;
    world.bao.policy("listener", r#"path "sys/events/subscribe/kv*" { capabilities = ["read"] }"#).await;
    let token = world.bao.token(if listens { &["reader", "listener"] } else { &["reader"] }).await;
    world.home.secret("listener", &json!({ "token": token })).await;
    let provider = json!({ "vault": {
        "address": fake.address(), "caBundle": fake.served.ca, "auth": world.by_token("listener"),
    } });
    let store = world.add_store(json!({ "provider": provider })).await;
    world.until_store(&store, "True", "Healthy").await;
    (world, fake, store)
}

async fn vault_reference(world: &World, store: &str) {
    let data = json!([secret("KEY", "key")]);
    let spec = json!({ "storeRef": { "name": store }, "refreshInterval": SELDOM, "data": data });
    world.reference("app", spec).await;
}

#[tokio::test]
async fn a_change_in_vault_arrives_by_its_events() {
    let (world, fake, store) = vault(true).await;
    subscribed(|| fake.subscribers()).await;
    let (old, new, newest) = (plant("old"), plant("new"), plant("newest"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    vault_reference(&world, &store).await;
    world.acme.until_data("app", &json!({ "KEY": old })).await;
    fake.say("junk");
    fake.say("{\"data\":{}}");
    fake.tell("kv-v2/data-write", "other/data/acme--key");
    world.bao.put("acme--key", json!({ "value": new })).await;
    fake.tell("kv-v2/data-write", "secret/data/acme--key");
    world.acme.until_data("app", &json!({ "KEY": new })).await;

    // The server that it is connected to goes with what it had to tell: that is found when it is back.
    world.bao.put("acme--key", json!({ "value": newest })).await;
    fake.end_subscriptions();
    world.acme.until_data("app", &json!({ "KEY": newest })).await;
    subscribed(|| fake.subscribers()).await;
    assert_eq!(fake.asked(), [101, 101]);
    world.until_store(&store, "True", "Healthy").await;
    world.done().await;
}

#[tokio::test]
async fn a_vault_that_does_not_let_the_login_listen_is_asked_once() {
    let (world, fake, store) = vault(false).await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    vault_reference(&world, &store).await;
    world.acme.until_data("app", &json!({ "KEY": value })).await;
    wait_for("it is asked", || async { if fake.asked().is_empty() { Err(String::new()) } else { Ok(()) } }).await;
    settle().await;
    assert_eq!(fake.asked(), [403]);
    world.until_store(&store, "True", "Healthy").await;
    world.done().await;
}
