use proptest::prelude::*;

use super::*;
use crate::mutants;

/// What the server answers, with values in it that must not be seen again.
const ANSWERS: [&str; 8] = [
    r#"{"secret":{"id":"1","_id":"1","workspace":"p","environment":"prod","version":3,"type":"shared","secretKey":"DB_URL","secretValue":"canary-\u00e91","secretComment":"canary-2","secretPath":"/acme","createdAt":"2026-11-22T06:00:14.123Z","updatedAt":"2026-11-22T06:00:14.123Z","secretValueHidden":false,"tags":[]}}"#,
    r#"{"secrets":[{"secretKey":"A","version":1,"secretValue":"canary-3","secretPath":"/"}],"imports":[{"secretPath":"/x","environment":"dev","secrets":[{"secretKey":"B","version":2,"secretValue":"canary-4","secretValueHidden":true}]}]}"#,
    r#"{"folders":[{"id":"1","name":"acme"},{"name":"GLOBAL"}]}"#,
    r#"{"accessToken":"canary-eyJ","expiresIn":7200,"accessTokenMaxTTL":43200,"tokenType":"Bearer"}"#,
    r#"{"approval":{"id":"canary-5"}}"#,
    r#"{"reqId":"r","statusCode":404,"message":"Secret with name 'DB_URL' not found","error":"NotFound"}"#,
    r#"{"statusCode":404,"message":"Folder with path '/acme' in environment with slug 'canary-6' not found","error":"GetSecretByName"}"#,
    r#"{"statusCode":422,"message":[{"code":"invalid_type","path":["canary-7"]}],"error":"ValidationFailure"}"#,
];

fn answer(status: u16, body: &[u8]) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, retry_after: None, headers: Default::default(), body: Zeroizing::new(body.to_vec()) }
}

proptest! {
    #[test]
    fn only_the_servers_own_word_makes_a_secret_missing(body in mutants::bytes(ANSWERS)) {
        let Some(said) = mutants::said(&body) else { return Ok(()) };
        let begins = |text: &str| said["message"].as_str().is_some_and(|message| message.starts_with(text));
        match missing(&answer(404, &body), "/acme", "DB_URL") {
            Missing::Secret => prop_assert!(begins("Secret with name ") && said["message"].as_str().unwrap().contains("DB_URL"), "{}", said),
            Missing::Folder => prop_assert!(begins("Folder with path ") && said["message"].as_str().unwrap().contains("/acme"), "{}", said),
            Missing::Other => {}
        }
    }

    #[test]
    fn refusals_repeat_nothing(body in mutants::bytes(ANSWERS), status in 300..600_u16) {
        let reply = answer(status, &body);
        mutants::assert_silent(&refusal(&reply, &"reading DB_URL", "add a role"));
        // Of a page of whatever stands in front, nothing is believed.
        let object = mutants::said(&body).is_none_or(|said| said.is_object());
        let believed = token_refused(&reply) || login_refused(&reply).is_some() || exists_already(&reply) || no_route(&reply);
        prop_assert!(object || !believed);
    }

    #[test]
    fn a_value_that_is_read_is_the_one_that_was_sent(body in mutants::bytes(ANSWERS)) {
        let reply = answer(200, &body);
        match borrowed::<One<'_>>(&reply, &"reading DB_URL") {
            Ok(One { secret }) => {
                let sent = &mutants::said(&body).unwrap_or_default()["secret"];
                if let Some(value) = secret.value()
                    && sent.is_object()
                {
                    prop_assert_eq!(value.expose_str(), sent["secretValue"].as_str());
                    prop_assert!(sent["secretValueHidden"] != true);
                }
                let _ = (secret.created(), secret.updated(), version(&reply, &"reading DB_URL"));
            }
            Err(error) => mutants::assert_silent(&error),
        }
        match borrowed::<Listed<'_>>(&reply, &"listing") {
            Ok(listed) => {
                let _ = listed.has_imports();
                let values = listed.merged().values().filter_map(Secret::value).map(|value| value.len()).sum::<usize>();
                prop_assert!(values <= body.len());
            }
            Err(error) => mutants::assert_silent(&error),
        }
        let _ = borrowed::<Changed<'_>>(&reply, &"writing").map_err(|error| mutants::assert_silent(&error));
        let _ = parse::<Folders>(&reply, &"listing").map_err(|error| mutants::assert_silent(&error));
        let _ = parse::<Granted>(&reply, &"logging in").map_err(|error| mutants::assert_silent(&error));
    }

    #[test]
    fn what_was_cut_off_is_no_answer(body in mutants::cut(ANSWERS)) {
        let reply = answer(404, body.as_bytes());
        prop_assert_eq!(missing(&reply, "/acme", "DB_URL"), Missing::Other);
        prop_assert!(parse::<Granted>(&reply, &"logging in").is_err() && borrowed::<One<'_>>(&reply, &"").is_err());
    }
}
