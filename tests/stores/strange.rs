//! Answers that no real OpenBao can be brought to give: a listener of a few lines gives them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use secretref::stores::{Failure, Store};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::env::{Fixed, by_token, error, key, plant, vault, vault_settings};

/// A listener that takes any token and answers everything else with `answer`; and what it was sent.
async fn server(answer: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sent = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, sent) = (answer.clone(), sent.clone());
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
                let request = String::from_utf8_lossy(&request).into_owned();
                let answer =
                    if request.contains("lookup-self") { http("200 OK", "", r#"{"data":{"ttl":0}}"#) } else { answer };
                sent.lock().unwrap().push(request);
                stream.write_all(&answer).await.ok();
            });
        }
    });
    (address, seen)
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

async fn store(answer: Vec<u8>) -> (Arc<dyn Store>, Arc<Mutex<Vec<String>>>) {
    let (address, seen) = server(answer).await;
    let token = plant("a-planted-token");
    (vault(vault_settings(&address, by_token()), None, Arc::new(Fixed([("token".to_owned(), token)].into()))), seen)
}

#[tokio::test]
async fn statuses_and_bodies() {
    let html = "<html>canary-page</html>";
    let upgrading = r#"{"errors":["Upgrading from non-versioned to versioned data. canary-"]}"#;
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(40);
    let date = format!("retry-after: {}\r\n", later.strftime("%a, %d %b %Y %H:%M:%S GMT"));
    let limited = |seconds| Failure::RateLimited(Some(Duration::from_secs(seconds)));
    for (status, headers, body, failure, part) in [
        ("200 OK", "", html, Failure::Misconfigured, "not one of a KV version 2 mount"),
        ("200 OK", "", "", Failure::Misconfigured, "not one of a KV version 2 mount"),
        ("200 OK", "", r#"{"data":{"value":"canary-1"}}"#, Failure::Misconfigured, "not one of a KV version 2 mount"),
        ("404 Not Found", "", html, Failure::Misconfigured, "address"),
        ("404 Not Found", "", "404 page not found", Failure::Misconfigured, "address"),
        ("404 Not Found", "", r#"{"errors":["canary-other"]}"#, Failure::Misconfigured, "address"),
        ("400 Bad Request", "", html, Failure::Misconfigured, "address"),
        ("400 Bad Request", "", upgrading, Failure::Unavailable, "prepared"),
        ("405 Method Not Allowed", "", html, Failure::Misconfigured, "address"),
        ("412 Precondition Failed", "", "{}", Failure::Unavailable, "tried again"),
        ("429 Too Many Requests", "retry-after: 7\r\n", "{}", limited(7), "rate limit"),
        ("429 Too Many Requests", "retry-after: 999999999\r\n", "{}", limited(86_400), "rate limit"),
        ("429 Too Many Requests", "retry-after: soon\r\n", "{}", Failure::RateLimited(None), "rate limit"),
        ("413 x", "", html, Failure::Misconfigured, "write less"),
        ("472 x", "", "{}", Failure::Unavailable, "promote this one"),
        ("473 x", "", "{}", Failure::Unavailable, "address the active one"),
        ("500 x", "", html, Failure::Unavailable, "log"),
        ("501 x", "", "{}", Failure::Unavailable, "initialise"),
        ("502 x", "", html, Failure::Unavailable, "log"),
        ("503 x", "", r#"{"errors":["Vault is sealed"]}"#, Failure::Unavailable, "unseal"),
    ] {
        let (store, _) = store(http(status, headers, body)).await;
        error(store.get(&key("acme--a"), None).await, failure, part);
        error(store.list("acme--").await, failure, if part.contains("KV") { "KV" } else { part });
    }
    let (store, _) = store(http("429 x", &date, "{}")).await;
    let limited = store.get(&key("acme--a"), None).await.unwrap_err();
    let Failure::RateLimited(Some(wait)) = limited.failure else { panic!("{limited:?}") };
    assert!(wait > Duration::from_secs(30) && wait <= Duration::from_secs(40), "{wait:?}");
}

#[tokio::test]
async fn credentials_never_follow_a_redirect() {
    let (elsewhere, seen) = server(http("200 OK", "", "{}")).await;
    for status in ["301 x", "302 x", "307 x", "308 x"] {
        let (store, _) = store(http(status, &format!("location: {elsewhere}/v1/secret/data/acme--a\r\n"), "")).await;
        error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "redirect");
        error(store.probe().await, Failure::Misconfigured, "redirect");
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_have_an_end() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n".to_vec();
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..50 {
        chunked.extend_from_slice(b"20000\r\n");
        chunked.extend(std::iter::repeat_n(b'x', 0x20000));
        chunked.extend_from_slice(b"\r\n");
    }
    for answer in [announced, chunked] {
        let (store, _) = store(answer).await;
        error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "4 MiB");
    }
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"data\":canary-".to_vec();
    let (store, _) = store(broken).await;
    error(store.get(&key("acme--a"), None).await, Failure::Unavailable, "the connection broke");
}

#[tokio::test]
async fn what_is_sent() {
    let (store, seen) = store(http("404 x", "", "x")).await;
    assert!(store.get(&key("acme--a"), None).await.is_err());
    let sent = seen.lock().unwrap().join("").to_ascii_lowercase();
    assert!(sent.contains("get /v1/secret/data/acme--a http/1.1") && sent.contains("x-vault-request: true"), "{sent}");
    assert!(sent.contains("user-agent: secretref/") && !sent.contains("x-vault-namespace"), "{sent}");
}
