//! The store goes, with two thousand references on as many keys, and comes back.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    api_proxy::Does,
    fault_proxy::Fault,
    harness::{condition, plant, reason, wait_until},
    scene::{Scene, leads},
};

const REFERENCES: usize = 2_000;
/// What the store may be asked for: a second, and at once after a rest.
const RATE: f64 = 150.0;
const BURST: f64 = 200.0;
/// Requests that are under way at once, by default.
const UNDER_WAY: f64 = 16.0;
/// How long the store stays away once all references say so, unless `SECRETREF_OUTAGE` says how many seconds.
const OUTAGE: Duration = Duration::from_secs(30);
/// What is promised of a store that is back.
const MINUTE: Duration = Duration::from_secs(60);
/// How long two thousand of anything may take on a machine that has other things to do.
const MANY: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_references_get_over_an_outage() {
    let limits = json!({ "requestsPerSecond": RATE, "burst": BURST as i64, "minRefreshInterval": "20s" });
    let scene = Scene::alone(limits).await;
    let value = plant("many");
    let value_of = |n: usize| format!("{value}-{n}");
    stream::iter(0..REFERENCES)
        .for_each_concurrent(8, async |n| {
            scene.bao.put(&format!("acme--many-{n}"), json!({ "value": value_of(n) })).await;
        })
        .await;
    let operator = scene.straight().await;
    leads(&operator).await;
    let begun = Instant::now();
    stream::iter(0..REFERENCES)
        .for_each_concurrent(8, async |n| {
            let mut spec = Scene::spec(&format!("many-{n}"));
            spec["refreshInterval"] = json!("20s");
            scene.acme.reference(&format!("many-{n}"), &spec).await;
        })
        .await;
    all(&scene, REFERENCES, "Synced", MANY).await;
    let first = begun.elapsed();
    let before = secrets(&scene).await;
    assert_eq!(before.len(), REFERENCES);

    scene.way.fault(Some(Fault::Down)).await;
    all(&scene, REFERENCES, "StoreUnavailable", MANY).await;
    // More than a cycle of all keys would have been due.
    let longer = std::env::var("SECRETREF_OUTAGE").ok().and_then(|seconds| seconds.parse().ok());
    tokio::time::sleep(longer.map_or(OUTAGE, Duration::from_secs)).await;
    assert_eq!(secrets(&scene).await, before, "an outage writes nothing and deletes nothing");
    let changed = plant("changed");
    scene.bao.put("acme--many-7", json!({ "value": changed })).await;

    let watched = scene.way.requests().len();
    let back = Instant::now();
    scene.way.fault(None).await;
    let recovered = std::cell::Cell::new(false);
    let load = async {
        let mut load = Vec::new();
        loop {
            let from = Instant::now();
            // Probes and the upkeep of the login are no reads.
            let reads = scene.way.requests()[watched..].iter().filter(|r| r.contains("secret/data/")).count();
            load.push((from, reads, Instant::now()));
            tokio::time::sleep(Duration::from_millis(200)).await;
            if back.elapsed() > MINUTE && recovered.get() {
                return load;
            }
        }
    };
    let ready = async {
        // What the machine needs for the first sync of all of them, which is more work, is not the operator's delay.
        all(&scene, REFERENCES, "Synced", MINUTE + first).await;
        recovered.set(true);
        back.elapsed()
    };
    let (load, ready) = tokio::join!(load, ready);
    println!(
        "all {REFERENCES} are in sync {ready:?} after the store is back; {:?} reads meanwhile",
        load.last().map(|l| l.1)
    );
    for (i, (from, before, _)) in load.iter().enumerate() {
        for (_, after, until) in &load[i..] {
            let (asked, window) = ((after - before) as f64, (*until - *from).as_secs_f64());
            // What was sent before may arrive within.
            let most = BURST + RATE * window + UNDER_WAY;
            assert!(asked <= most, "{asked} reads in {window} s, and {most} are allowed");
        }
    }
    scene.holds("many-7", &changed).await;
    let after = secrets(&scene).await;
    let written = before.iter().filter(|secret| !after.contains(*secret)).count();
    assert_eq!((after.len(), written), (REFERENCES, 1), "only what changed is written");
    scene.done(&[&operator]).await;
}

/// The store is back while references are being told that it went: one is just being written, others are in line.
#[tokio::test]
async fn it_is_back_before_all_were_told_that_it_went() {
    const SHARERS: usize = 600;
    let scene = Scene::new().await;
    let value = scene.put("shared").await;
    let operator = scene.operator().await;
    leads(&operator).await;
    stream::iter(0..SHARERS)
        .for_each_concurrent(8, async |n| {
            let mut spec = Scene::spec("shared");
            spec["rollout"].take();
            scene.acme.reference(&format!("sharer-{n}"), &spec).await;
        })
        .await;
    all(&scene, SHARERS, "Synced", MANY).await;

    // Carried out at once: one that arrived when its operator had given it up would be the last word.
    let told = scene.api.on(1, Does::HoldAfter, |asked| {
        asked.method == reqwest::Method::PATCH
            && asked.path.contains("/secretreferences/")
            && asked.body.contains("StoreUnavailable")
    });
    scene.way.fault(Some(Fault::Down)).await;
    scene.met(&told).await;
    scene.way.fault(None).await;
    wait_until("the store is healthy", MANY, || async {
        let store = scene.acme.get("SecretStore", "store").await.unwrap_or_default();
        if condition(&store, "Ready")["status"] == "True" { Ok(()) } else { Err(store["status"].to_string()) }
    })
    .await;
    told.release();
    all(&scene, SHARERS, "Synced", MANY).await;
    scene.holds("sharer-0", &value).await;
    scene.done(&[&operator]).await;
}

/// Waits until the last attempt of all references ended so.
async fn all(scene: &Scene, many: usize, expected: &str, deadline: Duration) {
    wait_until(&format!("all are {expected}"), deadline, || async {
        let references = scene.cluster.list("SecretReference", Some(&scene.acme.name)).await;
        let so = |r: &&Value| {
            let ready = condition(r, "Ready")["status"] == "True";
            reason(r) == expected && ready
        };
        let count = references.iter().filter(so).count();
        tokio::time::sleep(Duration::from_millis(500)).await;
        if count == many {
            return Ok(());
        }
        let mut others = std::collections::BTreeMap::<String, usize>::new();
        for other in references.iter().filter(|r| !so(r)) {
            let healthy = condition(other, "StoreHealthy");
            let what = format!("{}, store {} {}", reason(other), healthy["status"], healthy["message"]);
            *others.entry(what).or_default() += 1;
        }
        let store = scene.acme.get("SecretStore", "store").await.unwrap_or_default();
        Err(format!("{count} of {} are; {others:?}; the store: {}", references.len(), store["status"]))
    })
    .await;
}

/// Name, uid and resourceVersion of every target.
async fn secrets(scene: &Scene) -> std::collections::BTreeSet<String> {
    let all = scene.cluster.list("Secret", Some(&scene.acme.name)).await;
    let ours = all.iter().map(|s| &s["metadata"]).filter(|m| m["labels"]["secretref.dev/managed"] == "true");
    ours.map(|m| format!("{} {} {}", m["name"], m["uid"], m["resourceVersion"])).collect()
}
