//! A developer's own values: environment variables, then a `.env` file. Read only, for a laptop.
//!
//! A store key is the name of a variable (`ACME_CORP__DB_PASSWORD`, `GLOBAL__DB_PASSWORD`: [`Scheme::ENVIRONMENT`]).
//! Only such names are kept: what else is in an environment is none of ours.
//!
//! [`Scheme::ENVIRONMENT`]: crate::naming::Scheme::ENVIRONMENT

mod dotenv;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Failure, Features, Marks, Metadata, Payload, Store, StoreError, Stored, VersionState, Write, Written};
use crate::{api::Capabilities, naming::StoreKey, secret::SecretValue};

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 20;
/// A file that was changed so recently may be changed again within one tick of its clock.
const YOUNG: Duration = Duration::from_secs(2);

type Values = BTreeMap<String, SecretValue>;

/// Environment and file.
pub struct Local {
    environment: Values,
    file: Option<PathBuf>,
    marks: Marks,
    read: Mutex<Option<(Stamp, Arc<Values>)>>,
}

/// What tells that a file has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
}

impl Local {
    /// Takes the variables that can be store keys; the file is read when something is asked for.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>, file: Option<PathBuf>) -> Self {
        let environment = environment.into_iter().filter_map(|(name, value)| {
            let value = SecretValue::from(value);
            is_key(&name).then_some((name, value))
        });
        Self { environment: environment.collect(), file, marks: Marks::random(), read: Mutex::default() }
    }

    /// What the file holds now; nothing if there is none.
    fn values(&self) -> Result<Arc<Values>, StoreError> {
        let Some(path) = &self.file else { return Ok(Arc::default()) };
        let unreadable = |error: std::io::Error| {
            StoreError::new(
                Failure::Misconfigured,
                format!(
                    "{} cannot be read ({}): correct its path or its rights, or remove it",
                    path.display(),
                    error.kind()
                ),
            )
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *read = None;
                return Ok(Arc::default());
            }
            Err(error) => return Err(unreadable(error)),
        };
        let stamp = stamp(&file.metadata().map_err(unreadable)?);
        if let Some((_, values)) = read.as_ref().filter(|(known, _)| *known == stamp && !stamp.is_young()) {
            return Ok(values.clone());
        }
        *read = None;
        let values = Arc::new(load(&mut file, stamp.len, path, unreadable)?);
        *read = Some((stamp, values.clone()));
        Ok(values)
    }

    fn find(&self, key: &StoreKey) -> Result<Option<SecretValue>, StoreError> {
        match self.environment.get(key.as_str()) {
            Some(value) => Ok(Some(value.clone())),
            None => Ok(self.values()?.get(key.as_str()).cloned()),
        }
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    Stamp { modified: metadata.modified().ok(), len: metadata.len() }
}

impl Stamp {
    fn is_young(self) -> bool {
        self.modified.is_none_or(|at| at.elapsed().is_ok_and(|age| age < YOUNG))
    }
}

fn load(
    file: &mut File,
    len: u64,
    path: &Path,
    unreadable: impl Fn(std::io::Error) -> StoreError,
) -> Result<Values, StoreError> {
    let wrong = |why: &str| {
        StoreError::new(Failure::Misconfigured, format!("{} is no file of local values: {why}", path.display()))
    };
    if len > MAX_FILE {
        return Err(wrong("it is larger than 1 MiB: keep what is no secret elsewhere"));
    }
    // Whole in one buffer, which does not grow and is wiped.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(len).unwrap_or_default()]);
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]).map_err(&unreadable)? {
            0 => break,
            read => filled += read,
        }
    }
    let text = std::str::from_utf8(&bytes[..filled]).map_err(|_| wrong("it is not UTF-8 text: save it as such"))?;
    let parsed = dotenv::parse(text).map_err(|bad| {
        StoreError::new(
            Failure::Misconfigured,
            format!("line {} of {} {}", bad.line, path.display(), bad.problem.sentence()),
        )
    })?;
    Ok(parsed.into_iter().filter(|(name, _)| is_key(name)).collect())
}

/// A scope, `__`, and a name.
fn is_key(name: &str) -> bool {
    name.find("__").is_some_and(|at| at > 0)
}

#[async_trait]
impl Store for Local {
    fn features(&self) -> Features {
        Features {
            write: false,
            versions: false,
            undelete: false,
            atomic: false,
            maps: false,
            binary: false,
            empty: true,
            exact: true,
            content_type: false,
            tags: false,
            max_value: 1 << 19,
            ignores_case: false,
        }
    }

    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError> {
        if version.is_some() {
            return Err(StoreError::unsupported(
                format!("reading a version of {key}"),
                "local values have none: remove secretRef.version",
            ));
        }
        Ok(self.find(key)?.map(|value| Stored {
            token: self.marks.of(key, &value),
            payload: Payload::Single(value),
            version: None,
            warning: None,
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        let values = self.values()?;
        let names: BTreeSet<&String> = self.environment.keys().chain(values.keys()).collect();
        Ok(names.into_iter().filter(|name| name.starts_with(prefix)).map(StoreKey::verbatim).collect())
    }

    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        Ok(self.find(key)?.map(|_| Metadata::new(None, VersionState::Enabled)))
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        Err(StoreError::unsupported(format!("listing versions of {key}"), "local values have none: use a store"))
    }

    async fn set(&self, key: &StoreKey, _: &Write) -> Result<Written, StoreError> {
        Err(read_only("writing", key))
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        Err(read_only("deleting", key))
    }

    async fn restore(&self, key: &StoreKey, _: &str) -> Result<Option<String>, StoreError> {
        Err(read_only("restoring", key))
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.values().map(|_| Capabilities { get: true, list: true, write: false })
    }
}

fn read_only(what: &str, key: &StoreKey) -> StoreError {
    StoreError::unsupported(
        format!("{what} {key}"),
        "local values are only read: change the environment or the file yourself",
    )
}
