//! What the operator counts. Labels name stores, reasons and kinds: never a key, never a name that a tenant chose.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

use crate::api::{Circuit, Reason};

/// Results of a store request, as `secretref_store_requests_total` has them. `circuit_open` and `held` (by a
/// Retry-After) never left this process; of `cancelled` nobody waited for the answer.
pub const STORE_RESULTS: [&str; 12] = [
    "success",
    "not_found",
    "denied",
    "unauthenticated",
    "rate_limited",
    "unavailable",
    "misconfigured",
    "disabled",
    "not_ready",
    "circuit_open",
    "held",
    "cancelled",
];

/// What a store is asked for, as `secretref_store_requests_total` has it.
pub const STORE_OPERATIONS: [&str; 9] =
    ["get", "list", "probe", "changes", "metadata", "versions", "set", "delete", "restore"];

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, Seconds>;

/// Buckets for what takes between a memory access and a timeout.
#[derive(Clone)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
    }
}

/// Every metric of one process.
pub struct Metrics {
    registry: Registry,
    store_requests: Counters<4>,
    store_durations: Histograms<3>,
    store_retries: Counters<1>,
    cache_requests: Counters<2>,
    cache_bytes: Gauge,
    circuits: Gauges<1>,
    polls: Counters<1>,
    logins: Counters<1>,
    store_ready: Gauges<3>,
    references: Gauges<2>,
    sync_durations: Histogram,
    sync_lag: Histogram,
    syncs: Counters<1>,
    apiserver_requests: Counters<3>,
    queue_depth: Gauges<1>,
    leader: Gauge,
    keys: Gauge,
    oldest_unsynced: Gauge<f64, std::sync::atomic::AtomicU64>,
    audit_dropped: Counter,
    notifications: Counters<2>,
    /// The series that stands for each store's state now, so that the one before it goes. Also held while encoding:
    /// what takes several steps is never seen half done.
    ready_now: Mutex<HashMap<(String, &'static str), Reason>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// What [`Metrics::encode`] writes, for the header of an HTTP answer.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All families, registered.
    pub fn new() -> Self {
        let store_durations = Histograms::new_with_constructor(Seconds);
        let mut metrics = Self {
            registry: Registry::with_prefix("secretref"),
            store_requests: Family::default(),
            store_durations,
            store_retries: Family::default(),
            cache_requests: Family::default(),
            cache_bytes: Gauge::default(),
            circuits: Family::default(),
            polls: Family::default(),
            logins: Family::default(),
            store_ready: Family::default(),
            references: Family::default(),
            sync_durations: Seconds.new_metric(),
            sync_lag: Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
            syncs: Family::default(),
            apiserver_requests: Family::default(),
            queue_depth: Family::default(),
            leader: Gauge::default(),
            keys: Gauge::default(),
            oldest_unsynced: Gauge::default(),
            audit_dropped: Counter::default(),
            notifications: Family::default(),
            ready_now: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("store_requests", "Requests to stores by result", self.store_requests.clone());
        r.register("store_request_duration_seconds", "Duration of requests to stores", self.store_durations.clone());
        r.register("store_retries", "Requests to stores that repeat one that failed", self.store_retries.clone());
        r.register("cache_requests", "Reads of the value cache", self.cache_requests.clone());
        r.register("cache_bytes", "Bytes in the value cache", self.cache_bytes.clone());
        r.register("circuit_state", "Circuit breaker: 0 closed, 1 half-open, 2 open", self.circuits.clone());
        r.register("polls", "Polls of the key table", self.polls.clone());
        r.register("logins", "Logins at stores", self.logins.clone());
        r.register("store_ready", "Whether a store is ready, and why", self.store_ready.clone());
        r.register("references", "References by state and reason", self.references.clone());
        r.register("sync_duration_seconds", "From picking a reference up to its target", self.sync_durations.clone());
        r.register(
            "sync_lag_seconds",
            "From what set a sync going, such as a watch event or a poll, to its end: with the wait for a worker",
            self.sync_lag.clone(),
        );
        r.register("syncs", "Syncs by result", self.syncs.clone());
        r.register("apiserver_requests", "Requests to the API server", self.apiserver_requests.clone());
        r.register("work_queue_depth", "References that wait for a worker", self.queue_depth.clone());
        r.register("leader", "Whether this replica leads", self.leader.clone());
        r.register("keys", "Store keys in the key table", self.keys.clone());
        r.register(
            "oldest_unsynced_seconds",
            "For how long the longest failing reference has not been in sync",
            self.oldest_unsynced.clone(),
        );
        r.register("audit_events_dropped", "Audit events that could not be written", self.audit_dropped.clone());
        r.register("notifications", "Change notifications by source and result", self.notifications.clone());
        r.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let _whole = self.ready_now();
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// A request to a store; without a duration if it was refused before it left.
    pub fn store_request(
        &self,
        store: &str,
        provider: &'static str,
        operation: &'static str,
        result: &'static str,
        duration: Option<Duration>,
    ) {
        let (store, provider, operation) =
            (("store", owned(store)), ("provider", provider.into()), ("operation", operation.into()));
        if let Some(duration) = duration {
            let labels = [store.clone(), provider.clone(), operation.clone()];
            self.store_durations.get_or_create(&labels).observe(duration.as_secs_f64());
        }
        self.store_requests.get_or_create(&[store, provider, operation, ("result", result.into())]).inc();
    }

    /// A request to a store that repeats one that failed.
    pub fn store_retry(&self, store: &str) {
        self.store_retries.get_or_create(&[("store", owned(store))]).inc();
    }

    /// A read of the value cache.
    pub fn cache_request(&self, store: &str, hit: bool) {
        let result = if hit { "hit" } else { "miss" };
        self.cache_requests.get_or_create(&[("store", owned(store)), ("result", result.into())]).inc();
    }

    /// The size of the value cache.
    pub fn cache_bytes(&self, bytes: usize) {
        self.cache_bytes.set(whole(bytes));
    }

    /// A store's circuit breaker.
    pub fn circuit(&self, store: &str, circuit: Circuit) {
        let value = match circuit {
            Circuit::Closed => 0,
            Circuit::HalfOpen => 1,
            Circuit::Open => 2,
        };
        self.circuits.get_or_create(&[("store", owned(store))]).set(value);
    }

    /// A poll of the key table.
    pub fn poll(&self, store: &str) {
        self.polls.get_or_create(&[("store", owned(store))]).inc();
    }

    /// A login at a store.
    pub fn login(&self, store: &str) {
        self.logins.get_or_create(&[("store", owned(store))]).inc();
    }

    /// A store's `Ready` condition: one series for each store, whose reason moves.
    pub fn store_ready(&self, store: &str, kind: &'static str, ready: bool, reason: Reason) {
        let mut now = self.ready_now();
        if let Some(before) = now.insert((store.to_owned(), kind), reason)
            && before != reason
        {
            self.store_ready.remove(&ready_labels(store, kind, before));
        }
        self.store_ready.get_or_create(&ready_labels(store, kind, reason)).set(i64::from(ready));
    }

    /// A store that is gone: its series go.
    pub fn forget_store(&self, store: &str, kind: &'static str, provider: &'static str) {
        let mut now = self.ready_now();
        if let Some(reason) = now.remove(&(store.to_owned(), kind)) {
            self.store_ready.remove(&ready_labels(store, kind, reason));
        }
        let label = ("store", owned(store));
        for operation in STORE_OPERATIONS {
            let labels = [label.clone(), ("provider", provider.into()), ("operation", operation.into())];
            self.store_durations.remove(&labels);
            let [store, provider, operation] = labels;
            for result in STORE_RESULTS {
                let labels = [store.clone(), provider.clone(), operation.clone(), ("result", result.into())];
                self.store_requests.remove(&labels);
            }
        }
        for result in ["hit", "miss"] {
            self.cache_requests.remove(&[label.clone(), ("result", result.into())]);
        }
        let label = [label];
        for family in [&self.store_retries, &self.polls, &self.logins] {
            family.remove(&label);
        }
        self.circuits.remove(&label);
    }

    /// How many references are in which state, all of them at once.
    pub fn references(&self, counts: &BTreeMap<(bool, Reason), usize>) {
        let _whole = self.ready_now();
        self.references.clear();
        for ((ready, reason), count) in counts {
            let state = if *ready { "ready" } else { "not_ready" };
            let labels = [("state", state.into()), ("reason", reason.as_str().into())];
            self.references.get_or_create(&labels).set(whole(*count));
        }
    }

    /// A sync of one reference, by the reason it ended with; `lag`: how long ago what set it going was.
    pub fn sync(&self, result: Reason, duration: Duration, lag: Duration) {
        self.sync_durations.observe(duration.as_secs_f64());
        self.sync_lag.observe(lag.as_secs_f64());
        self.syncs.get_or_create(&[("result", result.as_str().into())]).inc();
    }

    /// A request to the API server; `result` is a class such as `success`, `conflict`, `timeout`.
    pub fn apiserver_request(&self, verb: &'static str, kind: &'static str, result: &'static str) {
        let labels = [("verb", verb.into()), ("kind", kind.into()), ("result", result.into())];
        self.apiserver_requests.get_or_create(&labels).inc();
    }

    /// References that wait, by class of the work queue.
    pub fn queue_depth(&self, class: &'static str, depth: usize) {
        self.queue_depth.get_or_create(&[("class", class.into())]).set(whole(depth));
    }

    /// Whether this replica leads.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Store keys in the key table.
    pub fn keys(&self, keys: usize) {
        self.keys.set(whole(keys));
    }

    /// For how long the longest failing reference has not been in sync; zero when all are.
    pub fn oldest_unsynced(&self, age: Duration) {
        self.oldest_unsynced.set(age.as_secs_f64());
    }

    /// An audit event that could not be written; answers how many there are now.
    pub fn audit_dropped(&self) -> u64 {
        self.audit_dropped.inc() + 1
    }

    /// This replica does not lead any more: what only a leader knows is for the next one to say.
    pub fn stand_by(&self, classes: impl IntoIterator<Item = &'static str>) {
        let mut now = self.ready_now();
        now.clear();
        self.store_ready.clear();
        self.references.clear();
        self.circuits.clear();
        drop(now);
        self.oldest_unsynced(Duration::ZERO);
        self.keys(0);
        for class in classes {
            self.queue_depth(class, 0);
        }
    }

    /// A change notification; `result` is what became of it, such as `accepted` or `refused`.
    pub fn notification(&self, source: &'static str, result: &'static str) {
        self.notifications.get_or_create(&[("source", source.into()), ("result", result.into())]).inc();
    }

    fn ready_now(&self) -> MutexGuard<'_, HashMap<(String, &'static str), Reason>> {
        self.ready_now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready_labels(store: &str, kind: &'static str, reason: Reason) -> Labels<3> {
    [("store", owned(store)), ("kind", kind.into()), ("reason", reason.as_str().into())]
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
