//! Which stores there are, for whoever takes notifications of them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::api::Provider;

/// A store that may be notified of.
#[derive(Clone, Debug)]
pub struct Known {
    /// The uid of its object.
    pub uid: Arc<str>,
    /// The server behind it.
    pub provider: Arc<Provider>,
}

/// The stores by their names: `NAME`, or `NAMESPACE/NAME` for a tenant's.
#[derive(Debug, Default)]
pub struct Directory(RwLock<HashMap<String, Known>>);

impl Directory {
    /// A store is there, or is another one now.
    pub fn put(&self, label: String, uid: &Arc<str>, provider: &Provider) {
        let known = Known { uid: uid.clone(), provider: Arc::new(provider.clone()) };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(label, known);
    }

    /// A store is gone.
    pub fn remove(&self, label: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(label);
    }

    /// The store of this name.
    pub fn get(&self, label: &str) -> Option<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(label).cloned()
    }
}
