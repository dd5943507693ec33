//! What most tests begin with: the shared operator, an OpenBao namespace, a store on it, and a namespace of acme's.

use std::{net::SocketAddr, sync::LazyLock};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    harness::{
        Bao, CANARY, Cluster, Leaks, Operator, Space, assert_schema, condition, free_address, reason, unique, wait_for,
    },
    otlp::FakeCollector,
};

static OPERATOR: OnceCell<Operator> = OnceCell::const_new();

/// Where the operator that all tests share sends its spans.
pub static COLLECTOR: LazyLock<FakeCollector> = LazyLock::new(FakeCollector::start);

/// Where the operator that all tests share takes notifications.
pub static HOOKS: LazyLock<SocketAddr> = LazyLock::new(free_address);

/// Where the operator that all tests share says what only a leader knows.
pub static EXPLAIN: LazyLock<SocketAddr> = LazyLock::new(free_address);

/// The operator that all tests share.
pub async fn operator() -> &'static Operator {
    OPERATOR
        .get_or_init(|| async {
            let own = Cluster::connect().await.namespace("operator", "").await;
            let (hooks, explain) = (HOOKS.to_string(), EXPLAIN.to_string());
            let args = ["--log-format", "json", "--hooks-addr", &hooks, "--explain-addr", &explain];
            let endpoint = COLLECTOR.endpoint();
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_BSP_SCHEDULE_DELAY", "200"),
                // Spans that find no place are lost: there is one for all that come while the collector has no time.
                ("OTEL_BSP_MAX_QUEUE_SIZE", "100000"),
            ];
            Operator::start_with(&own.name, &args, &variables).await
        })
        .await
}

pub struct World {
    pub operator: &'static Operator,
    pub cluster: Cluster,
    pub bao: Bao,
    /// A namespace that is bound to organisation acme.
    pub acme: Space,
    /// The ClusterSecretStore, which logs in by the token in Secret `token` of `home`.
    pub store: String,
    /// The platform's namespace: credentials.
    pub home: Space,
    spaces: Vec<Space>,
    stores: Vec<String>,
    /// Spans and audit events that were there before the test.
    pub before: (usize, usize),
}

impl World {
    pub async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// With a store whose spec has these fields, too.
    pub async fn with(spec: Value) -> Self {
        let bao = Bao::new().await;
        Self::on(bao, spec).await
    }

    /// On an OpenBao that is there.
    pub async fn on(bao: Bao, spec: Value) -> Self {
        let operator = operator().await;
        let cluster = Cluster::connect().await;
        let home = cluster.namespace("home", "").await;
        let acme = cluster.namespace("acme", "acme").await;
        let token = bao.token(&["reader"]).await;
        home.secret("token", &json!({ "token": token })).await;
        let spaces = vec![home.clone(), acme.clone()];
        // Half an event may be there already: what comes begins with the line that is being written.
        let before = (COLLECTOR.mark(), operator.audit().rfind('\n').map_or(0, |end| end + 1));
        let (store, stores) = (String::new(), Vec::new());
        let mut world = Self { operator, cluster, bao, acme, store, home, spaces, stores, before };
        world.store = world.add_store(spec).await;
        world.until_store(&world.store, "True", "Healthy").await;
        world
    }

    /// One more namespace, bound to this organisation; "" binds it to none.
    pub async fn space(&mut self, org: &str) -> Space {
        let space = self.cluster.namespace(if org.is_empty() { "unbound" } else { org }, org).await;
        self.spaces.push(space.clone());
        space
    }

    /// One more store on the same OpenBao; fields of `spec` replace those of the first one's.
    pub async fn add_store(&mut self, spec: Value) -> String {
        let name = self.store_name();
        self.put_store(&name, spec).await;
        name
    }

    /// The name of a store that the test makes itself; it goes with the test.
    pub fn store_name(&mut self) -> String {
        let name = format!("store-{}", unique());
        self.stores.push(name.clone());
        name
    }

    /// Applies a store of this name.
    pub async fn put_store(&self, name: &str, spec: Value) {
        let mut vault = self.bao.provider();
        vault["auth"] = self.by_token("token");
        let mut whole = json!({
            "provider": { "vault": vault },
            "limits": { "minRefreshInterval": "1s" },
            "healthCheckInterval": "1s",
        });
        overlay(&mut whole, &spec);
        self.cluster
            .apply(&json!({
                "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore",
                "metadata": { "name": name }, "spec": whole,
            }))
            .await;
    }

    /// `auth` by the token that a Secret of the platform's namespace holds.
    pub fn by_token(&self, secret: &str) -> Value {
        json!({ "token": { "secretRef": { "name": secret, "namespace": self.home.name, "key": "token" } } })
    }

    pub async fn store_object(&self, name: &str) -> Value {
        self.cluster.get("ClusterSecretStore", None, name).await.expect("the store is there")
    }

    /// Waits until a store's Ready has this status and reason.
    pub async fn until_store(&self, name: &str, status: &str, reason: &str) -> Value {
        wait_for(&format!("store {name} is {status} for reason {reason}"), || async {
            let store = self.store_object(name).await;
            let ready = condition(&store, "Ready");
            if ready["status"] == status && ready["reason"] == reason {
                Ok(store)
            } else {
                Err(store["status"].to_string())
            }
        })
        .await
    }

    /// A reference's spec on the first store, read every second.
    pub fn spec(&self, rest: Value) -> Value {
        let mut spec = json!({ "storeRef": { "name": self.store }, "refreshInterval": "1s" });
        overlay(&mut spec, &rest);
        spec
    }

    /// Applies a reference of acme's.
    pub async fn reference(&self, name: &str, rest: Value) -> Value {
        self.acme.reference(name, &self.spec(rest)).await
    }

    /// Waits until a reference of acme's fails for this reason with all of this in its message; answers the message.
    pub async fn fails(&self, name: &str, expected: &str, parts: &[&str]) -> String {
        fails(&self.acme, name, expected, parts).await
    }

    /// The polls of a store so far.
    pub async fn polls(&self, store: &str) -> f64 {
        self.operator.metric("secretref_polls_total", &[store]).await
    }

    /// Waits until the first store was polled so often after now.
    pub async fn polled(&self, times: f64) {
        let before = self.polls(&self.store).await;
        wait_for(&format!("{times} polls of {}", self.store), || async {
            let now = self.polls(&self.store).await - before;
            if now >= times { Ok(()) } else { Err(format!("{now}")) }
        })
        .await;
    }

    /// Asks for a sync at once.
    pub async fn sync_now(&self, name: &str, mark: &str) {
        let annotations = json!({ "secretref.dev/sync-now": mark });
        self.acme.merge("SecretReference", name, &json!({ "metadata": { "annotations": annotations } })).await;
    }

    /// The end of every test: nothing that was planted is to be seen anywhere. What is left on the cluster goes.
    pub async fn done(self) {
        let leaks = Leaks::new();
        leaks.assert_none("the operator's output", &self.operator.output());
        leaks.assert_none("/metrics", &self.operator.metrics().await);
        leaks.assert_none("the spans", &COLLECTOR.text_since(self.before.0));
        assert_schema(&self.operator.audit()[self.before.1..]);
        for space in &self.spaces {
            self.cluster.assert_no_leaks(&leaks, Some(&space.name)).await;
        }
        for store in &self.stores {
            if let Some(object) = self.cluster.get("ClusterSecretStore", None, store).await {
                leaks.assert_none(store, &object["status"].to_string());
            }
            self.cluster.delete("ClusterSecretStore", None, store).await;
        }
        for space in self.spaces {
            space.done().await;
        }
    }
}

/// A secretRef entry.
pub fn secret(key: &str, name: &str) -> Value {
    json!({ "key": key, "secretRef": { "name": name } })
}

/// The common spec: one key from one name.
pub fn one(key: &str, name: &str) -> Value {
    json!({ "data": [secret(key, name)] })
}

/// Fields of `over` replace those of `under`; maps are merged, null removes.
fn overlay(under: &mut Value, over: &Value) {
    match (under.as_object_mut(), over.as_object()) {
        (Some(under), Some(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    under.remove(key);
                } else {
                    overlay(under.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        _ => *under = over.clone(),
    }
}

/// [`World::fails`] in any namespace.
pub async fn fails(space: &Space, name: &str, expected: &str, parts: &[&str]) -> String {
    let what = format!("Synced fails for {expected} with {parts:?}");
    let reference = space
        .until("SecretReference", name, &what, |r| {
            let message = condition(r, "Synced")["message"].as_str().unwrap_or_default();
            r["status"]["observedGeneration"] == r["metadata"]["generation"]
                && reason(r) == expected
                && parts.iter().all(|part| message.contains(part))
        })
        .await;
    let synced = condition(&reference, "Synced");
    let message = synced["message"].as_str().unwrap();
    assert_eq!(synced["status"], "False", "{synced}");
    assert!(message.contains(": "), "no next step in: {message}");
    assert!(!message.contains('\n') && message.len() < 1000, "not one sentence: {message}");
    assert!(!message.contains(CANARY), "a value in: {message}");
    // kstatus: whoever waits for it stops where waiting cannot help.
    let stalled = ["InvalidReference", "OrgMismatch", "TargetConflict"].contains(&expected);
    assert_eq!(condition(&reference, "Stalled")["status"], if stalled { "True" } else { "False" }, "{expected}");
    message.to_owned()
}

/// A target as it was, to be found untouched.
pub struct Kept {
    space: Space,
    secret: Value,
}

impl Kept {
    pub async fn of(space: &Space, target: &str) -> Self {
        let secret = space.get("Secret", target).await.unwrap_or_else(|| panic!("there is no Secret {target}"));
        Self { space: space.clone(), secret }
    }

    /// The very same Secret with the very same data.
    pub async fn check(&self) {
        let name = self.secret["metadata"]["name"].as_str().unwrap();
        let now = self.space.get("Secret", name).await.unwrap_or_else(|| panic!("Secret {name} is gone"));
        assert_eq!(now["metadata"]["uid"], self.secret["metadata"]["uid"], "Secret {name} is another one");
        assert_eq!(now["data"], self.secret["data"], "Secret {name} holds something else");
    }
}
