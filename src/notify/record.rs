//! Writes what was told into the object of this replica (or of the console): at once after a rest, then a few times a
//! second at most, however much is told. Each writer has an object of its own, so that none waits for another.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use super::{Changed, Hashes, Ring};

/// The label of the objects; its value is `true`.
pub const RINGS_LABEL: &str = "secretref.dev/notifications";
/// The beginning of their names.
const NAME: &str = "secretref-notifications-";
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries at a write that failed: doubles up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Objects of replicas that are gone are removed so often, when they have been still for so long.
const SWEEP: Duration = Duration::from_secs(3600);

/// Where the object is.
#[derive(Clone)]
pub struct Place {
    /// The API server.
    pub client: Client,
    /// The operator's own namespace.
    pub namespace: String,
    /// This process's name: no other process has it.
    pub instance: String,
    /// The pod that it runs in, by its uid: the object goes with it.
    pub pod: Option<String>,
}

/// Takes down what changed.
pub struct Recorder {
    hashes: Hashes,
    ring: Mutex<Ring>,
    news: Notify,
    written: watch::Sender<u64>,
}

impl Recorder {
    /// One that has heard nothing yet.
    pub fn new(hashes: Hashes) -> Self {
        Self { hashes, ring: Mutex::default(), news: Notify::new(), written: watch::Sender::new(0) }
    }

    /// Takes down changes of a store, by its object's uid; answers what to wait for, see [`Recorder::written`].
    pub fn record(&self, store: &Arc<str>, changed: &[Changed]) -> u64 {
        let now = since_epoch();
        let mut ring = self.ring();
        let last = changed.iter().map(|c| ring.add(store, self.hashes.about(c), now)).max().unwrap_or_default();
        drop(ring);
        self.news.notify_one();
        last
    }

    /// Waits until what was taken down is written: the leader will hear of it, whatever becomes of this process.
    pub async fn written(&self, what: u64) -> bool {
        let mut written = self.written.subscribe();
        timeout(PATIENCE, written.wait_for(|last| *last >= what)).await.is_ok_and(|found| found.is_ok())
    }

    /// Writes until it is dropped. One task for each recorder.
    pub async fn run(&self, place: Place) {
        let api: Api<ConfigMap> = Api::namespaced(place.client.clone(), &place.namespace);
        tokio::join!(self.write(&place, &api), sweep(&place, &api));
    }

    async fn write(&self, place: &Place, api: &Api<ConfigMap>) {
        let (mut version, mut pause) = (None, PAUSE);
        loop {
            self.news.notified().await;
            let begun = Instant::now();
            loop {
                match self.write_once(place, api, &mut version).await {
                    Ok(last) => {
                        self.written.send_replace(last);
                        pause = PAUSE;
                        break;
                    }
                    Err(what) => {
                        version = None;
                        tracing::warn!(%what, "notifications not recorded yet");
                        sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            sleep(PAUSE.saturating_sub(begun.elapsed())).await;
        }
    }

    /// One write of all there is. `version`: of the object as it was last written; none, if that is not known.
    async fn write_once(
        &self,
        place: &Place,
        api: &Api<ConfigMap>,
        version: &mut Option<String>,
    ) -> Result<u64, String> {
        let name = place.name();
        if version.is_none()
            && let Some(found) = request(api.get_opt(&name)).await?
        {
            *version = found.resource_version();
            self.ring().follow(Ring::decode(&found.data.unwrap_or_default()));
        }
        let (data, last) = {
            let ring = self.ring();
            (ring.encode(), ring.last())
        };
        let object = place.object(data, version.clone());
        let params = PostParams::default();
        let done = match version {
            Some(_) => request(api.replace(&name, &params, &object)).await?,
            None => request(api.create(&params, &object)).await?,
        };
        *version = done.resource_version();
        Ok(last)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn name(&self) -> String {
        format!("{NAME}{}", self.instance)
    }

    fn object(&self, data: BTreeMap<String, String>, version: Option<String>) -> ConfigMap {
        let owner = self.pod.clone().map(|uid| OwnerReference {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: self.instance.clone(),
            uid,
            ..OwnerReference::default()
        });
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name()),
                labels: Some([(RINGS_LABEL.to_owned(), "true".to_owned())].into()),
                owner_references: owner.map(|o| vec![o]),
                resource_version: version,
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        }
    }
}

/// Removes what replicas have left behind that are gone without a pod's garbage collection.
async fn sweep(place: &Place, api: &Api<ConfigMap>) {
    let labelled = ListParams::default().labels(&format!("{RINGS_LABEL}=true"));
    loop {
        let still = since_epoch().saturating_sub(SWEEP);
        let found = request(api.list(&labelled)).await.map(|list| list.items).unwrap_or_default();
        for object in found {
            let last = Duration::from_millis(Ring::decode(object.data.as_ref().unwrap_or(&BTreeMap::new())).last());
            let name = object.name_any();
            if last >= still || name == place.name() {
                continue;
            }
            // Who writes to it in this moment keeps it.
            let unchanged = Preconditions { resource_version: object.resource_version(), uid: object.uid() };
            let params = DeleteParams { preconditions: Some(unchanged), ..DeleteParams::default() };
            let _ = request(api.delete(&name, &params)).await;
        }
        sleep(SWEEP).await;
    }
}

async fn request<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(format!("{} {}", status.code, status.reason)),
        Ok(Err(_)) | Err(_) => Err("the API server does not answer".to_owned()),
    }
}

/// By the wall clock.
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
