//! One sync to do, and what came of it: what the engine and its workers tell each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    conclude::Health,
    engine::Cause,
    keeper::Era,
    model::{ObjectKey, Reference, StoreName},
    target::TargetMeta,
};
use crate::{
    api::{Reason, SecretReferenceStatus, Tenancy},
    naming::{Scheme, StoreKey},
    refresh::State,
    resolve::{Problem, Read},
    stores::{StoreError, layers::Layers},
};

/// A store as one sync sees it.
#[derive(Clone)]
pub struct StoreView {
    /// Whom it admits.
    pub tenancy: Arc<Tenancy>,
    /// How it spells keys.
    pub scheme: Scheme,
    /// Why it cannot be asked at all.
    pub blocked: Option<Problem>,
    /// Which object and generation it is.
    pub era: Era,
    /// The way to it.
    pub layers: Option<Arc<Layers>>,
    /// What its probes say.
    pub health: Health,
}

/// One sync to do.
pub struct Job {
    /// The reference, as it was when the sync began.
    pub reference: Reference,
    /// Labels of its namespace.
    pub labels: BTreeMap<String, String>,
    /// The store, if there is one.
    pub store: Option<StoreView>,
    /// The target, if it is one that we wrote.
    pub target: Option<TargetMeta>,
    /// Another reference, which made the target.
    pub rival: Option<Arc<str>>,
    /// Go past the cache.
    pub fresh: bool,
    /// Keys that polls are known to fail at: asking again would tell the same.
    pub failing: Vec<(Read, StoreError)>,
    /// Organisation keys that resolved before, and whose absence was not yet seen twice.
    pub resolved_before: Vec<StoreKey>,
    /// Organisation keys whose absence was seen twice.
    pub confirmed_absent: Vec<StoreKey>,
    /// The target is written again because someone changed it.
    pub repair: bool,
    /// What set it going.
    pub cause: Cause,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Which reference, and which state of it.
    pub key: Option<ObjectKey>,
    /// Its uid.
    pub uid: Arc<str>,
    /// The store it was synced from.
    pub store: Option<StoreName>,
    /// Which generation of it; none if there was no such store.
    pub era: Option<Era>,
    /// The status that now stands, with the object's version if it was written.
    pub status: Option<(SecretReferenceStatus, Option<u64>)>,
    /// The status could not be written.
    pub status_failed: bool,
    /// The target could not be taken away.
    pub again: bool,
    /// The target now, if this sync wrote it; `Some(None)`: it was taken away.
    pub target: Option<Option<TargetMeta>>,
    /// It went past the cache.
    pub fresh: bool,
    /// What the reference stands on.
    pub reads: BTreeSet<Read>,
    /// What the store said.
    pub states: Vec<(Read, State)>,
    /// Organisation keys that wait for a second look.
    pub doubted: Vec<StoreKey>,
    /// Why the target is not what it should be.
    pub problem: Option<Problem>,
    /// How long until `Ready` turns False if this goes on.
    pub until_stale: Option<std::time::Duration>,
}

impl Outcome {
    /// Of a sync that says nothing more.
    pub fn lost(reference: &Reference) -> Self {
        let problem = Problem::new(Reason::TargetRejected, "the sync broke down: the operator tries again");
        Self { problem: Some(problem), ..Self::of(reference) }
    }

    pub(super) fn of(reference: &Reference) -> Self {
        Self {
            key: Some(reference.key.clone()),
            uid: reference.uid.clone(),
            store: Some(reference.store.clone()),
            ..Self::default()
        }
    }
}
