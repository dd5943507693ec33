//! What the engine keeps of each reference and of each store.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use tokio::task::AbortHandle;

use super::{Cause, WORKERS_PER_STORE};
use crate::{
    api::{Capabilities, Reason, StoreStatus},
    naming::StoreKey,
    operator::{
        conclude::Health,
        keeper::StoreObject,
        model::Reference,
        pool::Pool,
        queue::{Class, WorkQueue},
        stamp::Sources,
    },
    resolve::{Problem, Read},
    stores::{ChangeToken, layers::Layers},
};

/// Where a reference stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is known yet.
    Unknown,
    /// In sync according to what an earlier process left; the store has yet to say so: fingerprints of the sources.
    Adopted(Sources),
    /// In sync.
    Synced,
    /// Not in sync.
    Failing(Reason),
}

impl Standing {
    pub(super) const fn is_in_sync(&self) -> bool {
        matches!(self, Self::Synced | Self::Adopted(_))
    }
}

/// A reference and what goes on with it.
pub(super) struct Tracked {
    pub(super) model: Reference,
    pub(super) standing: Standing,
    pub(super) running: bool,
    pub(super) again: Option<Class>,
    /// What the next sync comes of.
    pub(super) cause: Option<Box<Cause>>,
    pub(super) fresh: bool,
    /// Keys that are known to fail are asked all the same.
    pub(super) ask: bool,
    /// The uid of a target that went while it was synced.
    pub(super) gone: Option<String>,
    pub(super) repair: bool,
    /// When its target was last put, where it cannot be looked at.
    pub(super) put: Option<Instant>,
    /// It is not polled for, and something that it stands on has changed.
    pub(super) behind: bool,
    /// It is in line for a patch that follows its store.
    pub(super) follows: bool,
    /// Which content its target has, as far as this leader knows: any other was written by one that no longer leads.
    pub(super) content: Option<u64>,
    /// The sync that is under way; it ends with its reference.
    pub(super) task: Option<AbortHandle>,
    pub(super) failures: u32,
    pub(super) repairs: u32,
    pub(super) last_repair: Option<Instant>,
    pub(super) wake: Option<Instant>,
}

impl Tracked {
    pub(super) fn new(model: Reference) -> Self {
        Self {
            fresh: model.sync_now.is_some()
                && model.status().last_handled_sync_now.as_deref() != model.sync_now.as_deref(),
            model,
            ask: false,
            gone: None,
            standing: Standing::Unknown,
            running: false,
            again: None,
            cause: None,
            repair: false,
            follows: false,
            content: None,
            task: None,
            failures: 0,
            repairs: 0,
            put: None,
            behind: false,
            last_repair: None,
            wake: None,
        }
    }
}

/// A store and what goes on with it.
pub(super) struct StoreState {
    pub(super) object: StoreObject,
    pub(super) keeper: Option<AbortHandle>,
    pub(super) layers: Option<Arc<Layers>>,
    /// What the last probe says.
    pub(super) health: Health,
    /// What its references say: follows after two failed probes.
    pub(super) mirror: Health,
    pub(super) failed_probes: u32,
    pub(super) last_down: Option<Instant>,
    pub(super) last_success: Option<jiff::Timestamp>,
    pub(super) capabilities: Option<Capabilities>,
    /// Why it cannot be asked at all.
    pub(super) blocked: Option<Problem>,
    /// Its references have been looked at.
    pub(super) settled: bool,
    /// It took the place of another generation in this process: what that one left in sync is read anew.
    pub(super) changed: bool,
    pub(super) polling: usize,
    /// Its login may list, as far as the last probe and the last list tell.
    pub(super) may_list: bool,
    /// A list of changes is under way.
    pub(super) surveying: bool,
    /// Keys that are due and that no list settled.
    pub(super) to_read: VecDeque<Read>,
    /// Keys whose list has to be asked for again.
    pub(super) unsettled: Vec<Read>,
    /// Since when there was always something left to read.
    pub(super) behind_since: Option<Instant>,
    /// Its status is being written: what it said before, in which version of the object.
    pub(super) writing: Option<(u64, StoreStatus)>,
    /// The reason of its status that Events told of last.
    pub(super) told: Option<String>,
    /// For syncs that read from it.
    pub(super) workers: Pool,
    /// References that wait for their turn at this store.
    pub(super) aside: WorkQueue,
    /// Logins that are counted already.
    pub(super) logins: u64,
    /// What a store that tells changes by itself said last.
    pub(super) pushed: Option<HashMap<StoreKey, ChangeToken>>,
}

impl StoreState {
    pub(super) fn new(object: StoreObject) -> Self {
        Self {
            object,
            keeper: None,
            layers: None,
            health: Health::default(),
            mirror: Health::default(),
            failed_probes: 0,
            last_down: None,
            last_success: None,
            capabilities: None,
            blocked: None,
            settled: false,
            changed: false,
            polling: 0,
            may_list: false,
            surveying: false,
            to_read: VecDeque::new(),
            unsettled: Vec::new(),
            behind_since: None,
            writing: None,
            told: None,
            workers: Pool::new(WORKERS_PER_STORE),
            aside: WorkQueue::default(),
            logins: 0,
            pushed: None,
        }
    }

    pub(super) fn close(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
        self.layers = None;
        // Who leads next looks for itself, and tells all references again: not all may have heard of it.
        (self.health, self.mirror) = (Health::default(), Health::default());
        (self.failed_probes, self.last_down) = (0, None);
        self.told = None;
        self.settled = false;
        self.polling = 0;
        self.surveying = false;
        self.to_read.clear();
        self.unsettled.clear();
        self.behind_since = None;
        self.aside.clear();
        self.pushed = None;
    }
}
