//! Owns what must not be lost: resources, the operation journal, plans, outputs, the lease, the history, the audit log;
//! rows in SQLite or PostgreSQL, one transaction per step of the journal protocol. Knows the model only.

mod ambient;
mod approval;
mod audit;
mod backup;
mod commit;
mod db;
mod files;
mod guard;
mod head;
mod history;
mod journal;
mod lease;
mod operations;
mod owner;
mod postgres;
mod proofs;
mod rekey;
mod resources;
mod schema;
mod seal;
mod secrets;
mod silence;
mod sqlite;
mod store;
mod transfer;
mod verify;

pub use ambient::{Ambient, Machine};
pub use approval::Approval;
pub use audit::{AuditEntry, AuditGap, AuditRow};
pub use backup::{BackupRow, Restored, list as backups, restore};
pub use db::{Database, DbError, Dialect, Row, Trouble, Val};
pub use files::write_whole;
pub use head::{Checkpoint, Standing};
pub use history::{Changed, Counts, HistoryRow, NewChange, Version, revision};
pub use journal::{Body, Entry, IllegalTransition, Operation, Phase, PolicyInForce, Record, ResourceChange, Step};
pub use lease::{Lease, LeaseRow};
pub use owner::LeaseInfo;
pub use postgres::Postgres;
pub use rekey::Rekeyed;
pub use resources::Edit;
pub use schema::SCHEMA_VERSION;
pub use seal::Sealer;
pub use secrets::{Audience, SecretRow, SecretWritten, Secrets, SecretsReady};
pub use silence::{Silence, Unsettled};
pub use sqlite::Sqlite;
pub use store::{Location, Store};
pub use transfer::Imported;
pub use verify::{AuditProblem, Verified};

use provision_diagnostic::Code;
use provision_diagnostic::Failure;

/// What to do when a file of the state cannot be read or written.
pub(crate) const WRITABLE: &str = "Check that the project's `.provision` folder is writable and the disk has space.";
/// What to do when there is no room left, whatever it was that did not fit.
pub(crate) const FREE: &str = "Free some space, then run the command again: open operations are settled first.";

pub(crate) fn io(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::StateIo, format!("cannot {what} the state: {error}")).with_help(WRITABLE)
}

/// The same of a file, where a disk without room is told from the rest.
pub(crate) fn file_io(what: &str, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => io(what, error).with_help(FREE),
        _ => io(what, error),
    }
}
