//! A namespace with references on a Kubernetes store, each with a workload that is restarted when its Secret changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::AbortHandle};

use crate::harness::{Cluster, LOOK, Operator, Space, plant, unique, wait_until};

/// More than are synced at once from one store.
pub const REFERENCES: usize = 60;

/// How long a part may take, with whatever else runs on the machine.
const LONG: Duration = Duration::from_secs(300);

pub struct Team {
    pub cluster: Cluster,
    /// The operators' own.
    pub own: Space,
    pub space: Space,
    /// What the store reads.
    vault: Space,
    store: String,
    values: [String; 3],
}

/// What is there: resourceVersion of each Secret and reference, the generation of each Deployment, and how often each
/// thing was told of each object.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    versions: BTreeMap<String, String>,
    generations: BTreeMap<String, i64>,
    events: BTreeMap<String, i64>,
}

/// Counts writes of each target.
pub struct Seen {
    secrets: Arc<Mutex<BTreeMap<String, usize>>>,
    task: AbortHandle,
}

impl Team {
    pub async fn new() -> Self {
        let cluster = Cluster::connect().await;
        let own = cluster.namespace("takeover", "").await;
        let vault = cluster.namespace("takeover-vault", "").await;
        let space = cluster.namespace("takeover-team", "acme").await;
        let store = format!("takeover-{}", unique());
        let spec = json!({
            "provider": { "kubernetes": { "namespace": vault.name } },
            "limits": { "minRefreshInterval": "1s" }, "healthCheckInterval": "1s",
        });
        cluster
            .apply(&json!({
                "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore",
                "metadata": { "name": store }, "spec": spec,
            }))
            .await;
        let values = ["first", "second", "third"].map(plant);
        Self { cluster, own, space, vault, store, values }
    }

    fn value(&self, round: usize, n: usize) -> String {
        format!("{}-{n}", self.values[round])
    }

    pub async fn create(&self) {
        self.change(0).await;
        for n in 0..REFERENCES {
            let name = format!("app-{n}");
            self.cluster.apply(&deployment(&self.space.name, &name)).await;
            let spec = json!({
                "storeRef": { "name": self.store }, "refreshInterval": "1h", "rollout": { "restart": "Annotated" },
                "data": [{ "key": "KEY", "secretRef": { "name": format!("key-{n}") } }],
            });
            self.space.reference(&name, &spec).await;
        }
    }

    /// Every key gets the value of this round.
    pub async fn change(&self, round: usize) {
        for n in 0..REFERENCES {
            self.vault.secret(&format!("acme--key-{n}"), &json!({ "value": self.value(round, n) })).await;
        }
    }

    pub async fn until_all_hold(&self, round: usize) {
        wait_until(&format!("all Secrets hold round {round}"), LONG, || async {
            for n in 0..REFERENCES {
                let held = self.space.data(&format!("app-{n}")).await;
                if held != Some(json!({ "KEY": self.value(round, n) })) {
                    let reference = self.space.get("SecretReference", &format!("app-{n}")).await;
                    return Err(format!("app-{n} does not: {held:?}, {}", reference.unwrap_or_default()["status"]));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until this operator has looked at all references and found them good.
    pub async fn until_all_known(&self, operator: &Operator) {
        wait_until("all references are known to be ready", LONG, || async {
            let ready = operator.metric("secretref_references", &["state=\"ready\""]).await;
            if ready as usize == REFERENCES { Ok(()) } else { Err(ready.to_string()) }
        })
        .await;
    }

    /// Waits until every workload was restarted for each change up to this round.
    pub async fn until_all_restarted(&self, round: usize) {
        wait_until(&format!("all workloads are restarted for round {round}"), LONG, || async {
            let now = self.snapshot().await;
            let restarted = now.generations.values().filter(|n| **n == 1 + round as i64).count();
            if restarted == REFERENCES { Ok(()) } else { Err(format!("{:?}", now.generations)) }
        })
        .await;
    }

    /// Waits until everything up to this round was told, too: Events come when they come.
    pub async fn until_all_told(&self, round: usize) {
        self.until_all_restarted(round).await;
        let expected = [("Synced", 1 + round as i64), ("WorkloadsRestarted", round as i64)];
        wait_until(&format!("everything is told up to round {round}"), LONG, || async {
            let now = self.snapshot().await;
            let lacks = |(what, count): &(&str, i64)| {
                let told = |n: usize| now.events.get(&format!("app-{n} {what}")).copied().unwrap_or_default();
                (0..REFERENCES).any(|n| told(n) < *count)
            };
            if expected.iter().any(lacks) { Err(format!("{:?}", now.events)) } else { Ok(()) }
        })
        .await;
    }

    /// What is there once nothing has moved for some seconds.
    pub async fn settled(&self) -> Snapshot {
        const STILL: usize = 30;
        let (mut last, mut still) = (self.snapshot().await, 0);
        for _ in 0..1000 {
            tokio::time::sleep(LOOK).await;
            let now = self.snapshot().await;
            still = if now == last { still + 1 } else { 0 };
            if still >= STILL {
                return now;
            }
            last = now;
        }
        panic!("it does not come to rest: {last:?}");
    }

    async fn snapshot(&self) -> Snapshot {
        let mut versions = BTreeMap::new();
        for kind in ["Secret", "SecretReference"] {
            for object in self.space.cluster.list(kind, Some(&self.space.name)).await {
                versions.insert(format!("{kind} {}", name(&object)), text(&object["metadata"]["resourceVersion"]));
            }
        }
        let deployments = self.cluster.list("Deployment", Some(&self.space.name)).await;
        let generations = deployments.iter().map(|d| (name(d), d["metadata"]["generation"].as_i64().unwrap()));
        let mut events = BTreeMap::new();
        for event in self.cluster.list("Event", Some(&self.space.name)).await {
            if event["regarding"]["kind"] == "SecretReference" {
                let what = format!("{} {}", text(&event["regarding"]["name"]), text(&event["reason"]));
                *events.entry(what).or_default() += event["series"]["count"].as_i64().unwrap_or(1);
            }
        }
        Snapshot { versions, generations: generations.collect(), events }
    }

    /// Counts how often each target is written from now on.
    pub async fn count_writes(&self) -> Seen {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.cluster.client.clone(), &self.space.name);
        let secrets = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let counts = secrets.clone();
        let (listed, begun) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut listed = Some(listed);
            let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = stream.next().await {
                match event {
                    Ok(watcher::Event::Apply(secret)) => {
                        *counts.lock().unwrap().entry(secret.name_any()).or_default() += 1;
                    }
                    Ok(watcher::Event::InitDone) => _ = listed.take().map(|listed| listed.send(())),
                    _ => {}
                }
            }
        });
        let seen = Seen { secrets, task: task.abort_handle() };
        begun.await.expect("the Secrets are listed");
        seen
    }

    pub async fn done(self) {
        self.cluster.delete("ClusterSecretStore", None, &self.store).await;
        for space in [self.space, self.vault, self.own] {
            space.done().await;
        }
    }
}

impl Seen {
    pub fn secrets(&self) -> BTreeMap<String, usize> {
        self.secrets.lock().unwrap().clone()
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Snapshot {
    /// Every workload was restarted once more, and every reference had one Event more for it and one for its Secret.
    #[track_caller]
    pub fn each_happened_once_more(&self, after: &Self) {
        assert_eq!(self.versions.keys().collect::<Vec<_>>(), after.versions.keys().collect::<Vec<_>>());
        for (workload, generation) in &self.generations {
            assert_eq!(after.generations[workload], generation + 1, "restarts of {workload}");
        }
        assert_eq!(self.events.keys().collect::<Vec<_>>(), after.events.keys().collect::<Vec<_>>());
        for (event, count) in &self.events {
            assert_eq!(after.events[event], count + 1, "{event}");
        }
    }

    /// Of a process that was killed some Events may be missing, and no restart; none happened twice.
    #[track_caller]
    pub fn none_happened_twice(&self, after: &Self) {
        for (workload, generation) in &self.generations {
            assert_eq!(after.generations[workload], generation + 1, "restarts of {workload}");
        }
        for (event, count) in &after.events {
            let before = self.events.get(event).copied().unwrap_or_default();
            assert!(*count <= before + 1, "{event}: {before} before, {count} after");
        }
    }
}

/// A workload that reads the Secret of its name, and wants to be restarted when it changes. It runs nowhere.
fn deployment(namespace: &str, name: &str) -> Value {
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

fn name(object: &Value) -> String {
    text(&object["metadata"]["name"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
