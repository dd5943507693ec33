//! Polls that are due: key by key, or by a list that tells of many keys what has not changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{Engine, StoreState};
use crate::{
    api::Circuit,
    naming::StoreKey,
    operator::{
        keeper::Era,
        model::StoreName,
        reading::{poll, survey},
        watch::Message,
    },
    refresh::{Compared, Now, State},
    resolve::Read,
    stores::{ChangeToken, Failure, StoreError},
    telemetry::Trace,
};

/// Marks of what a store lists; `None`: it lists none that would help.
pub type Survey = Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError>;

impl Engine {
    pub(super) fn start_polls(&mut self) {
        let now = Self::now();
        let names: Vec<StoreName> =
            self.stores.iter().filter(|(_, s)| s.can_be_polled()).map(|(n, _)| n.clone()).collect();
        for name in names {
            let lists = self.start_survey(&name, now);
            self.start_reads(&name, !lists, now);
        }
    }

    /// One list for all keys that are due, where the store lists changes and that takes fewer requests; answers whether
    /// it does.
    fn start_survey(&mut self, name: &StoreName, now: Now) -> bool {
        let Some(state) = self.stores.get_mut(name) else { return false };
        let (Some(layers), uid) = (state.layers.clone(), state.object.uid.clone()) else { return false };
        let lists = state.may_list && layers.store().lists_changes(self.table.len_of(&uid));
        self.table.align(&uid, lists, now);
        if !state.to_read.is_empty() {
            // What the last list left is read first: what falls due meanwhile waits, once for each key.
            state.behind_since.get_or_insert_with(Instant::now);
            return lists;
        }
        state.behind_since = None;
        if !lists || state.surveying {
            state.to_read.extend(state.unsettled.drain(..).filter(|_| !lists));
            return lists;
        }
        let due = state.unsettled.drain(..).chain(self.table.take_due(&uid, usize::MAX, now));
        let due: BTreeSet<Read> = due.collect();
        let (keys, others): (Vec<Read>, Vec<Read>) = due.into_iter().partition(|r| matches!(r, Read::Key(_, None)));
        state.to_read.extend(others);
        if keys.len() < 2 {
            state.to_read.extend(keys);
            return true;
        }
        state.surveying = true;
        self.parts.metrics.poll(&layers.identity().label());
        let (tell, name, era) = (self.tell.clone(), name.clone(), state.object.era());
        let requester = self.parts.requester.clone();
        tokio::spawn(async move {
            let trace = Trace::begin("poll", SystemTime::now(), None);
            let marks = survey(&layers, &keys, &requester, &trace).await;
            trace.end();
            let _ = tell.send(Message::Surveyed(name, era, keys, marks, trace));
        });
        true
    }

    /// What a list said of the keys that were due. What it does not settle is read.
    pub(super) fn surveyed(&mut self, name: &StoreName, era: &Era, reads: Vec<Read>, marks: Survey) {
        let now = Self::now();
        let Some(state) = self.stores.get_mut(name).filter(|s| s.object.era() == *era) else { return };
        state.surveying = false;
        let uid = state.object.uid.clone();
        let marks = match marks {
            Ok(Some(marks)) => {
                state.last_success = Some(jiff::Timestamp::now());
                marks
            }
            // A store that wants silence is not asked key by key instead: the list comes later.
            Err(error) if matches!(error.failure, Failure::RateLimited(_) | Failure::CircuitOpen) => {
                state.unsettled.extend(reads);
                return;
            }
            // No list says nothing, of absent keys neither: all are read.
            other => {
                if let Err(error) = other {
                    tracing::debug!(store = %name, %error, "no list of changes: the keys are read one by one");
                    // Until the next probe says that it may.
                    state.may_list = false;
                }
                state.to_read.extend(reads);
                return;
            }
        };
        let mut seen = Vec::new();
        for read in reads {
            let Read::Key(key, None) = &read else { continue };
            self.table.looked(&uid, &read, now);
            match self.table.compare(&uid, &read, marks.get(key)) {
                Compared::Unchanged | Compared::Unwanted => {}
                Compared::Unknown => state.to_read.push_back(read),
                Compared::Seen(state) => seen.push((read, state)),
            }
        }
        for (read, state) in seen {
            for key in self.table.observe(&uid, &read, state, now) {
                self.on_news(&key);
            }
        }
    }

    /// Single reads, as many as the store takes at once.
    fn start_reads(&mut self, name: &StoreName, due: bool, now: Now) {
        let Some(state) = self.stores.get_mut(name) else { return };
        let Some(layers) = state.layers.clone() else { return };
        let uid = &state.object.uid;
        let room = layers.settings().max_concurrent.saturating_sub(state.polling);
        let mut reads = Vec::new();
        while reads.len() < room
            && let Some(read) = state.to_read.pop_front()
        {
            // It may have waited for long.
            if self.table.compare(uid, &read, None) != Compared::Unwanted {
                reads.push(read);
            }
        }
        if due {
            reads.extend(self.table.take_due(uid, room - reads.len(), now));
        }
        self.read(name, reads);
    }

    /// Starts polls of these keys.
    pub(super) fn read(&mut self, name: &StoreName, reads: Vec<Read>) {
        let Some(state) = self.stores.get_mut(name) else { return };
        let Some(layers) = &state.layers else { return };
        state.polling += reads.len();
        for read in reads {
            self.parts.metrics.poll(&layers.identity().label());
            let (layers, tell, name) = (layers.clone(), self.tell.clone(), name.clone());
            let (era, requester) = (state.object.era(), Arc::clone(&self.parts.requester));
            tokio::spawn(async move {
                let trace = Trace::begin("poll", SystemTime::now(), None);
                let answer = poll(&layers, &read, &requester, &trace).await;
                trace.end();
                let _ = tell.send(Message::Polled(name, era, read, answer, trace));
            });
        }
    }

    pub(super) fn polled(&mut self, name: &StoreName, era: &Era, read: &Read, answer: Option<State>) {
        let Some(state) = self.stores.get_mut(name) else { return };
        if state.object.era() != *era {
            return;
        }
        state.polling = state.polling.saturating_sub(1);
        let uid = state.object.uid.clone();
        let Some(answer) = answer else { return };
        let failed = matches!(answer, State::Failed(_));
        if !failed {
            state.last_success = Some(jiff::Timestamp::now());
        }
        let told = self.answers_news(name, &uid, read, &answer);
        self.table.looked(&uid, read, Self::now());
        for key in self.table.observe(&uid, read, answer, Self::now()) {
            self.hear(&key, failed);
        }
        if told {
            self.tell_those_behind(&uid, read);
        }
    }
}

impl StoreState {
    /// Reads that lists did not settle take longer than the limits allow: by so much, in cycles of a minute.
    pub(super) fn backlog(&self) -> Option<f64> {
        let behind = self.behind_since?.elapsed();
        (behind > Duration::from_secs(60)).then(|| 1.0 + behind.as_secs_f64() / 60.0)
    }

    /// A store in trouble is probed, not polled.
    pub(super) fn can_be_polled(&self) -> bool {
        let Some(layers) = &self.layers else { return false };
        self.settled
            && self.blocked.is_none()
            && self.health.ready == Some(true)
            && self.polling < layers.settings().max_concurrent
            && layers.circuit() == Circuit::Closed
            && layers.held_for().is_none()
    }
}
