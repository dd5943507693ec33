//! secretref: resolves bare secret names per organisation and syncs them into native Secrets.

pub mod api;
pub mod audit;
pub mod cli;
pub mod config;
pub mod naming;
pub mod notify;
pub mod operator;
pub mod refresh;
pub mod resolve;
pub mod secret;
pub mod stores;
pub mod telemetry;
