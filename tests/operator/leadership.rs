//! Replicas: one leads, the other is warm, and a goodbye hands over at once.

use std::time::Duration;

use crate::harness::{Cluster, Leaks, Operator, wait_for};

async fn until_leads(operator: &Operator, leads: bool) {
    wait_for(&format!("leads: {leads}"), || async {
        let metric = operator.metric("secretref_leader", &[]).await;
        if (metric > 0.5) == leads { Ok(()) } else { Err(format!("{metric}\n{}", operator.logs())) }
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_says_goodbye_hands_over_at_once() {
    let cluster = Cluster::connect().await;
    // Of a namespace that holds nothing: the references of all others are those of the operator that tests share.
    let own = cluster.namespace("replicas", "").await;
    let args = ["--namespace", own.name.as_str()];
    let first = Operator::start(&own.name, &args).await;
    until_leads(&first, true).await;
    let second = Operator::start(&own.name, &args).await;
    tokio::time::sleep(Duration::from_secs(3)).await; // longer than the pause between two tries at the lease
    until_leads(&second, false).await;
    until_leads(&first, true).await;
    assert_eq!(first.terminate().await, Some(0), "{}", first.logs());
    // The lease lasts 15 s: who does not wait so long was told.
    let told = std::time::Instant::now();
    until_leads(&second, true).await;
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    let leaks = Leaks::new();
    for operator in [&first, &second] {
        leaks.assert_none("the operator's output", &operator.output());
    }
    assert_eq!(second.terminate().await, Some(0));
    own.done().await;
}

/// Two installations share nothing but the API server: neither takes the other's lease or key.
#[tokio::test]
async fn the_fingerprint_key_is_made_once_and_stays() {
    let cluster = Cluster::connect().await;
    let own = cluster.namespace("replicas", "").await;
    let args = ["--namespace", own.name.as_str()];
    let operator = Operator::start(&own.name, &args).await;
    let key = own.get("Secret", "secretref-fingerprint-key").await.expect("the key")["data"].take();
    operator.restart().await;
    until_leads(&operator, true).await;
    assert_eq!(own.get("Secret", "secretref-fingerprint-key").await.unwrap()["data"], key);
    let text = key["key"].as_str().unwrap().to_owned();
    assert!(!operator.output().contains(&text), "the key is in the logs");
    own.done().await;
}
