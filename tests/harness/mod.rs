//! What tests of the running operator stand on: the API server, OpenBao, the operator as a child process, and a search
//! of everything that it says for what was planted. A missing environment is a failure, never a skip.
//!
//! Used by several test binaries through `#[path = "../harness/mod.rs"] mod harness;`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]
#![allow(dead_code, unused_imports, reason = "no test binary uses all of it")]

mod bao;
mod cluster;
mod leaks;
mod md5;
mod operator;
mod schema;
mod signed;
mod space;

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

pub use bao::Bao;
pub use cluster::Cluster;
pub use leaks::{CANARY, Leaks, plant, plant_credential};
pub use operator::{Operator, free_address, metric};
pub use schema::{SCHEMA, assert_schema};
pub use signed::{mac, seconds, signed};
pub use space::{Space, condition, reason};

/// How long anything may take that a test waits for: on a machine that is busy and whose disk stalls. It costs nothing
/// where it is met.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks.
pub const LOOK: Duration = Duration::from_millis(100);

pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test` or tests/run.sh"))
}

/// Eight characters that no other test has, and no other call in this process.
pub fn unique() -> String {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::random()));
    // An odd factor: no two of the numbers in a row become the same one, nor look alike.
    format!("{:08x}", NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b1))
}

/// Looks until there is something to see; fails with `what` and with what was there instead.
pub async fn wait_for<T, F: Future<Output = Result<T, String>>>(what: &str, look: impl FnMut() -> F) -> T {
    wait_until(what, DEADLINE, look).await
}

/// [`wait_for`] with a deadline of its own.
pub async fn wait_until<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(instead) if Instant::now() >= end => {
                panic!("not within {} s: {what}\nbut: {instead}", deadline.as_secs())
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
