//! The stores against the real servers, OpenBao and the API server, and against fakes of those that cannot run here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod cluster;
mod credentials;
mod env;
#[path = "../fakes/mod.rs"]
mod fakes;
mod infisical_env;
mod infisical_failures;
mod infisical_lists;
mod infisical_session;
mod infisical_values;
mod infisical_writes;
mod kubernetes;
mod strange;
mod vault_auth;
mod vault_failures;
mod vault_session;
mod vault_values;
