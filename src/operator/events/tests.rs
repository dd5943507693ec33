#![allow(clippy::unwrap_used)]
use axum::{Router, http::Method};
use kube::Config;
use serde_json::Value;

use super::*;

/// What was asked of a server that answers when it is told to.
type Asked = Arc<Mutex<Vec<(Method, Value)>>>;

async fn server(answers: watch::Receiver<bool>) -> (Client, Asked) {
    let asked = Asked::default();
    let heard = asked.clone();
    let app = Router::new().fallback(async move |method: Method, body: String| {
        heard.lock().unwrap().push((method.clone(), serde_json::from_str(&body).unwrap()));
        answers.clone().wait_for(|answers| *answers).await.unwrap();
        let metadata = json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {} });
        if method == Method::PATCH { metadata.to_string() } else { body }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    config.default_retry = false;
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Client::try_from(config).unwrap(), asked)
}

fn about() -> ObjectReference {
    ObjectReference { name: Some("app".to_owned()), ..ObjectReference::default() }
}

async fn all_sent(events: &Events) {
    let _all = events.slots.acquire_many(64).await.unwrap();
}

fn methods(asked: &Asked) -> Vec<Method> {
    asked.lock().unwrap().iter().map(|(method, _)| method.clone()).collect()
}

/// What one says of a time in which it did not lead is not so.
#[tokio::test]
async fn nothing_is_told_by_one_that_does_not_lead() {
    let (_answers, answering) = watch::channel(true);
    let (client, asked) = server(answering).await;
    let (leads, leadership) = watch::channel(Leadership::always());
    let events = Events::new(client, leadership, "operator-0".to_owned());

    events.normal(about(), "Synced", "all is well".to_owned());
    all_sent(&events).await;
    assert_eq!(methods(&asked), ["POST"]);
    leads.send_replace(Leadership::never());
    events.warning(about(), "StoreUnavailable", "it does not answer".to_owned());
    all_sent(&events).await;
    assert_eq!(methods(&asked), ["POST"]);
    leads.send_replace(Leadership::always());
    events.warning(about(), "StoreUnavailable", "it does not answer".to_owned());
    all_sent(&events).await;
    assert_eq!(methods(&asked), ["POST", "POST"]);
}

/// An API server that is in trouble hears of the same thing once at a time; and then of all of it.
#[tokio::test]
async fn what_happens_while_it_is_told_is_counted() {
    let (answers, answering) = watch::channel(false);
    let (client, asked) = server(answering).await;
    let events = Events::new(client, watch::channel(Leadership::always()).1, "operator-0".to_owned());
    let again = || events.warning(about(), "TargetRejected", "there is no room".to_owned());

    again();
    while methods(&asked).is_empty() {
        tokio::task::yield_now().await;
    }
    (0..5).for_each(|_| again());
    answers.send_replace(true);
    all_sent(&events).await;
    assert_eq!(methods(&asked), ["POST", "PATCH"]);
    assert_eq!(asked.lock().unwrap()[1].1["series"]["count"], 6);
    again();
    all_sent(&events).await;
    assert_eq!(asked.lock().unwrap()[2].1["series"]["count"], 7);
}
