//! CEL rules that several types share. Each message says what is wrong in the user's words:
//! the pattern beside it only says that something is.

use kube::core::Rule;

/// For a bare name: what people get wrong most often.
pub(super) fn bare_name() -> Rule {
    Rule::new(
        "!self.contains('--') && !self.startsWith('-') && !self.endsWith('-') && \
         !self.split('/').exists(s, s == '.' || s == '..') && !self.lowerAscii().startsWith('global/')",
    )
    .message("name must be a bare name: no scope in front, no '--', no '-' at either end, no '.' or '..' segment")
}

/// For the start of bare names.
pub(super) fn bare_prefix() -> Rule {
    Rule::new(
        "!self.contains('--') && !self.startsWith('-') && \
         !self.split('/').exists(s, s == '.' || s == '..') && !self.lowerAscii().startsWith('global/')",
    )
    .message("prefix must be the start of bare names: no scope in front, no '--', no '.' or '..' segment")
}

/// For a path of folders: no way up.
pub(super) fn no_dots(field: &str) -> Rule {
    Rule::new("!self.split('/').exists(s, s == '.' || s == '..')")
        .message(format!("{field} must not have '.' or '..' segments").as_str())
}

/// For a map whose keys become keys of a Secret.
pub(super) fn secret_keys(field: &str) -> Rule {
    Rule::new("self.all(k, size(k) <= 253 && k.matches('^[-._a-zA-Z0-9]+$') && k != '.' && !k.startsWith('..'))")
        .message(
            format!("every key of {field} must consist of letters, digits, '-', '_' and '.', and not start with '..'")
                .as_str(),
        )
}

/// For a map whose keys become labels or annotations.
pub(super) fn qualified_keys(field: &str) -> Rule {
    Rule::new(
        "self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
    )
    .message(format!("every key of {field} must be a qualified name such as example.com/team").as_str())
}

/// For the same: what Kubernetes and this operator act upon is not for tenants to set.
pub(super) fn free_prefixes(field: &str) -> Rule {
    Rule::new("!self.exists(k, k.matches('^([^/]*[.])?(secretref[.]dev|kubernetes[.]io|k8s[.]io)/'))")
        .message(format!("{field} must not have keys under secretref.dev, kubernetes.io or k8s.io").as_str())
}

/// For the audiences of a token that leaves the cluster: one that the API server takes would be a login there.
pub(super) fn foreign_audiences() -> Rule {
    Rule::new("!self.exists(a, a.matches('^(https?://)?kubernetes([.]default([.]svc.*)?)?(:[0-9]+)?/?$'))")
        .message("audiences must not name the API server: the token would be a login there")
}
