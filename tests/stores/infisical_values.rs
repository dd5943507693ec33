//! Values of an Infisical: how they are found, and that they come out as they were put in. Also against a real one.

use secretref::stores::{Failure, VersionState, When, Write, Written};

use crate::{
    env::{error, key},
    infisical_env::{Lab, value},
};

#[tokio::test]
async fn values_come_as_they_are_stored() {
    for lab in Lab::all("values").await {
        for folder in ["acme", "acme/sub", "GLOBAL"] {
            lab.folder(folder).await;
        }
        for (name, put) in [
            ("acme/DB_PASSWORD", "canary-1"),
            ("GLOBAL/DB_PASSWORD", "canary-2"),
            ("acme/sub/NAME", "canary-3"),
            ("acme--DB_PASSWORD", "canary-4"),
            ("acme/UNICODE", "canary-é漢\u{1f511} \"q\" \\ 'x' $5"),
            ("acme/LINES", "canary-1\ncanary-2\n"),
            ("acme/JSON", r#"{"user":"canary","n":12345678901234567890}"#),
            ("acme/EMPTY", ""),
            ("acme/lower_case", "canary-5"),
        ] {
            lab.put(name, put).await;
            let stored = lab.store.get(&key(name), None).await.unwrap();
            assert_eq!(stored.as_ref().unwrap().version.as_deref(), Some("1"), "{name}");
            assert_eq!(value(stored), put, "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there() {
    for lab in Lab::all("missing").await {
        lab.folder("acme").await;
        lab.put("acme/A", "canary-1").await;
        for name in ["acme/B", "acme/AA", "A", "globex/A", "acme/sub/A", "globex/sub/A", "acme--A"] {
            assert_eq!(lab.store.get(&key(name), None).await.unwrap(), None, "{name}");
            assert_eq!(lab.store.metadata(&key(name)).await.unwrap(), None, "{name}");
        }
    }
}

#[tokio::test]
async fn references_are_followed_and_a_change_behind_one_is_seen() {
    for lab in Lab::all("references").await {
        lab.folder("acme").await;
        lab.folder("shared").await;
        lab.put("acme/HOST", "canary-host").await;
        lab.put("shared/PORT", "5432").await;
        let elsewhere = format!("{}.{}.shared.PORT", lab.environment, &lab.root[1..]);
        lab.put("acme/URL", &format!("postgres://${{HOST}}:${{{elsewhere}}}/db")).await;
        let before = lab.store.get(&key("acme/URL"), None).await.unwrap();
        let again = lab.store.get(&key("acme/URL"), None).await.unwrap();
        assert_eq!(before, again, "nothing has changed");
        assert_eq!(value(before.clone()), "postgres://canary-host:5432/db");

        lab.put("shared/PORT", "6543").await;
        let after = lab.store.get(&key("acme/URL"), None).await.unwrap();
        let (before, token) = (before.unwrap(), after.as_ref().unwrap().token.clone());
        assert_eq!(before.version, after.as_ref().unwrap().version, "its own version is as before");
        assert!(!before.token.is_still(&token));
        let keys = [key("acme/URL"), key("acme/HOST")];
        assert!(lab.store.changes(&keys).await.unwrap().unwrap()[&keys[0]] == token);
        assert_eq!(value(after), "postgres://canary-host:6543/db");
    }
}

#[tokio::test]
async fn imports_are_read_and_listed_alike() {
    for lab in Lab::all("imports").await {
        for folder in ["acme", "one", "two"] {
            lab.folder(folder).await;
        }
        for (name, put) in [
            ("acme/OWN", "canary-own"),
            ("one/OWN", "canary-other"),
            ("one/BOTH", "canary-one"),
            ("two/BOTH", "canary-two"),
            ("one/FIRST", "canary-first"),
        ] {
            lab.put(name, put).await;
        }
        lab.import("acme", "one").await;
        lab.import("acme", "two").await;
        let keys = ["acme/OWN", "acme/BOTH", "acme/FIRST", "acme/NONE"].map(key);
        let changes = lab.store.changes(&keys).await.unwrap().unwrap();
        for (name, expected) in keys.iter().zip(["canary-own", "canary-two", "canary-first"]) {
            let stored = lab.store.get(name, None).await.unwrap();
            assert!(stored.as_ref().unwrap().token.is_still(&changes[name]), "{name}");
            assert_eq!(value(stored), expected, "{name}");
        }
        assert_eq!(changes.len(), 3, "what is not there is not listed");
        let mut listed = lab.store.list("acme/").await.unwrap();
        listed.sort();
        assert_eq!(listed, ["acme/BOTH", "acme/FIRST", "acme/OWN"].map(key));
    }
}

#[tokio::test]
async fn names_are_listed_with_their_folders() {
    for lab in Lab::all("names").await {
        for folder in ["acme", "acme/sub", "acme-two", "GLOBAL"] {
            lab.folder(folder).await;
        }
        for name in ["acme/DB_A", "acme/DB_B", "acme/OTHER", "acme/sub/DB_C", "acme-two/DB_D", "GLOBAL/DB_E", "x--DB_F"]
        {
            lab.put(name, "canary-1").await;
        }
        for (prefix, expected) in [
            ("acme/", &["acme/DB_A", "acme/DB_B", "acme/OTHER", "acme/sub/DB_C"][..]),
            ("acme/DB_", &["acme/DB_A", "acme/DB_B"]),
            ("acme/sub/", &["acme/sub/DB_C"]),
            ("acme/s", &["acme/sub/DB_C"]),
            ("x--", &["x--DB_F"]),
            ("globex/", &[]),
            ("acme/DB_A/", &[]),
        ] {
            let mut listed = lab.store.list(prefix).await.unwrap();
            listed.sort();
            assert_eq!(listed, expected.iter().map(|name| key(name)).collect::<Vec<_>>(), "{prefix}");
        }
        assert_eq!(lab.store.list("").await.unwrap().len(), 7);
    }
}

#[tokio::test]
async fn what_is_written_reads_back() {
    let write = |value: &str, when: When| Write {
        payload: secretref::stores::Payload::Single(secretref::secret::SecretValue::from(value.to_owned())),
        when,
        content_type: None,
        tags: None,
    };
    for lab in Lab::all("writes").await {
        let (store, name) = (&lab.store, key("globex/sub/DB_PASSWORD"));
        let version = |text: &str| Written::Version(text.to_owned());
        assert_eq!(store.set(&name, &write("canary-1\n", When::Absent)).await.unwrap(), version("1"));
        assert_eq!(value(store.get(&name, None).await.unwrap()), "canary-1\n");
        assert_eq!(store.set(&name, &write("canary-2", When::Absent)).await.unwrap(), Written::Conflict);
        assert_eq!(store.set(&name, &write("canary-2 é\n\"$\\", When::Always)).await.unwrap(), version("2"));
        assert_eq!(store.set(&name, &write("canary-3", When::Version("1".into()))).await.unwrap(), Written::Conflict);
        assert_eq!(value(store.get(&name, None).await.unwrap()), "canary-2 é\n\"$\\");
        assert_eq!(store.set(&name, &write("", When::Version("2".into()))).await.unwrap(), version("3"));
        assert_eq!(value(store.get(&name, None).await.unwrap()), "");

        let metadata = store.metadata(&name).await.unwrap().unwrap();
        assert_eq!((metadata.version.as_deref(), metadata.state), (Some("3"), VersionState::Enabled));
        assert!(metadata.created.unwrap() <= metadata.updated.unwrap());

        assert!(store.delete(&name).await.unwrap());
        assert!(!store.delete(&name).await.unwrap(), "it is gone already");
        assert_eq!(store.get(&name, None).await.unwrap(), None);
        assert!(!store.delete(&key("nobody/A")).await.unwrap());
        assert_eq!(store.set(&name, &write("canary-4", When::Version("3".into()))).await.unwrap(), Written::Conflict);
        assert_eq!(store.set(&name, &write("canary-4", When::Always)).await.unwrap(), version("1"));
        let capabilities = store.probe().await.unwrap();
        assert!(capabilities.get && capabilities.list && capabilities.write, "it has written");
    }
}

#[tokio::test]
async fn what_it_cannot_do_it_says() {
    for lab in Lab::all("cannot").await {
        let name = key("acme/A");
        error(lab.store.versions(&name).await, Failure::Misconfigured, "dashboard");
        error(lab.store.restore(&name, "1").await, Failure::Misconfigured, "dashboard");
        let features = lab.store.features();
        assert!(features.write && !features.versions && !features.undelete && !features.binary && !features.exact);
    }
}
