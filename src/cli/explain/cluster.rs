//! What a cluster says of one reference, with the caller's own rights: its objects, and the leader where it can be asked.

use std::{
    error::Error,
    io::{self, Write},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client};
use serde_json::json;

use super::{
    super::{Exit, NO},
    leader::{self, Leader},
};
use crate::{
    api::{ClusterSecretStore, EntryScope, SecretReference, SecretStore, StoreKind, StoreStatus},
    operator::explain::{Candidate, Explanation},
};

/// What was found out.
struct Findings {
    reference: SecretReference,
    store: Result<Option<StoreStatus>, kube::Error>,
    /// Or why it is not known.
    leader: Result<Explanation, String>,
}

/// Prints status, store and what the leader knows; fails when the reference is not in sync.
pub(super) async fn explain(namespace: &str, name: &str, as_json: bool, leader: &Leader) -> Result<(), Box<dyn Error>> {
    let found = look(namespace, name, leader).await?;
    let mut out = io::stdout().lock();
    if as_json {
        let store = found.store.as_ref().ok().and_then(Option::as_ref).map(serde_json::to_value).transpose()?;
        let whole = json!({
            "reference": format!("{namespace}/{name}"),
            "status": found.reference.status,
            "store": store,
            "leader": found.leader.as_ref().ok(),
            "leaderUnknown": found.leader.as_ref().err(),
        });
        serde_json::to_writer_pretty(&mut out, &whole)?;
        writeln!(out)?;
    } else {
        found.write(&mut out, &format!("{namespace}/{name}"))?;
    }
    out.flush()?;
    let conditions = found.reference.status.map(|status| status.conditions).unwrap_or_default();
    let synced = conditions.iter().any(|c| c.type_ == "Synced" && c.status == "True");
    if synced { Ok(()) } else { Err(Exit::silent(NO)) }
}

async fn look(namespace: &str, name: &str, leader: &Leader) -> Result<Findings, Box<dyn Error>> {
    let no = |message: String| Box::new(Exit { code: NO, message });
    let client = Client::try_default().await.map_err(|_| no("there is no cluster: set KUBECONFIG".to_owned()))?;
    let references: Api<SecretReference> = Api::namespaced(client.clone(), namespace);
    let reference = references.get_opt(name).await.map_err(|error| no(refused("SecretReference", name, &error)))?;
    let Some(reference) = reference else {
        return Err(no(format!("there is no SecretReference {name} in {namespace}: correct the name")));
    };
    let store_ref = &reference.spec.store_ref;
    let store = match store_ref.kind() {
        StoreKind::ClusterSecretStore => {
            let store = Api::<ClusterSecretStore>::all(client.clone()).get_opt(&store_ref.name).await;
            store.map(|store| store.map(|store| store.status.unwrap_or_default()))
        }
        StoreKind::SecretStore => {
            let store = Api::<SecretStore>::namespaced(client.clone(), namespace).get_opt(&store_ref.name).await;
            store.map(|store| store.map(|store| store.status.unwrap_or_default()))
        }
    };
    let leader = leader::ask(leader, client, &format!("{namespace}/{name}")).await;
    Ok(Findings { reference, store, leader })
}

impl Findings {
    fn write(&self, out: &mut impl Write, reference: &str) -> io::Result<()> {
        let status = self.reference.status.clone().unwrap_or_default();
        let spec = &self.reference.spec;
        let org = status.org.as_deref().unwrap_or("none");
        writeln!(out, "{reference} (store: {}, organisation: {org})", spec.store_ref.name)?;
        for entry in spec.data() {
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
            self.candidates(out, &entry.key)?;
        }
        for (index, source) in spec.data_from().iter().enumerate() {
            let (what, name) = match (&source.extract, &source.find) {
                (Some(extract), _) => ("extract", &extract.name),
                (_, Some(find)) => ("find", &find.prefix),
                _ => continue,
            };
            let key = format!("dataFrom[{index}].{what}");
            writeln!(out, "\n{key}: {name}")?;
            self.candidates(out, &key)?;
        }
        writeln!(out)?;
        conditions(out, "reference", &status.conditions)?;
        match &self.store {
            Ok(Some(store)) => {
                conditions(out, "store", &store.conditions)?;
                if let Some(guidance) = &store.guidance {
                    writeln!(out, "store guidance: {guidance}")?;
                }
            }
            Ok(None) => writeln!(out, "store: there is none of this name")?,
            Err(error) => writeln!(out, "store: {}", refused("the store", &spec.store_ref.name, error))?,
        }
        match &self.leader {
            Ok(Explanation { problem: Some(problem), .. }) => writeln!(out, "the leader looks nothing up: {problem}"),
            Ok(_) => Ok(()),
            Err(why) => writeln!(
                out,
                "\nThis is what the objects say. What only the operator's leader knows (each candidate's answer, last check, \
                 next check, age in its cache) is not in them, and it was not asked: {why}."
            ),
        }
    }

    /// Where the leader looks for an entry.
    fn candidates(&self, out: &mut impl Write, key: &str) -> io::Result<()> {
        let Ok(told) = &self.leader else { return Ok(()) };
        let candidates = told.entries.iter().find(|e| e.key == key).map_or(&[][..], |e| &e.candidates);
        let width = candidates.iter().map(|c| c.place.len()).max().unwrap_or_default();
        for (index, candidate) in candidates.iter().enumerate() {
            let times = times(candidate, told.time);
            writeln!(out, "  {}. {:width$}   {}{times}", index + 1, candidate.place, candidate.answer)?;
        }
        Ok(())
    }
}

/// When it was heard of and when it will be, as seen at this moment.
fn times(candidate: &Candidate, now: Timestamp) -> String {
    let mut parts = Vec::new();
    if let Some(last) = candidate.last_check {
        parts.push(format!("checked {} s ago", now.duration_since(last).as_secs()));
    }
    match candidate.next_check {
        Some(next) => parts.push(format!("next check in {} s", next.duration_since(now).as_secs())),
        None if candidate.answer == "Pinned" => parts.push("a pinned version is read once".to_owned()),
        None if candidate.answer == "NotAsked" => {}
        // Its store tells changes by itself, or spec.refreshInterval is 0s.
        None => parts.push("next check when it is told to".to_owned()),
    }
    if let Some(seconds) = candidate.cached_for_seconds {
        parts.push(format!("in the cache for {seconds} s"));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
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
