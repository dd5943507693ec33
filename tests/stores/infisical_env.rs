//! An Infisical: a fake of either release, or a real one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use reqwest::{Certificate, Method};
use secretref::{
    api::{self, InfisicalAuth, Provider, SecretKeyRef, ServiceAccountRef, UniversalAuth},
    secret::SecretValue,
    stores::{Connector, Credentials, Marks, Payload, Store, StoreError, Stored, connect},
};
use serde_json::{Value, json};

use crate::{
    env::{Fixed, plant, source},
    fakes::infisical::{FakeInfisical, Identity, PROJECT, RELEASES, Role},
};

pub fn by_secret() -> InfisicalAuth {
    let universal = UniversalAuth { client_id: source("client-id"), client_secret: source("client-secret") };
    InfisicalAuth { universal_auth: Some(universal), kubernetes: None }
}

pub fn settings(address: &str, auth: InfisicalAuth) -> api::Infisical {
    api::Infisical {
        host_url: address.into(),
        project_id: PROJECT.into(),
        environment: "dev".into(),
        root_path: None,
        ca_bundle: None,
        ca_ref: None,
        auth,
    }
}

pub fn credentials(client_id: &str, client_secret: &str) -> Arc<dyn Credentials> {
    let pairs = [("client-id", client_id), ("client-secret", client_secret)];
    Arc::new(Fixed(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()))
}

pub fn try_store(
    settings: api::Infisical,
    ca: Option<String>,
    credentials: Arc<dyn Credentials>,
) -> Result<Arc<dyn Store>, StoreError> {
    // As in one installation: marks outlive a session.
    let marks = Marks::new(&SecretValue::from("an installation's key".to_owned()));
    let with = Connector { ca, credentials, client: None, marks };
    connect(&Provider { infisical: Some(settings), ..Provider::default() }, with)
}

/// A store of the fake, for an identity.
pub fn store(fake: &FakeInfisical, identity: &Identity) -> Arc<dyn Store> {
    store_with(fake, identity, |_| {})
}

pub fn store_with(
    fake: &FakeInfisical,
    identity: &Identity,
    change: impl FnOnce(&mut api::Infisical),
) -> Arc<dyn Store> {
    let mut settings = settings(&fake.address(), by_secret());
    change(&mut settings);
    plant(&identity.client_secret);
    try_store(settings, Some(fake.served.ca.clone()), credentials(&identity.client_id, &identity.client_secret))
        .unwrap()
}

/// A ServiceAccount's token, and what it was asked for.
pub struct Account {
    pub jwt: String,
    pub asked: Mutex<Vec<(Option<String>, Vec<String>)>>,
}

#[async_trait]
impl Credentials for Account {
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        Fixed(HashMap::new()).secret(source).await
    }

    async fn service_account_token(
        &self,
        account: Option<&ServiceAccountRef>,
        audiences: &[String],
    ) -> Result<SecretValue, StoreError> {
        self.asked.lock().unwrap().push((account.map(|a| a.name.clone()), audiences.to_vec()));
        Ok(SecretValue::from(self.jwt.clone()))
    }

    fn lends_own_identity(&self) -> bool {
        false
    }
}

/// The one value.
#[track_caller]
pub fn value(stored: Option<Stored>) -> String {
    let Payload::Single(value) = stored.expect("not there").payload else { panic!("not a single value") };
    value.expose_str().expect("not text").to_owned()
}

/// A root folder of its own in a project, as somebody sees it who may write there.
pub struct Lab {
    pub store: Arc<dyn Store>,
    pub environment: String,
    pub root: String,
    address: String,
    project: String,
    token: String,
    http: reqwest::Client,
    _fake: Option<FakeInfisical>,
}

impl Lab {
    /// The real server of the environment variables `INFISICAL_*` if there is one, else a fake of each release.
    pub async fn all(name: &str) -> Vec<Self> {
        let variable = |name: &str| std::env::var(format!("INFISICAL_{name}")).ok();
        if let (Some(address), Some(id), Some(secret), Some(project), Some(environment)) = (
            variable("URL"),
            variable("CLIENT_ID"),
            variable("CLIENT_SECRET"),
            variable("PROJECT_ID"),
            variable("ENVIRONMENT"),
        ) {
            let ca = variable("CACERT").map(|path| std::fs::read_to_string(path).unwrap());
            let settings = api::Infisical { project_id: project, environment, ..settings(&address, by_secret()) };
            plant(&secret);
            return vec![Self::new(name, settings, ca, &id, &secret, None).await];
        }
        let mut labs = Vec::new();
        for release in RELEASES {
            let fake = FakeInfisical::start(release).await;
            let identity = fake.identity(Role::Admin);
            let (settings, ca) = (settings(&fake.address(), by_secret()), fake.served.ca.clone());
            let Identity { client_id, client_secret, .. } = identity;
            labs.push(Self::new(name, settings, Some(ca), &client_id, &client_secret, Some(fake)).await);
        }
        labs
    }

    async fn new(
        name: &str,
        mut settings: api::Infisical,
        ca: Option<String>,
        id: &str,
        secret: &str,
        fake: Option<FakeInfisical>,
    ) -> Self {
        let mut http = reqwest::Client::builder();
        if let Some(ca) = &ca {
            http = http.tls_certs_only(Certificate::from_pem_bundle(ca.as_bytes()).unwrap());
        }
        let http = http.build().unwrap();
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let root = format!("/{name}-{unique:x}");
        settings.root_path = Some(root.clone());
        let login = format!("{}/api/v1/auth/universal-auth/login", settings.host_url);
        let body = json!({ "clientId": id, "clientSecret": secret });
        let answer: Value = http.post(login).json(&body).send().await.unwrap().json().await.unwrap();
        let lab = Self {
            environment: settings.environment.clone(),
            root,
            address: settings.host_url.clone(),
            project: settings.project_id.clone(),
            token: plant(answer["accessToken"].as_str().unwrap()),
            http,
            store: try_store(settings, ca, credentials(id, secret)).unwrap(),
            _fake: fake,
        };
        lab.folder("").await;
        lab
    }

    /// The API of October 2024, which current servers speak, too.
    async fn call(&self, method: Method, path: &str, mut body: Value) -> (u16, Value) {
        body["workspaceId"] = json!(self.project);
        body["environment"] = json!(self.environment);
        let url = format!("{}/api/{path}", self.address);
        let response = self.http.request(method, url).bearer_auth(&self.token).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    fn path(&self, below: &str) -> String {
        if below.is_empty() { self.root.clone() } else { format!("{}/{below}", self.root) }
    }

    /// A folder below the root; the root itself if it is empty.
    pub async fn folder(&self, below: &str) {
        let path = self.path(below);
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = if parent.is_empty() { "/" } else { parent };
        let (status, answer) = self.call(Method::POST, "v1/folders", json!({ "path": parent, "name": name })).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Writes a secret; its folder is there.
    pub async fn put(&self, key: &str, value: &str) {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        let body = json!({ "secretPath": self.path(folder), "secretValue": value });
        let path = format!("v3/secrets/raw/{name}");
        let (status, _) = self.call(Method::POST, &path, body.clone()).await;
        if status != 200 {
            let (status, answer) = self.call(Method::PATCH, &path, body).await;
            assert_eq!(status, 200, "{answer}");
        }
    }

    pub async fn import(&self, into: &str, from: &str) {
        let import = json!({ "environment": self.environment, "path": self.path(from) });
        let body = json!({ "path": self.path(into), "import": import });
        let (status, answer) = self.call(Method::POST, "v1/secret-imports", body).await;
        assert_eq!(status, 200, "{answer}");
    }
}
