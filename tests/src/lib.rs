//! Owns the harness of the end-to-end suites: a home and a project of their own, the real `nu` with the real plugins,
//! and a sandbox on a port of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

pub mod clients;
pub mod contract;
mod nu;
pub mod ocean;
pub mod postgres;
pub mod proxy;
pub mod simulated;
mod world;

pub use nu::{NU_VERSION, binary, find_nu, plugin_of};
pub use provision_sandbox::control::{self, StartOptions};
pub use provision_sandbox::{Faults, Request};
pub use world::{Caught, Said, World, table_in, workspace};

/// A public key that opens nothing.
pub const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB nobody";
