//! Owns plan, apply, destroy, recover: the way from a configuration to changed infrastructure, and the journal protocol
//! that makes a crash at any instant harmless.
//!
//! Takes a store, a registry and an environment as arguments; must not know Nushell, HTTP or SQL.

mod apply;
mod approve;
mod changes;
mod desired;
mod execute;
mod gate;
mod inventory;
mod output;
mod people;
mod plan;
mod project;
mod question;
mod refresh;
mod send;
mod session;
mod settle;
mod subset;
mod validate;

pub use apply::ApplyOptions;
pub use approve::ApproveOptions;
pub use inventory::ResourceRow;
pub use output::{output, outputs};
pub use plan::{Plan, PlanOptions, PlannedRow};
pub use project::{Input, SourceNote, find_project};
pub use provision_model::{Address, Event, Json, Status};
pub use provision_state::Approval;
pub use session::{Environment, Session, Stop};
