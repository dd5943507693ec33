#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! Refusals, the fence around writes, and what is told to the API server about someone else's Secret.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use kube::{Client, Config};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::{release::Released, request::*, *};
use crate::{
    operator::{
        lease::Leadership,
        plan::{
            Action,
            tests::world::{World, applied},
        },
    },
    telemetry::Metrics,
};

/// What must never be shown.
const CANARY: &str = "hush-9";

fn refused(code: u16, reason: &str, message: &str, causes: Value) -> ApiError {
    let status = json!({ "code": code, "reason": reason, "message": message, "details": { "causes": causes } });
    ApiError::Refused(serde_json::from_value(status).unwrap())
}

fn told(code: u16, reason: &str, message: &str, causes: Value) -> Problem {
    let problem = rejected(&refused(code, reason, message, causes), &World::new("").reference());
    assert!(!problem.message.contains(CANARY), "{}", problem.message);
    problem
}

#[test]
fn of_a_refusal_only_the_api_servers_own_words_are_shown() {
    let object = r#"secrets "payments" is forbidden: "#;
    for (code, reason, message, expected) in [
        (
            403,
            "Forbidden",
            "exceeded quota: few, requested: secrets=1, used: secrets=0, limited: secrets=0",
            "exceeded quota: few, requested: secrets=1, used: secrets=0, limited: secrets=0",
        ),
        (
            403,
            "Forbidden",
            r#"User "system:serviceaccount:op:secretref" cannot patch resource "secrets" in API group "" in the namespace "acme": hush-9"#,
            r#"User "system:serviceaccount:op:secretref" cannot patch resource "secrets" in API group "" in the namespace "acme"; mend"#,
        ),
        (
            403,
            "Forbidden",
            "unable to create new content in namespace acme because it is being terminated",
            "the namespace is being terminated",
        ),
        (
            422,
            "Invalid",
            "ValidatingAdmissionPolicy 'no-canaries' with binding 'b' denied request: 'hush-9' is immutable",
            "422 Invalid: the admission policy no-canaries refused it; what it said is not shown",
        ),
        (
            403,
            "Forbidden",
            "ValidatingAdmissionPolicy 'hush-9 x' denied request",
            "403 Forbidden: an admission policy refused it",
        ),
        (403, "Forbidden", "some plugin says hush-9", "403 Forbidden; mend"),
    ] {
        let problem = told(code, reason, &format!("{object}{message}"), json!([{ "message": message }]));
        assert_eq!(problem.reason, Reason::TargetRejected);
        assert!(problem.message.contains(expected), "{}", problem.message);
    }
    for (code, reason, message, expected) in [
        (
            400,
            "hush-9",
            r#"admission webhook "no.canaries.io" denied the request: hush-9"#,
            "400: the admission webhook no.canaries.io refused it",
        ),
        (
            500,
            "InternalError",
            r#"Internal error occurred: failed calling webhook "x.io": hush-9"#,
            "500 InternalError: the admission webhook x.io refused it",
        ),
        (500, "InternalError", "failed to create typed patch object: .data.A: got hush-9", "500 InternalError; mend"),
        (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", "the request is too large"),
        (409, "hush-9", "hush-9", "the API server: 409; mend"),
    ] {
        let message = told(code, reason, message, json!([])).message;
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn of_an_invalid_secret_the_fields_are_named() {
    let message = r#"Secret "payments" is invalid: [data[KEY]: Invalid value: "hush-9": no, data: Too long: may not be more than 1048576 bytes]"#;
    let causes = json!([
        { "reason": "FieldValueInvalid", "field": "data[KEY]", "message": "Invalid value: \"hush-9\": no" },
        { "reason": "FieldValueTooLong", "field": "data", "message": "Too long: may not be more than 1048576 bytes" },
        { "reason": "FieldValueInvalid", "field": "hush-9", "message": "" },
        { "reason": "FieldValueInvalid", "field": "data[hush-9\n]", "message": "" },
    ]);
    let said = told(422, "Invalid", message, causes).message;
    assert!(said.contains("422 Invalid: data[KEY] is not valid, data is too long; mend"), "{said}");
    let fixed = json!([{ "reason": "FieldValueForbidden", "field": "data", "message": "field is immutable when `immutable` is set" }]);
    assert_eq!(told(422, "Invalid", "is invalid", fixed.clone()).reason, Reason::TargetImmutable);
    let webhook = r#"admission webhook "x.io" denied the request: immutable"#;
    assert_eq!(told(422, "Invalid", webhook, fixed).reason, Reason::TargetRejected, "a webhook's word is no fact");
}

fn writer(url: &str) -> (Writer, watch::Sender<Leadership>) {
    let mut config = Config::new(url.parse().unwrap());
    config.default_retry = false;
    let (lead, leadership) = watch::channel(Leadership::always());
    (Writer { client: Client::try_from(config).unwrap(), leadership, metrics: Arc::new(Metrics::new()) }, lead)
}

fn later(code: u16) -> kube::Error {
    let status = json!({ "code": code, "details": { "retryAfterSeconds": 1 } });
    kube::Error::Api(serde_json::from_value(status).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_is_to_come_back_later_comes_back_once_and_only_while_leading() {
    let (writer, lead) = writer("http://127.0.0.1:1");
    for (code, verb, sent) in
        [(429, "patch", 2), (503, "delete", 2), (504, "get", 2), (500, "patch", 1), (409, "patch", 1)]
    {
        let mut count = 0;
        let answer = writer.call_again(verb, "secrets", || {
            count += 1;
            async { Err::<(), _>(later(code)) }
        });
        assert_eq!(answer.await.unwrap_err().code(), Some(code));
        assert_eq!(count, sent, "{code}");
    }
    let mut count = 0;
    let answer = writer.call_again("patch", "secrets", || {
        count += 1;
        lead.send_replace(Leadership::never());
        async { Err::<(), _>(later(503)) }
    });
    assert!(matches!(answer.await, Err(ApiError::NotLeading)));
    assert_eq!(count, 1);
    assert!(writer.call("list", "deployments", async { Ok(()) }).await.is_ok(), "reading needs no leader");
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_before_another_replica_may_lead() {
    let (writer, _lead) = writer("http://127.0.0.1:1");
    let begun = Instant::now();
    let answer = writer.call::<()>("patch", "secrets", std::future::pending()).await;
    assert!(matches!(answer, Err(ApiError::Timeout)));
    use crate::operator::lease;
    assert!(begun.elapsed() <= lease::LEASE - lease::DEADLINE, "{:?}", begun.elapsed());
}

/// An API server that says what it is told to say, and keeps what it was sent.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<(u16, Value)>>,
    sent: Mutex<Vec<(Method, String, Value)>>,
}

async fn answer(State(script): State<Arc<Script>>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    script.sent.lock().unwrap().push((method, uri.to_string(), body));
    let (code, answer) = script.answers.lock().unwrap().pop_front().expect("one request more than expected");
    (StatusCode::from_u16(code).unwrap(), answer.to_string())
}

async fn scripted(answers: Vec<(u16, Value)>) -> (Arc<Script>, Writer) {
    let script = Arc::new(Script { answers: Mutex::new(answers.into()), ..Script::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (script, writer(&url).0)
}

fn partial(metadata: &Value) -> (u16, Value) {
    (200, json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata }))
}

/// A Secret in which `x` merges, with these keys, and someone with those.
fn merged(version: &str, ours: &[&str], theirs: &[&str]) -> Value {
    let entry = |manager: &str, keys: &[&str]| {
        let keys: serde_json::Map<_, _> = keys.iter().map(|k| (format!("f:{k}"), json!({}))).collect();
        json!({ "manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": { "f:data": keys } })
    };
    json!({
        "name": "shared", "namespace": "ns", "uid": "u", "resourceVersion": version,
        "managedFields": [entry("secretref/x", ours), entry("someone", theirs)],
    })
}

#[tokio::test]
async fn keys_are_given_back_as_they_were_seen() {
    let conflict = || (409, json!({ "kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict" }));
    // Before the first try reaches it, someone takes B over.
    let (script, writer) = scripted(vec![
        partial(&merged("7", &["A", "B"], &[])),
        conflict(),
        partial(&merged("8", &["A"], &["B"])),
        partial(&merged("9", &[], &["B"])),
        partial(&merged("10", &[], &["B"])),
    ])
    .await;
    assert_eq!(writer.release("ns", "shared", "x", "u").await.unwrap(), Released::Done);
    let sent: Vec<Value> =
        script.sent.lock().unwrap().iter().filter(|s| s.0 == Method::PATCH).map(|s| s.2.clone()).collect();
    let seen = |version: &str| json!({ "uid": "u", "resourceVersion": version });
    assert_eq!(sent[0], json!({ "metadata": seen("7"), "data": { "A": null, "B": null } }));
    assert_eq!(sent[1], json!({ "metadata": seen("8"), "data": { "A": null } }));
    assert_eq!(sent[2]["metadata"]["resourceVersion"], "9");

    let always = (0..TRIES).flat_map(|_| [partial(&merged("7", &["A"], &[])), conflict()]).collect();
    let (script, writer) = scripted(always).await;
    assert_eq!(writer.release("ns", "shared", "x", "u").await.unwrap_err().code(), Some(409), "to be tried again");
    assert_eq!(script.sent.lock().unwrap().len(), 2 * TRIES);

    let (_, writer) = scripted(vec![partial(&merged("7", &["A"], &[]))]).await;
    assert_eq!(writer.release("ns", "shared", "x", "another uid").await.unwrap(), Released::Gone);
}

#[tokio::test]
async fn an_adoption_answers_what_is_left_after_it() {
    let world = World::new("target: { creationPolicy: Adopt }\ndata: [{ key: A, value: x }]");
    let reference = world.reference();
    let Action::Write(write) = world.attempt() else { panic!("nothing to write") };
    let clean = json!(applied(&reference, &write, None));
    let mut found = clean.clone();
    let theirs = json!({ "f:data": { "f:OLD": {} } });
    let merging = json!({ "f:data": { "f:MERGED": {} } });
    for (manager, fields) in [("kubectl", theirs), ("secretref/other", merging)] {
        let entry = json!({ "manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields });
        found["managedFields"].as_array_mut().unwrap().push(entry);
    }
    let (script, writer) = scripted(vec![partial(&found), partial(&clean)]).await;
    let written = writer.write(&reference, &write).await.unwrap();
    assert_eq!(script.sent.lock().unwrap()[1].2["data"], json!({ "OLD": null }));
    assert!(!written.meta.has_drifted(&reference, CreationPolicy::Adopt));
}
