use proptest::{prelude::*, sample::select};

use super::*;
use crate::mutants;

const KEYS: [&str; 6] =
    ["acme--db-password", "GLOBAL--db", "acme/sub/DB_PASSWORD", "global--a", "ACME_CORP__DB", "a--b--c"];

fn scheme() -> impl Strategy<Value = Scheme> {
    let layouts = select(vec![Layout::Flat, Layout::Path]);
    let styles = select(vec![NameStyle::Kebab, NameStyle::ScreamingSnake, NameStyle::Verbatim]);
    let other = (layouts, styles, any::<bool>(), any::<bool>(), 1..600_usize).prop_map(
        |(layout, style, folders, lowercase, max_len)| Scheme {
            layout,
            style,
            folders,
            lowercase,
            variables: false,
            max_len,
        },
    );
    prop_oneof![Just(Scheme::ENVIRONMENT), other]
}

proptest! {
    /// Whatever a store lists: what is taken for somebody's key is spelled so and no other way, and is nobody else's.
    #[test]
    fn a_listed_key_is_its_owners_alone(scheme in scheme(), key in mutants::texts(KEYS), org in mutants::texts(["acme", "acme-corp", "a"])) {
        let owners = [Owner::Org(Org::new("acme").unwrap()), Owner::Org(Org::new("a").unwrap()), Owner::Global];
        let owned = owners.iter().filter_map(|owner| {
            let name = scheme.parse(owner, &key)?;
            assert_eq!(scheme.key(owner, &name).unwrap().as_str(), key);
            Some(name)
        });
        prop_assert!(owned.count() <= 1, "{}", key);
        match Org::new(&org) {
            Ok(known) => prop_assert!(known.as_str() == org && org.len() <= 63 && !org.contains("--")),
            Err(error) => mutants::assert_silent(&error),
        }
    }

    #[test]
    fn a_name_is_taken_whole_or_refused_without_being_repeated(scheme in scheme(), text in mutants::texts(["db-password", "canary-1", "sub/db", "DB_PASSWORD", "tls.crt"])) {
        match scheme.name(&text) {
            Ok(name) => {
                prop_assert!(name.as_str() == text && !text.contains("--") && !text.chars().any(char::is_control));
                match scheme.key(&Owner::Global, &name) {
                    Ok(key) => prop_assert!(key.as_str().len() <= scheme.max_len && scheme.parse(&Owner::Global, key.as_str()) == Some(name)),
                    Err(error) => mutants::assert_silent(&error),
                }
            }
            Err(error) => mutants::assert_silent(&error),
        }
    }
}
