//! What a project holds: environments, folders, secrets with their versions, imports, references.

use std::collections::BTreeMap;

/// One project.
pub struct Project {
    pub environments: BTreeMap<String, Environment>,
    next: u64,
}

/// Folders by their path; `/` is always there.
pub type Environment = BTreeMap<String, Folder>;

#[derive(Default)]
pub struct Folder {
    /// Versions, the latest last.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    /// Versions of secrets that were deleted: current servers give them to who asks by number.
    pub deleted: BTreeMap<String, Vec<Secret>>,
    /// Environment and path.
    pub imports: Vec<(String, String)>,
}

#[derive(Clone)]
pub struct Secret {
    pub id: String,
    pub version: u64,
    pub value: String,
}

impl Project {
    pub fn new() -> Self {
        let root = || Environment::from([("/".to_owned(), Folder::default())]);
        Self { environments: ["dev", "staging"].map(|e| (e.to_owned(), root())).into(), next: 1 }
    }

    pub fn folder(&self, environment: &str, path: &str) -> Option<&Folder> {
        self.environments.get(environment)?.get(path)
    }

    pub fn make_folder(&mut self, environment: &str, path: &str) -> bool {
        let Some(folders) = self.environments.get_mut(environment) else { return false };
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0).chain([(path.len(), "")]) {
            folders.entry(path[..at].to_owned()).or_default();
        }
        true
    }

    pub fn remove_folder(&mut self, environment: &str, path: &str) {
        let below = format!("{path}/");
        self.environments.get_mut(environment).unwrap().retain(|p, _| p != path && !p.starts_with(&below));
    }

    pub fn folders_in(&self, environment: &str, path: &str) -> Vec<String> {
        let start = format!("{}/", path.trim_end_matches('/'));
        let all = self.environments[environment].keys();
        let inside = all.filter_map(|p| p.strip_prefix(&start)).filter(|rest| !rest.is_empty() && !rest.contains('/'));
        inside.map(str::to_owned).collect()
    }

    pub fn secret(&self, environment: &str, path: &str, name: &str) -> Option<&Secret> {
        self.folder(environment, path)?.secrets.get(name)?.last()
    }

    /// As the server does it: cut at both ends, one newline at the end stays.
    pub fn put(&mut self, environment: &str, path: &str, name: &str, value: &str) -> Option<Secret> {
        let kept = if value.ends_with('\n') { format!("{}\n", value.trim()) } else { value.trim().to_owned() };
        self.next += 1;
        let id = format!("{:08x}-0132-4dbe-878d-6c1f02670adc", self.next);
        let versions =
            self.environments.get_mut(environment)?.get_mut(path)?.secrets.entry(name.to_owned()).or_default();
        let id = versions.last().map_or(id, |last| last.id.clone());
        versions.push(Secret { id, version: versions.len() as u64 + 1, value: kept });
        versions.last().cloned()
    }

    pub fn remove(&mut self, environment: &str, path: &str, name: &str) -> Option<Secret> {
        let folder = self.environments.get_mut(environment)?.get_mut(path)?;
        let versions = folder.secrets.remove(name)?;
        let last = versions.last().cloned();
        folder.deleted.insert(name.to_owned(), versions);
        last
    }

    pub fn import(&mut self, environment: &str, into: &str, from: &str, path: &str) {
        let folder = self.environments.get_mut(environment).unwrap().get_mut(into).unwrap();
        folder.imports.push((from.to_owned(), path.to_owned()));
    }

    /// What a secret refers to, as (environment, path, name), in a text of this folder.
    pub fn references(environment: &str, path: &str, value: &str) -> Vec<(String, (String, String, String))> {
        let mut found = Vec::new();
        for (at, _) in value.match_indices("${") {
            let Some(end) = value[at + 2..].find('}').filter(|end| *end > 0) else { continue };
            let inside = &value[at + 2..at + 2 + end];
            let parts: Vec<_> = inside.split('.').collect();
            let target = match parts.as_slice() {
                [name] => (environment.to_owned(), path.to_owned(), (*name).to_owned()),
                [other, folders @ .., name] => {
                    ((*other).to_owned(), format!("/{}", folders.join("/")), (*name).to_owned())
                }
                [] => continue,
            };
            found.push((format!("${{{inside}}}"), target));
        }
        found
    }

    /// Follows references; what is not there is empty. `Err`: one that may not be read.
    pub fn expand(
        &self,
        environment: &str,
        path: &str,
        value: &str,
        may: &dyn Fn(&str) -> bool,
    ) -> Result<String, String> {
        let mut out = value.to_owned();
        for (text, (other, folder, name)) in Self::references(environment, path, value) {
            if !may(&folder) {
                return Err(name);
            }
            let found = self.secret(&other, &folder, &name).map(|s| s.value.clone()).unwrap_or_default();
            let found = if found == value { String::new() } else { self.expand(&other, &folder, &found, may)? };
            out = out.replace(&text, &found);
        }
        Ok(out)
    }
}
