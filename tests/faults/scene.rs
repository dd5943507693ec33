//! Where a fault is played: operators that watch one namespace, whose SecretStore is on a real OpenBao. A fault proxy
//! stands on the way to the store, another one on the way to the API server; both let everything through at first.
//! Nothing is shared with another test but the two servers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    api_proxy::{ApiProxy, Trap},
    fault_proxy::FaultProxy,
    harness::{Bao, Cluster, Leaks, Operator, Space, condition, plant, reason, wait_until},
};

/// How long a part may take, with whatever else runs on the machine.
pub const LONG: Duration = Duration::from_secs(120);

pub struct Scene {
    pub cluster: Cluster,
    pub bao: Bao,
    /// On the way to OpenBao.
    pub way: FaultProxy,
    /// On the way to the API server.
    pub api: ApiProxy,
    /// The operators' own namespace.
    pub own: Space,
    /// A namespace of acme's.
    pub acme: Space,
    _turn: Turn,
}

/// One that loads the machine is played alone.
static TURNS: RwLock<()> = RwLock::const_new(());

enum Turn {
    Alone(#[allow(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
    Together(#[allow(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    Whenever,
}

impl Scene {
    pub async fn new() -> Self {
        Self::in_turn(Turn::Together(TURNS.read().await), json!({})).await
    }

    /// Beside whatever else runs: for one that takes long, loads nothing and expects nothing soon.
    pub async fn beside() -> Self {
        Self::in_turn(Turn::Whenever, json!({})).await
    }

    /// While no other test runs, with a store of these limits.
    pub async fn alone(limits: Value) -> Self {
        Self::in_turn(Turn::Alone(TURNS.write().await), limits).await
    }

    async fn in_turn(turn: Turn, limits: Value) -> Self {
        let bao = Bao::new().await;
        let cluster = Cluster::connect().await;
        let (own, acme) = (cluster.namespace("faults", "").await, cluster.namespace("faults-acme", "acme").await);
        let way = FaultProxy::before(&bao.address, &bao.ca).await;
        let token = bao.token(&["reader"]).await;
        acme.secret("token", &json!({ "token": token })).await;
        let scene = Self { cluster, bao, way, api: ApiProxy::start().await, own, acme, _turn: turn };
        scene.put_store(&scene.way.address, &scene.way.ca, limits).await;
        scene
    }

    /// Applies the store, at this address.
    pub async fn put_store(&self, address: &str, ca: &str, more_limits: Value) {
        let mut vault = self.bao.provider();
        vault["address"] = json!(address);
        vault.as_object_mut().unwrap().remove("caBundle");
        vault["caRef"] = json!({ "kind": "ConfigMap", "name": "ca", "key": "ca.crt" });
        self.put_ca(ca).await;
        vault["auth"] = json!({ "token": { "secretRef": { "name": "token", "key": "token" } } });
        let mut limits = json!({ "minRefreshInterval": "1s", "timeout": "2s" });
        limits.as_object_mut().unwrap().extend(more_limits.as_object().unwrap().clone());
        self.cluster
            .apply(&json!({
                "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore",
                "metadata": { "name": "store", "namespace": self.acme.name },
                "spec": { "provider": { "vault": vault }, "limits": limits, "healthCheckInterval": "1s" },
            }))
            .await;
    }

    /// Replaces the CA that the store names.
    pub async fn put_ca(&self, ca: &str) {
        self.cluster
            .apply(&json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "ca", "namespace": self.acme.name }, "data": { "ca.crt": ca },
            }))
            .await;
    }

    pub fn args(&self) -> Vec<String> {
        let host = |address: &str| address.strip_prefix("https://").unwrap().to_owned();
        let mut args = vec!["--namespace".to_owned(), self.acme.name.clone(), "--tenant-stores".to_owned()];
        for host in [host(&self.way.address), host(&self.bao.address), "secretref.invalid:443".to_owned()] {
            args.extend(["--tenant-allowed-host".to_owned(), host]);
        }
        args
    }

    /// One with these variables in its environment, without a proxy unless they name it.
    pub async fn start(&self, variables: &[(&str, &str)]) -> Operator {
        let args = self.args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Operator::start_with(&self.own.name, &args, variables).await
    }

    /// An operator that reaches the API server by the proxy.
    pub async fn operator(&self) -> Operator {
        self.start(&[("KUBECONFIG", self.api.kubeconfig.to_str().unwrap())]).await
    }

    /// One that reaches it by another kubeconfig.
    pub async fn operator_by(&self, kubeconfig: &str) -> Operator {
        self.start(&[("KUBECONFIG", kubeconfig)]).await
    }

    /// One that reaches it without a proxy.
    pub async fn straight(&self) -> Operator {
        self.start(&[]).await
    }

    /// One whose output goes where there is no room.
    pub async fn on_a_full_disk(&self) -> Operator {
        let args = self.args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Operator::start_on_a_full_disk(&self.own.name, &args).await
    }

    /// A reference to one name, read every second; workloads are restarted.
    pub async fn reference(&self, name: &str, secret: &str) {
        self.acme.reference(name, &Self::spec(secret)).await;
    }

    pub fn spec(secret: &str) -> Value {
        json!({
            "storeRef": { "name": "store", "kind": "SecretStore" }, "refreshInterval": "1s",
            "rollout": { "restart": "Annotated" },
            "data": [{ "key": "KEY", "secretRef": { "name": secret } }],
        })
    }

    /// Gives a name a new value, and answers it.
    pub async fn put(&self, secret: &str) -> String {
        let value = plant(secret);
        self.bao.put(&format!("acme--{secret}"), json!({ "value": value })).await;
        value
    }

    /// A reference, its value, and a workload that wants to be restarted, all in place.
    pub async fn in_place(&self, name: &str) {
        self.cluster.apply(&deployment(&self.acme.name, name)).await;
        let value = self.put(name).await;
        self.reference(name, name).await;
        self.holds(name, &value).await;
        self.finished(name).await;
    }

    /// Waits until a target holds a value.
    pub async fn holds(&self, name: &str, value: &str) {
        wait_until(&format!("{name} holds the value"), LONG, || async {
            let found = self.acme.data(name).await;
            if found == Some(json!({ "KEY": value })) {
                return Ok(());
            }
            let reference = self.acme.get("SecretReference", name).await.unwrap_or_default();
            Err(format!("{found:?} instead of {value}; {}", reference["status"]))
        })
        .await;
    }

    /// Waits until the status says that all is well, and tells of the target as it is; answers the reference.
    pub async fn finished(&self, name: &str) -> Value {
        wait_until(&format!("{name} is in sync and says so"), LONG, || async {
            let (Some(reference), Some(secret)) =
                (self.acme.get("SecretReference", name).await, self.acme.get("Secret", name).await)
            else {
                return Err("they are not there".to_owned());
            };
            let (status, counts) = (&reference["status"], revisions(&secret, name));
            let restarted = status["target"]["restarted"].as_i64().unwrap_or_default();
            let well = reason(&reference) == "Synced"
                && ["Ready", "Synced", "StoreHealthy"].iter().all(|c| condition(&reference, c)["status"] == "True")
                && status["target"]["uid"] == secret["metadata"]["uid"]
                && (status["target"]["revision"].as_i64(), restarted) == (Some(counts.0), counts.1);
            if well { Ok(reference) } else { Err(format!("{counts:?} {status}")) }
        })
        .await
    }

    /// Waits until the last attempt failed for this reason.
    pub async fn fails(&self, name: &str, expected: &str) -> String {
        wait_until(&format!("{name} fails for {expected}"), LONG, || async {
            let reference = self.acme.get("SecretReference", name).await.unwrap_or_default();
            let synced = condition(&reference, "Synced");
            if synced["reason"] == expected && synced["status"] == "False" {
                Ok(synced["message"].as_str().unwrap().to_owned())
            } else {
                Err(reference["status"].to_string())
            }
        })
        .await
    }

    /// How often a workload was told to become another one.
    pub async fn generation(&self, name: &str) -> i64 {
        self.acme.get("Deployment", name).await.unwrap()["metadata"]["generation"].as_i64().unwrap()
    }

    /// The uid of a target.
    pub async fn uid(&self, name: &str) -> String {
        self.acme.get("Secret", name).await.expect("the target")["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// How often each thing was told of a reference.
    pub async fn told(&self, name: &str, reason: &str) -> i64 {
        let uid = self.acme.get("SecretReference", name).await.unwrap()["metadata"]["uid"].clone();
        let events = self.cluster.list("Event", Some(&self.acme.name)).await;
        let of = events.iter().filter(|e| e["regarding"]["uid"] == uid && e["reason"] == reason);
        of.map(|e| e["series"]["count"].as_i64().unwrap_or(1)).sum()
    }

    /// Waits until a rule of the proxy has met a request.
    pub async fn met(&self, trap: &Trap) {
        wait_until("the request comes", LONG, || async {
            if trap.hits() > 0 { Ok(()) } else { Err("it did not".to_owned()) }
        })
        .await;
    }

    /// The end of every test: nothing that was planted is to be seen anywhere.
    pub async fn done(self, operators: &[&Operator]) {
        let leaks = Leaks::new();
        for operator in operators {
            leaks.assert_none("the operator's output", &operator.output());
            operator.kill();
        }
        self.cluster.assert_no_leaks(&leaks, Some(&self.acme.name)).await;
        self.acme.done().await;
        self.own.done().await;
    }
}

/// What a target's stamp counts: content, and the one that workloads are restarted for.
fn revisions(secret: &Value, name: &str) -> (i64, i64) {
    let stamp = secret["metadata"]["annotations"][format!("stamp.secretref.dev/{name}")].as_str().unwrap_or_default();
    let mut counts = stamp.rsplit(':').skip(2).map(|n| n.parse().unwrap_or_default());
    let restart = counts.next().unwrap_or_default();
    (counts.next().unwrap_or_default(), restart)
}

/// Waits until an operator leads.
pub async fn leads(operator: &Operator) {
    wait_until("it leads", LONG, || async {
        let leads = operator.metric("secretref_leader", &[]).await > 0.5;
        if leads { Ok(()) } else { Err(operator.logs()) }
    })
    .await;
}

/// A target as it was, to be found untouched.
pub struct Kept(Space, Value);

impl Kept {
    pub async fn of(space: &Space, target: &str) -> Self {
        Self(space.clone(), space.get("Secret", target).await.expect("the target"))
    }

    /// The very same Secret, with not one write.
    pub async fn check(&self) {
        let name = self.1["metadata"]["name"].as_str().unwrap();
        let now = self.0.get("Secret", name).await.expect("the target");
        for field in ["uid", "resourceVersion"] {
            assert_eq!(now["metadata"][field], self.1["metadata"][field], "{field} of Secret {name}");
        }
        assert_eq!(now["data"], self.1["data"], "Secret {name} holds something else");
    }
}

/// A workload that reads the Secret of its name, and wants to be restarted when it changes. It runs nowhere.
pub fn deployment(namespace: &str, name: &str) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "annotations": { "secretref.dev/restart": "true" } },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{
                    "name": "app", "image": "example.com/none", "envFrom": [{ "secretRef": { "name": name } }],
                }] },
            },
        },
    })
}
