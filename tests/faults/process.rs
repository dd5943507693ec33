//! The process ends at the worst moment: without a word at each request of a change, and in order under load.

use serde_json::json;

use crate::{
    api_proxy::{Asked, Does},
    fault_proxy::Fault,
    harness::wait_until,
    scene::{LONG, Scene, leads},
};

fn secret(asked: &Asked) -> bool {
    asked.patches("/secrets/app")
}
fn status(asked: &Asked) -> bool {
    asked.patches("/secretreferences/app/status") && asked.body.contains("conditions")
}
fn list(asked: &Asked) -> bool {
    asked.path.contains("/deployments?")
}
fn workload(asked: &Asked) -> bool {
    asked.patches("/deployments/app")
}
fn restarted(asked: &Asked) -> bool {
    asked.patches("/secretreferences/app/status") && asked.body.contains("\"restarted\"")
}
fn event(asked: &Asked) -> bool {
    asked.is_write() && asked.path.contains("/events")
}

/// A value changes; the operator is killed at one of the requests that this sets off, which is carried out or is not.
/// The next one finishes what was begun, and nothing happens twice.
async fn killed_at(step: fn(&Asked) -> bool, does: Does) {
    let scene = Scene::new().await;
    let first = scene.operator().await;
    leads(&first).await;
    scene.in_place("app").await;
    let (uid, generation) = (scene.uid("app").await, scene.generation("app").await);
    let told = scene.told("app", "WorkloadsRestarted").await;

    let trap = scene.api.on(1, does, step);
    let value = scene.put("app").await;
    scene.met(&trap).await;
    first.kill();

    let second = scene.straight().await;
    finishes(&scene, &value, &uid, generation).await;
    assert!(scene.told("app", "WorkloadsRestarted").await <= told + 1, "told twice");
    let value = scene.put("app").await;
    finishes(&scene, &value, &uid, generation + 1).await;
    scene.done(&[&first, &second]).await;
}

/// The value arrives in the same Secret, there is no other, the workload is restarted once more, and the status says so.
async fn finishes(scene: &Scene, value: &str, uid: &str, generation: i64) {
    scene.holds("app", value).await;
    let reference = scene.finished("app").await;
    let version = scene.bao.must(reqwest::Method::GET, "secret/metadata/acme--app", json!(null)).await;
    let version = version["data"]["current_version"].to_string();
    assert_eq!(reference["status"]["entries"][0]["version"], version, "{}", reference["status"]);
    assert_eq!(scene.uid("app").await, uid);
    let all = scene.cluster.list("Secret", Some(&scene.acme.name)).await;
    let ours = all.iter().filter(|s| s["metadata"]["labels"]["secretref.dev/managed"] == "true").count();
    assert_eq!(ours, 1, "one Secret");
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
}

#[tokio::test]
async fn killed_before_the_secret_is_written() {
    killed_at(secret, Does::HoldBefore).await;
}

#[tokio::test]
async fn killed_after_the_secret_was_written() {
    killed_at(secret, Does::HoldAfter).await;
}

#[tokio::test]
async fn killed_before_workloads_are_listed() {
    killed_at(list, Does::HoldBefore).await;
}

#[tokio::test]
async fn killed_before_the_workload_is_restarted() {
    killed_at(workload, Does::HoldBefore).await;
}

#[tokio::test]
async fn killed_after_the_workload_was_restarted() {
    killed_at(workload, Does::HoldAfter).await;
}

#[tokio::test]
async fn killed_before_the_restart_is_noted() {
    killed_at(restarted, Does::HoldBefore).await;
}

#[tokio::test]
async fn killed_after_the_restart_was_noted() {
    killed_at(restarted, Does::HoldAfter).await;
}

#[tokio::test]
async fn killed_before_the_status_is_written() {
    killed_at(status, Does::HoldBefore).await;
}

#[tokio::test]
async fn killed_after_the_status_was_written() {
    killed_at(status, Does::HoldAfter).await;
}

#[tokio::test]
async fn killed_before_the_event_is_published() {
    killed_at(event, Does::HoldBefore).await;
}

#[tokio::test]
async fn killed_after_the_event_was_published() {
    killed_at(event, Does::HoldAfter).await;
}

/// The store has been asked and has not answered yet.
#[tokio::test]
async fn killed_while_the_store_is_read() {
    let scene = Scene::new().await;
    let first = scene.operator().await;
    leads(&first).await;
    scene.in_place("app").await;
    let (uid, generation) = (scene.uid("app").await, scene.generation("app").await);
    scene.way.fault(Some(Fault::Silence)).await;
    let value = scene.put("app").await;
    let before = scene.way.requests().len();
    wait_until("the store is asked", LONG, || async {
        let asked = scene.way.requests().split_off(before).iter().any(|r| r.contains("secret/data/acme--app"));
        if asked { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
    first.kill();
    scene.way.fault(None).await;
    let second = scene.straight().await;
    finishes(&scene, &value, &uid, generation).await;
    scene.done(&[&first, &second]).await;
}

/// The very first write of a Secret: there is no second one.
#[tokio::test]
async fn killed_after_a_new_secret_was_written() {
    let scene = Scene::new().await;
    let first = scene.operator().await;
    leads(&first).await;
    let value = scene.put("app").await;
    let trap = scene.api.on(1, Does::HoldAfter, secret);
    scene.reference("app", "app").await;
    scene.met(&trap).await;
    first.kill();
    let uid = scene.uid("app").await;
    let second = scene.straight().await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.uid("app").await, uid, "made once");
    scene.done(&[&first, &second]).await;
}

/// Forty changes are under way: what has begun is finished within the time that the kubelet gives, the rest is the next
/// one's, restarts too.
#[tokio::test]
async fn terminated_under_load() {
    const MANY: usize = 40;
    let scene = Scene::new().await;
    let first = scene.operator().await;
    leads(&first).await;
    let names: Vec<String> = (0..MANY).map(|n| format!("app-{n}")).collect();
    for name in &names {
        scene.in_place(name).await;
    }
    let mut before = Vec::new();
    for name in &names {
        before.push((scene.uid(name).await, scene.generation(name).await));
    }
    // All at once: by the time that one after the other was put, the first operator might be through with them.
    let written = scene.api.writes();
    let values = futures::future::join_all(names.iter().map(|name| scene.put(name))).await;
    wait_until("some are written", LONG, || async {
        if scene.api.writes() > written + 5 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    assert_eq!(first.terminate().await, Some(0), "{}", first.logs());
    let second = scene.straight().await;
    for ((name, value), (uid, generation)) in names.iter().zip(&values).zip(&before) {
        scene.holds(name, value).await;
        scene.finished(name).await;
        assert_eq!(scene.uid(name).await, *uid);
        assert_eq!(scene.generation(name).await, generation + 1, "{name}: one restart for one change");
    }
    scene.done(&[&first, &second]).await;
}
