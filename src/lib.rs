//! secretref: resolves bare secret names per organisation and syncs them into native Secrets.

pub mod api;
pub mod cli;
pub mod audit;
pub mod naming;
pub mod refresh;
pub mod resolve;
pub mod secret;
pub mod stores;
pub mod telemetry;
pub mod operator;
