//! What a prefix finds.

use std::collections::BTreeMap;

use super::{
    Answer, MAX_FOUND, Problem, Read, Resolved,
    locate::{self, Located, locate},
    walk::{Walk, Yield, pick},
};
use crate::{
    api::{Find, KeyCase, Reason, Scope, SecretRef},
    naming::{Name, Owner},
};

impl Walk<'_> {
    /// The keys of all names with a prefix.
    pub(super) fn found(&mut self, field: &str, find: &Find, out: &mut Resolved) -> Result<Vec<Yield>, Problem> {
        let mut yields = Vec::new();
        for (owner, name) in self.find(field, find)? {
            let secret = SecretRef { name: name.as_str().to_owned(), ..SecretRef::default() };
            let read = Read::Key(self.scheme.key(&owner, &name).map_err(|e| Problem::name(field, e))?, None);
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
        Ok(yields)
    }

    /// The names with a prefix and whose they are; those whose key turned out to be gone are left out.
    pub(super) fn find(&mut self, field: &str, find: &Find) -> Result<Vec<(Owner, Name)>, Problem> {
        let mut names: BTreeMap<Name, Vec<Owner>> = BTreeMap::new();
        let mut problem = None;
        for owner in locate::owners(self.tenant, Scope::OrgThenGlobal) {
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
}

fn key_case(name: &str, case: KeyCase) -> String {
    match case {
        KeyCase::None => name.replace('/', "."),
        KeyCase::ScreamingSnake => name.to_ascii_uppercase().replace(['-', '/', '.'], "_"),
    }
}
