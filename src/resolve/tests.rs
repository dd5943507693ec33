#![allow(clippy::unwrap_used, clippy::panic)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    api::{Layout, NameStyle},
    stores::{ChangeToken, Failure, Payload, Property},
};

const SCHEME: Scheme = Scheme {
    layout: Layout::Flat,
    style: NameStyle::Kebab,
    folders: true,
    lowercase: false,
    variables: false,
    max_len: 512,
};

fn tenant() -> Tenant {
    Tenant { org: Some(Org::new("acme").unwrap()), global: true }
}

fn spec(yaml: &str) -> SecretReferenceSpec {
    serde_saphyr::from_str(&format!("storeRef: {{ name: s }}\n{yaml}")).unwrap()
}

/// A store in memory: key to properties, or how it fails; and the keys that its lists lack.
struct World(BTreeMap<String, Result<BTreeMap<String, Property>, Failure>>, Vec<&'static str>);

impl World {
    fn new(keys: &[(&str, &[(&str, &str)])]) -> Self {
        let text = |v: &str| Property::Text(v.to_owned().into());
        Self(
            keys.iter()
                .map(|(k, m)| (k.to_string(), Ok(m.iter().map(|(p, v)| (p.to_string(), text(v))).collect())))
                .collect(),
            Vec::new(),
        )
    }

    fn failing(mut self, key: &str, failure: Failure) -> Self {
        self.0.insert(key.to_owned(), Err(failure));
        self
    }

    /// Lists lag behind, or are filtered: these keys are not in them.
    fn unlisted(mut self, keys: &[&'static str]) -> Self {
        self.1.extend(keys);
        self
    }

    fn answer(&self, read: &Read) -> Answer {
        match read {
            Read::List(prefix) => Answer::Listed(Arc::new(
                self.0
                    .keys()
                    .filter(|k| k.starts_with(prefix.as_str()) && !self.1.contains(&k.as_str()))
                    .map(|k| StoreKey::verbatim(k.as_str()))
                    .collect(),
            )),
            Read::Key(key, version) => match self.0.get(key.as_str()) {
                None => Answer::Absent,
                Some(Err(failure)) => Answer::Failed(StoreError::new(*failure, "it broke")),
                Some(Ok(map)) => Answer::Present(Some(Arc::new(Stored {
                    payload: Payload::Map(map.clone()),
                    version: Some(version.clone().unwrap_or_else(|| "7".into())),
                    token: ChangeToken::new("t"),
                    warning: None,
                }))),
            },
        }
    }

    /// Drives resolution to its end; every question is asked once.
    fn run(&self, spec: &SecretReferenceSpec, tenant: &Tenant) -> (Result<Resolved, Problem>, Answers) {
        let mut answers = Answers::new();
        loop {
            match resolve(spec, tenant, &SCHEME, &answers) {
                Step::Ask(reads) => {
                    for read in reads {
                        let answer = self.answer(&read);
                        assert!(answers.insert(read, answer).is_none(), "asked twice");
                    }
                }
                Step::Done(resolved) => return (Ok(resolved), answers),
                Step::Failed(problem) => return (Err(problem), answers),
            }
        }
    }

    fn data(&self, yaml: &str) -> BTreeMap<String, String> {
        let resolved = self.run(&spec(yaml), &tenant()).0.unwrap();
        resolved.data.iter().map(|(k, v)| (k.clone(), v.expose_str().unwrap().to_owned())).collect()
    }

    fn problem(&self, yaml: &str) -> (Reason, String) {
        let problem = self.run(&spec(yaml), &tenant()).0.unwrap_err();
        (problem.reason, problem.message)
    }
}

const DB: &str = "data: [{ key: DB, secretRef: { name: db } }]";

#[test]
fn the_organisation_first_then_global() {
    let both = World::new(&[("acme--db", &[("value", "own")]), ("GLOBAL--db", &[("value", "shared")])]);
    assert_eq!(both.data(DB)["DB"], "own");
    let global = World::new(&[("GLOBAL--db", &[("value", "shared")])]);
    assert_eq!(global.data(DB)["DB"], "shared");
    let (resolved, answers) = global.run(&spec(DB), &tenant());
    assert_eq!(resolved.unwrap().fallbacks, [StoreKey::verbatim("acme--db")]);
    assert_eq!(reads(&spec(DB), &tenant(), &SCHEME, &answers).len(), 2, "the missing key stays in the table");
    let other = World::new(&[("beta--db", &[("value", "theirs")])]);
    let (reason, message) = other.problem(DB);
    assert_eq!(reason, Reason::SecretNotFound);
    assert!(message.contains("acme--db") && message.contains("GLOBAL--db") && !message.contains("beta"), "{message}");
}

#[test]
fn only_a_certain_not_found_falls_back() {
    for failure in [
        Failure::Disabled,
        Failure::Unauthenticated,
        Failure::Denied,
        Failure::RateLimited(None),
        Failure::Unavailable,
        Failure::CircuitOpen,
        Failure::Misconfigured,
        Failure::NotReady,
    ] {
        let world = World::new(&[("GLOBAL--db", &[("value", "shared")])]).failing("acme--db", failure);
        let optional = "data: [{ key: DB, secretRef: { name: db, optional: true } }, { key: X, value: x }]";
        for yaml in [DB, optional, "dataFrom: [{ find: { prefix: d } }]", "dataFrom: [{ extract: { name: db } }]"] {
            let (reason, _) = world.problem(yaml);
            assert_eq!(reason, failure.reason(), "{yaml}");
        }
    }
}

#[test]
fn a_tenant_is_told_its_keys_trouble_and_not_the_platforms() {
    let told = |failure| World::new(&[]).failing("acme--db", failure).problem(DB).1;
    for failure in [Failure::Denied, Failure::Disabled] {
        assert!(told(failure).contains("it broke"), "{failure:?}");
    }
    for failure in [
        Failure::Unauthenticated,
        Failure::RateLimited(None),
        Failure::Unavailable,
        Failure::CircuitOpen,
        Failure::Misconfigured,
        Failure::NotReady,
    ] {
        let message = told(failure);
        assert!(message.starts_with("acme--db: the store ") && !message.contains("it broke"), "{message}");
    }
}

#[test]
fn scopes_and_versions() {
    let world = World::new(&[
        ("acme--db", &[("value", "own")]),
        ("GLOBAL--db", &[("value", "shared")]),
        ("GLOBAL--x", &[("value", "x")]),
    ]);
    assert_eq!(world.data("data: [{ key: DB, secretRef: { name: db, scope: Global } }]")["DB"], "shared");
    assert_eq!(world.problem("data: [{ key: X, secretRef: { name: x, scope: Org } }]").0, Reason::SecretNotFound);
    let pinned = spec("data: [{ key: DB, secretRef: { name: db, scope: Org, version: \"3\" } }]");
    let resolved = world.run(&pinned, &tenant()).0.unwrap();
    assert_eq!(resolved.entries[0].version.as_deref(), Some("3"));
    let unbound = Tenant { org: None, global: true };
    assert_eq!(world.run(&spec(DB), &unbound).0.unwrap().data["DB"].expose(), b"shared");
    let own_only = Tenant { global: false, ..tenant() };
    assert_eq!(
        world.run(&spec("data: [{ key: X, secretRef: { name: x } }]"), &own_only).0.unwrap_err().reason,
        Reason::SecretNotFound
    );
}

#[test]
fn structured_values() {
    let world = World::new(&[
        ("acme--database", &[("username", "bob"), ("hosts", r#"["a", "b"]"#), ("blank", "")]),
        ("acme--cert", &[("tls.crt", "PEM"), ("b64", "aGk=")]),
    ]);
    let data = world.data(
        "data: [{ key: U, secretRef: { name: database, property: username } },
                { key: H, secretRef: { name: database, property: \"hosts[1]\" } },
                { key: C, secretRef: { name: cert, property: tls.crt } },
                { key: B, secretRef: { name: cert, property: b64, decode: Base64 } },
                { key: E, secretRef: { name: database, property: blank, allowEmpty: true } }]",
    );
    assert_eq!(
        (&data["U"][..], &data["H"][..], &data["C"][..], &data["B"][..], &data["E"][..]),
        ("bob", "b", "PEM", "hi", "")
    );
    let (reason, message) = world.problem("data: [{ key: U, secretRef: { name: database } }]");
    assert_eq!(reason, Reason::PropertyNotFound);
    assert!(message.contains("blank, hosts, username") && !message.contains("bob"), "{message}");
    assert_eq!(
        world.problem("data: [{ key: E, secretRef: { name: database, property: blank } }]").0,
        Reason::SecretEmpty
    );
    let plain = world.problem("data: [{ key: U, secretRef: { name: database, property: username, decode: Base64 } }]");
    assert!(!plain.1.contains("bob"));
}

#[test]
fn data_from_and_precedence() {
    let world = World::new(&[
        ("acme--database", &[("username", "bob"), ("password", "pw")]),
        ("acme--payments-api", &[("value", "own")]),
        ("GLOBAL--payments-api", &[("value", "shared")]),
        ("GLOBAL--payments-url", &[("value", "url")]),
        ("GLOBAL--other", &[("value", "no")]),
        ("beta--payments-x", &[("value", "theirs")]),
    ]);
    let data = world.data("dataFrom: [{ extract: { name: database } }, { find: { prefix: payments-, keyCase: ScreamingSnake } }]\ndata: [{ key: username, value: plain }]");
    let expected = [("PAYMENTS_API", "own"), ("PAYMENTS_URL", "url"), ("password", "pw"), ("username", "plain")];
    assert_eq!(data, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let twice = "dataFrom: [{ extract: { name: database } }, { extract: { name: database } }]";
    assert_eq!(world.problem(twice).0, Reason::InvalidReference);
    assert_eq!(world.problem("dataFrom: [{ find: { prefix: nothing- } }]").0, Reason::SecretNotFound);
    assert_eq!(
        world.problem("dataFrom: [{ extract: { name: gone } }]\ndata: [{ key: A, value: a }]").0,
        Reason::SecretNotFound
    );
}

#[test]
fn a_list_decides_nothing_about_scopes() {
    let find = "dataFrom: [{ find: { prefix: payments- } }]";
    let both =
        || World::new(&[("acme--payments-x", &[("value", "own")]), ("GLOBAL--payments-x", &[("value", "shared")])]);
    assert_eq!(both().data(find)["payments-x"], "own");
    assert_eq!(both().unlisted(&["acme--payments-x"]).data(find)["payments-x"], "own", "read, not concluded");
    let failing = both().failing("acme--payments-x", Failure::Denied).unlisted(&["acme--payments-x"]);
    assert_eq!(failing.problem(find).0, Reason::PermissionDenied, "an error never falls back");

    let deleted =
        World::new(&[("GLOBAL--payments-x", &[("value", "shared")]), ("acme--payments-y", &[("value", "y")])]);
    let (resolved, answers) = deleted.run(&spec(find), &tenant());
    let own = StoreKey::verbatim("acme--payments-x");
    assert_eq!(resolved.unwrap().fallbacks, std::slice::from_ref(&own), "a second look is needed before it is written");
    let table = reads(&spec(find), &tenant(), &SCHEME, &answers);
    assert!(table.contains(&Read::Key(own, None)), "its return is noticed: {table:?}");
    assert_eq!(table.len(), 2 + 2 + 1, "two lists, both scopes of x, and what y has of its own");

    let stale = both().unlisted(&["GLOBAL--payments-x"]);
    assert_eq!(World(BTreeMap::new(), vec![]).problem(find).0, Reason::SecretNotFound);
    assert_eq!(stale.data(find)["payments-x"], "own");
}

#[test]
fn a_scope_that_cannot_spell_a_found_name_does_not_hide_it() {
    let scheme = Scheme { max_len: "GLOBAL--payments-x".len(), ..SCHEME };
    let long = Tenant { org: Some(Org::new("organisation").unwrap()), global: true };
    let mut answers = Answers::new();
    let world = World::new(&[("GLOBAL--payments-x", &[("value", "shared")])]);
    let spec = spec("dataFrom: [{ find: { prefix: payments- } }]");
    loop {
        match resolve(&spec, &long, &scheme, &answers) {
            Step::Ask(reads) => answers.extend(reads.into_iter().map(|r| (r.clone(), world.answer(&r)))),
            Step::Done(resolved) => break assert_eq!(resolved.data["payments-x"].expose(), b"shared"),
            Step::Failed(problem) => panic!("{problem:?}"),
        }
    }
}

#[test]
fn optional_leaves_a_key_out_but_never_all_of_them() {
    let world = World::new(&[("acme--db", &[("value", "own")])]);
    let optional = "{ key: GONE, secretRef: { name: gone, optional: true } }";
    let (resolved, _) =
        world.run(&spec(&format!("data: [{{ key: DB, secretRef: {{ name: db }} }}, {optional}]")), &tenant());
    let resolved = resolved.unwrap();
    assert_eq!(resolved.data.len(), 1);
    assert!(resolved.warnings[0].contains("acme--gone"));
    assert_eq!(world.problem(&format!("data: [{optional}]")).0, Reason::SecretNotFound);
}

#[test]
fn a_template_adds_keys() {
    let world = World::new(&[("acme--db", &[("value", "pw")])]);
    let data = world.data(&format!("{DB}\ntarget: {{ template: {{ data: {{ url: \"x:{{{{ DB }}}}\" }} }} }}"));
    assert_eq!(data["url"], "x:pw");
    assert_eq!(
        world.problem(&format!("{DB}\ntarget: {{ template: {{ data: {{ url: \"{{{{ NO }}}}\" }} }} }}")).0,
        Reason::TemplateError
    );
}

proptest! {
    /// Whatever fails, whatever is missing: there is no result unless every required entry has a value of its own scope.
    #[test]
    fn all_or_nothing_and_never_across_scopes(
        states in proptest::collection::vec((0u8..4, 0u8..4, any::<bool>()), 1..6),
        global in any::<bool>(),
    ) {
        let mut world = World::new(&[("beta--n0", &[("value", "foreign")])]);
        let mut yaml = String::from("data:\n");
        for (i, (org, glob, optional)) in states.iter().enumerate() {
            yaml += &format!("- {{ key: K{i}, secretRef: {{ name: n{i}, optional: {optional} }} }}\n");
            for (scope, state) in [("acme", org), ("GLOBAL", glob)] {
                let value = |v: &str| BTreeMap::from([("value".to_owned(), Property::Text(v.to_owned().into()))]);
                match state {
                    0 => {}
                    1 => { world.0.insert(format!("{scope}--n{i}"), Ok(value(&format!("{scope}{i}")))); }
                    2 => { world.0.insert(format!("{scope}--n{i}"), Err(Failure::Unavailable)); }
                    _ => { world.0.insert(format!("{scope}--n{i}"), Err(Failure::Denied)); }
                }
            }
        }
        let (result, answers) = world.run(&spec(&yaml), &Tenant { global, ..tenant() });
        let expect = |org: u8, glob: u8| match (org, glob) {
            (1, _) => Some(Some("acme")),
            (2 | 3, _) => None,
            (_, _) if !global => Some(None),
            (_, 1) => Some(Some("GLOBAL")),
            (_, 0) => Some(None),
            _ => None,
        };
        let wanted: Vec<_> = states.iter().map(|(o, g, optional)| (expect(*o, *g), *optional)).collect();
        let possible = wanted.iter().all(|(w, optional)| matches!(w, Some(Some(_))) || (*optional && *w == Some(None)))
            && wanted.iter().any(|(w, _)| matches!(w, Some(Some(_))));
        prop_assert_eq!(result.is_ok(), possible);
        if let Ok(resolved) = result {
            for (i, (w, _)) in wanted.iter().enumerate() {
                let value = resolved.data.get(&format!("K{i}")).and_then(|v| v.expose_str().map(str::to_owned));
                prop_assert_eq!(value, w.unwrap().map(|scope| format!("{scope}{i}")));
            }
            // Planning from the same answers asks nothing and yields the same.
            let again = resolve(&spec(&yaml), &Tenant { global, ..tenant() }, &SCHEME, &answers);
            let same = matches!(&again, Step::Done(r) if r.data == resolved.data && r.entries == resolved.entries);
            prop_assert!(same);
        }
    }
}
