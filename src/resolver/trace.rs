//! Why each entry is what it is: every candidate in the order it was tried. Never a value.

use serde::Serialize;

use super::{Configuration, LocalPlace, ResolveError, Resolver, local::variable, resolution::Work};
use crate::{
    api::{Scope, SecretRef},
    naming::{Org, Owner},
    resolve::{Answer, Read, owners},
};

/// What there is to say about one configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// The store that it means here.
    pub store: Option<String>,
    /// Its entries, in its order.
    pub entries: Vec<EntryTrace>,
    /// Why it does not resolve: reason and sentence.
    pub problem: Option<String>,
    /// What may help.
    pub hint: Option<String>,
}

/// One entry.
#[derive(Clone, Debug, Serialize)]
pub struct EntryTrace {
    /// The key, or the source of many keys.
    pub key: String,
    /// Why it is what it is.
    pub why: String,
    /// The places that were tried, in order.
    pub candidates: Vec<Candidate>,
}

/// One place.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// A variable or a store key.
    pub place: String,
    /// `Found`, `NotFound`, `NotAsked`, or the reason of a failure.
    pub answer: &'static str,
    /// The store's name for the version.
    pub version: Option<String>,
}

impl Resolver {
    /// Why each entry of a configuration is what it is; for that everything is looked up.
    ///
    /// # Errors
    /// When it is wrong before anything is looked up.
    pub async fn explain(&self, org: &Org, configuration: &Configuration) -> Result<Trace, ResolveError> {
        let work = self.work(org, configuration, configuration.spec.clone()).await?;
        let plain = |key: &str, why: &str| EntryTrace { key: key.to_owned(), why: why.to_owned(), candidates: vec![] };
        let mut entries = Vec::new();
        for entry in configuration.spec.data() {
            entries.push(match &entry.secret_ref {
                Some(secret) => self.secret(&work, &entry.key, secret),
                None => match work.seeds.places.get(&entry.key) {
                    Some(place) => plain(&entry.key, &format!("plain, but a local value wins: {place}")),
                    None => plain(&entry.key, "plain: it stands in the configuration"),
                },
            });
        }
        for (index, source) in configuration.spec.data_from().iter().enumerate() {
            if let Some(extract) = &source.extract {
                let secret = SecretRef { name: extract.name.clone(), ..SecretRef::default() };
                entries.push(self.secret(&work, &format!("dataFrom[{index}].extract"), &secret));
            }
            if let Some(find) = &source.find {
                let lists = owners(&work.tenant, Scope::OrgThenGlobal);
                let lists = lists.iter().map(|owner| Read::List(work.scheme.prefix(owner, &find.prefix)));
                let candidates: Vec<Candidate> = lists.map(|read| store_candidate(&work, &read)).collect();
                let why = "every name with the prefix, the organisation's own first".to_owned();
                entries.push(EntryTrace { key: format!("dataFrom[{index}].find"), why, candidates });
            }
        }
        for (key, _) in configuration.spec.templates() {
            entries.push(plain(key, "rendered from the others"));
        }
        let error = work.outcome.as_ref().err();
        Ok(Trace {
            store: work.store.map(|store| store.name.clone()),
            entries,
            problem: error.map(ToString::to_string),
            hint: error.and_then(|error| error.hint.clone()),
        })
    }

    fn secret(&self, work: &Work<'_>, key: &str, secret: &SecretRef) -> EntryTrace {
        let owners = owners(&work.tenant, secret.scope.unwrap_or_default());
        let winner = work.seeds.places.get(key).or_else(|| work.seeds.places.get(&secret.name));
        let mut candidates = Vec::new();
        let mut found = false;
        if let Some(local) = &self.local {
            for owner in &owners {
                for file in [None, Some(local.path.clone())] {
                    let place = LocalPlace { variable: variable(owner, &secret.name), file };
                    let here = winner == Some(&place);
                    let answer = match (here, found) {
                        (true, _) => "Found",
                        (false, true) => "NotAsked",
                        (false, false) => "NotFound",
                    };
                    found |= here;
                    candidates.push(Candidate { place: place.to_string(), answer, version: None });
                }
            }
        }
        let mut why = winner.map(|place| format!("a local value wins: {place}"));
        if work.store.is_some() {
            for (owner, read) in owners.iter().zip(work.reads(secret)) {
                let candidate = match found {
                    true => Candidate { place: read.to_string(), answer: "NotAsked", version: None },
                    false => store_candidate(work, &read),
                };
                if candidate.answer == "Found" && why.is_none() {
                    found = true;
                    why = Some(match owner {
                        Owner::Org(org) => format!("{org}'s own"),
                        Owner::Global => "the platform-wide one: no scope before it has the name".to_owned(),
                    });
                }
                if !matches!(candidate.answer, "Found" | "NotFound" | "NotAsked") && why.is_none() {
                    why = Some("no answer, and an error never falls back".to_owned());
                    found = true;
                }
                candidates.push(candidate);
            }
        }
        let missing = match &work.out {
            Some(error) => format!("not local, and the store is left out: {}", error.message),
            None if secret.optional.unwrap_or_default() => "left out: optional, and certainly not there".to_owned(),
            None => "certainly in none of these places".to_owned(),
        };
        EntryTrace { key: key.to_owned(), why: why.unwrap_or(missing), candidates }
    }
}

fn store_candidate(work: &Work<'_>, read: &Read) -> Candidate {
    let (answer, version) = match work.answers.get(read) {
        _ if work.out.is_some() => ("NotAsked", None),
        Some(Answer::Present(stored)) => ("Found", stored.as_ref().and_then(|stored| stored.version.clone())),
        Some(Answer::Listed(_)) => ("Found", None),
        Some(Answer::Absent) => ("NotFound", None),
        Some(Answer::Failed(error)) => (error.failure.reason().as_str(), None),
        None => ("NotAsked", None),
    };
    Candidate { place: read.to_string(), answer, version }
}
