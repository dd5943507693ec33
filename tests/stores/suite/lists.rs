//! What names there are.

use secretref::{naming::StoreKey, stores::Failure};

use super::{CannotBe, Holds, Subject, Verdict, Who, acme, always, global, key, owner, read, single};
use crate::env::error;

fn sorted(mut keys: Vec<StoreKey>) -> Vec<StoreKey> {
    keys.sort();
    keys
}

fn prefix(subject: &dyn Subject, org: Option<&str>, name: &str) -> String {
    subject.scheme().prefix(&owner(org), name)
}

async fn plant(subject: &dyn Subject, keys: &[StoreKey]) {
    for key in keys {
        subject.plant(key, &single("canary-1")).await;
    }
}

pub async fn of_an_organisation(subject: &dyn Subject) -> Verdict {
    let ours = sorted(vec![acme(subject, "a"), acme(subject, "b")]);
    plant(subject, &ours).await;
    plant(subject, &[key(subject, Some("acme2"), "a"), key(subject, Some("acm"), "e"), global(subject, "a")]).await;
    let listed = subject.store(Who::Reader).list(&prefix(subject, Some("acme"), "")).await.unwrap();
    assert_eq!(sorted(listed), ours);
    Holds
}

pub async fn of_the_platform(subject: &dyn Subject) -> Verdict {
    let shared = sorted(vec![global(subject, "a"), global(subject, "b")]);
    plant(subject, &shared).await;
    plant(subject, &[acme(subject, "a")]).await;
    let listed = subject.store(Who::Reader).list(&prefix(subject, None, "")).await.unwrap();
    assert_eq!(sorted(listed), shared);
    Holds
}

pub async fn by_prefix(subject: &dyn Subject) -> Verdict {
    let wanted = sorted(vec![acme(subject, "db-a"), acme(subject, "db-b")]);
    plant(subject, &wanted).await;
    plant(subject, &[acme(subject, "dc"), acme(subject, "x-db")]).await;
    let listed = subject.store(Who::Reader).list(&prefix(subject, Some("acme"), "db-")).await.unwrap();
    assert_eq!(sorted(listed), wanted);
    Holds
}

pub async fn of_nothing(subject: &dyn Subject) -> Verdict {
    let store = subject.store(Who::Reader);
    assert_eq!(store.list(&prefix(subject, Some("acme"), "")).await, Ok(vec![]));
    plant(subject, &[global(subject, "a")]).await;
    assert_eq!(store.list(&prefix(subject, Some("acme"), "")).await, Ok(vec![]));
    Holds
}

/// More than a page of any of them.
pub async fn of_many(subject: &dyn Subject) -> Verdict {
    let keys: Vec<StoreKey> = (0..130).map(|n| acme(subject, &format!("many-{n:03}"))).collect();
    plant(subject, &keys).await;
    let listed = subject.store(Who::Reader).list(&prefix(subject, Some("acme"), "many-")).await.unwrap();
    assert_eq!(sorted(listed), sorted(keys));
    Holds
}

pub async fn read_back_as_names(subject: &dyn Subject) -> Verdict {
    let scheme = subject.scheme();
    let names = ["db-password", "x", "a-1"];
    plant(subject, &names.map(|name| acme(subject, name))).await;
    let org = owner(Some("acme"));
    let listed = subject.store(Who::Reader).list(&scheme.scope_prefix(&org)).await.unwrap();
    let mut found: Vec<String> =
        listed.iter().map(|k| scheme.parse(&org, k.as_str()).unwrap().as_str().to_owned()).collect();
    found.sort();
    assert_eq!(found, ["a-1", "db-password", "x"]);
    Holds
}

pub async fn without_what_was_deleted(subject: &dyn Subject) -> Verdict {
    let (stays, goes) = (acme(subject, "stays"), acme(subject, "goes"));
    plant(subject, &[stays.clone(), goes.clone()]).await;
    subject.withdraw(&goes).await;
    let store = subject.store(Who::Reader);
    let listed = store.list(&prefix(subject, Some("acme"), "")).await.unwrap();
    // A list may show a name whose latest version is deleted: the read decides.
    for key in listed.iter().filter(|key| **key != stays) {
        assert_eq!(store.get(key, None).await, Ok(None), "{key}");
    }
    assert!(listed.contains(&stays));
    Holds
}

pub async fn denied_while_reading_is_allowed(subject: &dyn Subject) -> Verdict {
    let key = acme(subject, "known");
    plant(subject, std::slice::from_ref(&key)).await;
    if !subject.has_identities() {
        return CannotBe("has no rights");
    }
    let store = subject.store(Who::GetOnly);
    assert_eq!(read(&*store, &key).await, b"canary-1");
    assert_eq!(store.get(&acme(subject, "unknown"), None).await, Ok(None), "absence is certain without lists, too");
    let Err(refused) = store.list(&prefix(subject, Some("acme"), "")).await else {
        return CannotBe("has no right to read without the one to list");
    };
    error::<()>(Err(refused), Failure::Denied, "list");
    match store.probe().await {
        Ok(capabilities) => assert!(capabilities.get && !capabilities.list, "{capabilities:?}"),
        refused => {
            error(refused, Failure::Denied, "list");
            return CannotBe("reads so, but needs lists to hear of changes");
        }
    }
    Holds
}

pub async fn while_others_write(subject: &dyn Subject) -> Verdict {
    let keys: Vec<StoreKey> = (0..40).map(|n| acme(subject, &format!("early-{n:02}"))).collect();
    plant(subject, &keys).await;
    let (reader, writer) = (subject.store(Who::Reader), subject.store(Who::Writer));
    let writes = async {
        for n in 0..10 {
            let key = acme(subject, &format!("late-{n}"));
            if writer.features().write {
                writer.set(&key, &always(single("canary-2"))).await.unwrap();
            } else {
                subject.plant(&key, &single("canary-2")).await;
            }
        }
    };
    let lists = async {
        for _ in 0..5 {
            let listed = sorted(reader.list(&prefix(subject, Some("acme"), "")).await.unwrap());
            assert!(listed.windows(2).all(|w| w[0] != w[1]), "twice in one list");
            assert!(keys.iter().all(|key| listed.contains(key)), "what was there all the time is missing");
        }
    };
    tokio::join!(writes, lists);
    Holds
}
