//! The real API server, and namespaces in it.

use k8s_openapi::{
    api::{
        authorization::v1::SelfSubjectRulesReview,
        core::v1::{Namespace, Secret, ServiceAccount},
        rbac::v1::{ClusterRoleBinding, Role, RoleBinding},
    },
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::env::{env, eventually};

pub async fn config() -> Config {
    let kubeconfig = Kubeconfig::read_from(env("KUBECONFIG")).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

pub async fn admin() -> Client {
    Client::try_from(config().await).unwrap()
}

/// As this ServiceAccount.
pub async fn as_account(namespace: &str, name: &str) -> Client {
    let mut config = config().await;
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{name}"));
    config.auth_info.impersonate_groups = Some(vec!["system:authenticated".into(), "system:serviceaccounts".into()]);
    Client::try_from(config).unwrap()
}

pub fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// A namespace for one test; removed in the background at the end of it.
pub struct Place {
    pub client: Client,
    pub name: String,
}

impl Place {
    pub async fn new(test: &str) -> Self {
        let client = admin().await;
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("{test}-{unique:x}");
        let namespace: Namespace = object(json!({ "metadata": { "name": name } }));
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        Self { client, name }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    pub async fn create<K>(&self, value: Value) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + DeserializeOwned
            + serde::Serialize
            + Clone
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        self.api::<K>().create(&PostParams::default(), &object(value)).await.unwrap()
    }

    pub async fn secret(&self, name: &str, data: Value) -> Secret {
        self.create(json!({ "metadata": { "name": name }, "stringData": data })).await
    }

    pub async fn remove(&self, name: &str) {
        self.api::<Secret>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Gives an account of this namespace a role in it, and answers what acts as that account.
    pub async fn account(&self, name: &str, role: Option<Value>) -> Client {
        self.create::<ServiceAccount>(json!({ "metadata": { "name": name } })).await;
        let given = role.as_ref().map(|role| role["rules"].clone());
        if let Some(mut role) = role {
            role["metadata"] = json!({ "name": name });
            self.create::<Role>(role).await;
            self.create::<RoleBinding>(json!({
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": self.name }],
            }))
            .await;
        }
        let client = as_account(&self.name, name).await;
        if let Some(given) = given {
            // The API server learns of roles a moment later. Everybody has some rules: it is these that are waited for.
            let review = json!({ "spec": { "namespace": self.name } });
            eventually("the role", || async {
                let review: SelfSubjectRulesReview = object(review.clone());
                let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
                let rules = answer.ok().and_then(|r: SelfSubjectRulesReview| r.status).map(|s| s.resource_rules);
                let known: Vec<Value> = rules.into_iter().flatten().map(|rule| json!(rule)).collect();
                given.as_array().unwrap().iter().all(|rule| known.contains(rule))
            })
            .await;
        }
        client
    }

    /// Ends it without waiting.
    pub async fn end(self) {
        let name = format!("{}-reviewer", self.name);
        Api::<ClusterRoleBinding>::all(self.client.clone()).delete(&name, &DeleteParams::default()).await.ok();
        Api::<Namespace>::all(self.client.clone()).delete(&self.name, &DeleteParams::default()).await.ok();
    }
}

/// The documented role.
pub fn reader() -> Value {
    let role: Role = serde_saphyr::from_str(crate::env::documented("kubernetes reader")).unwrap();
    json!({ "rules": role.rules })
}
