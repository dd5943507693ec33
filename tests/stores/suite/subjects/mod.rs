//! The stores that the suite runs against.

pub mod infisical;
pub mod key_vault;
pub mod kubernetes;
pub mod local;
pub mod openbao;

use base64::{Engine, engine::general_purpose::STANDARD};
use secretref::{
    secret::SecretValue,
    stores::{Payload, Property},
};
use serde_json::{Map, Value};

/// A payload as the JSON of a map: a single value under `value`.
fn as_map(payload: &Payload) -> Value {
    let text = |value: &SecretValue| value.expose_str().expect("text").to_owned();
    match payload {
        Payload::Single(value) => Value::Object(Map::from_iter([("value".to_owned(), text(value).into())])),
        Payload::Map(map) => map
            .iter()
            .map(|(name, property)| {
                let value = match property {
                    Property::Text(value) => text(value).into(),
                    Property::Json(value) => serde_json::from_slice(value.expose()).unwrap(),
                    Property::Null => Value::Null,
                };
                (name.clone(), value)
            })
            .collect(),
    }
}

/// The same with every value in Base64, as the API server takes it.
fn as_base64(payload: &Payload) -> Value {
    let encode = |value: &SecretValue| Value::from(STANDARD.encode(value.expose()));
    match payload {
        Payload::Single(value) => Value::Object(Map::from_iter([("value".to_owned(), encode(value))])),
        Payload::Map(map) => map
            .iter()
            .map(|(name, property)| match property {
                Property::Text(value) | Property::Json(value) => (name.clone(), encode(value)),
                Property::Null => panic!("a Secret holds no null"),
            })
            .collect(),
    }
}
