use azure_core::json::from_json;
use azure_security_keyvault_secrets::models::ListSecretPropertiesResult;
use proptest::prelude::*;
use reqwest::StatusCode;

use super::{
    super::wire::{self, Listed, Need, Secret},
    *,
};
use crate::mutants;

/// What Key Vault answers, with values in it that must not be seen again.
const ANSWERS: [&str; 6] = [
    r#"{"value":"canary-\u00411","contentType":"text/plain","id":"https://v.vault.azure.net/secrets/acme--a/0123456789abcdef0123456789abcdef","attributes":{"enabled":true,"nbf":1,"exp":4102444800,"created":1699999000,"updated":1700000000,"recoveryLevel":"Recoverable+Purgeable","recoverableDays":90},"tags":{"a":"canary-2"},"managed":false}"#,
    r#"{"value":[{"id":"https://v.vault.azure.net/secrets/acme--a","attributes":{"enabled":true,"created":1699999000,"updated":1700000000},"contentType":"canary-3","tags":{"a":"b"}},{"id":"https://v.vault.azure.net/secrets/b","managed":true}],"nextLink":"https://v.vault.azure.net/secrets?$skiptoken=x"}"#,
    r#"{"error":{"code":"SecretNotFound","message":"A secret with (name/id) canary-4 was not found in this key vault."}}"#,
    r#"{"error":{"code":"Forbidden","message":"canary-5","innererror":{"code":"SecretDisabled"}}}"#,
    r#"{"error":{"code":"Forbidden","message":"canary-6","innererror":{"code":"ForbiddenByFirewall"}}}"#,
    r#"{"error":{"code":"Conflict","message":"canary-7","innererror":{"code":"ObjectIsDeletedButRecoverable"}}}"#,
];
const DATES: [&str; 3] =
    ["Sun, 22 Nov 2026 12:00:00 GMT", "Fri, 31 Dec 9999 23:59:60 GMT", "Mon, 01 Jan 0001 00:00:00 +2359"];

proptest! {
    #[test]
    fn only_the_vaults_own_word_makes_a_secret_missing(body in mutants::bytes(ANSWERS), status in 400..600_u16) {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, retry_after: None, headers: Default::default(), body: Zeroizing::new(body.clone()) };
        let error = wrapped(Refusal::of(&reply));
        let Some(said) = mutants::said(&body) else { return Ok(()) };
        prop_assert!(!wire::is_missing(&error) || (status == 404 && said["error"]["code"] == "SecretNotFound"), "{}", said);
        let denied = wire::is_denied(&error);
        prop_assert!(!denied || status == 403);
        mutants::assert_silent(&wire::error(&error, &"reading a", Need::Get));
    }

    #[test]
    fn a_value_that_is_read_is_the_one_that_was_sent(body in mutants::bytes(ANSWERS), date in mutants::texts(DATES)) {
        let kept = Kept { body: Zeroizing::new(body.clone()), date: super::date(Some(&date)) };
        let read = Secret::of(&kept, &"reading a").and_then(|secret| {
            assert!(wire::is_name(&secret.name));
            secret.stored(&"reading a")
        });
        match read {
            Ok(stored) => {
                let sent = mutants::said(&body).unwrap_or_default();
                let crate::stores::Payload::Single(value) = stored.payload else { panic!() };
                prop_assert!(!sent.is_object() || value.expose_str() == sent["value"].as_str());
                prop_assert!(stored.warning.is_none_or(|warning| !warning.contains(mutants::CANARY)));
            }
            Err(error) => mutants::assert_silent(&error),
        }
    }

    #[test]
    fn a_page_holds_names_that_can_be_asked_for(body in mutants::bytes(ANSWERS)) {
        let page: azure_core::Result<ListSecretPropertiesResult> = from_json(body.clone());
        match page {
            Ok(page) => {
                prop_assert!(page.value.len() <= body.len());
                for item in page.value.into_iter().filter_map(Listed::of) {
                    prop_assert!(wire::is_name(&item.name));
                    let _ = wire::mark(item.about.updated, Timestamp::now());
                }
            }
            Err(error) => mutants::assert_silent(&wire::error(&error, &"listing", Need::List)),
        }
    }

    #[test]
    fn what_was_cut_off_is_no_answer(body in mutants::cut(ANSWERS)) {
        let reply = Reply {
            status: StatusCode::NOT_FOUND,
            retry_after: None,
            headers: Default::default(),
            body: Zeroizing::new(body.clone().into_bytes()),
        };
        prop_assert!(!wire::is_missing(&wrapped(Refusal::of(&reply))));
        let kept = Kept { body: Zeroizing::new(body.into_bytes()), date: None };
        prop_assert!(Secret::of(&kept, &"reading a").is_err());
    }
}
