//! What a stored secret yields: the bare value, one property, or all of them.
//!
//! JSON is walked on the borrowed bytes: no intermediate copy of a value is made.

use std::collections::BTreeMap;

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::{
    secret::SecretValue,
    stores::{Payload, Property, Stored},
};

/// Why a stored secret does not yield what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There, but null.
    Null,
    /// No such property; these there are.
    NoProperty(Vec<String>),
    /// One value that is no JSON object: it has no properties.
    NotStructured,
}

/// The property that a bare name yields where a store holds maps.
pub const BARE: &str = "value";

/// What a bare name yields: the value itself, or the property `value` of a map.
///
/// # Errors
/// When a map has no such property, or it is null.
pub fn bare(stored: &Stored) -> Result<SecretValue, Lack> {
    match &stored.payload {
        Payload::Single(value) => Ok(value.clone()),
        Payload::Map(map) => match map.get(BARE) {
            Some(property) => whole(property),
            None => Err(Lack::NoProperty(map.keys().cloned().collect())),
        },
    }
}

/// One property: first a literal key (`tls.crt`), then a path into a JSON value (`db.user`, `hosts[0]`).
///
/// # Errors
/// When there is none, or it is null.
pub fn property(stored: &Stored, path: &str) -> Result<SecretValue, Lack> {
    match &stored.payload {
        Payload::Map(map) => {
            if let Some(property) = map.get(path) {
                return whole(property);
            }
            let none = || Lack::NoProperty(map.keys().cloned().collect());
            let (first, steps) = parse_path(path).ok_or_else(none)?;
            match map.get(first) {
                Some(Property::Text(value) | Property::Json(value)) => walk(value, &steps).ok_or_else(none)?,
                Some(Property::Null) | None => Err(none()),
            }
        }
        Payload::Single(value) => {
            let object = object(value).ok_or(Lack::NotStructured)?;
            if let Some(raw) = object.get(path) {
                return from_raw(raw);
            }
            let none = || Lack::NoProperty(object.keys().cloned().collect());
            let (first, mut steps) = parse_path(path).ok_or_else(none)?;
            steps.insert(0, Step::Key(first));
            walk(value, &steps).ok_or_else(none)?
        }
    }
}

/// All properties by name.
///
/// # Errors
/// When the value has none, naming the null one if that is why.
pub fn all(stored: &Stored) -> Result<BTreeMap<String, Result<SecretValue, Lack>>, Lack> {
    match &stored.payload {
        Payload::Map(map) => Ok(map.iter().map(|(k, v)| (k.clone(), whole(v))).collect()),
        Payload::Single(value) => {
            let object = object(value).ok_or(Lack::NotStructured)?;
            Ok(object.iter().map(|(k, raw)| (k.clone(), from_raw(raw))).collect())
        }
    }
}

/// Base64, standard or URL-safe, padded or not.
pub fn decode_base64(value: &SecretValue) -> Option<SecretValue> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = Zeroizing::new(value.expose().iter().copied().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<_>>());
    let url_safe = text.iter().any(|b| matches!(b, b'-' | b'_'));
    let engine = GeneralPurpose::new(if url_safe { &URL_SAFE } else { &STANDARD }, LENIENT);
    engine.decode(&*text).ok().map(SecretValue::new)
}

fn whole(property: &Property) -> Result<SecretValue, Lack> {
    match property {
        Property::Text(value) | Property::Json(value) => Ok(value.clone()),
        Property::Null => Err(Lack::Null),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// `a.b[0].c` as its first key and the steps after it.
fn parse_path(path: &str) -> Option<(&str, Vec<Step<'_>>)> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() {
            return None;
        }
        steps.push(Step::Key(key));
        let mut rest = indices;
        while let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    match steps.remove(0) {
        Step::Key(first) => Some((first, steps)),
        Step::Index(_) => None,
    }
}

/// Follows the steps; `None` when they lead nowhere.
fn walk(value: &SecretValue, steps: &[Step<'_>]) -> Option<Result<SecretValue, Lack>> {
    let mut here: &RawValue = serde_json::from_slice(value.expose()).ok()?;
    for step in steps {
        here = match step {
            Step::Key(key) => serde_json::from_str::<BTreeMap<String, &RawValue>>(here.get()).ok()?.remove(*key)?,
            Step::Index(index) => serde_json::from_str::<Vec<&RawValue>>(here.get()).ok()?.get(*index).copied()?,
        };
    }
    Some(from_raw(here))
}

fn object(value: &SecretValue) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_slice(value.expose()).ok()
}

/// A JSON string as its text, null as a lack, everything else as compact JSON.
fn from_raw(raw: &RawValue) -> Result<SecretValue, Lack> {
    let text = raw.get();
    if text == "null" {
        return Err(Lack::Null);
    }
    if text.starts_with('"') {
        // An escape that stands for no character: there is no text to give.
        return parse::<String>(text).map(SecretValue::from).ok_or(Lack::NotStructured);
    }
    Ok(compact(text))
}

fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Drops the whitespace between tokens of valid JSON.
fn compact(json: &str) -> SecretValue {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    SecretValue::new(out)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::stores::ChangeToken;

    fn stored(payload: Payload) -> Stored {
        Stored { payload, version: None, token: ChangeToken::new("t"), warning: None }
    }

    fn single(text: &str) -> Stored {
        stored(Payload::Single(text.to_owned().into()))
    }

    fn text(value: Result<SecretValue, Lack>) -> String {
        value.unwrap().expose_str().unwrap().to_owned()
    }

    #[test]
    fn a_literal_key_wins_over_a_path() {
        let map = stored(Payload::Map(BTreeMap::from([
            ("tls.crt".into(), Property::Text("cert".to_owned().into())),
            ("tls".into(), Property::Json(r#"{"crt":"other","n":[1, {"a" : "b c"}],"z":null}"#.to_owned().into())),
        ])));
        assert_eq!(text(property(&map, "tls.crt")), "cert");
        assert_eq!(text(property(&map, "tls.n[1].a")), "b c");
        assert_eq!(text(property(&map, "tls.n")), r#"[1,{"a":"b c"}]"#);
        assert_eq!(property(&map, "tls.z"), Err(Lack::Null));
        assert_eq!(bare(&map), Err(Lack::NoProperty(vec!["tls".into(), "tls.crt".into()])));
        for none in ["x", "tls.x", "tls.n[9]", "tls.n[", "tls..n", "", "[0]"] {
            assert!(matches!(property(&map, none), Err(Lack::NoProperty(_))), "{none}");
        }
    }

    #[test]
    fn a_single_value_is_walked_as_json() {
        let json = single(r#"{"db":{"user":"u\n","port":5432,"on":true},"hosts":["a","b"],"db.user":"literal"}"#);
        assert_eq!(text(property(&json, "db.user")), "literal");
        assert_eq!(text(property(&json, "db.port")), "5432");
        assert_eq!(text(property(&json, "hosts[1]")), "b");
        assert_eq!(all(&json).unwrap().len(), 3);
        assert_eq!(
            text(bare(&json)),
            r#"{"db":{"user":"u\n","port":5432,"on":true},"hosts":["a","b"],"db.user":"literal"}"#
        );
        for unstructured in ["plain", "", "[1]", "7"] {
            assert_eq!(property(&single(unstructured), "a"), Err(Lack::NotStructured), "{unstructured}");
        }
    }

    #[test]
    fn decodes_both_alphabets() {
        let decode = |s: &str| decode_base64(&s.to_owned().into()).map(|v| v.expose().to_vec());
        assert_eq!(decode("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(decode("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(decode("aGk=\n"), Some(b"hi".to_vec()));
        assert_eq!(decode("h!"), None);
    }
}
