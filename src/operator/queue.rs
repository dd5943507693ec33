//! Which reference is synced next: new and never-synced ones first, and fair between namespaces.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::model::ObjectKey;

/// How urgent a sync is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// New, never synced, a new spec, or asked for.
    New,
    /// A value changed, or the target was tampered with.
    Changed,
    /// Everything that can wait: retries, recovery, bookkeeping.
    Rest,
}

impl Class {
    /// All, most urgent first.
    pub const ALL: [Self; 3] = [Self::New, Self::Changed, Self::Rest];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Rest => "rest",
        }
    }
}

/// References that wait for a sync, each once.
#[derive(Debug, Default)]
pub struct WorkQueue {
    waiting: HashMap<ObjectKey, Class>,
    lanes: BTreeMap<Class, Lane>,
}

/// One class: namespaces take turns.
#[derive(Debug, Default)]
struct Lane {
    turns: VecDeque<Arc<str>>,
    queues: HashMap<Arc<str>, VecDeque<ObjectKey>>,
}

impl WorkQueue {
    /// Adds a reference, or makes it more urgent.
    pub fn push(&mut self, key: &ObjectKey, class: Class) {
        match self.waiting.get(key) {
            Some(known) if *known <= class => return,
            // The place in the less urgent lane stays and is passed over when its turn comes.
            _ => self.waiting.insert(key.clone(), class),
        };
        let lane = self.lanes.entry(class).or_default();
        let queue = lane.queues.entry(key.namespace.clone()).or_default();
        if queue.is_empty() {
            lane.turns.push_back(key.namespace.clone());
        }
        queue.push_back(key.clone());
    }

    /// The next reference.
    pub fn pop(&mut self) -> Option<(ObjectKey, Class)> {
        self.pop_of(|_| true)
    }

    /// The next reference of those namespaces that are admitted.
    pub fn pop_of(&mut self, admits: impl Fn(&str) -> bool) -> Option<(ObjectKey, Class)> {
        for (class, lane) in &mut self.lanes {
            let mut passed = 0;
            while passed < lane.turns.len() {
                let Some(namespace) = lane.turns.pop_front() else { break };
                if !admits(&namespace) {
                    lane.turns.push_back(namespace);
                    passed += 1;
                    continue;
                }
                let Some(queue) = lane.queues.get_mut(&namespace) else { continue };
                let key = queue.pop_front();
                if queue.is_empty() {
                    lane.queues.remove(&namespace);
                } else {
                    lane.turns.push_back(namespace);
                }
                if let Some(key) = key
                    && self.waiting.get(&key) == Some(class)
                {
                    self.waiting.remove(&key);
                    return Some((key, *class));
                }
            }
        }
        None
    }

    /// A reference is gone.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.waiting.remove(key);
    }

    /// Nothing waits any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many wait, by class.
    pub fn depths(&self) -> [(Class, usize); 3] {
        Class::ALL.map(|class| (class, self.waiting.values().filter(|c| **c == class).count()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }

    fn drain(queue: &mut WorkQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|(k, _)| k.to_string()).collect()
    }

    #[test]
    fn new_ones_first_and_namespaces_take_turns() {
        let mut queue = WorkQueue::default();
        for i in 0..3 {
            queue.push(&key("flood", &i.to_string()), Class::New);
        }
        queue.push(&key("small", "a"), Class::New);
        queue.push(&key("small", "b"), Class::Rest);
        queue.push(&key("other", "c"), Class::Changed);
        assert_eq!(drain(&mut queue), ["flood/0", "small/a", "flood/1", "flood/2", "other/c", "small/b"]);
    }

    #[test]
    fn who_is_not_admitted_keeps_its_place() {
        let mut queue = WorkQueue::default();
        for name in ["flood/a", "flood/b", "small/c", "other/d"] {
            let (namespace, name) = name.split_once('/').unwrap_or_default();
            queue.push(&key(namespace, name), Class::New);
        }
        queue.push(&key("flood", "e"), Class::Changed);
        let others = |queue: &mut WorkQueue| queue.pop_of(|namespace| namespace != "flood").map(|(k, _)| k.to_string());
        assert_eq!(others(&mut queue).as_deref(), Some("small/c"));
        assert_eq!(others(&mut queue).as_deref(), Some("other/d"));
        assert_eq!(others(&mut queue), None);
        assert_eq!(drain(&mut queue), ["flood/a", "flood/b", "flood/e"]);
    }

    #[test]
    fn each_waits_once_in_its_most_urgent_class() {
        let mut queue = WorkQueue::default();
        queue.push(&key("n", "a"), Class::Rest);
        queue.push(&key("n", "b"), Class::Rest);
        queue.push(&key("n", "b"), Class::New);
        queue.push(&key("n", "b"), Class::Changed);
        queue.push(&key("n", "c"), Class::Rest);
        queue.remove(&key("n", "c"));
        assert_eq!(drain(&mut queue), ["n/b", "n/a"]);
        queue.push(&key("n", "b"), Class::Rest);
        assert_eq!(drain(&mut queue), ["n/b"]);
    }
}
