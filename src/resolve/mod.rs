//! The decisions: which store keys a reference needs, in which order, and what they make. No I/O of its own.
//!
//! [`resolve`] is asked again and again with what is known so far: it either wants more answers ([`Step::Ask`]), is
//! done, or names the first problem. The operator, the command line and the console all drive the same function.

pub(crate) mod candidates;
mod check;
mod find;
mod locate;
mod message;
mod property;
mod template;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

pub use check::{Policy, check, deliverable, required_keys, target_key};
pub(crate) use locate::owners;
use walk::Walk;

use crate::{
    api::{Entry, Reason, SecretRef, SecretReferenceSpec},
    naming::{Org, Scheme, StoreKey},
    secret::SecretValue,
    stores::{StoreError, Stored},
};

/// At most so many names may be found by one prefix.
pub const MAX_FOUND: usize = 256;

/// One question to a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Read {
    /// One key, at its latest or a pinned version.
    Key(StoreKey, Option<String>),
    /// The keys that start with this.
    List(String),
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key, None) => write!(f, "{key}"),
            Self::Key(key, Some(version)) => write!(f, "{key} version {version}"),
            Self::List(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// What a store said to a [`Read`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// There; without the value where only its presence is known.
    Present(Option<Arc<Stored>>),
    /// Certainly not there.
    Absent,
    /// These keys.
    Listed(Arc<Vec<StoreKey>>),
    /// No answer.
    Failed(StoreError),
}

/// What is known so far.
pub type Answers = HashMap<Read, Answer>;

/// Which scopes a namespace may resolve: the platform decides, never the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The organisation that the platform bound to it.
    pub org: Option<Org>,
    /// Whether it may use the platform-wide scope.
    pub global: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Get these answers and come again.
    Ask(BTreeSet<Read>),
    /// Everything resolved.
    Done(Resolved),
    /// The first thing that is wrong, in the order of the spec.
    Failed(Problem),
}

/// All keys of a target, and where they came from.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The target's data.
    pub data: BTreeMap<String, SecretValue>,
    /// Where each secret key came from.
    pub entries: Vec<Entry>,
    /// Organisation keys that are certainly absent while the platform-wide value was used.
    pub fallbacks: Vec<StoreKey>,
    /// Sentences about keys that were left out, and values that will soon end.
    pub warnings: Vec<String>,
}

/// Why there is no target to write: a row of the failure table, and its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The row.
    pub reason: Reason,
    /// What failed, on which store key, and what to do next. Never a value.
    pub message: String,
    /// When the store wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None }
    }
}

/// The reads that a reference stands on, as far as it can be told from `answers`: what the key table polls.
pub fn reads(spec: &SecretReferenceSpec, tenant: &Tenant, scheme: &Scheme, answers: &Answers) -> BTreeSet<Read> {
    let mut walk = Walk::new(tenant, scheme, answers);
    for secret in spec.data().iter().filter_map(|d| d.secret_ref.as_ref()) {
        let _ = walk.secret("", secret);
    }
    for source in spec.data_from() {
        if let Some(extract) = &source.extract {
            let _ = walk.secret("", &SecretRef { name: extract.name.clone(), ..SecretRef::default() });
        }
        if let Some(find) = &source.find {
            let _ = walk.find("", find);
        }
    }
    walk.used
}

/// One step of resolution.
pub fn resolve(spec: &SecretReferenceSpec, tenant: &Tenant, scheme: &Scheme, answers: &Answers) -> Step {
    let mut walk = Walk::new(tenant, scheme, answers);
    let mut out = Resolved::default();
    let first_problem = walk.all(spec, &mut out).err();
    if !walk.asked.is_empty() {
        return Step::Ask(walk.asked);
    }
    if let Some(problem) = first_problem {
        return Step::Failed(problem);
    }
    let mut renderer = template::Renderer::default();
    let rendered = spec.templates().try_fold(BTreeMap::new(), |mut rendered, (key, text)| {
        let value = renderer.render(text, &out.data).map_err(|what| {
            Problem::new(Reason::TemplateError, format!("spec.target.template.data[{key}]: {what}; mend the template"))
        })?;
        rendered.insert(key.to_owned(), value);
        Ok(rendered)
    });
    match rendered {
        Ok(mut rendered) => {
            out.data.append(&mut rendered);
            Step::Done(out)
        }
        Err(problem) => Step::Failed(problem),
    }
}

#[cfg(test)]
mod tests;
