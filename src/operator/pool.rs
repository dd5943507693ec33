//! Workers that namespaces share: however much one of them has to do, it leaves a part to the others.

use std::{collections::HashMap, sync::Arc};

/// A namespace may have this many times what is then still free: of a pool that nobody else uses three quarters, and the
/// more it is used the less.
const PER_FREE: usize = 3;

/// A number of workers, and who has them.
#[derive(Debug)]
pub struct Pool {
    size: usize,
    taken: usize,
    by: HashMap<Arc<str>, usize>,
}

impl Pool {
    /// All free.
    pub fn new(size: usize) -> Self {
        Self { size, taken: 0, by: HashMap::new() }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.size.saturating_sub(self.taken)
    }

    /// Whether a namespace may have one more.
    pub fn admits(&self, namespace: &str) -> bool {
        self.by.get(namespace).copied().unwrap_or_default() < self.free().saturating_mul(PER_FREE)
    }

    /// It has one more.
    pub fn take(&mut self, namespace: &Arc<str>) {
        self.taken += 1;
        *self.by.entry(namespace.clone()).or_default() += 1;
    }

    /// It has one less.
    pub fn give(&mut self, namespace: &str) {
        let Some(count) = self.by.get_mut(namespace) else { return };
        self.taken = self.taken.saturating_sub(1);
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.by.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(pool: &mut Pool, namespace: &str) -> usize {
        let namespace = Arc::from(namespace);
        std::iter::from_fn(|| pool.admits(&namespace).then(|| pool.take(&namespace))).count()
    }

    #[test]
    fn one_leaves_a_quarter_and_others_find_room() {
        let mut pool = Pool::new(32);
        assert_eq!(fill(&mut pool, "flood"), 24);
        assert_eq!((fill(&mut pool, "small"), pool.free()), (6, 2));
        pool.give("nobody");
        assert_eq!(pool.taken(), 30);
        (0..24).for_each(|_| pool.give("flood"));
        (0..6).for_each(|_| pool.give("small"));
        assert_eq!((pool.taken(), fill(&mut pool, "small")), (0, 24));
    }

    proptest! {
        /// Whatever three namespaces want, and whenever: there is room for one that has none.
        #[test]
        fn there_is_room_for_one_that_has_none(steps in proptest::collection::vec((0..3_u8, any::<bool>()), 0..400)) {
            let mut pool = Pool::new(64);
            let mut has = [0_usize; 3];
            for (who, more) in steps {
                let name: Arc<str> = who.to_string().into();
                let count = &mut has[usize::from(who)];
                if more && pool.admits(&name) {
                    pool.take(&name);
                    *count += 1;
                } else if !more && *count > 0 {
                    pool.give(&name);
                    *count -= 1;
                }
                prop_assert_eq!(pool.taken(), has.iter().sum::<usize>());
                prop_assert!(pool.admits("newcomer"), "{:?}", pool);
            }
        }
    }
}
