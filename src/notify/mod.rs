//! Change notifications: the one way in for changes from outside.
//!
//! A notification says "this key changed" and nothing else: it is checked, recorded in a small object of this replica's
//! own ([`record`]), and the leader, who watches those objects, reads the key. So whoever forges, replays, reorders or
//! floods them gains nothing: what is true is always what the store says. Another process that changes a store (the
//! console) records it by a [`Recorder`] of its own, without a listener.

mod directory;
mod door;
pub mod event_grid;
mod flood;
pub mod generic;
pub mod infisical;
mod keys;
mod listen;
mod record;
pub mod ring;
mod verify;

use std::sync::Arc;

pub use directory::{Directory, Known};
pub(crate) use flood::Rates;
pub use keys::Keys;
pub use listen::{Hooks, serve};
pub use record::{Place, RINGS_LABEL, Recorder};
pub use ring::{About, Hashes, Mark, Note, Ring};

/// What changed in a store, as far as a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The value of one key.
    Key(Arc<str>),
    /// Some key of a folder, which is not named: the folder without a slash at its end.
    Folder(Arc<str>),
    /// Anything.
    All,
}

/// Who notifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Azure Event Grid.
    EventGrid,
    /// Infisical's webhooks.
    Infisical,
    /// Anyone who can sign.
    Generic,
}

impl Source {
    /// As it stands in paths and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventGrid => "event-grid",
            Self::Infisical => "infisical",
            Self::Generic => "generic",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::EventGrid, Self::Infisical, Self::Generic].into_iter().find(|s| s.as_str() == text)
    }
}

/// A body that is not what its source sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The longest store key that is taken: longer ones exist in no store.
const MAX_KEY: usize = 1024;

/// A key of a body, if it can be one.
fn key(text: &str) -> Option<Changed> {
    let fits = !text.is_empty() && text.len() <= MAX_KEY && !text.chars().any(char::is_control);
    fits.then(|| Changed::Key(text.into()))
}
