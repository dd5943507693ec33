//! One sync of one reference: observe -> resolve -> plan -> apply -> status.

use std::{collections::BTreeMap, time::Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tracing::{Instrument, field::Empty};

use super::{
    apply::{ApiError, Writer},
    conclude::{Attempt, Health, InPlace, conclude, find, follow_store, until_stale},
    events::Events,
    job::{Job, Outcome, StoreView},
    plan::{Action, Observed, StoreSeen, changed, doubted, gate, halt, org_changed, plan},
    reading,
    stamp::Fingerprints,
    target::TargetMeta,
    telling::{about, owes_restart},
    tenancy,
};
use crate::{
    api::{
        Reason, SecretReferenceSpec, SecretReferenceStatus,
        condition_types::{READY, SYNCED},
    },
    naming::Scheme,
    resolve::{Answer, Answers, Policy, Problem, Read, Resolved, Tenant, reads},
    stores::layers::{Access, Freshness},
    telemetry::Trace,
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

/// Does one sync.
pub async fn sync(context: &Context, job: Job) -> Outcome {
    let trace = job.cause.trace();
    let span = tracing::info_span!(
        "sync",
        trace_id = trace.id(),
        secretref.reference = %job.reference.key,
        secretref.store = %job.reference.store.label(),
        secretref.result = Empty,
        k8s.namespace.name = &*job.reference.key.namespace,
        otel.status_code = Empty,
    );
    let span = trace.adopt(span);
    let (started, since) = (Instant::now(), job.cause.clone());
    let outcome = sync_in(context, job, &trace).instrument(span.clone()).await;
    let result = outcome.problem.as_ref().map_or(Reason::Synced, |p| p.reason);
    context.writer.metrics.sync(result, started.elapsed(), since.age());
    span.record("secretref.result", result.as_str());
    span.in_scope(|| tracing::debug!("sync ended"));
    if outcome.problem.as_ref().is_some_and(|p| p.reason != Reason::Suspended) {
        span.record("otel.status_code", "ERROR");
    }
    drop(span);
    trace.end();
    outcome
}

async fn sync_in(context: &Context, mut job: Job, trace: &Trace) -> Outcome {
    let mut outcome = Outcome::of(&job.reference);
    let spec = match job.reference.spec() {
        Ok(spec) => spec,
        Err(_) => {
            outcome.problem = Some(Problem::new(Reason::InvalidReference, "the spec cannot be read"));
            return outcome;
        }
    };
    if context.writer.write_only
        && job.target.is_none()
        && let Some(store) = &job.store
    {
        let bound = tenancy::bind(&store.tenancy, &job.labels, &spec, "").ok().and_then(|tenant| tenant.org);
        job.target = TargetMeta::remembered(&job.reference, &spec, &store.scheme, bound.as_ref(), &context.prints);
    }
    let events = context.events.within(trace);
    let mut sync = Sync { context, events, trace, job: &job, spec: &spec, old: job.reference.status() };
    sync.run(&mut outcome).await;
    outcome
}

/// The status of a reference follows its store: nothing is read, and the target is left alone.
pub async fn follow(context: &Context, job: Job) -> Outcome {
    let trace = job.cause.trace();
    let span = tracing::info_span!("follow", trace_id = trace.id(), secretref.reference = %job.reference.key);
    let outcome = follow_in(context, job).instrument(trace.adopt(span)).await;
    trace.end();
    outcome
}

async fn follow_in(context: &Context, job: Job) -> Outcome {
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
            tracing::warn!(%error, "status not written");
            outcome.status_failed = error.code() != Some(404);
        }
    }
    outcome
}

/// What one sync works on.
pub(super) struct Sync<'a> {
    pub(super) context: &'a Context,
    /// Events that carry the trace's id.
    pub(super) events: Events,
    pub(super) trace: &'a Trace,
    pub(super) job: &'a Job,
    pub(super) spec: &'a SecretReferenceSpec,
    /// The status as it stands at the API server.
    pub(super) old: SecretReferenceStatus,
}

impl Sync<'_> {
    pub(super) fn observed(&self) -> Observed<'_> {
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
                outcome.era = self.job.store.as_ref().map(|s| s.era.clone());
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
        let problem = changed(&stamp, tenant, None);
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
        let requester = format!("SecretReference/{}", self.job.reference.key);
        let freshness = if self.job.fresh { Freshness::PastCache } else { Freshness::Cached };
        let access = Access { requester: &requester, trace_id: self.trace.id(), freshness };
        let layers = self.job.store.as_ref().and_then(|s| s.layers.as_deref());
        let known = self.job.failing.iter().map(|(read, error)| (read.clone(), Answer::Failed(error.clone())));
        reading::resolve_from(layers, self.spec, tenant, scheme, &access, known.collect()).await
    }

    async fn apply(&self, action: Action, org: Option<String>, outcome: &mut Outcome) {
        let writer = &self.context.writer;
        let reference = &self.job.reference;
        let in_place = self.job.target.as_ref().is_some_and(|t| t.is_stamped(&reference.key.name));
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
                            self.events.warning(about(reference), "TargetRevoked", note);
                        }
                        Err(e) => {
                            tracing::warn!(error = e.message, "target not removed");
                            outcome.again = true;
                        }
                    }
                }
                problem = Some(p);
            }
            Action::InSync(r) => {
                resolved = r;
                let uid = self.job.target.as_ref().map(|t| t.uid.clone()).unwrap_or_default();
                let stamp = self.job.target.as_ref().and_then(|t| t.stamp(&reference.key.name));
                let revision = stamp.as_ref().map_or(0, |s| s.revision);
                let told = self.old.target.as_ref();
                // Whoever wrote it had no time to say so.
                attempt.changed = told.and_then(|t| t.revision).is_some_and(|told| told != revision);
                if let Some(stamp) = stamp.filter(|s| owes_restart(s, self.spec, told)) {
                    self.restart(&stamp);
                }
                attempt.target = Some(InPlace { uid, keys: resolved.data.len(), revision });
                attempt.entries = &resolved.entries;
            }
            Action::Write(mut write) => match writer.write(reference, &write).await {
                Ok(written) => {
                    write.changes_values &= written.changed;
                    write.restart &= written.changed;
                    self.tell(&write, written.created);
                    if write.restart {
                        self.restart(&write.stamp);
                    }
                    let (uid, keys) = (written.meta.uid.clone(), write.resolved.data.len());
                    attempt.target = Some(InPlace { uid, keys, revision: write.stamp.revision });
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
                    tracing::warn!(%error, "status not written");
                }
                outcome.status_failed = !matches!(error, ApiError::NotLeading) && error.code() != Some(404);
            }
        }
        outcome.problem = problem;
    }

    /// What this namespace may know of the store's health: of one that does not admit it, nothing.
    fn health(&self, problem: Option<&Problem>) -> Health {
        // Whatever else is wrong, or was said before it was looked at: a suspended reference is not bound to the store.
        let admitted = |s: &&StoreView| s.tenancy.selects(&self.job.labels);
        let hidden = problem.is_some_and(|p| p.reason == Reason::StoreNotFound);
        self.job.store.as_ref().filter(|_| !hidden).filter(admitted).map_or_else(
            || Health {
                ready: Some(false),
                reason: Reason::StoreNotFound,
                message: "there is no such store for this namespace".into(),
            },
            |s| s.health.clone(),
        )
    }
}
