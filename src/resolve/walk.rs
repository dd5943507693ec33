//! The walk over a spec: what is known becomes keys of the target, what is not becomes questions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Answer, Answers, Problem, Read, Resolved, Tenant, check,
    locate::{self, Located, locate},
    message::{empty, lacking, not_found},
    property,
};
use crate::{
    api::{DataEntry, DataSource, Decode, Entry, EntryScope, Reason, SecretRef, SecretReferenceSpec},
    naming::{Owner, Scheme, StoreKey},
    secret::SecretValue,
    stores::Stored,
};

/// A walk over the spec that notes what was read and what is still to be asked.
pub(super) struct Walk<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) scheme: &'a Scheme,
    pub(super) answers: &'a Answers,
    /// What the reference stands on.
    pub(super) used: BTreeSet<Read>,
    /// What has to be known before it can go on.
    pub(super) asked: BTreeSet<Read>,
}

impl<'a> Walk<'a> {
    /// A walk that has read nothing yet.
    pub(super) fn new(tenant: &'a Tenant, scheme: &'a Scheme, answers: &'a Answers) -> Self {
        Self { tenant, scheme, answers, used: BTreeSet::new(), asked: BTreeSet::new() }
    }
}

/// A secret that was looked up.
pub(super) enum Looked {
    At(Owner, Option<Arc<Stored>>),
    /// In no scope; the store keys tried.
    Nowhere(Vec<StoreKey>),
    /// Not known yet.
    Pending,
}

/// The source of one key, before the keys of all sources are put together.
pub(super) struct Yield {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) value: SecretValue,
    pub(super) scope: EntryScope,
    pub(super) version: Option<String>,
}

impl Walk<'_> {
    /// Every entry in the order of the spec; goes on past a problem, so that all questions are asked at once.
    pub(super) fn all(&mut self, spec: &SecretReferenceSpec, out: &mut Resolved) -> Result<(), Problem> {
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
        source: &DataSource,
        out: &mut Resolved,
        missing: &mut Vec<String>,
    ) -> Result<Vec<Yield>, Problem> {
        let field = format!("spec.dataFrom[{index}]");
        if let Some(extract) = &source.extract {
            return self.extract(&field, &extract.name, out);
        }
        let Some(find) = &source.find else { return Ok(Vec::new()) };
        let yields = self.found(&field, find, out)?;
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
    pub(super) fn secret(&mut self, field: &str, secret: &SecretRef) -> Result<Looked, Problem> {
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

    pub(super) fn key_of(&self, owner: &Owner, name: &str) -> String {
        let key = self.scheme.name(name).and_then(|n| self.scheme.key(owner, &n));
        key.map(|k| k.to_string()).unwrap_or_default()
    }

    /// Remembers a fallback and a store's warning.
    pub(super) fn note(&self, out: &mut Resolved, owner: &Owner, name: &str, stored: &Stored, store_key: &str) {
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
pub(super) fn pick(stored: &Stored, secret: &SecretRef, store_key: &str) -> Result<SecretValue, Problem> {
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
