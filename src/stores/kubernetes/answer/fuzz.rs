use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mutants;

/// What an API server answers, with values in it that must not be seen again.
const ANSWERS: [&str; 5] = [
    r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"acme--a","uid":"u","resourceVersion":"7","annotations":{"a":"canary-1"}},"data":{"value":"Y2FuYXJ5LTI="},"type":"Opaque"}"#,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets \"acme--a\" not found","reason":"NotFound","details":{"name":"acme--a","kind":"secrets"},"code":404}"#,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}"#,
    r#"{"kind":"Status","status":"Failure","message":"admission webhook \"x.io\" denied the request: canary-3","reason":"Forbidden","code":403}"#,
    r#"{"kind":"Status","status":"Failure","message":"canary-4","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}"#,
];

fn reply(status: u16, body: &[u8]) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, retry_after: None, body: Zeroizing::new(body.to_vec()) }
}

#[test]
fn a_path_that_nobody_serves_is_no_missing_secret() {
    assert!(reply(404, ANSWERS[1].as_bytes()).is_not_found());
    assert!(!reply(404, ANSWERS[2].as_bytes()).is_not_found());
    assert!(!reply(404, br#"["Failure",404,"","NotFound"]"#).is_not_found());
}

#[test]
fn a_wait_beyond_every_clock_is_a_day() {
    assert_eq!(retry_after("18446744073709551615"), Some(LONGEST_WAIT));
    assert_eq!((retry_after(" 7 "), retry_after("soon")), (Some(Duration::from_secs(7)), None));
}

/// In the API server's own words, which say 403 to all of them.
#[test]
fn what_a_quota_refuses_is_no_missing_right() {
    let refused = |why: &str| {
        let message = format!("secrets \"acme--a\" is forbidden: {why}");
        let status =
            json!({ "kind": "Status", "status": "Failure", "message": message, "reason": "Forbidden", "code": 403 });
        reply(403, status.to_string().as_bytes()).failure(&"writing acme--a", "bind the role")
    };
    let used_up = refused("exceeded quota: few, requested: secrets=1, used: secrets=1, limited: secrets=1");
    assert!(used_up.failure == Failure::Misconfigured && used_up.message.contains("raise it"), "{used_up}");
    let uncounted = refused("status unknown for quota: few, resources: count/secrets");
    assert!(uncounted.failure == Failure::Unavailable && uncounted.message.contains("try again"), "{uncounted}");
    let user =
        r#"User "system:serviceaccount:a:b" cannot create resource "secrets" in API group "" in the namespace "a""#;
    let right = refused(user);
    assert!(right.failure == Failure::Denied && right.message.contains("bind the role"), "{right}");
}

proptest! {
    #[test]
    fn only_the_api_servers_own_word_makes_an_object_missing(body in mutants::bytes(ANSWERS)) {
        let Some(said) = mutants::said(&body) else { return Ok(()) };
        let named = said["details"].is_array() || said["details"]["name"].as_str().is_some_and(|name| !name.is_empty());
        prop_assert!(!reply(404, &body).is_not_found() || (said["reason"] == "NotFound" && named), "{}", said);
    }

    #[test]
    fn failures_repeat_nothing_and_wait_for_a_day_at_most(body in mutants::bytes(ANSWERS), status in 300..600_u16, header in mutants::texts(["7", "0"])) {
        let reply = Reply { retry_after: retry_after(&header), ..reply(status, &body) };
        let error = reply.failure(&"reading a", "give it the right");
        mutants::assert_silent(&error);
        if let Failure::RateLimited(Some(wait)) = error.failure {
            prop_assert!(wait <= LONGEST_WAIT);
        }
    }

    #[test]
    fn objects_are_read_or_refused(body in mutants::bytes(ANSWERS)) {
        let reply = reply(200, &body);
        match reply.parse::<Secret>(&"reading a") {
            Ok(secret) => prop_assert!(secret.data.iter().flatten().map(|(_, value)| value.0.len()).sum::<usize>() <= body.len()),
            Err(error) => mutants::assert_silent(&error),
        }
        let _ = reply.parse::<ConfigMap>(&"reading a").map_err(|error| mutants::assert_silent(&error));
    }

    #[test]
    fn what_was_cut_off_is_no_answer(body in mutants::cut(ANSWERS)) {
        prop_assert!(!reply(404, body.as_bytes()).is_not_found() && reply(200, body.as_bytes()).parse::<Secret>(&"").is_err());
    }
}
