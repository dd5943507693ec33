//! What a prefix finds.

use std::collections::BTreeSet;

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
    ///
    /// A list only says which names there are, not where: each is looked up in every scope, since only a read of the
    /// organisation's own key tells that it is not there. A name that no list has is not known to anyone.
    pub(super) fn find(&mut self, field: &str, find: &Find) -> Result<Vec<(Owner, Name)>, Problem> {
        let owners = locate::owners(self.tenant, Scope::OrgThenGlobal);
        let mut names: BTreeSet<Name> = BTreeSet::new();
        let mut problem = None;
        for owner in &owners {
            let prefix = self.scheme.prefix(owner, &find.prefix);
            let read = Read::List(prefix.clone());
            self.used.insert(read.clone());
            match self.answers.get(&read) {
                Some(Answer::Listed(keys)) => {
                    let listed = keys.iter().filter_map(|k| self.scheme.parse(owner, k.as_str()));
                    names.extend(listed.filter(|name| name.as_str().starts_with(&find.prefix)));
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
        for name in names {
            // A scope that cannot spell a name certainly does not hold it.
            let owners: Vec<Owner> = owners.iter().filter(|o| self.scheme.key(o, &name).is_ok()).cloned().collect();
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
                Err(error) => {
                    problem.get_or_insert(Problem::name(field, error));
                }
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
