//! What the watches say of references and targets.

use std::time::{Duration, Instant};

use super::{Engine, Standing, Tracked};
use crate::{
    api::{CreationPolicy, DeletionPolicy},
    operator::{
        model::{ObjectKey, Reference},
        queue::Class,
        stamp::{STAMP_PREFIX, slug},
        target::{TargetMeta, manager},
        watch::Seen,
    },
};

/// Repairs this far apart are no fight; longer than the longest wait between two.
const CALM: Duration = Duration::from_secs(150);

/// Seconds between tries to give merged keys back; after the last one it is left to the sweep of the next start.
const RELEASE_AGAIN: [u64; 5] = [1, 5, 25, 125, 300];

/// How long the garbage collector may take from an owner reference to its owner.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) fn reference(&mut self, seen: Seen<ObjectKey, Box<Reference>>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Deleted(key, _) => {
                self.unreadable.remove(&key);
                self.forget(&key, true);
            }
            Seen::Unreadable(key) => {
                self.unreadable.insert(key);
            }
            Seen::Applied(key, model) => {
                self.unreadable.remove(&key);
                self.track(&key, *model);
            }
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
            self.by_target.entry(target.clone()).or_insert_with(|| Vec::with_capacity(1)).push(key.clone());
            self.cycles_stale |= self.credential_secrets.contains(&target);
            if let Some((store, _)) = self.stores.get_key_value(&model.store) {
                model.store = store.clone();
            }
            self.references.insert(key.clone(), Box::new(Tracked::new(model)));
            if self.started {
                self.settle(key);
            }
            return;
        };
        model.share_names(&tracked.model);
        model.keep_newer_status(&tracked.model);
        let respecified = tracked.model.generation != model.generation;
        let asked = tracked.model.sync_now != model.sync_now && model.sync_now.is_some();
        tracked.fresh |= asked;
        tracked.ask |= respecified;
        tracked.model = model;
        if respecified {
            self.cycles_stale |= self.credential_secrets.contains(&target);
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
        if let Some(task) = &tracked.task {
            // What it would still write is nobody's any more, or its successor's.
            task.abort();
        }
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        self.cycles_stale |= self.credential_secrets.contains(&target);
        if let Some(others) = self.by_target.get_mut(&target) {
            others.retain(|other| other != key);
            if others.is_empty() {
                self.by_target.remove(&target);
            }
        }
        if let Some(others) = self.by_namespace.get_mut(&key.namespace) {
            others.remove(key);
            if others.is_empty() {
                self.by_namespace.remove(&key.namespace);
                self.doubt(&key.namespace);
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
            for wait in RELEASE_AGAIN {
                match writer.release(&target.namespace, &target.name, &reference, &uid).await {
                    Ok(_) => return,
                    Err(error) => tracing::warn!(secret = %target, %error, "merged keys not removed yet"),
                }
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
        });
    }

    /// After a start: merged keys of references that went while nobody looked.
    pub(super) fn sweep(&mut self) {
        let mut gone = Vec::new();
        for (key, meta) in &self.targets {
            for annotation in meta.stamps.keys() {
                let name = annotation.strip_prefix(STAMP_PREFIX).unwrap_or_default();
                let merged = meta.fields.contains_key(&*manager(name, CreationPolicy::Merge));
                let alive = self.by_target.get(key).is_some_and(|r| r.iter().any(|k| slug(&k.name) == name));
                // One that cannot be read may be the one.
                let unread = self.unreadable.iter().any(|k| k.namespace == key.namespace && slug(&k.name) == name);
                let delete = meta.stamp(name).is_some_and(|stamp| stamp.delete);
                if merged && delete && !alive && !unread {
                    gone.push((key.clone(), name.to_owned()));
                }
            }
        }
        for (target, reference) in gone {
            self.release(&target, &reference);
        }
    }

    /// A sync that is under way may come home with a target that is gone by then: it must not be taken for one.
    fn note_gone(&mut self, target: &ObjectKey, last: Option<&TargetMeta>) {
        let Some(uid) = last.or_else(|| self.targets.get(target)).map(|meta| meta.uid.clone()) else { return };
        for key in self.by_target.get(target).into_iter().flatten() {
            if let Some(tracked) = self.references.get_mut(key).filter(|t| t.running) {
                tracked.gone = Some(uid.clone());
            }
        }
    }

    pub(super) fn target(&mut self, seen: Seen<ObjectKey, TargetMeta>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Unreadable(_) => {}
            Seen::Deleted(key, last) => {
                self.note_gone(&key, last.as_ref());
                // Late news of a Secret that was written anew since.
                let other = |known: &TargetMeta| last.as_ref().is_some_and(|l| l.uid != known.uid);
                if !self.targets.get(&key).is_some_and(other) {
                    self.targets.remove(&key);
                    self.look_at_target(&key);
                }
            }
            Seen::Applied(key, meta) => {
                if self.targets.get(&key).is_none_or(|known| known.uid != meta.uid || known.version <= meta.version) {
                    let named = self.by_target.get_key_value(&key).map_or(&key, |(known, _)| known);
                    self.targets.insert(named.clone(), meta);
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
            // Whatever else is wrong with it: what is still in memory may make the lost target good.
            let failing = self.references.get(&key).is_some_and(|t| matches!(t.standing, Standing::Failing(_)));
            if failing && !self.targets.contains_key(target) {
                self.enqueue(&key, Class::Rest);
            }
        }
    }

    /// Which content the target of a reference has.
    pub(super) fn content(&self, key: &ObjectKey) -> Option<u64> {
        let target = self.references.get(key)?.model.target.clone();
        let meta = self.targets.get(&ObjectKey { namespace: key.namespace.clone(), name: target })?;
        meta.stamp(&key.name)?.content()
    }

    pub(super) fn repair_if_drifted(&mut self, key: &ObjectKey) {
        let Some(tracked) = self.references.get_mut(key) else { return };
        let settled = tracked.standing.is_in_sync();
        if tracked.running || !settled {
            return;
        }
        let target = ObjectKey { namespace: key.namespace.clone(), name: tracked.model.target.clone() };
        let Ok(spec) = tracked.model.spec() else { return };
        if spec.is_suspended() {
            return;
        }
        let meta = self.targets.get(&target);
        // A write that was on its way for too long, from a replica that led before: it looks like one of ours.
        let late = |m: &TargetMeta| {
            let content = m.stamp(&key.name).and_then(|stamp| stamp.content());
            tracked.content.is_some() && content != tracked.content
        };
        if !meta.is_none_or(|m| m.has_drifted(&tracked.model, spec.creation_policy()) || late(m)) {
            return;
        }
        let owns = spec.creation_policy() != CreationPolicy::Merge && spec.deletion_policy() == DeletionPolicy::Delete;
        let orphaned = owns && meta.is_some_and(|m| m.owners.is_empty() && !m.stamps.is_empty());
        tracked.repair = true;
        // Against someone who keeps changing it back: slower each time.
        let now = Instant::now();
        let calm = tracked.last_repair.is_none_or(|t| now - t > CALM);
        tracked.repairs = if calm { 0 } else { tracked.repairs + 1 };
        tracked.last_repair = Some(now);
        if tracked.repairs == 0 && orphaned {
            // `kubectl delete --cascade=orphan` takes the owner away before the reference: an owner that is put back then
            // would be dead, and the Secret with it.
            self.wake_in(key, ORPHAN_GRACE);
        } else if tracked.repairs == 0 {
            self.enqueue(key, Class::Changed);
        } else {
            let wait = Duration::from_millis(500) * 2_u32.pow(tracked.repairs.min(7));
            self.wake_in(key, wait);
        }
    }
}
