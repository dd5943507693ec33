//! Lists: of names, and of what has changed. What is not in one is not thereby absent.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Infisical, PROBED, api::Lists, place::Place, wire};
use crate::{
    naming::StoreKey,
    stores::{ChangeToken, Failure, StoreError},
};

/// Names, and folders, that a list reads.
const MAX_NAMES: usize = 10_000;
const MAX_FOLDERS: usize = 1_000;

impl Infisical {
    /// As [`crate::stores::Store::list`].
    pub(super) async fn names(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        let what = format!("listing {prefix}*");
        let folder = self.root.folder(prefix.rfind('/').map_or("", |at| &prefix[..at])).ok_or_else(|| {
            StoreError::new(
                Failure::Misconfigured,
                format!("{what} failed: no folder is called so: correct the prefix"),
            )
        })?;
        let reply = self.list_secrets(&folder, Lists::NamesBelow, &what).await?;
        let listed: wire::Listed<'_> = self.answer(&reply, &folder, &what)?;
        let mut keys = if listed.has_imports() {
            // A list of many folders does not say which of them imports a name.
            self.walk(folder.clone(), &what).await?
        } else {
            let key = |secret: &wire::Secret<'_>| {
                self.root.key(secret.secret_path.as_deref().unwrap_or(&folder), &secret.secret_key)
            };
            listed.secrets.iter().filter_map(key).collect()
        };
        if keys.len() > MAX_NAMES {
            return Err(too_many(&what));
        }
        if keys.is_empty() {
            // Of what is not there, and of what may not be seen, a list is empty, too: a read says which.
            let nothing = Place { folder, name: PROBED.to_owned() };
            self.read(&nothing, &[("viewSecretValue", "false")], &what).await?;
        }
        keys.retain(|key| key.as_str().starts_with(prefix));
        Ok(keys)
    }

    /// Names in folders, each with its imports, from one folder on.
    async fn walk(&self, start: String, what: &str) -> Result<Vec<StoreKey>, StoreError> {
        let (mut folders, mut keys, mut read) = (VecDeque::from([start]), Vec::new(), 0);
        while let Some(folder) = folders.pop_front() {
            read += 1;
            let reply = self.list_secrets(&folder, Lists::Names, what).await?;
            let listed: wire::Listed<'_> = self.answer(&reply, &folder, what)?;
            keys.extend(listed.merged().keys().filter_map(|name| self.root.key(&folder, name)));
            let reply = self.list_folders(&folder, what).await?;
            let inside: wire::Folders = self.answer(&reply, &folder, what)?;
            folders.extend(inside.folders.iter().map(|f| format!("{}/{}", folder.trim_end_matches('/'), f.name)));
            if keys.len() > MAX_NAMES || read + folders.len() > MAX_FOLDERS {
                return Err(too_many(what));
            }
        }
        Ok(keys)
    }

    /// As [`crate::stores::Store::changes`].
    pub(super) async fn marks_of(
        &self,
        keys: &[StoreKey],
    ) -> Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError> {
        let what = "listing what has changed";
        let mut folders: BTreeMap<String, HashMap<String, &StoreKey>> = BTreeMap::new();
        for key in keys {
            if let Some(place) = self.root.place(key.as_str()) {
                folders.entry(place.folder).or_default().insert(place.name, key);
            }
        }
        if folders.len() >= keys.len() {
            return Ok(None);
        }
        let mut marks = HashMap::new();
        for (folder, wanted) in folders {
            let reply = self.list_secrets(&folder, Lists::Values, what).await?;
            let listed: wire::Listed<'_> = match self.answer(&reply, &folder, what) {
                Ok(listed) => listed,
                // One reference that cannot be followed spoils a whole list: reads tell which.
                Err(error) if error.failure == Failure::Denied && wire::is_own(&reply) => {
                    marks.extend(wanted.into_values().map(|key| (key.clone(), unknown())));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (name, secret) in listed.merged() {
                if let Some(key) = wanted.get(&*name) {
                    let mark = secret.value().map_or_else(unknown, |value| self.marks.of(key, &value));
                    marks.insert((*key).clone(), mark);
                }
            }
        }
        Ok(Some(marks))
    }
}

/// Of a key that the list hides: it has to be read, whatever was known of it.
fn unknown() -> ChangeToken {
    ChangeToken::young("")
}

fn too_many(what: &str) -> StoreError {
    let message = format!("{what} failed: too many names or folders: use a longer prefix, or fewer folders");
    StoreError::new(Failure::Misconfigured, message)
}
