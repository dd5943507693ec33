//! `make bench`: what many references cost the operator, as it is shipped, on a real API server and OpenBao.
//!
//! Its memory with nothing to do and with `SECRETREF_FLEET` references (10,000 unless told) of 2 kB on 500 names, the time
//! from a new reference to its Secret, and from a notification to the Secret that it changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "../tests/fakes/port.rs"]
mod port;

use std::{
    fs,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use harness::{Bao, Cluster, Operator, Space, free_address, seconds, signed, unique, wait_until};
use kube::{
    Api, ResourceExt,
    api::{WatchEvent, WatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

/// Names in the store, and how many of them each reference has.
const NAMES: usize = 500;
const ENTRIES: usize = 20;
const SPACES: usize = 20;
/// How often each time is taken.
const TIMES: usize = 100;
/// As long as one that openssl makes.
const HOOKS_KEY: &str = "canary-0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";
const LONG: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() {
    let fleet: usize = std::env::var("SECRETREF_FLEET").map_or(10_000, |n| n.parse().expect("a number"));
    let bench = Bench::new().await;
    let hooks = free_address().to_string();
    let operator = Operator::start(&bench.own.name, &["--hooks-addr", &hooks]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!(
        "nothing to do: {:.1} MiB resident, {:.1} MiB of it the program",
        mebibytes(&operator, "VmRSS"),
        mebibytes(&operator, "RssFile")
    );
    let began = Instant::now();
    bench.create(fleet).await;
    let created = began.elapsed();
    bench.ready(&operator, fleet).await;
    println!(
        "{fleet} references: made in {:.0} s, all in sync {:.0} s later; {:.1} MiB resident, {:.1} MiB at most",
        created.as_secs_f64(),
        (began.elapsed() - created).as_secs_f64(),
        mebibytes(&operator, "VmRSS"),
        mebibytes(&operator, "VmHWM"),
    );
    bench.latency().await;
    bench.notified(&format!("http://{hooks}/hooks/generic/{}", bench.store)).await;
    operator.restart().await;
    bench.ready(&operator, fleet + TIMES + 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    println!(
        "after a restart: {:.1} MiB resident, {:.1} MiB at most",
        mebibytes(&operator, "VmRSS"),
        mebibytes(&operator, "VmHWM")
    );
    operator.kill();
}

struct Bench {
    cluster: Cluster,
    bao: Bao,
    store: String,
    own: Space,
    spaces: Vec<Space>,
}

impl Bench {
    async fn new() -> Self {
        let (cluster, bao) = (Cluster::connect().await, Bao::new().await);
        let own = cluster.namespace("fleet", "").await;
        let spaces = stream::iter(0..SPACES).then(async |_| cluster.namespace("fleet", "acme").await).collect().await;
        stream::iter(0..NAMES)
            .for_each_concurrent(16, async |n| {
                bao.put(&format!("acme--name-{n}"), json!({ "value": "canary-first" })).await
            })
            .await;
        own.secret("token", &json!({ "token": bao.token(&["reader"]).await })).await;
        let mut vault = bao.provider();
        vault["auth"] = json!({ "token": { "secretRef": { "name": "token", "namespace": own.name, "key": "token" } } });
        let store = format!("fleet-{}", unique());
        cluster
            .apply(&json!({
                "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore",
                "metadata": { "name": store }, "spec": { "provider": { "vault": vault } },
            }))
            .await;
        let key = json!({ &store: HOOKS_KEY });
        own.secret("secretref-hooks", &key).await;
        Self { cluster, bao, store, own, spaces }
    }

    /// 2 kB of it is what its author wrote.
    fn reference(&self, n: usize) -> Value {
        let entry = |i: usize| {
            let name = format!("name-{}", (n + i * 25) % NAMES);
            json!({ "key": format!("SERVICE_{i}_DATABASE_PASSWORD"), "secretRef": { "name": name, "scope": "OrgThenGlobal" } })
        };
        let data: Vec<Value> = (0..ENTRIES).map(entry).collect();
        json!({
            "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretReference",
            "metadata": { "name": format!("ref-{n}"), "namespace": self.spaces[n % SPACES].name },
            "spec": { "storeRef": { "name": self.store }, "refreshInterval": "10m", "data": data },
        })
    }

    async fn create(&self, fleet: usize) {
        println!("one reference has {} bytes", self.reference(0).to_string().len());
        stream::iter(0..fleet)
            .for_each_concurrent(16, async |n| {
                self.cluster.create(&self.reference(n)).await.expect("a reference");
            })
            .await;
    }

    async fn ready(&self, operator: &Operator, fleet: usize) {
        wait_until("all are in sync", LONG, || async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let ready = operator.metric("secretref_references", &["state=\"ready\""]).await;
            if ready >= fleet as f64 { Ok(()) } else { Err(format!("{ready}")) }
        })
        .await;
    }

    /// From the request that makes a reference to the Secret, as a watch sees it.
    async fn latency(&self) {
        let space = &self.spaces[0];
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.cluster.client.clone(), &space.name, &kind);
        let mut events = api.watch_metadata(&Default::default(), "0").await.unwrap().boxed();
        let mut times = Vec::new();
        for n in 0..TIMES {
            let name = format!("late-{n}");
            let mut reference = self.reference(n);
            reference["metadata"] = json!({ "name": name, "namespace": space.name });
            let began = Instant::now();
            self.cluster.create(&reference).await.expect("a reference");
            loop {
                let event = events.try_next().await.unwrap().expect("the watch goes on");
                if matches!(event, WatchEvent::Added(secret) if secret.name_any() == name) {
                    break;
                }
            }
            times.push(began.elapsed());
        }
        println!("a new reference has its Secret: {}", percentiles(times));
    }

    /// From the request that tells of a change to the Secret, as a watch sees it.
    async fn notified(&self, hooks: &str) {
        let space = &self.spaces[0];
        let put =
            async |n: usize, value: &str| self.bao.put(&format!("acme--told-{n}"), json!({ "value": value })).await;
        for n in 0..TIMES {
            put(n, "canary-first").await;
        }
        let entry = |n: usize| json!({ "key": format!("K{n}"), "secretRef": { "name": format!("told-{n}") } });
        let data: Vec<Value> = (0..TIMES).map(entry).collect();
        let spec = json!({ "storeRef": { "name": self.store }, "refreshInterval": "24h", "data": data });
        space.reference("told", &spec).await;
        space.until_reason("told", "Synced").await;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.cluster.client.clone(), &space.name, &kind);
        let version = api.get_metadata("told").await.unwrap().resource_version().unwrap();
        let only = WatchParams::default().fields("metadata.name=told");
        let mut events = api.watch_metadata(&only, &version).await.unwrap().boxed();
        let http = reqwest::Client::new();
        let mut times = Vec::new();
        for n in 0..TIMES {
            put(n, "canary-second").await;
            let body = json!({ "keys": [format!("acme--told-{n}")] }).to_string();
            let headers = signed(HOOKS_KEY, seconds(), &body);
            let request =
                headers.into_iter().fold(http.post(hooks), |request, (name, value)| request.header(name, value));
            let began = Instant::now();
            let answer = request.body(body).send().await.unwrap();
            assert_eq!(answer.status(), 202);
            while !matches!(events.try_next().await.unwrap(), Some(WatchEvent::Modified(_))) {}
            times.push(began.elapsed());
            // Notifications that come closer are recorded together.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        println!("what a notification tells of is in its Secret: {}", percentiles(times));
    }
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("p50 {:.1?}, p99 {:.1?}", times[TIMES / 2 - 1], times[TIMES * 99 / 100 - 1])
}

/// A line of `/proc/PID/status`, in MiB.
fn mebibytes(operator: &Operator, line: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).expect("its memory");
    found.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
