//! Namespaces: their labels bind them to organisations. The binding is read live when a namespace's first reference
//! appears: a cached label may be a deleted namespace's.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PartialObjectMeta};

use super::{Engine, Standing};
use crate::operator::{
    model::ObjectKey,
    queue::Class,
    watch::{Message, NamespaceSeen, Seen},
};

/// How long until a namespace that could not be read is asked for again.
const AGAIN: Duration = Duration::from_secs(2);

/// What a live read said: `None`: there is no such namespace.
pub type Live = Result<Option<NamespaceSeen>, ()>;

/// A namespace.
#[derive(Default)]
pub(super) struct Known {
    pub(super) seen: NamespaceSeen,
    /// Its labels were read live since its first reference appeared.
    verified: bool,
    asking: bool,
    /// References that wait for that.
    waiting: Vec<(ObjectKey, Class)>,
}

impl Engine {
    pub(super) fn namespace(&mut self, seen: Seen<Arc<str>, NamespaceSeen>) {
        match seen {
            Seen::Listed => self.listed += 1,
            Seen::Unreadable(_) => {}
            Seen::Deleted(name, last) => {
                // Late news of one that was made anew since.
                let newer = |known: &Known| last.as_ref().is_some_and(|l| l.version < known.seen.version);
                match self.namespaces.get_mut(&name) {
                    Some(known) if newer(known) => {}
                    // Those that wait belong to its successor.
                    Some(known)
                        if known.asking || !known.waiting.is_empty() || self.by_namespace.contains_key(&name) =>
                    {
                        known.seen = NamespaceSeen::default();
                        known.verified = false;
                    }
                    _ => {
                        self.namespaces.remove(&name);
                    }
                }
            }
            Seen::Applied(name, seen) => self.relabel(&name, seen),
        }
    }

    /// Takes over newer labels, and has the references look what they make of them.
    fn relabel(&mut self, name: &Arc<str>, seen: NamespaceSeen) {
        let known = self.namespaces.entry(name.clone()).or_default();
        if seen.version < known.seen.version {
            return;
        }
        let before = std::mem::replace(&mut known.seen, seen);
        let relabelled = before.version > 0 && before.labels != known.seen.labels;
        // Made anew under its name: what was put off while the old one went is done now.
        let revived = before.version == 0 || (before.terminating && !known.seen.terminating);
        let references: Vec<ObjectKey> = self.by_namespace.get(name).into_iter().flatten().cloned().collect();
        for key in references {
            let idle = self.references.get(&key).is_some_and(|t| t.standing == Standing::Unknown);
            if relabelled || (revived && idle) {
                self.enqueue(&key, Class::Changed);
            }
        }
    }

    /// The last reference of a namespace is gone: the next one reads its labels anew.
    pub(super) fn doubt(&mut self, namespace: &str) {
        if let Some(known) = self.namespaces.get_mut(namespace) {
            known.verified = false;
            if known.seen.version == 0 && !known.asking {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// Whether a reference has to wait until the labels of its namespace are read; the first one has them read.
    pub(super) fn waits_for_its_namespace(&mut self, key: &ObjectKey, class: Class) -> bool {
        let known = self.namespaces.entry(key.namespace.clone()).or_default();
        if known.verified {
            return false;
        }
        known.waiting.push((key.clone(), class));
        if !std::mem::replace(&mut known.asking, true) {
            let (writer, namespace, tell) =
                (self.parts.context.writer.clone(), key.namespace.clone(), self.tell.clone());
            tokio::spawn(async move {
                let api: Api<PartialObjectMeta<Namespace>> = Api::all(writer.client.clone());
                let found = writer.call("get", "namespaces", api.get_metadata_opt(&namespace)).await;
                let live = found.map(|n| n.map(|n| NamespaceSeen::new(&n.metadata))).map_err(|_| ());
                let _ = tell.send(Message::Bound(namespace, live));
            });
        }
        true
    }

    /// The labels of a namespace were read.
    pub(super) fn bound(&mut self, namespace: &Arc<str>, live: Live) {
        let Some(known) = self.namespaces.get_mut(namespace) else { return };
        known.asking = false;
        let waiting = std::mem::take(&mut known.waiting);
        match live {
            Ok(Some(seen)) => {
                known.verified = true;
                self.relabel(namespace, seen);
                for (key, class) in waiting {
                    self.enqueue(&key, class);
                }
            }
            // No such namespace: its references are going, too.
            Ok(None) => {}
            Err(()) => {
                for (key, _) in waiting {
                    self.wake_in(&key, AGAIN);
                }
            }
        }
    }
}
