//! The rest: health, explanations, the first file, and what a packager wants.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::{harness::Bao, laptop::Laptop};

const EXPLAIN: [&str; 5] = ["explain", "--org", "acme", "-f", "app.yaml"];

#[tokio::test]
async fn stores_are_as_healthy_as_they_are() {
    let bao = Bao::new().await;
    let laptop = Laptop::with(&bao).await;
    let table = laptop.secretref(&["stores"]);
    assert!(table.split_whitespace().collect::<Vec<_>>().join(" ").contains("vault vault True Healthy"), "{table}");
    let laptop = laptop.set("VAULT_TOKEN", "canary-token");
    assert!(laptop.fails(1, &["stores"]).contains("AuthenticationFailed"));
    assert!(Laptop::new().fails(1, &["stores"]).contains("no store is configured"));
}

#[tokio::test]
async fn every_candidate_is_explained_and_no_value_is_shown() {
    let bao = Bao::new().await;
    bao.put("GLOBAL--api-key", json!({ "value": "canary-1" })).await;
    bao.put("GLOBAL--api-key", json!({ "value": "canary-2" })).await;
    bao.put("acme--own", json!({ "value": "canary-3" })).await;
    let laptop = Laptop::with(&bao).await;
    laptop.write(".env", "ACME__LOCAL=canary-local\n");
    laptop.reference(&[
        "{ key: KEY, secretRef: { name: api-key } }",
        "{ key: OWN, secretRef: { name: own } }",
        "{ key: LOCAL, secretRef: { name: local } }",
        "{ key: PLAIN, value: canary-plain }",
    ]);
    let out = laptop.secretref(&EXPLAIN);
    assert!(!out.contains("canary"), "{out}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "(store: vault)",
        "KEY: the platform-wide one: no scope before it has the name",
        "5. acme--api-key NotFound 6. GLOBAL--api-key Found, version 2",
        "OWN: acme's own",
        "5. acme--own Found, version 1 6. GLOBAL--own NotAsked",
        "LOCAL: a local value wins: ACME__LOCAL in .env",
        "1. ACME__LOCAL in the environment NotFound 2. ACME__LOCAL in .env Found 3. GLOBAL__LOCAL in the environment NotAsked",
        "PLAIN: plain",
        "next check: on a cluster within 300 s",
    ] {
        assert!(words.contains(part), "no {part:?} in {out}");
    }
    laptop.reference(&["{ key: KEY, secretRef: { name: api-kye } }"]);
    let told = laptop.fails(1, &[&EXPLAIN[..], &["--no-local", "--output", "json"]].concat());
    let trace: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        trace[0]["entries"][0]["candidates"][1],
        json!({ "place": "GLOBAL--api-kye", "answer": "NotFound", "version": null })
    );
    assert_eq!(trace[0]["hint"], "did you mean api-key?");
    laptop.fails(2, &["explain", "no-slash"]);
    assert!(laptop.fails(1, &["explain", "ns/name"]).contains("there is no cluster: set KUBECONFIG"));
}

#[test]
fn init_writes_no_value_and_keeps_what_is_there() {
    let laptop = Laptop::new();
    laptop.reference(&[
        "{ key: DB_PASSWORD, secretRef: { name: db-password } }",
        "{ key: DB_USER, secretRef: { name: database, property: username } }",
        "{ key: PLAIN, value: canary-plain }",
    ]);
    laptop.write(".gitignore", "target");
    laptop.secretref(&["init", "--org", "acme-corp", "-f", "app.yaml"]);
    let file = laptop.read(".env");
    assert!(file.contains("\n# DB_PASSWORD\n# ACME_CORP__DB_PASSWORD=\n"), "{file}");
    assert!(file.contains("\n# ACME_CORP__DATABASE='{\"PROPERTY\": \"...\"}'\n"), "{file}");
    assert!(!file.contains("canary"), "{file}");
    assert_eq!(laptop.read(".gitignore"), "target\n.env\n");
    let mode = std::fs::metadata(laptop.folder.join(".env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nothing of it counts before somebody fills it in.
    laptop.fails(1, &["get", "DB_PASSWORD", "--org", "acme-corp", "-f", "app.yaml"]);
    laptop.write(".env", &file.replace("# ACME_CORP__DB_PASSWORD=", "ACME_CORP__DB_PASSWORD=canary-mine"));
    laptop.reference(&[
        "{ key: DB_PASSWORD, secretRef: { name: db-password } }",
        "{ key: NEW, secretRef: { name: new } }",
    ]);
    laptop.secretref(&["init", "--org", "acme-corp", "-f", "app.yaml"]);
    let again = laptop.read(".env");
    assert!(
        again.contains("ACME_CORP__DB_PASSWORD=canary-mine") && again.ends_with("\n# NEW\n# ACME_CORP__NEW=\n"),
        "{again}"
    );
    assert_eq!(laptop.read(".gitignore"), "target\n.env\n");
    assert_eq!(laptop.secretref(&["get", "DB_PASSWORD", "--org", "acme-corp", "-f", "app.yaml"]), "canary-mine");
}

#[test]
fn help_completion_and_manual_of_every_command() {
    let laptop = Laptop::new();
    let help = laptop.secretref(&["--help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    let expected = [
        "get",
        "run",
        "render",
        "check",
        "explain",
        "podspec",
        "scan",
        "init",
        "stores",
        "crds",
        "operator",
        "completion",
        "man",
    ];
    assert_eq!(commands, expected);
    for command in commands {
        let help = laptop.secretref(&[command, "--help"]);
        let example = help.split_once("Example").map(|(_, after)| after).unwrap_or_default();
        assert!(example.contains(&format!("secretref {command}")), "no example: {help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(laptop.secretref(&["completion", shell]).contains("podspec"), "{shell}");
    }
    laptop.secretref(&["man", "man1"]);
    assert!(laptop.read("man1/secretref-get.1").contains("reveal"));
    assert!(laptop.secretref(&["--version"]).starts_with("secretref 0."));
}
