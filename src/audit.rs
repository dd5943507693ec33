//! Every access leaves an audit event: one JSON line on standard output.
//!
//! Callers never wait for the pipe: events go through a bounded queue to one writer thread. An event that finds the
//! queue full, or that cannot be written, is counted and logged as lost: never silently.

use std::{
    io::{self, BufWriter, Write},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    stores::{Failure, StoreError},
    telemetry::Metrics,
};

/// Events that may wait for the writer: some 10 MB at most.
const QUEUE: usize = 16 * 1024;

/// One access to a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEvent {
    /// RFC 3339.
    pub timestamp: Timestamp,
    /// Who asked: `SecretReference/acme-prod/payments`, a user, `operator/POD` for what goes to a store.
    pub requester_id: String,
    /// Provider, store and store key: `vault/platform/acme--db-password`.
    pub secret_path: String,
    /// What was asked for.
    pub operation: AuditOperation,
    /// Where the request came from; the operator's own address, or nothing, when it asked by itself.
    pub source_ip: Option<IpAddr>,
    /// Ties the event to logs and traces.
    pub trace_id: String,
    /// How it ended.
    pub result: AuditResult,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOperation {
    /// A value was read.
    Get,
    /// A value was written.
    Set,
    /// Names were listed.
    List,
    /// A secret was deleted.
    Delete,
}

/// How an access ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditResult {
    /// The store answered: a value, or for certain that there is none. Nobody was refused and nothing broke.
    Success,
    /// The identity, or what it may do, was refused.
    Denied,
    /// There is no answer, or none that helps; also an access that was given up half way.
    Error,
}

impl AuditResult {
    /// The result of a store access.
    pub fn of<T>(answer: &Result<T, StoreError>) -> Self {
        match answer {
            Ok(_) => Self::Success,
            Err(e) if matches!(e.failure, Failure::Denied | Failure::Unauthenticated) => Self::Denied,
            Err(_) => Self::Error,
        }
    }
}

/// An access that has begun.
#[must_use]
pub struct Pending<'a> {
    audit: &'a Audit,
    event: Option<AuditEvent>,
}

impl Pending<'_> {
    /// It ended.
    pub fn end(mut self, result: AuditResult) {
        if let Some(event) = &mut self.event {
            event.result = result;
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.audit.record(event);
        }
    }
}

/// Where audit events go.
pub struct Audit {
    source_ip: Option<IpAddr>,
    sink: Option<Sink>,
}

struct Sink {
    queue: Mutex<Option<SyncSender<AuditEvent>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// No events: for the command line, where the user is the requester and the store keeps the record.
    pub const fn off() -> Self {
        Self { source_ip: None, sink: None }
    }

    /// Events go to standard output.
    ///
    /// # Errors
    /// When there is no thread to write them.
    pub fn stdout(source_ip: Option<IpAddr>, metrics: Arc<Metrics>) -> io::Result<Self> {
        Self::to(io::stdout(), source_ip, metrics, QUEUE)
    }

    /// Events go to `out`, which only the writer thread waits for; `queue` of them may wait.
    pub(crate) fn to(
        out: impl Write + Send + 'static,
        source_ip: Option<IpAddr>,
        metrics: Arc<Metrics>,
        queue: usize,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let lost = Arc::clone(&metrics);
        let writer =
            std::thread::Builder::new().name("audit".into()).spawn(move || write_all(&receiver, out, &lost))?;
        let sink = Sink { queue: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)), metrics };
        Ok(Self { source_ip, sink: Some(sink) })
    }

    /// An access begins. Its event is recorded when it ends, also if it is given up half way. The event is not even
    /// built when nobody records; it gets this process's own address, for accesses that nobody outside asked for.
    pub fn begin(&self, event: impl FnOnce(Option<IpAddr>) -> AuditEvent) -> Pending<'_> {
        Pending { audit: self, event: self.sink.is_some().then(|| event(self.source_ip)) }
    }

    /// Takes an event; does not wait.
    pub fn record(&self, event: AuditEvent) {
        let Some(sink) = &self.sink else { return };
        let taken = lock(&sink.queue).as_ref().is_some_and(|queue| queue.try_send(event).is_ok());
        if !taken {
            lose(&sink.metrics);
        }
    }

    /// Writes what is waiting and ends; events that come later are lost.
    pub fn close(&self) {
        let Some(sink) = &self.sink else { return };
        drop(lock(&sink.queue).take());
        if let Some(writer) = lock(&sink.writer).take() {
            let _ = writer.join();
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close();
    }
}

/// Writes until nobody can send any more; flushes whenever nothing is waiting.
fn write_all(events: &Receiver<AuditEvent>, out: impl Write, metrics: &Metrics) {
    let mut out = BufWriter::new(out);
    while let Ok(first) = events.recv() {
        let mut unflushed = 0_u32;
        for event in std::iter::once(first).chain(events.try_iter()) {
            match write_line(&mut out, &event) {
                Ok(()) => unflushed += 1,
                Err(_) => lose(metrics),
            }
        }
        if out.flush().is_err() {
            (0..unflushed).for_each(|_| lose(metrics));
        }
    }
}

/// One line in one write, so that a line is there whole or not at all.
fn write_line(out: &mut impl Write, event: &AuditEvent) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// Counts a lost event, and says so at the 1st, 2nd, 4th, 8th …: a full disk must not fill the log, too.
fn lose(metrics: &Metrics) {
    let lost = metrics.audit_dropped();
    if lost.is_power_of_two() {
        tracing::error!(lost, "audit events were lost: standard output does not take them");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "audit/tests.rs"]
mod tests;
