//! Owns giving a state another key: everything that is sealed is sealed anew, in one transaction, and what was signed is
//! signed anew.

use crate::db::{Database, DbError, Dialect, Trouble};
use crate::proofs::{self, Chain};
use crate::resources::{policies_text, sum};
use crate::store::{FILE, set_meta};
use crate::{Lease, Sealer, Store, audit, file_io};
use provision_diagnostic::Failure;
use provision_model::{Json, Map};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What giving a state another key came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rekeyed {
    /// The public half of the new key.
    pub public_key: String,
    /// Values that were sealed anew.
    pub values: u64,
    /// Backups that went, for the old key opens them.
    pub backups: usize,
    /// What the old key may open still: damaged states that were put aside.
    pub left: Vec<String>,
}

/// Where a column has sealed values: the table, its key, the column, and whether the row has a checksum of it.
const SEALED: &[(&str, &[&str], &str, bool)] = &[
    ("resources", &["address"], "data", true),
    ("versions", &["address", "serial"], "body", true),
    ("journal", &["id"], "data", false),
    ("plans", &["digest"], "body", false),
    ("outputs", &["name"], "value", false),
    ("history", &["serial"], "outputs", false),
    ("meta", &["key"], "value", false),
];

impl Store {
    /// Gives the state another key: the one that is given, or a new one in the place of the file beside the state. The
    /// session that did it ends with it.
    pub fn rekey(&self, lease: &Lease, given: Option<&str>) -> Result<Rekeyed, Failure> {
        if given.is_none() && self.folder().as_os_str().is_empty() {
            return Err(crate::io("write the key of", &"it is in memory").with_help("Give the new key."));
        }
        self.mend(lease)?;
        let place = self.folder().join(crate::seal::NEXT);
        let next = Arc::new(match given {
            Some(key) => Sealer::from_key(key)?,
            None => Sealer::from_key(&Sealer::fresh_key())?,
        });
        if given.is_none() {
            // Durable before anything is sealed with it.
            let _ = std::fs::remove_file(&place);
            next.keep(&place).map_err(|error| file_io("write the key of", &error))?;
        }
        let (old, new, lineage, user) =
            (Arc::new(self.sealer().again()), next.clone(), self.lineage().to_owned(), lease.user().to_owned());
        let (was, is) = (self.chain(), Chain { lineage: lineage.clone(), sealer: next.clone(), ..self.chain() });
        let policies = policies_text(self.policies_as_stored()?.as_ref())?;
        let approvals = self.approvals()?;
        let (values, head) = self.fenced(lease, move |database| {
            let mut values = 0;
            for (table, keys, column, summed) in SEALED {
                values += reseal_table(database, (table, keys, column, *summed), &old, &new)?;
            }
            set_meta(database, "public_key", &new.public_key())?;
            let mut detail = Map::new();
            detail.insert("before".into(), Json::from(old.public_key()));
            detail.insert("after".into(), Json::from(new.public_key()));
            detail.insert("values".into(), Json::from(values));
            let entry = crate::AuditEntry {
                time: was.ambient.now(),
                actor: user.clone(),
                event: "state.rekey".into(),
                subject: None,
                serial: None,
                detail,
            };
            // What the old key vouched for the new one does; what it did not stays so, for it to be found.
            if was.is_proved(database, proofs::POLICIES, &policies)? {
                is.prove(database, proofs::POLICIES, &policies)?;
            }
            for approval in &approvals {
                let (subject, text) = (proofs::approval(&approval.id), approval.text(true));
                if was.is_proved(database, &subject, &text)? {
                    is.prove(database, &subject, &text)?;
                }
            }
            let (seq, hash) = audit::head_of(database)?.unwrap_or_default();
            let whole = seq == 0 || was.is_proved(database, proofs::LOG, &audit::end_text(seq, &hash))?;
            audit::append(database, if whole { &is } else { &was }, &entry)?;
            let head = crate::head::resign(database, &lineage, &old, &new, was.ambient.now())?;
            Ok((values, head))
        })?;
        if given.is_none() {
            take_over(self.folder())?;
        }
        self.write_head(&head)?;
        let backups = self.sweep()?;
        Ok(Rekeyed { public_key: next.public_key(), values, backups, left: aside(self.folder()) })
    }

    /// Takes away what the old key opens: the free pages of the file, its log, its backups. A new backup is made.
    fn sweep(&self) -> Result<usize, Failure> {
        if self.dialect != Dialect::Sqlite || self.folder().as_os_str().is_empty() {
            return Ok(0);
        }
        let old = crate::backups(self.folder());
        self.committer
            .alone(|database| {
                database.script("vacuum")?;
                database.rows("pragma wal_checkpoint(truncate)", &[]).map(drop)
            })
            .map_err(|error| error.failure("write"))?;
        for row in &old {
            std::fs::remove_file(&row.file).map_err(|error| file_io("back up", &error))?;
        }
        if !old.is_empty() {
            self.backup()?;
        }
        Ok(old.len())
    }
}

/// Puts a new key into the place of the old one.
pub(crate) fn take_over(folder: &Path) -> Result<(), Failure> {
    std::fs::rename(folder.join(crate::seal::NEXT), folder.join(crate::seal::KEY))
        .and_then(|()| crate::files::sync(folder))
        .map_err(|error| file_io("write the key of", &error))
}

/// States that a restore put aside.
fn aside(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let damaged: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|it| it.join(FILE).exists()).collect();
    damaged.iter().map(|path| path.display().to_string()).collect()
}

fn reseal_table(
    database: &mut dyn Database,
    (table, keys, column, summed): (&str, &[&str], &str, bool),
    old: &Sealer,
    new: &Sealer,
) -> Result<u64, DbError> {
    let check = if summed { ", sum" } else { "" };
    let rows = database.rows(&format!("select {column}{check}, {} from {table}", keys.join(", ")), &[])?;
    let mut values = 0;
    for row in rows {
        let Some(text) = row.opt(0).filter(|text| text.contains("\"$sealed\"") || text.contains("\"triggers\":\""))
        else {
            continue;
        };
        let mut data: Json = serde_json::from_str(text).map_err(|error| {
            DbError::new(Trouble::Corrupt, format!("a row of the table `{table}` cannot be read: {error}"))
        })?;
        values += reseal(&mut data, old, new)?;
        let written = data.to_string();
        let mut bound: Vec<crate::db::Val> = Vec::new();
        let mut set = format!("{column} = ?1");
        if summed {
            // A row that was damaged stays so.
            let checked = if row.text(1) == sum(text) { sum(&written) } else { row.text(1).to_owned() };
            set.push_str(", sum = ?2");
            bound.push(checked.into());
        }
        bound.insert(0, written.into());
        let (from, own) = (bound.len(), if summed { 2 } else { 1 });
        bound.extend(row.0[own..].iter().cloned());
        let matches: Vec<String> =
            keys.iter().enumerate().map(|(at, key)| format!("{key} = ?{}", from + at + 1)).collect();
        database.run(&format!("update {table} set {set} where {}", matches.join(" and ")), &bound)?;
    }
    Ok(values)
}

/// Seals every sealed value of some data anew. The digest of `replace_when` is keyed and its values are not here: it is
/// noted again by the next plan.
fn reseal(data: &mut Json, old: &Sealer, new: &Sealer) -> Result<u64, DbError> {
    let failed = |failure: Failure| DbError::new(Trouble::Other, failure.first.message);
    match data {
        Json::Object(map) if map.get("$sealed").is_some_and(Json::is_string) => {
            *data = new.seal(&old.open_value(data).map_err(failed)?).map_err(failed)?;
            Ok(1)
        }
        Json::Object(map) => {
            let mut values = 0;
            let row = map.contains_key("address") && map.contains_key("generation");
            for (name, item) in map.iter_mut() {
                if row && name == "triggers" {
                    *item = Json::Null;
                }
                values += reseal(item, old, new)?;
            }
            Ok(values)
        }
        Json::Array(items) => items.iter_mut().map(|item| reseal(item, old, new)).sum(),
        _ => Ok(0),
    }
}
