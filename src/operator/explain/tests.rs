#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    naming::StoreKey,
    stores::{ChangeToken, Failure, StoreError},
};

const SECOND: Duration = Duration::from_secs(1);

fn now() -> Now {
    Now { mono: Instant::now() + 1000 * SECOND, wall: 1_000_000 * SECOND }
}

fn key(version: Option<&str>) -> Read {
    Read::Key(StoreKey::verbatim("acme--key"), version.map(str::to_owned))
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_second(seconds).unwrap())
}

#[test]
fn times_are_of_the_wall_clock_and_the_latest_word_counts() {
    let now = now();
    let token = State::Present(ChangeToken::new("v1"));
    let look = Look {
        state: Some(&token),
        failure: None,
        last: Some(now.mono - 30 * SECOND),
        next: Some(now.mono + 5 * SECOND),
    };
    let polled = candidate(&key(None), Some(look), None, now);
    assert_eq!((polled.answer.as_str(), polled.place.as_str()), ("Found", "acme--key"));
    assert_eq!((polled.last_check, polled.next_check), (at(999_970), at(1_000_005)));
    // A sync has read it since, and left it in the cache.
    let read = candidate(&key(None), Some(look), Some(7 * SECOND), now);
    assert_eq!((read.last_check, read.cached_for_seconds), (at(999_993), Some(7)));
    // The poll came later than what the cache holds.
    let older = candidate(&key(None), Some(look), Some(60 * SECOND), now);
    assert_eq!((older.last_check, older.cached_for_seconds), (at(999_970), Some(60)));
}

#[test]
fn a_failure_is_told_before_what_was_known() {
    let error = StoreError::new(Failure::Denied, "no");
    let known = Look { state: Some(&State::Absent), failure: None, last: None, next: None };
    assert_eq!(candidate(&key(None), Some(known), None, now()).answer, "NotFound");
    let failing = Look { failure: Some(&error), ..known };
    assert_eq!(candidate(&key(None), Some(failing), None, now()).answer, "PermissionDenied");
    assert_eq!(candidate(&key(None), None, None, now()).answer, "NotAsked");
    let pinned = candidate(&key(Some("3")), None, None, now());
    assert_eq!((pinned.answer.as_str(), pinned.place.as_str()), ("Pinned", "acme--key version 3"));
}
