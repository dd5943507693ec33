//! The engine: one task that owns all state and decides what happens next. Syncs, polls and status patches run beside
//! it and come back as messages.

mod adopt;
mod binding;
mod cause;
mod dispatch;
mod explain;
mod health;
mod notified;
mod observe;
mod outcome;
mod polls;
mod state;
mod store_status;
mod stores;

use binding::Known;
pub use binding::Live;
pub use cause::Cause;
use notified::Notices;
pub use polls::Survey;
use state::{Standing, StoreState, Tracked};

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{
    keeper::Household,
    lease::Leadership,
    model::{ObjectKey, StoreName},
    pool::Pool,
    queue::{Class, WorkQueue},
    serve::HealthState,
    target::TargetMeta,
    watch::Message,
    worker::Context,
};
use crate::{
    notify::{Directory, Hashes},
    refresh::{KeyTable, Now},
    stores::layers::Cache,
    telemetry::Metrics,
};

/// Syncs at once.
const WORKERS: usize = 64;

/// Syncs at once that read from one store.
const WORKERS_PER_STORE: usize = 32;

/// Syncs at once that read from tenants' own stores, however many there are.
const WORKERS_FOR_TENANTS: usize = 32;

/// How often the engine looks around when nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What the engine is made with.
pub struct Parts {
    /// For the syncs.
    pub context: Arc<Context>,
    /// For the stores.
    pub household: Household,
    /// The one cache.
    pub cache: Arc<Cache>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Whether this replica leads.
    pub leadership: watch::Receiver<Leadership>,
    /// What `/healthz` and `/readyz` show.
    pub health: Arc<HealthState>,
    /// Hosts that tenants' stores may name; `None`: there are no such stores.
    pub tenant_hosts: Option<Vec<String>>,
    /// What stands in audit events for the operator itself.
    pub requester: Arc<str>,
    /// Which stores there are, for whoever takes notifications.
    pub directory: Arc<Directory>,
    /// Hashes of what notifications name.
    pub hashes: Hashes,
    /// How many watches will say that they have listed.
    pub watches: usize,
}

/// All state.
pub struct Engine {
    parts: Parts,
    tell: mpsc::UnboundedSender<Message>,
    /// Boxed: a map has room to spare, and grows by copying.
    references: HashMap<ObjectKey, Box<Tracked>>,
    /// References that are there, but cannot be read.
    unreadable: HashSet<ObjectKey>,
    by_namespace: HashMap<Arc<str>, HashSet<ObjectKey>>,
    /// Nearly always one.
    by_target: HashMap<ObjectKey, Vec<ObjectKey>>,
    namespaces: HashMap<Arc<str>, Known>,
    targets: HashMap<ObjectKey, TargetMeta>,
    stores: HashMap<StoreName, StoreState>,
    table: KeyTable<ObjectKey>,
    notices: Notices,
    queue: WorkQueue,
    timers: BTreeSet<(Instant, ObjectKey)>,
    follows: VecDeque<ObjectKey>,
    following: usize,
    /// For syncs.
    workers: Pool,
    /// Those of them that may read from tenants' own stores.
    tenants: Pool,
    listed: usize,
    started: bool,
    cycles_stale: bool,
    /// Secrets that hold stores' credentials: only references that make one of these can close a cycle.
    credential_secrets: HashSet<ObjectKey>,
    last_follow: Instant,
    last_report: Instant,
    /// What is being handled.
    cause: Cause,
}

impl Engine {
    /// An engine that knows nothing yet, and the way to tell it.
    pub fn new(parts: Parts, tell: mpsc::UnboundedSender<Message>) -> Self {
        let now = Instant::now();
        let notices = Notices::new(parts.hashes.clone());
        Self {
            parts,
            tell,
            references: HashMap::new(),
            unreadable: HashSet::new(),
            by_namespace: HashMap::new(),
            by_target: HashMap::new(),
            namespaces: HashMap::new(),
            targets: HashMap::new(),
            stores: HashMap::new(),
            table: KeyTable::default(),
            notices,
            queue: WorkQueue::default(),
            timers: BTreeSet::new(),
            follows: VecDeque::new(),
            following: 0,
            workers: Pool::new(WORKERS),
            tenants: Pool::new(WORKERS_FOR_TENANTS),
            listed: 0,
            started: false,
            cycles_stale: false,
            credential_secrets: HashSet::new(),
            last_follow: now,
            last_report: now,
            cause: Cause::now("start"),
        }
    }

    /// Runs until `stop` is told; then waits for the syncs that are under way.
    pub async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>, mut stop: watch::Receiver<bool>) {
        let mut leadership = self.parts.leadership.clone();
        let mut drained = Vec::new();
        loop {
            if *stop.borrow() && self.workers.taken() == 0 && self.following == 0 {
                return;
            }
            let wake = tokio::time::Instant::from_std(self.next_wake());
            tokio::select! {
                count = inbox.recv_many(&mut drained, 256) => if count == 0 { return },
                () = tokio::time::sleep_until(wake) => {}
                // Nobody tells any more where there is no election: an end of the channel is no news.
                Ok(()) = leadership.changed() => {}
                Ok(()) = stop.changed() => {}
            }
            for message in drained.drain(..) {
                self.cause = Cause::of(&message);
                self.handle(message);
            }
            self.parts.health.beat();
            self.cause = Cause::now("leadership");
            self.lead_or_not(*stop.borrow());
            self.cause = Cause::now("timer");
            self.tick();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Reference(seen) => self.reference(seen),
            Message::Target(seen) => self.target(seen),
            Message::Namespace(seen) => self.namespace(seen),
            Message::Bound(namespace, live) => self.bound(&namespace, live),
            Message::Store(seen) => self.store(seen),
            Message::Keeper(name, era, news) => self.keeper(&name, &era, news),
            Message::StoreStatus(name, era, written) => self.store_status_written(&name, &era, written),
            Message::Polled(name, era, read, state, _) => self.polled(&name, &era, &read, state),
            Message::Surveyed(name, era, reads, marks, _) => self.surveyed(&name, &era, reads, marks),
            Message::Notified(seen) => self.notified(seen),
            Message::Synced(outcome) => self.synced(*outcome),
            Message::Followed(outcome) => self.followed(*outcome),
            // Whoever asked may have gone.
            Message::Explain(key, answer) => _ = answer.send(self.explain(&key)),
        }
    }

    /// Starts work when this replica leads and knows everything, and stops it when it does not lead any more.
    fn lead_or_not(&mut self, stopping: bool) {
        let complete = self.listed >= self.parts.watches;
        self.parts.health.set_ready(complete && !stopping);
        let leads = complete && !stopping && self.parts.leadership.borrow().is_leading();
        self.parts.metrics.leader(leads);
        if leads && !self.started {
            tracing::info!(references = self.references.len(), stores = self.stores.len(), "leading");
            self.started = true;
            self.cycles_stale = true;
            self.notices.start(Self::now().wall);
            let names: Vec<StoreName> = self.stores.keys().cloned().collect();
            for name in names {
                self.open_store(&name);
            }
            let orphans: Vec<ObjectKey> = self
                .references
                .values()
                .filter(|t| !self.stores.contains_key(&t.model.store))
                .map(|t| t.model.key.clone())
                .collect();
            for key in orphans {
                self.settle(&key);
            }
            self.sweep();
        } else if !leads && self.started {
            tracing::info!("not leading any more");
            self.stop_work();
        }
    }

    fn stop_work(&mut self) {
        self.started = false;
        self.parts.metrics.stand_by(Class::ALL.map(Class::as_str));
        self.queue.clear();
        self.timers.clear();
        self.follows.clear();
        self.table = KeyTable::default();
        self.notices.stop();
        for store in self.stores.values_mut() {
            store.close();
        }
        for tracked in self.references.values_mut() {
            tracked.standing = Standing::Unknown;
            tracked.content = None;
            tracked.again = None;
            tracked.wake = None;
            tracked.follows = false;
        }
    }

    /// Puts a reference in line, unless it is under way: then once more afterwards.
    fn enqueue(&mut self, key: &ObjectKey, class: Class) {
        if !self.started {
            return;
        }
        let Some(tracked) = self.references.get_mut(key) else { return };
        if tracked.model.deleting || self.namespaces.get(&key.namespace).is_some_and(|n| n.seen.terminating) {
            return;
        }
        // What woke it first is what the wait is counted from.
        tracked.cause.get_or_insert_with(|| Box::new(self.cause.clone()));
        if tracked.running {
            tracked.again = Some(tracked.again.map_or(class, |c| c.min(class)));
        } else {
            self.queue.push(key, class);
        }
    }

    /// Wakes a reference after a while; an earlier wake stands.
    fn wake_in(&mut self, key: &ObjectKey, after: Duration) {
        let Some(tracked) = self.references.get_mut(key) else { return };
        let at = Instant::now() + after;
        if tracked.wake.is_some_and(|known| known <= at) {
            return;
        }
        if let Some(known) = tracked.wake.replace(at) {
            self.timers.remove(&(known, key.clone()));
        }
        self.timers.insert((at, key.clone()));
    }

    fn no_wake(&mut self, key: &ObjectKey) {
        if let Some(known) = self.references.get_mut(key).and_then(|t| t.wake.take()) {
            self.timers.remove(&(known, key.clone()));
        }
    }

    fn now() -> Now {
        Now::get()
    }
}
