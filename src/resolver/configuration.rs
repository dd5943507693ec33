//! What is asked for: a `SecretReference` file, or a plain `config.yaml` of typed entries.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use thiserror::Error;

use super::ValueKind;
use crate::{
    api::{DataEntry, SecretRef, SecretReference, SecretReferenceSpec, StoreRef},
    manifest::{self, Document},
    nearest::did_you_mean,
};

/// Keys, and where their values come from.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub(crate) place: String,
    pub(crate) object: Option<Box<SecretReference>>,
    pub(crate) spec: SecretReferenceSpec,
    pub(crate) kinds: BTreeMap<String, ValueKind>,
}

/// Why a file is no configuration. Nothing that stands in it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {what}")]
pub struct ConfigurationError {
    /// File and line.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Configuration {
    /// Reads a file: every `SecretReference` in it, or the entries of a `config.yaml`. Objects of other kinds are
    /// passed over.
    ///
    /// # Errors
    /// See [`ConfigurationError`].
    pub fn read(path: &Path) -> Result<Vec<Self>, ConfigurationError> {
        let place = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&place, &text),
            Err(error) => {
                let what = format!("cannot be read ({}): correct its path or its mode", error.kind());
                Err(ConfigurationError { place, what })
            }
        }
    }

    /// The same from a text; `place` stands in errors for the file.
    ///
    /// # Errors
    /// See [`ConfigurationError`].
    pub fn parse(place: &str, text: &str) -> Result<Vec<Self>, ConfigurationError> {
        let wrong = |line: usize, what: String| ConfigurationError { place: format!("{place}:{line}"), what };
        let documents = manifest::read(text).map_err(|found| wrong(found.line, found.message))?;
        let mut out = Vec::new();
        for document in &documents {
            if document.value.get("kind").is_none() && document.value.get("apiVersion").is_none() {
                out.push(Self::entries(place, document)?);
            } else if document.is_ours() && document.kind() == "SecretReference" {
                if let Some(found) = document.judge().first() {
                    return Err(wrong(found.line, format!("{}: {}", found.field, found.message)));
                }
                // The schema holds: what could still fail here is not the author's to mend.
                let mut value = document.value.clone();
                value.as_object_mut().map(|object| object.remove("status"));
                let object: SecretReference = serde_json::from_value(value)
                    .map_err(|_| wrong(document.line_of(""), "this SecretReference cannot be read".to_owned()))?;
                out.push(Self {
                    place: format!("{place}:{}", document.line_of("")),
                    spec: object.spec.clone(),
                    object: Some(Box::new(object)),
                    kinds: BTreeMap::new(),
                });
            }
        }
        if out.is_empty() {
            let what = "holds no SecretReference and no entries: name a file that does".to_owned();
            return Err(ConfigurationError { place: place.to_owned(), what });
        }
        Ok(out)
    }

    /// One secret by its bare name, without a file. A key in capitals (`DB_PASSWORD`) means the name `db-password`.
    pub fn bare(key: &str) -> Self {
        let screaming = key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let name = if screaming { key.to_ascii_lowercase().replace('_', "-") } else { key.to_owned() };
        let secret_ref = Some(SecretRef { name, ..SecretRef::default() });
        let data = vec![DataEntry { key: key.to_owned(), value: None, secret_ref }];
        Self { place: "the command line".to_owned(), object: None, spec: spec(data), kinds: BTreeMap::new() }
    }

    /// The organisation that the file claims.
    pub fn org(&self) -> Option<&str> {
        self.spec.org.as_deref()
    }

    /// The keys that it spells out, in its order; sources of many keys have more.
    pub fn keys(&self) -> Vec<&str> {
        let templates = self.spec.templates().map(|(key, _)| key);
        self.spec.data().iter().map(|entry| entry.key.as_str()).chain(templates).collect()
    }

    /// Whether more keys than [`Configuration::keys`] may come of it.
    pub fn has_more_keys(&self) -> bool {
        !self.spec.data_from().is_empty()
    }

    /// The local variables, without their scope, that more than one of its names would have.
    pub fn meeting(&self) -> Vec<String> {
        super::seeds::meeting(&self.spec).into_iter().collect()
    }

    fn entries(place: &str, document: &Document) -> Result<Self, ConfigurationError> {
        let wrong = |field: &str, what: String| {
            let line = document.line_of(field);
            ConfigurationError { place: format!("{place}:{line}"), what: format!("{field}: {what}") }
        };
        let Some(fields) = document.value.as_object() else {
            return Err(wrong("", "is no map of entries: write KEY: { string: TEXT }".to_owned()));
        };
        let mut data = Vec::new();
        let mut kinds = BTreeMap::new();
        for (key, value) in fields {
            crate::resolve::target_key(key).map_err(|what| wrong(key, what))?;
            let (kind, entry) = typed(key, value).map_err(|what| wrong(key, what))?;
            kinds.insert(key.clone(), kind);
            data.push(entry);
        }
        Ok(Self { place: place.to_owned(), object: None, spec: spec(data), kinds })
    }
}

fn spec(data: Vec<DataEntry>) -> SecretReferenceSpec {
    SecretReferenceSpec {
        store_ref: StoreRef { name: String::new(), kind: None },
        org: None,
        refresh_interval: None,
        stale_after: None,
        suspend: None,
        target: None,
        data: Some(data),
        data_from: None,
        rollout: None,
    }
}

const FORMS: &str = "write { string: .. }, { int: .. }, { bool: .. }, { json: .. } or { secret_ref: NAME }";

/// `KEY: 30`, `KEY: { int: 30 }` and `KEY: { type: int, value: 30 }` are the same.
fn typed(key: &str, value: &Value) -> Result<(ValueKind, DataEntry), String> {
    let Some(map) = value.as_object() else {
        let kind = match value {
            Value::String(_) => "string",
            Value::Number(n) if n.is_i64() || n.is_u64() => "int",
            Value::Bool(_) => "bool",
            _ => return Err(format!("has no type: {FORMS}")),
        };
        return one(key, kind, value);
    };
    if let Some(kind) = map.get("type").and_then(Value::as_str) {
        let mut rest = map.clone();
        rest.remove("type");
        if kind == "secret_ref" && !rest.contains_key("value") && !rest.contains_key("secret_ref") {
            return one(key, kind, &Value::Object(rest));
        }
        let given = rest.remove("value").or_else(|| rest.remove(kind));
        return match given {
            Some(given) if rest.is_empty() => one(key, kind, &given),
            _ => Err("type needs value beside it, and nothing else".to_owned()),
        };
    }
    let mut forms = map.iter();
    match (forms.next(), forms.next()) {
        (Some((kind, given)), None) => one(key, kind, given),
        _ => Err(format!("needs exactly one type: {FORMS}")),
    }
}

fn one(key: &str, kind: &str, given: &Value) -> Result<(ValueKind, DataEntry), String> {
    let plain = |kind, text: String| Ok((kind, DataEntry { key: key.to_owned(), value: Some(text), secret_ref: None }));
    match (kind, given) {
        ("string", Value::String(text)) => plain(ValueKind::String, text.clone()),
        ("int", Value::Number(n)) if n.is_i64() || n.is_u64() => plain(ValueKind::Int, n.to_string()),
        ("bool", Value::Bool(is)) => plain(ValueKind::Bool, is.to_string()),
        ("json", json) => plain(ValueKind::Json, json.to_string()),
        ("secret_ref", Value::String(name)) => {
            let secret_ref = Some(SecretRef { name: name.clone(), ..SecretRef::default() });
            Ok((ValueKind::Secret, DataEntry { key: key.to_owned(), value: None, secret_ref }))
        }
        ("secret_ref", Value::Object(fields)) => {
            const KNOWN: [&str; 7] = ["name", "property", "version", "scope", "optional", "allowEmpty", "decode"];
            if let Some(unknown) = fields.keys().find(|field| !KNOWN.contains(&field.as_str())) {
                return Err(format!("secret_ref has an unknown field{}", did_you_mean(unknown, KNOWN)));
            }
            let secret_ref: SecretRef = serde_json::from_value(given.clone())
                .map_err(|_| "secret_ref needs a name, and fields as those of a SecretReference".to_owned())?;
            Ok((ValueKind::Secret, DataEntry { key: key.to_owned(), value: None, secret_ref: Some(secret_ref) }))
        }
        ("string" | "int" | "bool" | "secret_ref", _) => Err(format!("is no {kind}: {FORMS}")),
        _ => Err(format!("has no such type: {FORMS}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plain(text: &str) -> Vec<(String, ValueKind, Option<String>)> {
        let config = Configuration::parse("config.yaml", text).unwrap().remove(0);
        let entries = config.spec.data().iter();
        entries.map(|e| (e.key.clone(), config.kinds[&e.key], e.value.clone())).collect()
    }

    #[test]
    fn typed_entries_in_each_of_their_forms() {
        let text = "A: text\nB: { int: 30 }\nC: { type: bool, value: true }\nD: { json: { b: [1, null], a: x } }\n\
                    E: { secret_ref: db-password }\nF: { secret_ref: { name: db, property: user } }\nG: 7\n\
                    H: { type: secret_ref, name: db }\nI: { type: secret_ref, value: db }\nJ: { string: \"7\" }\n";
        let some = |text: &str| Some(text.to_owned());
        let expected = [
            ("A", ValueKind::String, some("text")),
            ("B", ValueKind::Int, some("30")),
            ("C", ValueKind::Bool, some("true")),
            ("D", ValueKind::Json, some(r#"{"b":[1,null],"a":"x"}"#)),
            ("E", ValueKind::Secret, None),
            ("F", ValueKind::Secret, None),
            ("G", ValueKind::Int, some("7")),
            ("H", ValueKind::Secret, None),
            ("I", ValueKind::Secret, None),
            ("J", ValueKind::String, some("7")),
        ];
        let mut found = plain(text);
        for entry in &mut found {
            // Fields of a JSON value have no order.
            entry.2 = entry.2.take().map(|t| t.replace(r#"{"a":"x","b":[1,null]}"#, r#"{"b":[1,null],"a":"x"}"#));
        }
        found.sort();
        assert_eq!(found, expected.map(|(key, kind, value)| (key.to_owned(), kind, value)));
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_key_and_never_repeated() {
        for (text, line, part) in [
            ("A: { int: canary-1 }", 1, "no int"),
            ("A: 1\nB: { secret: canary-1 }", 2, "no such type"),
            ("A: [canary-1]", 1, "no type"),
            ("A: { int: 1, bool: true }", 1, "exactly one"),
            ("A: { secret_ref: { nmae: canary-1 } }", 1, "did you mean name?"),
            ("\n\nA B: canary-1", 3, "no valid Secret key"),
            ("apiVersion: v1\nkind: Secret\ndata: { a: canary-1 }", 0, "holds no SecretReference"),
        ] {
            let error = Configuration::parse("f.yaml", text).unwrap_err();
            assert!(error.what.contains(part) && !error.to_string().contains("canary"), "{text}: {error}");
            assert!(line == 0 || error.place == format!("f.yaml:{line}"), "{error}");
        }
    }

    #[test]
    fn a_bare_name_is_a_configuration_too() {
        let name = |key: &str| Configuration::bare(key).spec.data()[0].secret_ref.as_ref().unwrap().name.clone();
        assert_eq!(name("DB_PASSWORD"), "db-password");
        assert_eq!(name("db-password"), "db-password");
    }
}
