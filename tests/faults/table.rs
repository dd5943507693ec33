//! The page that lists the faults, and what keeps it true: every row names tests, which must be there, and every test of
//! this folder has its row.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use crate::rows::{GROUPS, NOT_TRIED};

/// One fault.
pub struct Row {
    /// What happens.
    pub happens: &'static str,
    /// The reason that is seen in the status; empty: none, since nothing fails for the user or nothing can be told.
    pub reason: &'static str,
    /// What must stay.
    pub stays: &'static str,
    /// How it ends.
    pub ends: &'static str,
    /// The tests that show it, as `file::test` below the repository's root; without a folder: in tests/faults.
    pub shown: &'static [&'static str],
}

fn page() -> String {
    let mut page = String::from(
        "# Reliability: what breaks, and what is seen of it\n\n\
         Generated from `tests/faults/rows.rs`; do not edit. A test fails when this page and the table differ\n\
         (`SECRETREF_WRITE_DOCS=1 cargo test --test faults page` writes it anew), when a row names a test that is not there,\n\
         and when a test of `tests/faults` has no row. A test that is named without a folder is in `tests/faults`.\n\n\
         The tests run the operator that was built, as a process, against a real API server and a real OpenBao. Between them\n\
         stand proxies that let everything through, until they hold back, cut, refuse or garble what a real server cannot be\n\
         told to (`tests/fakes/api_proxy.rs`, `tests/fakes/fault_proxy.rs`). Key Vault and Infisical are fakes.\n\n\
         In all of them the target stays as it was until the new value is there, and the end comes without a hand, unless\n\
         the row says that somebody has to do something. A reason is that of the reference's `Synced` condition; what each\n\
         means is in [reasons.md](reasons.md). Attacks, one by one and with their outcome, are in [isolation.md](isolation.md),\n\
         broken documents in [fuzzing.md](fuzzing.md).\n",
    );
    for (group, rows) in GROUPS {
        let head = "| what happens | reason | what stays | how it ends | shown by |\n|---|---|---|---|---|\n";
        write!(page, "\n## {group}\n\n{head}").unwrap();
        for row in *rows {
            let reason = if row.reason.is_empty() { "none".to_owned() } else { format!("`{}`", row.reason) };
            let shown: Vec<String> = row.shown.iter().map(|test| format!("`{test}`")).collect();
            let Row { happens, stays, ends, .. } = row;
            writeln!(page, "| {happens} | {reason} | {stays} | {ends} | {} |", shown.join(", ")).unwrap();
        }
    }
    page += "\n## Not tried\n\nNo test here shows what follows from these:\n\n";
    for fault in NOT_TRIED {
        writeln!(page, "- {fault}").unwrap();
    }
    page
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_lists_the_faults() {
    let path = root().join("docs/reliability.md");
    if std::env::var_os("SECRETREF_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/reliability.md is not what tests/faults shows: write it with SECRETREF_WRITE_DOCS=1"
    );
}

#[test]
fn every_row_names_tests_that_are_there() {
    for row in GROUPS.iter().flat_map(|(_, rows)| *rows) {
        assert!(!row.shown.is_empty(), "nothing shows: {}", row.happens);
        for named in row.shown {
            let (file, test) = named.split_once("::").expect("file::test");
            let file = if file.contains('/') { file.to_owned() } else { format!("tests/faults/{file}") };
            let text = std::fs::read_to_string(root().join(&file)).unwrap_or_else(|e| panic!("{named}: {file}: {e}"));
            assert!(text.contains(&format!("fn {test}(")), "{named} is not there");
        }
    }
}

#[test]
fn every_test_of_this_folder_has_a_row() {
    let named: BTreeSet<&str> = GROUPS.iter().flat_map(|(_, rows)| *rows).flat_map(|row| row.shown).copied().collect();
    for entry in std::fs::read_dir(root().join("tests/faults")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        if file == "table.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for test in text.split("#[tokio::test").skip(1) {
            let Some((_, test)) = test.split_once("async fn ") else { continue };
            let test = test.split('(').next().unwrap();
            assert!(named.contains(format!("{file}::{test}").as_str()), "{file}::{test} has no row");
        }
    }
}
