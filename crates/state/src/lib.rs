//! Owns what must not be lost: resources, the operation journal, plans, outputs, the lease, the history, the audit log;
//! rows in SQLite or PostgreSQL, one transaction per step of the journal protocol. Knows the model only.

mod approval;
mod audit;
mod backup;
mod commit;
mod db;
mod guard;
mod head;
mod history;
mod journal;
mod lease;
mod operations;
mod postgres;
pub mod private;
mod proofs;
mod rekey;
mod resources;
mod schema;
mod seal;
mod secrets;
mod sqlite;
mod store;
mod transfer;
mod verify;

pub use approval::Approval;
pub use audit::{AuditEntry, AuditGap, AuditRow};
pub use backup::{BackupRow, Restored, list as backups, restore};
pub use db::{Database, DbError, Dialect, Row, Trouble, Val};
pub use head::{Checkpoint, Standing};
pub use history::{Changed, Counts, HistoryRow, NewChange, Version, revision};
pub use journal::{Entry, Phase, PolicyInForce, Record, StepRecord};
pub use lease::{Lease, LeaseInfo, LeaseRow};
pub use postgres::Postgres;
pub use rekey::Rekeyed;
pub use resources::Edit;
pub use schema::SCHEMA_VERSION;
pub use seal::Sealer;
pub use secrets::{Audience, SecretRow, SecretWritten, Secrets, SecretsReady};
pub use sqlite::Sqlite;
pub use store::{Location, Store};
pub use transfer::Imported;
pub use verify::{AuditProblem, Verified};

use provision_diagnostic::Failure;

/// Now, RFC 3339 with microseconds, UTC.
pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// Writes a file beside its place and puts it there, so that a reader sees all of it or what was there before. Its owner alone
/// may read it.
pub fn write_whole(file: &std::path::Path, text: &str) -> std::io::Result<()> {
    let beside = beside(file, text)?;
    let put = std::fs::rename(&beside, file).and_then(|()| sync_folder(file));
    put.inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

/// The same where nothing is there yet; what is there stays.
pub(crate) fn write_new(file: &std::path::Path, text: &str) -> std::io::Result<()> {
    let beside = beside(file, text)?;
    let put = std::fs::hard_link(&beside, file);
    let _ = std::fs::remove_file(&beside);
    match put {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(file),
    }
}

/// A file beside another one's place, durable, with a name that no other process gives.
fn beside(file: &std::path::Path, text: &str) -> std::io::Result<std::path::PathBuf> {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", new_id()));
    let beside = file.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| {
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()
    });
    written.inspect_err(|_| drop(std::fs::remove_file(&beside)))?;
    Ok(beside)
}

fn sync_folder(file: &std::path::Path) -> std::io::Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// A name that nothing else has.
pub fn new_id() -> String {
    data_encoding::BASE32_NOPAD.encode(&rand::random::<[u8; 10]>()).to_ascii_lowercase()
}

/// What to do when a file of the state cannot be read or written.
pub(crate) const WRITABLE: &str = "Check that the project's `.provision` folder is writable and the disk has space.";
/// What to do when there is no room left, whatever it was that did not fit.
pub(crate) const FREE: &str = "Free some space, then run the command again: open operations are settled first.";

pub(crate) fn io(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new("provision::state::io", format!("cannot {what} the state: {error}")).with_help(WRITABLE)
}

/// The same of a file, where a disk without room is told from the rest.
pub(crate) fn file_io(what: &str, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => io(what, error).with_help(FREE),
        _ => io(what, error),
    }
}
