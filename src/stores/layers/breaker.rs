//! The circuit breaker: a store that does not answer is left alone, and asked again by one request at a time.
//!
//! A pure state machine: the clock is a parameter. Only silence counts (network, timeout, TLS, sealed, 5xx); a store
//! that answers, whatever it says, is there.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Failure;
use crate::api::Circuit;

/// Failures in a row that open it.
const THRESHOLD: u32 = 5;
/// How long it stays open at first; it doubles.
const FIRST: Duration = Duration::from_secs(5);
/// How long it stays open at most.
const LONGEST: Duration = Duration::from_secs(60);

/// The breaker of one store.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    failures: u32,
    /// Moves with every transition: what was sent before one tells nothing bad about the time after.
    epoch: Epoch,
}

/// When a request was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

#[derive(Debug)]
enum State {
    Closed,
    Open { until: Instant, pause: Duration },
    HalfOpen { pause: Duration },
}

/// What a request says about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is there.
    Answered,
    /// It does not answer.
    Silent,
    /// Nothing: the request never got there, or nobody waited for its answer.
    Unknown,
}

/// Why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Failures in a row.
    pub(super) failures: u32,
    /// When the next request is let through; `None`: one is under way.
    pub(super) next: Option<Duration>,
}

impl Outcome {
    pub(super) const fn of(failure: Option<Failure>) -> Self {
        match failure {
            Some(Failure::Unavailable) => Self::Silent,
            // Without a credential the store was not asked.
            Some(Failure::NotReady | Failure::CircuitOpen) => Self::Unknown,
            _ => Self::Answered,
        }
    }
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self { state: State::Closed, failures: 0, epoch: Epoch(0) }
    }

    /// Whether a request would be refused, without letting one through.
    pub(super) fn refusal(&self, now: Instant) -> Option<Refusal> {
        let next = match self.state {
            State::Closed => return None,
            State::Open { until, .. } if until <= now => return None,
            State::Open { until, .. } => Some(until - now),
            State::HalfOpen { .. } => None,
        };
        Some(Refusal { failures: self.failures, next })
    }

    /// Lets a request through, or not. Each one must be settled.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Epoch, Refusal> {
        match self.refusal(now) {
            Some(refusal) => Err(refusal),
            None => Ok(self.admit_probe()),
        }
    }

    /// Lets a probe through, always: it is the half-open one.
    pub(super) fn admit_probe(&mut self) -> Epoch {
        if let State::Open { pause, .. } = self.state {
            self.turn(State::HalfOpen { pause });
        }
        self.epoch
    }

    /// Learns from a request that was let through.
    pub(super) fn settle(&mut self, admitted: Epoch, outcome: Outcome, now: Instant) {
        match (outcome, &self.state) {
            (Outcome::Answered, state) => {
                if !matches!(state, State::Closed) {
                    self.turn(State::Closed);
                }
                self.failures = 0;
            }
            _ if admitted != self.epoch => {}
            (Outcome::Silent, State::Closed) => {
                self.failures += 1;
                if self.failures >= THRESHOLD {
                    self.turn(State::Open { until: now + FIRST, pause: FIRST });
                }
            }
            (Outcome::Silent, State::HalfOpen { pause }) => {
                let pause = (*pause * 2).min(LONGEST);
                self.failures = self.failures.saturating_add(1);
                self.turn(State::Open { until: now + pause, pause });
            }
            // Given up half way: the next one may try.
            (Outcome::Unknown, State::HalfOpen { pause }) => {
                let pause = *pause;
                self.turn(State::Open { until: now, pause });
            }
            (Outcome::Unknown, State::Closed) | (_, State::Open { .. }) => {}
        }
    }

    /// The state as the store object shows it.
    pub(super) fn circuit(&self, now: Instant) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open { until, .. } if until > now => Circuit::Open,
            State::Open { .. } | State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.epoch.0 += 1;
    }
}

#[cfg(test)]
#[path = "breaker/tests.rs"]
mod tests;
