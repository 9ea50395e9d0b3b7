//! Owns plan, apply, destroy, recover: the way from a configuration to changed infrastructure, and the journal protocol
//! that makes a crash at any instant harmless.
//!
//! Five wings, each of which knows those before it and no other: `configuration`, `observation`, `planning`, `policy`,
//! `operations`. Above them `commands`, which lead through them; below them what everybody stands on: `project`, `host`,
//! `actor`, `workspace`. Takes a store, a registry and an environment as arguments; must not know Nushell, HTTP or SQL.

mod actor;
mod commands;
mod configuration;
mod host;
mod observation;
mod operations;
mod planning;
mod policy;
mod project;
mod workspace;

pub use actor::Actor;
pub use commands::Session;
pub use commands::all::{Command, Effect, all as commands};
pub use commands::apply::ApplyOptions;
pub use commands::approve::ApproveOptions;
pub use commands::graph::Picture;
pub use commands::history::ChangeRow;
pub use commands::init::{Begun, init};
pub use commands::plan_file::is_plan_file;
pub use commands::refresh::{RefreshRow, Seen};
pub use commands::state::ResourceRow;
pub use commands::trust::{Wanted, trust};
pub use commands::upgrade::{held_of, migrate};
pub use commands::whole::AdoptedProject;
pub use configuration::environments::location;
pub use configuration::reading::{Input, SourceNote};
pub use host::{Environment, Host, Stop};
pub use observation::drift::DriftRow;
pub use observation::finding::ImportOptions;
pub use operations::settle::Settled;
pub use operations::taking::ImportedRow;
pub use planning::options::PlanOptions;
pub use planning::planned::{Plan, PlannedRow};
pub use project::{Project, find_project};
pub use provision_model::{Address, Event, Json, Status};
pub use provision_providers::{Clock, Outside, RustProviders, Wire, WireAnswer, WireError, WireRequest, network};
pub use provision_state::{
    Approval, AuditRow, BackupRow, Changed, Checkpoint, Counts, HistoryRow, Imported, LeaseRow, Location, Restored,
    Store, Verified, backups, restore,
};
pub use provision_state::{Audience, Secrets};
pub use workspace::Workspace;
