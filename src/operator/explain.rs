//! What the leader knows of a reference beyond what the objects say: of each entry every place it is looked for in, what
//! the store said of it, when, and when it is asked again. Never a value.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    refresh::{Look, Now, State},
    resolve::Read,
};

/// One reference, as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `namespace/name`.
    pub reference: String,
    /// When the leader said so.
    pub time: Timestamp,
    /// Why no entry is looked for at all.
    pub problem: Option<String>,
    /// The entries that are not plain.
    pub entries: Vec<Entry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its key, or the source of many keys.
    pub key: String,
    /// The places, in the order in which they are tried.
    pub candidates: Vec<Candidate>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The store key, or the pattern of a list.
    pub place: String,
    /// `Found`, `NotFound`, `NotAsked`, `Pinned` (read once), or the reason of a failure.
    pub answer: String,
    /// When the store was last heard of it.
    pub last_check: Option<Timestamp>,
    /// When it is asked next; none: not by the clock.
    pub next_check: Option<Timestamp>,
    /// For how long the answer has been in the leader's cache; none: it is not there.
    pub cached_for_seconds: Option<u64>,
}

/// Why there is no explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unexplained {
    /// Another replica knows.
    #[error("this replica does not lead: ask the one that the Lease names")]
    NotLeading,
    /// There is none of this name.
    #[error("there is no such reference: correct the name, or ask an operator that watches this namespace")]
    NoReference,
    /// It has not come to it yet.
    #[error("nothing is known yet: ask again in a moment")]
    NotYet,
}

/// What is known of one place. What is in the cache was heard of when it came there.
pub fn candidate(read: &Read, look: Option<Look<'_>>, cached: Option<Duration>, now: Now) -> Candidate {
    let pinned = matches!(read, Read::Key(_, Some(_)));
    let answer = match look {
        Some(Look { failure: Some(error), .. }) => error.failure.reason().as_str(),
        Some(Look { state: Some(State::Present(_) | State::Listed(_)), .. }) => "Found",
        Some(Look { state: Some(State::Absent), .. }) => "NotFound",
        Some(Look { state: Some(State::Failed(error)), .. }) => error.failure.reason().as_str(),
        Some(Look { state: None, .. }) => "NotAsked",
        None if pinned => "Pinned",
        None => "NotAsked",
    };
    let heard = look.and_then(|look| look.last).max(cached.and_then(|age| now.mono.checked_sub(age)));
    Candidate {
        place: read.to_string(),
        answer: answer.to_owned(),
        last_check: heard.and_then(|at| on_the_wall(at, now)),
        next_check: look.and_then(|look| look.next).and_then(|at| on_the_wall(at, now)),
        cached_for_seconds: cached.map(|age| age.as_secs()),
    }
}

/// A moment of the monotonic clock, to the millisecond.
fn on_the_wall(at: Instant, now: Now) -> Option<Timestamp> {
    let wall = SystemTime::UNIX_EPOCH.checked_add(now.wall)?;
    let at = match at.checked_duration_since(now.mono) {
        Some(ahead) => wall.checked_add(ahead)?,
        None => wall.checked_sub(now.mono.duration_since(at))?,
    };
    Timestamp::try_from(at).ok()?.round(jiff::Unit::Millisecond).ok()
}

#[cfg(test)]
#[path = "explain/tests.rs"]
mod tests;
