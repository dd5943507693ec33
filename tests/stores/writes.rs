//! What tests write.

use std::collections::BTreeMap;

use secretref::{
    secret::SecretValue,
    stores::{Metadata, Payload, Property, Store, VersionState, When, Write, Written},
};

use crate::env::key;

pub fn bytes(value: &[u8]) -> SecretValue {
    SecretValue::new(value.to_vec())
}

pub fn single(value: &str) -> Payload {
    Payload::Single(bytes(value.as_bytes()))
}

pub fn properties<const N: usize>(properties: [(&str, Property); N]) -> Payload {
    Payload::Map(properties.into_iter().map(|(key, property)| (key.to_owned(), property)).collect())
}

pub fn write(payload: Payload, when: When) -> Write {
    Write { payload, when, content_type: None, tags: None }
}

pub fn tagged<const N: usize>(write: Write, tags: [(&str, &str); N]) -> Write {
    let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    Write { tags: Some(tags.collect()), ..write }
}

pub fn latest(version: &str) -> When {
    When::Version(version.to_owned())
}

pub fn version(written: Written) -> String {
    match written {
        Written::Version(version) => version,
        Written::Conflict => panic!("a conflict"),
    }
}

/// Writes one value, whatever was there, and answers its version.
pub async fn put(store: &dyn Store, name: &str, value: &str) -> String {
    version(store.set(&key(name), &write(single(value), When::Always)).await.unwrap())
}

/// The property `value`, or the value itself; `None`: the key is not there.
pub async fn value(store: &dyn Store, name: &str) -> Option<String> {
    let stored = store.get(&key(name), None).await.unwrap()?;
    let value = match stored.payload {
        Payload::Single(value) => value,
        Payload::Map(mut map) => match map.remove("value") {
            Some(Property::Text(value)) => value,
            other => panic!("no value: {other:?}"),
        },
    };
    Some(value.expose_str().unwrap().to_owned())
}

pub fn states(versions: &[Metadata]) -> Vec<(&str, VersionState)> {
    versions.iter().map(|v| (v.version.as_deref().unwrap(), v.state)).collect()
}

pub fn tags<const N: usize>(tags: [(&str, &str); N]) -> BTreeMap<String, String> {
    tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
