use proptest::prelude::*;
use reqwest::StatusCode;
use zeroize::Zeroizing;

use super::*;
use crate::{
    mutants,
    naming::StoreKey,
    stores::{Marks, Payload, Stored},
};

/// What OpenBao answers, with values in it that must not be seen again.
const ANSWERS: [&str; 12] = [
    r#"{"request_id":"a","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"value":"canary-1","n":12345678901234567890.10,"m":{"a" : ["canary-2"]},"z":null},"metadata":{"created_time":"2026-11-22T06:00:14.1Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":7}}}"#,
    r#"{"data":{"data":null,"metadata":{"created_time":"2026-11-22T06:00:14.1Z","custom_metadata":{"o":"canary-3"},"deletion_time":"2026-11-22T06:00:15Z","destroyed":false,"version":2}}}"#,
    r#"{"data":{"data":null,"metadata":{"created_time":"2026-11-22T06:00:14.1Z","custom_metadata":null,"deletion_time":"","destroyed":true,"version":2}}}"#,
    r#"{"errors":[]}"#,
    r#"{"errors":["no handler for route \"canary-4\". route entry not found."]}"#,
    r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
    r#"{"errors":["check-and-set parameter did not match the current version"]}"#,
    r#"{"auth":{"client_token":"canary-hvs.x","accessor":"canary-5","policies":["default"],"lease_duration":3600,"renewable":true}}"#,
    r#"{"data":{"ttl":3599,"renewable":true,"creation_path":"auth/approle/role/r/secret-id","secret_id":"canary-6"}}"#,
    r#"{"data":{"keys":["canary-7","folder/"]}}"#,
    r#"{"data":{"type":"kv","options":{"version":"2"},"config":{}}}"#,
    r#"{"data":{"current_version":3,"current_metadata_version":1,"updated_time":"2026-11-22T06:00:14Z","custom_metadata":{"owner":"canary-8"},"versions":{"2":{"created_time":"2026-01-02T03:04:05.678Z","deletion_time":"","destroyed":true},"3":{"created_time":"2026-01-02T03:04:05.678Z","deletion_time":"2126-01-02T03:04:05Z","destroyed":false}}}}"#,
];

fn answer(status: u16, body: &[u8]) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, retry_after: None, headers: Default::default(), body: Zeroizing::new(body.to_vec()) }
}

/// Reads it as `T`; an error repeats nothing.
fn read<T: DeserializeOwned>(reply: &Reply) -> Option<T> {
    parse::<Data<T>>(reply, &"reading k").map_err(|error| mutants::assert_silent(&error)).ok().map(|data| data.data)
}

proptest! {
    #[test]
    fn only_the_servers_own_word_makes_a_key_missing(body in mutants::bytes(ANSWERS)) {
        let Some(said) = mutants::said(&body) else { return Ok(()) };
        match missing(&answer(404, &body)) {
            Missing::Nothing => prop_assert_eq!(&said["errors"], &serde_json::json!([])),
            Missing::Deleted => {
                let metadata = &said["data"]["metadata"];
                let deleted = metadata["deletion_time"].as_str().is_some_and(|at| !at.is_empty());
                prop_assert!(metadata["version"].is_u64() && (deleted || metadata["destroyed"] == true), "{}", said);
            }
            Missing::Other => {}
        }
    }

    #[test]
    fn refusals_repeat_nothing(body in mutants::bytes(ANSWERS), status in 300..600_u16) {
        let reply = answer(status, &body);
        mutants::assert_silent(&refusal(&reply, &"reading k", "add a policy"));
        prop_assert!(!denied_by_policy(&reply) || refused(&reply).is_none());
    }

    #[test]
    fn a_value_that_is_read_is_the_one_that_was_sent(body in mutants::bytes(ANSWERS)) {
        let reply = answer(200, &body);
        if let Some(Stored { payload, .. }) = stored(&reply) {
            if let Some(sent) = mutants::said(&body) {
                let sent = &sent["data"];
                prop_assert!(sent["metadata"]["version"].is_u64() && (sent["data"].is_object() || sent["data"].is_null()));
            }
            // Written and read again it is the same.
            let data = crate::stores::body::json(&Properties(&payload)).unwrap();
            let metadata = r#"{"created_time":"c","deletion_time":"","destroyed":false,"version":1}"#;
            let again = [br#"{"data":{"data":"#, &data[..], br#","metadata":"#, metadata.as_bytes(), b"}}"].concat();
            prop_assert!(stored(&answer(200, &again)).is_some_and(|again| again.payload == payload));
        }
        if let Some(Stored { payload: Payload::Map(map), .. }) = plain(&reply, &StoreKey::verbatim("k"), &Marks::random()) {
            prop_assert!(map.len() <= body.len());
        }
        prop_assert!(raw(&reply).is_none_or(|map| map.values().map(|raw| raw.get().len()).sum::<usize>() <= body.len()));
    }

    #[test]
    fn everything_else_a_server_says_is_read_or_refused(body in mutants::bytes(ANSWERS)) {
        let reply = answer(200, &body);
        let _ = parse::<Granted>(&reply, &"logging in").map_err(|error| mutants::assert_silent(&error));
        read::<Lookup>(&reply);
        read::<Keys>(&reply);
        read::<Made>(&reply);
        read::<SecretId>(&reply);
        read::<Origin>(&reply);
        let _ = read::<Mount>(&reply).map(|mount| mount.kind());
        if let Some(history) = read::<History>(&reply) {
            let versions = history.versions();
            let number = |version: &crate::stores::Metadata| version.version.as_ref().and_then(|v| v.parse::<u64>().ok());
            prop_assert!(versions.is_sorted_by(|a, b| number(a) > number(b)));
            prop_assert!(history.latest().is_none_or(|latest| versions.iter().any(|v| v.version == latest.version)));
        }
    }

    #[test]
    fn what_was_cut_off_is_no_answer(body in mutants::cut(ANSWERS)) {
        let reply = answer(404, body.as_bytes());
        prop_assert!(matches!(missing(&reply), Missing::Other) && stored(&reply).is_none());
        prop_assert!(parse::<Granted>(&reply, &"logging in").is_err());
    }
}
