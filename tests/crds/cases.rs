//! The table of manifests in `cases/`. The comment before a manifest says what becomes of it: `accepted`, or
//! `refused FIELD: WORDS`, where the API server must name that field and use those words in one and the same cause.

use std::{collections::BTreeMap, fs, path::Path};

use kube::core::Status;
use serde_json::Value;

use crate::cluster::Cluster;

/// What must become of a manifest.
pub enum Expect {
    Accepted,
    Refused { field: String, words: String },
}

/// One manifest of the table.
pub struct Case {
    place: String,
    expect: Expect,
    manifest: Value,
}

impl Case {
    pub fn new(place: &str, expect: Expect, manifest: Value) -> Self {
        Self { place: place.to_owned(), expect, manifest }
    }

    fn parse(file: &str, text: &str) -> Self {
        let line = |prefix: &str| text.lines().find_map(|l| l.strip_prefix(prefix));
        let expect = match line("# refused ") {
            Some(rest) => {
                let (field, words) = rest.split_once(": ").unwrap_or_else(|| panic!("{file}: {rest}"));
                Expect::Refused { field: field.to_owned(), words: words.to_owned() }
            }
            None => {
                assert!(line("# accepted").is_some(), "{file}: neither accepted nor refused: {text}");
                Expect::Accepted
            }
        };
        let manifest: Value = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{file}: {e}\n{text}"));
        let name = manifest["metadata"]["name"].as_str().unwrap_or_else(|| panic!("{file}: no name:\n{text}"));
        Self { place: format!("{file}: {name}"), expect, manifest }
    }

    pub fn manifest(&self) -> &Value {
        &self.manifest
    }

    /// What is wrong with the API server's answer.
    pub fn check(&self, answer: &Result<Value, Box<Status>>) -> Option<String> {
        let trouble = match (&self.expect, answer) {
            (Expect::Accepted, Ok(_)) => return None,
            (Expect::Accepted, Err(status)) => format!("refused: {}", status.message),
            (Expect::Refused { .. }, Ok(_)) => "accepted".to_owned(),
            (Expect::Refused { field, words }, Err(status)) if names(status, field, words) => return None,
            (Expect::Refused { field, words }, Err(status)) => {
                format!("not refused with {field}: {words}, but {}", status.message)
            }
        };
        Some(format!("{}: {trouble}", self.place))
    }
}

fn names(status: &Status, field: &str, words: &str) -> bool {
    let causes = status.details.iter().flat_map(|d| &d.causes);
    let mut causes = causes.map(|c| (c.field.as_str(), c.message.as_str()));
    causes.any(|(f, message)| f == field && message.contains(words))
        || (words == "unknown field" && status.message.contains(&format!("unknown field \"{field}\"")))
}

fn table() -> BTreeMap<String, Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crds/cases");
    fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let cases = text.split("\n---\n").skip(1).map(|document| Case::parse(&name, document)).collect();
            (name, cases)
        })
        .collect()
}

/// The manifests that must pass, each for itself.
pub fn accepted() -> Vec<Value> {
    let all = table().into_iter().filter(|(file, _)| file != "updates.yaml").flat_map(|(_, cases)| cases);
    all.filter(|case| matches!(case.expect, Expect::Accepted)).map(|case| case.manifest).collect()
}

#[test]
fn the_table_covers_every_kind() {
    let table = table();
    let of = |kind: &str, accepted: bool| {
        let kind = table.values().flatten().filter(|c| c.manifest["kind"] == kind);
        kind.filter(|c| matches!(c.expect, Expect::Accepted) == accepted).count()
    };
    for (kind, bad, good) in [("SecretReference", 80, 15), ("ClusterSecretStore", 35, 8), ("SecretStore", 15, 3)] {
        assert!(of(kind, false) >= bad, "{} bad manifests of {kind}", of(kind, false));
        assert!(of(kind, true) >= good, "{} good manifests of {kind}", of(kind, true));
    }
}

#[tokio::test]
async fn every_manifest_is_accepted_or_refused_with_the_field_named() {
    let cluster = Cluster::new().await;
    let mut troubles = Vec::new();
    for (file, cases) in table() {
        let mut steps = Vec::new();
        for case in &cases {
            let name = &case.manifest["metadata"]["name"];
            let answer = match file.as_str() {
                // Documents of one name are steps on one object.
                "updates.yaml" if steps.contains(&name) => cluster.replace(&case.manifest).await,
                "updates.yaml" => {
                    steps.push(name);
                    cluster.create(&case.manifest, false).await
                }
                _ => cluster.create(&case.manifest, true).await,
            };
            troubles.extend(case.check(&answer));
        }
    }
    cluster.done().await;
    assert!(troubles.is_empty(), "{} troubles:\n{}", troubles.len(), troubles.join("\n"));
}
