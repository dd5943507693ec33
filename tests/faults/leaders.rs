//! Two operators that both believe they lead. One of them is wrong, and nothing of what it still does counts.

use std::time::Duration;

use crate::{
    api_proxy::{Asked, Does},
    harness::{Operator, wait_until},
    scene::{LONG, Scene, leads},
};

fn secret(asked: &Asked) -> bool {
    asked.patches("/secrets/app")
}
fn lease(asked: &Asked) -> bool {
    asked.path.contains("/leases")
}

/// The old leader's requests go by the proxy, the next one's do not.
async fn pair() -> (Scene, Operator, Operator) {
    let scene = Scene::new().await;
    let old = scene.operator().await;
    leads(&old).await;
    let next = scene.straight().await;
    scene.in_place("app").await;
    assert!(next.metric("secretref_leader", &[]).await < 0.5, "one leads");
    (scene, old, next)
}

/// Stopped for longer than its Lease lasts, as by a hypervisor; then it wakes up and everything is overdue.
#[tokio::test]
async fn a_leader_that_was_paused_writes_nothing_when_it_wakes_up() {
    let (scene, old, next) = pair().await;
    let generation = scene.generation("app").await;
    // What it had on its lips would be said when it wakes up: the Event, and what the next probe puts into the store's status.
    wait_until("it has said everything", LONG, || async {
        let (told, before) = (scene.told("app", "Synced").await, scene.api.writes());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let writes = scene.api.writes() - before;
        if told > 0 && writes == 0 { Ok(()) } else { Err(format!("Events: {told}, writes in three seconds: {writes}")) }
    })
    .await;
    old.signal("STOP");
    let value = scene.put("app").await;
    leads(&next).await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    let newer = scene.put("app").await;
    scene.holds("app", &newer).await;
    let before = scene.api.asked().len();
    old.signal("CONT");
    wait_until("it knows that it does not lead", LONG, || async {
        let looked = scene.api.asked()[before..].iter().filter(|a| lease(a)).count();
        let leads = old.metric("secretref_leader", &[]).await;
        if looked >= 3 && leads < 0.5 { Ok(()) } else { Err(format!("{looked} looks at the Lease, leads: {leads}")) }
    })
    .await;
    let last = scene.put("app").await;
    scene.holds("app", &last).await;
    scene.finished("app").await;
    let wrote: Vec<Asked> = scene.api.asked().split_off(before).into_iter().filter(Asked::is_write).collect();
    assert!(wrote.is_empty(), "it wrote: {wrote:?}");
    assert_eq!(scene.generation("app").await, generation + 3, "one restart for each change");
    scene.done(&[&old, &next]).await;
}

/// Its last write was on its way when it was paused, and arrives long after another replica has written something newer:
/// the API server takes it, since it looks like one of ours, and the leader puts it right.
#[tokio::test]
async fn a_write_that_arrives_after_the_next_leaders_is_put_right() {
    let (scene, old, next) = pair().await;
    let generation = scene.generation("app").await;
    let late = scene.api.on(1, Does::HoldBefore, secret);
    let stale = scene.put("app").await;
    scene.met(&late).await;
    old.signal("STOP");
    leads(&next).await;
    scene.holds("app", &stale).await;
    let newer = scene.put("app").await;
    scene.holds("app", &newer).await;
    scene.finished("app").await;
    let written = scene.acme.get("Secret", "app").await.unwrap()["metadata"]["resourceVersion"].clone();
    late.release();
    scene
        .acme
        .until("Secret", "app", "the late write came", |secret| secret["metadata"]["resourceVersion"] != written)
        .await;
    scene.holds("app", &newer).await;
    scene.finished("app").await;
    old.signal("CONT");
    assert_eq!(scene.generation("app").await, generation + 2, "the late write restarts nobody");
    scene.done(&[&old, &next]).await;
}

/// It cannot renew its Lease any more while a write of its own is not answered: it gives both up in time.
#[tokio::test]
async fn a_lease_that_is_lost_in_the_middle_of_a_write() {
    let (scene, old, next) = pair().await;
    let generation = scene.generation("app").await;
    let write = scene.api.on(1, Does::HoldBefore, secret);
    let value = scene.put("app").await;
    scene.met(&write).await;
    scene.api.on(usize::MAX, Does::Refuse(503, None), lease);
    leads(&next).await;
    assert!(old.metric("secretref_leader", &[]).await < 0.5, "two lead at once");
    scene.holds("app", &value).await;
    scene.finished("app").await;
    let before = scene.api.writes();
    let newer = scene.put("app").await;
    scene.holds("app", &newer).await;
    let asked = scene.api.asked().len();
    scene.api.pass();
    wait_until("it looks at the Lease again", LONG, || async {
        let looked = scene.api.asked()[asked..].iter().filter(|a| lease(a)).count();
        if looked >= 3 { Ok(()) } else { Err(looked.to_string()) }
    })
    .await;
    assert_eq!(scene.api.writes(), before, "it wrote without a Lease");
    assert_eq!(scene.generation("app").await, generation + 2, "one restart for each change");
    next.kill();
    leads(&old).await;
    let last = scene.put("app").await;
    scene.holds("app", &last).await;
    scene.done(&[&old, &next]).await;
}
