//! The status that follows from an attempt: pure, and equal to the old one when nothing changed.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::plan::Observed;
use crate::{
    api::{Entry, Reason, SecretReferenceStatus, TargetStatus, condition_types::*},
    resolve::Problem,
};

/// At most so many entries are listed.
const MAX_ENTRIES: usize = 64;

/// What a store's probes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `None` before the first probe.
    pub ready: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// What to do about it.
    pub message: String,
}

impl Default for Health {
    fn default() -> Self {
        Self { ready: None, reason: Reason::Probing, message: "the store was not probed yet".into() }
    }
}

/// A target that is as it should be.
#[derive(Clone, Debug)]
pub struct InPlace {
    /// Its uid.
    pub uid: String,
    /// How many keys the reference holds in it.
    pub keys: usize,
    /// The revision that its stamp tells.
    pub revision: i64,
}

/// What came of one attempt to sync.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Why the target is not what it should be.
    pub problem: Option<&'a Problem>,
    /// The target, if this attempt found it as it should be or made it so.
    pub target: Option<InPlace>,
    /// Where the values came from, with `target`.
    pub entries: &'a [Entry],
    /// The target's values changed.
    pub changed: bool,
    /// The organisation of the namespace, as far as it is bound.
    pub org: Option<String>,
    /// There is a target from earlier.
    pub in_place: bool,
}

/// The status after an attempt.
pub fn conclude(o: &Observed<'_>, attempt: &Attempt<'_>, health: &Health, now: Timestamp) -> SecretReferenceStatus {
    let mut status = o.status.clone();
    let suspended = attempt.problem.is_some_and(|p| p.reason == Reason::Suspended);
    status.observed_generation = Some(o.reference.generation);
    if !suspended {
        status.org.clone_from(&attempt.org);
        status.last_handled_sync_now = o.reference.sync_now.as_deref().map(str::to_owned);
    }
    if let Some(InPlace { uid, keys, revision }) = &attempt.target {
        status.target = Some(TargetStatus {
            name: o.reference.target.to_string(),
            uid: Some(uid.clone()),
            keys: i64::try_from(*keys).unwrap_or(i64::MAX),
            revision: Some(*revision),
            restarted: o.status.target.as_ref().and_then(|t| t.restarted),
        });
        let mut entries = attempt.entries.to_vec();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        status.entries_total = (entries.len() > MAX_ENTRIES).then(|| i64::try_from(entries.len()).unwrap_or(i64::MAX));
        entries.truncate(MAX_ENTRIES);
        status.entries = entries;
        if attempt.changed || status.last_change_time.is_none() {
            status.last_change_time = Some(seconds(now));
        }
    } else if !attempt.in_place {
        status.target = None;
        status.entries = Vec::new();
        status.entries_total = None;
    }
    let generation = o.reference.generation;
    let synced = match attempt.problem {
        None => {
            condition(SYNCED, "True", Reason::Synced.as_str(), "all entries resolved and are in the target", generation)
        }
        Some(p) if suspended => condition(SYNCED, "Unknown", p.reason.as_str(), &p.message, generation),
        Some(p) => condition(SYNCED, "False", p.reason.as_str(), &p.message, generation),
    };
    set(&mut status.conditions, synced, now);
    let ready = ready(o, attempt, &status, now);
    set(&mut status.conditions, ready, now);
    set(&mut status.conditions, store_healthy(health, generation), now);
    let stalled = match attempt.problem {
        Some(p) if p.reason.is_stalled() => condition(STALLED, "True", p.reason.as_str(), &p.message, generation),
        _ => condition(STALLED, "False", "Progressing", "nothing has to be changed by hand", generation),
    };
    set(&mut status.conditions, stalled, now);
    let rank = |c: &Condition| [READY, SYNCED, STORE_HEALTHY, STALLED].iter().position(|t| *t == c.type_);
    status.conditions.sort_by_key(rank);
    status
}

/// The store gave no answer, for one key or as a whole.
fn is_of_store(reason: Reason) -> bool {
    matches!(reason, Reason::PermissionDenied | Reason::StoreMisconfigured | Reason::StoreNotReady)
        || reason.is_store_wide()
}

/// The references of a store that stopped answering follow it, in one merged patch each.
pub fn follow_store(o: &Observed<'_>, health: &Health, now: Timestamp) -> SecretReferenceStatus {
    let mut status = o.status.clone();
    // What the store told of a single key is outweighed by what it tells of itself; a missing name is not.
    let follows = find(&status.conditions, SYNCED).is_some_and(|c| {
        let the_stores = Reason::parse(&c.reason).is_some_and(is_of_store);
        c.status == "True" || the_stores && health.reason.is_store_wide()
    });
    if health.ready == Some(false) && follows {
        let problem = Problem::new(health.reason, health.message.clone());
        let attempt = Attempt {
            problem: Some(&problem),
            target: None,
            entries: &[],
            changed: false,
            org: status.org.clone(),
            in_place: status.target.is_some(),
        };
        let handled = status.last_handled_sync_now;
        return SecretReferenceStatus { last_handled_sync_now: handled, ..conclude(o, &attempt, health, now) };
    }
    set(&mut status.conditions, store_healthy(health, o.reference.generation), now);
    status
}

/// How long until `Ready` turns False if syncing goes on failing.
pub fn until_stale(o: &Observed<'_>, status: &SecretReferenceStatus, now: Timestamp) -> Option<Duration> {
    let ready = find(&status.conditions, READY).is_some_and(|c| c.status == "True");
    let synced = find(&status.conditions, SYNCED).filter(|c| c.status == "False")?;
    let stale_after = o.spec.stale_after().filter(|_| ready)?;
    Some(stale_after.saturating_sub(elapsed(&synced.last_transition_time, now)))
}

fn ready(o: &Observed<'_>, attempt: &Attempt<'_>, status: &SecretReferenceStatus, now: Timestamp) -> Condition {
    let generation = o.reference.generation;
    let Some(problem) = attempt.problem else {
        let message = format!("Secret {} is in place", o.reference.target);
        return condition(READY, "True", Reason::Synced.as_str(), &message, generation);
    };
    let before = find(&o.status.conditions, READY);
    let not = |reason: &str, message: &str| condition(READY, "False", reason, message, generation);
    match (problem.reason, before) {
        (Reason::Suspended, Some(before)) => return before.clone(),
        (Reason::OrgNotBound | Reason::OrgMismatch | Reason::OrgChanged, _) => {
            return not(problem.reason.as_str(), &problem.message);
        }
        _ => {}
    }
    let was_ready = before.is_some_and(|c| c.status == "True" && c.observed_generation == Some(generation));
    let found_good = attempt.target.is_some();
    if !(was_ready && attempt.in_place || found_good) {
        return not(problem.reason.as_str(), &problem.message);
    }
    let failing_since = find(&status.conditions, SYNCED).map(|c| elapsed(&c.last_transition_time, now));
    match (o.spec.stale_after(), failing_since) {
        // In the same words as the next attempt, which finds it not ready: else that one would be a write.
        (Some(limit), Some(since)) if since >= limit => not(problem.reason.as_str(), &problem.message),
        _ => {
            let message = format!("Secret {} keeps its last good content", o.reference.target);
            condition(READY, "True", "LastGoodKept", &message, generation)
        }
    }
}

fn store_healthy(health: &Health, generation: i64) -> Condition {
    let status = match health.ready {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    condition(STORE_HEALTHY, status, health.reason.as_str(), &health.message, generation)
}

/// A condition that has just been made.
pub fn condition(type_: &str, status: &str, reason: &str, message: &str, generation: i64) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(4096).collect(),
        observed_generation: Some(generation),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// Sets a condition; its transition time moves when its status does, and only then.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition, now: Timestamp) {
    let old = conditions.iter_mut().find(|c| c.type_ == new.type_);
    new.last_transition_time = match &old {
        Some(old) if old.status == new.status => old.last_transition_time.clone(),
        _ => seconds(now),
    };
    match old {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

fn elapsed(since: &Time, now: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(now.as_second() - since.0.as_second()).unwrap_or_default())
}

/// What the API server keeps of a time.
pub fn seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
#[path = "conclude/tests.rs"]
mod tests;
