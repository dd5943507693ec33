//! The attempts as rows, and the page that lists them.

use std::fmt::Write as _;

/// What must be seen of an attempt.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// The API server refuses it with this status, and these words in its message.
    Status(u16, &'static str),
    /// The operator says this reason in the reference's status, with these words.
    Reason(&'static str, &'static str),
    /// It is taken, and yields nothing: what happens instead.
    Harmless(&'static str),
}

/// One attempt.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub does: &'static str,
    pub refusal: Refusal,
}

/// Makes a test and a row of each attempt. The body plays it on the arena, which knows what must be seen.
macro_rules! attempts {
    ($($name:ident: $does:literal => $refusal:expr, |$arena:ident| $body:block)*) => {
        use $crate::table::Refusal::{Harmless, Reason, Status};

        pub const ROWS: &[$crate::table::Row] = &[
            $($crate::table::Row { name: stringify!($name), does: $does, refusal: $refusal }),*
        ];

        $(
            #[tokio::test]
            async fn $name() {
                let row = ROWS.iter().find(|row| row.name == stringify!($name)).unwrap();
                #[allow(unused_mut, reason = "most attempts change nothing of the arena")]
                let mut $arena = $crate::arena::Arena::new(row).await;
                $body
                $arena.nothing_crossed().await;
            }
        )*

        /// Which of the constructors a module needs is up to its rows.
        const _: [$crate::table::Refusal; 3] = [Status(0, ""), Reason("", ""), Harmless("")];
    };
}

const GROUPS: &[(&str, &[Row])] = &[
    ("Names of other organisations", crate::names::ROWS),
    ("Objects of others, labels and ownership", crate::objects::ROWS),
    ("Targets", crate::targets::ROWS),
    ("Templates and patterns", crate::templates::ROWS),
    ("The binding of a namespace", crate::binding::ROWS),
    ("Stores of the tenant's own", crate::stores::ROWS),
    ("Servers of the tenant's own", crate::servers::ROWS),
    ("Asking without an answer", crate::oracles::ROWS),
    ("Floods", crate::flood::ROWS),
    ("Stores that hang", crate::workers::ROWS),
];

fn page() -> String {
    let mut page = String::from(
        "# Isolation: what a tenant tried\n\n\
         Generated from the attempts in `tests/redteam`, which are tests; do not edit. A test fails when this page and they\n\
         differ (`SECRETREF_WRITE_DOCS=1 cargo test --test redteam page` writes it anew). What they stand for is in the\n\
         [threat model](threat-model.md).\n\n\
         The tenant has the ClusterRole `admin`, with edit on references and stores, in its own namespace and nothing else. The\n\
         operator runs with the rights of the chart and `tenantStores` switched on. After each attempt the other organisation's\n\
         value is in no Secret, status, Event, ConfigMap, log, audit event or metric that it should not be in, and the other\n\
         organisation's own target is as it was.\n",
    );
    for (group, rows) in GROUPS {
        write!(page, "\n## {group}\n\n| attempt | what it does | what is seen |\n|---|---|---|\n").unwrap();
        for row in *rows {
            let seen = match row.refusal {
                Refusal::Status(code, "") => format!("refused: HTTP {code}"),
                Refusal::Status(code, words) => format!("refused: HTTP {code}, \"{words}\""),
                Refusal::Reason(reason, "") => format!("`{reason}`"),
                Refusal::Reason(reason, words) => format!("`{reason}`, \"{words}\""),
                Refusal::Harmless(instead) => format!("no effect: {instead}"),
            };
            writeln!(page, "| `{}` | {} | {} |", row.name, row.does, seen.replace('|', "\\|")).unwrap();
        }
    }
    page
}

#[test]
fn the_page_lists_the_attempts() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/isolation.md");
    let count: usize = GROUPS.iter().map(|(_, rows)| rows.len()).sum();
    assert!(count >= 40, "{count} attempts");
    if std::env::var_os("SECRETREF_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page(), "docs/isolation.md is not what tests/redteam tries: write it with SECRETREF_WRITE_DOCS=1");
}

/// The threat model names tests as evidence: they must be there.
#[test]
fn the_threat_model_names_tests_that_are_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut sources = String::new();
    for dir in ["tests", "src"] {
        gather(&root.join(dir), &mut sources);
    }
    let named = page.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::"));
    let mut count = 0;
    for (place, test) in named {
        // An attempt is a test by its name alone.
        let there = sources.contains(&format!("fn {test}(")) || sources.contains(&format!("\n    {test}: \""));
        assert!(there, "docs/threat-model.md names {place}::{test}, which is not there");
        count += 1;
    }
    assert!(count > 20, "{count} tests are named");
}

fn gather(dir: &std::path::Path, sources: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "py" || e == "sh") {
            sources.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
