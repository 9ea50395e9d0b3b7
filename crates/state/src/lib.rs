//! Owns what must not be lost: resources, the operation journal, plans, outputs, the lease; rows in SQLite, one
//! transaction per step of the journal protocol. Knows the model only.

mod approval;
mod journal;
mod lease;
mod schema;
mod seal;
mod store;

pub use approval::Approval;
pub use journal::{Entry, Phase, PolicyInForce, Record, StepRecord};
pub use lease::{Lease, LeaseInfo};
pub use schema::SCHEMA_VERSION;
pub use seal::Sealer;
pub use store::Store;

use provision_diagnostic::Failure;

/// Now, RFC 3339 with microseconds, UTC.
pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// A name that nothing else has.
pub fn new_id() -> String {
    data_encoding::BASE32_NOPAD.encode(&rand::random::<[u8; 10]>()).to_ascii_lowercase()
}

pub(crate) fn io(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new("provision::state::io", format!("cannot {what} the state: {error}"))
        .with_help("Check that the project's `.provision` folder is writable and the disk has space.")
}
