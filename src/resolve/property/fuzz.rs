use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{mutants, stores::ChangeToken};

const VALUES: [&str; 3] = [
    r#"{"db":{"user":"canary-1\n","port":5432,"on":true},"hosts":["a",{"b" : "c d"}],"db.user":"literal","z":null,"tls.crt":"PEM"}"#,
    r#"{"a":{"a":{"a":{"a":[[[["canary-2"]]]]}}}}"#,
    "canary-plain",
];
const PATHS: [&str; 6] = ["db.user", "db.port", "hosts[1].b", "a.a.a.a[0][0][0][0]", "tls.crt", "z"];

#[test]
fn a_text_with_half_a_character_is_not_given_out_in_quotes() {
    let stored = Stored {
        payload: Payload::Single(r#"{"a":"\ud800"}"#.to_owned().into()),
        version: None,
        token: ChangeToken::new("t"),
        warning: None,
    };
    assert_eq!(property(&stored, "a"), Err(Lack::NotStructured));
}

/// What a value is when it is given out: a text as it is, everything else as JSON.
fn shown(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(other.to_string().into_bytes()),
    }
}

proptest! {
    #[test]
    fn every_property_is_what_the_value_says(value in mutants::bytes(VALUES), path in mutants::texts(PATHS)) {
        let payload = Payload::Single(SecretValue::new(value.clone()));
        let stored = Stored { payload, version: None, token: ChangeToken::new("t"), warning: None };
        assert!(bare(&stored).is_ok_and(|bare| bare.expose() == value));
        let said = serde_json::from_slice::<Value>(&value).ok();
        match all(&stored) {
            Ok(map) => {
                for (name, part) in map {
                    prop_assert_eq!(&property(&stored, &name), &part);
                    if let (Ok(part), Some(known)) = (&part, said.as_ref().map(|said| &said[&name])) {
                        assert!(part.len() <= value.len());
                        let same = shown(known).is_some_and(|known| known == part.expose());
                        // A number keeps every digit; a parser may not.
                        assert!(same || serde_json::from_slice::<Value>(part.expose()).ok().as_ref() == Some(known), "{}", name);
                    }
                }
            }
            Err(lack) => prop_assert_eq!(lack, Lack::NotStructured),
        }
        match property(&stored, &path) {
            Ok(part) => assert!(part.len() <= value.len()),
            Err(lack) => assert!(!format!("{lack:?}").contains("canary-plain")),
        }
    }

    #[test]
    fn base64_is_read_or_refused(text in mutants::bytes(["Y2FuYXJ5", "-_8", "+/8=\n"])) {
        assert!(decode_base64(&SecretValue::new(text.clone())).is_none_or(|decoded| decoded.len() <= text.len()));
    }
}
