//! Writes that are not made, and why.

use secretref::{
    secret::SecretValue,
    stores::{Failure, Payload, Property, When, Write, Written},
};

use crate::{
    env::{error, key},
    fakes::infisical::{FakeInfisical, RELEASES, Release, Role},
    infisical_env::{store, store_with},
};

fn single(value: &str) -> Write {
    let payload = Payload::Single(SecretValue::from(value.to_owned()));
    Write { payload, when: When::Always, content_type: None, tags: None }
}

#[tokio::test]
async fn what_would_not_read_back_is_not_sent() {
    let fake = FakeInfisical::start(Release::Current).await;
    let store = store(&fake, &fake.identity(Role::Admin));
    for (value, part) in [
        (" canary-1", "white space"),
        ("canary-1 \n", "white space"),
        ("canary-1\n\n", "white space"),
        ("postgres://${DB_PASSWORD}@canary", "${...}"),
    ] {
        error(store.set(&key("acme/A"), &single(value)).await, Failure::Misconfigured, part);
    }
    let binary = Write { payload: Payload::Single(SecretValue::new(b"canary-\xff".to_vec())), ..single("") };
    error(store.set(&key("acme/A"), &binary).await, Failure::Misconfigured, "Base64");
    let tagged = Write { tags: Some([("team".to_owned(), "x".to_owned())].into()), ..single("canary-1") };
    error(store.set(&key("acme/A"), &tagged).await, Failure::Misconfigured, "tags");
    let typed = Write { content_type: Some("text/plain".into()), ..single("canary-1") };
    error(store.set(&key("acme/A"), &typed).await, Failure::Misconfigured, "content type");
    assert!(fake.take_asked().is_empty());
}

#[tokio::test]
async fn a_map_is_kept_as_json() {
    let fake = FakeInfisical::start(Release::October2024).await;
    let store = store(&fake, &fake.identity(Role::Admin));
    let text = |text: &str| Property::Text(SecretValue::from(text.to_owned()));
    let map = [
        ("user".to_owned(), text("canary-\"é")),
        ("port".to_owned(), Property::Json(SecretValue::from("5432".to_owned()))),
    ];
    store.set(&key("acme/DB"), &Write { payload: Payload::Map(map.into()), ..single("") }).await.unwrap();
    assert_eq!(fake.stored("/acme", "DB").unwrap(), r#"{"port":5432,"user":"canary-\"é"}"#);
}

#[tokio::test]
async fn writes_that_are_denied_name_the_right_and_change_nothing() {
    for release in RELEASES {
        let fake = FakeInfisical::start(release).await;
        fake.put("/acme", "A", "canary-1");
        let store = store(&fake, &fake.identity(Role::Viewer));
        error(
            store.set(&key("acme/A"), &single("canary-2")).await,
            Failure::Denied,
            "Secrets: Edit on environment dev, path /acme/**",
        );
        let absent = Write { when: When::Absent, ..single("canary-2") };
        error(store.set(&key("acme/B"), &absent).await, Failure::Denied, "Secrets: Create on");
        error(store.delete(&key("acme/A")).await, Failure::Denied, "Secrets: Delete");
        assert!(store.set(&key("globex/A"), &single("canary-2")).await.is_err());
        assert_eq!((fake.stored("/acme", "A").as_deref(), fake.stored("/acme", "B")), (Some("canary-1"), None));
        assert_eq!(store.get(&key("globex/A"), None).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_change_that_waits_for_approval_is_none() {
    let fake = FakeInfisical::start(Release::Current).await;
    fake.put("/acme", "A", "canary-1");
    let store = store(&fake, &fake.identity(Role::Admin));
    fake.require_approvals();
    error(store.set(&key("acme/A"), &single("canary-2")).await, Failure::Denied, "approval policy");
    error(store.set(&key("acme/B"), &single("canary-2")).await, Failure::Denied, "take folder /acme out of the policy");
    error(store.delete(&key("acme/A")).await, Failure::Denied, "approve it");
    assert_eq!(fake.stored("/acme", "A").as_deref(), Some("canary-1"));
}

#[tokio::test]
async fn folders_are_made_below_the_root_and_never_the_root_itself() {
    for release in RELEASES {
        let fake = FakeInfisical::start(release).await;
        let admin = fake.identity(Role::Admin);
        let lost = store_with(&fake, &admin, |s| s.root_path = Some("/platfrom".into()));
        error(lost.set(&key("acme/A"), &single("canary-1")).await, Failure::Misconfigured, "rootPath");
        error(lost.set(&key("acme--A"), &single("canary-1")).await, Failure::Misconfigured, "rootPath");
        assert_eq!(fake.asked("v1 make folder") + fake.asked("v2 make folder"), 0);

        fake.make_folder("/platform");
        let store = store_with(&fake, &admin, |s| s.root_path = Some("/platform".into()));
        for name in ["acme/sub/deep/A", "acme--A", "acme/B"] {
            assert_eq!(store.set(&key(name), &single("canary-1")).await.unwrap(), Written::Version("1".into()));
        }
        assert_eq!(fake.asked("v1 make folder") + fake.asked("v2 make folder"), 1);
        assert_eq!(fake.stored("/platform/acme/sub/deep", "A").as_deref(), Some("canary-1"));
        assert_eq!(fake.stored("/platform", "acme--A").as_deref(), Some("canary-1"));
    }
}

#[tokio::test]
async fn an_imported_secret_is_covered_not_changed() {
    for release in RELEASES {
        let fake = FakeInfisical::start(release).await;
        fake.put("/shared", "A", "canary-shared");
        fake.make_folder("/acme");
        fake.import("/acme", "dev", "/shared");
        let store = store(&fake, &fake.identity(Role::Admin));
        assert!(!store.delete(&key("acme/A")).await.unwrap(), "it is not the folder's own");
        let pinned = Write { when: When::Version("1".into()), ..single("canary-own") };
        assert_eq!(store.set(&key("acme/A"), &pinned).await.unwrap(), Written::Conflict);
        store.set(&key("acme/A"), &single("canary-own")).await.unwrap();
        assert_eq!(fake.stored("/acme", "A").as_deref(), Some("canary-own"));
        assert_eq!(fake.stored("/shared", "A").as_deref(), Some("canary-shared"));
    }
}

#[tokio::test]
async fn a_server_with_newer_secrets_and_older_folders() {
    let fake = FakeInfisical::start(Release::Current).await;
    fake.have_old_folders();
    let store = store(&fake, &fake.identity(Role::Admin));
    assert!(store.probe().await.unwrap().get);
    assert_eq!(store.get(&key("acme/A"), None).await.unwrap(), None);
    assert_eq!(store.set(&key("acme/A"), &single("canary-1")).await.unwrap(), Written::Version("1".into()));
    assert_eq!((fake.asked("v2"), fake.asked("v1 make folder"), fake.asked("v3")), (0, 1, 0));
}
