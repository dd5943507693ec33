//! What the objects of a cluster say of one reference, with the caller's own rights.

use std::{
    error::Error,
    io::{self, Write},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client};
use serde_json::json;

use super::super::{Exit, NO};
use crate::api::{ClusterSecretStore, EntryScope, SecretReference, SecretStore, StoreKind, StoreStatus};

/// Prints status and store; fails when the reference is not in sync.
pub(super) async fn explain(namespace: &str, name: &str, as_json: bool) -> Result<(), Box<dyn Error>> {
    let no = |message: String| Box::new(Exit { code: NO, message });
    let client = Client::try_default().await.map_err(|_| no("there is no cluster: set KUBECONFIG".to_owned()))?;
    let references: Api<SecretReference> = Api::namespaced(client.clone(), namespace);
    let reference = references.get_opt(name).await.map_err(|error| no(refused("SecretReference", name, &error)))?;
    let Some(reference) = reference else {
        return Err(no(format!("there is no SecretReference {name} in {namespace}: correct the name")));
    };
    let status = reference.status.clone().unwrap_or_default();
    let store_ref = &reference.spec.store_ref;
    let store: Result<Option<StoreStatus>, kube::Error> = match store_ref.kind() {
        StoreKind::ClusterSecretStore => {
            let store = Api::<ClusterSecretStore>::all(client).get_opt(&store_ref.name).await;
            store.map(|store| store.map(|store| store.status.unwrap_or_default()))
        }
        StoreKind::SecretStore => {
            let store = Api::<SecretStore>::namespaced(client, namespace).get_opt(&store_ref.name).await;
            store.map(|store| store.map(|store| store.status.unwrap_or_default()))
        }
    };
    let mut out = io::stdout().lock();
    if as_json {
        let store = store.as_ref().ok().and_then(Option::as_ref).map(serde_json::to_value).transpose()?;
        let whole = json!({ "reference": format!("{namespace}/{name}"), "status": status, "store": store });
        serde_json::to_writer_pretty(&mut out, &whole)?;
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "{namespace}/{name} (store: {}, organisation: {})",
            store_ref.name,
            status.org.as_deref().unwrap_or("none")
        )?;
        for entry in reference.spec.data() {
            let from = status.entries.iter().find(|e| e.key == entry.key);
            match (&entry.secret_ref, from) {
                (None, _) => writeln!(out, "\n{}: plain: it stands in the reference", entry.key)?,
                (Some(secret), None) => writeln!(out, "\n{}: {}: the status names no source", entry.key, secret.name)?,
                (Some(secret), Some(from)) => {
                    let scope = match from.scope {
                        EntryScope::Org => "the organisation's own",
                        EntryScope::Global => "the platform-wide one",
                    };
                    let version = from.version.as_ref().map(|v| format!(", version {v}")).unwrap_or_default();
                    writeln!(out, "\n{}: {}: {scope}{version}", entry.key, secret.name)?;
                }
            }
        }
        writeln!(out)?;
        conditions(&mut out, "reference", &status.conditions)?;
        match &store {
            Ok(Some(store)) => {
                conditions(&mut out, "store", &store.conditions)?;
                if let Some(guidance) = &store.guidance {
                    writeln!(out, "store guidance: {guidance}")?;
                }
            }
            Ok(None) => writeln!(out, "store: there is none of this name")?,
            Err(error) => writeln!(out, "store: {}", refused("the store", &store_ref.name, error))?,
        }
        writeln!(
            out,
            "\nThis is what the objects say. What only the operator's leader knows (each candidate's answer, last check, next \
             check, age in its cache) is not in them."
        )?;
    }
    out.flush()?;
    let synced = status.conditions.iter().any(|c| c.type_ == "Synced" && c.status == "True");
    if synced { Ok(()) } else { Err(Exit::silent(NO)) }
}

fn conditions(out: &mut impl Write, of: &str, conditions: &[Condition]) -> io::Result<()> {
    for condition in conditions {
        let since = condition.last_transition_time.0;
        let (kind, status, reason) = (&condition.type_, &condition.status, &condition.reason);
        writeln!(out, "{of} {kind}: {status} ({reason}, since {since}): {}", condition.message)?;
    }
    Ok(())
}

fn refused(what: &str, name: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("you may not read {what} {name}: ask for the verb get on it")
        }
        kube::Error::Api(status) if status.code == 404 => {
            "the definitions are not installed: secretref crds | kubectl apply -f -".to_owned()
        }
        _ => "the cluster does not answer: look at KUBECONFIG and at the network".to_owned(),
    }
}
