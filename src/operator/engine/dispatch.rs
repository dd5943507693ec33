//! What runs next: syncs from the queue, polls that are due, status patches that follow a store, timers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Engine, HEARTBEAT, WORKERS, WORKERS_PER_STORE};
use crate::{
    api::{Circuit, CreationPolicy},
    operator::{
        model::{ObjectKey, Reference, StoreName},
        queue::Class,
        reading::poll,
        watch::Message,
        worker::{Job, Outcome, StoreView, follow, sync},
    },
    resolve::Problem,
};

/// Status patches that follow a store's health: at most so many a second, and behind target writes.
const FOLLOWS_PER_SECOND: u32 = 200;

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
        for store in self.stores.values().filter(|s| s.can_be_polled()) {
            if let Some(due) = self.table.next_due(&store.object.uid) {
                at = at.min(due);
            }
        }
        if !self.follows.is_empty() && self.running == 0 {
            at = at.min(self.last_follow + Duration::from_secs(1) / FOLLOWS_PER_SECOND);
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
            self.start_polls();
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
            self.enqueue(&key, Class::Rest);
        }
    }

    fn start_syncs(&mut self) {
        while self.running < WORKERS {
            let Some((key, class)) = self.queue.pop() else { return };
            if self.waits_for_its_namespace(&key, class) || self.waits_for_its_store(&key, class) {
                continue;
            }
            let Some(job) = self.job(&key) else { continue };
            self.running += 1;
            if let Some(state) = self.stores.get_mut(&job.reference.store) {
                state.syncing += 1;
            }
            let (context, tell) = (self.parts.context.clone(), self.tell.clone());
            let lost = Outcome::lost(&job.reference);
            tokio::spawn(async move {
                // A sync that breaks down must not keep its reference for ever.
                let outcome = tokio::spawn(async move { sync(&context, job).await }).await.unwrap_or(lost);
                let _ = tell.send(Message::Synced(Box::new(outcome)));
            });
        }
    }

    /// One store that hangs must not take all workers: beyond its share, its references stand aside.
    fn waits_for_its_store(&mut self, key: &ObjectKey, class: Class) -> bool {
        let Some(tracked) = self.references.get(key) else { return false };
        let Some(state) = self.stores.get_mut(&tracked.model.store) else { return false };
        if state.syncing >= WORKERS_PER_STORE {
            state.aside.push_back((key.clone(), class));
            return true;
        }
        false
    }

    /// A sync of this store came back: the next one that stood aside gets in line again.
    pub(super) fn store_has_room(&mut self, store: &StoreName) {
        let Some(state) = self.stores.get_mut(store) else { return };
        state.syncing = state.syncing.saturating_sub(1);
        if let Some((key, class)) = state.aside.pop_front() {
            self.enqueue(&key, class);
        }
    }

    fn job(&mut self, key: &ObjectKey) -> Option<Job> {
        let store_name = self.references.get(key)?.model.store.clone();
        let store = self.stores.get(&store_name);
        if store.is_some_and(|s| !s.settled) {
            return None;
        }
        let view = store.map(|s| StoreView {
            tenancy: s.object.tenancy.clone(),
            scheme: s.object.scheme,
            blocked: s.blocked.as_ref().map(|p| Problem::new(p.reason, s.mirror.message.clone())),
            layers: s.layers.clone(),
            health: s.mirror.clone(),
        });
        let resolved_before = self.table.resolved_before(key);
        let labels = self.namespaces.get(&key.namespace)?.seen.labels.clone();
        let rival = self.rival(key);
        let mut failing = self.table.failures(key);
        let tracked = self.references.get_mut(key).filter(|t| !t.running)?;
        tracked.running = true;
        // Told by a poll, it is believed; told to try again, it tries.
        let fresh = std::mem::take(&mut tracked.fresh) | (std::mem::take(&mut tracked.ask) && !failing.is_empty());
        if fresh {
            failing.clear();
        }
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        Some(Job {
            reference: tracked.model.clone(),
            labels,
            store: view,
            target: self.targets.get(&target).cloned(),
            rival,
            fresh,
            failing,
            resolved_before,
            repair: std::mem::take(&mut tracked.repair),
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

    fn start_polls(&mut self) {
        let now = Self::now();
        let names: Vec<StoreName> =
            self.stores.iter().filter(|(_, s)| s.can_be_polled()).map(|(n, _)| n.clone()).collect();
        for name in names {
            let Some(state) = self.stores.get_mut(&name) else { continue };
            let Some(layers) = state.layers.clone() else { continue };
            let room = layers.settings().max_concurrent.saturating_sub(state.polling);
            let due = self.table.take_due(&state.object.uid, room, now);
            state.polling += due.len();
            for read in due {
                self.parts.metrics.poll(&layers.identity().label());
                let (layers, tell, name) = (layers.clone(), self.tell.clone(), name.clone());
                let (generation, requester) = (state.object.generation, self.parts.requester.clone());
                tokio::spawn(async move {
                    let answer = poll(&layers, &read, &requester).await;
                    let _ = tell.send(Message::Polled(name, generation, read, answer));
                });
            }
        }
    }

    fn start_follows(&mut self) {
        let room =
            |e: &Self| e.queue_is_idle() && e.last_follow.elapsed() >= Duration::from_secs(1) / FOLLOWS_PER_SECOND;
        while !self.follows.is_empty() && room(self) {
            let Some(key) = self.follows.pop_front() else { return };
            if self.references.get(&key).is_some_and(|t| t.running) {
                // The sync that is under way may have begun before the store changed.
                self.enqueue(&key, Class::Rest);
                continue;
            }
            let Some(job) = self.job(&key) else { continue };
            self.last_follow = Instant::now();
            self.following += 1;
            let (context, tell) = (self.parts.context.clone(), self.tell.clone());
            tokio::spawn(async move {
                let outcome = follow(&context, job).await;
                let _ = tell.send(Message::Followed(Box::new(outcome)));
            });
        }
    }

    fn queue_is_idle(&self) -> bool {
        self.running < WORKERS / 2
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

impl super::StoreState {
    /// A store in trouble is probed, not polled.
    pub(super) fn can_be_polled(&self) -> bool {
        let Some(layers) = &self.layers else { return false };
        self.settled
            && self.blocked.is_none()
            && self.health.ready == Some(true)
            && self.polling < layers.settings().max_concurrent
            && layers.circuit() == Circuit::Closed
            && layers.held_for().is_none()
    }
}
