//! Signed change notifications: a change arrives at once.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;

use crate::{
    harness::{Operator, free_address, plant, seconds, signed, unique, wait_for},
    sender::{SELDOM, Sender, give_key, log_file, never, seldom},
    world::one,
};

#[tokio::test]
async fn a_change_arrives_at_once_and_no_other_reference_is_touched() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let (old, new, other) = (plant("old"), plant("new"), plant("other"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.bao.put("acme--other", json!({ "value": other })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.reference("zero", never("KEY", "key")).await;
    world.reference("other", seldom("KEY", "other")).await;
    for app in ["hour", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": old })).await;
    }
    world.acme.until_data("other", &json!({ "KEY": other })).await;
    for app in ["hour", "zero", "other"] {
        world.acme.until_reason(app, "Synced").await;
    }
    let before = sender.settled().await;

    world.bao.put("acme--key", json!({ "value": new })).await;
    sender.keys(&["acme--key"]).await;
    // What a poll would have brought comes months later.
    for app in ["hour", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": new })).await;
    }
    assert_eq!(sender.reads(), before + 1, "one read serves all, and nothing else was read");

    // "Anything": each key once.
    let newest = plant("newest");
    world.bao.put("acme--key", json!({ "value": newest })).await;
    assert_eq!(sender.generic(&json!({ "all": true })).await, StatusCode::ACCEPTED);
    for app in ["hour", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": newest })).await;
    }
    wait_for("both keys of the store are read once", || async {
        let reads = sender.reads() - before;
        if reads == 3 { Ok(()) } else { Err(format!("{reads} reads")) }
    })
    .await;
    // The first change was found at the first look: nobody looks again.
    sender.quiet(before + 3).await;
    sender.done().await;
}

/// `0s` means "when told", also where another reference has the same key polled.
#[tokio::test]
async fn a_reference_that_is_not_refreshed_hears_of_changes_by_notifications_only() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("polled", one("KEY", "key")).await;
    world.reference("zero", never("KEY", "key")).await;
    for app in ["polled", "zero"] {
        world.acme.until_data(app, &json!({ "KEY": old })).await;
    }
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.acme.until_data("polled", &json!({ "KEY": new })).await;
    world.polled(3.0).await;
    assert_eq!(world.acme.data("zero").await.unwrap(), json!({ "KEY": old }), "nobody told it");
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("zero", &json!({ "KEY": new })).await;

    // Deleted in the store: told of it, it falls back, and comes back when told again.
    let global = plant("global");
    world.bao.put("GLOBAL--key", json!({ "value": global })).await;
    world.bao.delete("acme--key").await;
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("zero", &json!({ "KEY": global })).await;
    world.bao.put("acme--key", json!({ "value": old })).await;
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("zero", &json!({ "KEY": old })).await;
    sender.done().await;
}

/// The notification is faster than the change: a standby that lags, or a pipeline that signs before the write ends.
#[tokio::test]
async fn a_change_that_comes_after_its_notification_is_seen_by_a_later_look() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    world.bao.put("acme--key", json!({ "value": plant("old") })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.acme.until_reason("hour", "Synced").await;
    let new = wait_for("a change between the first look and the last one", || async {
        let (before, new) = (sender.settled().await, plant("new"));
        sender.keys(&["acme--key"]).await;
        wait_for("the first look", || async { if sender.reads() > before { Ok(()) } else { Err(String::new()) } })
            .await;
        world.bao.put("acme--key", json!({ "value": new })).await;
        // Where writing it took longer than all four looks, there is none left that could see it.
        let looks = sender.reads() - before;
        if looks < 4 { Ok(new) } else { Err(format!("{looks} looks before the change was written")) }
    })
    .await;
    world.acme.until_data("hour", &json!({ "KEY": new })).await;
    // Without a change there are four looks, and then no more.
    let before = sender.settled().await;
    sender.keys(&["acme--key"]).await;
    wait_for("four looks", || async {
        let reads = sender.reads() - before;
        if reads == 4 { Ok(()) } else { Err(format!("{reads} looks")) }
    })
    .await;
    sender.quiet(before + 4).await;
    sender.done().await;
}

#[tokio::test]
async fn a_new_name_is_found_at_once() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let reader = r#"
path "secret/data/*"     { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["list"] }
path "secret/metadata"   { capabilities = ["list"] }
"#;
    world.bao.policy("reader", reader).await;
    let (first, second) = (plant("first"), plant("second"));
    world.bao.put("acme--db-user", json!({ "value": first })).await;
    let found = json!([{ "find": { "prefix": "db-", "keyCase": "ScreamingSnake" } }]);
    world.reference("found", json!({ "refreshInterval": SELDOM, "dataFrom": found })).await;
    world.acme.until_data("found", &json!({ "DB_USER": first })).await;
    world.bao.put("acme--db-password", json!({ "value": second })).await;
    sender.keys(&["acme--db-password"]).await;
    world.acme.until_data("found", &json!({ "DB_USER": first, "DB_PASSWORD": second })).await;
    sender.done().await;
}

/// Whoever takes it writes it down, without a name in it; the leader hears of it.
#[tokio::test]
async fn a_standby_takes_notifications_too_and_a_new_key_is_good_at_once() {
    let mut sender = Sender::new(json!({})).await;
    let own = sender.world.operator.namespace.clone();
    sender.address = free_address();
    let standby = Operator::start(&own, &["--hooks-addr", &sender.address.to_string()]).await;
    let world = &sender.world;
    let (old, new, newest) = (plant("old"), plant("new"), plant("newest"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.acme.until_data("hour", &json!({ "KEY": old })).await;
    assert!(standby.metric("secretref_leader", &[]).await < 0.5, "it is a standby");
    world.bao.put("acme--key", json!({ "value": new })).await;
    sender.keys(&["acme--key"]).await;
    world.acme.until_data("hour", &json!({ "KEY": new })).await;
    assert!(standby.metric("secretref_notifications_total", &["accepted"]).await > 0.5);

    let uid = world.store_object(&world.store).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let rings = world.cluster.list("ConfigMap", Some(&own)).await;
    let ring = rings.iter().find(|r| r["data"].get(&uid).is_some()).expect("a ring with a note of the store");
    assert_eq!(ring["metadata"]["labels"]["secretref.dev/notifications"], "true");
    assert!(ring["metadata"]["name"].as_str().unwrap().starts_with("secretref-notifications-"), "{ring}");
    assert!(!ring["data"].to_string().contains("acme"), "a name in {ring}");

    // Another key in the Secret: the old one is good no longer, the new one at the first use. The Secret is read again no
    // sooner than three seconds after the last time.
    let leaked = std::mem::take(&mut sender.key);
    sender.key = give_key(&sender.world, &sender.world.store).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let world = &sender.world;
    world.bao.put("acme--key", json!({ "value": newest })).await;
    wait_for("the new key is good", || async {
        let answer = sender.generic(&json!({ "keys": ["acme--key"] })).await;
        let unread = standby.logs().contains("keys of notifications");
        assert!(answer == StatusCode::ACCEPTED || unread, "{answer} at the first use, and the Secret could be read");
        if answer == StatusCode::ACCEPTED { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    world.acme.until_data("hour", &json!({ "KEY": newest })).await;
    let body = json!({ "keys": ["acme--key"] }).to_string();
    let path = format!("/hooks/generic/{}", world.store);
    let answer = sender.send(&path, &signed(&leaked, seconds(), &body), body).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    crate::harness::Leaks::new().assert_none("the standby's output", &standby.output());
    assert_eq!(standby.terminate().await, Some(0), "{}", standby.logs());
    sender.done().await;
}

/// A script of docs/notifications.md, as it stands there.
async fn documented(sender: &Sender, marker: &str, stdin: std::process::Stdio) {
    let docs = include_str!("../../docs/notifications.md");
    let (_, after) = docs.split_once(&format!("<!-- tests: {marker} -->\n```sh\n")).expect("the script");
    let script = after.split_once("\n```").unwrap().0;
    let sent = tokio::process::Command::new("bash")
        .args(["-euc", script])
        .env("URL", format!("http://{}/hooks/generic/{}", sender.address, sender.world.store))
        .env("KEY", &sender.key)
        .stdin(stdin)
        .output()
        .await
        .unwrap();
    assert!(sent.status.success() && sent.stderr.is_empty(), "{}", String::from_utf8_lossy(&sent.stderr));
}

#[tokio::test]
async fn the_documented_scripts_work() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let (old, new, newest) = (plant("old"), plant("new"), plant("newest"));
    world.bao.put("acme--db-password", json!({ "value": old })).await;
    world.reference("hour", seldom("KEY", "db-password")).await;
    world.acme.until_data("hour", &json!({ "KEY": old })).await;
    world.bao.put("acme--db-password", json!({ "value": new })).await;
    documented(&sender, "generic", std::process::Stdio::null()).await;
    world.acme.until_data("hour", &json!({ "KEY": new })).await;

    // What this test wrote, as the server's own log has it; between it lines that are none of its business.
    world.bao.put("acme--db-password", json!({ "value": newest })).await;
    let log = String::from_utf8_lossy(&std::fs::read(log_file()).unwrap()).into_owned();
    let mine = format!("\"path\":\"{}/\"", world.bao.namespace);
    let lines: Vec<&str> = log.lines().filter(|l| l.contains(&mine)).collect();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{}", unique()));
    std::fs::write(&file, format!("not json\n{}\n", lines.join("\n"))).unwrap();
    let accepted = sender.notified("generic", "accepted").await;
    documented(&sender, "audit pipeline", std::fs::File::open(&file).unwrap().into()).await;
    std::fs::remove_file(file).unwrap();
    world.acme.until_data("hour", &json!({ "KEY": newest })).await;
    assert!(sender.notified("generic", "accepted").await >= accepted + 1.0);
    sender.done().await;
}
