//! A thousand references on fifty keys, and what the API server counts of them.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    INTERVAL, KEYS, LONG, REFERENCES, SPACES,
    harness::{Bao, Cluster, Space, condition, unique, wait_until},
};

pub struct Fleet {
    pub cluster: Cluster,
    pub bao: Bao,
    pub store: String,
    pub spaces: Vec<Space>,
    home: Space,
}

/// resourceVersion of every reference and every Secret in these namespaces: `kind/namespace/name`.
pub type Versions = BTreeMap<String, String>;

impl Fleet {
    /// The store and the namespaces; no reference yet.
    pub async fn new() -> Self {
        let (cluster, bao) = (Cluster::connect().await, Bao::new().await);
        let home = cluster.namespace("scale-home", "").await;
        let mut spaces = Vec::new();
        for _ in 0..SPACES {
            spaces.push(cluster.namespace("scale", "acme").await);
        }
        stream::iter(0..KEYS)
            .for_each_concurrent(8, async |key| bao.put_value(key, &format!("first of {key}")).await)
            .await;
        let (role, secret) = bao.app_role("operator", &["reader"]).await;
        home.secret("role", &json!({ "secretId": secret })).await;
        let store = format!("scale-{}", unique());
        let mut provider = bao.provider();
        let secret = json!({ "name": "role", "namespace": home.name, "key": "secretId" });
        provider["auth"] = json!({ "appRole": { "roleId": role, "secretId": { "secretRef": secret } } });
        let limits = json!({ "minRefreshInterval": format!("{}s", INTERVAL.as_secs()) });
        let object = json!({
            "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore",
            "metadata": { "name": store }, "spec": { "provider": { "vault": provider }, "limits": limits },
        });
        cluster.apply(&object).await;
        Self { cluster, bao, store, spaces, home }
    }

    /// A thousand references: each key has twenty.
    pub async fn create(&self) {
        stream::iter(0..REFERENCES)
            .for_each_concurrent(16, async |n| {
                self.reference(n % SPACES, &format!("ref-{n}"), &key(n % KEYS)).await;
            })
            .await;
    }

    pub async fn reference(&self, space: usize, name: &str, key: &str) {
        let spec = json!({
            "storeRef": { "name": self.store }, "refreshInterval": format!("{}s", INTERVAL.as_secs()),
            "data": [{ "key": "VALUE", "secretRef": { "name": key } }],
        });
        self.spaces[space].reference(name, &spec).await;
    }

    async fn list(&self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for space in &self.spaces {
            all.extend(self.cluster.list(kind, Some(&space.name)).await);
        }
        all.retain(|o| !name(o).starts_with("kube-"));
        all
    }

    pub async fn all_ready(&self) {
        wait_until("all references are ready", LONG, || async {
            let references = self.list("SecretReference").await;
            let ready = references.iter().filter(|r| condition(r, "Ready")["status"] == "True").count();
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            if ready == REFERENCES { Ok(()) } else { Err(format!("{ready} of {}", references.len())) }
        })
        .await;
    }

    pub async fn versions(&self) -> Versions {
        let mut versions = Versions::new();
        for kind in ["SecretReference", "Secret"] {
            for object in self.list(kind).await {
                let text = |v: &Value| v.as_str().unwrap().to_owned();
                let meta = &object["metadata"];
                let name = format!("{kind}/{}/{}", text(&meta["namespace"]), text(&meta["name"]));
                versions.insert(name, text(&meta["resourceVersion"]));
            }
        }
        versions
    }

    /// Secrets and references that were written in between.
    pub fn written(before: &Versions, after: &Versions) -> (BTreeSet<String>, BTreeSet<String>) {
        let changed = before.iter().filter(|(name, version)| after.get(*name) != Some(version)).map(|(n, _)| n.clone());
        changed.partition(|name| name.starts_with("Secret/"))
    }

    /// Those whose Secret does not hold this value of a key.
    pub async fn without(&self, key: usize, value: &str) -> Vec<String> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let encoded = STANDARD.encode(value);
        let of_key = |s: &Value| key_of(name(s)) == Some(key);
        let secrets = self.list("Secret").await;
        let lacking = secrets.iter().filter(|s| of_key(s) && s["data"]["VALUE"] != encoded.as_str());
        lacking.map(|s| s["metadata"]["name"].to_string()).collect()
    }

    /// Events about what is in these namespaces.
    pub async fn events(&self) -> usize {
        let mut count = 0;
        for space in &self.spaces {
            let events = self.cluster.list("Event", Some(&space.name)).await;
            // An Event that happens again is counted in itself.
            count += events.iter().map(|e| e["series"]["count"].as_u64().unwrap_or(1) as usize).sum::<usize>();
        }
        count
    }

    /// Requests about references and Secrets that the API server has counted itself, but for watches.
    pub async fn requests(&self) -> BTreeMap<String, f64> {
        let request = axum::http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self.cluster.client.request_text(request).await.expect("the API server's /metrics");
        let series = text.lines().filter(|l| l.starts_with("apiserver_request_total{"));
        let about = |l: &&str| ["secretreferences", "secrets"].iter().any(|r| l.contains(&format!("resource=\"{r}\"")));
        let counts = series.filter(about).filter(|l| !l.contains("verb=\"WATCH\""));
        counts.filter_map(|l| l.rsplit_once(' ')).map(|(s, v)| (s.to_owned(), v.parse().unwrap())).collect()
    }

    /// Namespaces of other tests that are still going away would be counted, too.
    pub async fn quiet(&self) {
        wait_until("no namespace is going away", 2 * LONG, || async {
            let list = self.cluster.list("Namespace", None).await;
            let going = list.iter().filter(|n| n["metadata"]["deletionTimestamp"].is_string()).count();
            if going == 0 { Ok(()) } else { Err(format!("{going} are")) }
        })
        .await;
        // Kubernetes' garbage collector looks at each owner of a kind that it has just learned of.
        let looks = async || {
            let gets = |(series, _): &(String, f64)| {
                series.contains("resource=\"secretreferences\"") && series.contains("verb=\"GET\"")
            };
            self.requests().await.into_iter().filter(gets).map(|(_, count)| count).sum::<f64>()
        };
        wait_until("the garbage collector knows the owners", LONG, || async {
            let before = looks().await;
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
            let after = looks().await;
            if after <= before { Ok(()) } else { Err(format!("{} looks in 10 s", after - before)) }
        })
        .await;
    }

    pub async fn done(self) {
        for space in self.spaces.into_iter().chain([self.home]) {
            space.done().await;
        }
        self.cluster.delete("ClusterSecretStore", None, &self.store).await;
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Which key a reference of the thousand, or its Secret, stands on.
pub fn key_of(name: &str) -> Option<usize> {
    let (_, n) = name.rsplit_once("ref-")?;
    Some(n.parse::<usize>().unwrap() % KEYS)
}

/// The bare name of a key.
pub fn key(n: usize) -> String {
    format!("key-{n}")
}

pub trait PutValue {
    async fn put_value(&self, key: usize, value: &str);
}

impl PutValue for Bao {
    async fn put_value(&self, n: usize, value: &str) {
        self.put(&format!("acme--{}", key(n)), json!({ "value": value })).await;
    }
}
