//! Scope fallback: only a certain "not found" leads from the organisation to the platform-wide scope.

use std::{collections::BTreeSet, sync::Arc};

use super::{Answer, Answers, Read, Tenant};
use crate::{
    api::Scope,
    naming::{Name, NameError, Owner, Scheme, StoreKey},
    stores::{StoreError, Stored},
};

/// Where a name is.
#[derive(Debug)]
pub enum Located {
    /// Here; without the value where only its presence is known.
    At(Owner, Option<Arc<Stored>>),
    /// In none of these.
    Nowhere(Vec<StoreKey>),
    /// This has to be known first.
    Ask(Read),
    /// This key could not be read: an error never falls back.
    Failed(StoreKey, StoreError),
}

/// The scopes that a namespace may use for a name, in order.
pub fn owners(tenant: &Tenant, scope: Scope) -> Vec<Owner> {
    let org = (scope != Scope::Global).then(|| tenant.org.clone().map(Owner::Org)).flatten();
    let global = (scope != Scope::Org && tenant.global).then_some(Owner::Global);
    org.into_iter().chain(global).collect()
}

/// Tries the owners in order.
pub fn locate(
    owners: &[Owner],
    name: &Name,
    version: Option<&str>,
    scheme: &Scheme,
    answers: &Answers,
    used: &mut BTreeSet<Read>,
) -> Result<Located, NameError> {
    let keys = owners.iter().map(|o| scheme.key(o, name)).collect::<Result<Vec<_>, _>>()?;
    for (owner, key) in owners.iter().zip(&keys) {
        let read = Read::Key(key.clone(), version.map(str::to_owned));
        used.insert(read.clone());
        match answers.get(&read) {
            Some(Answer::Present(stored)) => return Ok(Located::At(owner.clone(), stored.clone())),
            Some(Answer::Absent) => {}
            Some(Answer::Failed(error)) => return Ok(Located::Failed(key.clone(), error.clone())),
            Some(Answer::Listed(_)) | None => return Ok(Located::Ask(read)),
        }
    }
    Ok(Located::Nowhere(keys))
}
