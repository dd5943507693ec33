//! What runs next: syncs from the queue, polls that are due, status patches that follow a store, timers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Cause, Engine, HEARTBEAT, WORKERS};
use crate::{
    api::CreationPolicy,
    operator::{
        job::{Job, Outcome, StoreView},
        model::{ObjectKey, Reference, StoreName},
        pool::Pool,
        queue::Class,
        watch::Message,
        worker::{follow, sync},
    },
    resolve::Problem,
};

/// Status patches that follow a store's health: at most so many a second.
const FOLLOWS_PER_SECOND: u32 = 200;

/// And so many while targets are written. Some: a store that hangs may keep its workers busy for as long as it is down, and
/// other stores' references have to hear of theirs.
const FOLLOWS_BESIDE_WORK: u32 = 20;

/// How often metrics that count all references are brought up to date.
const REPORT_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// When there is something to do even if nobody says anything.
    pub(super) fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let mut at = now + HEARTBEAT;
        if !self.started {
            return at;
        }
        if let Some((timer, _)) = self.timers.first() {
            at = at.min(*timer);
        }
        for store in self.stores.values().filter(|s| s.can_be_polled() && !s.surveying) {
            if let Some(due) = self.table.next_due(&store.object.uid) {
                at = at.min(due);
            }
        }
        if let Some(look) = self.next_look() {
            at = at.min(look);
        }
        if !self.follows.is_empty() {
            at = at.min(self.last_follow + self.between_follows());
        }
        at
    }

    pub(super) fn tick(&mut self) {
        if self.started {
            self.fire_timers();
            if std::mem::take(&mut self.cycles_stale) {
                self.find_cycles();
            }
            self.start_syncs();
            self.start_looks();
            self.start_polls();
            self.start_sweeps();
            self.start_follows();
        }
        if self.last_report.elapsed() >= REPORT_EVERY {
            self.last_report = Instant::now();
            self.report();
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            if let Some(tracked) = self.references.get_mut(&key) {
                tracked.wake = None;
                tracked.ask = true;
            }
            self.forget_what_was_put(&key);
            self.enqueue(&key, Class::Rest);
        }
    }

    fn start_syncs(&mut self) {
        self.call_back_those_aside();
        while self.workers.free() > 0 {
            let Some((key, class)) = self.queue.pop() else { return };
            if self.waits_for_its_namespace(&key, class) || self.waits_for_its_store(&key, class) {
                continue;
            }
            let Some(job) = self.job(&key, true) else { continue };
            self.pools(&job.reference.store).for_each(|pool| pool.take(&key.namespace));
            let (context, tell) = (self.parts.context.clone(), self.tell.clone());
            let lost = Outcome::lost(&job.reference);
            let work = tokio::spawn(async move { sync(&context, job).await });
            if let Some(tracked) = self.references.get_mut(&key) {
                tracked.task = Some(work.abort_handle());
            }
            tokio::spawn(async move {
                // A sync that breaks down must not keep its reference for ever.
                let outcome = work.await.unwrap_or(lost);
                let _ = tell.send(Message::Synced(Box::new(outcome)));
            });
        }
    }

    /// Whose workers a sync from this store takes.
    pub(super) fn pools(&mut self, store: &StoreName) -> impl Iterator<Item = &mut Pool> {
        let tenants = store.namespace.is_some().then_some(&mut self.tenants);
        let of_store = self.stores.get_mut(store).map(|state| &mut state.workers);
        [Some(&mut self.workers), tenants, of_store].into_iter().flatten()
    }

    /// One store that hangs must not take all workers, nor one namespace, nor tenants with stores of their own: beyond
    /// their share, references stand aside.
    fn waits_for_its_store(&mut self, key: &ObjectKey, class: Class) -> bool {
        let Some(store) = self.references.get(key).map(|t| t.model.store.clone()) else { return false };
        if self.pools(&store).all(|pool| pool.admits(&key.namespace)) {
            return false;
        }
        // Where there is no such store, nothing is asked that could hang.
        let Some(state) = self.stores.get_mut(&store) else { return false };
        state.aside.push(key, class);
        true
    }

    /// Of those that stood aside, as many as there is room for get in line, and namespaces take turns there, too.
    fn call_back_those_aside(&mut self) {
        let mut called = Vec::new();
        for (name, state) in &mut self.stores {
            let (all, tenants, of_store) = (&self.workers, &self.tenants, &state.workers);
            let room = if name.namespace.is_some() { tenants.free() } else { usize::MAX };
            let admits = |namespace: &str| {
                all.admits(namespace)
                    && of_store.admits(namespace)
                    && (name.namespace.is_none() || tenants.admits(namespace))
            };
            let next = || state.aside.pop_of(admits);
            called.extend(std::iter::from_fn(next).take(room.min(all.free()).min(of_store.free())));
        }
        for (key, class) in called {
            self.enqueue(&key, class);
        }
    }

    /// `take`: a sync takes along what is to be done beyond the ordinary; a patch that follows the store leaves it.
    fn job(&mut self, key: &ObjectKey, take: bool) -> Option<Job> {
        let store_name = self.references.get(key)?.model.store.clone();
        let store = self.stores.get(&store_name);
        if store.is_some_and(|s| !s.settled) {
            return None;
        }
        let view = store.map(|s| StoreView {
            tenancy: s.object.tenancy.clone(),
            scheme: s.object.scheme,
            blocked: s.blocked.as_ref().map(|p| Problem::new(p.reason, s.mirror.message.clone())),
            era: s.object.era(),
            layers: s.layers.clone(),
            health: s.mirror.clone(),
        });
        let resolved_before = self.table.resolved_before(key);
        let confirmed_absent = self.table.confirmed_absent(key);
        let labels = self.namespaces.get(&key.namespace)?.seen.labels.clone();
        let rival = self.rival(key);
        let mut failing = self.table.failures(key);
        let tracked = self.references.get_mut(key).filter(|t| !t.running)?;
        tracked.running = true;
        // Told by a poll, it is believed; told to try again, it tries.
        let fresh = tracked.fresh | (tracked.ask && !failing.is_empty());
        let repair = tracked.repair;
        let cause = if take { tracked.cause.take() } else { None };
        let cause = cause.map_or_else(|| Cause::now("store health"), |cause| *cause);
        if take {
            (tracked.fresh, tracked.ask, tracked.repair) = (false, false, false);
        }
        if fresh {
            failing.clear();
        }
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        Some(Job {
            reference: tracked.model.clone(),
            labels,
            store: view,
            // Asked to look again where it cannot look, it puts again.
            target: self.targets.get(&target).filter(|_| !(fresh && self.parts.context.writer.write_only)).cloned(),
            rival,
            fresh,
            failing,
            resolved_before,
            confirmed_absent,
            repair,
            cause,
        })
    }

    /// Another reference that made the target whole: two that adopt it from each other would never end.
    fn rival(&self, key: &ObjectKey) -> Option<Arc<str>> {
        let model = &self.references.get(key)?.model;
        let target = ObjectKey { namespace: key.namespace.clone(), name: model.target.clone() };
        let meta = self.targets.get(&target)?;
        let whole = |r: &Reference| r.spec().is_ok_and(|s| s.creation_policy() != CreationPolicy::Merge);
        let made = |r: &Reference| whole(r) && meta.stamp(&r.key.name).is_some_and(|s| *s.uid == *r.uid);
        let others = self.by_target.get(&target)?.iter().filter(|k| *k != key);
        let rival = others.filter_map(|k| self.references.get(k)).find(|t| made(&t.model))?;
        (whole(model) && !made(model)).then(|| rival.model.key.name.clone())
    }

    fn start_follows(&mut self) {
        while !self.follows.is_empty() && self.last_follow.elapsed() >= self.between_follows() {
            let Some(key) = self.follows.pop_front() else { return };
            let Some(tracked) = self.references.get_mut(&key) else { continue };
            tracked.follows = false;
            let healthy = self.stores.get(&tracked.model.store).is_some_and(|s| s.mirror.ready == Some(true));
            let back = healthy && !tracked.standing.is_in_sync();
            if tracked.running || back {
                // The sync that is under way may have begun before the store changed; and of a store that was back
                // before a reference had told that it went, nothing else would tell.
                tracked.ask |= back;
                self.enqueue(&key, Class::Rest);
                continue;
            }
            let Some(job) = self.job(&key, false) else { continue };
            self.last_follow = Instant::now();
            self.following += 1;
            let (context, tell) = (self.parts.context.clone(), self.tell.clone());
            let lost = Outcome::lost(&job.reference);
            let work = tokio::spawn(async move { follow(&context, job).await });
            tokio::spawn(async move {
                let outcome = work.await.unwrap_or(lost);
                let _ = tell.send(Message::Followed(Box::new(outcome)));
            });
        }
    }

    fn between_follows(&self) -> Duration {
        let idle = self.workers.taken() < WORKERS / 2;
        Duration::from_secs(1) / if idle { FOLLOWS_PER_SECOND } else { FOLLOWS_BESIDE_WORK }
    }

    fn report(&mut self) {
        self.parts.cache.sweep(tokio::time::Instant::now());
        let metrics = &self.parts.metrics;
        metrics.keys(self.table.len());
        for (class, depth) in self.queue.depths() {
            metrics.queue_depth(class.as_str(), depth);
        }
        if self.started {
            self.report_references();
        }
    }
}
