//! Stores' health: from the probes to the store objects at once, and to their references after two failed ones.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{Engine, Standing, StoreState};
use crate::{
    api::{Reason, condition_types::READY},
    operator::{
        conclude::Health,
        cycles::{ReferenceMakes, StoreNeeds, cycles},
        keeper::{Era, News},
        model::{ObjectKey, StoreName},
        queue::Class,
    },
    resolve::Problem,
    stores::{Change, StoreError},
};

/// References turn unhealthy at most once in so many probe intervals: 5 minutes by default.
const PROBES_PER_FLIP: u32 = 10;

impl Engine {
    pub(super) fn keeper(&mut self, name: &StoreName, era: &Era, news: News) {
        let Some(state) = self.stores.get_mut(name).filter(|s| s.object.era() == *era) else { return };
        if state.keeper.is_none() {
            return;
        }
        match news {
            News::Connected(layers) => {
                state.logins = 0;
                let push = layers.store().watch().is_some();
                state.layers = Some(layers);
                state.polling = 0;
                state.surveying = false;
                let (uid, rate) = (state.object.uid.clone(), state.object.settings.requests_per_second);
                self.table.store(&uid, rate, push);
            }
            News::Probed(result) => self.probed(name, result),
            News::Changed(change) => self.pushed(name, change),
            News::Noticed(changed) => {
                let uid = state.object.uid.clone();
                self.noticed(&uid, &changed);
            }
        }
    }

    fn probed(&mut self, name: &StoreName, result: Result<crate::api::Capabilities, StoreError>) {
        let Some(state) = self.stores.get_mut(name) else { return };
        let overload = self.table.overload(&state.object.uid).or_else(|| state.backlog());
        let logins = state.layers.as_ref().map_or(0, |l| l.store().logins());
        for _ in state.logins..logins {
            self.parts.metrics.login(&name.label());
        }
        state.logins = logins;
        match result {
            Ok(capabilities) => {
                state.failed_probes = 0;
                state.capabilities = Some(capabilities);
                state.may_list = capabilities.list;
                state.last_success = Some(Timestamp::now());
                state.health = match overload {
                    None => Health { ready: Some(true), reason: Reason::Healthy, message: "the store answers".into() },
                    Some(factor) => Health {
                        ready: Some(true),
                        reason: Reason::Overloaded,
                        message: format!(
                            "the keys in use ask for more than the store's limits allow: intervals are stretched by {}; raise limits.requestsPerSecond or refreshInterval",
                            factor.ceil()
                        ),
                    },
                };
            }
            Err(error) => {
                state.failed_probes += 1;
                let message = stable(&error);
                state.health = Health { ready: Some(false), reason: error.failure.reason(), message };
            }
        }
        if let Some(blocked) = &state.blocked {
            state.health = Health { ready: Some(false), reason: blocked.reason, message: blocked.message.clone() };
            state.failed_probes = state.failed_probes.max(2);
        }
        // Where the first probe failed, references were looked at without knowing, and say so.
        let first = state.mirror.ready.is_none() && !state.settled;
        let recovered = state.health.ready == Some(true) && state.mirror.ready == Some(false);
        let mirror = mirrored(name, &state.health);
        let flips = state.must_flip(&mirror);
        if flips {
            state.mirror = mirror;
        }
        let healthy = state.health.ready == Some(true);
        self.settle_store(name);
        // What is adopted from a healthy store says so already.
        if flips && !(first && healthy) {
            self.follow_all(name, recovered);
        }
        self.write_store_status(name);
    }

    /// References whose status says otherwise get a patch each, in their turn; those that failed are synced again.
    fn follow_all(&mut self, name: &StoreName, recovered: bool) {
        for key in self.references_of(name) {
            let Some(tracked) = self.references.get_mut(&key) else { continue };
            if recovered && !tracked.standing.is_in_sync() {
                tracked.ask = true;
                self.enqueue(&key, Class::Rest);
            } else if tracked.standing != Standing::Unknown || tracked.running {
                // The first sync of all may be about to write what was true when it began.
                self.follow(&key);
            }
        }
    }

    /// Puts a reference in line for a patch that follows its store, once.
    pub(super) fn follow(&mut self, key: &ObjectKey) {
        if let Some(tracked) = self.references.get_mut(key)
            && !std::mem::replace(&mut tracked.follows, true)
        {
            self.follows.push_back(key.clone());
        }
    }

    /// A store told changes by itself.
    fn pushed(&mut self, name: &StoreName, change: Change) {
        let Some(state) = self.stores.get_mut(name) else { return };
        let (all, uid, now) = (state.pushed.get_or_insert_default(), &state.object.uid, Self::now());
        let woken = match change {
            Change::All(keys) => {
                *all = keys.into_iter().collect();
                self.table.observe_all(uid, all, now)
            }
            Change::Key(key, token) => {
                match token {
                    Some(token) => all.insert(key.clone(), token),
                    None => all.remove(&key),
                };
                self.table.observe_push(uid, &key, all, now)
            }
        };
        for key in woken {
            // The cache does not know of it: what is pushed goes past it.
            if let Some(tracked) = self.references.get_mut(&key) {
                tracked.fresh |= !matches!(tracked.standing, Standing::Adopted(_));
            }
            self.on_news(&key);
        }
    }

    pub(super) fn find_cycles(&mut self) {
        let stores: Vec<StoreNeeds> = self
            .stores
            .iter()
            .map(|(name, s)| StoreNeeds {
                store: name.clone(),
                credentials: s
                    .object
                    .credentials(name.namespace.as_deref())
                    .into_iter()
                    .filter(|(kind, ..)| *kind == crate::api::CaRefKind::Secret)
                    .map(|(_, namespace, secret)| (namespace.into(), secret.into()))
                    .collect(),
            })
            .collect();
        let held = stores.iter().flat_map(|s| &s.credentials);
        self.credential_secrets =
            held.map(|(namespace, name)| ObjectKey { namespace: namespace.clone(), name: name.clone() }).collect();
        let makers = self.credential_secrets.iter().filter_map(|secret| self.by_target.get(secret)).flatten();
        let references: Vec<_> = makers
            .filter_map(|key| self.references.get(key))
            .map(|t| ReferenceMakes {
                namespace: t.model.key.namespace.clone(),
                name: t.model.key.name.clone(),
                target: (t.model.key.namespace.clone(), t.model.target.clone()),
                store: t.model.store.clone(),
            })
            .collect();
        let found = cycles(&stores, &references);
        let names: Vec<StoreName> = self.stores.keys().cloned().collect();
        for name in names {
            let Some(state) = self.stores.get_mut(&name).filter(|s| s.keeper.is_some()) else { continue };
            let blocked = found.get(&name).map(|sentence| Problem::new(Reason::StoreNotReady, sentence.clone()));
            if state.blocked == blocked {
                continue;
            }
            state.blocked = blocked;
            if let Some(problem) = &state.blocked {
                state.health = Health { ready: Some(false), reason: problem.reason, message: problem.message.clone() };
                state.mirror = mirrored(&name, &state.health);
                self.write_store_status(&name);
                self.settle_store(&name);
            }
            for key in self.references_of(&name) {
                self.enqueue(&key, Class::Rest);
            }
        }
    }

    pub(super) fn report_references(&self) {
        let mut counts: BTreeMap<(bool, Reason), usize> = BTreeMap::new();
        let mut oldest = Duration::ZERO;
        let now = Timestamp::now();
        for tracked in self.references.values() {
            let (ready, reason) = match &tracked.standing {
                Standing::Synced | Standing::Adopted(_) => (true, Reason::Synced),
                Standing::Failing(reason) => {
                    let status = tracked.model.status();
                    let failing =
                        crate::operator::conclude::find(&status.conditions, crate::api::condition_types::SYNCED);
                    if let Some(c) = failing.filter(|c| c.status == "False") {
                        let age = now.as_second() - c.last_transition_time.0.as_second();
                        oldest = oldest.max(Duration::from_secs(u64::try_from(age).unwrap_or_default()));
                    }
                    let ready = crate::operator::conclude::find(&status.conditions, READY);
                    (ready.is_some_and(|c| c.status == "True"), *reason)
                }
                Standing::Unknown => (false, Reason::Probing),
            };
            *counts.entry((ready, reason)).or_default() += 1;
        }
        self.parts.metrics.references(&counts);
        self.parts.metrics.oldest_unsynced(oldest);
    }
}

impl StoreState {
    /// Whether the references must follow now: at once when all is well, else after two failed probes, and not again
    /// for a while.
    fn must_flip(&mut self, mirror: &Health) -> bool {
        if self.mirror == *mirror || mirror.ready == Some(true) {
            return self.mirror != *mirror;
        }
        let calm = self.object.settings.health_check_interval * PROBES_PER_FLIP;
        if self.failed_probes < 2 || self.last_down.is_some_and(|t| t.elapsed() < calm) {
            return false;
        }
        self.last_down = Some(Instant::now());
        true
    }
}

/// What a store's references say of it. A tenant learns that the platform's store is in trouble and of which kind, not
/// which address, Secret or other tenant's reference has to do with it.
pub(super) fn mirrored(name: &StoreName, health: &Health) -> Health {
    if health.ready == Some(true) {
        // Whether its limits suffice is between it and the platform team.
        return Health { ready: Some(true), reason: Reason::Healthy, message: "the store answers".into() };
    }
    if name.namespace.is_some() {
        return health.clone();
    }
    let what = match health.reason {
        Reason::AuthenticationFailed => "rejects the operator's login",
        Reason::PermissionDenied => "does not let the operator in",
        Reason::RateLimited => "said slow down",
        Reason::StoreMisconfigured => "is misconfigured",
        Reason::StoreNotReady => "is not ready to be used",
        _ => "does not answer",
    };
    let message =
        format!("{name} {what}: the platform team sees in its status why and what to do; targets keep their content");
    Health { message, ..health.clone() }
}

/// A sentence that does not tick: conditions would change at every look.
fn stable(error: &StoreError) -> String {
    match error.failure {
        crate::stores::Failure::RateLimited(_) => {
            "the store said slow down: raise its quota or lower limits.requestsPerSecond".into()
        }
        _ => error.message.to_string(),
    }
}
