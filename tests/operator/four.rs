//! Four kinds of stores in one cluster: OpenBao, Secrets of a platform namespace, and fakes of Infisical and Key Vault.

use serde_json::json;

use crate::{
    fakes::{
        FakeInfisical, FakeKeyVault,
        infisical::{self, PROJECT, Release},
        key_vault::TENANT,
    },
    fault_proxy::FaultProxy,
    harness::{Space, plant_credential},
    world::World,
};

/// The four, each behind a proxy of its own.
pub struct Four {
    pub world: World,
    platform: Space,
    pub key_vault: FakeKeyVault,
    pub infisical: FakeInfisical,
    pub stores: [Store; 4],
}

/// One of them, and the one reference that reads from it.
pub struct Store {
    pub kind: &'static str,
    pub name: String,
    /// Kubernetes is the cluster's own API server: there is nothing in between.
    pub proxy: Option<FaultProxy>,
}

impl Four {
    pub async fn new() -> Self {
        let mut world = World::new().await;
        let platform = world.space("").await;
        // What is down refuses connections at once: nothing is waited for, and who is slow on a busy machine is healthy.
        let limits = json!({ "timeout": "30s", "minRefreshInterval": "1s", "requestsPerSecond": 100, "burst": 100 });

        let proxy = FaultProxy::before(&world.bao.address, &world.bao.ca).await;
        let vault = json!({ "address": proxy.address, "caBundle": proxy.ca });
        let spec = json!({ "provider": { "vault": vault }, "limits": limits });
        let openbao = Store { kind: "vault", name: world.add_store(spec).await, proxy: Some(proxy) };

        let provider = json!({ "vault": null, "kubernetes": { "namespace": platform.name } });
        let name = world.add_store(json!({ "provider": provider })).await;
        let kubernetes = Store { kind: "kubernetes", name, proxy: None };

        let infisical = FakeInfisical::start(Release::Current).await;
        let identity = infisical.identity(infisical::Role::Viewer);
        let login = json!({ "id": identity.client_id, "secret": plant_credential(&identity.client_secret) });
        world.home.secret("infisical", &login).await;
        let proxy = FaultProxy::before(&infisical.address(), &infisical.served.ca).await;
        let by = |key: &str| json!({ "secretRef": { "name": "infisical", "namespace": world.home.name, "key": key } });
        let provider = json!({ "vault": null, "infisical": {
            "hostUrl": proxy.address, "caBundle": proxy.ca, "projectId": PROJECT, "environment": "dev",
            "auth": { "universalAuth": { "clientId": by("id"), "clientSecret": by("secret") } },
        } });
        let name = world.add_store(json!({ "provider": provider, "limits": limits })).await;
        let of_infisical = Store { kind: "infisical", name, proxy: Some(proxy) };

        let key_vault = FakeKeyVault::start().await;
        key_vault.role_definition("operator-00d88624", documented("azure reader"));
        let client_secret = plant_credential("Zq8~the-secret-of-the-operator");
        key_vault.client_secret("operator-00d88624", &client_secret);
        let proxy = FaultProxy::before(&key_vault.url(), &key_vault.ca()).await;
        world.home.secret("azure", &json!({ "secret": client_secret, "ca": proxy.ca })).await;
        let in_home = |key: &str| json!({ "name": "azure", "namespace": world.home.name, "key": key });
        let mut ca = in_home("ca");
        ca["kind"] = json!("Secret");
        let provider = json!({ "vault": null, "azureKeyVault": {
            "vaultUrl": proxy.address, "authorityHost": proxy.address, "caRef": ca,
            "auth": { "clientSecret": {
                "tenantId": TENANT, "clientId": "operator-00d88624",
                "clientSecret": { "secretRef": in_home("secret") },
            } },
        } });
        let name = world.add_store(json!({ "provider": provider, "limits": limits })).await;
        let azure = Store { kind: "key-vault", name, proxy: Some(proxy) };

        let stores = [openbao, kubernetes, of_infisical, azure];
        for store in &stores {
            world.until_store(&store.name, "True", "Healthy").await;
        }
        Self { world, platform, key_vault, infisical, stores }
    }

    /// Writes a value into one of them, past the product; `acme` or the platform's.
    pub async fn put(&self, kind: &str, org: bool, name: &str, value: &str) {
        let scope = if org { "acme" } else { "GLOBAL" };
        match kind {
            "vault" => self.world.bao.put(&format!("{scope}--{name}"), json!({ "value": value })).await,
            "kubernetes" => {
                let name = format!("{}--{name}", scope.to_lowercase());
                self.platform.secret(&name, &json!({ "value": value })).await;
            }
            "infisical" => {
                self.infisical.put(&format!("/{scope}"), &name.to_uppercase().replace('-', "_"), value);
            }
            _ => _ = self.key_vault.put(&format!("{scope}--{name}"), value),
        }
    }

    pub async fn until(&self, kind: &str, own: &str, shared: &str) {
        self.world.acme.until_data(kind, &json!({ "OWN": own, "SHARED": shared })).await;
    }
}

/// The fenced block of docs/stores.md after its marker.
fn documented(marker: &str) -> &'static str {
    let docs = include_str!("../../docs/stores.md");
    let (_, after) = docs.split_once(&format!("<!-- tests: {marker} -->\n```")).expect("no such marker");
    let (_, block) = after.split_once('\n').unwrap();
    block.split_once("\n```").unwrap().0
}
