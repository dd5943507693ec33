//! What stands between, and what is not the store at all.

use std::{sync::Arc, time::Duration};

use secretref::stores::{Failure, Store};
use tokio::{io::AsyncReadExt, net::TcpListener};

use super::{CannotBe, Fault, Holds, Subject, Verdict, Who, acme, read, single};
use crate::env::error;

const NO_SERVER: Verdict = CannotBe("has no server");
const PAGE: &str = "<html><body>Please log in</body></html>";

async fn then(subject: &dyn Subject, fault: Fault) -> Option<Arc<dyn Store>> {
    let (store, key) = (subject.store(Who::Reader), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    assert_eq!(read(&*store, &key).await, b"canary-1");
    subject.fault(Some(fault)).await.then_some(store)
}

pub async fn a_page_instead_of_an_answer(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Status(200, None, PAGE)).await else { return NO_SERVER };
    for name in ["there", "not-there"] {
        error(store.get(&acme(subject, name), None).await, Failure::Misconfigured, "address");
    }
    assert!(store.list(&subject.scheme().scope_prefix(&super::owner(None))).await.is_err());
    assert!(store.probe().await.is_err());
    Holds
}

pub async fn a_page_that_says_404(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Status(404, None, PAGE)).await else { return NO_SERVER };
    for name in ["there", "not-there"] {
        error(store.get(&acme(subject, name), None).await, Failure::Misconfigured, "address");
    }
    assert!(store.probe().await.is_err());
    Holds
}

pub async fn an_answer_cut_short(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::CutShort).await else { return NO_SERVER };
    error(store.get(&acme(subject, "there"), None).await, Failure::Unavailable, &name_of(subject, "there"));
    error(store.get(&acme(subject, "not-there"), None).await, Failure::Unavailable, &name_of(subject, "not-there"));
    subject.fault(None).await;
    assert_eq!(read(&*store, &acme(subject, "there")).await, b"canary-1");
    Holds
}

pub async fn an_answer_without_end(subject: &dyn Subject) -> Verdict {
    let Some(store) = then(subject, Fault::Endless).await else { return NO_SERVER };
    let answer = tokio::time::timeout(Duration::from_secs(20), store.get(&acme(subject, "there"), None)).await;
    // Given up by itself, or by the layers' time; never with all of it in memory.
    if let Ok(answer) = answer {
        error(answer, Failure::Misconfigured, "4 MiB");
    }
    Holds
}

/// Credentials never follow.
pub async fn a_redirect(subject: &dyn Subject) -> Verdict {
    let thief = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", thief.local_addr().unwrap());
    let Some(store) = then(subject, Fault::Redirect(target)).await else { return NO_SERVER };
    let stolen = tokio::spawn(async move {
        let (mut stream, _) = thief.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    error(store.get(&acme(subject, "there"), None).await, Failure::Misconfigured, "redirect");
    assert!(store.probe().await.is_err());
    let stolen = tokio::time::timeout(Duration::from_millis(200), stolen).await;
    assert!(stolen.is_err(), "the redirect was followed: {stolen:?}");
    Holds
}

pub async fn another_ca(subject: &dyn Subject) -> Verdict {
    let Some(store) = subject.with_another_ca() else { return CannotBe("has no TLS of its own") };
    error(store.get(&acme(subject, "there"), None).await, Failure::Unavailable, "CA");
    error(store.probe().await, Failure::Unavailable, "CA");
    Holds
}

pub async fn a_server_whose_clock_is_wrong(subject: &dyn Subject) -> Verdict {
    for seconds in [-3600, 3600] {
        let Some(store) = then(subject, Fault::Clock(seconds)).await else { return NO_SERVER };
        assert_eq!(read(&*store, &acme(subject, "there")).await, b"canary-1");
        // A change within the same second as the last read must be seen, whatever the clock says.
        let before = store.get(&acme(subject, "there"), None).await.unwrap().unwrap().token;
        subject.plant(&acme(subject, "there"), &single("canary-2")).await;
        assert_ne!(store.get(&acme(subject, "there"), None).await.unwrap().unwrap().token, before);
        store.probe().await.unwrap();
        subject.fault(None).await;
    }
    Holds
}

pub async fn requests_that_nobody_waits_for(subject: &dyn Subject) -> Verdict {
    let (store, key) = (subject.store(Who::Reader), acme(subject, "there"));
    subject.plant(&key, &single("canary-1")).await;
    // The first of them are cut off in their login.
    for wait in [0, 1, 2, 5, 10, 20] {
        let reads = (0..20).map(|_| store.get(&key, None));
        let _ = tokio::time::timeout(Duration::from_millis(wait), futures::future::join_all(reads)).await;
    }
    assert_eq!(read(&*store, &key).await, b"canary-1");
    if let Some(logins) = subject.logins() {
        assert!(logins <= 8, "{logins} logins");
    }
    Holds
}

fn name_of(subject: &dyn Subject, name: &str) -> String {
    acme(subject, name).as_str().to_owned()
}
