//! A developer's own values, and which variable each of them is.

use std::path::PathBuf;

use crate::{
    config::Environment,
    naming::{Owner, Scheme, StoreKey},
    secret::SecretValue,
    stores::{Payload, Store, StoreError, local::Local},
};

/// Environment, then file.
pub(crate) struct LocalValues {
    environment: Local,
    file: Local,
    /// How messages name the file.
    pub(crate) path: String,
}

/// Where a local value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPlace {
    /// The variable.
    pub variable: String,
    /// The file, if it is not the environment.
    pub file: Option<String>,
}

impl std::fmt::Display for LocalPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} in {file}", self.variable),
            None => write!(f, "{} in the environment", self.variable),
        }
    }
}

impl LocalValues {
    pub(super) fn new(environment: &Environment, file: PathBuf) -> Self {
        let path = file.display().to_string();
        let variables = environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { environment: Local::new(variables, None), file: Local::new([], Some(file)), path }
    }

    /// The value of a name in one scope.
    pub(super) async fn find(
        &self,
        owner: &Owner,
        name: &str,
    ) -> Result<Option<(SecretValue, LocalPlace)>, StoreError> {
        let variable = variable(owner, name);
        let key = StoreKey::verbatim(variable.as_str());
        for (values, file) in [(&self.environment, None), (&self.file, Some(&self.path))] {
            if let Some(stored) = values.get(&key, None).await?
                && let Payload::Single(value) = stored.payload
            {
                return Ok(Some((value, LocalPlace { variable, file: file.cloned() })));
            }
        }
        Ok(None)
    }

    /// The bare names in a scope that start with this.
    pub(super) async fn names(&self, owner: &Owner, prefix: &str) -> Result<Vec<String>, StoreError> {
        let scheme = Scheme::ENVIRONMENT;
        let scope = scheme.scope_prefix(owner);
        let mut keys = self.environment.list(&scope).await?;
        keys.extend(self.file.list(&scope).await?);
        let names = keys.iter().filter_map(|key| scheme.parse(owner, key.as_str()));
        Ok(names.map(|name| name.as_str().to_owned()).filter(|name| name.starts_with(prefix)).collect())
    }
}

/// The variable of a name: capitals, and `_` for what a variable cannot hold.
pub(crate) fn variable(owner: &Owner, name: &str) -> String {
    Scheme::ENVIRONMENT.scope_prefix(owner) + &spelled(name)
}

/// Two names that are spelled the same way meet.
pub(super) fn spelled(name: &str) -> String {
    name.to_ascii_uppercase().replace(['-', '/', '.'], "_")
}
