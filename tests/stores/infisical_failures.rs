//! What is certain, what is not, and what the user is told to do.

use std::{sync::Arc, time::Duration};

use secretref::{
    naming::StoreKey,
    stores::{ChangeToken, Failure, Store},
};

use crate::{
    env::{error, key},
    fakes::{
        infisical::{FakeInfisical, Fault, PROJECT, RELEASES, Release, Role},
        tls::Line,
    },
    infisical_env::{store, store_with, value},
};

async fn fake(release: Release) -> FakeInfisical {
    let fake = FakeInfisical::start(release).await;
    fake.put("/acme", "A", "canary-1");
    fake.put("/GLOBAL", "A", "canary-2");
    fake
}

#[tokio::test]
async fn an_org_without_a_folder_is_certain_and_costs_one_look() {
    for release in RELEASES {
        let fake = fake(release).await;
        let store = store(&fake, &fake.identity(Role::Viewer));
        for name in ["globex/A", "globex/B", "initech/A", "acme/sub/A", "globex/A"] {
            assert_eq!(store.get(&key(name), None).await.unwrap(), None, "{name}");
        }
        assert_eq!(fake.asked(if release == Release::Current { "v2 folders" } else { "v1 folders" }), 1);
        fake.put("/globex", "A", "canary-3");
        assert_eq!(value(store.get(&key("globex/A"), None).await.unwrap()), "canary-3");
        fake.remove("/globex", "A");
        assert_eq!(store.get(&key("globex/A"), None).await.unwrap(), None, "deleted");
        fake.remove_folder("/globex");
        assert_eq!(store.get(&key("globex/A"), None).await.unwrap(), None, "deleted with its folder");
    }
}

/// Everything that asks the store for something.
async fn all_fail(store: &Arc<dyn Store>, failure: Failure, part: &str) {
    error(store.get(&key("acme/NOT_THERE"), None).await, failure, part);
    error(store.get(&key("globex/A"), None).await, failure, part);
    error(store.metadata(&key("acme/NOT_THERE")).await, failure, part);
    error(store.list("globex/").await, failure, part);
    error(store.probe().await, failure, part);
    error(store.delete(&key("globex/A")).await, failure, part);
}

#[tokio::test]
async fn a_place_that_is_not_there_is_no_missing_secret() {
    for release in RELEASES {
        let fake = fake(release).await;
        let admin = fake.identity(Role::Admin);
        let environment = store_with(&fake, &admin, |s| s.environment = "nope".into());
        all_fail(&environment, Failure::Misconfigured, "environment").await;
        let root = store_with(&fake, &admin, |s| s.root_path = Some("/nope".into()));
        all_fail(&root, Failure::Misconfigured, "rootPath").await;
        let deep = store_with(&fake, &admin, |s| s.root_path = Some("/acme/nope".into()));
        all_fail(&deep, Failure::Misconfigured, "rootPath").await;
        let project = store_with(&fake, &admin, |s| s.project_id = PROJECT.replace('a', "b"));
        all_fail(&project, Failure::Misconfigured, "projectId").await;
        let outsider = store(&fake, &fake.identity(Role::Outsider));
        all_fail(&outsider, Failure::Denied, "not a member of the project").await;

        // The same with no folder at all, so that the list of folders is empty anyway.
        let bare = FakeInfisical::start(release).await;
        let admin = bare.identity(Role::Admin);
        all_fail(&store_with(&bare, &admin, |s| s.environment = "nope".into()), Failure::Misconfigured, "environment")
            .await;
        let good = store(&bare, &admin);
        assert_eq!(good.get(&key("acme/A"), None).await.unwrap(), None);
        assert_eq!(good.get(&key("A"), None).await.unwrap(), None);
        assert!(good.list("").await.unwrap().is_empty());
        assert!(good.probe().await.unwrap().get);
    }
}

#[tokio::test]
async fn a_place_that_goes_in_the_middle_of_a_session() {
    for release in RELEASES {
        let fake = fake(release).await;
        fake.put("/platform/acme", "A", "canary-3");
        let store = store_with(&fake, &fake.identity(Role::Viewer), |s| s.root_path = Some("/platform".into()));
        assert_eq!(value(store.get(&key("acme/A"), None).await.unwrap()), "canary-3");
        assert_eq!(store.get(&key("globex/A"), None).await.unwrap(), None);
        fake.remove_folder("/platform");
        error(store.probe().await, Failure::Misconfigured, "rootPath");
        error(store.get(&key("acme/A"), None).await, Failure::Misconfigured, "rootPath");
        fake.make_folder("/platform");
        assert_eq!(store.get(&key("acme/A"), None).await.unwrap(), None);
        fake.remove_environment("dev");
        error(store.probe().await, Failure::Misconfigured, "environment");
        error(store.get(&key("acme/A"), None).await, Failure::Misconfigured, "environment");
    }
}

#[tokio::test]
async fn rights_on_some_folders_only() {
    for release in RELEASES {
        let fake = fake(release).await;
        fake.put("/globex", "A", "canary-3");
        let store = store(&fake, &fake.identity(Role::In(vec!["/acme", "/GLOBAL"])));
        assert_eq!(value(store.get(&key("acme/A"), None).await.unwrap()), "canary-1");
        let denied =
            error(store.get(&key("globex/A"), None).await, Failure::Denied, "environment dev, path /globex/**");
        assert!(denied.to_string().contains("Secrets: Describe and Read Value"), "{denied}");
        error(store.get(&key("globex/NONE"), None).await, Failure::Denied, "path /globex/**");
        assert!(store.probe().await.unwrap().get, "GLOBAL is enough");
        assert_eq!(store.get(&key("acme/sub/A"), None).await.unwrap(), None, "certain without a right at the root");

        let nowhere = self::store(&fake, &fake.identity(Role::In(vec!["/elsewhere"])));
        error(nowhere.probe().await, Failure::Denied, "path /");
        // With the right it works at once.
        let late = fake.identity(Role::In(vec!["/elsewhere"]));
        let store = self::store(&fake, &late);
        error(store.get(&key("acme/A"), None).await, Failure::Denied, "path /acme/**");
        fake.assign(&late, Role::Viewer);
        assert_eq!(value(store.get(&key("acme/A"), None).await.unwrap()), "canary-1");
        assert_eq!(store.logins(), 1, "a denial is not about the login");
    }
}

#[tokio::test]
async fn names_without_values() {
    let fake = fake(Release::Current).await;
    let store = store(&fake, &fake.identity(Role::DescribeOnly));
    error(store.get(&key("acme/A"), None).await, Failure::Denied, "Read Value");
    assert_eq!(store.get(&key("acme/NONE"), None).await.unwrap(), None);
    assert_eq!(store.list("acme/").await.unwrap(), [key("acme/A")]);
    assert_eq!(store.metadata(&key("acme/A")).await.unwrap().unwrap().version.as_deref(), Some("1"));
    fake.put("/acme", "B", "canary-3");
    let changes = store.changes(&[key("acme/A"), key("acme/B")]).await.unwrap().unwrap();
    // A placeholder's mark would hide every change: they have to be read.
    assert!(changes.len() == 2 && changes.values().all(ChangeToken::is_young), "{changes:?}");
}

#[tokio::test]
async fn references_that_may_not_be_followed() {
    let fake = fake(Release::Current).await;
    fake.put("/globex", "KEY", "canary-3");
    fake.put("/acme", "REF", "${dev.globex.KEY}");
    let store = store(&fake, &fake.identity(Role::In(vec!["/acme", "/GLOBAL"])));
    error(store.get(&key("acme/REF"), None).await, Failure::Denied, "refers to a secret");
    fake.put("/GLOBAL", "B", "canary-4");
    let keys = ["acme/A", "acme/REF", "GLOBAL/A", "GLOBAL/B"].map(key);
    let changes = store.changes(&keys).await.unwrap().unwrap();
    let (mut unknown, mut known): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, mark)| mark.is_young());
    unknown.sort_by(|a, b| a.0.cmp(&b.0));
    known.sort_by(|a, b| a.0.cmp(&b.0));
    let names = |marks: Vec<(StoreKey, ChangeToken)>| marks.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(names(known), ["GLOBAL/A", "GLOBAL/B"].map(key), "the other folder is not spoilt");
    assert_eq!(names(unknown), ["acme/A", "acme/REF"].map(key), "what the list hides has to be read");
    assert_eq!(value(store.get(&key("acme/A"), None).await.unwrap()), "canary-1");
}

#[tokio::test]
async fn pinned_versions() {
    for release in RELEASES {
        let fake = fake(release).await;
        fake.put("/acme", "A", "canary-second");
        let store = store(&fake, &fake.identity(Role::Viewer));
        let pinned = async |version: &str| store.get(&key("acme/A"), Some(version)).await;
        assert_eq!(value(pinned("2").await.unwrap()), "canary-second");
        if release == Release::Current {
            assert_eq!(value(pinned("1").await.unwrap()), "canary-1");
            assert_eq!(pinned("9").await.unwrap(), None, "there never was one");
        } else {
            error(pinned("1").await, Failure::Misconfigured, "the latest version only, which is 2");
            error(pinned("9").await, Failure::Misconfigured, "remove secretRef.version");
        }
        for version in ["0", "-1", "latest", "1.5", "", "99999999999"] {
            error(pinned(version).await, Failure::Misconfigured, "whole number");
        }
        fake.remove("/acme", "A");
        for version in ["1", "2"] {
            assert_eq!(pinned(version).await.unwrap(), None, "a deleted secret is not there, whatever is asked for");
        }
        // What is imported has one version.
        fake.import("/acme", "staging", "/");
        fake.put_in("staging", "/", "IMPORTED", "canary-5");
        let imported = async |version: &str| store.get(&key("acme/IMPORTED"), Some(version)).await;
        assert_eq!(value(imported("1").await.unwrap()), "canary-5");
        error(imported("2").await, Failure::Misconfigured, "the latest version only");
    }
}

#[tokio::test]
async fn keys_that_no_secret_has_are_not_asked_for() {
    let fake = fake(Release::Current).await;
    let store = store(&fake, &fake.identity(Role::Admin));
    for name in ["", "/A", "acme/", "acme//A", "acme/../GLOBAL/A", "..", "a b/A", "acme/A?x=1", "acme/A%2e", "acmé/A"]
    {
        error(store.get(&key(name), None).await, Failure::Misconfigured, "no Infisical secret is called so");
        error(store.delete(&key(name)).await, Failure::Misconfigured, "no Infisical secret is called so");
    }
    for prefix in ["acme/../", "a b/", "//"] {
        error(store.list(prefix).await, Failure::Misconfigured, "no folder is called so");
    }
    assert!(fake.take_asked().is_empty());
}

#[tokio::test]
async fn answers_that_are_none() {
    for release in RELEASES {
        let fake = fake(release).await;
        let store = store(&fake, &fake.identity(Role::Viewer));
        assert!(store.get(&key("acme/A"), None).await.unwrap().is_some());
        for (fault, failure, part) in [
            (Fault::Status(500), Failure::Unavailable, "look into its log"),
            (Fault::Status(503), Failure::Unavailable, "look into its log"),
            (Fault::Page(502), Failure::Unavailable, "look into its log"),
            (Fault::Page(200), Failure::Misconfigured, "hostUrl"),
            (Fault::Page(404), Failure::Misconfigured, "hostUrl"),
            (Fault::Page(401), Failure::Denied, "in front of the server"),
            (Fault::Page(403), Failure::Denied, "in front of the server"),
            (Fault::Page(302), Failure::Misconfigured, "redirects"),
        ] {
            fake.fault(Some(fault));
            error(store.get(&key("acme/A"), None).await, failure, part);
            error(store.get(&key("globex/A"), None).await, failure, part);
            error(store.list("acme/").await, failure, part);
            error(store.probe().await, failure, part);
            error(store.changes(&["acme/A", "acme/B"].map(key)).await, failure, part);
        }
        fake.fault(None);
        fake.served.line(Line::Breaks);
        error(store.get(&key("acme/A"), None).await, Failure::Unavailable, "the connection broke");
        error(store.changes(&["acme/A", "acme/B"].map(key)).await, Failure::Unavailable, "the connection broke");
        fake.served.line(Line::Good);
        assert!(store.get(&key("acme/A"), None).await.unwrap().is_some());
        assert_eq!(store.logins(), 1);
    }
}

#[tokio::test]
async fn a_request_that_hangs_holds_up_nobody_else() {
    let fake = fake(Release::Current).await;
    let store = store(&fake, &fake.identity(Role::Viewer));
    assert!(store.get(&key("acme/A"), None).await.unwrap().is_some());
    let before = fake.served.requests();
    fake.served.line(Line::Hangs);
    let hanging = tokio::spawn({
        let store = store.clone();
        async move { store.get(&key("acme/A"), None).await }
    });
    crate::env::eventually("it hangs", async || fake.served.requests() > before).await;
    fake.served.line(Line::Good);
    assert_eq!(value(store.get(&key("GLOBAL/A"), None).await.unwrap()), "canary-2");
    assert!(store.probe().await.unwrap().get);
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test]
async fn the_rate_limit_is_told_with_its_time() {
    for release in RELEASES {
        let fake = fake(release).await;
        fake.limit(40);
        let store = store(&fake, &fake.identity(Role::Viewer));
        for _ in 0..40 {
            assert!(store.get(&key("acme/A"), None).await.unwrap().is_some());
        }
        let limited = store.get(&key("acme/A"), None).await.unwrap_err();
        let Failure::RateLimited(Some(wait)) = limited.failure else { panic!("{limited:?}") };
        assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(60), "{wait:?}");
        error::<()>(Err(limited.clone()), limited.failure, "limits.requestsPerSecond");
        let changes = store.changes(&["acme/A", "acme/B"].map(key)).await.unwrap().unwrap();
        assert_eq!(changes.len(), 1, "lists are counted by themselves");
        assert_eq!(store.logins(), 1);
    }
}

#[tokio::test]
async fn an_outage_and_its_end() {
    let fake = fake(Release::Current).await;
    let store = store(&fake, &fake.identity(Role::Viewer));
    assert!(store.get(&key("acme/A"), None).await.unwrap().is_some());
    fake.served.stop().await;
    error(store.get(&key("acme/A"), None).await, Failure::Unavailable, "check");
    error(store.probe().await, Failure::Unavailable, "cannot be reached");
    fake.served.start();
    assert!(store.get(&key("acme/A"), None).await.unwrap().is_some());
    assert!(store.probe().await.unwrap().get);
    assert_eq!(store.logins(), 1, "the token has outlived it");

    let strange = store_with(&fake, &fake.identity(Role::Viewer), |s| {
        s.ca_bundle = Some(rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap().cert.pem());
    });
    assert!(strange.get(&key("acme/A"), None).await.unwrap().is_some(), "caRef comes before caBundle");
}
