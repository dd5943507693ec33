//! The structural schema of a definition, as strictly as `kubectl` asks the API server to take it: unknown fields are
//! refused, too.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
};

use regex::Regex;
use serde_json::{Map, Value};

type Found = Vec<(String, String)>;

/// A field of a field. Keys that hold a dot are ambiguous in a path, and nothing is looked up by one.
pub(super) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// What of a value does not fit its schema: field and sentence.
pub(super) fn check(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    let mut say = |message: String| found.push((path.to_owned(), message));
    if value.is_null() {
        match (schema["nullable"] == true, schema["enum"].as_array()) {
            (false, _) => say("must not be null".to_owned()),
            (true, Some(allowed)) if !allowed.contains(value) => say(one_of(allowed)),
            (true, _) => {}
        }
        return;
    }
    let wanted = schema["type"].as_str().unwrap_or_default();
    if !is_a(wanted, value) {
        return say(format!("must be of type {wanted}: {}", hint(wanted, value)));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        say(one_of(allowed));
    }
    match value {
        Value::String(text) => string(schema, text, &mut say),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            if schema["minimum"].as_f64().is_some_and(|least| number < least) {
                say(format!("must be at least {}", schema["minimum"]));
            }
            if schema["maximum"].as_f64().is_some_and(|most| number > most) {
                say(format!("must be at most {}", schema["maximum"]));
            }
        }
        Value::Array(items) => list(schema, items, path, found),
        Value::Object(fields) => object(schema, fields, path, found),
        Value::Null | Value::Bool(_) => {}
    }
}

fn one_of(allowed: &[Value]) -> String {
    let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    format!("must be one of: {}", allowed.join(", "))
}

fn is_a(wanted: &str, value: &Value) -> bool {
    match wanted {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn hint(wanted: &str, value: &Value) -> String {
    let is = match value {
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        _ => "an object",
    };
    match (wanted, value) {
        ("string", Value::Bool(_) | Value::Number(_)) => format!("it is {is}; put it in quotes"),
        ("integer" | "boolean" | "number", Value::String(_)) => format!("it is {is}; remove the quotes"),
        _ => format!("it is {is}"),
    }
}

fn string(schema: &Value, text: &str, say: &mut impl FnMut(String)) {
    let length = text.chars().count() as u64;
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        say(format!("must have at least {least} characters"));
    }
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        say(format!("must have at most {most} characters"));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !matches(pattern, text)
    {
        say(format!("must match {pattern}"));
    }
}

/// A pattern that does not compile here would be a bug of the definition: the API server refuses those.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    })
}

fn list(schema: &Value, items: &[Value], path: &str, found: &mut Found) {
    let mut say = |message: String| found.push((path.to_owned(), message));
    let length = items.len() as u64;
    if let Some(least) = schema["minItems"].as_u64().filter(|least| length < *least) {
        say(format!("must have at least {least} items"));
    }
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| length > *most) {
        say(format!("must have at most {most} items"));
    }
    if schema["x-kubernetes-list-type"] == "map" {
        let keys: Vec<&str> =
            schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let identity: Vec<String> = keys.iter().map(|key| item[*key].to_string()).collect();
            if !seen.insert(identity) {
                found.push((format!("{path}[{index}]"), format!("another item has the same {}", keys.join(", "))));
            }
        }
    }
    for (index, item) in items.iter().enumerate() {
        check(&schema["items"], item, &format!("{path}[{index}]"), found);
    }
}

fn object(schema: &Value, fields: &Map<String, Value>, path: &str, found: &mut Found) {
    let mut say = |message: String| found.push((path.to_owned(), message));
    if let Some(most) = schema["maxProperties"].as_u64().filter(|most| fields.len() as u64 > *most) {
        say(format!("must have at most {most} entries"));
    }
    let properties = schema["properties"].as_object();
    let schema_of = |name: &str| properties.and_then(|p| p.get(name)).or_else(|| schema.get("additionalProperties"));
    // The server drops a null where none may be, as if the field were not there.
    let dropped =
        |name: &str, value: &Value| value.is_null() && schema_of(name).is_some_and(|schema| schema["nullable"] != true);
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if fields.get(required).is_none_or(|value| dropped(required, value)) {
            found.push((join(path, required), "is required".to_owned()));
        }
    }
    for (name, value) in fields.iter().filter(|(name, value)| !dropped(name, value)) {
        let field = join(path, name);
        match schema_of(name) {
            Some(schema) => check(schema, value, &field, found),
            // Part of every object, and judged apart.
            None if path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {}
            None => {
                let known = properties.into_iter().flatten().map(|(name, _)| name.as_str());
                found.push((field, format!("unknown field{}", crate::nearest::did_you_mean(name, known))));
            }
        }
    }
}
