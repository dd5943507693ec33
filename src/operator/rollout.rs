//! `rollout.restart: Annotated`: workloads that opted in and consume a target are restarted once for each change of it.
//!
//! The change is recorded in the workload's own pod template, which is what restarts it: so whoever leads, and however
//! often it is tried, one change is one restart.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
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
    Api, Client, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::time::Instant;

use crate::api::RESTART_ANNOTATION;

/// In front of the annotation of a pod template that holds a target's last mark.
const MARK_PREFIX: &str = "restart.secretref.dev";
/// `kube` sets no timeout.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Workloads in one answer.
const PAGE: u32 = 500;
/// At most five restarts a second in this process, however many targets change: the rest of the cluster has to follow.
const PACE: Duration = Duration::from_millis(200);
/// A workload's status changes while it rolls out, and with it its resourceVersion.
const TRIES: u32 = 5;

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

/// Restarts the Deployments, StatefulSets and DaemonSets of a namespace that opted in, consume the Secret `target` and do
/// not have `mark` yet. Answers which, as `Deployment/web`.
///
/// `mark` stands in the pod template for everybody to read: it must tell nothing about a value.
///
/// # Errors
/// When some could not be restarted; others may have been.
pub async fn restart(client: &Client, namespace: &str, target: &str, mark: &str) -> Result<Vec<String>, RestartError> {
    let run = Run { client, namespace, target, mark, annotation: annotation(target) };
    let mut done = Done::default();
    let whole = async {
        run.kind::<Deployment>(&mut done).await?;
        run.kind::<StatefulSet>(&mut done).await?;
        run.kind::<DaemonSet>(&mut done).await
    };
    let (namespace, stopped) = (namespace.to_owned(), whole.await);
    let Done { restarted, refused } = done;
    match stopped {
        Err(Stop::Forbidden) => Err(RestartError::Forbidden { namespace, restarted }),
        Err(Stop::Unavailable(why)) => Err(RestartError::Unavailable { namespace, why, restarted }),
        Ok(()) if !refused.is_empty() => Err(RestartError::Refused { refused, restarted }),
        Ok(()) => Ok(restarted),
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
    fn template(&self) -> Option<&PodTemplateSpec>;
}

macro_rules! workloads {
    ($($kind:ty),*) => {$(
        impl Workload for $kind {
            fn template(&self) -> Option<&PodTemplateSpec> {
                self.spec.as_ref().map(|spec| &spec.template)
            }
        }
    )*};
}
workloads!(Deployment, StatefulSet, DaemonSet);

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
}

/// Why the rest is not tried either.
enum Stop {
    Forbidden,
    Unavailable(String),
}

struct Run<'a> {
    client: &'a Client,
    namespace: &'a str,
    target: &'a str,
    mark: &'a str,
    annotation: String,
}

impl Run<'_> {
    async fn kind<K: Workload>(&self, done: &mut Done) -> Result<(), Stop> {
        let api: Api<K> = Api::namespaced(self.client.clone(), self.namespace);
        // Listed to the end first: a page does not outlive the pace of its restarts.
        for due in self.due(&api, ListParams::default()).await? {
            let workload = format!("{}/{}", K::kind(&()), due.name);
            match self.mark(&api, due).await? {
                Ok(true) => done.restarted.push(workload),
                Ok(false) => {}
                Err(code) => done.refused.push(format!("{workload} ({code})")),
            }
        }
        Ok(())
    }

    async fn due<K: Workload>(&self, api: &Api<K>, params: ListParams) -> Result<Vec<Due>, Stop> {
        let (mut params, mut due) = (params.limit(PAGE), Vec::new());
        loop {
            let page = bounded(api.list(&params)).await?.map_err(|status| match status.code {
                403 => Stop::Forbidden,
                code => Stop::Unavailable(format!("listing them failed with {code}")),
            })?;
            let is_due = |workload: &&K| {
                workload
                    .template()
                    .is_some_and(|template| is_due(workload.meta(), template, self.target, &self.annotation, self.mark))
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
        for _ in 0..TRIES {
            let patch = json!({
                "metadata": { "uid": due.uid, "resourceVersion": due.version },
                "spec": { "template": { "metadata": { "annotations": { &self.annotation: self.mark } } } },
            });
            turn().await;
            let params = PatchParams { field_manager: Some("secretref".to_owned()), ..PatchParams::default() };
            let answer = bounded(api.patch_metadata(&due.name, &params, &Patch::Merge(&patch))).await?;
            let code = match answer {
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
            // Somebody else wrote, or made it anew: look again. There is no right to get, and none is needed.
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
async fn bounded<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<Result<T, Box<kube::core::Status>>, Stop> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(Ok(answer)),
        Ok(Err(kube::Error::Api(status))) => Ok(Err(status)),
        Ok(Err(kube::Error::SerdeError(_))) => {
            Err(Stop::Unavailable("the API server's answer makes no sense".to_owned()))
        }
        Ok(Err(_)) => Err(Stop::Unavailable("the API server cannot be reached".to_owned())),
        Err(_) => Err(Stop::Unavailable("the API server did not answer in time".to_owned())),
    }
}

#[cfg(test)]
#[path = "rollout/tests.rs"]
mod tests;
