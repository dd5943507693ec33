//! Workloads: whether one opted in and consumes a target, and where its last mark is.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Container, PodSpec, PodTemplateSpec, Volume},
    },
};
use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;

use crate::api::RESTART_ANNOTATION;

/// In front of the annotation of a pod template that holds a target's last mark.
const MARK_PREFIX: &str = "restart.secretref.dev";

/// Whether pods of this kind read the Secret, in their environment, as files, or to pull images.
pub(super) fn consumes(pod: &PodSpec, target: &str) -> bool {
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
pub(super) fn annotation(target: &str) -> String {
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
pub(super) fn is_due(
    metadata: &ObjectMeta,
    template: &PodTemplateSpec,
    target: &str,
    annotation: &str,
    mark: &str,
) -> bool {
    let says = |metadata: &ObjectMeta, key: &str, value: &str| {
        metadata.annotations.as_ref().and_then(|all| all.get(key)).is_some_and(|found| found == value)
    };
    metadata.deletion_timestamp.is_none()
        && says(metadata, RESTART_ANNOTATION, "true")
        && !template.metadata.as_ref().is_some_and(|metadata| says(metadata, annotation, mark))
        && template.spec.as_ref().is_some_and(|pod| consumes(pod, target))
}

/// A kind with a pod template.
pub(super) trait Workload:
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

#[cfg(test)]
mod tests;
