//! What is missing: every place that was looked into, where to put it, and what was probably meant.

use std::collections::BTreeSet;

use super::{Resolver, local::variable, resolution::Work, stores::ACCESS};
use crate::{
    api::{Reason, SecretRef},
    nearest::nearest,
    resolve::{Answer, Read, candidates, owners},
};

impl Resolver {
    /// The first entry that is missing everywhere: every place looked, and where to put it.
    pub(super) fn nowhere(&self, work: &Work<'_>) -> Option<String> {
        let local = self.local.as_ref()?;
        let (key, secret) = work.missing()?;
        let owners = owners(&work.tenant, secret.scope.unwrap_or_default());
        let variables: Vec<String> = owners.iter().map(|owner| variable(owner, &secret.name)).collect();
        let keys = work.keys(&secret);
        let first = variables.first()?;
        let (store, create) = match (work.store, &work.out) {
            (Some(store), None) => (
                format!("and store {} has no {}", store.name, keys.join(" and no ")),
                format!(", or create {} there", keys.first()?),
            ),
            (Some(store), Some(error)) => (
                format!("and store {} gave no answer ({})", store.name, error.failure.reason().as_str()),
                String::new(),
            ),
            (None, _) => ("and no store is configured".to_owned(), String::new()),
        };
        let file = &local.path;
        Some(format!(
            "{}: {} found nowhere: {} is neither in the environment nor in {file}, {store}: put {first}=... into {file}{create}",
            key,
            secret.name,
            variables.join(" or "),
        ))
    }

    /// What may help besides the sentence that production would give.
    pub(super) async fn hint(&self, work: &Work<'_>, reason: Reason) -> Option<String> {
        let failed = work.answers.iter().find_map(|(_, answer)| match answer {
            Answer::Failed(error) if error.failure.reason() == reason => Some(error),
            _ => None,
        });
        if let (Some(error), Some(store)) = (failed, work.store) {
            return Some(format!("store {}: {}", store.name, error.message));
        }
        if let Some(error) = failed {
            return Some(error.message.to_string());
        }
        if reason != Reason::SecretNotFound {
            return None;
        }
        let (_, secret) = work.missing()?;
        let mut names = BTreeSet::new();
        for owner in owners(&work.tenant, secret.scope.unwrap_or_default()) {
            if let (Some(store), None) = (work.store, &work.out)
                && let Ok(layers) = store.layers(&self.cache, &self.metrics).await
                && let Ok(keys) = layers.list(&work.scheme.scope_prefix(&owner), &ACCESS).await
            {
                names.extend(keys.iter().filter_map(|key| work.scheme.parse(&owner, key.as_str())));
            }
        }
        let mut names: BTreeSet<String> = names.into_iter().map(|name| name.as_str().to_owned()).collect();
        if let Some(local) = &self.local {
            for owner in owners(&work.tenant, secret.scope.unwrap_or_default()) {
                names.extend(local.names(&owner, "").await.unwrap_or_default());
            }
        }
        nearest(&secret.name, names.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"))
    }
}

impl Work<'_> {
    /// The first secret, with what asks for it, that is certainly in no scope that it may be in; one that must be there
    /// before one that need not.
    fn missing(&self) -> Option<(String, SecretRef)> {
        let extracts = self.spec.data_from().iter().enumerate().filter_map(|(index, source)| {
            let name = source.extract.as_ref()?.name.clone();
            Some((format!("spec.dataFrom[{index}].extract"), SecretRef { name, ..SecretRef::default() }))
        });
        let data = self.spec.data().iter().filter_map(|entry| Some((entry.key.clone(), entry.secret_ref.clone()?)));
        let (optional, needed): (Vec<_>, Vec<_>) = extracts
            .chain(data)
            .filter(|(_, secret)| {
                let reads = self.reads(secret);
                reads.iter().all(|read| matches!(self.answers.get(read), Some(Answer::Absent)))
            })
            .partition(|(_, secret)| secret.optional.unwrap_or_default());
        needed.into_iter().chain(optional).next()
    }

    pub(super) fn reads(&self, secret: &SecretRef) -> Vec<Read> {
        candidates::of(secret, &self.tenant, &self.scheme)
    }

    fn keys(&self, secret: &SecretRef) -> Vec<String> {
        let key = |read: &Read| if let Read::Key(key, _) = read { Some(key.to_string()) } else { None };
        self.reads(secret).iter().filter_map(key).collect()
    }
}
