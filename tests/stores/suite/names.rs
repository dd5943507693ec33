//! Names at every limit.

use secretref::{
    api::NameStyle,
    naming::{Name, StoreKey},
};

use super::{CannotBe, Holds, Subject, Verdict, Who, acme, global, key, owner, read, single};

async fn is_read_back(subject: &dyn Subject, key: &StoreKey, value: &str) {
    subject.plant(key, &single(value)).await;
    assert_eq!(read(&*subject.store(Who::Reader), key).await, value.as_bytes(), "{key}");
}

pub async fn the_shortest(subject: &dyn Subject) -> Verdict {
    is_read_back(subject, &key(subject, Some("a"), "b"), "canary-ab").await;
    is_read_back(subject, &global(subject, "b"), "canary-b").await;
    Holds
}

/// The longest name of an organisation that the scheme lets through.
fn longest(subject: &dyn Subject) -> (Name, StoreKey) {
    let scheme = subject.scheme();
    let org = owner(Some(&"o".repeat(63)));
    let name = |length: usize| scheme.name(&"n".repeat(length)).unwrap();
    let most = (1..=scheme.max_len).rev().find(|l| scheme.key(&org, &name(*l)).is_ok()).unwrap();
    (name(most), scheme.key(&org, &name(most)).unwrap())
}

pub async fn the_longest(subject: &dyn Subject) -> Verdict {
    let (_, key) = longest(subject);
    is_read_back(subject, &key, "canary-long").await;
    Holds
}

pub async fn longer_is_refused_before_any_request(subject: &dyn Subject) -> Verdict {
    let (scheme, (name, _)) = (subject.scheme(), longest(subject));
    let longer = scheme.name(&format!("{}n", name.as_str())).unwrap();
    let refused = scheme.key(&owner(Some(&"o".repeat(63))), &longer).unwrap_err();
    assert!(refused.to_string().contains(&scheme.max_len.to_string()), "{refused}");
    Holds
}

pub async fn digits_and_dashes(subject: &dyn Subject) -> Verdict {
    for name in ["0", "1-2-3", "a1-b2", "x-0"] {
        is_read_back(subject, &acme(subject, name), &format!("canary-{name}")).await;
    }
    Holds
}

pub async fn organisations_that_begin_alike(subject: &dyn Subject) -> Verdict {
    let keys = [("a", "b-c"), ("a-b", "c"), ("a-b-c", "c")].map(|(org, name)| key(subject, Some(org), name));
    for (at, key) in keys.iter().enumerate() {
        subject.plant(key, &single(format!("canary-{at}"))).await;
    }
    let store = subject.store(Who::Reader);
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(read(&*store, key).await, format!("canary-{at}").as_bytes());
    }
    let prefix = subject.scheme().scope_prefix(&owner(Some("a")));
    assert_eq!(store.list(&prefix).await.unwrap(), [keys[0].clone()]);
    Holds
}

pub async fn the_same_name_in_both_scopes(subject: &dyn Subject) -> Verdict {
    is_read_back(subject, &global(subject, "shared"), "canary-global").await;
    assert_eq!(subject.store(Who::Reader).get(&acme(subject, "shared"), None).await, Ok(None));
    is_read_back(subject, &acme(subject, "shared"), "canary-acme").await;
    assert_eq!(read(&*subject.store(Who::Reader), &global(subject, "shared")).await, b"canary-global");
    Holds
}

pub async fn names_that_differ_in_case(subject: &dyn Subject) -> Verdict {
    let store = subject.store(Who::Reader);
    let key = acme(subject, "token");
    is_read_back(subject, &key, "canary-lower").await;
    let other: String = key
        .as_str()
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let found = store.get(&StoreKey::verbatim(other), None).await;
    if store.features().ignores_case {
        assert!(matches!(found, Ok(Some(_))), "{found:?}");
        assert_ne!(subject.scheme().style, NameStyle::Verbatim);
        return CannotBe("names have no case");
    }
    // Not there, or a name that cannot be there.
    assert!(!matches!(found, Ok(Some(_))), "{found:?}");
    Holds
}

pub async fn folders(subject: &dyn Subject) -> Verdict {
    if !subject.scheme().folders {
        assert!(subject.scheme().name("team/db").is_err());
        return CannotBe("has no folders");
    }
    is_read_back(subject, &acme(subject, "team/db"), "canary-team").await;
    is_read_back(subject, &acme(subject, "team/sub/db"), "canary-sub").await;
    is_read_back(subject, &acme(subject, "db"), "canary-db").await;
    assert_eq!(subject.store(Who::Reader).get(&acme(subject, "other/db"), None).await, Ok(None));
    Holds
}

pub async fn tricks_reach_no_other_key(subject: &dyn Subject) -> Verdict {
    let (victim, store) = (key(subject, Some("victim"), "password"), subject.store(Who::Reader));
    subject.plant(&victim, &single("canary-victim")).await;
    let (spelled, own) = (victim.as_str(), acme(subject, "x"));
    let prefix = subject.scheme().scope_prefix(&owner(Some("acme")));
    let tricks = [
        format!("{prefix}../{spelled}"),
        format!("{prefix}..%2f{spelled}"),
        format!("{prefix}/../{spelled}"),
        format!("{spelled}?version=1"),
        format!("{spelled}#"),
        format!("{spelled}/"),
        format!("/{spelled}"),
        format!("./{spelled}"),
        format!("{spelled}%00"),
        format!("{spelled}\0"),
        format!("{spelled} "),
        format!("{}&secretPath=/", own.as_str()),
        String::new(),
        "..".to_owned(),
        ".".to_owned(),
    ];
    for trick in tricks {
        let found = store.get(&StoreKey::verbatim(trick.clone()), None).await;
        assert!(!matches!(found, Ok(Some(_))), "{trick:?} reads another key");
    }
    assert_eq!(read(&*store, &victim).await, b"canary-victim");
    Holds
}
