//! Owns the sandbox: simulated Hetzner, UpCloud and AWS on one loopback port, with faults on request.
//!
//! One process answers `/v1` as Hetzner, `/1.3` as UpCloud and `POST /` as the EC2 query protocol, each as its vendor
//! documents it; `/_sandbox` is the control API. It knows nothing of plans, manifests or Nushell.

mod admin;
mod aws;
mod call;
mod chance;
pub mod cli;
pub mod control;
mod faults;
mod hetzner;
mod journal;
mod limits;
mod mutate;
mod net;
mod server;
mod simulation;
mod store;
mod upcloud;
mod world;

pub use call::Cloud;
pub use faults::{FailNext, FaultKind, Faults};
pub use journal::Request;
pub use mutate::Mutation;
pub use server::{Background, Server};
pub use simulation::{Answered, Simulation};
pub use world::Options;
