//! The stores of a laptop: `secretref.toml` and the environment say what a `ClusterSecretStore` says on a cluster, in
//! the same words.

mod credentials;
mod environment;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IntoDeserializer};
use thiserror::Error;

pub use credentials::LocalCredentials;
pub use environment::Environment;

use crate::{api::ClusterSecretStoreSpec, stores::settings::provider_name};

/// The file that is looked for, here and in the folders above.
pub const FILE: &str = "secretref.toml";

/// The stores that are configured, by name.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// What each would be on a cluster. Names of credentials mean other things here: see [`LocalCredentials`].
    pub stores: BTreeMap<String, ClusterSecretStoreSpec>,
}

/// Why the configuration cannot be used. No text of the file is repeated: a value may have got in there.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ConfigError {
    #[error("{} cannot be read ({what}): correct its path or its mode", file.display())]
    Unreadable { file: PathBuf, what: io::Error },
    #[error("{} line {line}: {what}", file.display())]
    Syntax { file: PathBuf, line: usize, what: String },
    #[error("{}: {field} is not known here: correct its spelling, or remove it (see docs/stores.md)", file.display())]
    Unknown { file: PathBuf, field: String },
    #[error("{}: stores.{store}.provider needs exactly one of azureKeyVault, vault, infisical and kubernetes", file.display())]
    Provider { file: PathBuf, store: String },
    #[error("{}: stores.{store}.{field} is no length of time: write it as 500ms, 30s, 5m or 1h30m", file.display())]
    Duration { file: PathBuf, store: String, field: &'static str },
    #[error("{variable} is set, but {what}")]
    Environment { variable: &'static str, what: &'static str },
}

impl Config {
    /// Reads `file`, or else the nearest [`FILE`] at or above `folder`, and adds what the environment says: of a kind
    /// of store that the file has, the file alone decides.
    ///
    /// # Errors
    /// See [`ConfigError`]. A file that is named must be there; one that is looked for need not.
    pub fn load(file: Option<&Path>, folder: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let found = file
            .map(Path::to_owned)
            .or_else(|| folder.ancestors().map(|folder| folder.join(FILE)).find(|candidate| candidate.is_file()));
        let mut config = match found {
            Some(file) => match fs::read_to_string(&file) {
                Ok(text) => Self::parse(&file, &text)?,
                Err(what) => return Err(ConfigError::Unreadable { file, what }),
            },
            None => Self::default(),
        };
        let kinds: BTreeSet<&str> = config.stores.values().map(|spec| provider_name(&spec.provider)).collect();
        for (name, spec) in environment.stores(|kind| !kinds.contains(kind))? {
            // A store of another kind may have that name in the file.
            config.stores.entry(name.to_owned()).or_insert(spec);
        }
        Ok(config)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            stores: BTreeMap<String, ClusterSecretStoreSpec>,
        }
        let syntax = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let what = match error.message().rsplit_once("expected ") {
                // What was found in the place of what was expected could be a value, and say "expected" itself.
                Some((_, expected)) => format!("expected {expected}"),
                None if error.message().starts_with("missing field") => error.message().to_owned(),
                None => "this is no TOML: correct the line".to_owned(),
            };
            ConfigError::Syntax { file: file.to_owned(), line, what }
        };
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        let mut unknown = None;
        let read: File = serde_ignored::deserialize(toml::Value::Table(table).into_deserializer(), |path| {
            // It writes `?` for what is optional.
            unknown.get_or_insert_with(|| path.to_string().replace(".?", ""));
        })
        .map_err(syntax)?;
        if let Some(field) = unknown {
            return Err(ConfigError::Unknown { file: file.to_owned(), field });
        }
        for (store, spec) in &read.stores {
            let p = &spec.provider;
            let providers =
                [p.azure_key_vault.is_some(), p.vault.is_some(), p.infisical.is_some(), p.kubernetes.is_some()];
            if providers.iter().filter(|is| **is).count() != 1 {
                return Err(ConfigError::Provider { file: file.to_owned(), store: store.clone() });
            }
            if let Some(field) = no_duration(spec) {
                return Err(ConfigError::Duration { file: file.to_owned(), store: store.clone(), field });
            }
        }
        Ok(Self { stores: read.stores })
    }
}

/// The first length of time that is none. On a cluster the definitions refuse it.
fn no_duration(spec: &ClusterSecretStoreSpec) -> Option<&'static str> {
    let limits = spec.limits.as_ref();
    [
        ("cache.ttl", spec.cache.as_ref().and_then(|cache| cache.ttl.as_ref())),
        ("healthCheckInterval", spec.health_check_interval.as_ref()),
        ("limits.minRefreshInterval", limits.and_then(|limits| limits.min_refresh_interval.as_ref())),
        ("limits.timeout", limits.and_then(|limits| limits.timeout.as_ref())),
    ]
    .into_iter()
    .find_map(|(field, text)| text.is_some_and(|text| text.get().is_none()).then_some(field))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
