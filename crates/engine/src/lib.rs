//! Owns plan, apply, destroy, recover: the way from a configuration to changed infrastructure, and the journal protocol
//! that makes a crash at any instant harmless.
//!
//! Takes a store, a registry and an environment as arguments; must not know Nushell, HTTP or SQL.

mod actor;
mod adopt;
mod alone;
mod apply;
mod approve;
mod asking;
mod changes;
mod conditions;
mod deferred;
mod desired;
mod drift;
mod execute;
mod first;
mod free;
mod gate;
mod held;
mod history;
mod import;
mod init;
mod inventory;
mod limits;
mod looking;
mod lookups;
mod moves;
mod offers;
mod others;
mod output;
mod parted;
mod parts;
mod people;
mod picture;
mod plan;
mod planfile;
mod planned;
mod policies;
mod prepared;
mod project;
mod question;
mod refresh;
mod rollback;
mod schedule;
mod scope;
mod secret_module;
mod selection;
mod send;
mod session;
mod settle;
mod shown;
mod sighting;
mod sources;
mod strays;
mod subset;
mod trust;
mod validate;
mod verdict;
mod whole;
mod written;

pub use actor::Actor;
pub use apply::ApplyOptions;
pub use approve::ApproveOptions;
pub use drift::{DriftRow, RefreshRow, Seen};
pub use history::ChangeRow;
pub use import::{ImportOptions, ImportedRow};
pub use init::{Begun, init};
pub use inventory::ResourceRow;
pub use offers::{held_of, migrate};
pub use output::{output, outputs};
pub use picture::Picture;
pub use plan::{Plan, PlanOptions, PlannedRow};
pub use planfile::is_plan_file;
pub use project::{Input, SourceNote, find_project};
pub use provision_model::{Address, Event, Json, Status};
pub use provision_providers::{Clock, Outside, RustProviders, Wire, WireAnswer, WireError, WireRequest, network};
pub use provision_state::{
    Approval, AuditRow, BackupRow, Changed, Checkpoint, Counts, HistoryRow, Imported, LeaseRow, Location, Restored,
    Store, Verified, backups, restore,
};
pub use provision_state::{Audience, Secrets};
pub use session::{Environment, Sabotage, Session, Stop, location};
pub use settle::Settled;
pub use trust::{Wanted, trust};
pub use whole::AdoptedProject;
