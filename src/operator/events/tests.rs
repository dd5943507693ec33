#![allow(clippy::unwrap_used)]
use axum::{Router, http::Method};
use kube::Config;

use super::*;

/// What one says of a time in which it did not lead is not so.
#[tokio::test]
async fn nothing_is_told_by_one_that_does_not_lead() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let server = told.clone();
    let app = Router::new().fallback(async move |method: Method, body: String| {
        server.lock().unwrap().push(method.to_string());
        body
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    config.default_retry = false;
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (leads, leadership) = watch::channel(Leadership::always());
    let events = Events::new(Client::try_from(config).unwrap(), leadership, "operator-0".to_owned());
    let about = || ObjectReference { name: Some("app".to_owned()), ..ObjectReference::default() };
    let sent = async || {
        let _all = events.slots.acquire_many(64).await.unwrap();
        told.lock().unwrap().clone()
    };

    events.normal(about(), "Synced", "all is well".to_owned());
    assert_eq!(sent().await, ["POST"]);
    leads.send_replace(Leadership::never());
    events.warning(about(), "StoreUnavailable", "it does not answer".to_owned());
    assert_eq!(sent().await, ["POST"]);
    leads.send_replace(Leadership::always());
    events.warning(about(), "StoreUnavailable", "it does not answer".to_owned());
    assert_eq!(sent().await, ["POST", "POST"]);
}
