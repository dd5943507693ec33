//! Looks out of turn: which keys of one store a notification means, and when each is read because of it. Pure.
//!
//! A key is read at once, and if the answer is nothing new, again 1, 2 and 4 seconds later: what answers may be a standby
//! that lags behind. However often it is told of, a key is read so at most once a second, and a whole store at most once
//! in its `minRefreshInterval`.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    notify::{About, Hashes, Mark, ring::Hash},
    resolve::Read,
};

/// After the first look.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Between two looks at one key.
const GAP: Duration = Duration::from_secs(1);
/// A sync that was under way when the news came subscribes later, to what it may have read before.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The most news that is remembered so.
const MOST: usize = 1024;
/// A look that was not answered by then was lost.
const LOST: Duration = Duration::from_secs(60);
/// Between two looks at what came into the table since.
const CATCH_UP: Duration = Duration::from_millis(250);

/// The looks at one store.
pub struct Looks {
    index: Index,
    news: VecDeque<(Mark, Instant)>,
    looks: HashMap<Read, Look>,
    due: BTreeSet<(Instant, Read)>,
    whole: Whole,
}

/// One key that was told of.
struct Look {
    /// When the first look was.
    begun: Instant,
    /// Looks so far; beyond the last one it is only remembered for a moment.
    done: usize,
    /// When the next one is; none, while one is under way.
    at: Option<Instant>,
    last: Option<Instant>,
    /// It was told of again while a look was under way.
    again: bool,
}

#[derive(Default)]
struct Whole {
    wanted: bool,
    last: Option<Instant>,
    waiting: VecDeque<Read>,
    under_way: HashSet<Read>,
}

/// The keys of the table by their hashes, made when the first news comes.
#[derive(Default)]
struct Index {
    moves: Option<u64>,
    looked: Option<Instant>,
    known: HashMap<Read, Hashed>,
    by_hash: HashMap<Hash, Vec<Read>>,
    lists: Vec<(Read, Hashed)>,
}

#[derive(Clone, Copy)]
enum Hashed {
    Key { key: Hash, folder: Hash },
    List { prefix: (usize, u16), folder: Hash },
}

impl Default for Looks {
    fn default() -> Self {
        Self::new()
    }
}

impl Looks {
    /// Nobody was told anything.
    pub fn new() -> Self {
        Self {
            index: Index::default(),
            news: VecDeque::new(),
            looks: HashMap::new(),
            due: BTreeSet::new(),
            whole: Whole::default(),
        }
    }

    /// News of the store.
    pub fn tell(&mut self, about: About, now: Instant) {
        match about {
            About::Whole => self.whole.wanted = true,
            About::Mark(mark) => {
                for read in self.index.find(&mark) {
                    self.look_at(read, now);
                }
                if self.news.len() >= MOST {
                    self.news.pop_front();
                }
                self.news.push_back((mark, now));
            }
        }
    }

    /// Whether [`Looks::catch_up`] has anything to do: keys came into the table, and there was news lately.
    pub fn is_behind(&mut self, moves: u64, now: Instant) -> bool {
        self.news.retain(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED);
        let soon = self.index.looked.is_none_or(|at| now.saturating_duration_since(at) >= CATCH_UP);
        soon && self.index.moves != Some(moves) && !self.news.is_empty()
    }

    /// Takes over what is in the table now: a key that came in after the news of it is looked at, too.
    pub fn catch_up<'a>(&mut self, moves: u64, reads: impl Iterator<Item = &'a Read>, hashes: &Hashes, now: Instant) {
        let fresh = self.index.renew(reads, hashes);
        (self.index.moves, self.index.looked) = (Some(moves), Some(now));
        let found: Vec<Read> = fresh
            .into_iter()
            .filter(|(_, hashed)| self.news.iter().any(|(mark, _)| hashed.is_of(mark)))
            .map(|(read, _)| read)
            .collect();
        for read in found {
            self.look_at(read, now);
        }
    }

    fn look_at(&mut self, read: Read, now: Instant) {
        let look =
            self.looks.entry(read.clone()).or_insert(Look { begun: now, done: 0, at: None, last: None, again: false });
        if look.at.is_none() && look.last.is_some_and(|last| now.saturating_duration_since(last) < LOST) {
            look.again = true;
            return;
        }
        if let Some(at) = look.at {
            self.due.remove(&(at, read.clone()));
        }
        look.begin_at(look.last.map_or(now, |last| now.max(last + GAP)));
        self.due.extend(look.at.map(|at| (at, read)));
    }

    /// The looks that are due, at most `limit`; single keys before whole stores.
    pub fn take_due(&mut self, limit: usize, now: Instant) -> Vec<Read> {
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some((at, _)) = self.due.first()
            && *at <= now
        {
            let Some((_, read)) = self.due.pop_first() else { break };
            let Some(look) = self.looks.get_mut(&read) else { continue };
            if look.done > AGAIN.len() {
                self.looks.remove(&read);
                continue;
            }
            if look.done == 0 {
                look.begun = now;
            }
            (look.at, look.last) = (None, Some(now));
            taken.push(read);
        }
        taken
    }

    /// The next part of a look at the whole store, at most `limit` keys of it.
    pub fn take_whole(
        &mut self,
        limit: usize,
        rest: Duration,
        all: impl FnOnce() -> Vec<Read>,
        now: Instant,
    ) -> Vec<Read> {
        let whole = &mut self.whole;
        if whole.wanted && whole.waiting.is_empty() && whole.last.is_none_or(|last| now >= last + rest) {
            (whole.wanted, whole.last) = (false, Some(now));
            whole.waiting = all().into();
        }
        let part: Vec<Read> = whole.waiting.drain(..limit.min(whole.waiting.len())).collect();
        whole.under_way.extend(part.iter().cloned());
        part
    }

    /// When there is a look to be taken next; `room`: for parts of the whole store.
    pub fn next(&self, rest: Duration, room: bool, now: Instant) -> Option<Instant> {
        let whole = match (&self.whole, room) {
            (whole, true) if !whole.waiting.is_empty() => Some(now),
            (whole, true) if whole.wanted => Some(whole.last.map_or(now, |last| last + rest)),
            _ => None,
        };
        let first = self.due.first().map(|(at, _)| *at);
        [whole, first].into_iter().flatten().min()
    }

    /// An answer came: whether it is one to this news, for those who are not polled for. `newer`: it is another one than
    /// before; `gone`: it says that the key is not there.
    pub fn answered(&mut self, read: &Read, newer: bool, gone: bool, now: Instant) -> bool {
        let whole = self.whole.under_way.remove(read);
        let Some(look) = self.looks.get_mut(read) else { return whole };
        let (Some(last), None) = (look.last, look.at) else {
            // Not its own answer: it came before the first look, or between two of them.
            return whole;
        };
        // That a key is gone is looked at twice: a standby may not know it yet.
        let sure = !gone || look.done > 0;
        if look.again {
            look.begin_at(now.max(last + GAP));
        } else {
            let next = if newer && !gone { None } else { AGAIN.get(look.done) };
            look.done = next.map_or(AGAIN.len(), |_| look.done) + 1;
            look.at = Some(next.map_or(last + GAP, |later| now.max(look.begun + *later)));
        }
        self.due.extend(look.at.map(|at| (at, read.clone())));
        sure || whole
    }
}

impl Look {
    fn begin_at(&mut self, at: Instant) {
        (self.begun, self.done, self.at, self.again) = (at, 0, Some(at), false);
    }
}

impl Index {
    fn find(&self, mark: &Mark) -> Vec<Read> {
        let mut found: Vec<Read> = self.by_hash.get(&mark.hash).cloned().unwrap_or_default();
        found.extend(self.lists.iter().filter(|(_, hashed)| hashed.is_of(mark)).map(|(read, _)| read.clone()));
        found
    }

    /// Answers what is new.
    fn renew<'a>(&mut self, reads: impl Iterator<Item = &'a Read>, hashes: &Hashes) -> Vec<(Read, Hashed)> {
        let mut before = std::mem::take(&mut self.known);
        let mut fresh = Vec::new();
        self.by_hash.clear();
        self.lists.clear();
        for read in reads {
            let (read, hashed) = match before.remove_entry(read) {
                Some(known) => known,
                None => {
                    let hashed = Hashed::new(read, hashes);
                    fresh.push((read.clone(), hashed));
                    (read.clone(), hashed)
                }
            };
            match hashed {
                Hashed::Key { key, folder } => {
                    for hash in [key, folder] {
                        self.by_hash.entry(hash).or_default().push(read.clone());
                    }
                }
                Hashed::List { .. } => self.lists.push((read.clone(), hashed)),
            }
            self.known.insert(read, hashed);
        }
        fresh
    }
}

impl Hashed {
    fn new(read: &Read, hashes: &Hashes) -> Self {
        let folder = |text: &str| hashes.folder(text.rsplit_once('/').map_or("", |(folder, _)| folder));
        match read {
            Read::Key(key, _) => Self::Key { key: hashes.key(key.as_str()), folder: folder(key.as_str()) },
            Read::List(prefix) => Self::List { prefix: hashes.prefix(prefix), folder: folder(prefix) },
        }
    }

    fn is_of(&self, mark: &Mark) -> bool {
        match self {
            Self::Key { key, folder } => mark.hash == *key || mark.hash == *folder,
            Self::List { prefix, folder } => mark.hash == *folder || mark.begins_with(*prefix),
        }
    }
}

#[cfg(test)]
#[path = "looks/tests.rs"]
mod tests;
