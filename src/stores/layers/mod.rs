//! The layers around every store, written once: from the outside in audit, cache, single flight, retry, breaker,
//! limits, timeout.
//!
//! Each layer is a file that decides without I/O where it can, with the clock as a parameter; this one and `attempt`
//! string them together.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::Instrument;

use self::{
    attempt::{Attempt, Watched},
    flight::Flights,
    limits::{Lane, Limits},
    request::{Answer, Place, Request},
    retry::Retries,
};
use super::{Failure, Settings, Store, StoreError, Stored};
use crate::{
    api::{Capabilities, Circuit},
    audit::{Audit, AuditEvent, AuditOperation, AuditResult, Pending},
    naming::StoreKey,
    telemetry::Metrics,
};

mod attempt;
mod breaker;
mod cache;
mod direct;
mod flight;
mod limits;
mod request;
mod retry;

pub use cache::Cache;

/// Which store object this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `ClusterSecretStore` or `SecretStore`.
    pub kind: &'static str,
    /// A `SecretStore`'s namespace.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// The generation that the store was connected from.
    pub generation: i64,
    /// The provider's name in messages and metrics.
    pub provider: &'static str,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As old as the cache keeps them.
    Cached,
    /// Not from before the question: for polls, notifications and sync-now.
    PastCache,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Whom the answer is delivered to, for the audit event: `SecretReference/acme-prod/payments`.
    pub requester: &'a str,
    /// Ties audit event and logs together.
    pub trace_id: &'a str,
    /// How old the answer may be.
    pub freshness: Freshness,
}

impl Identity {
    /// How messages and metrics name it; a name holds no `/`.
    pub fn label(&self) -> String {
        self.joined('/')
    }

    /// How audit events name it. There a `/` separates the store from the key, which may hold more of them.
    fn path(&self) -> String {
        self.joined(':')
    }

    fn joined(&self, separator: char) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}{separator}{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A store with everything around it.
pub struct Layers {
    store: Arc<dyn Store>,
    flights: Flights,
    lasting: Arc<Lasting>,
}

/// What outlives a session: a new login is no reason to ask the same server more, or to forget what it said.
struct Lasting {
    identity: Identity,
    label: Box<str>,
    uid: Arc<str>,
    /// The requester of what goes to the store.
    operator: Arc<str>,
    settings: Settings,
    audit: Arc<Audit>,
    cache: Arc<Cache>,
    retries: Retries,
    breaker: Mutex<Watched>,
    limits: Limits,
    metrics: Arc<Metrics>,
    /// Writes that began or ended here.
    writes: AtomicU64,
}

impl Layers {
    /// Builds the layers around a store. `operator` is who asks the store, whoever asks here.
    pub fn new(
        identity: Identity,
        store: Arc<dyn Store>,
        settings: Settings,
        cache: Arc<Cache>,
        metrics: Arc<Metrics>,
        audit: Arc<Audit>,
        operator: Arc<str>,
    ) -> Self {
        let label = identity.label().into_boxed_str();
        metrics.circuit(&label, Circuit::Closed);
        let lasting = Lasting {
            label,
            uid: identity.uid.as_str().into(),
            operator,
            retries: Retries::new(&settings),
            breaker: Mutex::new(Watched::new()),
            limits: Limits::new(&settings),
            identity,
            settings,
            audit,
            cache,
            metrics,
            writes: AtomicU64::new(0),
        };
        Self { store, flights: Flights::default(), lasting: Arc::new(lasting) }
    }

    /// The same around a new session of the same store object: limits, breaker and cache go on. Nobody who asks
    /// here waits for an answer of the old session.
    #[must_use]
    pub fn renewed(&self, store: Arc<dyn Store>) -> Self {
        Self { store, flights: Flights::default(), lasting: Arc::clone(&self.lasting) }
    }

    /// Reads one key: `None` means that the store is certain that it is not there.
    ///
    /// # Errors
    /// As [`Store::get`]; also [`Failure::CircuitOpen`] and [`Failure::RateLimited`] when the store was not asked.
    pub async fn get(
        &self,
        key: &StoreKey,
        version: Option<&str>,
        access: &Access<'_>,
    ) -> Result<Option<Arc<Stored>>, StoreError> {
        match self.ask(Request::Get { key: key.clone(), version: version.map(Into::into) }, access).await? {
            Answer::Value(value) => Ok(value),
            Answer::Keys(_) => Err(self.mixed_up()),
        }
    }

    /// The keys that start with `prefix`. Absence from it proves nothing.
    ///
    /// # Errors
    /// As [`Layers::get`].
    pub async fn list(&self, prefix: &str, access: &Access<'_>) -> Result<Arc<Vec<StoreKey>>, StoreError> {
        match self.ask(Request::List { prefix: prefix.into() }, access).await? {
            Answer::Keys(keys) => Ok(keys),
            Answer::Value(_) => Err(self.mixed_up()),
        }
    }

    /// Asks the store how it is, also past an open circuit breaker: this is its half-open probe. One attempt, which
    /// waits behind no other request.
    ///
    /// # Errors
    /// As [`Store::probe`].
    pub async fn probe(&self) -> Result<Capabilities, StoreError> {
        let attempt = Attempt { operation: "probe", lane: Lane::Probe, by: None };
        self.attempt(&attempt, |_| "success", self.store.probe()).await
    }

    /// For how long what the store said of a key has been in memory; `None`: the next one who asks asks the store.
    pub fn cached_for(&self, key: &StoreKey, version: Option<&str>) -> Option<Duration> {
        let request = Request::Get { key: key.clone(), version: version.map(Into::into) };
        let Lasting { uid, identity, cache, .. } = &*self.lasting;
        cache.age(&Place { uid: Arc::clone(uid), generation: identity.generation, request }, Instant::now())
    }

    /// The circuit breaker now.
    pub fn circuit(&self) -> Circuit {
        self.breaker(|breaker, now| breaker.circuit(now))
    }

    /// For how long the store asked to be left alone, if it did.
    pub fn held_for(&self) -> Option<Duration> {
        self.lasting.limits.held_for(Instant::now())
    }

    /// What the layers were built from.
    pub fn settings(&self) -> &Settings {
        &self.lasting.settings
    }

    /// Which store object this is.
    pub fn identity(&self) -> &Identity {
        &self.lasting.identity
    }

    /// The bare store, for its session and its watch.
    pub const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The delivery. What the operator asks for itself is delivered to nobody.
    async fn ask(&self, request: Request, access: &Access<'_>) -> Result<Answer, StoreError> {
        let span = tracing::debug_span!(
            "access", trace_id = access.trace_id, secretref.requester = access.requester,
            secretref.store = %self.lasting.label, secretref.provider = self.lasting.identity.provider,
            secretref.operation = request.name(), secretref.key = %request.path(),
        );
        let delivery = (access.requester != &*self.lasting.operator)
            .then(|| self.lasting.event(request.operation(), &request.path(), access.requester, access.trace_id));
        let (uid, generation) = (Arc::clone(&self.lasting.uid), self.lasting.identity.generation);
        let place = Arc::new(Place { uid, generation, request });
        let answer = self.answer(&place, access).instrument(span).await;
        if let Some(delivery) = delivery {
            delivery.end(AuditResult::of(&answer));
        }
        answer
    }

    /// Cache and single flight.
    async fn answer(&self, place: &Arc<Place>, access: &Access<'_>) -> Result<Answer, StoreError> {
        let Lasting { cache, metrics, label, settings, .. } = &*self.lasting;
        if access.freshness == Freshness::Cached {
            let held = cache.get(place, Instant::now());
            metrics.cache_request(label, held.is_some());
            if let Some(answer) = held {
                return Ok(answer);
            }
        }
        let fly = || async {
            let writes = self.lasting.writes.load(Ordering::SeqCst);
            let answer = self.persist(place, access).await;
            // An error takes nothing from the cache: a value may stay for as long as it was to stay anyway. What was
            // asked for before a write may be what was there before it.
            if let Ok(answer) = &answer
                && writes == self.lasting.writes.load(Ordering::SeqCst)
            {
                cache.keep(place, answer.clone(), settings.cache_ttl, Instant::now());
            }
            answer
        };
        self.flights.join(place, access.freshness, fly).await
    }

    /// Retry. All attempts are one access of the operator's, from the first one that is sent on.
    async fn persist(&self, place: &Place, access: &Access<'_>) -> Result<Answer, StoreError> {
        let Lasting { retries, operator, .. } = &*self.lasting;
        let lane = Lane::of(access.requester, operator);
        let started = Instant::now();
        let (mut failed, mut sent) = (0, None);
        let answer = loop {
            let by = (failed > 0).then(|| started + retry::OVERALL);
            let attempt = Attempt { operation: place.request.name(), lane, by };
            // Not even begun before the breaker and the limits let it through.
            let ask = async {
                let request = &place.request;
                sent.get_or_insert_with(|| {
                    self.lasting.event(request.operation(), &request.path(), operator, access.trace_id)
                });
                place.request.ask(&*self.store).await
            };
            let answer = self.attempt(&attempt, Answer::result, ask).await;
            match answer.as_ref().map_err(|e| e.failure) {
                Err(failure) if failure.is_transient() => {
                    failed += 1;
                    let now = Instant::now();
                    if let Some(wait) = retries.next(place, failed, now - started, now) {
                        tracing::debug!(failed, ?wait, "trying again");
                        sleep(wait).await;
                        self.lasting.metrics.store_retry(&self.lasting.label);
                        continue;
                    }
                    retries.failed(place);
                }
                // No answer about this key: what is remembered of it stands.
                Err(Failure::CircuitOpen | Failure::RateLimited(_) | Failure::NotReady) => {}
                Ok(_) | Err(_) => retries.answered(place),
            }
            break answer;
        };
        if let Some(sent) = sent {
            sent.end(AuditResult::of(&answer));
        }
        answer
    }

    fn mixed_up(&self) -> StoreError {
        StoreError::new(
            Failure::Misconfigured,
            format!("store `{}` gave an answer to another question; please report this", self.lasting.label),
        )
    }
}

impl Lasting {
    /// An access that begins now.
    fn event(&self, operation: AuditOperation, path: &str, requester: &str, trace_id: &str) -> Pending<'_> {
        self.audit.begin(|source_ip| AuditEvent {
            timestamp: jiff::Timestamp::now(),
            requester_id: requester.to_owned(),
            secret_path: format!("{}/{}/{path}", self.identity.provider, self.identity.path()),
            operation,
            source_ip,
            trace_id: trace_id.to_owned(),
            result: AuditResult::Error,
        })
    }
}

impl Drop for Lasting {
    /// A store that is gone or has changed leaves no value behind, not even from requests that outlived the change.
    fn drop(&mut self) {
        self.cache.forget_generation(&self.uid, self.identity.generation);
    }
}

#[cfg(test)]
mod tests;
