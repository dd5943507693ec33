//! One attempt: through the breaker and the limits, within the timeout, counted.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument, field::Empty};

use super::{
    super::{
        Failure, StoreError,
        pace::{Late, paced},
    },
    Layers,
    breaker::{Breaker, Epoch, Outcome},
    limits::{Lane, Leave, PATIENCE},
};
use crate::api::Circuit;

/// The breaker and what was last said about it.
pub(super) struct Watched {
    breaker: Breaker,
    shown: Circuit,
}

impl Watched {
    pub(super) const fn new() -> Self {
        Self { breaker: Breaker::new(), shown: Circuit::Closed }
    }
}

/// A request that is sent: settled and counted when dropped, so also when nobody waits for its answer any more.
struct Sent<'a> {
    layers: &'a Layers,
    _leave: Leave<'a>,
    operation: &'static str,
    admitted: Epoch,
    at: Instant,
    outcome: Outcome,
    result: &'static str,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.layers.breaker(|breaker, now| breaker.settle(self.admitted, self.outcome, now));
        self.layers.count(self.operation, self.result, Some(self.at.elapsed()));
    }
}

/// What is sent.
pub(super) struct Attempt<'a> {
    pub(super) operation: &'static str,
    /// Where it stands in line. A probe: past an open breaker, and past the line.
    pub(super) lane: Lane<'a>,
    /// When it must be over, whatever the timeout.
    pub(super) by: Option<Instant>,
}

impl Attempt<'_> {
    fn is_probe(&self) -> bool {
        self.lane == Lane::Probe
    }
}

impl Layers {
    /// One attempt, as one span of a trace: with the wait for its turn.
    pub(super) async fn attempt<T>(
        &self,
        attempt: &Attempt<'_>,
        result: impl FnOnce(&T) -> &'static str,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = tracing::debug_span!(
            "store request",
            otel.name = %format_args!("{} {}", attempt.operation, self.lasting.identity.provider),
            otel.kind = "client",
            otel.status_code = Empty,
            "error.type" = Empty,
            secretref.store = %self.lasting.label,
            secretref.provider = self.lasting.identity.provider,
            secretref.operation = attempt.operation,
        );
        let answer = self.try_once(attempt, result, ask).instrument(span.clone()).await;
        if let Err(error) = &answer {
            span.record("otel.status_code", "ERROR").record("error.type", name(error.failure));
        }
        answer
    }

    async fn try_once<T>(
        &self,
        attempt: &Attempt<'_>,
        result: impl FnOnce(&T) -> &'static str,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let entered = match attempt.by {
            None => self.enter(attempt).await,
            Some(by) => timeout_at(by, self.enter(attempt)).await.unwrap_or_else(|_| {
                Err(self.error(Failure::Unavailable, "does not answer, and its limits leave no room to try again now"))
            }),
        };
        let mut sent = entered?;
        let within =
            attempt.by.map_or(self.lasting.settings.timeout, |by| self.lasting.settings.timeout.min(by - sent.at));
        let (lasting, same) = (Arc::clone(&self.lasting), Arc::clone(&self.lasting));
        let take = move || lasting.limits.take(Instant::now());
        let paced = paced(within, take, move || same.limits.held_for(Instant::now()), ask);
        let answer = match attempt.by {
            None => paced.await,
            Some(by) => timeout_at(by, paced).await.unwrap_or(Err(Late::NoAnswer)),
        };
        let answer = answer.unwrap_or_else(|late| {
            Err(match late {
                Late::Held(rest) => self.held(rest),
                Late::NoAnswer => {
                    let next = "look at its load and at the network, or raise limits.timeout";
                    self.error(Failure::Unavailable, &format!("did not answer within {}: {next}", human(within)))
                }
            })
        });
        let failure = answer.as_ref().err().map(|e| e.failure);
        self.lasting.limits.learn(failure, sent.at, Instant::now());
        sent.outcome = Outcome::of(failure);
        sent.result = match &answer {
            Ok(answer) => result(answer),
            Err(e) => name(e.failure),
        };
        answer
    }

    /// Waits until a request may be sent. Whoever stops waiting takes nothing away.
    async fn enter(&self, attempt: &Attempt<'_>) -> Result<Sent<'_>, StoreError> {
        // Who would be refused does not stand in line; who stands in line hears when things change.
        self.check(attempt)?;
        let turn = self.lasting.limits.turn(attempt.lane).await;
        loop {
            self.check(attempt)?;
            match self.lasting.limits.take(Instant::now()) {
                Ok(()) => break,
                Err(wait) => sleep(wait.min(PATIENCE)).await,
            }
        }
        let admitted = self
            .breaker(|breaker, now| if attempt.is_probe() { Ok(breaker.admit_probe()) } else { breaker.admit(now) });
        match admitted {
            Ok(admitted) => Ok(Sent {
                layers: self,
                _leave: turn.into_leave(),
                operation: attempt.operation,
                admitted,
                at: Instant::now(),
                outcome: Outcome::Unknown,
                result: "cancelled",
            }),
            // Another one took the half-open place between the check and here.
            Err(_) => Err(self.refused(attempt)),
        }
    }

    fn check(&self, attempt: &Attempt<'_>) -> Result<(), StoreError> {
        if !attempt.is_probe() && self.breaker(|breaker, now| breaker.refusal(now)).is_some() {
            return Err(self.refused(attempt));
        }
        match self.lasting.limits.held_for(Instant::now()) {
            Some(rest) if rest > PATIENCE => {
                self.count(attempt.operation, "held", None);
                Err(self.held(rest))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, attempt: &Attempt<'_>) -> StoreError {
        self.count(attempt.operation, name(Failure::CircuitOpen), None);
        let (failures, next) = self
            .breaker(|breaker, now| breaker.refusal(now))
            .map_or((0, None), |refusal| (refusal.failures, refusal.next));
        let next =
            next.map_or_else(|| "an attempt is under way".to_owned(), |n| format!("next attempt in {}", human(n)));
        self.error(Failure::CircuitOpen, &format!("does not answer ({failures} failures in a row); {next}"))
    }

    fn held(&self, rest: Duration) -> StoreError {
        let message = format!("asked to slow down; next request in {}", human(rest));
        self.error(Failure::RateLimited(Some(rest)), &message)
    }

    fn count(&self, operation: &'static str, result: &'static str, took: Option<Duration>) {
        tracing::debug!(store = %self.lasting.label, operation, result, ?took, "store request");
        self.lasting.metrics.store_request(
            &self.lasting.label,
            self.lasting.identity.provider,
            operation,
            result,
            took,
        );
    }

    fn error(&self, failure: Failure, what: &str) -> StoreError {
        StoreError::new(failure, format!("{} store `{}` {what}", self.lasting.identity.provider, self.lasting.label))
    }

    /// The one way to the breaker: what changes there is shown.
    pub(super) fn breaker<T>(&self, act: impl FnOnce(&mut Breaker, Instant) -> T) -> T {
        let mut watched = self.lasting.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let result = act(&mut watched.breaker, now);
        let circuit = watched.breaker.circuit(now);
        if circuit != watched.shown {
            let before = std::mem::replace(&mut watched.shown, circuit);
            self.lasting.metrics.circuit(&self.lasting.label, circuit);
            match circuit {
                // Every probe of a store that is down opens it again.
                Circuit::Open if before != Circuit::Closed => {
                    tracing::debug!(store = %self.lasting.label, "still no answer")
                }
                Circuit::Open => {
                    tracing::warn!(store = %self.lasting.label, "store does not answer: left alone for a while")
                }
                Circuit::HalfOpen => tracing::debug!(store = %self.lasting.label, "asking the store again"),
                Circuit::Closed => tracing::info!(store = %self.lasting.label, "store answers again"),
            }
        }
        result
    }
}

/// A failure as metrics name it.
const fn name(failure: Failure) -> &'static str {
    match failure {
        Failure::Disabled => "disabled",
        Failure::Unauthenticated => "unauthenticated",
        Failure::Denied => "denied",
        Failure::RateLimited(_) => "rate_limited",
        Failure::Unavailable => "unavailable",
        Failure::CircuitOpen => "circuit_open",
        Failure::Misconfigured => "misconfigured",
        Failure::NotReady => "not_ready",
    }
}

/// A time to wait, rounded up: never shorter than it is.
fn human(time: Duration) -> String {
    match u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX) {
        ms @ 0..1000 => format!("{ms} ms"),
        ms => format!("{} s", ms.div_ceil(1000)),
    }
}
