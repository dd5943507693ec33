//! A tenant that wants more than its own: it has the ClusterRole `admin` and edit on our kinds in its namespace, and
//! makes every request as itself. The operator runs with the rights that the chart gives, on a real API server and a
//! real OpenBao, with tenants' stores switched on.
//!
//! Each attempt is a row of docs/isolation.md and a test: it must be refused as the row says, and afterwards the other
//! organisation's value must be nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../fakes/tls.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod tls;

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fakes/port.rs"]
mod port;

#[macro_use]
mod table;

mod arena;
mod binding;
mod chart;
mod flood;
mod names;
mod objects;
mod oracles;
mod servers;
mod stores;
mod targets;
mod templates;
mod tenant;
mod workers;
