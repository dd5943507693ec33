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
#[path = "../fakes/fault_proxy.rs"]
mod fault_proxy;
mod infisical_env;
mod infisical_failures;
mod infisical_lists;
mod infisical_session;
mod infisical_values;
mod infisical_writes;
mod kubernetes;
mod kubernetes_writes;
mod local;
#[path = "../fakes/port.rs"]
mod port;
mod strange;
mod streams;
mod suite;
mod vault_auth;
mod vault_failures;
mod vault_plain;
mod vault_session;
mod vault_values;
mod vault_wrapped;
mod vault_writes;
mod writes;

suite::every_case!(key_vault, crate::suite::subjects::key_vault::KeyVault);
suite::every_case!(openbao, crate::suite::subjects::openbao::OpenBao);
suite::every_case!(kubernetes_secrets, crate::suite::subjects::kubernetes::Kubernetes);
suite::every_case!(local_values, crate::suite::subjects::local::Local);
suite::every_case!(infisical_v3, crate::suite::subjects::infisical::V3);
suite::every_case!(infisical_v4, crate::suite::subjects::infisical::V4);
