use proptest::prelude::*;

use super::*;
use crate::mutants;

const EVENTS: [&str; 3] = [
    r#"{"projectType":"secret-manager","data":{"eventType":"secret:update","payload":[{"environment":"prod","secretPath":"/apps/acme","secretKey":"DB_PASSWORD","secretId":"1"},{"environment":"dev","secretPath":"/","secretKey":"A"}]}}"#,
    r#"{"data":{"eventType":"secret:import-mutation","payload":{"environment":"prod","secretPath":"/apps"}}}"#,
    r#"{"type":"secret:delete","time":1,"data":{"eventType":"secret:delete","payload":[{"environment":"prod","secretPath":"/apps/acme","secretKey":"A"}]}}"#,
];

proptest! {
    /// What is told leads back into the store's root, and to nothing that cannot be asked for.
    #[test]
    fn an_event_names_what_is_under_the_root_or_nothing(data in mutants::bytes(EVENTS)) {
        let root = Root::new(Some("/apps"));
        let scope = Scope { environment: "prod".to_owned(), root: root.clone() };
        let notices = scope.notices(&Event { data: data.clone() });
        prop_assert!(notices.len() <= data.len());
        for notice in notices {
            match notice {
                Notice::Key(key) => prop_assert!(root.place(key.as_str()).is_some_and(|place| place.folder.starts_with("/apps"))),
                Notice::Folder(folder) => prop_assert!(String::from_utf8_lossy(&data).contains("/apps") && folder.len() <= data.len()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
