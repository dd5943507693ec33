//! The custom resource definitions on a real API server: what it refuses and with which words, what it accepts, and
//! what users see of it. Needs `KUBECONFIG`, which `tests/run.sh` exports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod cluster;
mod generated;
mod judge;
mod sizes;
mod view;
