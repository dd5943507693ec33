//! One sync of one reference: observe -> resolve -> plan -> apply -> status.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};

use super::{
    apply::{ApiError, Writer},
    conclude::{Attempt, Health, conclude, find, follow_store, until_stale},
    events::Events,
    model::{ObjectKey, Reference, StoreName},
    plan::{Action, Observed, StoreSeen, Write, changed, doubted, gate, halt, org_changed, plan},
    reading, rollout,
    stamp::{Fingerprints, Stamp},
    target::TargetMeta,
};
use crate::{
    api::{
        Reason, SecretReferenceSpec, SecretReferenceStatus, Tenancy,
        condition_types::{READY, SYNCED},
    },
    naming::{Scheme, StoreKey},
    refresh::State,
    resolve::{Answer, Answers, Policy, Problem, Read, Resolved, Tenant, reads},
    stores::{
        StoreError,
        layers::{Access, Freshness, Layers},
    },
    telemetry,
};

/// What every sync needs.
pub struct Context {
    /// The one writer.
    pub writer: Writer,
    /// The installation's fingerprints.
    pub prints: Fingerprints,
    /// What the platform allows.
    pub policy: Policy,
    /// Events.
    pub events: Events,
}

/// A store as one sync sees it.
#[derive(Clone)]
pub struct StoreView {
    /// Whom it admits.
    pub tenancy: Arc<Tenancy>,
    /// How it spells keys.
    pub scheme: Scheme,
    /// Why it cannot be asked at all.
    pub blocked: Option<Problem>,
    /// The way to it.
    pub layers: Option<Arc<Layers>>,
    /// What its probes say.
    pub health: Health,
}

/// One sync to do.
pub struct Job {
    /// The reference, as it was when the sync began.
    pub reference: Reference,
    /// Labels of its namespace.
    pub labels: BTreeMap<String, String>,
    /// The store, if there is one.
    pub store: Option<StoreView>,
    /// The target, if it is one that we wrote.
    pub target: Option<TargetMeta>,
    /// Another reference, which made the target.
    pub rival: Option<Arc<str>>,
    /// Go past the cache.
    pub fresh: bool,
    /// Keys that polls are known to fail at: asking again would tell the same.
    pub failing: Vec<(Read, StoreError)>,
    /// Organisation keys that resolved before, and whose absence was not yet seen twice.
    pub resolved_before: Vec<StoreKey>,
    /// Organisation keys whose absence was seen twice.
    pub confirmed_absent: Vec<StoreKey>,
    /// The target is written again because someone changed it.
    pub repair: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Which reference, and which state of it.
    pub key: Option<ObjectKey>,
    /// Its uid.
    pub uid: Arc<str>,
    /// The store it was synced from.
    pub store: Option<StoreName>,
    /// The status that now stands, with the object's version if it was written.
    pub status: Option<(SecretReferenceStatus, Option<u64>)>,
    /// The status could not be written.
    pub status_failed: bool,
    /// The target could not be taken away.
    pub again: bool,
    /// The target now, if this sync wrote it; `Some(None)`: it was taken away.
    pub target: Option<Option<TargetMeta>>,
    /// It went past the cache.
    pub fresh: bool,
    /// What the reference stands on.
    pub reads: BTreeSet<Read>,
    /// What the store said.
    pub states: Vec<(Read, State)>,
    /// Organisation keys that wait for a second look.
    pub doubted: Vec<StoreKey>,
    /// Why the target is not what it should be.
    pub problem: Option<Problem>,
    /// How long until `Ready` turns False if this goes on.
    pub until_stale: Option<std::time::Duration>,
}

impl Outcome {
    /// Of a sync that says nothing more.
    pub fn lost(reference: &Reference) -> Self {
        let problem = Problem::new(Reason::TargetRejected, "the sync broke down: the operator tries again");
        Self { problem: Some(problem), ..Self::of(reference) }
    }

    fn of(reference: &Reference) -> Self {
        Self {
            key: Some(reference.key.clone()),
            uid: reference.uid.clone(),
            store: Some(reference.store.clone()),
            ..Self::default()
        }
    }
}

/// Does one sync.
pub async fn sync(context: &Context, job: Job) -> Outcome {
    let started = Instant::now();
    let mut outcome = Outcome::of(&job.reference);
    let spec = match job.reference.spec() {
        Ok(spec) => spec,
        Err(_) => {
            outcome.problem = Some(Problem::new(Reason::InvalidReference, "the spec cannot be read"));
            return outcome;
        }
    };
    let mut sync = Sync { context, job: &job, spec: &spec, old: job.reference.status() };
    sync.run(&mut outcome).await;
    let result = outcome.problem.as_ref().map_or(Reason::Synced, |p| p.reason);
    context.writer.metrics.sync(result, started.elapsed());
    outcome
}

/// The status of a reference follows its store: nothing is read, and the target is left alone.
pub async fn follow(context: &Context, job: Job) -> Outcome {
    let reference = &job.reference;
    let mut outcome = Outcome { key: Some(reference.key.clone()), uid: reference.uid.clone(), ..Outcome::default() };
    let (Ok(spec), Some(store)) = (reference.spec(), &job.store) else { return outcome };
    let (old, labels) = (reference.status(), BTreeMap::new());
    let not_admitted = find(&old.conditions, SYNCED).is_some_and(|c| c.reason == Reason::StoreNotFound.as_str());
    if spec.is_suspended() || old.conditions.is_empty() || not_admitted {
        return outcome;
    }
    let observed = Observed {
        reference,
        spec: &spec,
        status: &old,
        labels: &labels,
        store: StoreSeen::Missing,
        target: job.target.as_ref(),
        policy: &context.policy,
        prints: &context.prints,
    };
    let now = Timestamp::now();
    let status = follow_store(&observed, &store.health, now);
    outcome.until_stale = until_stale(&observed, &status, now);
    if store.health.ready == Some(false) {
        outcome.problem = Some(Problem::new(store.health.reason, store.health.message.clone()));
    }
    match context.writer.write_status(reference, &old, &status).await {
        Ok(version) => outcome.status = Some((status, version)),
        Err(error) => {
            tracing::warn!(reference = %reference.key, %error, "status not written");
            outcome.status_failed = error.code() != Some(404);
        }
    }
    outcome
}

struct Sync<'a> {
    context: &'a Context,
    job: &'a Job,
    spec: &'a SecretReferenceSpec,
    /// The status as it stands at the API server.
    old: SecretReferenceStatus,
}

impl Sync<'_> {
    fn observed(&self) -> Observed<'_> {
        Observed {
            reference: &self.job.reference,
            spec: self.spec,
            status: &self.old,
            labels: &self.job.labels,
            store: match &self.job.store {
                Some(s) => StoreSeen::Found { tenancy: &s.tenancy, scheme: &s.scheme, blocked: s.blocked.as_ref() },
                None => StoreSeen::Missing,
            },
            target: self.job.target.as_ref(),
            policy: &self.context.policy,
            prints: &self.context.prints,
        }
    }

    async fn run(&mut self, outcome: &mut Outcome) {
        let admitted = gate(&self.observed()).map(|(tenant, scheme)| (tenant, *scheme));
        let (action, org) = match admitted {
            Err(problem) => (halt(&self.observed(), problem), None),
            Ok((tenant, scheme)) => {
                let scheme = &scheme;
                self.announce_org_change(&tenant, outcome).await;
                let (answers, resolution) = self.resolve(&tenant, scheme).await;
                outcome.fresh = self.job.fresh;
                outcome.reads = reads(self.spec, &tenant, scheme, &answers);
                outcome.states = answers.iter().filter_map(|(r, a)| Some((r.clone(), reading::state_of(a)?))).collect();
                let moving = outcome.states.iter().filter(|(r, _)| !matches!(r, Read::Key(_, Some(_))));
                let sources = self.context.prints.sources(&self.job.reference.uid, moving.map(|(r, s)| (r, s)));
                if let Ok(resolved) = &resolution {
                    let (before, confirmed) = (&self.job.resolved_before, &self.job.confirmed_absent);
                    outcome.doubted = doubted(&self.observed(), &tenant, resolved, before, confirmed);
                }
                let action = plan(&self.observed(), &tenant, resolution, &outcome.doubted, sources);
                let action = self.yields(action);
                (action, tenant.org.map(|o| o.to_string()))
            }
        };
        self.apply(action, org, outcome).await;
    }

    /// What another reference made is neither written nor adopted.
    fn yields(&self, action: Action) -> Action {
        let touches = match &action {
            Action::Write(_) | Action::InSync(_) => true,
            Action::Leave(problem) => problem.reason == Reason::TargetConflict,
            Action::Revoke(_) => false,
        };
        let Some(rival) = self.job.rival.as_ref().filter(|_| touches) else { return action };
        let message = format!(
            "Secret {} is made by reference {rival}: choose another spec.target.name, or delete that reference",
            self.job.reference.target
        );
        Action::Leave(Problem::new(Reason::TargetConflict, message))
    }

    /// Ready turns False before anything else: resolving may take its time. Once is enough.
    async fn announce_org_change(&mut self, tenant: &Tenant, outcome: &mut Outcome) {
        let observed = self.observed();
        let Some(stamp) = org_changed(&observed, tenant) else { return };
        let told = |c: &Condition| c.reason == Reason::OrgChanged.as_str() && c.status == "False";
        if find(&self.old.conditions, READY).is_some_and(told) {
            return;
        }
        let problem = changed(stamp, tenant, None);
        let org = tenant.org.as_ref().map(ToString::to_string);
        let attempt =
            Attempt { problem: Some(&problem), target: None, entries: &[], changed: false, org, in_place: true };
        let status = conclude(&observed, &attempt, &self.health(None), Timestamp::now());
        match self.context.writer.write_status(&self.job.reference, &self.old, &status).await {
            Ok(_) => self.old = status,
            Err(_) => outcome.status_failed = true,
        }
    }

    async fn resolve(&self, tenant: &Tenant, scheme: &Scheme) -> (Answers, Result<Resolved, Problem>) {
        let trace_id = telemetry::trace_id();
        let requester = format!("SecretReference/{}", self.job.reference.key);
        let freshness = if self.job.fresh { Freshness::PastCache } else { Freshness::Cached };
        let access = Access { requester: &requester, trace_id: &trace_id, freshness };
        let layers = self.job.store.as_ref().and_then(|s| s.layers.as_deref());
        let known = self.job.failing.iter().map(|(read, error)| (read.clone(), Answer::Failed(error.clone())));
        reading::resolve_from(layers, self.spec, tenant, scheme, &access, known.collect()).await
    }

    async fn apply(&self, action: Action, org: Option<String>, outcome: &mut Outcome) {
        let writer = &self.context.writer;
        let reference = &self.job.reference;
        let in_place = self.job.target.as_ref().is_some_and(|t| t.stamp(&reference.key.name).is_some());
        let mut attempt = Attempt { problem: None, target: None, entries: &[], changed: false, org, in_place };
        let resolved;
        let mut problem = None;
        match action {
            Action::Leave(p) => problem = Some(p),
            Action::Revoke(p) => {
                if let Some(target) = &self.job.target {
                    match writer.remove(reference, target, self.spec.creation_policy()).await {
                        Ok(()) => {
                            attempt.in_place = false;
                            outcome.target = Some(None);
                            let note = format!("Secret {} was removed: {}", reference.target, p.message);
                            self.context.events.warning(about(reference), "TargetRevoked", note);
                        }
                        Err(e) => {
                            tracing::warn!(reference = %reference.key, error = e.message, "target not removed");
                            outcome.again = true;
                        }
                    }
                }
                problem = Some(p);
            }
            Action::InSync(r) => {
                resolved = r;
                let uid = self.job.target.as_ref().map(|t| t.uid.clone()).unwrap_or_default();
                attempt.target = Some((uid, resolved.data.len()));
                attempt.entries = &resolved.entries;
            }
            Action::Write(write) => match writer.write(reference, &write).await {
                Ok(written) => {
                    self.tell(&write, written.created);
                    if write.restart {
                        self.restart(write.stamp.values.clone());
                    }
                    attempt.target = Some((written.meta.uid.clone(), write.resolved.data.len()));
                    attempt.changed = written.created || write.changes_values;
                    outcome.target = Some(Some(written.meta));
                    resolved = write.resolved;
                    attempt.entries = &resolved.entries;
                }
                Err(p) => problem = Some(p),
            },
        }
        let health = self.health(problem.as_ref());
        if problem.is_none() && health.ready == Some(false) && health.reason.is_store_wide() {
            // The values are from memory: they make a lost target good, but nobody knows whether they are still true.
            problem = Some(Problem::new(health.reason, health.message.clone()));
        }
        attempt.problem = problem.as_ref();
        let now = Timestamp::now();
        let status = conclude(&self.observed(), &attempt, &health, now);
        outcome.until_stale = until_stale(&self.observed(), &status, now);
        if let Some(p) = &problem {
            self.complain(p);
        }
        match writer.write_status(reference, &self.old, &status).await {
            Ok(version) => outcome.status = Some((status, version)),
            Err(error) => {
                if !matches!(error.code(), Some(404 | 409)) {
                    tracing::warn!(reference = %reference.key, %error, "status not written");
                }
                outcome.status_failed = !matches!(error, ApiError::NotLeading) && error.code() != Some(404);
            }
        }
        outcome.problem = problem;
    }

    /// One Event for a write: what was written, or what is remarkable about it.
    fn tell(&self, write: &Write, created: bool) {
        let reference = &self.job.reference;
        let events = &self.context.events;
        let (resolved, changes) = (&write.resolved, write.changes_values);
        let before = self.job.target.as_ref().and_then(|t| t.stamp(&reference.key.name));
        let mut incomplete = resolved.warnings.clone();
        if let Some(before) = before.filter(|b| is_of_same(b, &write.stamp)) {
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
    fn complain(&self, problem: &Problem) {
        let known = find(&self.old.conditions, SYNCED);
        let news = known.is_none_or(|c| c.reason != problem.reason.as_str());
        if news && !problem.reason.is_the_stores() && problem.reason != Reason::Suspended {
            self.context.events.warning(about(&self.job.reference), problem.reason.as_str(), problem.message.clone());
        }
    }

    fn restart(&self, mark: String) {
        let (writer, events) = (self.context.writer.clone(), self.context.events.clone());
        let reference = self.job.reference.clone();
        let order = rollout::Order::new(&reference.key.namespace, &reference.target, mark);
        tokio::spawn(async move {
            let tell = |result: Result<&[String], &rollout::RestartError>| match result {
                Ok(restarted) => {
                    let note =
                        format!("restarted, since Secret {} changed: {}", reference.target, restarted.join(", "));
                    events.normal(about(&reference), "WorkloadsRestarted", note);
                }
                Err(error) => events.warning(about(&reference), "RestartFailed", error.to_string()),
            };
            rollout::carry_out(&writer, order, tell).await;
        });
    }

    /// What this namespace may know of the store's health: of one that does not admit it, nothing.
    fn health(&self, problem: Option<&Problem>) -> Health {
        let hidden = problem.is_some_and(|p| p.reason == Reason::StoreNotFound);
        self.job.store.as_ref().filter(|_| !hidden).map_or_else(
            || Health {
                ready: Some(false),
                reason: Reason::StoreNotFound,
                message: "there is no such store for this namespace".into(),
            },
            |s| s.health.clone(),
        )
    }
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
        let mut stamp: Stamp = "k:t:u:1:f:s:v:acme:Global:Retain".parse().unwrap();
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
