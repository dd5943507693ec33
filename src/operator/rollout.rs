//! `rollout.restart: Annotated`: workloads that opted in and consume a target are restarted once for each change of it.
//!
//! The change is recorded in the workload's own pod template, which is what restarts it: so whoever leads, and however
//! often it is tried, one change is one restart.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Container, PodSpec, PodTemplateSpec, Volume},
    },
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::time::Instant;

use super::apply::{ApiError, Writer};
use crate::api::RESTART_ANNOTATION;

/// In front of the annotation of a pod template that holds a target's last mark.
const MARK_PREFIX: &str = "restart.secretref.dev";
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

/// The order to restart what consumes a target. A later one for the same target overrides it, whatever becomes of that:
/// an older mark never takes a newer one's place.
#[derive(Debug)]
pub struct Order {
    target: (String, String),
    number: u64,
    mark: String,
}

/// The newest order for each target.
static NEWEST: Mutex<BTreeMap<(String, String), u64>> = Mutex::new(BTreeMap::new());

impl Order {
    /// An order that overrides all earlier ones: to be made at once, in the order of the changes.
    ///
    /// `mark` stands in the pod template for everybody to read: it must tell nothing about a value.
    pub fn new(namespace: &str, target: &str, mark: String) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let target = (namespace.to_owned(), target.to_owned());
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        newest.insert(target.clone(), number);
        Self { target, number, mark }
    }

    fn is_newest(&self) -> bool {
        NEWEST.lock().unwrap_or_else(PoisonError::into_inner).get(&self.target) == Some(&self.number)
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.get(&self.target) == Some(&self.number) {
            newest.remove(&self.target);
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

/// Whether pods of this kind read the Secret, in their environment, as files, or to pull images.
pub fn consumes(pod: &PodSpec, target: &str) -> bool {
    let is = |name: &Option<String>| name.as_deref() == Some(target);
    let in_container = |container: &Container| {
        let all = container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref());
        let one = container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()?.secret_key_ref.as_ref());
        all.map(|s| &s.name).chain(one.map(|s| &s.name)).any(|name| name == target)
    };
    let in_volume = |volume: &Volume| {
        let projected = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        volume.secret.as_ref().is_some_and(|secret| is(&secret.secret_name))
            || projected.filter_map(|source| source.secret.as_ref()).any(|secret| secret.name == target)
    };
    pod.containers.iter().chain(pod.init_containers.iter().flatten()).any(in_container)
        || pod.volumes.iter().flatten().any(in_volume)
        || pod.image_pull_secrets.iter().flatten().any(|secret| secret.name == target)
}

/// The annotation of a pod template that holds this target's last mark. A name that is too long for one becomes a hash,
/// in capitals: no name of a Secret is spelled so.
fn annotation(target: &str) -> String {
    let fits = target.len() <= 63
        && target.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && !target.starts_with(['-', '.'])
        && !target.ends_with(['-', '.']);
    let slug = if fits && !target.is_empty() {
        target.to_owned()
    } else {
        digest(&SHA256, target.as_bytes()).as_ref().iter().take(16).map(|byte| format!("{byte:02X}")).collect()
    };
    format!("{MARK_PREFIX}/{slug}")
}

/// Whether this workload is to get the mark.
fn is_due(metadata: &ObjectMeta, template: &PodTemplateSpec, target: &str, annotation: &str, mark: &str) -> bool {
    let says = |metadata: &ObjectMeta, key: &str, value: &str| {
        metadata.annotations.as_ref().and_then(|all| all.get(key)).is_some_and(|found| found == value)
    };
    metadata.deletion_timestamp.is_none()
        && says(metadata, RESTART_ANNOTATION, "true")
        && !template.metadata.as_ref().is_some_and(|metadata| says(metadata, annotation, mark))
        && template.spec.as_ref().is_some_and(|pod| consumes(pod, target))
}

/// A kind with a pod template.
trait Workload:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned
{
    const PLURAL: &'static str;
    fn template(&self) -> Option<&PodTemplateSpec>;
}

macro_rules! workloads {
    ($($kind:ty: $plural:literal),*) => {$(
        impl Workload for $kind {
            const PLURAL: &'static str = $plural;

            fn template(&self) -> Option<&PodTemplateSpec> {
                self.spec.as_ref().map(|spec| &spec.template)
            }
        }
    )*};
}
workloads!(Deployment: "deployments", StatefulSet: "statefulsets", DaemonSet: "daemonsets");

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
