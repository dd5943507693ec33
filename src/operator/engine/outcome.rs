//! What comes back: syncs, polls, status patches.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use super::{Engine, Standing, notified::poll_interval};
use crate::{
    api::Reason,
    operator::{job::Outcome, model::ObjectKey, queue::Class},
    refresh::{State, pushed_state},
    resolve::{Problem, Read},
};

/// The longest wait between two tries at the same thing.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// After so long, and up to [`SPREAD`] more, a target that cannot be looked at is put again.
const PUT_AGAIN: Duration = Duration::from_secs(50 * 60);

/// What was put at once is not put again at once.
const SPREAD: Duration = Duration::from_secs(10 * 60);

impl Engine {
    pub(super) fn synced(&mut self, outcome: Outcome) {
        if let (Some(key), Some(store)) = (&outcome.key, &outcome.store) {
            self.pools(store).for_each(|pool| pool.give(&key.namespace));
        }
        let Some(key) = outcome.key.clone() else { return };
        let Some(tracked) = self.references.get_mut(&key) else { return };
        if tracked.model.uid != outcome.uid {
            // Its successor may be under way already.
            return;
        }
        tracked.running = false;
        tracked.task = None;
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        let gone = tracked.gone.take();
        match &outcome.target {
            Some(Some(meta)) if gone.as_deref() == Some(&*meta.uid) => {}
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
        let content = match &outcome.target {
            Some(meta) => meta.as_ref().and_then(|m| m.stamp(&key.name)?.content()),
            None => self.content(&key),
        };
        if let Some(tracked) =
            self.references.get_mut(&key).filter(|_| outcome.target.is_some() || outcome.problem.is_none())
        {
            tracked.content = content;
        }
        self.subscribe(&key, &outcome);
        self.retry(&key, &outcome);
        self.put_again_later(&key, matches!(outcome.target, Some(Some(_))));
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
        if outcome.era.as_ref().is_some_and(|era| *era != state.object.era()) {
            // The store changed meanwhile: what the former one said is nothing that this one said.
            self.table.unsubscribe(key, now);
            self.enqueue(key, Class::Rest);
            return;
        }
        let interval = tracked.model.spec().map(|s| s.refresh_interval()).unwrap_or_default();
        if outcome.reads.is_empty() {
            self.table.unsubscribe(key, now);
            return;
        }
        let uid = state.object.uid.clone();
        let interval = poll_interval(interval, state.object.settings.min_refresh_interval);
        self.table.subscribe(key, &uid, outcome.reads.clone(), interval, |_| false, now);
        for doubted in &outcome.doubted {
            self.table.assume_present(&uid, doubted);
        }
        let behind = self.behind_the_watch(key, outcome) || self.behind_a_look(key, &uid, outcome);
        let mut doubtful = false;
        for (read, state) in &outcome.states {
            // What the cache said is as old as the cache says it is.
            if outcome.fresh || (matches!(state, State::Failed(_)) && self.table.failing(&uid, read).is_none()) {
                self.table.looked(&uid, read, now);
            }
            // What the cache said does not outweigh a poll that failed: the next one decides.
            if !outcome.fresh && !matches!(state, State::Failed(_)) && self.table.failing(&uid, read).is_some() {
                doubtful = true;
                continue;
            }
            for other in self.table.observe(&uid, read, state.clone(), now) {
                // Its own second look at an absence is news to itself, too.
                if other != *key || (outcome.problem.is_some() && matches!(state, State::Absent)) {
                    self.on_news(&other);
                }
            }
        }
        if behind && let Some(tracked) = self.references.get_mut(key) {
            tracked.fresh = true;
        }
        if doubtful || behind {
            self.enqueue(key, Class::Rest);
        }
    }

    /// A store that tells changes by itself told of another state before the reference stood on the key: the answer
    /// came from the cache, or the change came in between.
    fn behind_the_watch(&self, key: &ObjectKey, outcome: &Outcome) -> bool {
        let store = self.references.get(key).and_then(|t| self.stores.get(&t.model.store));
        let Some(all) = store.and_then(|s| s.pushed.as_ref()).filter(|_| !outcome.fresh) else { return false };
        outcome.states.iter().any(|(read, state)| {
            !matches!(state, State::Failed(_)) && pushed_state(read, all).is_some_and(|now| now != *state)
        })
    }

    /// A reference that has to be told, and what it stands on was seen in another state while its sync was under way: who
    /// was told of that did not yet count it in, and nobody would tell it again.
    fn behind_a_look(&self, key: &ObjectKey, store: &str, outcome: &Outcome) -> bool {
        let other = |(read, state): &(Read, State)| match (self.table.state(store, read), state) {
            (None, _) | (_, State::Failed(_)) => false,
            (Some(State::Present(known)), State::Present(read)) => known != read && !known.is_still(read),
            (Some(known), read) => known != read,
        };
        !outcome.fresh && self.table.has_to_be_told(key) && outcome.states.iter().any(other)
    }

    /// Where targets cannot be looked at, each is put again after a while: that repairs it.
    fn put_again_later(&mut self, key: &ObjectKey, put: bool) {
        if !self.parts.context.writer.write_only {
            return;
        }
        let Some(tracked) = self.references.get_mut(key) else { return };
        if put {
            tracked.put = Some(Instant::now());
        }
        if let Some(put) = tracked.put {
            let at = put + PUT_AGAIN + spread(key);
            self.wake_in(key, at.saturating_duration_since(Instant::now()));
        }
    }

    /// It has been in place for long enough without a look.
    pub(super) fn forget_what_was_put(&mut self, key: &ObjectKey) {
        let Some(tracked) = self.references.get(key) else { return };
        if tracked.put.is_some_and(|put| put.elapsed() >= PUT_AGAIN) {
            let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
            self.targets.remove(&target);
        }
    }

    /// When to try again, where nothing else will tell.
    fn retry(&mut self, key: &ObjectKey, outcome: &Outcome) {
        self.no_wake(key);
        if let Some(after) = outcome.until_stale {
            self.wake_in(key, after.max(Duration::from_secs(1)));
        }
        let Some(tracked) = self.references.get_mut(key) else { return };
        // Pinned versions are not polled: what failed there is asked again, what is not there may yet be written.
        let pinned = outcome.states.iter().any(|(read, state)| {
            matches!(read, Read::Key(_, Some(_))) && matches!(state, State::Failed(_) | State::Absent)
        });
        let polled =
            !pinned && !outcome.reads.is_empty() && tracked.model.spec().is_ok_and(|s| !s.refresh_interval().is_zero());
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
                | Reason::SecretNotFound
                    if !polled && (pinned || problem.reason != Reason::SecretNotFound) =>
                {
                    Some(backoff(tracked.failures + 2))
                }
                _ => None,
            },
        };
        let wait = if outcome.status_failed || outcome.again {
            Some(backoff(tracked.failures).min(wait.unwrap_or(MAX_BACKOFF)))
        } else {
            wait
        };
        tracked.failures = if wait.is_some() { tracked.failures.saturating_add(1) } else { 0 };
        if let Some(wait) = wait {
            self.wake_in(key, wait);
        }
    }

    pub(super) fn followed(&mut self, outcome: Outcome) {
        self.following = self.following.saturating_sub(1);
        let Some(key) = outcome.key.clone() else { return };
        let Some(tracked) = self.references.get_mut(&key).filter(|t| t.model.uid == outcome.uid) else { return };
        tracked.running = false;
        let again = tracked.again.take();
        match &outcome.status {
            Some((status, version)) => {
                tracked.model.set_status(status, version.unwrap_or_default());
                if let Some(problem) = &outcome.problem {
                    tracked.standing = Standing::Failing(problem.reason);
                }
            }
            None if outcome.status_failed => self.wake_in(&key, backoff(1)),
            None => {}
        }
        if let Some(after) = outcome.until_stale {
            self.wake_in(&key, after.max(Duration::from_secs(1)));
        }
        if let Some(class) = again {
            self.enqueue(&key, class);
        }
    }
}

fn spread(key: &ObjectKey) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    SPREAD.mul_f64((hasher.finish() % 1000) as f64 / 1000.0)
}

/// 5 s doubling to 5 min, give or take a fifth.
fn backoff(failures: u32) -> Duration {
    let base = Duration::from_secs(5).saturating_mul(2_u32.saturating_pow(failures.min(10))).min(MAX_BACKOFF);
    base.mul_f64(rand::random_range(0.8..1.2))
}
