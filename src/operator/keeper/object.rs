//! A store object as the operator keeps it.

use std::sync::Arc;

use kube::ResourceExt;

use crate::{
    api::{CaRef, CaRefKind, ClusterSecretStore, Provider, SecretKeyRef, SecretStore, StoreStatus, Tenancy},
    naming::Scheme,
    operator::model::version,
    stores::{scheme, settings, settings::Settings},
};

/// A store object as the operator keeps it.
#[derive(Clone, Debug)]
pub struct StoreObject {
    /// Its uid.
    pub uid: Arc<str>,
    /// The generation of its spec.
    pub generation: i64,
    /// Numeric resourceVersion.
    pub version: u64,
    /// The server behind it.
    pub provider: Provider,
    /// How it spells keys.
    pub scheme: Scheme,
    /// Whom it admits.
    pub tenancy: Arc<Tenancy>,
    /// What the layers around it need to know.
    pub settings: Settings,
    /// Its status, as last seen.
    pub status: StoreStatus,
}

/// One generation of one store object; a store that is made anew begins with the same generation, and another uid.
pub type Era = (Arc<str>, i64);

impl StoreObject {
    /// Which object and generation this is.
    pub fn era(&self) -> Era {
        (self.uid.clone(), self.generation)
    }

    /// The platform's.
    pub fn platform(object: &ClusterSecretStore) -> Self {
        let spec = &object.spec;
        Self {
            uid: object.uid().unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            version: version(&object.metadata),
            scheme: scheme(&spec.provider, spec.layout, spec.name_style),
            settings: settings(
                &spec.provider,
                spec.cache.as_ref(),
                spec.limits.as_ref(),
                spec.health_check_interval.as_ref(),
            ),
            provider: spec.provider.clone(),
            tenancy: Arc::new(spec.tenancy.clone().unwrap_or_default()),
            status: object.status.clone().unwrap_or_default(),
        }
    }

    /// A tenant's: everything that has a namespace is in its own.
    pub fn tenant(object: &SecretStore) -> Self {
        let spec = &object.spec;
        let mut provider = spec.provider.clone();
        if let Some(kubernetes) = &mut provider.kubernetes {
            kubernetes.namespace = object.namespace();
        }
        Self {
            uid: object.uid().unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            version: version(&object.metadata),
            scheme: scheme(&provider, spec.layout, spec.name_style),
            settings: settings(
                &provider,
                spec.cache.as_ref(),
                spec.limits.as_ref(),
                spec.health_check_interval.as_ref(),
            ),
            provider,
            tenancy: Arc::default(),
            status: object.status.clone().unwrap_or_default(),
        }
    }

    /// The Secrets that hold its credentials and CA, and whether each is a ConfigMap instead.
    pub fn credentials(&self, own: Option<&str>) -> Vec<(CaRefKind, String, String)> {
        let namespace = |n: &Option<String>| own.map(str::to_owned).or_else(|| n.clone()).unwrap_or_default();
        let secret = |s: &SecretKeyRef| (CaRefKind::Secret, namespace(&s.namespace), s.name.clone());
        let ca = |c: &CaRef| (c.kind, namespace(&c.namespace), c.name.clone());
        let mut out = Vec::new();
        if let Some(vault) = &self.provider.vault {
            out.extend(vault.ca_ref.as_ref().map(ca));
            out.extend(vault.auth.token.as_ref().map(|t| secret(&t.secret_ref)));
            out.extend(vault.auth.app_role.as_ref().map(|a| secret(&a.secret_id.secret_ref)));
            out.extend(vault.auth.jwt.as_ref().map(|j| secret(&j.jwt.secret_ref)));
        }
        if let Some(azure) = &self.provider.azure_key_vault {
            out.extend(azure.ca_ref.as_ref().map(ca));
            let client = azure.auth.as_ref().and_then(|a| a.client_secret.as_ref());
            out.extend(client.map(|c| secret(&c.client_secret.secret_ref)));
        }
        if let Some(infisical) = &self.provider.infisical {
            out.extend(infisical.ca_ref.as_ref().map(ca));
            let universal = infisical.auth.universal_auth.as_ref();
            out.extend(universal.map(|u| secret(&u.client_id.secret_ref)));
            out.extend(universal.map(|u| secret(&u.client_secret.secret_ref)));
        }
        out
    }

    /// The addresses that it would connect to: an authority gets the credential, too.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let p = &self.provider;
        let vault = p.vault.as_ref().map(|v| v.address.as_str());
        let azure = p.azure_key_vault.as_ref().map(|a| a.vault_url.as_str());
        let authority = p.azure_key_vault.as_ref().and_then(|a| a.authority_host.as_deref());
        let infisical = p.infisical.as_ref().map(|i| i.host_url.as_str());
        [vault, azure, authority, infisical].into_iter().flatten()
    }
}
