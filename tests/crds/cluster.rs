//! The API server: the definitions installed, a namespace for one test, and requests as `kubectl` makes them.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{Request, Status},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::{Value, json};

/// Where the group is served.
pub const GROUP: &str = "/apis/secretref.dev/v1alpha1";

/// A namespace of its own on a cluster that has the definitions.
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
}

impl Cluster {
    pub async fn new() -> Self {
        assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG is not set: tests/run.sh brings up a cluster");
        let client = Client::try_default().await.expect("a client from KUBECONFIG");
        install(&client).await;
        let namespace = serde_json::from_value(json!({ "metadata": { "generateName": "crds-" } })).unwrap();
        let namespace: Namespace = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        Self { client, namespace: namespace.metadata.name.unwrap() }
    }

    /// Not in `Drop`, which cannot wait; after a panic the namespace stays for a look at it.
    pub async fn done(self) {
        Api::<Namespace>::all(self.client).delete(&self.namespace, &DeleteParams::background()).await.unwrap();
    }

    /// The collection that holds a kind.
    pub fn path(&self, kind: &str) -> String {
        match kind {
            "ClusterSecretStore" => format!("{GROUP}/clustersecretstores"),
            "SecretStore" => format!("{GROUP}/namespaces/{}/secretstores", self.namespace),
            "SecretReference" => format!("{GROUP}/namespaces/{}/secretreferences", self.namespace),
            _ => panic!("no such kind: {kind}"),
        }
    }

    /// Creates, refusing unknown fields as `kubectl` does.
    pub async fn create(&self, manifest: &Value, dry_run: bool) -> Result<Value, Box<Status>> {
        let manifest = complete(manifest);
        let path = self.path(manifest["kind"].as_str().unwrap());
        let options = PostParams { dry_run, field_manager: Some("crds-test".into()) };
        let mut request = Request::new(path).create(&options, manifest.to_string().into_bytes()).unwrap();
        *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().unwrap();
        status(self.client.request(request).await)
    }

    /// Puts a manifest in the place of the object of its name.
    pub async fn replace(&self, manifest: &Value) -> Result<Value, Box<Status>> {
        let mut manifest = complete(manifest);
        let path = self.path(manifest["kind"].as_str().unwrap());
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        let current = self.get(&format!("{path}/{name}")).await;
        manifest["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
        let body = manifest.to_string().into_bytes();
        status(self.client.request(Request::new(path).replace(&name, &PostParams::default(), body).unwrap()).await)
    }

    /// Merges into the status of a reference.
    pub async fn patch_status(&self, name: &str, change: &Value) -> Result<Value, Box<Status>> {
        let change = Patch::Merge(json!({ "status": change }));
        let request = Request::new(self.path("SecretReference")).patch_subresource(
            "status",
            name,
            &PatchParams::default(),
            &change,
        );
        status(self.client.request(request.unwrap()).await)
    }

    /// Reads a path with its query.
    pub async fn get(&self, path: &str) -> Value {
        let mut request = Request::new("").get("x", &Default::default()).unwrap();
        *request.uri_mut() = path.parse().unwrap();
        self.client.request(request).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

fn complete(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    manifest["apiVersion"] = json!("secretref.dev/v1alpha1");
    manifest
}

fn status(answer: kube::Result<Value>) -> Result<Value, Box<Status>> {
    answer.map_err(|e| match e {
        kube::Error::Api(status) => status,
        e => panic!("{e}"),
    })
}

async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (plural, crd) in secretref::api::crds().unwrap() {
        let name = format!("{plural}.secretref.dev");
        let before = api.get_opt(&name).await.unwrap().and_then(|c| c.metadata.generation);
        let apply = PatchParams::apply("crds-test").force();
        let after = api.patch(&name, &apply, &Patch::Apply(&crd)).await.unwrap().metadata.generation;
        let established = await_condition(api.clone(), &name, is_crd_established());
        tokio::time::timeout(Duration::from_secs(120), established).await.expect("established in time").unwrap();
        served(client, plural).await;
        if before.is_some() && before != after {
            tokio::time::sleep(Duration::from_secs(2)).await; // the former schema is served for a moment longer
        }
    }
}

/// The condition comes a little before the first answer, and that one before discovery names it.
async fn served(client: &Client, plural: &str) {
    for _ in 0..1200 {
        let list = Request::new(format!("{GROUP}/{plural}")).list(&Default::default()).unwrap();
        let mut discovery = Request::new("").get("x", &Default::default()).unwrap();
        *discovery.uri_mut() = GROUP.parse().unwrap();
        let (list, discovery) = (client.request::<Value>(list).await, client.request::<Value>(discovery).await);
        let named =
            discovery.is_ok_and(|kinds| kinds["resources"].as_array().unwrap().iter().any(|r| r["name"] == plural));
        if list.is_ok() && named {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{plural} are not served");
}
