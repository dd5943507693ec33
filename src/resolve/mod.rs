//! The decisions: which store keys a reference needs, in which order, and what they make. No I/O of its own.
//!
//! [`resolve`] is asked again and again with what is known so far: it either wants more answers ([`Step::Ask`]), is
//! done, or names the first problem. The operator, the command line and the console all drive the same function.

mod check;
mod locate;
mod property;
mod template;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

pub use check::{Policy, check, required_keys};
use locate::{Located, locate};
use property::Lack;

use crate::{
    api::{DataEntry, Decode, Entry, EntryScope, Find, KeyCase, Reason, SecretRef, SecretReferenceSpec},
    naming::{Name, NameError, Org, Owner, Scheme, StoreKey},
    secret::SecretValue,
    stores::{Failure, StoreError, Stored},
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

    fn name(field: &str, error: NameError) -> Self {
        Self::new(Reason::InvalidReference, format!("{field}: {error}"))
    }

    fn store(key: &str, error: &StoreError) -> Self {
        // Texts of conditions must not tick: a countdown would be a write for every look at it.
        let (sentence, retry_after) = match error.failure {
            Failure::RateLimited(after) => ("the store said slow down: the operator waits as told", after),
            Failure::CircuitOpen => ("the store does not answer: the operator syncs when a probe finds it back", None),
            // What the platform's credentials are is no tenant's business: the store's own status says it.
            Failure::Unauthenticated => ("the store rejects the operator's login: its status says what to do", None),
            Failure::NotReady => ("the store is not ready to be used: its status says why", None),
            _ => (&*error.message, None),
        };
        let message = if sentence.contains(key) { sentence.to_owned() } else { format!("{key}: {sentence}") };
        Self { reason: error.failure.reason(), message, retry_after }
    }
}

/// The reads that a reference stands on, as far as it can be told from `answers`: what the key table polls.
pub fn reads(spec: &SecretReferenceSpec, tenant: &Tenant, scheme: &Scheme, answers: &Answers) -> BTreeSet<Read> {
    let mut walk = Walk { tenant, scheme, answers, used: BTreeSet::new(), asked: BTreeSet::new() };
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
    let mut walk = Walk { tenant, scheme, answers, used: BTreeSet::new(), asked: BTreeSet::new() };
    let mut out = Resolved::default();
    let first_problem = walk.all(spec, &mut out).err();
    if !walk.asked.is_empty() {
        return Step::Ask(walk.asked);
    }
    if let Some(problem) = first_problem {
        return Step::Failed(problem);
    }
    let rendered = spec.templates().try_fold(BTreeMap::new(), |mut rendered, (key, text)| {
        let value = template::render(text, &out.data).map_err(|what| {
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

/// A walk over the spec that notes what was read and what is still to be asked.
struct Walk<'a> {
    tenant: &'a Tenant,
    scheme: &'a Scheme,
    answers: &'a Answers,
    used: BTreeSet<Read>,
    asked: BTreeSet<Read>,
}

/// A secret that was looked up.
enum Looked {
    At(Owner, Option<Arc<Stored>>),
    /// In no scope; the store keys tried.
    Nowhere(Vec<StoreKey>),
    /// Not known yet.
    Pending,
}

/// The source of one key, before the keys of all sources are put together.
struct Yield {
    key: String,
    name: String,
    value: SecretValue,
    scope: EntryScope,
    version: Option<String>,
}

impl Walk<'_> {
    /// Every entry in the order of the spec; goes on past a problem, so that all questions are asked at once.
    fn all(&mut self, spec: &SecretReferenceSpec, out: &mut Resolved) -> Result<(), Problem> {
        let mut problem = None;
        let mut missing = Vec::new();
        let mut note = |result: Result<(), Problem>| {
            if let Err(p) = result {
                problem.get_or_insert(p);
            }
        };
        let mut found: BTreeMap<String, Yield> = BTreeMap::new();
        for (index, source) in spec.data_from().iter().enumerate() {
            note(self.source(index, source, out, &mut missing).and_then(|yields| {
                for y in yields {
                    if let Some(twice) = found.insert(y.key.clone(), y) {
                        return Err(Problem::new(
                            Reason::InvalidReference,
                            format!("spec.dataFrom: two sources yield the key {}: narrow one of them", twice.key),
                        ));
                    }
                }
                Ok(())
            }));
        }
        for entry in spec.data() {
            found.remove(&entry.key);
            note(self.entry(entry, out, &mut missing));
        }
        for (_, y) in found {
            put(out, y);
        }
        match problem {
            Some(problem) => Err(problem),
            None if out.data.is_empty() && self.asked.is_empty() => Err(Problem::new(
                Reason::SecretNotFound,
                format!(
                    "no key is left: {}",
                    if missing.is_empty() { "nothing was found".to_owned() } else { missing.join("; ") }
                ),
            )),
            None => Ok(()),
        }
    }

    fn entry(&mut self, entry: &DataEntry, out: &mut Resolved, missing: &mut Vec<String>) -> Result<(), Problem> {
        let Some(secret) = &entry.secret_ref else {
            let value = entry.value.clone().unwrap_or_default();
            out.data.insert(entry.key.clone(), value.into());
            return Ok(());
        };
        let field = format!("spec.data[{}].secretRef", entry.key);
        match self.secret(&field, secret)? {
            Looked::Pending | Looked::At(_, None) => Ok(()),
            Looked::Nowhere(tried) => {
                let sentence = not_found(&tried);
                if !secret.optional.unwrap_or_default() {
                    let hint = "create it there, or set optional: true";
                    return Err(Problem::new(Reason::SecretNotFound, format!("{}: {sentence}: {hint}", entry.key)));
                }
                out.warnings.push(format!("{} is left out: {sentence}", entry.key));
                missing.push(sentence);
                Ok(())
            }
            Looked::At(owner, Some(stored)) => {
                let store_key = self.key_of(&owner, &secret.name);
                let value = pick(&stored, secret, &store_key)?;
                self.note(out, &owner, &secret.name, &stored, &store_key);
                put(
                    out,
                    Yield {
                        key: entry.key.clone(),
                        name: secret.name.clone(),
                        value,
                        scope: owner.scope(),
                        version: stored.version.clone(),
                    },
                );
                Ok(())
            }
        }
    }

    fn source(
        &mut self,
        index: usize,
        source: &crate::api::DataSource,
        out: &mut Resolved,
        missing: &mut Vec<String>,
    ) -> Result<Vec<Yield>, Problem> {
        let field = format!("spec.dataFrom[{index}]");
        if let Some(extract) = &source.extract {
            return self.extract(&field, &extract.name, out);
        }
        let Some(find) = &source.find else { return Ok(Vec::new()) };
        let mut yields = Vec::new();
        for (owner, name) in self.find(&field, find)? {
            let secret = SecretRef { name: name.as_str().to_owned(), ..SecretRef::default() };
            let read = Read::Key(self.scheme.key(&owner, &name).map_err(|e| Problem::name(&field, e))?, None);
            let Some(Answer::Present(Some(stored))) = self.answers.get(&read) else { continue };
            let store_key = self.key_of(&owner, name.as_str());
            let value = pick(stored, &secret, &store_key)?;
            self.note(out, &owner, name.as_str(), stored, &store_key);
            yields.push(Yield {
                key: key_case(name.as_str(), find.key_case.unwrap_or_default()),
                name: name.as_str().to_owned(),
                value,
                scope: owner.scope(),
                version: stored.version.clone(),
            });
        }
        if yields.is_empty() {
            missing.push(format!("{field}: no name starts with its prefix"));
        }
        Ok(yields)
    }

    fn extract(&mut self, field: &str, name: &str, out: &mut Resolved) -> Result<Vec<Yield>, Problem> {
        let secret = SecretRef { name: name.to_owned(), ..SecretRef::default() };
        let (owner, stored) = match self.secret(&format!("{field}.extract"), &secret)? {
            Looked::Pending | Looked::At(_, None) => return Ok(Vec::new()),
            // The one secret that is named here: without it every key of it would go at once.
            Looked::Nowhere(tried) => {
                let message = format!("{field}.extract: {}: create it there", not_found(&tried));
                return Err(Problem::new(Reason::SecretNotFound, message));
            }
            Looked::At(owner, Some(stored)) => (owner, stored),
        };
        let store_key = self.key_of(&owner, name);
        let properties = property::all(&stored).map_err(|lack| lacking(&store_key, None, &lack))?;
        self.note(out, &owner, name, &stored, &store_key);
        properties
            .into_iter()
            .map(|(key, value)| {
                let value = value.map_err(|lack| lacking(&store_key, Some(&key), &lack))?;
                if value.is_empty() {
                    return Err(empty(&store_key, Some(&key)));
                }
                check::target_key(&key).map_err(|what| {
                    Problem::new(
                        Reason::TargetRejected,
                        format!("{store_key}: a property {what}: rename it in the store"),
                    )
                })?;
                Ok(Yield { key, name: name.to_owned(), value, scope: owner.scope(), version: stored.version.clone() })
            })
            .collect()
    }

    /// Looks one name up, the organisation first.
    fn secret(&mut self, field: &str, secret: &SecretRef) -> Result<Looked, Problem> {
        let name = self.scheme.name(&secret.name).map_err(|e| Problem::name(&format!("{field}.name"), e))?;
        let owners = locate::owners(self.tenant, secret.scope.unwrap_or_default());
        let version = secret.version.as_deref();
        match locate(&owners, &name, version, self.scheme, self.answers, &mut self.used) {
            Ok(Located::At(owner, stored)) => Ok(Looked::At(owner, stored)),
            Ok(Located::Nowhere(tried)) => Ok(Looked::Nowhere(tried)),
            Ok(Located::Ask(read)) => {
                self.asked.insert(read);
                Ok(Looked::Pending)
            }
            Ok(Located::Failed(key, error)) => Err(Problem::store(key.as_str(), &error)),
            Err(error) => Err(Problem::name(&format!("{field}.name"), error)),
        }
    }

    /// The names with a prefix and whose they are; those whose key turned out to be gone are left out.
    fn find(&mut self, field: &str, find: &Find) -> Result<Vec<(Owner, Name)>, Problem> {
        let mut names: BTreeMap<Name, Vec<Owner>> = BTreeMap::new();
        let mut problem = None;
        for owner in locate::owners(self.tenant, crate::api::Scope::OrgThenGlobal) {
            let prefix = self.scheme.prefix(&owner, &find.prefix);
            let read = Read::List(prefix.clone());
            self.used.insert(read.clone());
            match self.answers.get(&read) {
                Some(Answer::Listed(keys)) => {
                    for name in keys.iter().filter_map(|k| self.scheme.parse(&owner, k.as_str())) {
                        if name.as_str().starts_with(&find.prefix) {
                            names.entry(name).or_default().push(owner.clone());
                        }
                    }
                }
                Some(Answer::Failed(error)) => {
                    problem.get_or_insert(Problem::store(&format!("{prefix}*"), error));
                }
                _ => {
                    self.asked.insert(read);
                }
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        if names.len() > MAX_FOUND {
            let message = format!("{field}.find: more than {MAX_FOUND} names start with its prefix: use a longer one");
            return Err(Problem::new(Reason::InvalidReference, message));
        }
        let mut found = Vec::new();
        for (name, owners) in names {
            match locate(&owners, &name, None, self.scheme, self.answers, &mut self.used) {
                Ok(Located::At(owner, _)) => found.push((owner, name)),
                Ok(Located::Ask(read)) => {
                    self.asked.insert(read);
                }
                // Listed a moment ago, and now certainly gone.
                Ok(Located::Nowhere(_)) => {}
                Ok(Located::Failed(key, error)) => {
                    problem.get_or_insert(Problem::store(key.as_str(), &error));
                }
                // Listed by someone else's convention: not ours to read.
                Err(_) => {}
            }
        }
        problem.map_or(Ok(found), Err)
    }

    fn key_of(&self, owner: &Owner, name: &str) -> String {
        let key = self.scheme.name(name).and_then(|n| self.scheme.key(owner, &n));
        key.map(|k| k.to_string()).unwrap_or_default()
    }

    /// Remembers a fallback and a store's warning.
    fn note(&self, out: &mut Resolved, owner: &Owner, name: &str, stored: &Stored, store_key: &str) {
        if let Some(warning) = &stored.warning {
            out.warnings.push(format!("{store_key}: {warning}"));
        }
        let (Owner::Global, Some(org)) = (owner, &self.tenant.org) else { return };
        let Ok(own) = self.scheme.name(name).and_then(|n| self.scheme.key(&Owner::Org(org.clone()), &n)) else {
            return;
        };
        if matches!(self.answers.get(&Read::Key(own.clone(), None)), Some(Answer::Absent)) {
            out.fallbacks.push(own);
        }
    }
}

fn put(out: &mut Resolved, y: Yield) {
    out.entries.push(Entry { key: y.key.clone(), name: y.name, scope: y.scope, version: y.version });
    out.data.insert(y.key, y.value);
}

/// The value that a reference asks for in what the store holds.
fn pick(stored: &Stored, secret: &SecretRef, store_key: &str) -> Result<SecretValue, Problem> {
    let picked = match &secret.property {
        Some(path) => property::property(stored, path),
        None => property::bare(stored),
    };
    let named = secret.property.as_deref();
    let value = picked.map_err(|lack| lacking(store_key, named, &lack))?;
    if value.is_empty() && !secret.allow_empty.unwrap_or_default() {
        return Err(empty(store_key, named));
    }
    match secret.decode.unwrap_or_default() {
        Decode::None => Ok(value),
        Decode::Base64 => property::decode_base64(&value).ok_or_else(|| {
            let message = format!("{store_key}: the value is not Base64: mend it in the store, or drop decode: Base64");
            Problem::new(Reason::PropertyNotFound, message)
        }),
    }
}

fn lacking(store_key: &str, property: Option<&str>, lack: &Lack) -> Problem {
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

fn empty(store_key: &str, property: Option<&str>) -> Problem {
    let part = property.map(|p| format!(" property {p}")).unwrap_or_default();
    let message = format!(
        "{store_key}:{part} is there, but null or empty: give it a value (allowEmpty lets an empty string pass)"
    );
    Problem::new(Reason::SecretEmpty, message)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.iter().take(20).cloned().collect::<Vec<_>>().join(", ") }
}

fn not_found(tried: &[StoreKey]) -> String {
    match tried {
        [] => "the namespace may use no scope of this store".to_owned(),
        [one] => format!("{one} does not exist"),
        [one, two, ..] => format!("neither {one} nor {two} exists"),
    }
}

fn key_case(name: &str, case: KeyCase) -> String {
    match case {
        KeyCase::None => name.replace('/', "."),
        KeyCase::ScreamingSnake => name.to_ascii_uppercase().replace(['-', '/', '.'], "_"),
    }
}

#[cfg(test)]
mod tests;
