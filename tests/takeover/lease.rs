//! The Lease, looked at all the time: who held it when, by the times that it says itself.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::task::AbortHandle;

use crate::harness::{Cluster, wait_for};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What a Lease said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    holder: String,
    acquired: Timestamp,
    renewed: Timestamp,
}

pub struct LeaseLog {
    said: Arc<Mutex<Vec<Said>>>,
    task: AbortHandle,
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
        let (said, namespace) = (Arc::<Mutex<Vec<Said>>>::default(), namespace.to_owned());
        let log = said.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Some(now) = cluster.get("Lease", Some(&namespace), "secretref").await.as_ref().and_then(read) {
                    let mut log = log.lock().unwrap();
                    if log.last() != Some(&now) {
                        log.push(now);
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { said, task: task.abort_handle() }
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

impl Drop for LeaseLog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn read(lease: &Value) -> Option<Said> {
    let spec = &lease["spec"];
    let time = |name: &str| spec[name].as_str()?.parse().ok();
    Some(Said {
        holder: spec["holderIdentity"].as_str().unwrap_or_default().to_owned(),
        acquired: time("acquireTime")?,
        renewed: time("renewTime")?,
    })
}
