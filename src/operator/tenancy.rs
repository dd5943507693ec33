//! The platform binds the org, not the tenant.

use std::collections::BTreeMap;

use crate::{
    api::{OnRevoke, Reason, SecretReferenceSpec, Tenancy},
    naming::Org,
    resolve::{Problem, Tenant},
};

/// What a store's tenancy makes of a namespace.
///
/// # Errors
/// `StoreNotFound` when the store does not admit the namespace (the same answer as for a store that does not exist),
/// `OrgNotBound`, `OrgMismatch`.
pub fn bind(
    tenancy: &Tenancy,
    labels: &BTreeMap<String, String>,
    spec: &SecretReferenceSpec,
    store: &str,
) -> Result<Tenant, Problem> {
    if !tenancy.selects(labels) {
        return Err(store_not_found(store));
    }
    let global = tenancy.allow_global.unwrap_or(true);
    let bound = match tenancy.fixed_org() {
        Some(org) => Some(org),
        None => labels.get(tenancy.label()).map(String::as_str).filter(|l| !l.is_empty()),
    };
    let org = bound.map(Org::new).transpose().map_err(|error| {
        let message = format!("the namespace's label {} names no organisation: {error}", tenancy.label());
        Problem::new(Reason::OrgNotBound, message)
    })?;
    let tenant = match org {
        Some(org) => Tenant { org: Some(org), global },
        None if tenancy.allow_unbound.unwrap_or_default() => Tenant { org: None, global: true },
        None => {
            let label = tenancy.label();
            let message =
                format!("the namespace is bound to no organisation: ask the platform team to set its label {label}");
            return Err(Problem::new(Reason::OrgNotBound, message));
        }
    };
    match (&spec.org, &tenant.org) {
        (Some(claimed), Some(bound)) if claimed != bound.as_str() => Err(Problem::new(
            Reason::OrgMismatch,
            format!(
                "spec.org is not the organisation of this namespace, which is {bound}: drop spec.org or correct it"
            ),
        )),
        (Some(_), None) => Err(Problem::new(
            Reason::OrgMismatch,
            "spec.org names an organisation, but the namespace is bound to none: drop spec.org",
        )),
        _ => Ok(tenant),
    }
}

/// A store that is missing and one that does not admit the namespace give one answer.
pub fn store_not_found(store: &str) -> Problem {
    let message = format!(
        "{store} does not exist or does not admit this namespace: check spec.storeRef, or ask the platform team"
    );
    Problem::new(Reason::StoreNotFound, message)
}

/// What a store says about targets of a namespace that lost it.
pub fn on_revoke(tenancy: Option<&Tenancy>) -> OnRevoke {
    tenancy.and_then(|t| t.on_revoke).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn case(tenancy: &str, labels: &[(&str, &str)], org: Option<&str>) -> Result<(Option<String>, bool), Reason> {
        let tenancy: Tenancy = serde_saphyr::from_str(tenancy).unwrap();
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let org = org.map(|o| format!("org: {o}")).unwrap_or_default();
        let spec = serde_saphyr::from_str(&format!("storeRef: {{ name: s }}\n{org}")).unwrap();
        match bind(&tenancy, &labels, &spec, "ClusterSecretStore s") {
            Ok(t) => Ok((t.org.map(|o| o.to_string()), t.global)),
            Err(p) => Err(p.reason),
        }
    }

    #[test]
    fn the_platform_decides() {
        let acme = &[("secretref.dev/org", "acme")][..];
        let some = |o: &str, g| Ok((Some(o.to_owned()), g));
        assert_eq!(case("{}", acme, None), some("acme", true));
        assert_eq!(case("{}", acme, Some("acme")), some("acme", true));
        assert_eq!(case("{}", acme, Some("beta")), Err(Reason::OrgMismatch));
        assert_eq!(case("{}", &[], None), Err(Reason::OrgNotBound));
        assert_eq!(case("{}", &[("secretref.dev/org", "GLOBAL")], None), Err(Reason::OrgNotBound));
        assert_eq!(case("{}", &[("secretref.dev/org", "global")], None), Err(Reason::OrgNotBound));
        assert_eq!(case("{}", &[("secretref.dev/org", "")], None), Err(Reason::OrgNotBound));
        assert_eq!(case("allowUnbound: true", &[], None), Ok((None, true)));
        assert_eq!(case("allowUnbound: true", &[], Some("acme")), Err(Reason::OrgMismatch));
        assert_eq!(case("allowGlobal: false", acme, None), some("acme", false));
        assert_eq!(case("orgFrom: { namespaceLabel: team }", &[("team", "x")], None), some("x", true));
        let fixed = "{ orgFrom: { org: acme }, namespaceSelector: { matchLabels: { a: b } } }";
        assert_eq!(case(fixed, &[("a", "b")], None), some("acme", true));
        assert_eq!(case(fixed, acme, None), Err(Reason::StoreNotFound));
        let expr = "namespaceSelector: { matchExpressions: [{ key: env, operator: In, values: [prod] }, { key: x, operator: DoesNotExist }] }";
        assert_eq!(case(expr, &[("env", "prod"), ("secretref.dev/org", "acme")], None), some("acme", true));
        assert_eq!(
            case(expr, &[("env", "prod"), ("x", ""), ("secretref.dev/org", "acme")], None),
            Err(Reason::StoreNotFound)
        );
    }
}
