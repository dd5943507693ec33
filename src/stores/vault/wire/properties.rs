//! Values on their way from the server and to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer, ser::Error as _, ser::SerializeMap};
use serde_json::value::RawValue;

use crate::{
    naming::StoreKey,
    secret::SecretValue,
    stores::{
        ChangeToken, Marks, Payload, Property, Stored,
        body::{self, Object},
        http::Reply,
    },
};

/// What a write sends, as JSON: text as text, JSON as it is, a single value as the property `value`.
pub(in crate::stores::vault) struct Properties<'a>(pub &'a Payload);

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: Object<Versioned<'a>>,
}

#[derive(Deserialize)]
struct Versioned<'a> {
    // Raw, so that numbers keep every digit and no copy of a value is made that nobody wipes.
    #[serde(borrow)]
    data: Option<BTreeMap<String, &'a RawValue>>,
    metadata: Object<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    created_time: String,
    deletion_time: String,
    destroyed: bool,
}

#[derive(Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    data: BTreeMap<String, &'a RawValue>,
}

/// The value in a 200.
pub(in crate::stores::vault) fn stored(reply: &Reply) -> Option<Stored> {
    let Object(Versioned { data, metadata: Object(m) }) = read(reply)?;
    let properties = data.unwrap_or_default().into_iter().map(|(key, raw)| Some((key, property(raw.get())?)));
    let warning = (!m.deletion_time.is_empty())
        .then(|| format!("the store deletes version {} at {}: write a new one before", m.version, m.deletion_time));
    Some(Stored {
        payload: Payload::Map(properties.collect::<Option<_>>()?),
        version: Some(m.version.to_string()),
        // A version number alone repeats when a key is removed with its history and written again.
        token: ChangeToken::new(format!("{}/{}/{}", m.version, m.created_time, m.deletion_time)),
        warning,
    })
}

fn read(reply: &Reply) -> Option<Object<Versioned<'_>>> {
    serde_json::from_slice::<Object<Read<'_>>>(&reply.body).ok().map(|Object(read)| read.data)
}

fn property(raw: &str) -> Option<Property> {
    Some(match raw.as_bytes().first()? {
        b'n' => Property::Null,
        b'"' => Property::Text(body::unquote(raw)?),
        _ => Property::Json(SecretValue::new(compact(raw))),
    })
}

/// JSON without the white space between its parts.
fn compact(raw: &str) -> Vec<u8> {
    let (mut out, mut quoted, mut escaped) = (Vec::with_capacity(raw.len()), false, false);
    for byte in raw.bytes() {
        if quoted || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
    }
    out
}

/// The value in a 200 of a version 1 mount. It has no mark of its own.
pub(in crate::stores::vault) fn plain(reply: &Reply, key: &StoreKey, marks: &Marks) -> Option<Stored> {
    let Object(Plain { data }) = serde_json::from_slice(&reply.body).ok()?;
    let properties = data.into_iter().map(|(key, raw)| Some((key, property(raw.get())?)));
    let payload = Payload::Map(properties.collect::<Option<_>>()?);
    let canonical = SecretValue::new(body::json(&Properties(&payload)).ok()?.to_vec());
    let token = marks.of(key, &canonical);
    Some(Stored { payload, version: None, token, warning: None })
}

/// The value in a 200, to be written again as it is.
pub(in crate::stores::vault) fn raw(reply: &Reply) -> Option<BTreeMap<String, &RawValue>> {
    read(reply)?.0.data
}

/// Whether this is said of a version that is deleted or destroyed; `None`: it is said of no version.
pub(super) fn is_gone(reply: &Reply) -> Option<bool> {
    let Object(Versioned { metadata: Object(m), .. }) = read(reply)?;
    Some(m.destroyed || !m.deletion_time.is_empty())
}

/// Whether it is JSON as a whole.
pub(in crate::stores::vault) fn is_json(value: &SecretValue) -> bool {
    serde_json::from_slice::<&RawValue>(value.expose()).is_ok()
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |value: &SecretValue| match value.expose_str() {
            Some(_) => Ok(()),
            None => Err(S::Error::custom("not text")),
        };
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Payload::Single(value) => {
                text(value)?;
                map.serialize_entry("value", &value.expose_str())?;
            }
            Payload::Map(properties) => {
                for (key, property) in properties {
                    match property {
                        Property::Text(value) => {
                            text(value)?;
                            map.serialize_entry(key, &value.expose_str())?;
                        }
                        Property::Json(value) => {
                            let raw: &RawValue = serde_json::from_slice(value.expose()).map_err(S::Error::custom)?;
                            map.serialize_entry(key, raw)?;
                        }
                        Property::Null => map.serialize_entry(key, &())?,
                    }
                }
            }
        }
        map.end()
    }
}
