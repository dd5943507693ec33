//! One candidate: asks the API server what the lease says, and writes what [`decide`] says.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::Instant};

use super::{DEADLINE, Decision, LEASE, LONGEST, Leadership, Observed, Seen, Standing, Term, decide};

/// How long one request may take: a lost one costs one try, not the lease, and a slow API server not the leader.
const CALL: Duration = Duration::from_secs(4);

/// Takes part in the election until `shutdown`, then gives the lease back, so that the next leader need not wait.
/// `shutdown` must not resolve before the last write as a leader has ended. `client` should not retry by itself
/// (`default_retry = false`): a late write is worth less than the next try.
pub async fn run(
    client: Client,
    namespace: String,
    name: String,
    identity: String,
    publish: watch::Sender<Leadership>,
    shutdown: impl Future<Output = ()>,
) {
    let mut candidate = Candidate {
        api: Api::namespaced(client, &namespace),
        namespace,
        name,
        // A process that was killed and came back under its old name is another candidate.
        identity: format!("{identity}_{:08x}", rand::random::<u32>()),
        publish,
        observed: Observed::new(Instant::now()),
        lease: None,
        term: None,
        troubled: false,
    };
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        candidate.round().await;
        let wait = match decide(&candidate.observed, Instant::now()) {
            Decision::Wait(wait) => wait,
            _ => Duration::ZERO,
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    candidate.release().await;
}

/// The thin part: requests, and who hears of them.
struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    publish: watch::Sender<Leadership>,
    observed: Observed,
    lease: Option<Lease>,
    term: Option<Arc<Term>>,
    troubled: bool,
}

impl Candidate {
    async fn round(&mut self) {
        if self.observed.must_read() {
            self.read().await;
        }
        match decide(&self.observed, Instant::now()) {
            Decision::Wait(_) => {}
            Decision::StepDown => self.step_down(),
            Decision::Acquire | Decision::Renew => self.write().await,
        }
    }

    async fn read(&mut self) {
        let begun = Instant::now();
        match self.bounded(self.api.get_opt(&self.name)).await {
            Ok(lease) => {
                self.observed.read(lease.as_ref().map(|l| (version(l), self.seen(l))), Instant::now());
                self.lease = lease;
            }
            Err(error) => self.failed("read", &error, begun),
        }
    }

    async fn write(&mut self) {
        let (sent, wanted) = (Instant::now(), self.wanted());
        let params = PostParams::default();
        let answer = match &self.lease {
            Some(_) => self.bounded(self.api.replace(&self.name, &params, &wanted)).await,
            None => self.bounded(self.api.create(&params, &wanted)).await,
        };
        match answer {
            Ok(lease) => {
                self.observed.wrote(version(&lease), sent, Instant::now());
                self.lease = Some(lease);
                self.troubled = false;
                self.lead(sent);
            }
            Err(error) => self.failed("written", &error, sent),
        }
    }

    fn lead(&mut self, sent: Instant) {
        let begins = self.term.is_none();
        let term = self.term.get_or_insert_with(|| Term::new(sent));
        term.prolong(sent + DEADLINE);
        if begins {
            tracing::info!(lease = %self.name, identity = %self.identity, "leading");
            self.publish.send_replace(Leadership(Standing::Term(term.clone())));
        }
    }

    fn step_down(&mut self) {
        self.observed.step_down();
        if let Some(term) = self.term.take() {
            // Clones that somebody holds learn of it, too.
            term.end();
            self.publish.send_replace(Leadership::never());
            tracing::info!(lease = %self.name, identity = %self.identity, "no longer leading");
        }
    }

    /// Clears the holder, if it is this process.
    async fn release(&mut self) {
        self.step_down();
        for _ in 0..2 {
            let Some(mut lease) = self.lease.clone().filter(|l| self.seen(l) == Seen::Mine) else { return };
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            match self.bounded(self.api.replace(&self.name, &PostParams::default(), &lease)).await {
                Ok(_) => return,
                // The last renewal had no clear answer: look again.
                Err(error) => tracing::debug!(error, "the lease could not be released"),
            }
            self.read().await;
        }
    }

    fn seen(&self, lease: &Lease) -> Seen {
        seen(lease, &self.identity)
    }

    /// The lease as it should be: what others put into its metadata stays.
    fn wanted(&self) -> Lease {
        let now = || Some(MicroTime(Timestamp::now()));
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let is_new = self.lease.is_none();
        let mine = self.seen(&lease) == Seen::Mine;
        let old = lease.spec.take().unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: if mine { old.acquire_time } else { now() },
            renew_time: now(),
            lease_transitions: Some(if mine || is_new { transitions } else { transitions.saturating_add(1) }),
            ..old
        });
        lease
    }

    /// A leader's request ends with its term at the latest, so that the loss is told in time.
    async fn bounded<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        let left = self.observed.until.map_or(CALL, |until| until.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(left.min(CALL), request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Err(String::new()),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Err(format!(
                "the operator's ServiceAccount may not: it needs create, get and update on leases of coordination.k8s.io in namespace {}",
                self.namespace
            )),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the API server did not answer in time".to_owned()),
        }
    }

    fn failed(&mut self, what: &str, error: &str, begun: Instant) {
        self.observed.failed(begun);
        // Somebody else was faster: no trouble. A standby's trouble is told once.
        if !error.is_empty() && (self.term.is_some() || !std::mem::replace(&mut self.troubled, true)) {
            tracing::warn!(lease = %self.name, error, "the lease could not be {what}");
        }
    }
}

/// What a lease says to the candidate of this name.
fn seen(lease: &Lease, identity: &str) -> Seen {
    let spec = lease.spec.as_ref();
    match spec.and_then(|s| s.holder_identity.as_deref()) {
        None | Some("") => Seen::Free,
        Some(holder) if holder == identity => Seen::Mine,
        Some(_) => {
            let seconds = spec.and_then(|s| s.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
            Seen::Others(Duration::from_secs(seconds.unwrap_or(0)).clamp(LEASE, LONGEST))
        }
    }
}

fn version(lease: &Lease) -> &str {
    lease.metadata.resource_version.as_deref().unwrap_or_default()
}

#[cfg(test)]
#[path = "fuzz.rs"]
mod fuzz;
