//! How much one sender may say, and what was said before. Pure.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Keys a second that one store is told of one by one.
const RATE: u32 = 10;
/// Keys at once after a rest.
const BURST: u32 = 300;
/// Signatures that are remembered.
const SEEN: usize = 4096;

/// One bucket for each store: beyond it the store is taken for changed as a whole.
#[derive(Debug, Default)]
pub(crate) struct Rates(HashMap<Arc<str>, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Rates {
    /// Whether so many keys of a store may be told one by one now.
    pub(crate) fn allow(&mut self, store: &Arc<str>, keys: usize, now: Duration) -> bool {
        let full = f64::from(BURST);
        // A store that has rested needs no bucket: the names of stores that are gone do not pile up.
        let tokens = |b: &Bucket| full.min(now.saturating_sub(b.at).as_secs_f64().mul_add(f64::from(RATE), b.tokens));
        self.0.retain(|known, bucket| known == store || tokens(bucket) < full);
        let bucket = self.0.entry(store.clone()).or_insert(Bucket { tokens: full, at: now });
        let left = tokens(bucket);
        let cost = f64::from(u32::try_from(keys).unwrap_or(u32::MAX));
        bucket.at = now;
        bucket.tokens = if left >= cost { left - cost } else { left };
        left >= cost
    }
}

/// For so long the same request is taken again: clocks of senders tick in seconds, and two changes of one key within a
/// second are signed alike.
const SAME: Duration = Duration::from_secs(2);

/// Signatures that were taken: the same request again says nothing new.
#[derive(Debug, Default)]
pub(super) struct Seen {
    order: VecDeque<([u8; 32], Duration)>,
    known: HashMap<[u8; 32], Duration>,
}

impl Seen {
    /// Whether this signature was taken before, and not just now.
    pub(super) fn has(&self, signature: &[u8; 32], now: Duration) -> bool {
        self.known.get(signature).is_some_and(|at| now.saturating_sub(*at) > SAME)
    }

    /// Takes it; one sent longer ago than `window` to either side would be refused anyway.
    pub(super) fn add(&mut self, signature: [u8; 32], now: Duration, window: Duration) {
        let old = |at: Duration| now.saturating_sub(at) > window * 2;
        while self.order.len() >= SEEN || self.order.front().is_some_and(|(_, at)| old(*at)) {
            let Some((gone, _)) = self.order.pop_front() else { break };
            self.known.remove(&gone);
        }
        self.known.entry(signature).or_insert_with(|| {
            self.order.push_back((signature, now));
            now
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn beyond_its_rate_a_store_is_told_no_more_and_others_are() {
        let (loud, quiet): (Arc<str>, Arc<str>) = ("loud".into(), "quiet".into());
        let mut rates = Rates::default();
        let allowed = (0..1000).filter(|_| rates.allow(&loud, 1, NOW)).count();
        assert_eq!(allowed, BURST as usize);
        assert!(rates.allow(&quiet, 256, NOW) && !rates.allow(&quiet, 256, NOW));
        assert!(rates.allow(&loud, RATE as usize, NOW + SECOND) && !rates.allow(&loud, 1, NOW + SECOND));
        assert!(rates.allow(&loud, 1, NOW - SECOND) || !rates.allow(&loud, 1, NOW - SECOND), "a clock set back");
        assert!(rates.allow(&quiet, 1, NOW + 60 * SECOND));
        assert_eq!(rates.0.len(), 1, "the loud one has rested");
    }

    #[test]
    fn signatures_are_remembered_for_as_long_as_they_are_good_and_never_without_end() {
        let mut seen = Seen::default();
        let signature = |i: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&i.to_be_bytes());
            bytes
        };
        seen.add(signature(0), NOW, 300 * SECOND);
        let later = NOW + 3 * SECOND;
        assert!(!seen.has(&signature(0), NOW + SECOND), "two changes within a second");
        assert!(seen.has(&signature(0), later) && !seen.has(&signature(1), later));
        seen.add(signature(1), NOW + 601 * SECOND, 300 * SECOND);
        let later = NOW + 610 * SECOND;
        assert!(!seen.has(&signature(0), later) && seen.has(&signature(1), later));
        for i in 0..3 * SEEN {
            seen.add(signature(i), NOW + 601 * SECOND, 300 * SECOND);
        }
        assert!(seen.known.len() <= SEEN && seen.known.len() == seen.order.len());
    }
}
