#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn judge(text: &str) -> Vec<(String, usize, String)> {
    let documents = read(text).unwrap();
    documents.iter().flat_map(Document::judge).map(|f| (f.field, f.line, f.message)).collect()
}

#[test]
fn a_finding_names_field_and_line_and_never_the_text() {
    let text = "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: a }\nspec:\n  storeRef: { name: s }\n  data:\n    - key: A\n      secretRef:\n        name: acme--canary-name\n    - key: B\n      valeu: canary-text\n";
    let found = judge(text);
    let fields: Vec<(&str, usize)> = found.iter().map(|(field, line, _)| (field.as_str(), *line)).collect();
    assert_eq!(fields, [("spec.data[0].secretRef.name", 9), ("spec.data[1].valeu", 11)], "{found:?}");
    assert!(found[1].2.contains("did you mean value?"), "{found:?}");
    assert!(!format!("{found:?}").contains("canary"), "{found:?}");
}

#[test]
fn broken_yaml_is_told_by_its_line_only() {
    let broken = read("a: 1\nb: [canary-1\n").unwrap_err();
    assert!(!broken.message.contains("canary"), "{broken:?}");
    let twice = read("a: 1\na: canary-2\n").unwrap_err();
    assert_eq!(twice.line, 2);
    assert!(!format!("{twice:?}").contains("canary"), "{twice:?}");
}

#[test]
fn documents_of_others_are_not_ours() {
    let documents = read("---\n# nothing\n---\napiVersion: v1\nkind: Secret\n---\nkind: SecretStore\n").unwrap();
    assert_eq!(documents.iter().map(Document::is_ours).collect::<Vec<_>>(), [false, true]);
}

/// The same table as on the API server: `tests/crds` asks that one.
#[test]
fn every_case_of_the_table_has_the_verdict_that_is_written_above_it() {
    let mut troubles = Vec::new();
    let mut cases = 0;
    for file in std::fs::read_dir("tests/crds/cases").unwrap() {
        let path = file.unwrap().path();
        if path.ends_with("updates.yaml") {
            continue; // steps on one object: rules about change need the cluster
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for case in text.split("\n---\n").skip(1) {
            let with_version = format!("apiVersion: secretref.dev/v1alpha1\n{case}");
            let document = read(&with_version).unwrap().remove(0);
            let found = document.judge();
            let refused = case.lines().find_map(|l| l.strip_prefix("# refused ")).map(|r| r.split_once(": ").unwrap());
            cases += 1;
            let right = match refused {
                None => found.is_empty(),
                Some((field, words)) => found.iter().any(|f| {
                    // Of a rule that breaks down the server names no field of its own.
                    f.field == field
                        || f.field.starts_with(&format!("{field}."))
                        || (words == "unknown field" && f.field.ends_with(field))
                }),
            };
            if !right {
                troubles.push(format!("{}: {}: {refused:?} but {found:?}", path.display(), document.name()));
            }
        }
    }
    assert!(cases > 150, "{cases}");
    assert!(troubles.is_empty(), "{} of {cases}:\n{}", troubles.len(), troubles.join("\n"));
}
