//! Writes, and what can be done with a store at all.

use std::collections::BTreeMap;

use super::Payload;

/// What is written.
#[derive(Clone, Debug)]
pub struct Write {
    /// The whole new content. A store of single values takes a map as compact JSON; one that holds maps takes a single
    /// value as the property `value`.
    pub payload: Payload,
    /// Under which condition.
    pub when: When,
    /// What kind of text the value is; `None` keeps what is there.
    pub content_type: Option<String>,
    /// Tags, labels or custom metadata; `None` keeps what is there.
    pub tags: Option<BTreeMap<String, String>>,
}

/// The condition of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Create or update.
    Always,
    /// Create only. A deleted key is not there.
    Absent,
    /// Only if this is the latest version.
    Version(String),
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It has this version now.
    Version(String),
    /// The condition did not hold, and nothing was written.
    Conflict,
}

/// What can be done with a store at all, whoever asks. What an identity may do of it is told by its capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// It can be written to.
    pub write: bool,
    /// It keeps former versions, which can be read and restored.
    pub versions: bool,
    /// A deleted key can be restored.
    pub undelete: bool,
    /// The condition of a write is checked in the same step as the write: of two writers one wins. Otherwise it is
    /// checked just before.
    pub atomic: bool,
    /// It holds maps of properties; otherwise single values.
    pub maps: bool,
    /// It takes any bytes; otherwise text only.
    pub binary: bool,
    /// It takes an empty value.
    pub empty: bool,
    /// It keeps white space around a value.
    pub exact: bool,
    /// It keeps a content type.
    pub content_type: bool,
    /// It keeps tags.
    pub tags: bool,
    /// The most bytes that one value may have.
    pub max_value: usize,
    /// Names that differ in case only are the same.
    pub ignores_case: bool,
}
