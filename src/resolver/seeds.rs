//! Local values become answers before any store is asked, so that the one resolution decides about them, too.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    LocalPlace, ResolveError,
    local::{LocalValues, spelled, variable},
};
use crate::{
    api::{EntryScope, Reason, Scope, SecretReferenceSpec},
    naming::{Owner, Scheme, StoreKey},
    resolve::{Answer, Answers, Read, Tenant, owners},
    secret::SecretValue,
    stores::{ChangeToken, Payload, Stored},
};

/// What is known before any store is asked.
#[derive(Default)]
pub(super) struct Seeds {
    pub(super) answers: Answers,
    /// Key of the configuration to where its value stands.
    pub(super) places: BTreeMap<String, LocalPlace>,
    /// Local store keys that belong into a listing.
    pub(super) listed: BTreeMap<Read, BTreeSet<StoreKey>>,
}

/// Looks for everything that the spec names; an entry whose value is local asks for that scope alone from now on.
pub(super) async fn plant(
    local: &LocalValues,
    spec: &mut SecretReferenceSpec,
    tenant: &Tenant,
    scheme: &Scheme,
) -> Result<Seeds, ResolveError> {
    let mut seeds = Seeds::default();
    let meeting = meeting(spec);
    for entry in spec.data.iter_mut().flatten() {
        let (name, scope) = match &entry.secret_ref {
            Some(secret) => (secret.name.clone(), secret.scope.unwrap_or_default()),
            None => (entry.key.clone(), Scope::OrgThenGlobal),
        };
        let Some((owner, value, place)) = first(local, tenant, scope, &name, &meeting).await? else { continue };
        match &mut entry.secret_ref {
            None => entry.value = Some(plain(&value, &place)?),
            Some(secret) => {
                if value.is_empty() && !secret.allow_empty.unwrap_or_default() {
                    let message = format!("{}: {place} is empty: give it a value, or remove the line", entry.key);
                    return Err(ResolveError::new(Reason::SecretEmpty, message));
                }
                secret.scope = Some(match owner.scope() {
                    EntryScope::Org => Scope::Org,
                    EntryScope::Global => Scope::Global,
                });
                if let Ok(key) = scheme.name(&name).and_then(|name| scheme.key(&owner, &name)) {
                    seeds.answers.insert(Read::Key(key, secret.version.clone()), present(value));
                }
            }
        }
        seeds.places.insert(entry.key.clone(), place);
    }
    let pinned: BTreeSet<String> = spec
        .data()
        .iter()
        .filter_map(|entry| entry.secret_ref.as_ref())
        .filter(|secret| secret.scope == Some(Scope::Org))
        .map(|secret| secret.name.clone())
        .collect();
    let extracted = spec.data_from().iter().filter_map(|source| source.extract.as_ref()).map(|e| e.name.clone());
    let mut wanted: BTreeSet<String> = extracted.collect();
    for find in spec.data_from().iter().filter_map(|source| source.find.as_ref()) {
        for owner in owners(tenant, Scope::OrgThenGlobal) {
            let read = Read::List(scheme.prefix(&owner, &find.prefix));
            for name in local.names(&owner, &find.prefix).await? {
                if let Ok(key) = scheme.name(&name).and_then(|name| scheme.key(&owner, &name)) {
                    seeds.listed.entry(read.clone()).or_default().insert(key);
                    wanted.insert(name);
                }
            }
        }
    }
    for name in wanted {
        let Some((found, value, place)) = first(local, tenant, Scope::OrgThenGlobal, &name, &meeting).await? else {
            continue;
        };
        for owner in owners(tenant, Scope::OrgThenGlobal) {
            let Ok(key) = scheme.name(&name).and_then(|name| scheme.key(&owner, &name)) else { continue };
            let read = Read::Key(key, None);
            if owner == found {
                seeds.answers.insert(read, present(value.clone()));
                break;
            }
            // The platform-wide local value wins over the store's own of the organisation.
            if !pinned.contains(&name) {
                seeds.answers.entry(read).or_insert(Answer::Absent);
            }
        }
        seeds.places.entry(name).or_insert(place);
    }
    Ok(seeds)
}

/// The first scope that has a local value.
async fn first(
    local: &LocalValues,
    tenant: &Tenant,
    scope: Scope,
    name: &str,
    meeting: &BTreeSet<String>,
) -> Result<Option<(Owner, SecretValue, LocalPlace)>, ResolveError> {
    for owner in owners(tenant, scope) {
        if let Some((value, place)) = local.find(&owner, name).await? {
            if meeting.contains(&spelled(name)) {
                let message = format!(
                    "two names of this configuration meet in {}: rename one of them, or remove the variable",
                    variable(&owner, name)
                );
                return Err(ResolveError::new(Reason::InvalidReference, message));
            }
            return Ok(Some((owner, value, place)));
        }
    }
    Ok(None)
}

/// The spellings that more than one name of the spec has.
pub(super) fn meeting(spec: &SecretReferenceSpec) -> BTreeSet<String> {
    let data = spec.data().iter().map(|entry| match &entry.secret_ref {
        Some(secret) => secret.name.as_str(),
        None => entry.key.as_str(),
    });
    let extracted = spec.data_from().iter().filter_map(|source| source.extract.as_ref()).map(|e| e.name.as_str());
    let names: BTreeSet<&str> = data.chain(extracted).collect();
    let mut once = BTreeSet::new();
    names.into_iter().map(spelled).filter(|spelling| !once.insert(spelling.clone())).collect()
}

fn plain(value: &SecretValue, place: &LocalPlace) -> Result<String, ResolveError> {
    value
        .expose_str()
        .map(str::to_owned)
        .ok_or_else(|| ResolveError::new(Reason::InvalidReference, format!("{place} is not text: write it as UTF-8")))
}

fn present(value: SecretValue) -> Answer {
    let stored =
        Stored { payload: Payload::Single(value), version: None, token: ChangeToken::new("local"), warning: None };
    Answer::Present(Some(stored.into()))
}
