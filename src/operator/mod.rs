//! The operator: observe -> plan (pure) -> apply, around the key table.

mod apply;
mod conclude;
mod cycles;
mod engine;
mod events;
mod keeper;
pub mod lease;
mod model;
mod plan;
mod queue;
mod reading;
mod rollout;
mod run;
mod serve;
mod stamp;
mod target;
mod telling;
mod tenancy;
mod watch;
mod worker;

pub use run::{Options, RunError, run};
