//! What one replica was told lately: a bounded list of keyed hashes, as the data of a `ConfigMap`. Pure.
//!
//! One entry of the data for each store (by the uid of its object), one line for each note: `SEQUENCE HASH PREFIXES`, or
//! `SEQUENCE *` for "anything in this store". Sequences are milliseconds since the Unix epoch, and grow: who reads a ring
//! remembers the last one that it has seen. The same news twice is one note, the later one. A ring that is full takes
//! the store with the most notes for changed as a whole: nothing is forgotten, it only becomes less exact.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Changed;
use crate::secret::SecretValue;

/// The most notes that name a key or folder.
pub const CAPACITY: usize = 256;
/// The most notes of any kind.
const MOST: usize = 4 * CAPACITY;
/// For how long a note is of use: whoever did not hear of it by then has polled in the meantime.
pub const KEPT: Duration = Duration::from_secs(300);
/// The most text that is read as a ring; a full one has a third of it.
const MAX_TEXT: usize = 256 * 1024;
/// No clock says so much: after it a ring could not grow, and nothing new would be heard.
const FARTHEST: u64 = 1 << 53;
/// Characters of a key whose prefixes are marked.
const MARKED: usize = 64;
const HASH: usize = 12;

/// A keyed hash: nobody without the installation's key learns a name from it, or tests one.
pub type Hash = [u8; HASH];

/// The hashes of one installation.
#[derive(Clone)]
pub struct Hashes(hmac::Key);

/// A key or folder, as far as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of the key, or of the folder.
    pub hash: Hash,
    /// A short hash of each of its beginnings, so that lists by a prefix are found.
    prefixes: Arc<[u16]>,
}

/// What a note is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A key or folder.
    Mark(Mark),
    /// Anything in the store.
    Whole,
}

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Grows from note to note of one ring.
    pub seq: u64,
    /// The uid of the store's object.
    pub store: Arc<str>,
    /// What changed.
    pub about: About,
}

/// The notes, in the order of their sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    notes: Vec<Note>,
    last: u64,
}

impl Hashes {
    /// With the installation's key.
    pub fn new(key: &SecretValue) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// What is written down of a change.
    pub fn about(&self, changed: &Changed) -> About {
        match changed {
            Changed::Key(key) => About::Mark(Mark { hash: self.key(key), prefixes: self.prefixes(key) }),
            Changed::Folder(folder) => {
                let inside = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                About::Mark(Mark { hash: self.folder(folder), prefixes: self.prefixes(&inside) })
            }
            Changed::All => About::Whole,
        }
    }

    /// Of a key. Letters of both cases are the same here: some stores do not tell them apart, and elsewhere a read more
    /// does no harm.
    pub fn key(&self, key: &str) -> Hash {
        self.hash("notified key", key)
    }

    /// Of a folder.
    pub fn folder(&self, folder: &str) -> Hash {
        self.hash("notified folder", folder)
    }

    /// Of what a list by this prefix is found by.
    pub fn prefix(&self, prefix: &str) -> (usize, u16) {
        let length = prefix.len().min(MARKED);
        (length, self.beginning(&prefix.as_bytes()[..length]))
    }

    fn prefixes(&self, key: &str) -> Arc<[u16]> {
        let key = key.as_bytes();
        (1..=key.len().min(MARKED)).map(|length| self.beginning(&key[..length])).collect()
    }

    fn beginning(&self, bytes: &[u8]) -> u16 {
        let [high, low, ..] = self.sum("notified prefix", bytes);
        u16::from_be_bytes([high, low])
    }

    fn hash(&self, what: &str, text: &str) -> Hash {
        self.sum(what, text.as_bytes())
    }

    fn sum(&self, what: &str, bytes: &[u8]) -> Hash {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(&(what.len() as u64).to_be_bytes());
        mac.update(what.as_bytes());
        mac.update(&bytes.to_ascii_lowercase());
        let mut hash = [0; HASH];
        hash.copy_from_slice(&mac.sign().as_ref()[..HASH]);
        hash
    }
}

impl Mark {
    /// Whether what changed is in a list by this prefix, see [`Hashes::prefix`].
    pub fn begins_with(&self, (length, hash): (usize, u16)) -> bool {
        match length.checked_sub(1) {
            None => true,
            Some(index) => self.prefixes.get(index) == Some(&hash),
        }
    }
}

impl Ring {
    /// Takes a note down at this time (since the Unix epoch); answers its sequence.
    pub fn add(&mut self, store: &Arc<str>, about: About, at: Duration) -> u64 {
        let now = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let seq = now.max(self.last.saturating_add(1));
        self.last = seq;
        self.forget_old(at);
        self.notes.retain(|n| !(n.store == *store && n.about.is(&about)));
        self.notes.push(Note { seq, store: store.clone(), about });
        self.make_room();
        seq
    }

    /// Takes over what an earlier process of the same name wrote.
    pub fn follow(&mut self, earlier: Self) {
        let newer = std::mem::replace(self, earlier);
        for note in newer.notes {
            self.add(&note.store, note.about, Duration::from_millis(note.seq));
        }
    }

    /// The notes after this sequence.
    pub fn after(&self, seq: u64) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(move |n| n.seq > seq)
    }

    /// The last sequence.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The stores that there are notes of.
    pub fn stores(&self) -> Vec<Arc<str>> {
        let mut stores: Vec<Arc<str>> = self.notes.iter().map(|n| n.store.clone()).collect();
        stores.sort_unstable();
        stores.dedup();
        stores
    }

    /// Takes out the notes of a store.
    pub fn take(&mut self, store: &str) -> Vec<Note> {
        self.notes.extract_if(.., |n| &*n.store == store).collect()
    }

    /// Forgets what is older than it is of use.
    pub fn forget_old(&mut self, now: Duration) {
        let since = u64::try_from(now.saturating_sub(KEPT).as_millis()).unwrap_or(u64::MAX);
        self.notes.retain(|n| n.seq >= since);
    }

    /// Whether there are no notes.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    fn make_room(&mut self) {
        let exact = |n: &&Note| matches!(n.about, About::Mark(_));
        if self.notes.iter().filter(exact).count() > CAPACITY {
            let mut counts: HashMap<&Arc<str>, usize> = HashMap::new();
            for note in self.notes.iter().filter(exact) {
                *counts.entry(&note.store).or_default() += 1;
            }
            if let Some(store) = counts.into_iter().max().map(|(store, _)| store.clone()) {
                self.notes.retain(|n| n.store != store);
                self.last = self.last.saturating_add(1);
                self.notes.push(Note { seq: self.last, store, about: About::Whole });
            }
        }
        // More stores than anyone has: the oldest news goes.
        let surplus = self.notes.len().saturating_sub(MOST);
        self.notes.drain(..surplus);
    }

    /// As the data of a `ConfigMap`.
    pub fn encode(&self) -> BTreeMap<String, String> {
        let mut data: BTreeMap<String, String> = BTreeMap::new();
        for note in &self.notes {
            let lines = data.entry(note.store.to_string()).or_default();
            // Writing to a String does not fail.
            let _ = match &note.about {
                About::Whole => writeln!(lines, "{} *", note.seq),
                About::Mark(mark) => {
                    let prefixes: Vec<u8> = mark.prefixes.iter().flat_map(|p| p.to_be_bytes()).collect();
                    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                    writeln!(lines, "{} {} {}", note.seq, text(&mark.hash), text(&prefixes))
                }
            };
        }
        data
    }

    /// From the data of a `ConfigMap`; lines that are none are passed over.
    pub fn decode(data: &BTreeMap<String, String>) -> Self {
        let text: usize = data.values().map(String::len).sum();
        if text > MAX_TEXT {
            return Self::default();
        }
        let lines = data.iter().flat_map(|(store, lines)| {
            let store: Arc<str> = store.as_str().into();
            lines.lines().filter_map(move |line| Note::decode(&store, line))
        });
        let mut notes: Vec<Note> = lines.take(MOST).collect();
        notes.sort_by_key(|n| n.seq);
        let last = notes.last().map_or(0, |n| n.seq);
        Self { notes, last }
    }
}

impl About {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mark(one), Self::Mark(other)) => one.hash == other.hash,
            (Self::Whole, Self::Whole) => true,
            _ => false,
        }
    }
}

impl Note {
    fn decode(store: &Arc<str>, line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let seq = words.next()?.parse().ok().filter(|seq| *seq < FARTHEST)?;
        let about = match words.next()? {
            "*" => About::Whole,
            hash => {
                let hash = URL_SAFE_NO_PAD.decode(hash).ok()?.try_into().ok()?;
                let prefixes = URL_SAFE_NO_PAD.decode(words.next()?).ok()?;
                if prefixes.len() % 2 != 0 || prefixes.len() > 2 * MARKED {
                    return None;
                }
                let prefixes = prefixes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
                About::Mark(Mark { hash, prefixes })
            }
        };
        words.next().is_none().then(|| Self { seq, store: store.clone(), about })
    }
}

#[cfg(test)]
#[path = "ring/fuzz.rs"]
mod fuzz;
#[cfg(test)]
#[path = "ring/tests.rs"]
mod tests;
