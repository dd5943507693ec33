//! What comes back: syncs, polls, status patches.

use std::time::Duration;

use super::{Engine, Standing};
use crate::{
    api::Reason,
    operator::{
        model::{ObjectKey, StoreName},
        queue::Class,
        worker::Outcome,
    },
    refresh::State,
    resolve::{Problem, Read},
};

/// The longest wait between two tries at the same thing.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

impl Engine {
    pub(super) fn synced(&mut self, outcome: Outcome) {
        self.running = self.running.saturating_sub(1);
        if let Some(store) = &outcome.store {
            self.store_has_room(store);
        }
        let Some(key) = outcome.key.clone() else { return };
        let Some(tracked) = self.references.get_mut(&key) else { return };
        tracked.running = false;
        if tracked.model.uid != outcome.uid {
            self.enqueue(&key, Class::New);
            return;
        }
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        match &outcome.target {
            Some(Some(meta)) => {
                let newer = self.targets.get(&target).is_none_or(|k| k.uid != meta.uid || k.version <= meta.version);
                if newer {
                    self.targets.insert(target, meta.clone());
                }
            }
            Some(None) => {
                self.targets.remove(&target);
            }
            None => {}
        }
        if let Some((status, version)) = &outcome.status {
            tracked.model.set_status(status, version.unwrap_or_default());
        }
        tracked.standing = match &outcome.problem {
            None => Standing::Synced,
            Some(problem) => Standing::Failing(problem.reason),
        };
        let again = tracked.again.take();
        self.subscribe(&key, &outcome);
        self.retry(&key, &outcome);
        match again {
            Some(class) => self.enqueue(&key, class),
            None => self.repair_if_drifted(&key),
        }
    }

    /// The key table learns what the reference stands on, and what the store said about it.
    fn subscribe(&mut self, key: &ObjectKey, outcome: &Outcome) {
        let now = Self::now();
        let Some(tracked) = self.references.get(key) else { return };
        let Some(state) = self.stores.get(&tracked.model.store) else {
            self.table.unsubscribe(key, now);
            return;
        };
        let interval = tracked.model.spec().map(|s| s.refresh_interval()).unwrap_or_default();
        if outcome.reads.is_empty() || interval.is_zero() {
            self.table.unsubscribe(key, now);
            return;
        }
        let uid = state.object.uid.clone();
        let interval = interval.max(state.object.settings.min_refresh_interval);
        self.table.subscribe(key, &uid, outcome.reads.clone(), interval, |_| false, now);
        let mut doubtful = false;
        for (read, state) in &outcome.states {
            // What the cache said does not outweigh a poll that failed: the next one decides.
            if !outcome.fresh && !matches!(state, State::Failed(_)) && self.table.failing(&uid, read).is_some() {
                doubtful = true;
                continue;
            }
            for other in self.table.observe(&uid, read, state.clone(), now) {
                if other != *key {
                    self.on_news(&other);
                }
            }
        }
        if doubtful {
            self.enqueue(key, Class::Rest);
        }
    }

    /// When to try again, where nothing else will tell.
    fn retry(&mut self, key: &ObjectKey, outcome: &Outcome) {
        self.no_wake(key);
        if let Some(after) = outcome.until_stale {
            self.wake_in(key, after.max(Duration::from_secs(1)));
        }
        let Some(tracked) = self.references.get_mut(key) else { return };
        let polled = !outcome.reads.is_empty() && tracked.model.spec().is_ok_and(|s| !s.refresh_interval().is_zero());
        let wait = match &outcome.problem {
            None => None,
            Some(Problem { retry_after: Some(after), .. }) => Some(*after),
            Some(problem) => match problem.reason {
                Reason::TargetConflict | Reason::TargetImmutable | Reason::TargetRejected => {
                    Some(backoff(tracked.failures))
                }
                // What is polled wakes its references by itself, and costs no more than a healthy key.
                Reason::AuthenticationFailed
                | Reason::PermissionDenied
                | Reason::RateLimited
                | Reason::StoreUnavailable
                | Reason::StoreMisconfigured
                | Reason::StoreNotReady
                    if !polled =>
                {
                    Some(backoff(tracked.failures + 2))
                }
                _ => None,
            },
        };
        let wait =
            if outcome.status_failed { Some(backoff(tracked.failures).min(wait.unwrap_or(MAX_BACKOFF))) } else { wait };
        tracked.failures = if wait.is_some() { tracked.failures.saturating_add(1) } else { 0 };
        if let Some(wait) = wait {
            self.wake_in(key, wait);
        }
    }

    pub(super) fn polled(&mut self, name: &StoreName, generation: i64, read: &Read, answer: Option<State>) {
        let Some(state) = self.stores.get_mut(name) else { return };
        if state.object.generation != generation {
            return;
        }
        state.polling = state.polling.saturating_sub(1);
        let uid = state.object.uid.clone();
        let Some(answer) = answer else { return };
        let failed = matches!(answer, State::Failed(_));
        if !failed {
            state.last_success = Some(jiff::Timestamp::now());
        }
        for key in self.table.observe(&uid, read, answer, Self::now()) {
            // Trouble with one key is told by a sync, whoever adopted what.
            if failed { self.enqueue(&key, Class::Rest) } else { self.on_news(&key) }
        }
    }

    pub(super) fn followed(&mut self, outcome: Outcome) {
        self.following = self.following.saturating_sub(1);
        let Some(key) = outcome.key.clone() else { return };
        let Some(tracked) = self.references.get_mut(&key) else { return };
        tracked.running = false;
        if tracked.model.uid == outcome.uid {
            if let Some((status, version)) = &outcome.status {
                tracked.model.set_status(status, version.unwrap_or_default());
            }
            if let Some(problem) = &outcome.problem {
                tracked.standing = Standing::Failing(problem.reason);
            }
        }
        let again = tracked.again.take();
        if let Some(after) = outcome.until_stale {
            self.wake_in(&key, after.max(Duration::from_secs(1)));
        }
        if let Some(class) = again {
            self.enqueue(&key, class);
        }
    }
}

/// 5 s doubling to 5 min, give or take a fifth.
fn backoff(failures: u32) -> Duration {
    let base = Duration::from_secs(5).saturating_mul(2_u32.saturating_pow(failures.min(10))).min(MAX_BACKOFF);
    base.mul_f64(rand::random_range(0.8..1.2))
}
