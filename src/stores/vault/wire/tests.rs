#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{
    secret::SecretValue,
    stores::{Payload, Property},
};
use reqwest::StatusCode;
use zeroize::Zeroizing;

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        headers: Default::default(),
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}

const METADATA: &str =
    r#""metadata":{"created_time":"c","custom_metadata":null,"deletion_time":"","destroyed":false,"version":7}"#;

#[test]
fn reads_every_kind_of_property_to_the_digit() {
    let data = r#"{"text":"a\"\u00e9","big": 12345678901234567890123.10, "map":{"b" : [1, "x y\\"], "a":true},"no":null,"yes":true}"#;
    let stored = stored(&reply(200, &format!(r#"{{"data":{{"data":{data},{METADATA}}}}}"#))).unwrap();
    assert_eq!((stored.version.as_deref(), stored.token.as_str()), (Some("7"), "7/c/"));
    let json = |text: &str| Property::Json(SecretValue::from(text.to_owned()));
    let Payload::Map(map) = stored.payload else { panic!() };
    assert_eq!(map["text"], Property::Text(SecretValue::from("a\"é".to_owned())));
    assert_eq!(map["big"], json("12345678901234567890123.10"));
    assert_eq!(map["map"], json(r#"{"b":[1,"x y\\"],"a":true}"#));
    assert_eq!((&map["no"], &map["yes"]), (&Property::Null, &json("true")));
}

#[test]
fn only_two_kinds_of_404_are_about_the_key() {
    let kind = |body: &str| match missing(&reply(404, body)) {
        Missing::Deleted => 'd',
        Missing::Nothing => 'n',
        Missing::Other => 'o',
    };
    assert_eq!(kind(r#"{"errors":[]}"#), 'n');
    assert_eq!(kind(&format!(r#"{{"data":{{"data":null,{METADATA}}}}}"#)), 'o');
    assert_eq!(kind(&format!(r#"{{"data":{{"data":null,{}}}}}"#, METADATA.replace("false", "true"))), 'd');
    let deleted = METADATA.replace(r#"deletion_time":"""#, r#"deletion_time":"2026-01-01T00:00:00Z""#);
    assert_eq!(kind(&format!(r#"{{"data":{{"data":null,{deleted}}}}}"#)), 'd');
    for other in [
        r#"{"errors":["no handler for route"]}"#,
        r#"{"errors":["namespace not found"]}"#,
        "<html>",
        "",
        "{}",
        "404 page not found",
    ] {
        assert_eq!(kind(other), 'o', "{other}");
    }
}

#[test]
fn every_status_has_its_row() {
    let row = |status, body| refusal(&reply(status, body), &"reading k", "add a policy").failure;
    for (status, body, failure) in [
        (400, "", Failure::Misconfigured),
        (400, r#"{"errors":["Upgrading from non-versioned to versioned data."]}"#, Failure::Unavailable),
        (403, "", Failure::Denied),
        (404, "<html>", Failure::Misconfigured),
        (405, "", Failure::Misconfigured),
        (412, "", Failure::Unavailable),
        (429, "", Failure::RateLimited(None)),
        (472, "", Failure::Unavailable),
        (473, "", Failure::Unavailable),
        (500, "", Failure::Unavailable),
        (501, "", Failure::Unavailable),
        (502, "<html>", Failure::Unavailable),
        (503, r#"{"errors":["Vault is sealed"]}"#, Failure::Unavailable),
    ] {
        assert_eq!(row(status, body), failure, "{status} {body}");
    }
    let sealed = refusal(&reply(503, r#"{"errors":["Vault is sealed"]}"#), &"reading k", "");
    assert_eq!(
        &*sealed.message,
        "reading k failed: the server is sealed: unseal it (`bao operator unseal`) (status 503)"
    );
}

#[test]
fn the_form_of_a_403_tells_a_policy_from_a_bad_token() {
    for (body, policy) in [
        (r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#, true),
        (r#"{"errors":["permission denied"]}"#, false),
        (r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#, false),
        ("<html>", false),
    ] {
        assert_eq!(denied_by_policy(&reply(403, body)), policy, "{body}");
    }
}

#[test]
fn kinds_of_mounts() {
    let kind = |text: &str| serde_json::from_str::<Mount>(text).unwrap().kind();
    assert_eq!(kind(r#"{"type":"kv","options":{"version":"2"}}"#), Kind::Versioned);
    for plain in [
        r#"{"type":"kv","options":{"version":"1"}}"#,
        r#"{"type":"kv","options":{}}"#,
        r#"{"type":"kv","options":{"version":null}}"#,
        r#"{"type":"kv","options":null}"#,
        r#"{"type":"generic"}"#,
    ] {
        assert_eq!(kind(plain), Kind::Plain, "{plain}");
    }
    for foreign in [
        r#"{"type":"kv","options":{"version":"3"}}"#,
        r#"{"type":"generic","options":{"version":"2"}}"#,
        r#"{"type":"cubbyhole"}"#,
        r#"{"type":"kmip","options":{"version":"2"}}"#,
    ] {
        assert_eq!(kind(foreign), Kind::Foreign, "{foreign}");
    }
}

#[test]
fn a_history_without_its_latest_version_has_none() {
    for text in [
        r#"{"current_version":0,"versions":{}}"#,
        r#"{"current_version":0,"versions":null}"#,
        r#"{"current_version":4,"versions":{"3":{"created_time":"2026-01-02T03:04:05.678Z","deletion_time":""}}}"#,
    ] {
        let history: History = serde_json::from_str(text).unwrap();
        assert_eq!((history.latest(), history.state(4)), (None, None), "{text}");
    }
}

#[test]
fn only_a_condition_that_failed_is_a_conflict() {
    let said = |status, text: &str| refused(&reply(status, &format!(r#"{{"errors":["{text}"]}}"#)));
    let mismatch = "check-and-set parameter did not match the current version";
    assert!(matches!(said(400, mismatch), Some(Refused::Mismatch)));
    assert!(matches!(said(400, "check-and-set parameter required for this call"), Some(Refused::Unconditional)));
    assert!(said(400, "no data provided").is_none());
    assert!(said(500, mismatch).is_none());
    assert!(refused(&reply(400, "<html>")).is_none());
}
