use proptest::prelude::*;

use super::*;
use crate::mutants;

const BODIES: [&str; 3] = [r#"{"keys":["acme--a","GLOBAL--b"]}"#, r#"{"all":true}"#, r#"{"keys":["a"],"all":false}"#];

proptest! {
    #[test]
    fn keys_are_told_or_all_or_nothing(body in mutants::bytes(BODIES)) {
        if let Ok(changed) = parse(&body) {
            prop_assert!((1..=MAX_KEYS).contains(&changed.len()));
            for one in &changed {
                match one {
                    Changed::Key(name) => prop_assert!(super::super::key(name).is_some() && name.len() <= body.len()),
                    Changed::All => prop_assert_eq!(changed.len(), 1),
                    Changed::Folder(_) => prop_assert!(false),
                }
            }
        }
    }

    #[test]
    fn a_body_that_is_cut_is_malformed(body in mutants::cut(BODIES)) {
        prop_assert_eq!(parse(body.as_bytes()), Err(Malformed));
    }
}
