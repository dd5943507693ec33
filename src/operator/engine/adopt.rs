//! Restart costs nothing: what an earlier process left in sync is taken over, and checked key by key as the keys are
//! polled in their normal phases.

use super::{Engine, Standing, notified::poll_interval};
use crate::{
    operator::{
        conclude::find, model::ObjectKey, queue::Class, stamp::Sources, target::Ownership, telling::owes_restart,
        tenancy,
    },
    refresh::{State, pushed_state},
    resolve::{Answer, Answers, Read, reads},
};

impl Engine {
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
                let content = self.content(key);
                if let Some(tracked) = self.references.get_mut(key) {
                    tracked.standing = Standing::Adopted(sources);
                    tracked.content = content;
                }
                // What the store has told already is told no second time: a change that nobody wrote would be lost.
                if self.table.sources(key).iter().any(|(_, state)| state.is_some()) {
                    self.on_news(key);
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
        let healthy =
            find(&status.conditions, crate::api::condition_types::STORE_HEALTHY).is_some_and(|c| c.status == "True");
        let handled = status.last_handled_sync_now.as_deref() == model.sync_now.as_deref();
        let meta = self.targets.get(&ObjectKey { namespace: key.namespace.clone(), name: model.target.clone() })?;
        let stamp = meta.stamp(&key.name)?;
        // Who wrote it last was ended before it said so, or before workloads were restarted.
        let told = status.target.as_ref();
        let unfinished =
            told.and_then(|t| t.revision).unwrap_or_default() != stamp.revision || owes_restart(&stamp, &spec, told);
        let policy = spec.creation_policy();
        let store = self.stores.get(&model.store).filter(|s| s.blocked.is_none() && !s.changed)?;
        if store.object.status.observed_generation != Some(store.object.generation) {
            // A store of another spec may hold other values under the same keys and marks.
            return None;
        }
        let labels = &self.namespaces.get(&key.namespace)?.seen.labels;
        let tenant = tenancy::bind(&store.object.tenancy, labels, &spec, "").ok()?;
        let ours = stamp.uid == *model.uid
            && stamp.generation == model.generation
            && stamp.key_id == self.parts.context.prints.id()
            && stamp.org.as_deref() == tenant.org.as_ref().map(|o| o.as_str())
            && stamp.global == tenant.global
            && meta.ownership(model, policy) == Ownership::Ours
            && !meta.has_drifted(model, policy);
        (current && ready && healthy && handled && ours && !unfinished && !spec.is_suspended()).then_some(stamp.sources)
    }

    /// Subscribes to what the target was made from, as far as fingerprints tell; names that were found by a prefix
    /// follow when the store lists them.
    fn subscribe_adopted(&mut self, key: &ObjectKey, expected: &Sources) {
        let Some(model) = self.references.get(key).map(|t| t.model.clone()) else { return };
        let Some(store) = self.stores.get(&model.store) else { return };
        let Ok(spec) = model.spec() else { return };
        let Some(labels) = self.namespaces.get(&key.namespace).map(|n| &n.seen.labels) else { return };
        let Ok(tenant) = tenancy::bind(&store.object.tenancy, labels, &spec, "") else { return };
        let interval = poll_interval(spec.refresh_interval(), store.object.settings.min_refresh_interval);
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
        let seeds: Vec<_> =
            wanted.iter().filter_map(|r| Some((r.clone(), pushed_state(r, store.pushed.as_ref()?)?))).collect();
        // Where lists tell of changes, a key that was certainly not there is read again when a list shows it.
        let gone: Vec<Read> =
            if store.may_list { wanted.iter().filter(|r| was_absent(r)).cloned().collect() } else { Vec::new() };
        self.table.subscribe(key, uid, wanted, interval, |r| !was_absent(r), Self::now());
        for read in gone {
            if self.table.state(uid, &read).is_none() {
                self.table.observe(uid, &read, State::Absent, Self::now());
            }
        }
        for (read, state) in seeds {
            self.table.observe(uid, &read, state, Self::now());
        }
    }

    /// Something that a reference stands on is news to it.
    pub(super) fn take_news(&mut self, key: &ObjectKey) {
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
