//! What the watches say: references, targets, namespaces, stores.

use std::{sync::Arc, time::Instant};

use super::{Engine, Known, Standing, StoreState, Tracked};
use crate::{
    api::{CreationPolicy, DeletionPolicy, Reason},
    operator::{
        conclude::{Health, find},
        keeper::{StoreObject, keep},
        model::{ObjectKey, Reference, StoreName},
        queue::Class,
        stamp::{STAMP_PREFIX, Sources, slug},
        target::{Ownership, TargetMeta, manager},
        tenancy,
        watch::{NamespaceSeen, Seen},
    },
    refresh::State,
    resolve::{Answer, Answers, Problem, Read, reads},
};

impl Engine {
    pub(super) fn reference(&mut self, seen: Seen<ObjectKey, Box<Reference>>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Deleted(key, _) => self.forget(&key, true),
            Seen::Applied(key, model) => self.track(&key, *model),
        }
    }

    fn track(&mut self, key: &ObjectKey, mut model: Reference) {
        if self.references.get(key).is_some_and(|t| t.model.uid != model.uid) {
            // Recreated under its name: the new one takes over what the old one held.
            self.forget(key, false);
        }
        let target = ObjectKey { namespace: key.namespace.clone(), name: model.target.clone() };
        let Some(tracked) = self.references.get_mut(key) else {
            self.by_namespace.entry(key.namespace.clone()).or_default().insert(key.clone());
            self.by_target.entry(target).or_default().insert(key.clone());
            self.references.insert(key.clone(), Tracked::new(model));
            self.cycles_stale = true;
            if self.started {
                self.settle(key);
            }
            return;
        };
        model.keep_newer_status(&tracked.model);
        let respecified = tracked.model.generation != model.generation;
        let asked = tracked.model.sync_now != model.sync_now && model.sync_now.is_some();
        tracked.fresh |= asked;
        tracked.model = model;
        if respecified {
            self.cycles_stale = true;
        }
        if respecified || asked {
            self.no_wake(key);
            self.enqueue(key, Class::New);
        }
    }

    fn forget(&mut self, key: &ObjectKey, release: bool) {
        self.no_wake(key);
        let Some(tracked) = self.references.remove(key) else { return };
        self.queue.remove(key);
        self.table.unsubscribe(key, Self::now());
        self.cycles_stale = true;
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        if let Some(others) = self.by_target.get_mut(&target) {
            others.remove(key);
            if others.is_empty() {
                self.by_target.remove(&target);
            }
        }
        if let Some(others) = self.by_namespace.get_mut(&key.namespace) {
            others.remove(key);
            if others.is_empty() {
                self.by_namespace.remove(&key.namespace);
                if let Some(known) = self.namespaces.get_mut(&key.namespace) {
                    known.verified = false;
                }
            }
        }
        let merges = tracked.model.spec().is_ok_and(|s| {
            s.creation_policy() == CreationPolicy::Merge && s.deletion_policy() == DeletionPolicy::Delete
        });
        if release && merges && self.started {
            self.release(&target, &slug(&key.name));
        }
    }

    /// Takes the keys of a merging reference that is gone out of its target.
    fn release(&self, target: &ObjectKey, reference_slug: &str) {
        let Some(meta) = self.targets.get(target) else { return };
        let (writer, target, uid) = (self.parts.context.writer.clone(), target.clone(), meta.uid.clone());
        let reference = reference_slug.to_owned();
        tokio::spawn(async move {
            if let Err(error) = writer.release(&target.namespace, &target.name, &reference, &uid).await {
                tracing::warn!(secret = %target, %error, "merged keys not removed");
            }
        });
    }

    /// After a start: merged keys of references that went while nobody looked.
    pub(super) fn sweep(&mut self) {
        let mut gone = Vec::new();
        for (key, meta) in &self.targets {
            for (annotation, stamp) in &meta.stamps {
                let name = annotation.strip_prefix(STAMP_PREFIX).unwrap_or_default();
                let merged = meta.fields.contains_key(&manager(name, CreationPolicy::Merge));
                let alive = self.by_target.get(key).is_some_and(|r| r.iter().any(|k| slug(&k.name) == name));
                if merged && stamp.delete && !alive {
                    gone.push((key.clone(), name.to_owned()));
                }
            }
        }
        for (target, reference) in gone {
            self.release(&target, &reference);
        }
    }

    pub(super) fn target(&mut self, seen: Seen<ObjectKey, TargetMeta>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Deleted(key, last) => {
                // Late news of a Secret that was written anew since.
                let other = |known: &TargetMeta| last.as_ref().is_some_and(|l| l.uid != known.uid);
                if !self.targets.get(&key).is_some_and(other) {
                    self.targets.remove(&key);
                    self.look_at_target(&key);
                }
            }
            Seen::Applied(key, meta) => {
                if self.targets.get(&key).is_none_or(|known| known.uid != meta.uid || known.version <= meta.version) {
                    self.targets.insert(key.clone(), meta);
                    self.look_at_target(&key);
                }
            }
        }
    }

    /// Drift repair on watch: a deleted target, or fields that we no longer hold.
    fn look_at_target(&mut self, target: &ObjectKey) {
        let references: Vec<ObjectKey> = self.by_target.get(target).into_iter().flatten().cloned().collect();
        for key in references {
            self.repair_if_drifted(&key);
        }
    }

    pub(super) fn repair_if_drifted(&mut self, key: &ObjectKey) {
        let Some(tracked) = self.references.get_mut(key) else { return };
        let settled = matches!(tracked.standing, Standing::Synced | Standing::Adopted(_));
        if tracked.running || !settled {
            return;
        }
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        let Ok(spec) = tracked.model.spec() else { return };
        if spec.is_suspended() {
            return;
        }
        let drifted = self.targets.get(&target).is_none_or(|m| m.has_drifted(&tracked.model, spec.creation_policy()));
        if !drifted {
            return;
        }
        tracked.repair = true;
        // Against someone who keeps changing it back: slower each time.
        let now = Instant::now();
        let calm = tracked.last_repair.is_none_or(|t| now - t > std::time::Duration::from_secs(60));
        tracked.repairs = if calm { 0 } else { tracked.repairs + 1 };
        tracked.last_repair = Some(now);
        if tracked.repairs == 0 {
            self.enqueue(key, Class::Changed);
        } else {
            let wait = std::time::Duration::from_millis(500) * 2_u32.pow(tracked.repairs.min(7));
            self.wake_in(key, wait);
        }
    }

    pub(super) fn namespace(&mut self, seen: Seen<Arc<str>, NamespaceSeen>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Deleted(name, _) => {
                self.namespaces.remove(&name);
            }
            Seen::Applied(name, seen) => {
                let known = self.namespaces.get(&name);
                let relabelled = known.is_some_and(|k| k.seen.labels != seen.labels);
                let verified = known.is_some_and(|k| k.verified);
                self.namespaces.insert(name.clone(), Known { seen, verified });
                if relabelled {
                    let references: Vec<ObjectKey> =
                        self.by_namespace.get(&name).into_iter().flatten().cloned().collect();
                    for key in references {
                        self.enqueue(&key, Class::Changed);
                    }
                }
            }
        }
    }

    pub(super) fn store(&mut self, seen: Seen<StoreName, Box<StoreObject>>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Deleted(name, _) => {
                self.cycles_stale = true;
                if let Some(mut state) = self.stores.remove(&name) {
                    state.close();
                    self.table.forget_store(&state.object.uid);
                    self.parts.cache.forget(&state.object.uid);
                }
                for key in self.references_of(&name) {
                    self.enqueue(&key, Class::Rest);
                }
            }
            Seen::Applied(name, object) => {
                let known = self.stores.get_mut(&name);
                match known {
                    Some(state) if state.object.uid == object.uid && state.object.generation == object.generation => {
                        if object.version >= state.object.version {
                            state.object.status = object.status;
                            state.object.version = object.version;
                        }
                        return;
                    }
                    Some(state) => {
                        state.close();
                        self.table.forget_store(&state.object.uid);
                        self.parts.cache.forget(&state.object.uid);
                    }
                    None => {}
                }
                self.stores.insert(name.clone(), StoreState::new(*object));
                self.cycles_stale = true;
                if self.started {
                    self.open_store(&name);
                }
            }
        }
    }

    /// Who names a store.
    pub(super) fn references_of(&self, store: &StoreName) -> Vec<ObjectKey> {
        self.references.values().filter(|t| t.model.store == *store).map(|t| t.model.key.clone()).collect()
    }

    pub(super) fn open_store(&mut self, name: &StoreName) {
        let refused = self.tenant_store_refused(name);
        let Some(state) = self.stores.get_mut(name) else { return };
        if let Some(problem) = refused {
            state.health = Health { ready: Some(false), reason: problem.reason, message: problem.message.clone() };
            state.mirror = super::health::mirrored(name, &state.health);
            state.blocked = Some(problem);
            self.settle_store(name);
            self.write_store_status(name);
            return;
        }
        let keeper = tokio::spawn(keep(self.parts.household.clone(), name.clone(), state.object.clone()));
        state.keeper = Some(keeper.abort_handle());
    }

    /// A tenant's store is off unless the platform allows such stores, and the host it names.
    fn tenant_store_refused(&self, name: &StoreName) -> Option<Problem> {
        name.namespace.as_ref()?;
        let refuse = |message: &str| Some(Problem::new(Reason::StoreNotReady, message));
        let Some(hosts) = &self.parts.tenant_hosts else {
            return refuse(
                "tenants' stores are off: ask the platform team for tenantStores.enabled, or use a ClusterSecretStore",
            );
        };
        let address = self.stores.get(name)?.object.address()?.to_owned();
        let authority = address.strip_prefix("https://").map(|a| a.split('/').next().unwrap_or_default());
        match authority {
            Some(authority) if hosts.iter().any(|h| h == authority || authority.strip_suffix(":443") == Some(h)) => {
                None
            }
            Some(_) => refuse(
                "this host is not one that tenants' stores may use: ask the platform team for tenantStores.allowedHosts",
            ),
            None => refuse("a tenant's store needs an https address"),
        }
    }

    /// The first probe of a store is in: its references are looked at.
    pub(super) fn settle_store(&mut self, name: &StoreName) {
        let Some(state) = self.stores.get_mut(name) else { return };
        if std::mem::replace(&mut state.settled, true) {
            return;
        }
        for key in self.references_of(name) {
            self.settle(&key);
        }
    }

    /// In sync according to what an earlier process left: nothing is read and nothing is written. Else it gets in line.
    pub(super) fn settle(&mut self, key: &ObjectKey) {
        let Some(tracked) = self.references.get(key) else { return };
        if self.stores.get(&tracked.model.store).is_some_and(|s| !s.settled) {
            return;
        }
        let status = tracked.model.status();
        let fresh = status.observed_generation.is_none_or(|g| g < tracked.model.generation);
        match self.adoptable(key) {
            Some(sources) => {
                self.subscribe_adopted(key, &sources);
                if let Some(tracked) = self.references.get_mut(key) {
                    tracked.standing = Standing::Adopted(sources);
                }
            }
            None => self.enqueue(key, if fresh { Class::New } else { Class::Rest }),
        }
    }

    /// The fingerprints of the sources, if target, status, spec and binding agree that it is in sync.
    fn adoptable(&self, key: &ObjectKey) -> Option<Sources> {
        let model = &self.references.get(key)?.model;
        let (spec, status) = (model.spec().ok()?, model.status());
        let synced = find(&status.conditions, crate::api::condition_types::SYNCED)?;
        let current = synced.status == "True" && synced.observed_generation == Some(model.generation);
        let ready = find(&status.conditions, crate::api::condition_types::READY).is_some_and(|c| c.status == "True");
        let handled = status.last_handled_sync_now.as_deref() == model.sync_now.as_deref();
        let meta = self.targets.get(&ObjectKey { namespace: key.namespace.clone(), name: model.target.clone() })?;
        let stamp = meta.stamp(&key.name)?;
        let policy = spec.creation_policy();
        let store = self.stores.get(&model.store).filter(|s| s.blocked.is_none())?;
        let labels = &self.namespaces.get(&key.namespace)?.seen.labels;
        let tenant = tenancy::bind(&store.object.tenancy, labels, &spec, "").ok()?;
        let ours = stamp.uid == *model.uid
            && stamp.generation == model.generation
            && stamp.key_id == self.parts.context.prints.id()
            && stamp.org.as_deref() == tenant.org.as_ref().map(|o| o.as_str())
            && meta.ownership(model, policy) == Ownership::Ours
            && !meta.has_drifted(model, policy);
        (current && ready && handled && ours && !spec.is_suspended()).then(|| stamp.sources.clone())
    }

    /// Subscribes to what the target was made from, as far as fingerprints tell; names that were found by a prefix
    /// follow when the store lists them.
    fn subscribe_adopted(&mut self, key: &ObjectKey, expected: &Sources) {
        let Some(model) = self.references.get(key).map(|t| t.model.clone()) else { return };
        let Some(store) = self.stores.get(&model.store) else { return };
        let Ok(spec) = model.spec() else { return };
        let Some(labels) = self.namespaces.get(&key.namespace).map(|n| &n.seen.labels) else { return };
        let Ok(tenant) = tenancy::bind(&store.object.tenancy, labels, &spec, "") else { return };
        let interval = spec.refresh_interval();
        if interval.is_zero() {
            return;
        }
        let interval = interval.max(store.object.settings.min_refresh_interval);
        let uid = &store.object.uid;
        let was_absent = |r: &Read| expected.contains(&self.parts.context.prints.source(&model.uid, r, &State::Absent));
        let mut answers = Answers::new();
        let wanted = loop {
            let wanted = reads(&spec, &tenant, &store.object.scheme, &answers);
            let before = answers.len();
            for read in &wanted {
                let known = self.table.state(uid, read).and_then(State::as_answer);
                let presumed = || match read {
                    Read::Key(..) if was_absent(read) => Some(Answer::Absent),
                    Read::Key(..) => Some(Answer::Present(None)),
                    Read::List(_) => None,
                };
                if !answers.contains_key(read)
                    && let Some(answer) = known.or_else(presumed)
                {
                    answers.insert(read.clone(), answer);
                }
            }
            if answers.len() == before {
                break wanted;
            }
        };
        self.table.subscribe(key, uid, wanted, interval, |r| !was_absent(r), Self::now());
        if let Some(all) = &store.pushed {
            self.table.observe_all(uid, all, Self::now());
        }
    }

    /// Something that a reference stands on was seen in a new state, or for the first time.
    pub(super) fn on_news(&mut self, key: &ObjectKey) {
        let Some(Standing::Adopted(expected)) = self.references.get(key).map(|t| t.standing.clone()) else {
            self.enqueue(key, Class::Changed);
            return;
        };
        self.subscribe_adopted(key, &expected);
        let Some(tracked) = self.references.get_mut(key) else { return };
        let prints = &self.parts.context.prints;
        let sources = self.table.sources(key);
        let as_before = |(read, state): &(&Read, Option<&State>)| {
            state.is_none_or(|s| expected.contains(&prints.source(&tracked.model.uid, read, s)))
        };
        if !sources.iter().all(as_before) {
            self.enqueue(key, Class::Changed);
        } else if sources.iter().all(|(_, state)| state.is_some()) {
            tracked.standing = Standing::Synced;
        }
    }
}

impl Tracked {
    fn new(model: Reference) -> Self {
        Self {
            fresh: model.sync_now.is_some()
                && model.status().last_handled_sync_now.as_deref() != model.sync_now.as_deref(),
            model,
            standing: Standing::Unknown,
            running: false,
            again: None,
            repair: false,
            failures: 0,
            repairs: 0,
            last_repair: None,
            wake: None,
        }
    }
}
