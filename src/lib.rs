//! secretref: resolves bare secret names per organisation and syncs them into native Secrets.

pub mod api;
pub mod audit;
pub mod cli;
pub mod config;
pub mod manifest;
#[cfg(test)]
mod mutants;
pub mod naming;
mod nearest;
pub mod notify;
pub mod operator;
pub mod refresh;
pub mod resolve;
pub mod resolver;
pub mod secret;
pub mod stores;
pub mod telemetry;
