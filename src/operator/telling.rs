//! What a sync tells: Events of its reference, and restarts of the workloads that see other values now.

use k8s_openapi::api::core::v1::ObjectReference;
use tracing::Instrument;

use super::{
    conclude::find,
    model::Reference,
    plan::Write,
    rollout,
    stamp::{Fingerprints, Stamp},
    worker::Sync,
};
use crate::{
    api::{Reason, Restart, SecretReferenceSpec, TargetStatus, condition_types::SYNCED},
    naming::StoreKey,
    refresh::State,
    resolve::{Problem, Read},
};

impl Sync<'_> {
    /// One Event for a write: what was written, or what is remarkable about it.
    pub(super) fn tell(&self, write: &Write, created: bool) {
        let reference = &self.job.reference;
        let events = &self.events;
        let (resolved, changes) = (&write.resolved, write.changes_values);
        let before = self.job.target.as_ref().and_then(|t| t.stamp(&reference.key.name));
        let mut incomplete = resolved.warnings.clone();
        if let Some(before) = before.as_ref().filter(|b| is_of_same(b, &write.stamp)) {
            // Without an interval nobody looks twice; but then a name that a prefix found may be new.
            let finds = self.spec.data_from().iter().any(|s| s.find.is_some());
            let unseen =
                self.spec.refresh_interval().is_zero() && before.generation == write.stamp.generation && !finds;
            let was_there = |key: &StoreKey| unseen || self.job.confirmed_absent.contains(key);
            let fell = fell_back(&self.context.prints, before, &resolved.fallbacks, was_there);
            if !fell.is_empty() {
                let note = format!("now platform-wide values, since these are gone: {}", fell.join(", "));
                events.warning(about(reference), "FellBackToGlobal", note);
            }
            let held = self.old.target.as_ref().map_or(0, |t| usize::try_from(t.keys).unwrap_or_default());
            let dropped = held.saturating_sub(resolved.data.len());
            let same_spec = before.generation == write.stamp.generation && !self.spec.data_from().is_empty();
            if same_spec && dropped > 0 {
                incomplete.push(format!("keys dropped since they are gone from the store: {dropped}"));
            }
        }
        if !incomplete.is_empty() {
            events.warning(about(reference), "Incomplete", incomplete.join("; "));
        }
        if self.job.repair && !created && !changes {
            let note = format!("Secret {} was changed by someone else and is as it should be again", reference.target);
            events.warning(about(reference), "TargetRepaired", note);
        } else if created || changes {
            let note = format!("Secret {} holds {} keys", reference.target, resolved.data.len());
            events.normal(about(reference), Reason::Synced.as_str(), note);
        }
    }

    /// One Event when the reason changes; a store's own troubles are told on the store.
    pub(super) fn complain(&self, problem: &Problem) {
        let known = find(&self.old.conditions, SYNCED);
        let news = known.is_none_or(|c| c.reason != problem.reason.as_str());
        if news && !problem.reason.is_the_stores() && problem.reason != Reason::Suspended {
            self.events.warning(about(&self.job.reference), problem.reason.as_str(), problem.message.clone());
        }
    }

    /// Workloads are restarted for what a target holds by this stamp; then the status says so. A process that ends
    /// before that leaves a status that lacks behind the stamp, and whoever leads next goes on.
    pub(super) fn restart(&self, stamp: &Stamp) {
        let (writer, events) = (self.context.writer.clone(), self.events.clone());
        let reference = self.job.reference.clone();
        let order = rollout::Order::new(&reference.key.namespace, &reference.target, stamp.values.clone());
        let revision = stamp.restart;
        let carried_out = async move {
            let tell = |result: Result<&[String], &rollout::RestartError>| match result {
                Ok(restarted) => {
                    let note =
                        format!("restarted, since Secret {} changed: {}", reference.target, restarted.join(", "));
                    events.normal(about(&reference), "WorkloadsRestarted", note);
                }
                Err(error) => events.warning(about(&reference), "RestartFailed", error.to_string()),
            };
            if rollout::carry_out(&writer, order, tell).await
                && let Err(error) = writer.write_restarted(&reference, revision).await
            {
                // The next leader looks at the workloads once more, and finds them marked.
                tracing::warn!(%error, "status not written");
            }
        };
        tokio::spawn(carried_out.in_current_span());
    }
}

/// Workloads have still to be restarted for what the target holds.
pub(super) fn owes_restart(stamp: &Stamp, spec: &SecretReferenceSpec, told: Option<&TargetStatus>) -> bool {
    let restarted = told.and_then(|t| t.restarted).unwrap_or_default();
    spec.restart() == Restart::Annotated && stamp.restart != 0 && stamp.restart != restarted
}

/// Two marks of one reference, bound as before, under one key.
fn is_of_same(before: &Stamp, after: &Stamp) -> bool {
    (&before.key_id, &before.uid, &before.org) == (&after.key_id, &after.uid, &after.org)
}

/// The organisation's keys that were there when the target was last written, and that it now does without.
fn fell_back<'a>(
    prints: &Fingerprints,
    before: &Stamp,
    fallbacks: &'a [StoreKey],
    was_there: impl Fn(&StoreKey) -> bool,
) -> Vec<&'a str> {
    let absent = |key: &StoreKey| prints.source(&before.uid, &Read::Key(key.clone(), None), &State::Absent);
    let fell = fallbacks.iter().filter(|key| was_there(key) && !before.sources.contains(&absent(key)));
    fell.map(StoreKey::as_str).collect()
}

/// The object that an Event is about.
pub fn about(reference: &Reference) -> ObjectReference {
    ObjectReference {
        api_version: Some("secretref.dev/v1alpha1".into()),
        kind: Some("SecretReference".into()),
        namespace: Some(reference.key.namespace.to_string()),
        name: Some(reference.key.name.to_string()),
        uid: Some(reference.uid.to_string()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn falling_back_is_told_once_and_not_of_what_never_was() {
        let prints = Fingerprints::new(&"k".to_owned().into());
        let [gone, fell, never] = ["acme--gone", "acme--fell", "acme--never"].map(StoreKey::verbatim);
        let read = Read::Key(gone.clone(), None);
        let mut stamp: Stamp = "k:t:u:1:f::v:acme:1:0:Global:Retain".parse().unwrap();
        stamp.sources = prints.sources("u", [(&read, &State::Absent)]);
        let fallbacks = [gone.clone(), fell.clone(), never.clone()];
        let told = fell_back(&prints, &stamp, &fallbacks, |key| *key != never);
        assert_eq!(told, ["acme--fell"], "gone was told when it went, and never was nobody's value");
        assert!(is_of_same(&stamp, &stamp.clone()));
        assert!(
            !is_of_same(&stamp, &Stamp { org: Some("beta".into()), ..stamp.clone() }),
            "another's keys are not gone"
        );
    }
}
