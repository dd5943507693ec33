//! Orders to restart: the newest one for a target is the one that counts.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The order to restart what consumes a target. A later one for the same target overrides it, whatever becomes of that:
/// an older mark never takes a newer one's place.
#[derive(Debug)]
pub struct Order {
    /// Namespace and name.
    pub(super) target: (String, String),
    number: u64,
    pub(super) mark: String,
}

/// The newest order for each target.
static NEWEST: Mutex<BTreeMap<(String, String), u64>> = Mutex::new(BTreeMap::new());

impl Order {
    /// An order that overrides all earlier ones: to be made at once, in the order of the changes.
    ///
    /// `mark` stands in the pod template for everybody to read: it must tell nothing about a value.
    pub fn new(namespace: &str, target: &str, mark: String) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let target = (namespace.to_owned(), target.to_owned());
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        newest.insert(target.clone(), number);
        Self { target, number, mark }
    }

    pub(super) fn is_newest(&self) -> bool {
        NEWEST.lock().unwrap_or_else(PoisonError::into_inner).get(&self.target) == Some(&self.number)
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.get(&self.target) == Some(&self.number) {
            newest.remove(&self.target);
        }
    }
}
