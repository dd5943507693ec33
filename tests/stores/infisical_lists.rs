//! How many requests it takes to see what has changed, and what there is.

use std::collections::BTreeSet;

use secretref::naming::StoreKey;

use crate::{
    env::key,
    fakes::infisical::{FakeInfisical, RELEASES, Role},
    infisical_env::store,
};

#[tokio::test]
async fn changes_take_one_list_for_each_folder() {
    for release in RELEASES {
        let fake = FakeInfisical::start(release).await;
        let mut keys = Vec::new();
        for scope in ["acme", "globex", "GLOBAL"] {
            for n in 0..20 {
                fake.put(&format!("/{scope}"), &format!("K{n}"), &format!("canary-{scope}-{n}"));
                keys.push(key(&format!("{scope}/K{n}")));
            }
        }
        keys.extend(["acme/MISSING", "initech/K1", "initech/K2"].map(key));
        let store = store(&fake, &fake.identity(Role::Viewer));
        let before = store.changes(&keys).await.unwrap().unwrap();
        assert_eq!((before.len(), fake.asked("v3 list") + fake.asked("v4 list")), (60, 4), "{release:?}");
        assert_eq!(fake.asked("v3 get") + fake.asked("v4 get"), 0);
        assert_eq!(store.changes(&keys).await.unwrap().unwrap(), before, "nothing has changed");

        fake.put("/acme", "K7", "canary-other");
        fake.put("/globex", "K7", "canary-globex-7");
        fake.remove("/GLOBAL", "K7");
        fake.put("/initech", "K1", "canary-new");
        let after = store.changes(&keys).await.unwrap().unwrap();
        let changed: BTreeSet<&StoreKey> = keys.iter().filter(|k| before.get(k) != after.get(k)).collect();
        let expected = ["GLOBAL/K7", "acme/K7", "initech/K1"].map(key);
        assert_eq!(changed, expected.iter().collect(), "written again with its old value is not changed");

        for name in ["acme/K7", "initech/K1", "globex/K7"].map(key) {
            let read = store.get(&name, None).await.unwrap().unwrap();
            assert!(read.token.is_still(&after[&name]), "{name}: a read and a list say the same");
        }
    }
}

#[tokio::test]
async fn where_a_list_saves_nothing_there_is_none() {
    let fake = FakeInfisical::start(RELEASES[1]).await;
    let store = store(&fake, &fake.identity(Role::Viewer));
    assert!(!store.lists_changes(0) && !store.lists_changes(1) && store.lists_changes(2));
    assert_eq!(store.changes(&["acme/A", "globex/A"].map(key)).await.unwrap(), None);
    assert_eq!(store.changes(&[key("acme/A")]).await.unwrap(), None);
    assert!(fake.take_asked().is_empty(), "nothing was asked");
}

#[tokio::test]
async fn names_take_one_request_and_more_only_with_imports() {
    for release in RELEASES {
        let fake = FakeInfisical::start(release).await;
        for folder in ["/acme", "/acme/sub", "/acme/sub/deep"] {
            fake.put(folder, "A", "canary-1");
        }
        let store = store(&fake, &fake.identity(Role::Viewer));
        assert_eq!(store.list("acme/").await.unwrap().len(), 3);
        let lists = || fake.asked("v3 list") + fake.asked("v4 list");
        assert_eq!((lists(), fake.asked("v1 folders") + fake.asked("v2 folders")), (1, 0));

        fake.put("/shared", "B", "canary-2");
        fake.import("/acme/sub", "dev", "/shared");
        let mut names = store.list("acme/").await.unwrap();
        names.sort();
        assert_eq!(names, ["acme/A", "acme/sub/A", "acme/sub/B", "acme/sub/deep/A"].map(key));
        assert_eq!((lists(), fake.asked("v1 folders") + fake.asked("v2 folders")), (5, 3));
        let mut names = store.list("acme/sub/").await.unwrap();
        names.sort();
        assert_eq!(names, ["acme/sub/A", "acme/sub/B", "acme/sub/deep/A"].map(key));
    }
}

#[tokio::test]
async fn a_probe_reads_no_value() {
    for release in RELEASES {
        let fake = FakeInfisical::start(release).await;
        fake.put("/GLOBAL", "A", "canary-1");
        let store = store(&fake, &fake.identity(Role::Viewer));
        for _ in 0..3 {
            store.probe().await.unwrap();
        }
        let asked = fake.take_asked();
        let count = |part: &str| asked.iter().filter(|one| one.contains(part)).count();
        assert_eq!((count("status"), count("login"), count("folders"), count("SECRETREF_PROBE")), (3, 1, 3, 3));
        assert_eq!(asked.len(), 11, "{asked:?}");
    }
}
