//! The operator: observe -> plan (pure) -> apply, around the key table.

mod apply;
mod conclude;
mod cycles;
mod engine;
mod events;
pub(crate) mod explain;
mod job;
mod keeper;
pub mod lease;
pub(crate) mod model;
mod plan;
mod pool;
mod queue;
pub(crate) mod reading;
mod rollout;
mod run;
mod serve;
mod stamp;
pub(crate) mod target;
mod telling;
pub(crate) mod tenancy;
mod watch;
mod worker;

pub(crate) use run::LEASE;
pub use run::{Options, RunError, run};
