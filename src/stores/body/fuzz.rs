use proptest::prelude::*;
use serde_json::{Value, value::RawValue};

use super::*;
use crate::mutants;

const SEEDS: [&str; 3] =
    [r#"{"a":"canary-\u00e9\ud83d\udd11\"\\\/\b\f\n\r\t","b":[1.5,null]}"#, r#""canary-\ud83d\udd11""#, r#"["",""]"#];

#[test]
fn a_list_of_fields_is_no_object() {
    #[derive(Debug, Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let parsed = |text| serde_json::from_str::<Object<Errors>>(text).map(|Object(e)| e.errors);
    assert_eq!(parsed(r#"{"errors":["a"]}"#).unwrap(), ["a"]);
    for other in ["[[]]", "[]", "null", "{}", r#"{"errors":["a"],"errors":[]}"#] {
        assert!(parsed(other).is_err(), "{other}");
    }
}

proptest! {
    /// Every text in a document is what a parser says, however it is written.
    #[test]
    fn texts_are_taken_out_of_any_document(body in mutants::bytes(SEEDS)) {
        let text = String::from_utf8_lossy(&body);
        let _ = unquote(&text);
        if let Ok(raw) = serde_json::from_slice::<&RawValue>(&body)
            && raw.get().starts_with('"')
        {
            let known = serde_json::from_str::<String>(raw.get()).ok();
            let unquoted = unquote(raw.get());
            prop_assert_eq!(unquoted.as_ref().map(SecretValue::expose), known.as_ref().map(String::as_bytes));
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&body) {
            prop_assert_eq!(serde_json::from_slice::<Value>(&json(&value).unwrap()).unwrap(), value);
        }
    }

    /// However a body arrives and whatever was announced, it is whole or refused, and takes no more than it may.
    #[test]
    fn bodies_are_gathered_within_bounds(announced: u64, pieces in prop::collection::vec((0..300_000_usize, any::<u8>()), 0..20)) {
        let Ok(mut gathered) = Gathered::new(announced) else {
            prop_assert!(announced > MAX as u64);
            return Ok(());
        };
        let mut sent = 0;
        for (length, byte) in pieces {
            let taken = gathered.push(&vec![byte; length]).is_ok();
            prop_assert_eq!(taken, sent + length <= MAX);
            sent += if taken { length } else { 0 };
            prop_assert!(gathered.0.len() == sent && gathered.0.capacity() <= 2 * MAX);
        }
    }
}
