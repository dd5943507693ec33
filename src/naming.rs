//! Org, name and store key: the injective mapping.
//!
//! Two different (org, name) pairs never share a store key. An org has no `--` and never is `global`; a name has no
//! `--` and starts with no `-` or `/`: so the first `--` (or `/`) of a key is where its scope ends.

use std::fmt;

use thiserror::Error;

use crate::api::{EntryScope, Layout, NameStyle};

/// The platform-wide scope, as store keys spell it.
pub const GLOBAL: &str = "GLOBAL";

/// An organisation: `[a-z0-9]+(-[a-z0-9]+)*`, at most 63 characters, never `global` or `user`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Org(String);

/// A bare secret name, valid for one [`Scheme`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// What a store calls a secret: scope and name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(String);

/// A scope with its owner: what stands in front of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// An organisation.
    Org(Org),
    /// The platform.
    Global,
}

/// Why a name or an org is not one. Texts never repeat a name: a mistyped one may hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum NameError {
    #[error("an organisation is lower-case letters and digits in words joined by single '-', at most 63 characters")]
    Org,
    #[error("an organisation cannot be called global or user")]
    ReservedOrg,
    #[error("a name is lower-case letters and digits in words joined by single '-'")]
    Kebab,
    #[error("a name is letters, digits, '_' and '.' in words joined by single '-'")]
    Verbatim,
    #[error("this store has no folders: a name cannot hold '/'")]
    Folder,
    #[error("a name is bare: the operator puts the scope in front")]
    Scoped,
    #[error("scope and name together are longer than the {0} characters that this store takes")]
    TooLong(usize),
}

/// How one store spells its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// `{org}--{name}` or `{org}/{name}`.
    pub layout: Layout,
    /// How the last segment of a name is spelled.
    pub style: NameStyle,
    /// The store has paths: names may hold `/`.
    pub folders: bool,
    /// Object names are lower case: GLOBAL is written so, too.
    pub lowercase: bool,
    /// Keys are names of environment variables: `{ORG}__{NAME}`, scopes in capitals and with `_`, too. An org has no
    /// `--`, so the first `__` is where its scope ends.
    pub variables: bool,
    /// The longest key.
    pub max_len: usize,
}

impl Org {
    /// Checks the grammar.
    ///
    /// # Errors
    /// When the text is no organisation.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match text {
            "global" | "user" => Err(NameError::ReservedOrg),
            _ if text.len() <= 63 && is_kebab(text) => Ok(Self(text.to_owned())),
            _ => Err(NameError::Org),
        }
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StoreKey {
    /// A key as a store listed it. Resolution makes keys by [`Scheme::key`] only.
    pub fn verbatim(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text that the store is asked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Org {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Owner {
    /// Which scope this is.
    pub const fn scope(&self) -> EntryScope {
        match self {
            Self::Org(_) => EntryScope::Org,
            Self::Global => EntryScope::Global,
        }
    }
}

impl Scheme {
    /// Environment variables: `ACME_CORP__DB_PASSWORD`, `GLOBAL__DB_PASSWORD`.
    pub const ENVIRONMENT: Self = Self {
        layout: Layout::Flat,
        style: NameStyle::ScreamingSnake,
        folders: false,
        lowercase: false,
        variables: true,
        max_len: 512,
    };

    /// Checks a bare name against this store's grammar.
    ///
    /// # Errors
    /// When the text is no name here.
    pub fn name(&self, text: &str) -> Result<Name, NameError> {
        if !self.folders && text.contains('/') {
            return Err(NameError::Folder);
        }
        let (word, error): (fn(&str) -> bool, _) = match self.style {
            NameStyle::Verbatim => (is_verbatim, NameError::Verbatim),
            NameStyle::Kebab | NameStyle::ScreamingSnake => (is_kebab, NameError::Kebab),
        };
        if !text.split('/').all(word) {
            return Err(error);
        }
        let (first, rest) = text.split_once('/').unwrap_or((text, ""));
        if !rest.is_empty() && first.eq_ignore_ascii_case(GLOBAL) {
            return Err(NameError::Scoped);
        }
        Ok(Name(text.to_owned()))
    }

    /// The store key of a name in a scope.
    ///
    /// # Errors
    /// When the name repeats its scope, or the key is too long for the store.
    pub fn key(&self, owner: &Owner, name: &Name) -> Result<StoreKey, NameError> {
        if let Owner::Org(org) = owner
            && name.0.strip_prefix(org.as_str()).is_some_and(|rest| rest.starts_with('/'))
        {
            return Err(NameError::Scoped);
        }
        let key = self.scope_prefix(owner) + &self.spell(&name.0);
        if key.len() > self.max_len { Err(NameError::TooLong(self.max_len)) } else { Ok(StoreKey(key)) }
    }

    /// What every key of this scope starts with.
    pub fn scope_prefix(&self, owner: &Owner) -> String {
        let scope = match owner {
            Owner::Org(org) => org.as_str(),
            Owner::Global if self.lowercase => "global",
            Owner::Global => GLOBAL,
        };
        match self.layout {
            _ if self.variables => format!("{}__", scope.to_ascii_uppercase().replace('-', "_")),
            Layout::Flat => format!("{scope}--"),
            Layout::Path => format!("{scope}/"),
        }
    }

    /// What every key of a name in this scope that starts with `name_prefix` starts with.
    pub fn prefix(&self, owner: &Owner, name_prefix: &str) -> String {
        self.scope_prefix(owner) + &self.spell(name_prefix)
    }

    /// The name that a listed key holds for this owner, if it is one of its keys.
    pub fn parse(&self, owner: &Owner, key: &str) -> Option<Name> {
        let spelled = key.strip_prefix(&self.scope_prefix(owner))?;
        let bare = match self.style {
            NameStyle::ScreamingSnake => respell(spelled, |word| {
                (!word.contains(|c: char| c.is_ascii_lowercase() || c == '-'))
                    .then(|| word.to_ascii_lowercase().replace('_', "-"))
            })?,
            NameStyle::Kebab | NameStyle::Verbatim => spelled.to_owned(),
        };
        // The way back must lead here: names that repeat their scope, for one, do not.
        self.name(&bare).ok().filter(|name| self.key(owner, name).is_ok_and(|k| k.as_str() == key))
    }

    fn spell(&self, name: &str) -> String {
        match self.style {
            NameStyle::ScreamingSnake => {
                respell(name, |word| Some(word.to_ascii_uppercase().replace('-', "_"))).unwrap_or_default()
            }
            NameStyle::Kebab | NameStyle::Verbatim => name.to_owned(),
        }
    }
}

/// Applies a spelling to the last segment; folders keep theirs.
fn respell(name: &str, spell: impl Fn(&str) -> Option<String>) -> Option<String> {
    match name.rsplit_once('/') {
        Some((folders, last)) => spell(last).map(|last| format!("{folders}/{last}")),
        None => spell(name),
    }
}

fn is_kebab(text: &str) -> bool {
    text.split('-').all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn is_verbatim(text: &str) -> bool {
    text != "."
        && text != ".."
        && text
            .split('-')
            .all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.'))
}

#[cfg(test)]
#[path = "naming/fuzz.rs"]
mod fuzz;
#[cfg(test)]
#[path = "naming/tests.rs"]
mod tests;
