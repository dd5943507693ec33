//! A store that does what it is told, and the layers around it.

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;

use super::super::*;
use crate::{
    secret::SecretValue,
    stores::{ChangeToken, Features, Metadata, Payload, Write, Written},
};

/// Who asks the store.
pub(super) const OPERATOR: &str = "operator/one";

/// What the store does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    Value,
    Nothing,
    Fail(Failure),
    Hang,
}

/// Does what the script says, then the last of it for ever; each request takes some time.
pub(super) struct Scripted {
    script: Mutex<VecDeque<Does>>,
    takes: Duration,
    pub(super) sent: Mutex<Vec<Instant>>,
    pub(super) in_flight: AtomicUsize,
    pub(super) most_in_flight: AtomicUsize,
}

impl Scripted {
    pub(super) fn new(script: impl IntoIterator<Item = Does>, takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.into_iter().collect()),
            takes,
            sent: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        })
    }

    pub(super) fn requests(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    pub(super) fn then(&self, script: impl IntoIterator<Item = Does>) {
        *self.script.lock().unwrap() = script.into_iter().collect();
    }

    async fn next(&self) -> Result<bool, StoreError> {
        self.sent.lock().unwrap().push(Instant::now());
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let _left = Left(self);
        let does = {
            let mut script = self.script.lock().unwrap();
            let first = *script.front().unwrap();
            if script.len() > 1 {
                script.pop_front();
            }
            first
        };
        tokio::time::sleep(self.takes).await;
        match does {
            Does::Value => Ok(true),
            Does::Nothing => Ok(false),
            Does::Fail(failure) => Err(StoreError::new(failure, "scripted")),
            Does::Hang => std::future::pending().await,
        }
    }
}

struct Left<'a>(&'a Scripted);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for Scripted {
    fn features(&self) -> Features {
        Features {
            write: false,
            versions: true,
            undelete: false,
            atomic: false,
            maps: true,
            binary: true,
            empty: true,
            exact: true,
            content_type: false,
            tags: false,
            max_value: 1 << 20,
            ignores_case: false,
        }
    }

    async fn get(&self, key: &StoreKey, _: Option<&str>) -> Result<Option<Stored>, StoreError> {
        Ok(self.next().await?.then(|| Stored {
            payload: Payload::Single(SecretValue::from(format!("hunter2-{key}"))),
            version: None,
            token: ChangeToken::new("1"),
            warning: None,
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        Ok(if self.next().await? { vec![StoreKey::verbatim(format!("{prefix}a"))] } else { vec![] })
    }

    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        Err(StoreError::unsupported(format!("describing {key}"), "not yet"))
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        Err(StoreError::unsupported(format!("listing versions of {key}"), "not yet"))
    }

    async fn set(&self, key: &StoreKey, _: &Write) -> Result<Written, StoreError> {
        Err(StoreError::unsupported(format!("writing {key}"), "not yet"))
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        Err(StoreError::unsupported(format!("deleting {key}"), "not yet"))
    }

    async fn restore(&self, key: &StoreKey, _: &str) -> Result<Option<String>, StoreError> {
        Err(StoreError::unsupported(format!("restoring {key}"), "not yet"))
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.next().await.map(|_| Capabilities { get: true, list: true, write: false })
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        burst: 1000,
        requests_per_second: 1000.0,
        ..crate::stores::settings(&Default::default(), None, None, None)
    }
}

pub(super) struct World {
    pub(super) store: Arc<Scripted>,
    pub(super) layers: Layers,
    pub(super) metrics: Arc<Metrics>,
    pub(super) cache: Arc<Cache>,
}

pub(super) fn world(script: impl IntoIterator<Item = Does>, takes: Duration, settings: Settings) -> World {
    build(script, takes, settings, Arc::new(Metrics::new()), Audit::off())
}

/// With audit events: requester, operation, path and result of each.
pub(super) fn audited(
    script: impl IntoIterator<Item = Does>,
    takes: Duration,
    settings: Settings,
) -> (World, impl FnOnce(World) -> Vec<[String; 4]>) {
    let (written, metrics) = (AuditLog::default(), Arc::new(Metrics::new()));
    let audit = Audit::to(written.clone(), None, Arc::clone(&metrics), 100).unwrap();
    let events = move |world: World| {
        drop(world);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                ["requester_id", "operation", "secret_path", "result"].map(|f| event[f].as_str().unwrap().to_owned())
            })
            .collect()
    };
    (build(script, takes, settings, metrics, audit), events)
}

#[derive(Clone, Default)]
struct AuditLog(Arc<Mutex<Vec<u8>>>);

impl io::Write for AuditLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn build(
    script: impl IntoIterator<Item = Does>,
    takes: Duration,
    settings: Settings,
    metrics: Arc<Metrics>,
    audit: Audit,
) -> World {
    let store = Scripted::new(script, takes);
    let cache = Arc::new(Cache::new(Cache::CAPACITY, Arc::clone(&metrics)));
    let identity = Identity {
        kind: "ClusterSecretStore",
        namespace: None,
        name: "platform".into(),
        uid: "uid".into(),
        generation: 1,
        provider: "vault",
    };
    let (bare, caches, counts) = (Arc::clone(&store), Arc::clone(&cache), Arc::clone(&metrics));
    let layers = Layers::new(identity, bare, settings, caches, counts, Arc::new(audit), OPERATOR.into());
    World { store, layers, metrics, cache }
}

impl World {
    pub(super) async fn read(&self, key: &str, freshness: Freshness) -> Result<Option<Arc<Stored>>, StoreError> {
        let access = Access { requester: "test", trace_id: "0", freshness };
        self.layers.get(&StoreKey::verbatim(key), None, &access).await
    }

    pub(super) async fn fails(&self, key: &str) -> StoreError {
        self.read(key, Freshness::PastCache).await.unwrap_err()
    }

    pub(super) fn counted(&self, result: &str) -> usize {
        let label = format!("result=\"{result}\"");
        let text = self.metrics.encode();
        text.lines()
            .filter(|l| l.starts_with("secretref_store_requests_total") && l.contains(&label))
            .map(|l| l.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum()
    }
}
