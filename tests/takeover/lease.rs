//! The Lease, watched: who held it when, by the times that it says itself. Each write of it is seen, however soon the next
//! one follows.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use tokio::task::JoinSet;

use crate::harness::{Cluster, wait_for};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// One request after the other, from the signal to stop to the next leader: the last write, the Lease given back, seen to
/// be free, and taken.
const STEPS: i32 = 4;

/// What a Lease said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    holder: String,
    acquired: Timestamp,
    renewed: Timestamp,
}

pub struct LeaseLog {
    said: Arc<Mutex<Vec<Said>>>,
    slowest: Arc<Mutex<Duration>>,
    _tasks: JoinSet<()>,
}

/// One holder followed another.
#[derive(Debug)]
pub struct Taken {
    /// The last sign of the one before.
    pub last_renewal: Timestamp,
    /// It gave the Lease back.
    pub released: bool,
    /// When the next one took it.
    pub at: Timestamp,
}

impl LeaseLog {
    pub fn start(cluster: Cluster, namespace: &str) -> Self {
        let (said, slowest) = (Arc::<Mutex<Vec<Said>>>::default(), Arc::<Mutex<Duration>>::default());
        let api: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
        let mut tasks = JoinSet::new();
        let log = said.clone();
        tasks.spawn(async move {
            let config = watcher::Config::default().fields("metadata.name=secretref");
            let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
            while let Some(event) = stream.next().await {
                let Ok(watcher::Event::InitApply(lease) | watcher::Event::Apply(lease)) = event else { continue };
                let mut log = log.lock().unwrap();
                if let Some(now) = read(&lease).filter(|now| log.last() != Some(now)) {
                    log.push(now);
                }
            }
        });
        let (late, namespace) = (slowest.clone(), namespace.to_owned());
        tasks.spawn(async move {
            loop {
                let begun = Instant::now();
                tokio::time::sleep(LOOK).await;
                cluster.get("Lease", Some(&namespace), "secretref").await;
                let mut late = late.lock().unwrap();
                *late = (*late).max(begun.elapsed());
            }
        });
        Self { said, slowest, _tasks: tasks }
    }

    /// What the machine and the API server may have added to the time between two leaders: so long each of its requests
    /// took at most, going by requests of this process meanwhile.
    pub fn allowance(&self) -> SignedDuration {
        SignedDuration::try_from(*self.slowest.lock().unwrap()).unwrap() * STEPS
    }

    /// How often it was seen to be renewed.
    pub fn renewals(&self) -> usize {
        self.said.lock().unwrap().len()
    }

    /// Waits for the second holder.
    pub async fn taken_over(&self) -> Taken {
        wait_for("a second holder", || async {
            let said = self.said.lock().unwrap().clone();
            let first = said.first().map(|s| s.holder.clone()).unwrap_or_default();
            let Some(next) = said.iter().position(|s| !s.holder.is_empty() && s.holder != first) else {
                return Err(format!("{:?}", said.last()));
            };
            let released = said[next - 1].holder.is_empty();
            Ok(Taken { last_renewal: said[next - 1].renewed, released, at: said[next].acquired })
        })
        .await
    }
}

fn read(lease: &Lease) -> Option<Said> {
    let spec = lease.spec.as_ref()?;
    Some(Said {
        holder: spec.holder_identity.clone().unwrap_or_default(),
        acquired: spec.acquire_time.as_ref()?.0,
        renewed: spec.renew_time.as_ref()?.0,
    })
}
