//! Values and versions as they go in and come out: with the fake, or with a real vault when one is named.

use secretref::{
    naming::StoreKey,
    secret::SecretValue,
    stores::{Failure, Payload, Store, VersionState, When, Write, Written},
};

use crate::{
    azure::{Values, store, value, vault},
    env::{error, key},
    fakes::Role,
};

fn write(value: &str) -> Write {
    let payload = Payload::Single(SecretValue::from(value.to_owned()));
    Write { payload, when: When::Always, content_type: None, tags: None }
}

async fn put(store: &dyn Store, key: &StoreKey, value: &str) -> String {
    let Written::Version(version) = store.set(key, &write(value)).await.unwrap() else { panic!("a conflict") };
    version
}

#[tokio::test]
async fn values_come_back_to_the_byte() {
    let values = Values::new().await;
    let long = "canary-".to_owned() + &"ü".repeat(12_796);
    assert_eq!(long.len(), 25_599);
    for (at, text) in [
        "canary-plain",
        " canary- with space \r\n",
        "canary-\"quotes\"\\and\u{1}\u{7f}\u{2028}\u{1f600}</script>",
        r#"{"user":"canary-u","n":12345678901234567890.000}"#,
        &long,
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let key = key(&format!("{}value-{at}", values.prefix));
        let version = put(&*values.store, &key, text).await;
        let read = values.store.get(&key, None).await.unwrap().unwrap();
        assert!(value(&read) == text, "value {at} came back as another");
        assert_eq!(read.version.as_deref(), Some(&*version));
        assert_eq!(read.warning, None);
        values.store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_before_anything_is_written() {
    let values = Values::new().await;
    let key = key(&format!("{}refused", values.prefix));
    let long = write(&("canary-".to_owned() + &"x".repeat(25_594)));
    error(values.store.set(&key, &long).await, Failure::Misconfigured, "25,600 bytes");
    let binary = Write { payload: Payload::Single(SecretValue::new(b"canary-\xff".to_vec())), ..write("") };
    error(values.store.set(&key, &binary).await, Failure::Misconfigured, "decode: Base64");
    assert_eq!(values.store.get(&key, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_map_is_written_as_compact_json() {
    let values = Values::new().await;
    let key = key(&format!("{}map", values.prefix));
    let map = [
        ("port".to_owned(), crate::env::json_property("5432")),
        ("us\"er".to_owned(), crate::env::text("canary-\\ \n")),
        ("nothing".to_owned(), secretref::stores::Property::Null),
    ];
    let map = Write { payload: Payload::Map(map.into()), ..write("") };
    values.store.set(&key, &map).await.unwrap();
    let read = values.store.get(&key, None).await.unwrap().unwrap();
    assert_eq!(value(&read), r#"{"nothing":null,"port":5432,"us\"er":"canary-\\ \n"}"#);
    values.store.delete(&key).await.unwrap();
}

#[tokio::test]
async fn every_version_can_be_read_and_the_latest_is_the_last_written() {
    let values = Values::new().await;
    let (store, key) = (&*values.store, key(&format!("{}versions", values.prefix)));
    assert_eq!(store.get(&key, None).await.unwrap(), None);
    assert_eq!(store.versions(&key).await.unwrap(), []);
    assert_eq!(store.metadata(&key).await.unwrap(), None);
    let first = put(store, &key, "canary-1").await;
    // The vault tells times in seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let second = put(store, &key, "canary-2").await;
    let latest = store.get(&key, None).await.unwrap().unwrap();
    assert_eq!((value(&latest), latest.version.as_deref()), ("canary-2", Some(&*second)));
    let pinned = store.get(&key, Some(&first)).await.unwrap().unwrap();
    assert_eq!((value(&pinned), pinned.version.as_deref()), ("canary-1", Some(&*first)));
    assert_ne!(pinned.token, latest.token);
    let versions: Vec<_> = store.versions(&key).await.unwrap().into_iter().map(|v| v.version.unwrap()).collect();
    assert_eq!(versions, [second.clone(), first.clone()]);
    let metadata = store.metadata(&key).await.unwrap().unwrap();
    assert_eq!((metadata.version, metadata.state), (Some(second.clone()), VersionState::Enabled));

    // A version that never was is as certainly not there as a key that never was.
    assert_eq!(store.get(&key, Some(&"0".repeat(32))).await.unwrap(), None);
    for wrong in ["", "1", "latest", "../../keys/x", &"g".repeat(32), &"0".repeat(33)] {
        error(store.get(&key, Some(wrong)).await, Failure::Misconfigured, "correct secretRef.version");
    }

    // Deleted, it is not there; what is known of it says that it can be restored.
    assert!(store.delete(&key).await.unwrap());
    assert!(!store.delete(&key).await.unwrap());
    assert_eq!(store.get(&key, None).await.unwrap(), None);
    assert_eq!(store.get(&key, Some(&first)).await.unwrap(), None);
}

#[tokio::test]
async fn names_are_compared_without_case_and_listed_as_they_were_written() {
    let values = Values::new().await;
    let (store, upper) = (&*values.store, values.prefix.to_uppercase());
    put(store, &key(&format!("{}Mixed-Case", values.prefix)), "canary-1").await;
    let read = store.get(&key(&format!("{upper}MIXED-case")), None).await.unwrap().unwrap();
    assert_eq!(value(&read), "canary-1");
    let listed = store.list(&upper).await.unwrap();
    assert_eq!(listed, [key(&format!("{}Mixed-Case", values.prefix))]);
    assert_eq!(store.list(&format!("{}other", values.prefix)).await.unwrap(), []);
    assert!(store.features().ignores_case);
    store.delete(&key(&format!("{}mixed-case", values.prefix))).await.unwrap();
}

#[tokio::test]
async fn names_that_the_vault_does_not_take_are_never_sent() {
    let fake = vault(Role::Officer).await;
    let store = store(&fake);
    let long = "a".repeat(128);
    for wrong in ["", ".", "..", "../keys/x", "a/b", "a b", "a_b", "a?api-version=1", "a%2fb", "a#b", "ä", "a\n", &long]
    {
        let wrong = key(wrong);
        error(store.get(&wrong, None).await, Failure::Misconfigured, "letters, digits and '-'");
        error(store.versions(&wrong).await, Failure::Misconfigured, "letters, digits and '-'");
        error(store.metadata(&wrong).await, Failure::Misconfigured, "letters, digits and '-'");
        error(store.set(&wrong, &write("canary-1")).await, Failure::Misconfigured, "letters, digits and '-'");
        error(store.delete(&wrong).await, Failure::Misconfigured, "letters, digits and '-'");
        error(store.restore(&wrong, &"0".repeat(32)).await, Failure::Misconfigured, "letters, digits and '-'");
    }
    assert_eq!((fake.served.requests(), fake.requests()), (0, 0));
    assert_eq!(store.get(&key(&"a".repeat(127)), None).await.unwrap(), None);
}

#[tokio::test]
async fn expired_and_future_values_are_delivered_with_a_warning() {
    let fake = vault(Role::User).await;
    let store = store(&fake);
    let now = jiff::Timestamp::now().as_second();
    let attributes = |name: &str, at: i64| serde_json::json!({ "value": "canary-1", "attributes": { name: at } });
    fake.put_with("expired", attributes("exp", now - 5));
    fake.put_with("expires", attributes("exp", now + 3600));
    fake.put_with("early", attributes("nbf", now + 3600));
    fake.put_with("begun", attributes("nbf", now - 5));
    let warning = async |name: &str| {
        let read = store.get(&key(name), None).await.unwrap().unwrap();
        assert_eq!(value(&read), "canary-1");
        read.warning
    };
    let expired = warning("expired").await.unwrap();
    assert!(expired.starts_with("it expired at 2") && expired.contains(": write a new version"), "{expired}");
    let early = warning("early").await.unwrap();
    assert!(early.starts_with("it is not valid before 2") && early.contains(": "), "{early}");
    assert_eq!((warning("expires").await, warning("begun").await), (None, None));
    // By the server's clock, not by ours.
    fake.clock(7200);
    assert!(warning("expires").await.unwrap().starts_with("it expired"));
    assert_eq!(warning("early").await, None);
}

#[tokio::test]
async fn a_certificates_secret_is_read_but_not_listed() {
    let fake = vault(Role::User).await;
    let store = store(&fake);
    fake.put("acme--a", "canary-1");
    fake.put_certificate("acme--web");
    assert_eq!(store.list("acme--").await.unwrap(), [key("acme--a")]);
    assert_eq!(value(&store.get(&key("acme--web"), None).await.unwrap().unwrap()), "canary-pkcs12");
    assert_eq!(store.versions(&key("acme--web")).await.unwrap().len(), 1);
    assert_eq!(store.metadata(&key("acme--web")).await.unwrap().unwrap().state, VersionState::Enabled);
    let marks = store.changes(&[key("acme--web"), key("acme--a")]).await.unwrap().unwrap();
    assert_eq!(marks.len(), 2);
}
