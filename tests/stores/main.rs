//! The stores against the real servers: OpenBao and the API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod cluster;
mod credentials;
mod env;
mod kubernetes;
mod strange;
mod vault_auth;
mod vault_failures;
mod vault_session;
mod vault_values;
