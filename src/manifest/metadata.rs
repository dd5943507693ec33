//! Names, labels and annotations, which the API server checks for every kind of object.

use serde_json::{Map, Value};

type Found = Vec<(String, String)>;

/// What is wrong with an object's metadata.
pub(super) fn check(metadata: &Value, namespaced: bool, found: &mut Found) {
    let mut say = |field: &str, message: &str| found.push((format!("metadata.{field}"), message.to_owned()));
    match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
        (Some(name), _) if !is_subdomain(name) => {
            say("name", "must be lower-case letters, digits, '-' and '.', at most 253 characters");
        }
        (None, None) => say("name", "is required"),
        _ => {}
    }
    match &metadata["namespace"] {
        Value::Null => {}
        _ if !namespaced => say("namespace", "is not for this kind: it belongs to the cluster"),
        Value::String(name) if is_label_name(name) => {}
        _ => say("namespace", "must be lower-case letters, digits and '-', at most 63 characters"),
    }
    let none = Map::new();
    let map = |field: &str| metadata[field].as_object().unwrap_or(&none).clone();
    for (key, value) in map("labels") {
        if !is_qualified(&key) || !value.as_str().is_some_and(is_label_value) {
            say("labels", "must be qualified names with values of at most 63 letters, digits, '-', '_' and '.'");
        }
    }
    for (key, value) in map("annotations") {
        if !is_qualified(&key.to_ascii_lowercase()) || !value.is_string() {
            say("annotations", "must be qualified names with texts");
        }
    }
}

fn is_subdomain(name: &str) -> bool {
    let word = |w: &str| {
        !w.starts_with('-') && !w.ends_with('-') && !w.is_empty() && w.bytes().all(|b| is_lower(b) || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(word)
}

fn is_label_name(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_subdomain(name)
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

fn is_label_value(value: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
