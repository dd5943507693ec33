//! The sentences of problems: what failed, on which store key, and what to do next. Never a value.

use super::{
    Problem,
    property::{self, Lack},
};
use crate::{
    api::Reason,
    naming::{NameError, StoreKey},
    stores::{Failure, StoreError},
};

impl Problem {
    pub(super) fn name(field: &str, error: NameError) -> Self {
        Self::new(Reason::InvalidReference, format!("{field}: {error}"))
    }

    /// What a store's failure is to the tenant whose key it met.
    pub(super) fn store(key: &str, error: &StoreError) -> Self {
        // Texts of conditions must not tick: a countdown would be a write for every look at it. And what the platform's
        // store is made of (certificates, mounts, credentials) is no tenant's business: the store's own status says it.
        let (sentence, retry_after) = match error.failure {
            Failure::RateLimited(after) => ("the store said slow down: the operator waits as told", after),
            Failure::CircuitOpen => ("the store does not answer: the operator syncs when a probe finds it back", None),
            Failure::Unavailable => {
                ("the store does not answer: the operator tries again, and the store's status says what is wrong", None)
            }
            Failure::Misconfigured => (
                "the store gave an answer that makes no sense, or has no such mount or namespace: its status says what to do",
                None,
            ),
            Failure::Unauthenticated => ("the store rejects the operator's login: its status says what to do", None),
            Failure::NotReady => ("the store is not ready to be used: its status says why", None),
            // Of this key alone.
            Failure::Denied | Failure::Disabled => (&*error.message, None),
        };
        let message = if sentence.contains(key) { sentence.to_owned() } else { format!("{key}: {sentence}") };
        Self { reason: error.failure.reason(), message, retry_after }
    }
}

pub(super) fn lacking(store_key: &str, property: Option<&str>, lack: &Lack) -> Problem {
    let message = match (lack, property) {
        (Lack::Null, _) => return empty(store_key, property),
        (Lack::NotStructured, _) => format!("{store_key}: the value has no properties: it is not a JSON object"),
        (Lack::NoProperty(names), Some(p)) => format!("{store_key}: no property {p}; there are: {}", listed(names)),
        (Lack::NoProperty(names), None) => format!(
            "{store_key}: no property {}, which a bare name yields: set property to one of: {}",
            property::BARE,
            listed(names)
        ),
    };
    Problem::new(Reason::PropertyNotFound, message)
}

pub(super) fn empty(store_key: &str, property: Option<&str>) -> Problem {
    let part = property.map(|p| format!(" property {p}")).unwrap_or_default();
    let message = format!(
        "{store_key}:{part} is there, but null or empty: give it a value (allowEmpty lets an empty string pass)"
    );
    Problem::new(Reason::SecretEmpty, message)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.iter().take(20).cloned().collect::<Vec<_>>().join(", ") }
}

pub(super) fn not_found(tried: &[StoreKey]) -> String {
    match tried {
        [] => "the namespace may use no scope of this store".to_owned(),
        [one] => format!("{one} does not exist"),
        [one, two, ..] => format!("neither {one} nor {two} exists"),
    }
}
