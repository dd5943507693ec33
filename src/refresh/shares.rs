//! What the parties ask of a store, and by how much the intervals of each are stretched where it cannot bear all that.

use std::{collections::HashMap, sync::Arc, time::Duration};

/// Of what a store allows, polls take this part at most.
const POLLS: f64 = 0.8;

/// Less than this is left when a party is gone: sums of many small numbers are not exact.
const NOTHING: f64 = 1e-9;

#[derive(Debug)]
pub(super) struct Shares {
    /// Polls per second that the store bears.
    capacity: f64,
    /// Polls per second that each party asks for.
    asked: HashMap<Arc<str>, f64>,
    total: f64,
    /// What one party may have, if there is not enough for all, and how much has changed since this was found.
    share: Option<f64>,
    moved: f64,
}

/// What a key costs: each of its parties asks for an equal part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    each: f64,
    parties: usize,
}

impl Cost {
    pub(super) fn new(interval: Duration, parties: usize) -> Self {
        let polls = if interval == Duration::MAX { 0.0 } else { 1.0 / interval.as_secs_f64().max(0.001) };
        Self { each: if parties == 0 { 0.0 } else { polls / parties as f64 }, parties }
    }
}

impl Shares {
    pub(super) fn new(requests_per_second: f64) -> Self {
        let capacity = requests_per_second * POLLS;
        Self { capacity, asked: HashMap::new(), total: 0.0, share: None, moved: 0.0 }
    }

    pub(super) fn bear(&mut self, requests_per_second: f64) {
        self.capacity = requests_per_second * POLLS;
        self.moved = f64::INFINITY;
    }

    /// The cost of a key changed, since somebody of `party` came or went; `parties` are those it has now.
    pub(super) fn change<'a>(
        &mut self,
        parties: impl Iterator<Item = &'a Arc<str>>,
        party: &Arc<str>,
        before: Cost,
        now: Cost,
    ) {
        for other in parties {
            let came = other == party && now.parties > before.parties;
            self.ask(other, now.each - if came { 0.0 } else { before.each });
        }
        if now.parties < before.parties {
            self.ask(party, -before.each);
        }
    }

    fn ask(&mut self, party: &Arc<str>, more: f64) {
        self.total += more;
        self.moved += more.abs();
        let asked = self.asked.entry(party.clone()).or_default();
        *asked += more;
        if *asked < NOTHING {
            self.asked.remove(party);
        }
    }

    /// By how much the interval of a key is stretched: as that of the one of its parties that asks for least, so that
    /// nobody's keys are slowed down by who else uses them. Who asks for its share or less waits no longer than it asked.
    pub(super) fn stretch<'a>(&mut self, parties: impl Iterator<Item = &'a Arc<str>>) -> f64 {
        // A change of a hundredth is not worth the look at all parties.
        if self.moved > self.total * 0.01 {
            self.share = share(self.asked.values().copied(), self.capacity);
            self.moved = 0.0;
        }
        let Some(share) = self.share else { return 1.0 };
        let stretches = parties.map(|party| self.asked.get(party).map_or(1.0, |asked| asked / share));
        stretches.min_by(f64::total_cmp).unwrap_or(1.0).max(1.0)
    }

    /// All that is asked for.
    #[cfg(test)]
    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// By how much the intervals of who asks for most are stretched, if any are.
    pub(super) fn overload(&self) -> Option<f64> {
        let share = share(self.asked.values().copied(), self.capacity)?;
        Some(self.asked.values().fold(1.0, |most: f64, asked| most.max(asked / share)))
    }
}

/// The most that one party may have, so that all of them together have no more than there is: who asks for less gets all
/// of it, and what it leaves is shared by the others. `None`: there is enough for all.
fn share(asked: impl Iterator<Item = f64>, capacity: f64) -> Option<f64> {
    let mut asked: Vec<f64> = asked.collect();
    let mut left = capacity;
    if capacity <= 0.0 || asked.iter().sum::<f64>() <= capacity {
        return None;
    }
    asked.sort_by(f64::total_cmp);
    let mut parties = asked.len();
    for one in asked {
        let each = left / parties as f64;
        if one > each {
            return Some(each);
        }
        left -= one;
        parties -= 1;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_asks_for_little_gets_it() {
        let share = |asked: &[f64]| share(asked.iter().copied(), 8.0);
        assert_eq!(share(&[]), None);
        assert_eq!(share(&[3.0, 4.0]), None);
        assert_eq!(share(&[100.0]), Some(8.0));
        assert_eq!(share(&[100.0, 2.0]), Some(6.0));
        assert_eq!(share(&[100.0, 2.0, 50.0]), Some(3.0));
        assert_eq!(share(&[4.0, 4.0, 4.0, 4.0]), Some(2.0));
    }

    proptest! {
        /// All that there is is given, no more, and nobody gets less than an equal part unless it asks for less.
        #[test]
        fn shares_are_fair(asked in proptest::collection::vec(0.001..100.0_f64, 1..40), capacity in 0.1..500.0_f64) {
            let total: f64 = asked.iter().sum();
            let share = share(asked.iter().copied(), capacity);
            let given: f64 = asked.iter().map(|a| share.map_or(*a, |s| a.min(s))).sum();
            prop_assert!((given - total.min(capacity)).abs() < 1e-6, "{given} of {capacity} for {total}");
            prop_assert!(share.is_none_or(|s| s >= capacity / asked.len() as f64 - 1e-9));
        }

        /// Whoever came and went, in whatever order: what is asked for is what those who are there ask for.
        #[test]
        fn what_is_asked_for_is_the_sum_of_the_keys(steps in proptest::collection::vec((0..6_usize, 1..60_u64), 1..80)) {
            let names: Vec<Arc<str>> = (0..6).map(|i| Arc::from(format!("n{i}"))).collect();
            let mut shares = Shares::new(1.0);
            let (mut there, mut interval) = (Vec::<usize>::new(), Duration::MAX);
            for (who, seconds) in steps {
                let before = Cost::new(interval, there.len());
                match there.iter().position(|w| *w == who) {
                    Some(at) => drop(there.remove(at)),
                    None => there.push(who),
                }
                interval = Duration::from_secs(seconds);
                let now = Cost::new(interval, there.len());
                shares.change(there.iter().map(|w| &names[*w]), &names[who], before, now);
                let total = if there.is_empty() { 0.0 } else { 1.0 / seconds as f64 };
                prop_assert!((shares.total - total).abs() < 1e-9);
                for (i, name) in names.iter().enumerate() {
                    let part = if there.contains(&i) { total / there.len() as f64 } else { 0.0 };
                    prop_assert!((shares.asked.get(name).copied().unwrap_or_default() - part).abs() < 1e-8);
                }
            }
        }
    }
}
