//! `secretref check`: the API server's verdict without one. That the verdicts are the same is the table of
//! `tests/crds/cases`: `tests/crds` asks a real API server about it, `src/manifest/tests.rs` this judge.

use serde_json::{Value, json};

use crate::{harness::Bao, laptop::Laptop};

const BAD: &str = "\
apiVersion: v1
kind: Secret
metadata: { name: passed-over }
---
apiVersion: secretref.dev/v1alpha1
kind: SecretReference
metadata: { name: bad }
spec:
  storeRef: { name: platform }
  staleAfter: 1s
  data:
    - key: A
      secretRef: { name: acme--canary-name }
    - key: B
      value: canary-plain
      secretRef: { name: b }
    - key: C
      vlaue: canary-text
";

#[test]
fn every_finding_has_its_line_and_its_field_and_no_text_of_the_file() {
    let laptop = Laptop::new();
    laptop.write("bad.yaml", BAD);
    let told = laptop.fails(1, &["check", "bad.yaml"]);
    assert!(told.contains("bad.yaml:13: error: spec.data[0].secretRef.name: must match"), "{told}");
    assert!(told.contains("bad.yaml:18: error: spec.data[2].vlaue: unknown field; did you mean value?"), "{told}");
    assert!(told.ends_with("1 files, 1 objects, 2 errors\n"), "{told}");
    // Rules speak when the schema holds, as on the API server.
    laptop.write("bad.yaml", &BAD.replace("acme--canary-name", "a").replace("vlaue", "value"));
    let told = laptop.fails(1, &["check", "bad.yaml"]);
    assert!(told.contains("bad.yaml:14: error: spec.data[1]: exactly one of value and secretRef is needed"), "{told}");
    assert!(told.contains("bad.yaml:10: error: spec.staleAfter: spec.staleAfter must be at least"), "{told}");
}

#[test]
fn annotations_of_a_pull_request_and_json() {
    let laptop = Laptop::new();
    laptop.write("a%,b.yaml", BAD);
    let told = laptop.fails(1, &["check", "--output", "github", "a%,b.yaml"]);
    assert!(told.contains("::error file=a%25%2Cb.yaml,line=13::spec.data[0].secretRef.name: must match"), "{told}");
    let told = laptop.fails(1, &["check", "--output", "json", "a%,b.yaml"]);
    let lines: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(lines[0]["line"], 13);
    assert_eq!(lines[0]["level"], "error");
    assert_eq!(lines.as_array().unwrap().len(), 2);
}

#[test]
fn what_only_resolution_can_tell() {
    let laptop = Laptop::new();
    let head = "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: app }\nspec:\n  storeRef: { name: s }\n";
    laptop.write("good.yaml", &format!("{head}  data: [{{ key: A, secretRef: {{ name: a }} }}]\n"));
    assert_eq!(laptop.secretref(&["check", "good.yaml"]), "1 files, 1 objects, 0 errors\n");
    laptop.write(
        "template.yaml",
        &format!(
            "{head}  target: {{ template: {{ data: {{ t: \"{{{{ canary\" }} }} }}\n  data: [{{ key: A, value: a }}]\n"
        ),
    );
    assert!(laptop.fails(1, &["check", "template.yaml"]).contains("TemplateError"));
    // A store that spells names its own way.
    laptop.write("secretref.toml", "[stores.s.provider.kubernetes]\nnamespace = \"n\"\n");
    laptop.write(
        "folder.yaml",
        &format!("{head}  data:\n    - key: A\n      value: a\n    - {{ key: B, secretRef: {{ name: team/a }} }}\n"),
    );
    let told = laptop.fails(1, &["check", "folder.yaml"]);
    assert!(told.contains("folder.yaml:9: error: spec.data[1]: InvalidReference"), "{told}");
    // Names that meet in one variable are no error of the file.
    laptop.write("secretref.toml", "");
    laptop.write(
        "meet.yaml",
        &format!(
            "{head}  data: [{{ key: A, secretRef: {{ name: a-b }} }}, {{ key: B, secretRef: {{ name: a_b }} }}]\n"
        ),
    );
    assert!(
        laptop
            .secretref(&["check", "meet.yaml"])
            .contains("warning: spec.data: names meet in the local variable ORG__A_B")
    );
    laptop.write("config.yaml", "A: 1\nB: [canary-1]\n");
    assert!(laptop.fails(1, &["check", "config.yaml"]).contains("config.yaml:2: error: B: has no type"));
}

#[tokio::test]
async fn with_an_organisation_every_entry_is_looked_up() {
    let bao = Bao::new().await;
    bao.put("acme--there", json!({ "value": "canary-there" })).await;
    let laptop = Laptop::with(&bao).await;
    laptop.reference(&["{ key: A, secretRef: { name: there } }"]);
    assert!(!laptop.secretref(&["check", "--org", "acme", "app.yaml"]).contains("canary"));
    laptop.reference(&["{ key: A, secretRef: { name: there } }", "{ key: B, secretRef: { name: ther } }"]);
    let told = laptop.fails(1, &["check", "--org", "acme", "--no-local", "app.yaml"]);
    assert!(
        told.contains("app.yaml:8: error: spec.data[1]: SecretNotFound: B: neither acme--ther nor GLOBAL--ther"),
        "{told}"
    );
    assert!(told.contains("(did you mean there?)"), "{told}");
    let laptop = laptop.set("VAULT_ADDR", "https://127.0.0.1:9");
    laptop.fails(3, &["check", "--org", "acme", "--no-local", "app.yaml"]);
    laptop.secretref(&["check", "app.yaml"]);
    laptop.fails(2, &["check"]);
}
