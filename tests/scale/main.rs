//! A thousand references on fifty keys: what the budgets of the design allow the store and the API server to be asked
//! for, counted at both ends, through quiet cycles, restarts, crashes and a change of leader.
//!
//! One test, since each part stands on what the one before left. Nothing else may run against the cluster meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fakes/port.rs"]
mod port;

mod fleet;
mod ledger;

use std::time::Duration;

use fleet::{Fleet, PutValue, key, key_of};
use harness::{Operator, wait_until};
use jiff::Timestamp;
use ledger::{
    Ledger, Phases, in_half_an_interval, never_soon_again, never_twice_in_a_cycle, once_in_every_cycle, phases,
};
use serde_json::json;

const REFERENCES: usize = 1000;
const KEYS: usize = 50;
const SPACES: usize = 5;
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a part may take, with whatever else runs on the machine.
const LONG: Duration = Duration::from_secs(300);

struct Trial {
    fleet: Fleet,
    ledger: Ledger,
    phases: Phases,
    /// Written values, so that each change is one.
    round: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_references_on_fifty_keys_keep_to_the_budgets() {
    let fleet = Fleet::new().await;
    let ledger = Ledger::new(&fleet.bao.namespace);
    let own = fleet.cluster.namespace("scale-operator", "").await;
    let spaces: Vec<String> = fleet.spaces.iter().map(|s| s.name.clone()).collect();
    let args: Vec<&str> = spaces.iter().flat_map(|s| ["--namespace", s]).collect();
    let began = Timestamp::now();
    let first = Operator::start(&own.name, &args).await;
    fleet.create().await;
    fleet.all_ready().await;

    let mut trial = Trial { fleet, ledger, phases: Phases::new(), round: 0 };
    trial.quiet_cycles(&first).await;
    assert_eq!(trial.ledger.logins(began), 1, "one login for all of them");

    trial
        .restart(&first, async || {
            assert_eq!(first.terminate().await, Some(0), "ends well when told to");
            first.start_again().await;
        })
        .await;
    trial.change(&first, async || ()).await;
    trial
        .restart(&first, async || {
            first.kill();
            first.start_again().await;
        })
        .await;
    trial.change(&first, async || first.restart().await).await;

    let second = Operator::start(&own.name, &args).await;
    trial.a_standby_does_nothing(&first, &second).await;
    trial.restart(&second, async || first.kill()).await;
    trial.change(&second, async || ()).await;

    assert_eq!(second.terminate().await, Some(0));
    own.done().await;
    trial.fleet.done().await;
}

async fn leads(operator: &Operator) -> Result<(), String> {
    if operator.metric("secretref_leader", &[]).await > 0.0 { Ok(()) } else { Err("it does not".to_owned()) }
}

/// Requests about targets and references that the operator itself has counted.
async fn counted(operator: &Operator) -> [f64; 3] {
    let count =
        async |kind: &str| operator.metric("secretref_apiserver_requests_total", &[&format!("kind=\"{kind}\"")]).await;
    [count("secrets").await, count("secretreferences/status").await, count("namespaces").await]
}

impl Trial {
    /// Waits until each key was read so often since then; whatever is read counts.
    async fn cycles(&self, since: Timestamp, times: usize) -> ledger::Reads {
        wait_until(&format!("each key is read {times} times"), LONG, || async {
            let reads = self.reads(since);
            let slow = KEYS - reads.values().filter(|t| t.len() >= times).count();
            tokio::time::sleep(Duration::from_millis(400)).await;
            if slow == 0 { Ok(reads) } else { Err(format!("{slow} keys are not")) }
        })
        .await
    }

    /// Reads of the fifty keys.
    fn reads(&self, since: Timestamp) -> ledger::Reads {
        let mut reads = self.ledger.reads(since);
        reads.retain(|key, _| key.starts_with("acme--key-"));
        reads
    }

    /// Over three cycles without a change: 50 reads a cycle, and not one request about references and Secrets.
    async fn quiet_cycles(&mut self, operator: &Operator) {
        self.fleet.quiet().await;
        // What was resolved when it was created is behind us after one whole cycle.
        self.cycles(Timestamp::now(), 1).await;
        let (versions, events) = (self.fleet.versions().await, self.fleet.events().await);
        assert_eq!(versions.len(), 2 * REFERENCES);
        let (ours, theirs) = (counted(operator).await, self.fleet.requests().await);
        let since = Timestamp::now();
        let reads = self.cycles(since, 3).await;
        assert_eq!(counted(operator).await, ours, "requests to the API server, as the operator counts them");
        assert_eq!(self.fleet.requests().await, theirs, "requests to the API server, as it counts them itself");
        assert_eq!(Fleet::written(&versions, &self.fleet.versions().await), Default::default());
        assert_eq!(self.fleet.events().await, events, "Events");
        self.phases = phases(&reads);
        let (read, cycles) = once_in_every_cycle(&reads, &self.phases);
        println!("quiet: {read} reads in {cycles} cycles of {KEYS} keys, 0 requests at the API server");
        assert_eq!((read, reads.len()), (KEYS * cycles, KEYS));
        assert_eq!(operator.metric("secretref_keys", &[]).await, KEYS as f64);
    }

    /// A process ends and one starts: nothing is written, nothing is read but in its turn, and what is new is served.
    async fn restart(&mut self, operator: &Operator, restart: impl AsyncFnOnce()) {
        self.round += 1;
        // A platform-wide value: of what it stands on, one key is there and one is not. It stays for later rounds.
        let fresh = format!("fresh-{}", self.round);
        self.fleet.bao.put(&format!("GLOBAL--{fresh}"), json!({ "value": fresh })).await;
        let (versions, since) = (self.fleet.versions().await, Timestamp::now());
        restart().await;
        self.fleet.reference(0, &fresh, &fresh).await;
        wait_until("it leads", LONG, || leads(operator)).await;
        let led = Timestamp::now();
        self.fleet.spaces[0].until_data(&fresh, &json!({ "VALUE": fresh })).await;

        let reads = self.cycles(led, 2).await;
        never_twice_in_a_cycle(&self.reads(since), &self.phases);
        never_soon_again(&self.reads(since));
        let burst = in_half_an_interval(&reads, led);
        println!("round {}: after a restart {burst} reads in half of the first interval", self.round);
        assert!(burst <= KEYS, "{burst} reads in half of the first interval");
        assert_eq!(self.ledger.logins(since), 1, "one login for each process");
        assert_eq!(Fleet::written(&versions, &self.fleet.versions().await), Default::default());
        // The process is new, or led nothing before: all that it ever did counts.
        let [secrets, statuses, _] = counted(operator).await;
        assert_eq!((secrets, statuses), (1.0, 1.0), "only the new reference was written");
    }

    /// One key changes: its twenty references are written, and nothing else. `meanwhile` happens after the change.
    async fn change(&mut self, operator: &Operator, meanwhile: impl AsyncFnOnce()) {
        self.round += 1;
        let (n, value) = (self.round * 7 % KEYS, format!("changed in round {}", self.round));
        let versions = self.fleet.versions().await;
        let (pid, mut before) = (operator.pid(), counted(operator).await);
        self.just_read(n).await;
        let since = Timestamp::now();
        self.fleet.bao.put_value(n, &value).await;
        meanwhile().await;
        if operator.pid() != pid {
            before = [0.0; 3];
        }
        wait_until("the change arrives", LONG, || async {
            let lacking = self.fleet.without(n, &value).await;
            if lacking.is_empty() { Ok(()) } else { Err(format!("not yet in {lacking:?}")) }
        })
        .await;
        // Whatever else it might set off would show by then.
        self.cycles(Timestamp::now(), 1).await;
        let (secrets, references) = Fleet::written(&versions, &self.fleet.versions().await);
        let after = counted(operator).await;
        let each = REFERENCES / KEYS;
        println!(
            "round {}: {} changed: {} Secrets, {} references",
            self.round,
            key(n),
            secrets.len(),
            references.len()
        );
        let own = |name: &String| key_of(name) == Some(n);
        assert!(secrets.iter().all(own) && references.iter().all(own), "{secrets:?} {references:?}");
        assert_eq!((secrets.len(), references.len()), (each, each));
        assert_eq!([after[0] - before[0], after[1] - before[1]], [each as f64; 2], "one write of each");
        never_twice_in_a_cycle(&self.reads(since), &self.phases);
    }

    /// Waits for the moment after a look at this key: who looks next is whoever leads a whole cycle later.
    async fn just_read(&self, n: usize) {
        let (since, name) = (Timestamp::now(), format!("acme--{}", key(n)));
        wait_until(&format!("{name} is read"), LONG, || async {
            if self.reads(since).contains_key(&name) { Ok(()) } else { Err("it is not".to_owned()) }
        })
        .await;
    }

    /// Two processes, one leader: the other asks neither the store nor, but for its watches, the API server.
    async fn a_standby_does_nothing(&self, leader: &Operator, standby: &Operator) {
        let (versions, since) = (self.fleet.versions().await, Timestamp::now());
        let before = counted(leader).await;
        let reads = self.cycles(since, 2).await;
        once_in_every_cycle(&reads, &self.phases);
        let leading = [leader, standby].map(|o| o.metric("secretref_leader", &[]));
        assert_eq!(futures::future::join_all(leading).await, [1.0, 0.0]);
        assert_eq!(Fleet::written(&versions, &self.fleet.versions().await), Default::default());
        assert_eq!((counted(leader).await, counted(standby).await), (before, [0.0; 3]));
        assert_eq!((standby.metric("secretref_polls_total", &[]).await, self.ledger.logins(since)), (0.0, 0));
    }
}
