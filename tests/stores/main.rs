//! The stores against the real servers, OpenBao and the API server, and against fakes of those that cannot run here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod azure;
mod azure_changes;
mod azure_environment;
mod azure_failures;
mod azure_layers;
mod azure_logins;
mod azure_values;
mod azure_writes;
mod cluster;
mod credentials;
mod env;
#[path = "../fakes/mod.rs"]
mod fakes;
mod kubernetes;
mod strange;
mod vault_auth;
mod vault_failures;
mod vault_session;
mod vault_values;
