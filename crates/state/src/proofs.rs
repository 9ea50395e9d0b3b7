//! Owns proofs: keyed digests of the rows that decide something. Who has the file and not the key cannot make one.

use crate::db::{Database, DbError, vals};
use crate::{Ambient, Sealer};
use std::sync::Arc;

/// The subject of the end of the audit log.
pub(crate) const LOG: &str = "log";
/// The subject of the policies in force.
pub(crate) const POLICIES: &str = "policies";

/// The subject of an approval.
pub(crate) fn approval(id: &str) -> String {
    format!("approval {id}")
}

/// What the entries of one state are chained and vouched for with.
#[derive(Clone)]
pub(crate) struct Chain {
    pub lineage: String,
    pub sealer: Arc<Sealer>,
    pub ambient: Arc<dyn Ambient>,
}

impl Chain {
    fn of(&self, subject: &str, text: &str) -> String {
        self.sealer.prove(&format!("{}\n{subject}\n{text}", self.lineage))
    }

    /// Writes the proof of what a row says.
    pub fn prove(&self, database: &mut dyn Database, subject: &str, text: &str) -> Result<(), DbError> {
        let sql = "insert into proofs (subject, proof) values (?1, ?2)
             on conflict (subject) do update set proof = excluded.proof";
        database.run(sql, vals![subject, self.of(subject, text)])?;
        Ok(())
    }

    /// Whether this is the proof of what a row says.
    pub fn holds(&self, subject: &str, text: &str, proof: &str) -> bool {
        self.of(subject, text) == proof
    }

    /// Whether a row says what was proved.
    pub fn is_proved(&self, database: &mut dyn Database, subject: &str, text: &str) -> Result<bool, DbError> {
        Ok(kept(database, subject)?.is_some_and(|proof| self.holds(subject, text, &proof)))
    }
}

/// The proof that is there for a subject.
pub(crate) fn kept(database: &mut dyn Database, subject: &str) -> Result<Option<String>, DbError> {
    let row = database.row("select proof from proofs where subject = ?1", vals![subject])?;
    Ok(row.map(|row| row.text(0).to_owned()))
}

/// Takes a proof away with the row it vouched for.
pub(crate) fn forget(database: &mut dyn Database, subject: &str) -> Result<(), DbError> {
    database.run("delete from proofs where subject = ?1", vals![subject])?;
    Ok(())
}
