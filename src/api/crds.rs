//! The custom resource definitions, as `secretref crds` prints them and as `crds/` holds them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{ClusterSecretStore, SecretReference, SecretStore};

/// File stem under `crds/` and definition, for every kind.
///
/// # Errors
/// When a definition cannot be expressed as JSON, which would be a bug in this crate.
pub fn all() -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
    Ok(vec![
        ("secretreferences", finish(SecretReference::crd())?),
        ("secretstores", narrow(finish(SecretStore::crd())?)),
        ("clustersecretstores", widen(finish(ClusterSecretStore::crd())?)),
    ])
}

/// One YAML document.
///
/// # Errors
/// When the value cannot be written as YAML.
pub fn to_yaml(crd: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

/// What the derive cannot say: a status default, so that kstatus does not call an object without status Current.
fn finish(crd: CustomResourceDefinition) -> Result<Value, serde_json::Error> {
    let mut crd = serde_json::to_value(crd)?;
    if let Some(status) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status") {
        status["default"] = json!({ "observedGeneration": -1 });
        if let Some(status) = status.as_object_mut() {
            status.remove("nullable");
        }
    }
    bound_conditions(&mut crd);
    Ok(crd)
}

/// Condition texts come from an upstream type without maxima; without them CEL costs cannot be estimated.
fn bound_conditions(crd: &mut Value) {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions/items/properties";
    if let Some(properties) = crd.pointer_mut(path) {
        for (field, max) in [("type", 316), ("status", 16), ("reason", 1024), ("message", 32768)] {
            properties[field]["maxLength"] = json!(max);
        }
    }
}

/// The platform's store has no namespace of its own: every reference names one, and the only identity is the operator's.
fn widen(mut crd: Value) -> Value {
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    if let Some(provider) = crd.pointer_mut(&format!("{spec}/provider")) {
        for parent in ["secretRef", "caRef", "kubernetes"] {
            require_property(provider, parent, "namespace");
        }
        refuse_service_accounts(provider);
    }
    if let Some(selector) = crd.pointer_mut(&format!("{spec}/tenancy/properties/namespaceSelector/properties")) {
        bound_selector(selector);
    }
    crd
}

/// Makes `child` required in every object that is called `parent` and has it.
fn require_property(schema: &mut Value, parent: &str, child: &str) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, inner) in properties.iter_mut() {
        if name == parent && inner.pointer(&format!("/properties/{child}")).is_some() {
            let mut required = inner.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            required.push(json!(child));
            inner["required"] = json!(required);
        }
        require_property(inner, parent, child);
    }
}

/// Left out of the schema, it would be pruned in silence, and the operator's own identity used in its place.
fn refuse_service_accounts(schema: &mut Value) {
    if schema.pointer("/properties/serviceAccountRef").is_some() {
        let mut rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).cloned().unwrap_or_default();
        rules.push(json!({
            "rule": "!has(self.serviceAccountRef)",
            "message": "serviceAccountRef is for a SecretStore: a ClusterSecretStore uses the operator's own ServiceAccount",
            "fieldPath": ".serviceAccountRef",
        }));
        schema["x-kubernetes-validations"] = json!(rules);
    }
    for inner in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(|p| p.values_mut()) {
        refuse_service_accounts(inner);
    }
}

/// The upstream type has neither maxima nor the checks that the API server makes for selectors of its own.
fn bound_selector(selector: &mut Value) {
    let value = json!({ "type": "string", "maxLength": 63 });
    selector["matchLabels"]["maxProperties"] = json!(64);
    selector["matchLabels"]["additionalProperties"] = value.clone();
    let expressions = &mut selector["matchExpressions"];
    expressions["maxItems"] = json!(64);
    let one = &mut expressions["items"];
    one["properties"]["key"]["maxLength"] = json!(317);
    one["properties"]["operator"]["enum"] = json!(["In", "NotIn", "Exists", "DoesNotExist"]);
    one["properties"]["values"]["maxItems"] = json!(256);
    one["properties"]["values"]["items"] = value;
    one["x-kubernetes-validations"] = json!([{
        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        "message": "values are needed for In and NotIn, and not allowed for Exists and DoesNotExist",
        "fieldPath": ".values",
    }]);
}

/// A tenant's store takes credentials, CA and Secrets of its own namespace only, and none of the operator's identities.
fn narrow(mut crd: Value) -> Value {
    if let Some(spec) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/provider") {
        drop_property(spec, "secretRef", "namespace");
        drop_property(spec, "caRef", "namespace");
        drop_property(spec, "kubernetes", "namespace");
        drop_property(spec, "auth", "managedIdentity");
        drop_property(spec, "auth", "developerTools");
        replace_rules(spec);
    }
    crd
}

/// Removes `child` from the properties of every object that is called `parent`.
fn drop_property(schema: &mut Value, parent: &str, child: &str) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, inner) in properties.iter_mut() {
        if name == parent
            && let Some(fields) = inner.get_mut("properties").and_then(Value::as_object_mut)
        {
            fields.remove(child);
        }
        drop_property(inner, parent, child);
    }
}

/// Rules that name a dropped property would not compile.
fn replace_rules(schema: &mut Value) {
    let Some(azure) = schema.pointer_mut("/properties/azureKeyVault/properties/auth") else { return };
    azure["x-kubernetes-validations"] = json!([{
        "rule": "has(self.workloadIdentity) ? !has(self.clientSecret) && has(self.workloadIdentity.serviceAccountRef) : has(self.clientSecret)",
        "message": "exactly one of workloadIdentity (with serviceAccountRef) and clientSecret is needed",
    }]);
}
