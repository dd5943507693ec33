//! The plan: a pure function of what was observed.
//!
//! [`gate`] is a chain of named checks that need no store; its first failure is the condition's reason and message.
//! [`plan`] decides what to do with what was resolved. Neither asks anything, and neither has a clock.

use std::collections::BTreeMap;

use super::{
    model::Reference,
    stamp::{Fingerprints, Sources, Stamp, annotation},
    target::{Desired, Ownership, Precondition, TargetMeta},
    tenancy,
};
use crate::{
    api::{
        CreationPolicy, DeletionPolicy, OnRevoke, Reason, Restart, SecretReferenceSpec, SecretReferenceStatus, Tenancy,
    },
    naming::{Owner, Scheme, StoreKey},
    refresh::State,
    resolve::{self, Policy, Problem, Read, Resolved, Tenant},
};

/// All that is known of one reference.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The reference.
    pub reference: &'a Reference,
    /// Its spec.
    pub spec: &'a SecretReferenceSpec,
    /// Its status, for what has to be carried on.
    pub status: &'a SecretReferenceStatus,
    /// Labels of its namespace.
    pub labels: &'a BTreeMap<String, String>,
    /// The store that it names.
    pub store: StoreSeen<'a>,
    /// The Secret of the target's name, if it is one that we wrote.
    pub target: Option<&'a TargetMeta>,
    /// What the platform allows.
    pub policy: &'a Policy,
    /// The installation's fingerprints.
    pub prints: &'a Fingerprints,
}

/// What there is of a store.
#[derive(Clone, Copy, Debug)]
pub enum StoreSeen<'a> {
    /// No object of this name.
    Missing,
    /// An object.
    Found {
        /// Whom it admits; a tenant's store admits its namespace.
        tenancy: &'a Tenancy,
        /// How it spells keys.
        scheme: &'a Scheme,
        /// Why it cannot be asked at all.
        blocked: Option<&'a Problem>,
    },
}

/// What to do with the target.
#[derive(Debug)]
pub enum Action {
    /// Apply this.
    Write(Box<Write>),
    /// Nothing: it is what it should be.
    InSync(Resolved),
    /// Nothing: this is why.
    Leave(Problem),
    /// Take it away: the namespace lost its right to it, and the store says so.
    Revoke(Problem),
}

/// One apply.
#[derive(Debug)]
pub struct Write {
    /// The content.
    pub desired: Desired,
    /// Its mark.
    pub stamp: Stamp,
    /// What must be found.
    pub precondition: Precondition,
    /// Whose the Secret is.
    pub policy: CreationPolicy,
    /// Where the values came from.
    pub resolved: Resolved,
    /// The values differ from what workloads see now, and they asked to be restarted.
    pub restart: bool,
    /// The values differ from those in place (or there were none).
    pub changes_values: bool,
}

/// The checks that need no store, in order.
///
/// # Errors
/// The first that fails.
pub fn gate<'a>(o: &Observed<'a>) -> Result<(Tenant, &'a Scheme), Problem> {
    not_suspended(o)?;
    let (tenancy, scheme, blocked) = store_exists(o)?;
    let tenant = tenancy::bind(tenancy, o.labels, o.spec, &o.reference.store.to_string())?;
    resolve::check(o.spec, &tenant, scheme, o.policy)?;
    blocked.map_or(Ok(()), |problem| Err(problem.clone()))?;
    Ok((tenant, scheme))
}

fn not_suspended(o: &Observed<'_>) -> Result<(), Problem> {
    if o.spec.is_suspended() {
        return Err(Problem::new(Reason::Suspended, "spec.suspend is true: set it to false to sync again"));
    }
    Ok(())
}

fn store_exists<'a>(o: &Observed<'a>) -> Result<(&'a Tenancy, &'a Scheme, Option<&'a Problem>), Problem> {
    match o.store {
        StoreSeen::Found { tenancy, scheme, blocked } => Ok((tenancy, scheme, blocked)),
        StoreSeen::Missing => Err(tenancy::store_not_found(&o.reference.store.to_string())),
    }
}

/// The organisation whose values the target holds is not the one that is bound now.
pub fn org_changed(o: &Observed<'_>, tenant: &Tenant) -> Option<Stamp> {
    let stamp = o.target?.stamp(&o.reference.key.name)?;
    (stamp.uid == *o.reference.uid && stamp.org.as_deref() != tenant.org.as_ref().map(|o| o.as_str())).then_some(stamp)
}

/// What follows from a problem that came before any store was asked. Values of another organisation than the one that
/// is bound now are told, whatever else is wrong: else they would stay behind a `Ready` of the new one.
pub fn halt(o: &Observed<'_>, problem: Problem) -> Action {
    let StoreSeen::Found { tenancy, .. } = o.store else { return Action::Leave(problem) };
    if problem.reason == Reason::Suspended {
        return Action::Leave(problem);
    }
    let unclaimed = SecretReferenceSpec { org: None, ..o.spec.clone() };
    let bound = tenancy::bind(tenancy, o.labels, &unclaimed, "").ok();
    let changed_from = bound.as_ref().and_then(|tenant| Some((org_changed(o, tenant)?, tenant)));
    // Not the reason: a spec may say OrgNotBound of itself, and loses nothing by that.
    let lost = changed_from.is_some() || bound.is_none();
    let problem = match changed_from {
        Some((stamp, tenant)) if problem.reason != Reason::OrgMismatch => changed(&stamp, tenant, Some(&problem)),
        _ => problem,
    };
    revoke_or_leave(o, problem, lost && tenancy::on_revoke(Some(tenancy)) == OnRevoke::Delete)
}

fn revoke_or_leave(o: &Observed<'_>, problem: Problem, revoke: bool) -> Action {
    let ours = o.target.is_some_and(|t| {
        let policy = o.spec.creation_policy();
        t.is_stamped(&o.reference.key.name) && t.ownership(o.reference, policy) == Ownership::Ours
    });
    if revoke && ours { Action::Revoke(problem) } else { Action::Leave(problem) }
}

/// Organisation keys whose absence is not to be fallen back from yet. `before`: those that the key table saw resolve
/// before, and gone only once; `confirmed`: those that it saw gone twice. What the table has forgotten (it does not
/// survive the process) the stamp tells: a key that was there when the target was last written, for the same spec.
pub fn doubted(
    o: &Observed<'_>,
    tenant: &Tenant,
    resolved: &Resolved,
    before: &[StoreKey],
    confirmed: &[StoreKey],
) -> Vec<StoreKey> {
    let stamp = o.target.and_then(|t| t.stamp(&o.reference.key.name));
    let stamp = stamp
        .filter(|s| s.key_id == o.prints.id() && s.uid == *o.reference.uid && s.generation == o.reference.generation);
    // A name that was found by its prefix may be new: only what the spec names was asked for then, too.
    let named = named_keys(o, tenant);
    let was_there = |key: &StoreKey| {
        let absent = |s: &Stamp| o.prints.source(&s.uid, &Read::Key(key.clone(), None), &State::Absent);
        named.contains(key) && stamp.as_ref().is_some_and(|s| !s.sources.contains(&absent(s)))
    };
    // Without an interval there is no second look.
    let looks_again = !o.spec.refresh_interval().is_zero();
    let doubt = |k: &&StoreKey| before.contains(k) || (looks_again && was_there(k) && !confirmed.contains(k));
    resolved.fallbacks.iter().filter(doubt).cloned().collect()
}

/// The organisation's keys of the names that the spec spells out.
fn named_keys(o: &Observed<'_>, tenant: &Tenant) -> Vec<StoreKey> {
    let (StoreSeen::Found { scheme, .. }, Some(org)) = (o.store, &tenant.org) else { return Vec::new() };
    let owner = Owner::Org(org.clone());
    let data = o.spec.data().iter().filter_map(|d| d.secret_ref.as_ref()).map(|s| &s.name);
    let extracted = o.spec.data_from().iter().filter_map(|d| d.extract.as_ref()).map(|e| &e.name);
    data.chain(extracted).filter_map(|n| scheme.name(n).and_then(|n| scheme.key(&owner, &n)).ok()).collect()
}

/// What to do with what was resolved.
///
/// `unconfirmed`: organisation keys that resolved before and whose absence was seen only once. `sources`: fingerprints
/// of what the store said.
pub fn plan(
    o: &Observed<'_>,
    tenant: &Tenant,
    resolution: Result<Resolved, Problem>,
    unconfirmed: &[StoreKey],
    sources: Sources,
) -> Action {
    let changed_from = org_changed(o, tenant);
    let resolved = match resolution {
        Ok(resolved) => resolved,
        Err(problem) => {
            let Some(stamp) = changed_from else { return Action::Leave(problem) };
            let on_revoke = match o.store {
                StoreSeen::Found { tenancy, .. } => tenancy::on_revoke(Some(tenancy)),
                StoreSeen::Missing => OnRevoke::Keep,
            };
            return revoke_or_leave(o, changed(&stamp, tenant, Some(&problem)), on_revoke == OnRevoke::Delete);
        }
    };
    if let Err(problem) = resolve::deliverable(o.spec, &resolved.data) {
        return Action::Leave(problem);
    }
    let policy = o.spec.creation_policy();
    let uid = &o.reference.uid;
    let values = o.prints.values(uid, &resolved.data);
    let desired = Desired::new(o.reference, o.spec, resolved.data.clone());
    let stamp = Stamp {
        key_id: o.prints.id().to_owned(),
        target: o.prints.target(uid, o.reference.generation, &resolved.data),
        uid: uid.to_string(),
        generation: o.reference.generation,
        fields: desired.fields(&annotation(&o.reference.key.name)),
        sources,
        values: values.clone(),
        org: tenant.org.as_ref().map(ToString::to_string),
        global: tenant.global,
        delete: o.spec.deletion_policy() == DeletionPolicy::Delete,
        revision: 0,
        restart: 0,
    };
    let known = o
        .target
        .and_then(|t| t.stamp(&o.reference.key.name))
        .filter(|s| s.key_id == stamp.key_id && s.uid == stamp.uid);
    let known = known.as_ref();
    if let Some(target) = o.target
        && target.ownership(o.reference, policy) == Ownership::Ours
        && known.is_some_and(|k| {
            k.target == stamp.target && k.fields == stamp.fields && k.org == stamp.org && k.global == stamp.global
        })
        && !target.has_drifted(o.reference, policy)
    {
        return Action::InSync(resolved);
    }
    let waiting = resolved.fallbacks.iter().find(|k| unconfirmed.contains(k));
    if let (Some(key), Some(_), None) = (waiting, known, changed_from) {
        let message = format!(
            "{key} resolved before and is gone: the platform-wide value replaces it when it is still gone one refreshInterval later; create it again to keep the organisation's own"
        );
        return Action::Leave(Problem::new(Reason::SecretNotFound, message));
    }
    let precondition = match o.target {
        Some(target)
            if target.ownership(o.reference, policy) == Ownership::Foreign
                // Not even to be adopted: another reference would take it back.
                && (policy == CreationPolicy::Owner || !target.owners.is_empty()) =>
        {
            return Action::Leave(foreign(&o.reference.target));
        }
        Some(target) => Precondition::Uid(target.uid.clone()),
        None => Precondition::Absent,
    };
    let changes_values = known.is_none_or(|k| k.values != values);
    let restart = known.is_some() && changes_values && o.spec.restart() == Restart::Annotated;
    let told = o.status.target.as_ref().and_then(|t| t.revision).unwrap_or_default();
    // What cannot be read counts as it was: a write of the same content has to be none.
    let unread = known.is_some_and(|k| k.target.is_empty());
    let revision = match known {
        Some(k) if k.target == stamp.target || unread => k.revision,
        _ => known.map_or(0, |k| k.revision).max(told).saturating_add(1),
    };
    let owed = if restart && !unread { revision } else { known.map_or(0, |k| k.restart) };
    let stamp = Stamp { revision, restart: owed, ..stamp };
    Action::Write(Box::new(Write { restart, desired, stamp, precondition, policy, resolved, changes_values }))
}

/// The Secret of the target's name is someone else's.
pub fn foreign(target: &str) -> Problem {
    let message = format!(
        "Secret {target} exists and is not this reference's: delete it, choose another spec.target.name, or use creationPolicy Adopt or Merge"
    );
    Problem::new(Reason::TargetConflict, message)
}

/// The binding changed; `problem` is why the new organisation's values are not in place yet.
pub fn changed(stamp: &Stamp, tenant: &Tenant, problem: Option<&Problem>) -> Problem {
    let name = |org: Option<&str>| org.map_or_else(|| "no organisation".to_owned(), |o| format!("organisation {o}"));
    let (from, to) = (name(stamp.org.as_deref()), name(tenant.org.as_ref().map(|o| o.as_str())));
    let why = problem.map(|p| format!(": {}", p.message)).unwrap_or_default();
    let message = format!(
        "the namespace was bound to {from} and now is to {to}; the target is replaced when its values resolve{why}"
    );
    Problem { reason: Reason::OrgChanged, message, retry_after: problem.and_then(|p| p.retry_after) }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
pub(super) mod tests;
