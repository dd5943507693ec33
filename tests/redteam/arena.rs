//! Where an attempt is played: an operator as the chart installs it, a store on a real OpenBao, a victim whose value is
//! in place, and a tenant of another organisation with every right in its own namespace.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    chart::{self, Installed},
    harness::{Bao, Cluster, Leaks, Operator, Space, condition, env, plant, reason, unique, wait_for},
    servers::ALLOWED,
    table::{Refusal, Row},
    tenant::{Answer, REFERENCES, STORES, Tenant, core, ours, roles},
};

/// Floods are played alone: all attempts share one small machine.
static FLOODS: RwLock<()> = RwLock::const_new(());

enum Turn {
    Alone(#[allow(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
    Together(#[allow(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
}

static OPERATOR: OnceCell<(Operator, Installed)> = OnceCell::const_new();

/// The operator that all attempts share, with tenants' stores switched on for OpenBao and one more server.
pub async fn operator() -> &'static (Operator, Installed) {
    OPERATOR
        .get_or_init(|| async {
            let cluster = Cluster::connect().await;
            let bao = env("BAO_ADDR");
            let hosts = [bao.strip_prefix("https://").unwrap().to_owned(), format!("localhost:{}", *ALLOWED)];
            let tenants = json!({ "enabled": true, "allowedHosts": hosts, "serviceAccountTokens": true });
            let installed = chart::install(&cluster, "redteam", &json!({ "tenantStores": tenants })).await;
            policies_hold(&installed).await;
            (installed.start().await, installed)
        })
        .await
}

pub struct Arena {
    pub operator: &'static Operator,
    pub installed: &'static Installed,
    /// The platform's administrator.
    pub cluster: Cluster,
    pub bao: Bao,
    /// Who attacks, and from where.
    pub tenant: Tenant,
    pub space: Space,
    /// The attacker's organisation; the victim's begins with it.
    pub org: String,
    /// The value of the attacker's own `key`.
    pub own: String,
    pub victim: Space,
    pub victim_org: String,
    /// The value of the victim's `key`.
    pub value: String,
    pub store: String,
    /// The platform's namespace: credentials.
    pub home: Space,
    target: Value,
    row: &'static Row,
    seen: usize,
    _turn: Turn,
}

impl Arena {
    pub async fn new(row: &'static Row) -> Self {
        let mut floods = crate::flood::ROWS.iter().chain(crate::workers::ROWS);
        let turn = match floods.any(|flood| flood.name == row.name) {
            true => Turn::Alone(FLOODS.write().await),
            false => Turn::Together(FLOODS.read().await),
        };
        let (operator, installed) = operator().await;
        let cluster = Cluster::connect().await;
        let bao = Bao::new().await;
        let org = format!("acme{}", unique());
        let victim_org = format!("{org}-corp");
        let home = Space { cluster: cluster.clone(), name: installed.namespace.clone() };
        let (space, victim) =
            tokio::join!(cluster.namespace("attacker", &org), cluster.namespace("victim", &victim_org));
        let (own, value) = (plant("own"), plant("victim"));
        bao.put(&format!("{org}--key"), json!({ "value": own })).await;
        bao.put(&format!("{victim_org}--key"), json!({ "value": value })).await;
        let store = format!("store-{}", unique());
        home.secret(&store, &json!({ "token": bao.token(&["reader"]).await })).await;
        let tenant = Tenant::new(&format!("tenant-{}", space.name), &[]).await;
        bind_admin(&space, &tenant).await;
        let mut arena = Self {
            operator,
            installed,
            cluster,
            bao,
            tenant,
            space,
            org,
            own,
            victim,
            victim_org,
            value,
            store,
            home,
            target: Value::Null,
            row,
            seen: 0,
            _turn: turn,
        };
        arena.put_store(&arena.store, json!({})).await;
        let spec = arena.spec(one("KEY", "key"));
        arena.victim.reference("victim", &spec).await;
        arena.target = arena.victim.until_data("victim", &json!({ "KEY": arena.value })).await;
        // The status follows.
        arena.victim.until_reason("victim", "Synced").await;
        arena
    }

    /// Applies a store of the platform's on the same OpenBao with these further fields.
    pub async fn put_store(&self, name: &str, spec: Value) {
        let mut vault = self.bao.provider();
        let source = json!({ "name": self.store, "namespace": self.home.name, "key": "token" });
        vault["auth"] = json!({ "token": { "secretRef": source } });
        let mut whole = json!({
            "provider": { "vault": vault }, "limits": { "minRefreshInterval": "1s" }, "healthCheckInterval": "1s",
        });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore",
            "metadata": { "name": name }, "spec": whole,
        });
        self.cluster.apply(&object).await;
        wait_for(&format!("store {name} is healthy"), || async {
            let store = self.cluster.get("ClusterSecretStore", None, name).await.unwrap();
            if condition(&store, "Ready")["status"] == "True" { Ok(()) } else { Err(store["status"].to_string()) }
        })
        .await;
    }

    /// A spec on the platform's store.
    pub fn spec(&self, rest: Value) -> Value {
        let mut spec = json!({ "storeRef": { "name": self.store }, "refreshInterval": "1s" });
        for (key, value) in rest.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    }

    /// The tenant creates a reference; the refusal of the row must be seen.
    pub async fn submit(&mut self, name: &str, rest: Value) {
        let object = reference(&self.space.name, name, self.spec(rest));
        let answer = self.tenant.create(&ours(&self.space.name, REFERENCES), &object).await;
        match (self.row.refusal, answer) {
            (Refusal::Reason(..), Ok(_)) => self.told(name).await,
            (_, answer) => self.refused(answer),
        }
    }

    /// A reference of the tenant's is refused by the operator, as the row says.
    pub async fn told(&mut self, name: &str) {
        let Refusal::Reason(expected, words) = self.row.refusal else { panic!("{:?} speaks of no reason", self.row) };
        let what = format!("{expected} with \"{words}\"");
        let told = self.space.until("SecretReference", name, &what, |r| {
            let message = condition(r, "Synced")["message"].as_str().unwrap_or_default();
            r["status"]["observedGeneration"] == r["metadata"]["generation"]
                && reason(r) == expected
                && message.contains(words)
        });
        let told = told.await;
        assert_ne!(condition(&told, "Synced")["status"], "True", "{told}");
        self.seen += 1;
    }

    /// The API server refused it, as the row says.
    #[track_caller]
    pub fn refused(&mut self, answer: Answer) {
        let Refusal::Status(expected, words) = self.row.refusal else {
            panic!("{:?} speaks of no status, but the API server said: {answer:?}", self.row)
        };
        match answer {
            Ok(object) => panic!("SUCCEEDED: {}: {object}", self.row.name),
            Err((code, message)) => {
                assert_eq!(code, expected, "{message}");
                assert!(message.contains(words), "\"{words}\" is not in: {message}");
            }
        }
        self.seen += 1;
    }

    /// What the attempt got hold of is what was the tenant's anyway.
    pub async fn own_value(&mut self, target: &str) {
        self.space.until_data(target, &json!({ "KEY": self.own })).await;
        self.harmless();
    }

    /// Seen to have no effect, by a check that the attempt made itself.
    #[track_caller]
    pub fn harmless(&mut self) {
        assert!(matches!(self.row.refusal, Refusal::Harmless(_)), "{:?} is not said to be harmless", self.row);
        self.seen += 1;
    }

    /// The tenant creates a store of its own.
    pub async fn own_store(&mut self, name: &str, provider: Value) -> Answer {
        let object = json!({
            "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore",
            "metadata": { "name": name, "namespace": self.space.name },
            "spec": { "provider": provider, "healthCheckInterval": "1s" },
        });
        self.tenant.create(&ours(&self.space.name, STORES), &object).await
    }

    /// A reference of the tenant's to a store of its own.
    pub async fn by_own_store(&mut self, name: &str, store: &str) {
        let mut rest = one("KEY", "key");
        rest["storeRef"] = json!({ "name": store, "kind": "SecretStore" });
        self.submit(name, rest).await;
    }

    /// The end of every attempt: it was refused, and what is the victim's is where it was and nowhere else.
    pub async fn nothing_crossed(self) {
        assert!(self.seen > 0, "nothing was seen of {}", self.row.name);
        let leaks = Leaks::new();
        leaks.assert_none("the operator's output", &self.operator.output());
        leaks.assert_none("/metrics", &self.operator.metrics().await);
        let encoded = STANDARD.encode(&self.value);
        if self.cluster.get("Namespace", None, &self.space.name).await.is_some() {
            let namespace = Some(self.space.name.as_str());
            for kind in ["Secret", "ConfigMap", "SecretReference", "SecretStore", "Event"] {
                for object in self.cluster.list(kind, namespace).await {
                    let text = object.to_string();
                    assert!(!text.contains(&self.value) && !text.contains(&encoded), "CROSSED: {text}");
                }
            }
            self.cluster.assert_no_leaks(&leaks, namespace).await;
        }
        self.cluster.assert_no_leaks(&leaks, Some(&self.victim.name)).await;
        let now = self.victim.get("Secret", "victim").await.expect("the victim's target is there");
        for field in ["/data", "/metadata/uid", "/metadata/ownerReferences"] {
            assert_eq!(now.pointer(field), self.target.pointer(field), "the victim's target was touched");
        }
        let victim = self.victim.get("SecretReference", "victim").await.expect("the victim's reference is there");
        assert_eq!(condition(&victim, "Ready")["status"], "True", "{victim}");
        self.cluster.delete("ClusterSecretStore", None, &self.store).await;
        self.home.delete("Secret", &self.store).await;
        self.space.done().await;
        self.victim.done().await;
    }
}

/// Waits until the chart's policies are in force: the API server takes them up a moment after they are there.
async fn policies_hold(installed: &Installed) {
    let namespace = &installed.namespace;
    let account = format!("system:serviceaccount:{namespace}:{}", installed.name);
    let operator = Tenant::new(&account, &["system:serviceaccounts"]).await;
    let odd = json!({ "metadata": { "generateName": "probe-" }, "type": "example.com/probe" });
    wait_for("the policy for targets is in force", || async {
        match operator.create(&format!("{}?dryRun=All", core(namespace, "secrets")), &odd).await {
            Err((403, message)) if message.contains("target-types") => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}

/// Gives somebody the ClusterRole `admin` in a namespace, and waits until the API server knows.
pub async fn bind_admin(space: &Space, tenant: &Tenant) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": tenant.user, "namespace": space.name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin" },
        "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": tenant.user }],
    });
    // What admits objects to a namespace that was made anew may still believe in the former one.
    wait_for("the namespace takes objects", || async {
        let request =
            axum::http::Request::post(roles(&space.name, "rolebindings")).header("Content-Type", "application/json");
        let request = request.body(binding.to_string().into_bytes()).unwrap();
        space.cluster.client.request::<Value>(request).await.map(|_| ()).map_err(|e| e.to_string())
    })
    .await;
    // The operator's kinds come into `admin` by aggregation, a moment after the chart is there.
    wait_for("the tenant is admin", || async {
        for plural in [REFERENCES, STORES] {
            tenant.get(&ours(&space.name, plural)).await.map_err(|(_, message)| message)?;
            let probe = tenant.create(&format!("{}?dryRun=All", ours(&space.name, plural)), &json!({})).await;
            if let Err((403, message)) = probe {
                return Err(message);
            }
        }
        tenant.get(&core(&space.name, "secrets")).await.map_err(|(_, message)| message)
    })
    .await;
}

pub fn reference(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretReference",
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    })
}

/// A secretRef entry.
pub fn secret(key: &str, name: &str) -> Value {
    json!({ "key": key, "secretRef": { "name": name } })
}

/// The common spec: one key from one name.
pub fn one(key: &str, name: &str) -> Value {
    json!({ "data": [secret(key, name)] })
}
