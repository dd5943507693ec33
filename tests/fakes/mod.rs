//! Servers that stand in for services of which none can be run here. Each is named a fake, and keeps to what is
//! documented of its service. The product knows nothing of them.
//!
//! Used by several test binaries through `#[path = "../fakes/mod.rs"] mod fakes;`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]
#![allow(dead_code, unused_imports, reason = "no test binary uses all of it")]

pub mod infisical;
pub mod key_vault;
pub mod tls;
pub mod vault_events;

pub use infisical::FakeInfisical;
pub use key_vault::{FakeKeyVault, Role};
pub use vault_events::FakeVaultEvents;
