//! The stores against the real servers: OpenBao and the API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod cluster;
mod credentials;
mod env;
mod kubernetes;
mod kubernetes_writes;
mod local;
mod strange;
mod vault_auth;
mod vault_failures;
mod vault_plain;
mod vault_session;
mod vault_values;
mod vault_wrapped;
mod vault_writes;
mod writes;
