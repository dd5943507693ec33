//! The form that anyone can send: a Vault audit pipeline, a CI job, a script.
//!
//! `X-Secretref-Timestamp: SECONDS`, `X-Secretref-Signature: sha256=HEX(HMAC-SHA256(key, SECONDS + "." + body))`, and
//! a body `{"keys": ["acme--db-password"]}` or `{"all": true}`.

use serde::Deserialize;

use super::{Changed, Malformed, key};

/// The most keys in one notification.
pub const MAX_KEYS: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    all: bool,
}

/// What a body says.
///
/// # Errors
/// When it is no such body.
pub fn parse(body: &[u8]) -> Result<Vec<Changed>, Malformed> {
    let body: Body = serde_json::from_slice(body).map_err(|_| Malformed)?;
    match (body.all, body.keys.len()) {
        (true, 0) => Ok(vec![Changed::All]),
        (false, 1..=MAX_KEYS) => body.keys.iter().map(|k| key(k).ok_or(Malformed)).collect(),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_or_all_and_nothing_else() {
        let key = |k: &str| Changed::Key(k.into());
        assert_eq!(parse(br#"{"keys":["acme--a","GLOBAL--b"]}"#), Ok(vec![key("acme--a"), key("GLOBAL--b")]));
        assert_eq!(parse(br#"{"all":true}"#), Ok(vec![Changed::All]));
        let many = |n: usize| serde_json::json!({ "keys": vec!["k"; n] }).to_string();
        assert_eq!(parse(many(MAX_KEYS).as_bytes()).map(|c| c.len()), Ok(MAX_KEYS));
        let long = serde_json::json!({ "keys": ["k".repeat(1025)] }).to_string();
        let too_many = many(MAX_KEYS + 1);
        for bad in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"all":false}"#,
            r#"{"keys":[]}"#,
            r#"{"keys":[""]}"#,
            r#"{"keys":["a\n"]}"#,
            r#"{"keys":["a"],"all":true}"#,
            r#"{"keys":"a"}"#,
            r#"{"keys":["a"],"value":"x"}"#,
            &long,
            &too_many,
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(Malformed), "{bad}");
        }
    }
}
