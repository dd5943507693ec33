#![allow(clippy::unwrap_used, clippy::panic)]
use zeroize::Zeroizing;

use super::{super::transport::wrapped, *};

fn answer(body: &str) -> Kept {
    Kept { body: Zeroizing::new(body.as_bytes().to_vec()), date: Timestamp::from_second(1_700_000_100).ok() }
}

fn refusal(status: u16, code: &str, inner: &str) -> azure_core::Error {
    wrapped(Refusal { status, code: code.into(), inner: inner.into(), retry_after: None })
}

#[test]
fn a_secret_as_the_service_sends_it() {
    let secret = Secret::of(
        &answer(
            r#"{"value":"a\u0041\n","contentType":"text/plain","id":"https://v.vault.azure.net/secrets/Acme--a/0123456789abcdef0123456789abcdef",
            "attributes":{"enabled":true,"nbf":1,"exp":4102444800,"created":1699999000,"updated":1700000000,"recoveryLevel":"Recoverable+Purgeable","recoverableDays":90,"new":{}},
            "tags":{"a":"b"},"kid":"x","managed":true,"unknown":[1]}"#,
        ),
        &"reading a",
    )
    .unwrap();
    assert_eq!((secret.name.as_str(), secret.about.tags["a"].as_str()), ("Acme--a", "b"));
    let stored = secret.stored(&"reading a").unwrap();
    assert_eq!(stored.payload, Payload::Single("aA\n".to_owned().into()));
    assert_eq!(stored.token.as_str(), "1700000000/0123456789abcdef0123456789abcdef");
    assert!(stored.token.is_still(&ChangeToken::new("1700000000")), "100 s are no longer young");
}

#[test]
fn what_no_key_vault_sends_is_neither_a_value_nor_repeated() {
    for body in [
        "",
        "{}",
        "canary",
        r#"{"value":"canary"}"#,
        r#"{"value":"canary","id":"canary"}"#,
        r#"{"value":"canary","id":"https://v/secrets/"}"#,
        r#"{"value":"canary","id":"https://v/secrets/a"}"#,
        r#"{"value":"canary","id":"https://v/secrets/a b/1"}"#,
        r#"{"value":"canary","id":"https://v/keys/a/1"}"#,
        r#"{"value":null,"id":"https://v/secrets/a/1"}"#,
        r#"{"value":7,"id":"https://v/secrets/a/1"}"#,
        r#"{"id":"https://v/secrets/a/1"}"#,
    ] {
        let stored = Secret::of(&answer(body), &"reading a").and_then(|secret| secret.stored(&"reading a"));
        let error = stored.unwrap_err();
        assert_eq!(error.failure, Failure::Misconfigured, "{body}");
        assert!(!error.message.contains("canary"), "{error}");
    }
}

#[test]
fn only_the_vaults_own_word_is_a_missing_secret() {
    assert!(is_missing(&refusal(404, "SecretNotFound", "")));
    for (status, code) in [(404, ""), (404, "NotFound"), (404, "VaultNotFound"), (403, "SecretNotFound"), (200, "")] {
        assert!(!is_missing(&refusal(status, code, "")), "{status} {code}");
    }
}

#[test]
fn every_refusal_has_its_row_and_its_sentence() {
    let what = format!("reading {}", "a".repeat(127));
    for status in [400, 401, 403, 404, 405, 408, 409, 413, 429, 500, 502, 503, 504] {
        for (code, inner) in [
            ("canary", "canary"),
            ("Conflict", ""),
            ("Conflict", "ObjectIsDeletedButRecoverable"),
            ("Conflict", "ObjectIsBeingDeleted"),
            ("Forbidden", "SecretDisabled"),
            ("Forbidden", "ForbiddenByFirewall"),
            ("Forbidden", "ForbiddenByConnection"),
            ("Forbidden", "ForbiddenByRbac"),
        ] {
            for need in [Need::Get, Need::List, Need::Write] {
                let error = error(&refusal(status, code, inner), &what, need);
                let text = error.to_string();
                assert!(text.len() < 400 && text.contains(": ") && !text.contains("canary"), "{text}");
                let expected = match (status, inner) {
                    (401, _) => Failure::Unauthenticated,
                    (403, "SecretDisabled") => Failure::Disabled,
                    (403, _) => Failure::Denied,
                    (429, _) => Failure::RateLimited(None),
                    (408 | 500.., _) | (409, "ObjectIsBeingDeleted") => Failure::Unavailable,
                    (409, "ObjectIsDeletedButRecoverable") => Failure::Misconfigured,
                    (409, _) if code == "Conflict" => Failure::Unavailable,
                    _ => Failure::Misconfigured,
                };
                assert_eq!(error.failure, expected, "{status} {code} {inner}");
            }
        }
    }
}
