//! The API server: definitions, namespaces, objects as JSON.

use kube::{
    Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
    core::{Request, Status},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Leaks, Space, unique, wait_for};

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// What this process applies with.
const MANAGER: &str = "harness";

/// A connection of its own: one that is shared between tests would end with the first of them.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
}

type Answer = Result<Value, Box<Status>>;

impl Cluster {
    /// Connects, and installs the definitions if this process has not yet.
    pub async fn connect() -> Self {
        assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG is not set: run `make test` or tests/run.sh");
        let cluster = Self { client: Client::try_default().await.expect("a client from KUBECONFIG") };
        INSTALLED.get_or_init(|| cluster.install()).await;
        cluster
    }

    async fn install(&self) {
        for (plural, crd) in secretref::api::crds().unwrap() {
            let mut crd = json!(crd);
            crd["apiVersion"] = json!("apiextensions.k8s.io/v1");
            crd["kind"] = json!("CustomResourceDefinition");
            self.apply(&crd).await;
            wait_for(&format!("{plural} are served"), || async {
                let request = Request::new(path_of("secretref.dev/v1alpha1", plural, None));
                let answer = self.client.request::<Value>(request.list(&ListParams::default()).unwrap()).await;
                answer.map(|_| ()).map_err(|e| e.to_string())
            })
            .await;
        }
    }

    /// Server-side apply, by force.
    #[track_caller]
    pub fn apply(&self, object: &Value) -> impl Future<Output = Value> {
        let at = std::panic::Location::caller();
        async move { self.try_apply(object).await.unwrap_or_else(|e| panic!("{at}: {}", e.message)) }
    }

    /// The same from YAML.
    #[track_caller]
    pub fn apply_yaml(&self, yaml: &str) -> impl Future<Output = Value> {
        let object: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{e}:\n{yaml}"));
        let at = std::panic::Location::caller();
        async move { self.try_apply(&object).await.unwrap_or_else(|e| panic!("{at}: {}", e.message)) }
    }

    pub async fn try_apply(&self, object: &Value) -> Answer {
        let (path, name) = locate(object);
        let request = Request::new(path).patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object));
        self.ask(request.unwrap()).await
    }

    pub async fn create(&self, object: &Value) -> Answer {
        let options = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        self.ask(Request::new(locate(object).0).create(&options, object.to_string().into_bytes()).unwrap()).await
    }

    /// JSON merge patch, as someone else: this manager does not force anything.
    #[track_caller]
    pub fn merge(&self, kind: &str, namespace: Option<&str>, name: &str, patch: &Value) -> impl Future<Output = Value> {
        let at = std::panic::Location::caller();
        let params = PatchParams { field_manager: Some("someone-else".into()), ..PatchParams::default() };
        let request = Request::new(path(kind, namespace)).patch(name, &params, &Patch::Merge(patch)).unwrap();
        async move { self.ask(request).await.unwrap_or_else(|e| panic!("{at}: {}", e.message)) }
    }

    pub async fn get(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        match self.ask(Request::new(path(kind, namespace)).get(name, &Default::default()).unwrap()).await {
            Ok(object) => Some(object),
            Err(status) if status.code == 404 => None,
            Err(status) => panic!("{kind} {name}: {}", status.message),
        }
    }

    pub async fn list(&self, kind: &str, namespace: Option<&str>) -> Vec<Value> {
        let answer = self.ask(Request::new(path(kind, namespace)).list(&ListParams::default()).unwrap()).await;
        answer.unwrap_or_else(|e| panic!("{kind}: {}", e.message))["items"].as_array().cloned().unwrap_or_default()
    }

    /// Deletes; what is not there is fine.
    pub async fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) {
        self.delete_with(kind, namespace, name, PropagationPolicy::Background).await;
    }

    /// Deletes as `kubectl delete --cascade=...` does.
    pub async fn delete_with(&self, kind: &str, namespace: Option<&str>, name: &str, cascade: PropagationPolicy) {
        let params = DeleteParams { propagation_policy: Some(cascade), ..DeleteParams::default() };
        match self.ask(Request::new(path(kind, namespace)).delete(name, &params).unwrap()).await {
            Err(status) if status.code != 404 => panic!("{kind} {name}: {}", status.message),
            _ => {}
        }
    }

    async fn ask(&self, request: axum::http::Request<Vec<u8>>) -> Answer {
        self.client.request::<Value>(request).await.map_err(|e| match e {
            kube::Error::Api(status) => status,
            e => panic!("{e}"),
        })
    }

    /// A new namespace, bound to this organisation; "" binds it to none.
    pub async fn namespace(&self, prefix: &str, org: &str) -> Space {
        let name = format!("{prefix}-{}", unique());
        let labels = if org.is_empty() { json!({}) } else { json!({ "secretref.dev/org": org }) };
        let metadata = json!({ "name": name, "labels": labels });
        self.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })).await;
        Space { cluster: self.clone(), name }
    }

    /// The Events of an object, oldest first: reason and note.
    pub async fn events(&self, uid: &str) -> Vec<(String, String)> {
        let mut events = self.list("Event", None).await;
        events.retain(|e| e["regarding"]["uid"] == uid);
        events.sort_by_key(|e| e["eventTime"].as_str().unwrap_or_default().to_owned());
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        events.iter().map(|e| (text(&e["reason"]), text(&e["note"]))).collect()
    }

    /// Everything in a namespace, or on the cluster, but the data of Secrets and what the tests themselves wrote: no
    /// planted value is there.
    pub async fn assert_no_leaks(&self, leaks: &Leaks, namespace: Option<&str>) {
        let mut kinds = vec!["Event", "SecretReference", "SecretStore", "Secret", "Lease"];
        if namespace.is_none() {
            kinds.push("ClusterSecretStore");
        }
        for kind in kinds {
            for mut object in self.list(kind, namespace).await {
                let what = format!("{kind} {}", object["metadata"]["name"]);
                for ours in ["data", "spec"] {
                    object.as_object_mut().unwrap().remove(ours);
                }
                leaks.assert_none(&what, &object.to_string());
            }
        }
    }
}

fn locate(object: &Value) -> (String, String) {
    let text = |v: &Value| v.as_str().unwrap_or_else(|| panic!("not a whole object: {object}")).to_owned();
    let namespace = object["metadata"]["namespace"].as_str();
    (path(&text(&object["kind"]), namespace), text(&object["metadata"]["name"]))
}

/// Where the objects of a kind are; without a namespace those of all of them.
fn path(kind: &str, namespace: Option<&str>) -> String {
    let (version, plural) = match kind {
        "SecretReference" => ("secretref.dev/v1alpha1", "secretreferences"),
        "SecretStore" => ("secretref.dev/v1alpha1", "secretstores"),
        "ClusterSecretStore" => ("secretref.dev/v1alpha1", "clustersecretstores"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
        "ValidatingAdmissionPolicy" => ("admissionregistration.k8s.io/v1", "validatingadmissionpolicies"),
        "ValidatingAdmissionPolicyBinding" => ("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings"),
        "Namespace" => ("v1", "namespaces"),
        "Secret" => ("v1", "secrets"),
        "ConfigMap" => ("v1", "configmaps"),
        "Pod" => ("v1", "pods"),
        "ResourceQuota" => ("v1", "resourcequotas"),
        "Deployment" => ("apps/v1", "deployments"),
        "Lease" => ("coordination.k8s.io/v1", "leases"),
        "Event" => ("events.k8s.io/v1", "events"),
        _ => panic!("no such kind here yet: {kind}"),
    };
    path_of(version, plural, namespace)
}

fn path_of(version: &str, plural: &str, namespace: Option<&str>) -> String {
    let root = if version == "v1" { "/api" } else { "/apis" };
    match namespace {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}
