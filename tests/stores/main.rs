//! The stores against the real servers: OpenBao and the API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]

mod cluster;
mod credentials;
mod env;
#[path = "../fakes/fault_proxy.rs"]
mod fault_proxy;
mod kubernetes;
mod strange;
mod suite;
mod vault_auth;
mod vault_failures;
mod vault_session;
mod vault_values;

suite::every_case!(openbao, crate::suite::subjects::openbao::OpenBao);
suite::every_case!(kubernetes_secrets, crate::suite::subjects::kubernetes::Kubernetes);
suite::every_case!(local_values, crate::suite::subjects::local::Local);
