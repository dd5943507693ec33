//! What the store was asked for: OpenBao's own audit log, counted by key and by cycle.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{INTERVAL, harness::env};

/// A poll may start this much before its moment, as far as the two clocks and their rounding go.
const EARLY: f64 = 2.0;

pub struct Ledger {
    log: PathBuf,
    /// The OpenBao namespace of this test, as the log writes it.
    namespace: String,
}

/// Reads of each key, as seconds since the epoch, in their order.
pub type Reads = BTreeMap<String, Vec<f64>>;

/// Each key's moment in its cycle.
pub type Phases = BTreeMap<String, f64>;

impl Ledger {
    pub fn new(namespace: &str) -> Self {
        let log = PathBuf::from(env("SECRETREF_BAO")).join("audit.log");
        assert!(log.exists(), "{} is not there", log.display());
        Self { log, namespace: format!("{namespace}/") }
    }

    /// All requests of this namespace since then: operation, path, moment.
    fn requests(&self, since: Timestamp) -> Vec<(String, String, f64)> {
        let lines = BufReader::new(File::open(&self.log).unwrap()).lines();
        let marked = format!("\"path\":\"{}\"", self.namespace);
        let mut found = Vec::new();
        for line in lines {
            let line = line.unwrap();
            if !line.contains(&marked) {
                continue;
            }
            // The last line may be half written.
            let Ok(entry) = serde_json::from_str::<Value>(&line) else { continue };
            let request = &entry["request"];
            let at: Timestamp = entry["time"].as_str().unwrap().parse().unwrap();
            if entry["type"] == "request" && request["namespace"]["path"] == self.namespace.as_str() && at >= since {
                let text = |v: &Value| v.as_str().unwrap().to_owned();
                found.push((text(&request["operation"]), text(&request["path"]), seconds(at)));
            }
        }
        found
    }

    pub fn reads(&self, since: Timestamp) -> Reads {
        let mut reads = Reads::new();
        for (operation, path, at) in self.requests(since) {
            if let (Some(key), "read") = (path.strip_prefix("secret/data/"), operation.as_str()) {
                reads.entry(key.to_owned()).or_default().push(at);
            }
        }
        reads
    }

    pub fn logins(&self, since: Timestamp) -> usize {
        self.requests(since).iter().filter(|(_, path, _)| path == "auth/approle/login").count()
    }
}

pub fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64 + f64::from(at.subsec_nanosecond()) / 1e9
}

/// Which of its cycles a read of a key falls into, counted from `phase`.
fn cycle(at: f64, phase: f64) -> i64 {
    ((at - phase + EARLY) / INTERVAL.as_secs_f64()).floor() as i64
}

/// Every key was read once in each cycle, none left out. Answers how many reads there were in cycles that are whole for
/// all keys, and how many such cycles.
pub fn once_in_every_cycle(reads: &Reads, phases: &Phases) -> (usize, usize) {
    let mut whole = usize::MAX;
    for (key, times) in reads {
        let cycles: Vec<i64> = times.iter().map(|at| cycle(*at, phases[key])).collect();
        let expected: Vec<i64> = (cycles[0]..).take(cycles.len()).collect();
        assert_eq!(cycles, expected, "{key} was read at {times:?}");
        whole = whole.min(times.len());
    }
    let read = reads.values().map(|times| times.iter().take(whole).count()).sum();
    (read, whole)
}

/// No key was read twice in one of its cycles: those that passed while nobody led may be left out.
pub fn never_twice_in_a_cycle(reads: &Reads, phases: &Phases) {
    for (key, times) in reads {
        let cycles: Vec<i64> = times.iter().map(|at| cycle(*at, phases[key])).collect();
        assert!(cycles.windows(2).all(|w| w[0] < w[1]), "{key}: cycles {cycles:?}, read at {times:?}");
    }
}

/// Reads until half an interval after `from`: who reads all keys at once, and those that are due in their turn, reads more
/// than there are. A key that was late before it, and is on time afterwards, is no burst.
pub fn in_half_an_interval(reads: &Reads, from: Timestamp) -> usize {
    let (from, to) = (seconds(from), seconds(from) + 0.5 * INTERVAL.as_secs_f64());
    reads.values().flatten().filter(|at| (from..to).contains(*at)).count()
}

/// No key was read soon after it had been read: each waits for its turn, whoever reads.
pub fn never_soon_again(reads: &Reads) {
    for (key, times) in reads {
        let soon = times.windows(2).any(|w| w[1] - w[0] < 0.5 * INTERVAL.as_secs_f64());
        assert!(!soon, "{key}: read at {times:?}");
    }
}

/// Each key's moment, from reads in cycles that follow each other: it may be read late, and never early.
pub fn phases(reads: &Reads) -> Phases {
    let moment = |times: &Vec<f64>| {
        let in_the_first = times.iter().zip(0_u32..).map(|(at, cycle)| at - f64::from(cycle) * INTERVAL.as_secs_f64());
        in_the_first.fold(f64::INFINITY, f64::min)
    };
    reads.iter().map(|(key, times)| (key.clone(), moment(times))).collect()
}
