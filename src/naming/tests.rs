#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn schemes() -> Vec<Scheme> {
    let mut all = Vec::new();
    for layout in [Layout::Flat, Layout::Path] {
        for style in [NameStyle::Kebab, NameStyle::ScreamingSnake, NameStyle::Verbatim] {
            for (folders, lowercase) in [(true, false), (false, false), (false, true)] {
                all.push(Scheme { layout, style, folders, lowercase, variables: false, max_len: 1024 });
            }
        }
    }
    all.push(Scheme::ENVIRONMENT);
    all
}

/// Text near the grammar's edges: words, doubled and trailing dashes, slashes, scopes, look-alikes.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z0-9]{1,3}",
        "[A-Za-z0-9_.]{1,3}",
        Just("-".to_owned()),
        Just("--".to_owned()),
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just("GLOBAL".to_owned()),
        Just("global".to_owned()),
        Just("acme".to_owned()),
        Just("\u{0430}".to_owned()),
    ];
    proptest::collection::vec(piece, 1..5).prop_map(|p| p.concat())
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        Just(Owner::Global),
        text().prop_filter_map("no org", |t| Org::new(&t).ok().map(Owner::Org)),
        Just(Owner::Org(Org("acme".into()))),
        Just(Owner::Org(Org("acme-db".into()))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_injective_and_never_cross_scopes(a in owner(), b in owner(), x in text(), y in text()) {
        for scheme in schemes() {
            let (Ok(nx), Ok(ny)) = (scheme.name(&x), scheme.name(&y)) else { continue };
            let (Ok(kx), Ok(ky)) = (scheme.key(&a, &nx), scheme.key(&b, &ny)) else { continue };
            prop_assert_eq!(kx == ky, a == b && nx == ny, "{:?} {:?}", kx, ky);
            // Stores that compare without case must not merge them either, unless names may differ in case.
            if scheme.style != NameStyle::Verbatim {
                prop_assert_eq!(kx.as_str().eq_ignore_ascii_case(ky.as_str()), a == b && nx == ny);
            }
            // What is listed for one owner is read back as the same name, and as nobody else's.
            prop_assert_eq!(scheme.parse(&a, kx.as_str()), Some(nx));
            if a != b { prop_assert_eq!(scheme.parse(&b, kx.as_str()), None); }
        }
    }

    #[test]
    fn whatever_is_listed_parses_to_at_most_one_owner(key in text(), a in owner(), b in owner()) {
        if a == b { return Ok(()); }
        for scheme in schemes() {
            let (x, y) = (scheme.parse(&a, &key), scheme.parse(&b, &key));
            prop_assert!(x.is_none() || y.is_none(), "{key} belongs to two owners");
            if let Some(name) = x {
                let back = scheme.key(&a, &name).unwrap();
                prop_assert_eq!(back.as_str(), key.as_str());
            }
        }
    }
}

#[test]
fn spells_keys_as_the_design_does() {
    let acme = Owner::Org(Org::new("acme").unwrap());
    let key = |scheme: Scheme, owner: &Owner, name: &str| {
        scheme.name(name).and_then(|n| scheme.key(owner, &n)).map(|k| k.to_string())
    };
    let flat = Scheme {
        layout: Layout::Flat,
        style: NameStyle::Kebab,
        folders: true,
        lowercase: false,
        variables: false,
        max_len: 127,
    };
    assert_eq!(key(flat, &acme, "db-password").unwrap(), "acme--db-password");
    assert_eq!(key(flat, &Owner::Global, "db-password").unwrap(), "GLOBAL--db-password");
    let path = Scheme { layout: Layout::Path, ..flat };
    assert_eq!(key(path, &acme, "payments/db").unwrap(), "acme/payments/db");
    let snake = Scheme { style: NameStyle::ScreamingSnake, ..path };
    assert_eq!(key(snake, &acme, "payments/db-password").unwrap(), "acme/payments/DB_PASSWORD");
    let object = Scheme { folders: false, lowercase: true, ..flat };
    assert_eq!(key(object, &Owner::Global, "db").unwrap(), "global--db");
    assert_eq!(key(object, &acme, "a/b"), Err(NameError::Folder));
    let corp = Owner::Org(Org::new("acme-corp").unwrap());
    assert_eq!(key(Scheme::ENVIRONMENT, &corp, "db-password").unwrap(), "ACME_CORP__DB_PASSWORD");
    assert_eq!(key(Scheme::ENVIRONMENT, &Owner::Global, "db-password").unwrap(), "GLOBAL__DB_PASSWORD");
    assert_eq!(Scheme::ENVIRONMENT.prefix(&corp, "payments-"), "ACME_CORP__PAYMENTS_");
    assert_eq!(key(flat, &acme, &"x".repeat(122)), Err(NameError::TooLong(127)));
}

#[test]
fn refuses_what_is_no_bare_name() {
    let flat = Scheme {
        layout: Layout::Flat,
        style: NameStyle::Kebab,
        folders: true,
        lowercase: false,
        variables: false,
        max_len: 127,
    };
    for bad in
        ["", "-a", "a-", "a--b", "GLOBAL--a", "acme--a", "A", "a_b", "a/../b", "/a", "a/", "global/a", "é", "a b"]
    {
        assert!(flat.name(bad).is_err(), "{bad}");
    }
    let verbatim = Scheme { style: NameStyle::Verbatim, ..flat };
    assert!(verbatim.name("DB_password.v2").is_ok());
    for bad in ["..", ".", "a/../b", "a--b", "GLOBAL/x", "-a"] {
        assert!(verbatim.name(bad).is_err(), "{bad}");
    }
    let acme = Owner::Org(Org::new("acme").unwrap());
    assert_eq!(flat.key(&acme, &flat.name("acme/db").unwrap()), Err(NameError::Scoped));
    for bad in ["global", "user", "Acme", "a--b", "-a", "", "a_b"] {
        assert!(Org::new(bad).is_err(), "{bad}");
    }
}

/// Words that could be the end of an org or the start of a name lead to different variables.
#[test]
fn variables_of_look_alikes_are_different() {
    let scheme = Scheme::ENVIRONMENT;
    let pairs =
        [("acme", "corp-db"), ("acme-corp", "db"), ("acme-corp-db", "x"), ("acme", "corp"), ("acme-c", "orp-db")];
    let keys: std::collections::BTreeSet<_> = pairs
        .iter()
        .map(|(org, name)| scheme.key(&Owner::Org(Org::new(org).unwrap()), &scheme.name(name).unwrap()).unwrap())
        .collect();
    assert_eq!(keys.len(), pairs.len());
    for (org, name) in pairs {
        let owner = Owner::Org(Org::new(org).unwrap());
        for key in &keys {
            let own = scheme.key(&owner, &scheme.name(name).unwrap()).unwrap() == *key;
            assert!(own || scheme.parse(&owner, key.as_str()).is_none_or(|found| found.as_str() != name));
        }
    }
    // What no org and name can be spelled as belongs to nobody.
    for stray in
        ["ACME__", "__DB", "ACME___DB", "ACME__DB__X", "ACME__db", "ACME_DB", "acme__DB", "ACME__DB_", "ACME__A-B"]
    {
        assert_eq!(scheme.parse(&Owner::Org(Org::new("acme").unwrap()), stray), None, "{stray}");
    }
    for bad in ["DB_PASSWORD", "db_password", "a--b", "a/b", "-a"] {
        assert!(scheme.name(bad).is_err(), "{bad}");
    }
}
