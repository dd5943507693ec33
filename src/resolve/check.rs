//! What can be wrong with a spec before any store is asked: `InvalidReference`.

use std::collections::BTreeMap;

use super::{Problem, Tenant, locate::owners, template};
use crate::{
    api::{Reason, Scope, SecretReferenceSpec},
    naming::Scheme,
    secret::SecretValue,
};

/// What the platform allows targets to be.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Target types besides the built-in ones.
    pub target_types: Vec<String>,
    /// Prefixes of labels and annotations that references must not set.
    pub refused_prefixes: Vec<String>,
}

/// Target types that anyone may write, and the keys that the API server demands of them.
const TYPES: [(&str, &[&str]); 6] = [
    ("Opaque", &[]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/basic-auth", &[]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];

/// Types that grant rights: never, whatever a flag says.
const NEVER: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Label and annotation prefixes that are nobody's to set through a reference.
const RESERVED: [&str; 3] = ["secretref.dev", "kubernetes.io", "k8s.io"];

/// Checks a spec for one store and one namespace.
///
/// # Errors
/// `InvalidReference` with the field that cannot be right.
pub fn check(spec: &SecretReferenceSpec, tenant: &Tenant, scheme: &Scheme, policy: &Policy) -> Result<(), Problem> {
    let invalid = |message: String| Problem::new(Reason::InvalidReference, message);
    target_type(spec, policy).map_err(invalid)?;
    target_metadata(spec, policy).map_err(invalid)?;
    for entry in spec.data() {
        target_key(&entry.key).map_err(|what| invalid(format!("spec.data: a key {what}")))?;
        if entry.value.is_some() == entry.secret_ref.is_some() {
            return Err(invalid(format!("spec.data[{}]: exactly one of value and secretRef is needed", entry.key)));
        }
        if let Some(secret) = &entry.secret_ref {
            let field = format!("spec.data[{}].secretRef", entry.key);
            let scope = secret.scope.unwrap_or_default();
            if secret.version.is_some() && scope == Scope::OrgThenGlobal {
                return Err(invalid(format!("{field}: a pinned version needs scope: Org or scope: Global")));
            }
            if scope == Scope::Org && tenant.org.is_none() {
                let message = format!("{field}: scope Org, but the namespace is bound to no organisation");
                return Err(Problem::new(Reason::OrgNotBound, message));
            }
            name(&field, &secret.name, scope, tenant, scheme)?;
        }
    }
    for (index, source) in spec.data_from().iter().enumerate() {
        if let Some(extract) = &source.extract {
            name(&format!("spec.dataFrom[{index}].extract"), &extract.name, Scope::OrgThenGlobal, tenant, scheme)?;
        }
    }
    for (key, text) in spec.templates() {
        target_key(key).map_err(|what| invalid(format!("spec.target.template.data: a key {what}")))?;
        if spec.data().iter().any(|d| d.key == key) {
            return Err(invalid(format!("spec.target.template.data[{key}]: spec.data has this key, too")));
        }
        template::check(text).map_err(|what| {
            let message = format!("spec.target.template.data[{key}]: {what}; mend the template");
            Problem::new(Reason::TemplateError, message)
        })?;
    }
    Ok(())
}

/// What the API server takes as a key of a Secret.
pub fn target_key(key: &str) -> Result<(), String> {
    let valid = !key.is_empty()
        && key.len() <= 253
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && key != "."
        && !key.starts_with("..");
    if valid {
        Ok(())
    } else {
        Err("is no valid Secret key (letters, digits, '-', '_' and '.', at most 253)".to_owned())
    }
}

/// Checks that the data has the keys that its type demands.
///
/// # Errors
/// The key that is missing.
pub fn required_keys<V>(target_type: &str, data: &BTreeMap<String, V>) -> Result<(), String> {
    let required = TYPES.iter().find(|(t, _)| *t == target_type).map(|(_, keys)| *keys).unwrap_or_default();
    if let Some(missing) = required.iter().find(|k| !data.contains_key(**k)) {
        return Err(format!("spec.target.type {target_type} needs the key {missing}: add it to spec.data"));
    }
    if target_type == "kubernetes.io/basic-auth" && !data.contains_key("username") && !data.contains_key("password") {
        let what = "spec.target.type kubernetes.io/basic-auth needs the key username or password: add one to spec.data";
        return Err(what.to_owned());
    }
    Ok(())
}

/// The most that a Secret can hold, in bytes of data.
const MAX_SECRET_BYTES: usize = 1 << 20;

/// Checks that what was resolved makes a Secret: the keys of its type, and its size.
///
/// # Errors
/// `InvalidReference` or `TargetRejected`.
pub fn deliverable(spec: &SecretReferenceSpec, data: &BTreeMap<String, SecretValue>) -> Result<(), Problem> {
    required_keys(spec.target_type(), data).map_err(|what| Problem::new(Reason::InvalidReference, what))?;
    let bytes: usize = data.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > MAX_SECRET_BYTES {
        let message =
            format!("the target would hold {bytes} bytes, more than the 1 MiB of a Secret: split the reference");
        return Err(Problem::new(Reason::TargetRejected, message));
    }
    Ok(())
}

fn name(field: &str, text: &str, scope: Scope, tenant: &Tenant, scheme: &Scheme) -> Result<(), Problem> {
    let field = format!("{field}.name");
    let name = scheme.name(text).map_err(|e| Problem::name(&field, e))?;
    for owner in owners(tenant, scope) {
        scheme.key(&owner, &name).map_err(|e| Problem::name(&field, e))?;
    }
    Ok(())
}

fn target_type(spec: &SecretReferenceSpec, policy: &Policy) -> Result<(), String> {
    let wanted = spec.target_type();
    let known = TYPES.iter().any(|(t, _)| *t == wanted) || policy.target_types.iter().any(|t| t == wanted);
    if NEVER.contains(&wanted) || !known {
        return Err(format!(
            "spec.target.type: {wanted} is not allowed here; the platform can allow it with --target-type"
        ));
    }
    Ok(())
}

fn target_metadata(spec: &SecretReferenceSpec, policy: &Policy) -> Result<(), String> {
    let Some(metadata) = spec.target.as_ref().and_then(|t| t.metadata.as_ref()) else { return Ok(()) };
    for (field, map) in [("labels", &metadata.labels), ("annotations", &metadata.annotations)] {
        for key in map.iter().flat_map(|m| m.keys()) {
            let domain = key.split_once('/').map_or("", |(domain, _)| domain);
            let reserved =
                RESERVED.iter().any(|r| domain == *r || domain.strip_suffix(r).is_some_and(|d| d.ends_with('.')));
            if reserved || policy.refused_prefixes.iter().any(|p| key.starts_with(p.as_str())) {
                return Err(format!("spec.target.metadata.{field}: {key} is not a reference's to set"));
            }
        }
    }
    Ok(())
}
