//! What sets syncs going: where their traces begin.

use std::time::{Duration, Instant, SystemTime};

use crate::{operator::watch::Message, telemetry::Trace};

/// What happened, and when.
#[derive(Clone, Debug)]
pub struct Cause {
    what: &'static str,
    at: SystemTime,
    since: Instant,
    /// A poll has a trace already.
    within: Option<Trace>,
}

impl Cause {
    /// Nothing that was told: the operator itself.
    pub fn now(what: &'static str) -> Self {
        Self { what, at: SystemTime::now(), since: Instant::now(), within: None }
    }

    /// What is told.
    pub fn of(message: &Message) -> Self {
        let (what, within) = match message {
            Message::Reference(_) => ("watch SecretReference", None),
            Message::Target(_) => ("watch Secret", None),
            Message::Namespace(_) | Message::Bound(..) => ("watch Namespace", None),
            Message::Store(_) => ("watch store", None),
            Message::Keeper(..) | Message::StoreStatus(..) => ("store health", None),
            Message::Notified(_) => ("notification", None),
            Message::Polled(.., trace) | Message::Surveyed(.., trace) => ("change", Some(trace.clone())),
            Message::Synced(_) | Message::Followed(_) => ("sync", None),
            Message::Explain(..) => ("question", None),
        };
        Self { what, at: SystemTime::now(), since: Instant::now(), within }
    }

    /// How long ago it was.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The trace of what comes of it.
    pub fn trace(&self) -> Trace {
        Trace::begin(self.what, self.at, self.within.as_ref())
    }
}
