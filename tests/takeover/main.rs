//! A change of leader, as the cluster sees it: how long nobody leads, by the Lease's own times, and that nothing is
//! written, restarted or told twice. Two operators of this test's own, and no other one on the cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod alone;
#[path = "../harness/mod.rs"]
mod harness;
mod lease;
mod memory;
#[path = "../fakes/port.rs"]
mod port;
mod team;

use harness::{Leaks, Operator, wait_for};
use jiff::{SignedDuration, Timestamp};
use lease::LeaseLog;
use team::{REFERENCES, Team};
use tokio::sync::Mutex;

/// What is promised of a leader that ends well.
const GOODBYE: SignedDuration = SignedDuration::from_secs(5);
/// What is promised of one that is killed.
const KILLED: SignedDuration = SignedDuration::from_secs(20);

/// One at a time: an operator serves what it watches, whoever's test it is.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn until_leads(operator: &Operator) {
    wait_for("it leads", || async {
        let leads = operator.metric("secretref_leader", &[]).await > 0.0;
        if leads { Ok(()) } else { Err(operator.logs()) }
    })
    .await;
}

/// The leader, and a standby that is warm.
async fn pair(team: &Team) -> (Operator, Operator, LeaseLog) {
    let args = ["--namespace", team.space.name.as_str(), "--log-format", "json"];
    let first = Operator::start(&team.own.name, &args).await;
    until_leads(&first).await;
    let second = Operator::start(&team.own.name, &args).await;
    let log = LeaseLog::start(team.cluster.clone(), &team.own.name);
    wait_for("the leader renews", || async { if log.renewals() > 1 { Ok(()) } else { Err("no".to_owned()) } }).await;
    assert!(second.metric("secretref_leader", &[]).await < 0.5, "one leads");
    (first, second, log)
}

/// Requests that this operator made about targets and references, and workloads.
async fn writes(operator: &Operator) -> f64 {
    // A store's status is its own matter; the cluster may have stores of others.
    let all = operator.metric("secretref_apiserver_requests_total", &["verb=\"patch\""]).await;
    all - operator.metric("secretref_apiserver_requests_total", &["verb=\"patch\"", "stores/status"]).await
}

#[tokio::test]
async fn a_leader_that_ends_well_is_replaced_in_5_seconds_and_nothing_happens_twice() {
    let _alone = ALONE.lock().await;
    let team = Team::new().await;
    let (first, second, log) = pair(&team).await;
    team.create().await;
    team.until_all_hold(0).await;
    team.change(1).await;
    team.until_all_hold(1).await;
    team.until_all_told(1).await;
    let before = team.settled().await;

    let told = Timestamp::now();
    assert_eq!(first.terminate().await, Some(0), "{}", first.logs());
    until_leads(&second).await;
    let taken = log.taken_over().await;
    let gap = taken.at.duration_since(told);
    assert!(gap < GOODBYE + log.allowance(), "{gap:?} from the signal to the next leader: {taken:?}");
    assert!(taken.released, "the Lease was given back: {taken:?}");

    team.until_all_known(&second).await;
    assert_eq!(team.settled().await, before, "a change of leader is none for anybody else");
    assert_eq!(writes(&second).await, 0.0, "it wrote what was as it should be:\n{}", second.logs());

    // It is not only there: it works. Each change is one write, one restart and one Event.
    team.change(2).await;
    team.until_all_hold(2).await;
    team.until_all_told(2).await;
    let after = team.settled().await;
    before.each_happened_once_more(&after);
    Leaks::new().assert_none("the operators' output", &(first.output() + &second.output()));
    assert_eq!(second.terminate().await, Some(0));
    team.done().await;
}

#[tokio::test]
async fn a_leader_that_is_killed_at_work_is_replaced_in_20_seconds_and_nothing_happens_twice() {
    let _alone = ALONE.lock().await;
    let team = Team::new().await;
    let (first, second, log) = pair(&team).await;
    team.create().await;
    team.until_all_hold(0).await;
    team.until_all_told(0).await;
    let before = team.settled().await;
    let seen = team.count_writes().await;
    team.change(1).await;
    // Some of them are written, and most are not.
    wait_for("the first of them is written", || async {
        let written = seen.secrets().values().sum::<usize>();
        if written > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    first.kill();
    until_leads(&second).await;
    let taken = log.taken_over().await;
    let gap = taken.at.duration_since(taken.last_renewal);
    assert!(gap < KILLED + log.allowance(), "{gap:?} from the last sign of life to the next leader: {taken:?}");
    assert!(!taken.released, "nobody was left to give it back: {taken:?}");

    team.until_all_hold(1).await;
    team.until_all_restarted(1).await;
    wait_for("every write of a Secret is seen", || async {
        let secrets = seen.secrets();
        if secrets.len() == REFERENCES { Ok(()) } else { Err(format!("{secrets:?}")) }
    })
    .await;
    let after = team.settled().await;
    let secrets = seen.secrets();
    assert!(secrets.values().all(|n| *n == 1), "each Secret is written once, by the one or by the other: {secrets:?}");
    before.none_happened_twice(&after);
    Leaks::new().assert_none("the operators' output", &(first.output() + &second.output()));
    assert_eq!(second.terminate().await, Some(0));
    team.done().await;
}

/// Deleting a namespace waits for nobody, least of all for an operator that is gone.
#[tokio::test]
async fn no_finalizer_of_ours_holds_a_namespace() {
    let _alone = ALONE.lock().await;
    let team = Team::new().await;
    let args = ["--namespace", team.space.name.as_str()];
    let operator = Operator::start(&team.own.name, &args).await;
    team.create().await;
    team.until_all_hold(0).await;
    operator.kill();
    let name = team.space.name.clone();
    for kind in ["SecretReference", "Secret"] {
        for object in team.space.cluster.list(kind, Some(&name)).await {
            assert_eq!(object["metadata"]["finalizers"], serde_json::Value::Null, "{kind} {object}");
        }
    }
    let cluster = team.cluster.clone();
    team.done().await;
    wait_for("the namespace is gone", || async {
        match cluster.get("Namespace", None, &name).await {
            None => Ok(()),
            Some(object) => Err(object["status"].to_string()),
        }
    })
    .await;
}
