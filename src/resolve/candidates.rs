//! Where each entry of a spec is looked for, in the order of the scopes.

use super::{Read, Tenant, locate::owners};
use crate::{
    api::{Scope, SecretRef, SecretReferenceSpec},
    naming::Scheme,
};

/// The places of one secret, in order. A name that breaks the rules has none.
pub fn of(secret: &SecretRef, tenant: &Tenant, scheme: &Scheme) -> Vec<Read> {
    let name = scheme.name(&secret.name);
    let owners = owners(tenant, secret.scope.unwrap_or_default());
    let keys = owners.iter().filter_map(|owner| scheme.key(owner, name.as_ref().ok()?).ok());
    keys.map(|key| Read::Key(key, secret.version.clone())).collect()
}

/// Every entry that is not plain, with its places: `data` by its key, `dataFrom[0].extract` and `dataFrom[0].find`.
pub fn all(spec: &SecretReferenceSpec, tenant: &Tenant, scheme: &Scheme) -> Vec<(String, Vec<Read>)> {
    let named = spec.data().iter().filter_map(|entry| Some((entry.key.clone(), entry.secret_ref.as_ref()?)));
    let mut all: Vec<_> = named.map(|(key, secret)| (key, of(secret, tenant, scheme))).collect();
    for (index, source) in spec.data_from().iter().enumerate() {
        if let Some(extract) = &source.extract {
            let secret = SecretRef { name: extract.name.clone(), ..SecretRef::default() };
            all.push((format!("dataFrom[{index}].extract"), of(&secret, tenant, scheme)));
        }
        if let Some(find) = &source.find {
            let owners = owners(tenant, Scope::OrgThenGlobal);
            let lists = owners.iter().map(|owner| Read::List(scheme.prefix(owner, &find.prefix)));
            all.push((format!("dataFrom[{index}].find"), lists.collect()));
        }
    }
    all
}
