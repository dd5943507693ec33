//! What a store's probes tell, how soon, and that they are right.

use serde_json::{Value, json};

use crate::{
    fault_proxy::{Fault, FaultProxy},
    harness::{condition, metric, plant, wait_for},
    world::{Kept, World, one},
};

/// Policies as they are when the role is taken away.
const NOTHING: &str = r#"path "sys/health" { capabilities = ["read"] }"#;
/// What the harness gives a reader.
const READER: &str =
    "path \"secret/data/*\" { capabilities = [\"read\"] }\npath \"secret/metadata/*\" { capabilities = [\"list\"] }";

struct Store {
    world: World,
    proxy: FaultProxy,
    kept: Kept,
}

impl Store {
    /// A world whose store is reached by a proxy, with a reference in sync.
    async fn new() -> Self {
        let mut world = World::new().await;
        let proxy = FaultProxy::before(&world.bao.address, &world.bao.ca).await;
        let vault = json!({ "address": proxy.address, "caBundle": proxy.ca });
        world.store = world
            .add_store(
                json!({ "provider": { "vault": vault }, "limits": { "timeout": "5s" }, "healthCheckInterval": "8s" }),
            )
            .await;
        world.until_store(&world.store, "True", "Healthy").await;
        let value = plant("value");
        world.bao.put("acme--key", json!({ "value": value })).await;
        world.reference("app", one("KEY", "key")).await;
        world.acme.until_data("app", &json!({ "KEY": value })).await;
        let healthy = |r: &Value| condition(r, "StoreHealthy")["status"] == "True";
        world.acme.until("SecretReference", "app", "its store is healthy", healthy).await;
        let kept = Kept::of(&world.acme, "app").await;
        Self { world, proxy, kept }
    }

    /// Probes so far that ended so: those that say the same as before do not count.
    async fn probes(&self, status: &str) -> f64 {
        let labels = [self.world.store.as_str(), "operation=\"probe\"", "result=\"success\""];
        let text = self.world.operator.metrics().await;
        let all = metric(&text, "secretref_store_requests_total", &labels[..2]);
        let good = metric(&text, "secretref_store_requests_total", &labels);
        if status == "True" { good } else { all - good }
    }

    /// Waits for this on the store and on its reference, and answers after how many probes each was seen.
    async fn seen(&self, status: &str, reason: &str) -> [f64; 2] {
        let before = self.probes(status).await;
        self.world.until_store(&self.world.store, status, reason).await;
        let on_store = self.probes(status).await - before;
        let follows = |r: &Value| {
            let healthy = condition(r, "StoreHealthy");
            healthy["status"] == status && healthy["reason"] == reason
        };
        self.world.acme.until("SecretReference", "app", &format!("StoreHealthy {status} {reason}"), follows).await;
        [on_store, self.probes(status).await - before]
    }

    /// From health to trouble and back. One probe more may have ended while it was looked at: they are so far apart that
    /// it is no more than one, also where the look comes late.
    async fn goes_through(self, reason: &str) -> Self {
        let [on_store, on_reference] = self.seen("False", reason).await;
        assert!(on_store <= 2.0 && on_reference <= 3.0, "{reason}: {on_store} and {on_reference} probes");
        let store = self.world.store_object(&self.world.store).await;
        let guidance = store["status"]["guidance"].as_str().unwrap_or_default().to_owned();
        assert!(guidance.contains(": "), "no next step in: {guidance}");
        self.kept.check().await;
        self
    }

    async fn comes_back(self) {
        let [on_store, on_reference] = self.seen("True", "Healthy").await;
        assert!(on_store <= 2.0 && on_reference <= 3.0, "back after {on_store} and {on_reference} probes");
        wait_for("the reference is in sync", || async {
            let reference = self.world.acme.get("SecretReference", "app").await.unwrap();
            let synced = condition(&reference, "Synced");
            if synced["status"] == "True" { Ok(()) } else { Err(synced.to_string()) }
        })
        .await;
        self.kept.check().await;
        self.world.done().await;
    }
}

#[tokio::test]
async fn the_network_is_unplugged() {
    let store = Store::new().await;
    store.proxy.fault(Some(Fault::Down)).await;
    let store = store.goes_through("StoreUnavailable").await;
    store.proxy.fault(None).await;
    store.comes_back().await;
}

#[tokio::test]
async fn the_server_takes_requests_and_says_nothing() {
    let store = Store::new().await;
    store.proxy.fault(Some(Fault::Silence)).await;
    let store = store.goes_through("StoreUnavailable").await;
    store.proxy.fault(None).await;
    store.comes_back().await;
}

#[tokio::test]
async fn the_server_is_sealed() {
    let store = Store::new().await;
    store.proxy.fault(Some(Fault::Status(503, None, r#"{"errors":["Vault is sealed"]}"#))).await;
    let store = store.goes_through("StoreUnavailable").await;
    store.proxy.fault(None).await;
    store.comes_back().await;
}

#[tokio::test]
async fn a_login_page_stands_in_between() {
    let store = Store::new().await;
    store.proxy.fault(Some(Fault::Status(200, None, "<html>Please log in</html>"))).await;
    let store = store.goes_through("StoreMisconfigured").await;
    store.proxy.fault(None).await;
    store.comes_back().await;
}

#[tokio::test]
async fn the_role_is_taken_away() {
    let store = Store::new().await;
    store.world.bao.policy("reader", NOTHING).await;
    let store = store.goes_through("PermissionDenied").await;
    store.world.bao.policy("reader", READER).await;
    store.comes_back().await;
}

/// The first sync of a reference begins while all is well, and ends when its store has long been told to be down.
#[tokio::test]
async fn a_first_sync_that_outlasts_its_stores_health_does_not_hide_the_trouble() {
    let mut world = World::new().await;
    let proxy = FaultProxy::before(&world.bao.address, &world.bao.ca).await;
    let vault = json!({ "address": proxy.address, "caBundle": proxy.ca });
    let spec = json!({ "provider": { "vault": vault }, "limits": { "timeout": "5s" }, "healthCheckInterval": "1s" });
    world.store = world.add_store(spec).await;
    world.until_store(&world.store, "True", "Healthy").await;
    world.bao.put("acme--key", json!({ "value": plant("value") })).await;
    proxy.fault(Some(Fault::Silence)).await;
    world.reference("app", one("KEY", "key")).await;
    let told = |r: &Value| {
        let healthy = condition(r, "StoreHealthy");
        condition(r, "Synced")["status"] == "False" && healthy["reason"] == "StoreUnavailable"
    };
    world.acme.until("SecretReference", "app", "its store is down", told).await;
    proxy.fault(None).await;
    world.acme.until_reason("app", "Synced").await;
    world.done().await;
}
