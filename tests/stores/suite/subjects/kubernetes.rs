//! Secrets of a namespace of its own for each case, each identity a ServiceAccount with its token.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    authorization::v1::SelfSubjectAccessReview,
    core::v1::{Secret, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::{AuthInfo, Kubeconfig},
};
use secretref::{
    api::{KubernetesProvider, Provider},
    naming::{Scheme, StoreKey},
    stores::{Connector, Marks, Payload, Store, connect, scheme},
};
use serde_json::{Value, json};

use super::as_base64;
use crate::{
    cluster::{Place, object},
    env::{Fixed, documented, env, eventually, plant},
    fault_proxy::FaultProxy,
    suite::{Fault, Subject, Who},
};

/// The API server's flow control; the time to wait is in a header.
const THROTTLED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too many requests","reason":"TooManyRequests","code":429}"#;
const UNAVAILABLE: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"not now","reason":"ServiceUnavailable","code":503}"#;

pub struct Kubernetes {
    place: Place,
    proxy: FaultProxy,
    tokens: HashMap<&'static str, String>,
}

/// The rules of a documented role.
fn rules(markers: &[&str]) -> Value {
    let role = |marker: &&str| serde_saphyr::from_str::<Role>(documented(marker)).unwrap().rules.unwrap();
    json!(markers.iter().flat_map(role).collect::<Vec<_>>())
}

impl Kubernetes {
    pub async fn new() -> Self {
        let place = Place::new("suite").await;
        let kubeconfig = Kubeconfig::read_from(env("KUBECONFIG")).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.clone().unwrap();
        let ca = match (cluster.certificate_authority_data, cluster.certificate_authority) {
            (Some(data), _) => String::from_utf8(STANDARD.decode(data).unwrap()).unwrap(),
            (None, file) => std::fs::read_to_string(file.unwrap()).unwrap(),
        };
        let proxy = FaultProxy::before(&cluster.server.unwrap(), &ca).await;
        let get_only = json!([
            { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] },
            { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"] },
        ]);
        let roles = [
            ("reader", Some(rules(&["kubernetes reader"]))),
            ("writer", Some(rules(&["kubernetes reader", "kubernetes writer"]))),
            ("get-only", Some(get_only)),
            ("powerless", None),
        ];
        let mut tokens = HashMap::new();
        for (name, rules) in roles {
            place.account(name, rules.map(|rules| json!({ "rules": rules }))).await;
            let accounts: Api<ServiceAccount> = place.api();
            let request: TokenRequest = object(json!({ "spec": { "audiences": [], "expirationSeconds": 3600 } }));
            let token = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
            tokens.insert(name, plant(&token.status.unwrap().token));
        }
        let subject = Self { place, proxy, tokens };
        subject.until(true).await;
        subject
    }

    fn client(&self, token: &str, ca: &str) -> Client {
        let body: String = ca.lines().filter(|line| !line.starts_with("-----")).collect();
        let auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        let mut config = Config::new(self.proxy.address.parse().unwrap());
        config.default_retry = false;
        (config.root_cert, config.auth_info) = (Some(vec![STANDARD.decode(body).unwrap()]), auth_info);
        Client::try_from(config).unwrap()
    }

    fn connect(&self, who: Who, ca: &str) -> Arc<dyn Store> {
        let token = match who {
            Who::Reader => &self.tokens["reader"],
            Who::Writer => &self.tokens["writer"],
            Who::GetOnly => &self.tokens["get-only"],
            Who::Powerless => &self.tokens["powerless"],
            Who::Stranger => &plant("wrong-token"),
        };
        let client = Some(self.client(token, ca));
        let with = Connector { ca: None, credentials: Arc::new(Fixed::default()), client, marks: Marks::random() };
        connect(&self.provider(), with).unwrap()
    }

    fn provider(&self) -> Provider {
        let namespace = Some(self.place.name.clone());
        Provider { kubernetes: Some(KubernetesProvider { namespace }), ..Provider::default() }
    }

    /// The API server learns of roles a moment later.
    async fn until(&self, given: bool) {
        for (who, verb) in [("reader", "list"), ("writer", "delete"), ("get-only", "get")] {
            if who != "reader" && !given {
                continue;
            }
            let client = self.client(&self.tokens[who], &self.proxy.ca);
            let attributes = json!({ "namespace": self.place.name, "resource": "secrets", "verb": verb });
            let review: SelfSubjectAccessReview = object(json!({ "spec": { "resourceAttributes": attributes } }));
            eventually("the role", || async {
                let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
                answer.is_ok_and(|r: SelfSubjectAccessReview| r.status.is_some_and(|s| s.allowed == given))
            })
            .await;
        }
    }
}

#[async_trait]
impl Subject for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn scheme(&self) -> Scheme {
        scheme(&self.provider(), None, None)
    }

    fn store(&self, who: Who) -> Arc<dyn Store> {
        self.connect(who, &self.proxy.ca)
    }

    async fn plant(&self, key: &StoreKey, payload: &Payload) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": key.as_str() },
            "data": as_base64(payload),
        });
        let params = PatchParams::apply("administrator").force();
        self.place.api::<Secret>().patch(key.as_str(), &params, &Patch::Apply(&secret)).await.unwrap();
    }

    async fn withdraw(&self, key: &StoreKey) {
        self.place.api::<Secret>().delete(key.as_str(), &DeleteParams::default()).await.unwrap();
    }

    async fn fault(&self, fault: Option<Fault>) -> bool {
        let fault = fault.map(|fault| match fault {
            Fault::Throttled(after) => Fault::Status(429, after, THROTTLED),
            Fault::Unavailable => Fault::Status(503, None, UNAVAILABLE),
            other => other,
        });
        self.proxy.fault(fault).await;
        true
    }

    fn requests(&self) -> Vec<String> {
        self.proxy.requests()
    }

    fn with_another_ca(&self) -> Option<Arc<dyn Store>> {
        // Another CA of the same kind: that of nobody.
        let mut other = rcgen::CertificateParams::default();
        other.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let other = other.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        Some(self.connect(Who::Reader, &other.pem()))
    }

    fn has_identities(&self) -> bool {
        true
    }

    fn logins(&self) -> Option<usize> {
        None
    }

    async fn end_sessions(&self) -> bool {
        false
    }

    async fn rights(&self, given: bool) {
        let bindings: Api<RoleBinding> = self.place.api();
        if given {
            let binding = object(json!({
                "metadata": { "name": "reader" },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
                "subjects": [{ "kind": "ServiceAccount", "name": "reader", "namespace": self.place.name }],
            }));
            bindings.create(&PostParams::default(), &binding).await.unwrap();
        } else {
            bindings.delete("reader", &DeleteParams::default()).await.unwrap();
        }
        self.until(given).await;
    }
}
