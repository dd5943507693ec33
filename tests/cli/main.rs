//! The command line as its users have it: the binary that was built, as a child process, in a folder of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../fakes/port.rs"]
mod port;

mod check;
mod documents;
mod get;
mod laptop;
mod other_stores;
mod podspec;
mod render;
mod run;
mod scan;
mod stores;
