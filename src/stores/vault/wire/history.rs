//! All versions of a key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::stores::{self, VersionState};

/// What the server knows of a key.
#[derive(Deserialize)]
pub(in crate::stores::vault) struct History {
    /// 0: there is none.
    pub current_version: u64,
    /// Of the metadata itself; OpenBao's.
    pub current_metadata_version: Option<u64>,
    updated_time: Option<Timestamp>,
    custom_metadata: Option<BTreeMap<String, String>>,
    versions: Option<BTreeMap<u64, Version>>,
}

#[derive(Deserialize)]
struct Version {
    created_time: Option<Timestamp>,
    /// Empty: never. It may lie ahead.
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl History {
    /// The latest version, with what belongs to the key; `None`: it has none.
    pub fn latest(&self) -> Option<stores::Metadata> {
        let mut latest = self.versions.as_ref()?.get(&self.current_version)?.metadata(self.current_version);
        // Not every server counts a deletion as an update.
        latest.updated = self.updated_time.max(latest.updated);
        latest.tags = self.custom_metadata.clone().unwrap_or_default();
        Some(latest)
    }

    /// All that are kept, newest first.
    pub fn versions(&self) -> Vec<stores::Metadata> {
        self.versions.iter().flatten().rev().map(|(number, version)| version.metadata(*number)).collect()
    }

    /// What became of a version; `None`: there is no such version.
    pub fn state(&self, number: u64) -> Option<VersionState> {
        self.versions.as_ref()?.get(&number).map(|version| version.metadata(number).state)
    }
}

impl Version {
    fn metadata(&self, number: u64) -> stores::Metadata {
        let ends = self.deletion_time.parse::<Timestamp>().ok();
        let state = match ends {
            _ if self.destroyed => VersionState::Destroyed,
            Some(ends) if ends <= Timestamp::now() => VersionState::Deleted,
            _ => VersionState::Enabled,
        };
        let mut metadata = stores::Metadata::new(Some(number.to_string()), state);
        metadata.created = self.created_time;
        metadata.updated = ends.filter(|_| state == VersionState::Deleted).or(self.created_time);
        metadata.expires = ends.filter(|_| state == VersionState::Enabled);
        metadata
    }
}
