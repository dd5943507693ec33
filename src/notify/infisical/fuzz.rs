use proptest::prelude::*;

use super::*;
use crate::mutants;

const HOOKS: [&str; 2] = [
    r#"{"event":"secrets.modified","project":{"workspaceId":"p-1","projectId":"p-1","projectName":"n","environment":"prod","secretPath":"/apps/acme"},"timestamp":1700000000123}"#,
    r#"{"event":"test","timestamp":1700000000123}"#,
];

proptest! {
    #[test]
    fn a_hook_names_a_folder_under_the_root_or_nothing(body in mutants::bytes(HOOKS), root in mutants::texts(["/apps", "/", ""])) {
        let store = api::Infisical {
            host_url: "https://infisical.example.com".into(),
            project_id: "p-1".into(),
            environment: "prod".into(),
            root_path: Some(root),
            ca_bundle: None,
            ca_ref: None,
            auth: api::InfisicalAuth::default(),
        };
        if let Ok((changed, sent)) = parse(&body, &store) {
            // Whatever time it says, it is compared without overflow.
            let _ = crate::notify::verify::timely(sent, Duration::ZERO);
            if let Some(changed) = changed {
                let Changed::Folder(folder) = changed else { panic!("{changed:?}") };
                prop_assert!(!folder.starts_with('/') && !folder.ends_with('/') && folder.len() <= body.len());
            }
        }
    }

    #[test]
    fn a_hook_that_is_cut_is_malformed(body in mutants::cut(HOOKS)) {
        let auth = api::InfisicalAuth::default();
        let store = api::Infisical { host_url: String::new(), project_id: String::new(), environment: String::new(), root_path: None, ca_bundle: None, ca_ref: None, auth };
        prop_assert_eq!(parse(body.as_bytes(), &store), Err(Malformed));
    }
}
