#![allow(clippy::unwrap_used)]
use futures::StreamExt;
use kube::{
    api::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// The first watch gets a header and then silence, the second one an event.
#[tokio::test]
async fn a_silent_watch_is_replaced_and_its_changes_are_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut silent, mut watches) = (Vec::new(), 0);
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            let header = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(header.as_bytes()).await;
            if !String::from_utf8_lossy(&request).contains("watch=true") {
                let list = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
                let _ = stream.write_all(list.as_bytes()).await;
                continue;
            }
            watches += 1;
            if watches > 1 {
                let meta = r#"{"name":"changed","resourceVersion":"2"}"#;
                let kind = r#""kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1""#;
                let event = format!(r#"{{"type":"ADDED","object":{{{kind},"metadata":{meta}}}}}"#) + "\n";
                let _ = stream.write_all(event.as_bytes()).await;
            }
            silent.push(stream);
        }
    });
    let mut config = Config::new(address.parse().unwrap());
    notice_silence(&mut config, Duration::from_millis(300));
    let api: Api<PartialObjectMeta<Secret>> = Api::all(Client::try_from(config).unwrap());
    let events = watcher(api, watcher::Config::default()).default_backoff().filter_map(async |event| match event {
        Ok(watcher::Event::Apply(object)) => object.metadata.name,
        _ => None,
    });
    let seen = tokio::time::timeout(Duration::from_secs(20), std::pin::pin!(events).next()).await;
    assert_eq!(seen.unwrap().as_deref(), Some("changed"));
    server.abort();
}

#[tokio::test]
#[allow(clippy::panic)]
async fn an_engine_that_breaks_down_is_an_error() {
    let end = tokio::spawn(async { panic!("broken") }).await;
    let error = RunError::early(end).to_string();
    assert!(error.contains("panic") && error.contains("restarted"), "{error}");
    assert!(RunError::early(Ok(())).to_string().contains("by itself"));
}
