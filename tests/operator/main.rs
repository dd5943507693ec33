//! The running operator on a real API server and a real OpenBao: what a user notices.
//!
//! One operator for all of them, as a child process with leader election; each test has namespaces, stores and an
//! OpenBao namespace of its own, and all run at once. A second operator would log in at every store, and what a store
//! is asked would be counted twice: tests that need one are in tests/takeover.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../fakes/fault_proxy.rs"]
mod fault_proxy;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fakes/otlp.rs"]
mod otlp;
#[path = "../fakes/port.rs"]
mod port;

mod adoption;
mod audit;
mod conflicts;
mod drift;
mod explain;
mod fallback;
mod four;
mod four_stores;
mod health;
mod kubernetes_store;
mod leaks;
mod lifecycle;
mod logins;
mod notifications;
mod notifications_forged;
mod notifications_of_vendors;
mod outages;
mod parity;
mod refresh;
mod refusals;
mod resolution;
mod sender;
mod streams;
mod tenancy;
mod traces;
mod values;
mod world;
