//! What the leader is asked about one reference: it looks, and changes nothing.

use jiff::Timestamp;

use super::Engine;
use crate::{
    operator::{
        explain::{Entry, Explanation, Unexplained, candidate},
        model::ObjectKey,
        tenancy,
    },
    resolve::{Read, candidates},
};

impl Engine {
    pub(super) fn explain(&self, key: &ObjectKey) -> Result<Explanation, Unexplained> {
        if !self.started {
            return Err(Unexplained::NotLeading);
        }
        let model = &self.references.get(key).ok_or(Unexplained::NoReference)?.model;
        let spec = model.spec().map_err(|_| Unexplained::NotYet)?;
        let labels = &self.namespaces.get(&key.namespace).ok_or(Unexplained::NotYet)?.seen.labels;
        let mut told =
            Explanation { reference: key.to_string(), time: Timestamp::now(), problem: None, entries: Vec::new() };
        let store = self.stores.get(&model.store);
        let bound = store.ok_or_else(|| tenancy::store_not_found(&model.store.to_string())).and_then(|store| {
            let tenant = tenancy::bind(&store.object.tenancy, labels, &spec, &model.store.to_string())?;
            Ok((store, tenant))
        });
        let (store, tenant) = match bound {
            Ok(bound) => bound,
            Err(problem) => {
                told.problem = Some(format!("{}: {}", problem.reason.as_str(), problem.message));
                return Ok(told);
            }
        };
        let now = Self::now();
        let place = |read: &Read| {
            let cached = match (read, &store.layers) {
                (Read::Key(key, version), Some(layers)) => layers.cached_for(key, version.as_deref()),
                _ => None,
            };
            candidate(read, self.table.look(&store.object.uid, read), cached, now)
        };
        let entries = candidates::all(&spec, &tenant, &store.object.scheme).into_iter();
        told.entries =
            entries.map(|(key, reads)| Entry { key, candidates: reads.iter().map(&place).collect() }).collect();
        Ok(told)
    }
}
