use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::mutants;

const FILES: [&str; 4] = [
    "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: payments, namespace: acme, labels: { a: b } }\nspec:\n  storeRef: { name: platform }\n  refreshInterval: 5m\n  target:\n    type: Opaque\n    template: { data: { app: \"{{ DB }}\" } }\n  data:\n    - key: TIMEOUT\n      value: \"canary-1\"\n    - { key: DB, secretRef: { name: db-password, property: canary-2, decode: Base64 } }\n  dataFrom:\n    - find: { prefix: \"payments-\", keyCase: ScreamingSnake }\n---\nkind: List\n",
    "---\n# c\napiVersion: secretref.dev/v1alpha1\nkind: ClusterSecretStore\nmetadata: { name: platform }\nspec:\n  provider:\n    vault: &v { address: \"https://canary-3:8200\", mount: secret, auth: { appRole: { roleId: r, secretId: { secretRef: { name: s, namespace: n, key: k } } } } }\n  tenancy: { namespaceSelector: {}, orgFrom: { org: acme } }\n  limits: { requestsPerSecond: 10, timeout: 3s }\n",
    r#"{"apiVersion":"secretref.dev/v1alpha1","kind":"SecretReference","metadata":{"name":"a"},"spec":{"storeRef":{"name":"s"},"data":[{"key":"A","value":"canary-4"},{"key":"B","secretRef":{"name":"b","version":"3","scope":"Org"}}]}}"#,
    r#"{"apiVersion":"secretref.dev/v1alpha1","kind":"SecretStore","metadata":{"name":"a","namespace":"n"},"spec":{"provider":{"infisical":{"hostUrl":"https://canary-5","projectId":"p","environment":"dev","auth":{"universalAuth":{"clientId":{"secretRef":{"name":"a","key":"b"}},"clientSecret":{"secretRef":{"name":"a","key":"c"}}}}}}}}"#,
];

/// On a stack like that of the thread on which the commands run; a test's own has a quarter of it.
fn on_the_main_threads_stack(judge: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(scope, judge).unwrap();
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn judge(text: &str) {
    let lines = text.lines().count() + text.matches('\r').count() + 1;
    let documents = match read(text) {
        Ok(documents) => documents,
        Err(finding) => return assert!(!format!("{finding:?}").contains(mutants::CANARY), "{finding:?}"),
    };
    for document in documents {
        let _ = (document.is_ours(), document.name());
        for finding in document.judge() {
            // The field is named by the manifest's own keys.
            assert!(!finding.message.contains(mutants::CANARY), "{finding:?}");
            assert!((1..=lines + 1).contains(&finding.line), "{finding:?} of {lines} lines");
        }
        // What was read and is written again has the same meaning and the same verdict.
        if let Ok([again]) = read(&document.value.to_string()).as_deref() {
            let found = |document: &Document| -> BTreeSet<(String, String)> {
                document.judge().into_iter().map(|finding| (finding.field, finding.message)).collect()
            };
            assert_eq!(again.value, document.value);
            assert_eq!(found(again), found(&document));
        }
    }
}

proptest! {
    #[test]
    fn a_manifest_is_judged_and_none_of_its_values_is_repeated(text in mutants::texts(FILES)) {
        on_the_main_threads_stack(|| judge(&text));
    }
}

/// Aliases and nesting that grow beyond all bounds are refused before they do.
#[test]
fn what_would_grow_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let of = format!("*a{}, ", level - 1).repeat(8);
        bomb += &format!("a{level}: &a{level} [{}]\n", of.trim_end_matches(", "));
    }
    on_the_main_threads_stack(|| {
        assert!(read(&bomb).is_err());
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
            assert!(read(&format!("{}1{}", open.repeat(3000), close.repeat(3000))).is_err());
        }
    });
}
