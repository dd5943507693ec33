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

/// For the spec of a reference: the org is known there, and so is the prefix that a name must not carry.
pub(super) fn names_without_org() -> Rule {
    Rule::new(
        "!has(self.org) || \
         ((!has(self.data) || !self.data.exists(d, has(d.secretRef) && d.secretRef.name.startsWith(self.org + '/'))) && \
         (!has(self.dataFrom) || !self.dataFrom.exists(d, has(d.extract) && d.extract.name.startsWith(self.org + '/'))))",
    )
    .message("names must be bare: spec.org is put in front of them by the operator")
}

/// For the same: which of two texts a key holds must not be a guess.
pub(super) fn templates_add_keys() -> Rule {
    Rule::new(
        "!has(self.data) || !has(self.target) || !has(self.target.template) || \
         !self.data.exists(d, d.key in self.target.template.data)",
    )
    .message("spec.target.template.data adds keys: it must not have one that spec.data has, too")
    .field_path(".target.template.data")
}

/// For the same: the API server would refuse the Secret. What `dataFrom` yields, or what a Secret of others holds,
/// is not known here.
pub(super) fn required_keys() -> Rule {
    Rule::new(
        "!has(self.target) || !has(self.target.type) || has(self.dataFrom) || \
         (has(self.target.creationPolicy) && self.target.creationPolicy == 'Merge') || \
         [['kubernetes.io/tls', 'tls.crt'], ['kubernetes.io/tls', 'tls.key'], \
         ['kubernetes.io/ssh-auth', 'ssh-privatekey'], ['kubernetes.io/dockercfg', '.dockercfg'], \
         ['kubernetes.io/dockerconfigjson', '.dockerconfigjson']].all(t, \
         t[0] != self.target.type || (has(self.data) && self.data.exists(d, d.key == t[1])) || \
         (has(self.target.template) && t[1] in self.target.template.data))",
    )
    .message(
        "spec.target.type: its keys are missing from spec.data (kubernetes.io/tls: tls.crt and tls.key; \
         ssh-auth: ssh-privatekey; dockerconfigjson: .dockerconfigjson; dockercfg: .dockercfg)",
    )
    .field_path(".target.type")
}

/// The same for the one type that asks for either of two keys.
pub(super) fn required_basic_auth() -> Rule {
    Rule::new(
        "!has(self.target) || !has(self.target.type) || self.target.type != 'kubernetes.io/basic-auth' || \
         has(self.dataFrom) || (has(self.target.creationPolicy) && self.target.creationPolicy == 'Merge') || \
         ['username', 'password'].exists(k, (has(self.data) && self.data.exists(d, d.key == k)) || \
         (has(self.target.template) && k in self.target.template.data))",
    )
    .message("spec.target.type kubernetes.io/basic-auth needs the key username or password in spec.data")
    .field_path(".target.type")
}

/// For the audiences of a token that leaves the cluster: one that the API server takes would be a login there.
pub(super) fn foreign_audiences() -> Rule {
    Rule::new("!self.exists(a, a.matches('^(https?://)?kubernetes([.]default([.]svc.*)?)?(:[0-9]+)?/?$'))")
        .message("audiences must not name the API server: the token would be a login there")
}
