//! `rollout.restart: Annotated`: workloads that opted in and consume a target are restarted once for each change of it.
//!
//! The change is recorded in the workload's own pod template, which is what restarts it: so whoever leads, and however
//! often it is tried, one change is one restart.

mod order;
mod workload;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
pub use order::Order;
use serde_json::json;
use thiserror::Error;
use tokio::time::Instant;
use workload::{Workload, annotation, is_due};

use super::apply::{ApiError, Writer};

/// Workloads in one answer.
const PAGE: u32 = 500;
/// At most five restarts a second in this process, however many targets change: the rest of the cluster has to follow.
const PACE: Duration = Duration::from_millis(200);
/// A workload's status changes while it rolls out, and with it its resourceVersion.
const TRIES: u32 = 5;
/// From one try at the whole to the next, doubling.
const WAIT: Duration = Duration::from_secs(5);
/// At most so long.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Why workloads were not restarted. Trying again is harmless: what has the mark already is left alone.
#[derive(Debug, Error)]
pub enum RestartError {
    /// The operator has no such right.
    #[error(
        "the operator may not restart workloads in namespace {namespace}: install the chart with rollout.enabled=true, which gives it list and patch on Deployments, StatefulSets and DaemonSets"
    )]
    Forbidden {
        /// The namespace.
        namespace: String,
        /// What was restarted all the same.
        restarted: Vec<String>,
    },
    /// The API server, or a policy of the cluster, refuses some of them.
    #[error("not restarted: {}: see what `kubectl rollout restart` says to it", refused.join(", "))]
    Refused {
        /// Which, and with which code.
        refused: Vec<String>,
        /// What was restarted.
        restarted: Vec<String>,
    },
    /// No answer, or one that says to come back later.
    #[error("workloads in namespace {namespace} were not restarted: {why}; it is tried again")]
    Unavailable {
        /// The namespace.
        namespace: String,
        /// Why.
        why: String,
        /// What was restarted.
        restarted: Vec<String>,
    },
}

impl RestartError {
    /// What was restarted all the same.
    fn restarted(&self) -> &[String] {
        match self {
            Self::Forbidden { restarted, .. }
            | Self::Refused { restarted, .. }
            | Self::Unavailable { restarted, .. } => restarted,
        }
    }
}

/// Carries an order out, and tells what was restarted and what cannot be. What may pass is tried again until it is done,
/// this replica does not lead any more, or the target changes again. Answers whether nothing is left to be done.
pub async fn carry_out(writer: &Writer, order: Order, mut tell: impl FnMut(Result<&[String], &RestartError>)) -> bool {
    let mut wait = WAIT;
    while order.is_newest() && writer.leads() {
        match restart(writer, &order).await {
            Ok(restarted) => {
                if !restarted.is_empty() {
                    tell(Ok(&restarted));
                }
                return order.is_newest() && writer.leads();
            }
            Err(error) => {
                if !error.restarted().is_empty() {
                    tell(Ok(error.restarted()));
                }
                let passes = matches!(error, RestartError::Unavailable { .. });
                if !passes || wait == WAIT {
                    tell(Err(&error));
                }
                if !passes {
                    return true;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    false
}

/// Restarts the Deployments, StatefulSets and DaemonSets of a namespace that opted in, consume the order's target and do
/// not have its mark yet. Answers which, as `Deployment/web`.
///
/// # Errors
/// When some could not be restarted; others may have been.
pub async fn restart(writer: &Writer, order: &Order) -> Result<Vec<String>, RestartError> {
    let (namespace, target) = (order.target.0.as_str(), order.target.1.as_str());
    let run = Run { writer, order, namespace, target, annotation: annotation(target) };
    let mut done = Done::default();
    let whole = async {
        run.kind::<Deployment>(&mut done).await?;
        run.kind::<StatefulSet>(&mut done).await?;
        run.kind::<DaemonSet>(&mut done).await
    };
    let (namespace, stopped) = (namespace.to_owned(), whole.await);
    let Done { restarted, refused, busy } = done;
    match stopped {
        Err(Stop::Forbidden) => Err(RestartError::Forbidden { namespace, restarted }),
        Err(Stop::Unavailable(why)) => Err(RestartError::Unavailable { namespace, why, restarted }),
        Ok(()) if !busy.is_empty() => {
            let why = format!("somebody else writes {} all the time", busy.join(", "));
            Err(RestartError::Unavailable { namespace, why, restarted })
        }
        Ok(()) if !refused.is_empty() => Err(RestartError::Refused { refused, restarted }),
        Ok(()) | Err(Stop::Over) => Ok(restarted),
    }
}

/// What a workload is patched on.
#[derive(PartialEq)]
struct Due {
    name: String,
    uid: Option<String>,
    version: Option<String>,
}

#[derive(Default)]
struct Done {
    restarted: Vec<String>,
    refused: Vec<String>,
    /// Others wrote faster.
    busy: Vec<String>,
}

/// Why the rest is not tried either.
enum Stop {
    Forbidden,
    Unavailable(String),
    /// It is not ours to do any more: another replica leads, or the target changed again.
    Over,
}

struct Run<'a> {
    writer: &'a Writer,
    order: &'a Order,
    namespace: &'a str,
    target: &'a str,
    annotation: String,
}

impl Run<'_> {
    async fn kind<K: Workload>(&self, done: &mut Done) -> Result<(), Stop> {
        let api: Api<K> = Api::namespaced(self.writer.client.clone(), self.namespace);
        // Listed to the end first: a page does not outlive the pace of its restarts.
        for due in self.due(&api, ListParams::default()).await? {
            let workload = format!("{}/{}", K::kind(&()), due.name);
            match self.mark(&api, due).await? {
                Ok(true) => done.restarted.push(workload),
                Ok(false) => {}
                Err(409) => done.busy.push(workload),
                Err(code) => done.refused.push(format!("{workload} ({code})")),
            }
        }
        Ok(())
    }

    async fn due<K: Workload>(&self, api: &Api<K>, params: ListParams) -> Result<Vec<Due>, Stop> {
        let (mut params, mut due) = (params.limit(PAGE), Vec::new());
        loop {
            let answer = self.writer.call_again("list", K::PLURAL, || api.list(&params)).await;
            let page = answered(answer)?.map_err(|status| match status.code {
                403 => Stop::Forbidden,
                code => Stop::Unavailable(format!("listing them failed with {code}")),
            })?;
            let is_due = |workload: &&K| {
                workload.template().is_some_and(|template| {
                    is_due(workload.meta(), template, self.target, &self.annotation, &self.order.mark)
                })
            };
            due.extend(page.items.iter().filter(is_due).map(|workload| Due {
                name: workload.name_any(),
                uid: workload.uid(),
                version: workload.resource_version(),
            }));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(due),
            }
        }
    }

    /// Whether it was restarted now, or the code with which it was refused.
    async fn mark<K: Workload>(&self, api: &Api<K>, mut due: Due) -> Result<Result<bool, u16>, Stop> {
        turn().await;
        for _ in 0..TRIES {
            let patch = json!({
                "metadata": { "uid": due.uid, "resourceVersion": due.version },
                "spec": { "template": { "metadata": { "annotations": { &self.annotation: self.order.mark } } } },
            });
            if !self.order.is_newest() {
                return Err(Stop::Over);
            }
            let params = PatchParams { field_manager: Some("secretref".to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(&patch);
            let request = || api.patch_metadata(&due.name, &params, &patch);
            let code = match answered(self.writer.call_again("patch", K::PLURAL, request).await)? {
                Ok(_) => return Ok(Ok(true)),
                Err(status) if status.is_not_found() => return Ok(Ok(false)),
                // A policy answers 403 as well; missing rights are told in these words.
                Err(status) if status.code == 403 && status.message.contains("cannot patch resource") => {
                    return Err(Stop::Forbidden);
                }
                Err(status) if status.code == 429 || status.code >= 500 => {
                    return Err(Stop::Unavailable(format!("the API server answered {}", status.code)));
                }
                Err(status) => status.code,
            };
            // Somebody else wrote, or made it anew: look again, and be faster than they are this time. There is no right
            // to get, and none is needed.
            let alone = ListParams::default().fields(&format!("metadata.name={}", due.name));
            match self.due(api, alone).await?.pop() {
                Some(again) if again != due => due = again,
                Some(_) => return Ok(Err(code)),
                None => return Ok(Ok(false)),
            }
        }
        Ok(Err(409))
    }
}

/// Waits for this process's next restart.
async fn turn() {
    static NEXT: Mutex<Option<Instant>> = Mutex::new(None);
    let now = Instant::now();
    let at = {
        let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + PACE);
        at
    };
    tokio::time::sleep_until(at).await;
}

/// The answer to one request, good or bad, if there is one in time. What the API server writes stays out of texts: it may
/// repeat what stands in the workload.
fn answered<T>(answer: Result<T, ApiError>) -> Result<Result<T, Box<kube::core::Status>>, Stop> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(ApiError::Refused(status)) => Ok(Err(status)),
        Err(ApiError::NotLeading) => Err(Stop::Over),
        Err(error @ (ApiError::Timeout | ApiError::Transport)) => Err(Stop::Unavailable(error.to_string())),
    }
}

#[cfg(test)]
#[path = "rollout/tests.rs"]
mod tests;
