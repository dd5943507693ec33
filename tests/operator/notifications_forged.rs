//! Whatever else is sent as a notification costs the store nothing: what is not signed, sent again, or sent too often.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    harness::{mac, plant, seconds, signed, wait_for},
    sender::{SELDOM, Sender, give_key, seldom},
    world::secret,
};

#[tokio::test]
async fn what_does_not_prove_itself_gets_one_answer_and_costs_no_read() {
    let sender = Sender::new(json!({})).await;
    let world = &sender.world;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.reference("hour", seldom("KEY", "key")).await;
    world.acme.until_data("hour", &json!({ "KEY": value })).await;
    let other = give_key(world, "of-another-store").await;
    let before = sender.reads();
    let (body, now) = (json!({ "keys": ["acme--key"] }).to_string(), seconds());
    let path = format!("/hooks/generic/{}", world.store);
    let good = signed(&sender.key, now, &body);
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        headers.retain(|(n, _)| *n != name);
        if !value.is_empty() {
            headers.push((
                if name == "x-secretref-timestamp" { "x-secretref-timestamp" } else { "x-secretref-signature" },
                value.to_owned(),
            ));
        }
        headers
    };
    let bare = mac(&sender.key, &format!("{now}.{body}"));
    let forged = [
        ("no headers", path.clone(), vec![], body.clone()),
        ("no time", path.clone(), with("x-secretref-timestamp", ""), body.clone()),
        ("no signature", path.clone(), with("x-secretref-signature", ""), body.clone()),
        ("another time", path.clone(), with("x-secretref-timestamp", &(now + 1).to_string()), body.clone()),
        ("no such time", path.clone(), with("x-secretref-timestamp", "+1"), body.clone()),
        ("another form", path.clone(), with("x-secretref-signature", &bare), body.clone()),
        (
            "a shorter one",
            path.clone(),
            with("x-secretref-signature", &format!("sha256={}", &bare[..62])),
            body.clone(),
        ),
        ("another body", path.clone(), good.clone(), json!({ "all": true }).to_string()),
        ("another store's key", path.clone(), signed(&other, now, &body), body.clone()),
        ("an empty key", path.clone(), signed("", now, &body), body.clone()),
        ("too old", path.clone(), signed(&sender.key, now - 400, &body), body.clone()),
        ("of the future", path.clone(), signed(&sender.key, now + 400, &body), body.clone()),
        ("no such store", "/hooks/generic/no-such-store".into(), good.clone(), body.clone()),
        ("a key, but no store", "/hooks/generic/of-another-store".into(), signed(&other, now, &body), body.clone()),
        ("a tenant's store", format!("/hooks/generic/{}/{}", world.acme.name, world.store), good.clone(), body.clone()),
        ("another source", format!("/hooks/infisical/{}", world.store), good.clone(), body.clone()),
        ("another source", format!("/hooks/event-grid/{}", world.store), good.clone(), body.clone()),
    ];
    let mut answers = Vec::new();
    for (what, path, headers, body) in forged {
        let answer = sender.send(&path, &headers, body).await;
        let mut shown: Vec<String> = answer.headers().iter().map(|h| format!("{h:?}")).collect();
        shown.retain(|h| !h.contains("date"));
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        answers.push((shown, answer.text().await.unwrap()));
        assert_eq!(answers[0], *answers.last().unwrap(), "{what}: another answer");
    }
    assert!(answers[0].1.is_empty(), "{:?}", answers[0]);
    // Well signed, but nothing that can be taken.
    let refused = async |body: String| {
        let headers = signed(&sender.key, seconds(), &body);
        sender.send(&path, &headers, body).await.status()
    };
    for bad in ["", "{}", "null", r#"{"keys":[]}"#, r#"{"keys":["acme--key"],"value":"x"}"#] {
        assert_eq!(refused(bad.to_owned()).await, StatusCode::BAD_REQUEST, "{bad}");
    }
    // One byte too long: the answer comes when all of it was taken, and finds nobody who still writes.
    assert_eq!(refused("x".repeat(256 * 1024 + 1)).await, StatusCode::PAYLOAD_TOO_LARGE);
    let http = reqwest::Client::new();
    let at = |path: &str| format!("http://{}{path}", sender.address);
    assert_eq!(http.get(at(&path)).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    for nowhere in ["/", "/hooks", "/hooks/other/store", "/metrics"] {
        assert_eq!(http.post(at(nowhere)).send().await.unwrap().status(), StatusCode::NOT_FOUND, "{nowhere}");
    }
    // Good, but of no use to anyone here: accepted like any other.
    sender.keys(&["acme--unused", "globex--key", "no-key-at-all"]).await;
    sender.quiet(before).await;
    assert!(sender.notified("generic", "refused").await >= 15.0);
    sender.done().await;
}

/// The same request again, in another order, or thousands of them: the store is asked as if there had been few.
#[tokio::test]
async fn replays_and_floods_are_a_few_reads() {
    let sender = Sender::new(json!({ "limits": { "minRefreshInterval": "1h" } })).await;
    let world = &sender.world;
    let value = plant("value");
    for i in 0..4 {
        world.bao.put(&format!("acme--key-{i}"), json!({ "value": value })).await;
    }
    let data: Vec<Value> = (0..4).map(|i| secret(&format!("KEY_{i}"), &format!("key-{i}"))).collect();
    world.reference("hour", json!({ "refreshInterval": SELDOM, "data": data })).await;
    world.acme.until_reason("hour", "Synced").await;
    let (before, replayed) = (sender.settled().await, sender.notified("generic", "replayed").await);

    let path = format!("/hooks/generic/{}", world.store);
    let body = json!({ "keys": ["acme--key-0"] }).to_string();
    let headers = signed(&sender.key, seconds(), &body);
    assert_eq!(sender.send(&path, &headers, body.clone()).await.status(), StatusCode::ACCEPTED);
    // Two changes within a second are signed alike: after that it is the same one again.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for _ in 0..50 {
        assert_eq!(sender.send(&path, &headers, body.clone()).await.status(), StatusCode::ACCEPTED);
    }
    assert!(sender.notified("generic", "replayed").await - replayed >= 50.0);
    assert_eq!(sender.settled().await - before, 4, "one notification, four looks");

    // One key over and over, each time newly signed.
    let (before, begun) = (sender.reads(), Instant::now());
    for i in 0..40 {
        let body = json!({ "keys": ["acme--key-1"] }).to_string() + &" ".repeat(i);
        assert_eq!(sender.text(&body).await, StatusCode::ACCEPTED);
    }
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let (reads, seconds) = (sender.reads() - before, usize::try_from(begun.elapsed().as_secs()).unwrap());
    assert!(reads <= seconds + 1, "{reads} reads of one key in {seconds} s: more than one in a second");

    // Thousands of keys that nobody uses: beyond the rate, the store as a whole, and that once.
    let (before, begun) = (sender.settled().await, Instant::now());
    for n in 0..20 {
        let keys: Vec<String> = (0..256).map(|i| format!("globex--key-{n}-{i}")).collect();
        assert_eq!(sender.generic(&json!({ "keys": keys })).await, StatusCode::ACCEPTED);
    }
    // 300 at once and 10 a second are told one by one.
    let within = ((300 + 10 * (begun.elapsed().as_secs() + 1)) / 256) as f64;
    assert!(sender.notified("generic", "overflow").await >= 20.0 - within, "{within} were within the rate");
    wait_for("each key of the store is read once", || async {
        let reads = sender.reads() - before;
        if reads >= 4 { Ok(()) } else { Err(format!("{reads} reads")) }
    })
    .await;
    sender.quiet(before + 4).await;
    sender.done().await;
}
