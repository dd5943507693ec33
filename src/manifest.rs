//! Manifests as the API server judges them, without one: the definitions' own schema and rules, evaluated here.
//!
//! A finding names its field and its line, and never repeats what stands there: a value may have got into the wrong
//! place.

mod metadata;
mod schema;
mod yaml;

use std::{collections::BTreeMap, sync::OnceLock};

use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde::Serialize;
use serde_json::Value;

pub use yaml::{Document, read};

use crate::api;

/// Something that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The field: `spec.data[0].secretRef.name`.
    pub field: String,
    /// What is wrong, and what is right instead.
    pub message: String,
    /// The line in its file.
    pub line: usize,
}

/// One definition, ready to judge by.
struct Judge {
    schema: Value,
    rules: CompiledSchema,
}

impl Document {
    /// Whether it is of one of this product's kinds.
    pub fn is_ours(&self) -> bool {
        let group = self.value["apiVersion"].as_str().unwrap_or_default();
        group.split_once('/').is_some_and(|(group, _)| group == api::GROUP)
            || (group.is_empty() && judges().contains_key(self.kind()))
    }

    /// What the API server would refuse; nothing: it would take it.
    pub fn judge(&self) -> Vec<Finding> {
        let finding = |(field, message): (String, String)| Finding { line: self.line_of(&field), field, message };
        let version = format!("{}/v1alpha1", api::GROUP);
        if self.value["apiVersion"] != version.as_str() {
            return vec![finding(("apiVersion".into(), format!("must be {version}")))];
        }
        let Some(judge) = judges().get(self.kind()) else {
            let kinds = judges().keys().copied().collect::<Vec<_>>().join(", ");
            return vec![finding(("kind".into(), format!("there is no such kind in {version}: {kinds}")))];
        };
        let mut found = Vec::new();
        metadata::check(&self.value["metadata"], self.kind() != "ClusterSecretStore", &mut found);
        schema::check(&judge.schema, &self.value, "", &mut found);
        // Rules stand on a schema that holds, for the API server, too.
        if found.is_empty() {
            found = rules(judge, &self.value);
        }
        let mut found: Vec<Finding> = found.into_iter().map(finding).collect();
        found.sort_by_key(|f| f.line);
        found
    }
}

fn rules(judge: &Judge, object: &Value) -> Vec<(String, String)> {
    let mut object = object.clone();
    // What a manifest says of the status does not count; the server begins with the default.
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    drop_nulls(&mut object);
    let errors = Validator::new().validate_compiled(&judge.rules, &object, None);
    errors
        .err()
        .map(|errors| errors.into_vec())
        .unwrap_or_default()
        .into_iter()
        .map(|error| {
            let message = match error.kind {
                ErrorKind::ValidationFailure => error.message,
                // Its text may quote what it stumbled over.
                _ => "cannot be judged: a rule of the definition does not take it".to_owned(),
            };
            (error.field_path, message)
        })
        .collect()
}

/// To a rule, what is null is not there.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// By kind; compiled once.
fn judges() -> &'static BTreeMap<&'static str, Judge> {
    static JUDGES: OnceLock<BTreeMap<&'static str, Judge>> = OnceLock::new();
    JUDGES.get_or_init(|| {
        let crds = api::crds().unwrap_or_default();
        let judge = |crd: &Value| {
            let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default();
            Judge { rules: compile_schema(&schema), schema }
        };
        let kind = |plural| match plural {
            "secretreferences" => "SecretReference",
            "secretstores" => "SecretStore",
            _ => "ClusterSecretStore",
        };
        crds.iter().map(|(plural, crd)| (kind(*plural), judge(crd))).collect()
    })
}

#[cfg(test)]
#[path = "manifest/fuzz.rs"]
mod fuzz;
#[cfg(test)]
#[path = "manifest/tests.rs"]
mod tests;
