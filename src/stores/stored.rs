//! What a store holds under one key, and what it says about it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aws_lc_rs::hmac;
use jiff::Timestamp;

use crate::{naming::StoreKey, secret::SecretValue};

/// What a store holds under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value or values.
    pub payload: Payload,
    /// The store's name for this version.
    pub version: Option<String>,
    /// Changes whenever the value may have changed.
    pub token: ChangeToken,
    /// Why the value should soon be replaced (expired, not yet valid), if so.
    pub warning: Option<String>,
}

/// One value, or a map of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Key Vault, Infisical: the value itself.
    Single(SecretValue),
    /// Vault, Kubernetes: properties.
    Map(BTreeMap<String, Property>),
}

/// One property of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// Text or bytes.
    Text(SecretValue),
    /// What is not a string, as compact JSON.
    Json(SecretValue),
    /// There, but null.
    Null,
}

/// What is known of a key or of one of its versions, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The store's name for this version (of a key: for its latest).
    pub version: Option<String>,
    /// What became of it.
    pub state: VersionState,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When anything about it was last changed.
    pub updated: Option<Timestamp>,
    /// Not to be used before.
    pub not_before: Option<Timestamp>,
    /// Not to be used after.
    pub expires: Option<Timestamp>,
    /// What kind of text the value is, where the store keeps that.
    pub content_type: Option<String>,
    /// Tags, labels or custom metadata: whatever the store calls them.
    pub tags: BTreeMap<String, String>,
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// It can be read.
    Enabled,
    /// Switched off in the store.
    Disabled,
    /// Deleted; it can be restored.
    Deleted,
    /// Gone for good.
    Destroyed,
}

impl Metadata {
    /// A version of which no more is known.
    pub fn new(version: Option<String>, state: VersionState) -> Self {
        Self {
            version,
            state,
            created: None,
            updated: None,
            not_before: None,
            expires: None,
            content_type: None,
            tags: BTreeMap::new(),
        }
    }
}

/// The store's own mark of a state of a key; opaque, never a value or a hash of one that can be guessed.
///
/// A mark that is young may be the same after the next change (a clock that ticks in seconds). Of a mark with details a
/// list shows the part before them. Equality is that of the whole marks, and of nothing else.
#[derive(Clone)]
pub struct ChangeToken {
    mark: Box<str>,
    /// Bytes of the part that lists show.
    listed: usize,
    young: bool,
}

impl ChangeToken {
    /// Wraps the store's mark.
    pub fn new(mark: impl Into<Box<str>>) -> Self {
        let mark = mark.into();
        Self { listed: mark.len(), mark, young: false }
    }

    /// Wraps a mark that the next change may not move.
    pub fn young(mark: impl Into<Box<str>>) -> Self {
        Self { young: true, ..Self::new(mark) }
    }

    /// Adds what only a read shows, a version for one.
    #[must_use]
    pub fn with_detail(self, detail: &str) -> Self {
        Self { mark: format!("{}/{detail}", self.mark).into(), ..self }
    }

    /// The whole mark.
    pub fn as_str(&self) -> &str {
        &self.mark
    }

    /// What may be compared with a list's mark later: nothing in it moves unless something has changed.
    pub fn lasting(&self) -> [&str; 2] {
        if self.young { [&self.mark, "young"] } else { [&self.mark[..self.listed], ""] }
    }

    /// Whether a list that shows this mark says that nothing has changed.
    pub fn is_still(&self, listed: &Self) -> bool {
        !self.young && !listed.young && self.lasting() == listed.lasting()
    }

    /// Whether the next change may leave it as it is.
    pub const fn is_young(&self) -> bool {
        self.young
    }
}

impl PartialEq for ChangeToken {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark
    }
}

impl Eq for ChangeToken {}

impl fmt::Debug for ChangeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mark)
    }
}

/// Marks of values, for stores that have none of their own: keyed, so that a value cannot be guessed from its mark.
#[derive(Clone)]
pub struct Marks(hmac::Key);

impl Marks {
    /// With the installation's key, so that marks outlive the process.
    pub fn new(key: &SecretValue) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// With a key of this process alone.
    pub fn random() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }

    /// The mark of a key that has this value.
    pub fn of(&self, key: &StoreKey, value: &SecretValue) -> ChangeToken {
        let mut mac = hmac::Context::with_key(&self.0);
        for part in [b"mark", key.as_str().as_bytes(), value.expose()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mark: String = mac.sign().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        ChangeToken::new(mark)
    }
}

/// What a store that tells changes by itself has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This key is now in this state; `None`: it was removed.
    Key(StoreKey, Option<ChangeToken>),
    /// This is all there is: keys that are not listed were removed.
    All(Vec<(StoreKey, ChangeToken)>),
}

/// What a store that is polled says of a change: where to look, and never what is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This key changed.
    Key(StoreKey),
    /// Some key of this folder changed: the folder without a slash at its end.
    Folder(Arc<str>),
    /// Anything may have changed.
    Anything,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_unchanged_only_of_a_mark_that_the_next_change_would_move() {
        let read = ChangeToken::new("1700000000").with_detail("v1");
        assert_eq!(read.as_str(), "1700000000/v1");
        assert!(read.is_still(&ChangeToken::new("1700000000")));
        assert!(read.is_still(&read));
        assert!(!read.is_still(&ChangeToken::new("170000000")));
        assert!(!read.is_still(&ChangeToken::new("1700000001")));
        assert!(!read.is_still(&ChangeToken::young("1700000000")));
        assert!(!ChangeToken::young("1700000000").with_detail("v1").is_still(&ChangeToken::new("1700000000")));
        assert_ne!(ChangeToken::young("1").with_detail("v1").lasting(), ChangeToken::new("1").lasting());
        assert_eq!(ChangeToken::young("1"), ChangeToken::new("1"));
    }

    #[test]
    fn marks_depend_on_key_value_and_installation() {
        let (marks, key) = (Marks::random(), StoreKey::verbatim("acme/A"));
        let value = SecretValue::from("canary-1".to_owned());
        assert_eq!(marks.of(&key, &value), marks.of(&key, &value));
        assert_ne!(marks.of(&key, &value), Marks::random().of(&key, &value));
        assert_ne!(marks.of(&key, &value), marks.of(&StoreKey::verbatim("acme/B"), &value));
    }
}
