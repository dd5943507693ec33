//! Values of every kind.

use std::collections::BTreeMap;

use secretref::{
    secret::SecretValue,
    stores::{Failure, Payload, Property, When},
};

use super::{CannotBe, Holds, Subject, Verdict, Who, acme, always, bare, read, single, when};
use crate::env::error;

/// Planted by the administrator, read by the least reader, byte for byte.
async fn survives(subject: &dyn Subject, value: &[u8]) -> Verdict {
    let key = acme(subject, "value");
    subject.plant(&key, &single(value)).await;
    assert_eq!(read(&*subject.store(Who::Reader), &key).await, value);
    let store = subject.store(Who::Writer);
    if store.features().write {
        let written = acme(subject, "written");
        store.set(&written, &always(single(value))).await.unwrap();
        assert_eq!(read(&*store, &written).await, value);
    }
    Holds
}

/// What the store does not keep as it is, it does not take.
async fn is_refused(subject: &dyn Subject, value: &[u8], part: &str) {
    let (store, key) = (subject.store(Who::Writer), acme(subject, "refused"));
    if store.features().write {
        error(store.set(&key, &always(single(value))).await, Failure::Misconfigured, part);
        assert_eq!(store.get(&key, None).await.unwrap(), None);
    }
}

pub async fn what_was_put_there_is_read(subject: &dyn Subject) -> Verdict {
    survives(subject, b"canary-plain").await
}

pub async fn what_is_not_there_is_certainly_not(subject: &dyn Subject) -> Verdict {
    let store = subject.store(Who::Reader);
    assert_eq!(store.get(&acme(subject, "nothing"), None).await, Ok(None));
    // Also beside one that is there.
    subject.plant(&acme(subject, "something"), &single("canary-1")).await;
    assert_eq!(store.get(&acme(subject, "something-else"), None).await, Ok(None));
    Holds
}

pub async fn text_of_any_script(subject: &dyn Subject) -> Verdict {
    survives(subject, "canary-é漢字-🔑-\u{0430}-\u{202e}x\u{200d}".as_bytes()).await
}

pub async fn lines_quotes_and_escapes(subject: &dyn Subject) -> Verdict {
    survives(subject, b"canary-1\nline \"two\" 'three' \\n \\\\ \ttab # no comment = $no\r\nend").await
}

pub async fn one_byte(subject: &dyn Subject) -> Verdict {
    survives(subject, b"x").await
}

pub async fn the_largest_value(subject: &dyn Subject) -> Verdict {
    let most = subject.store(Who::Reader).features().max_value;
    survives(subject, &b"canary-0123456789".repeat(most / 17 + 1)[..most]).await
}

pub async fn a_larger_one_is_refused(subject: &dyn Subject) -> Verdict {
    let store = subject.store(Who::Writer);
    if !store.features().write {
        return CannotBe("read only");
    }
    is_refused(subject, &vec![b'x'; store.features().max_value * 2], "").await;
    Holds
}

pub async fn an_empty_value(subject: &dyn Subject) -> Verdict {
    if subject.store(Who::Reader).features().empty {
        return survives(subject, b"").await;
    }
    is_refused(subject, b"", "empty").await;
    CannotBe("takes no empty values")
}

pub async fn a_null(subject: &dyn Subject) -> Verdict {
    let key = acme(subject, "null");
    if !subject.store(Who::Reader).features().maps || subject.name() == "kubernetes" {
        return CannotBe("knows no null");
    }
    subject.plant(&key, &Payload::Map([("value".to_owned(), Property::Null)].into())).await;
    let stored = subject.store(Who::Reader).get(&key, None).await.unwrap().unwrap();
    assert_eq!(stored.payload, Payload::Map([("value".to_owned(), Property::Null)].into()));
    Holds
}

pub async fn any_bytes(subject: &dyn Subject) -> Verdict {
    let bytes: Vec<u8> = (0..=255).collect();
    if subject.store(Who::Reader).features().binary {
        return survives(subject, &bytes).await;
    }
    is_refused(subject, &bytes, "Base64").await;
    CannotBe("takes text only")
}

pub async fn white_space_around(subject: &dyn Subject) -> Verdict {
    if subject.store(Who::Reader).features().exact {
        return survives(subject, b"  canary-1 \n\n").await;
    }
    is_refused(subject, b"  canary-1 \n\n", "white space").await;
    CannotBe("trims values")
}

pub async fn json_stays_text(subject: &dyn Subject) -> Verdict {
    survives(subject, br#"{ "canary-a" :  1.0, "b": [ true , null ] }"#).await
}

pub async fn properties(subject: &dyn Subject) -> Verdict {
    let text = |value: &str| Property::Text(SecretValue::from(value.to_owned()));
    let map: BTreeMap<String, Property> =
        [("tls.crt".to_owned(), text("canary-1")), ("user".to_owned(), text("canary-2"))].into();
    let (key, payload) = (acme(subject, "map"), Payload::Map(map));
    let writer = subject.store(Who::Writer);
    if !writer.features().maps {
        if writer.features().write {
            writer.set(&key, &when(payload, When::Absent)).await.unwrap();
            let written = read(&*subject.store(Who::Reader), &key).await;
            let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
            assert_eq!(written, serde_json::json!({ "tls.crt": "canary-1", "user": "canary-2" }));
        }
        return CannotBe("holds single values; a map is written as JSON");
    }
    subject.plant(&key, &payload).await;
    assert_eq!(subject.store(Who::Reader).get(&key, None).await.unwrap().unwrap().payload, payload);
    let written = acme(subject, "map-written");
    writer.set(&written, &when(payload.clone(), When::Absent)).await.unwrap();
    assert_eq!(writer.get(&written, None).await.unwrap().unwrap().payload, payload);
    // All of it: what is not in the next write is gone.
    let fewer = Payload::Map([("user".to_owned(), text("canary-3"))].into());
    writer.set(&written, &always(fewer.clone())).await.unwrap();
    assert_eq!(writer.get(&written, None).await.unwrap().unwrap().payload, fewer);
    Holds
}

pub async fn every_digit(subject: &dyn Subject) -> Verdict {
    // As text, since servers round numbers.
    survives(subject, b"123456789012345678901234567890.000000000000000000010").await
}

pub async fn what_looks_like_a_reference(subject: &dyn Subject) -> Verdict {
    let (store, key) = (subject.store(Who::Writer), acme(subject, "reference"));
    let value = b"canary-${HOME} $(id) {{ x }} %s";
    if !store.features().write {
        subject.plant(&key, &single("canary-$(id) {{ x }} %s")).await;
        assert_eq!(read(&*store, &key).await, b"canary-$(id) {{ x }} %s");
        return Holds;
    }
    match store.set(&key, &always(single(value))).await {
        Ok(_) => {
            let stored = store.get(&key, None).await.unwrap().unwrap();
            assert_eq!(bare(&stored), value);
            Holds
        }
        refused => {
            error(refused, Failure::Misconfigured, "${");
            CannotBe("resolves references in values")
        }
    }
}

pub async fn what_looks_like_base64(subject: &dyn Subject) -> Verdict {
    survives(subject, b"Y2FuYXJ5LTE=").await
}
