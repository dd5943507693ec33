//! Faults: the store, the API server, the targets and the operator's own process, each at its worst moment. Every fault
//! is a row of one table, which is docs/reliability.md; what other tests show already is a row with a link to them.
#![allow(clippy::print_stdout, reason = "the figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../fakes/api_proxy.rs"]
mod api_proxy;
#[path = "../fakes/fault_proxy.rs"]
mod fault_proxy;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fakes/port.rs"]
mod port;

mod api_server;
mod leaders;
mod machine;
mod notices;
mod outage;
mod process;
mod rows;
mod scene;
mod second;
mod store;
mod table;
mod targets;
