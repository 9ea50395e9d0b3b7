//! Owns the audit log: append-only, every entry chained to the one before by its hash, checkpoints signed.
//!
//! An entry's hash is SHA-256 over the hash before it, a line feed, and the entry's canonical JSON; the first one follows
//! the state's lineage. Checkpoints sign `lineage, sequence number, hash, time`, one per line, with an Ed25519 key that is
//! derived from the state's key. The newest checkpoint is also kept in the file `audit.head` beside the state, so that
//! cutting off the end of the log shows.

use crate::db::{Database, DbError, Trouble, vals};
use crate::store::parsed;
use crate::{Lease, Sealer, Store, file_io, io, now};
use data_encoding::HEXLOWER;
use provision_diagnostic::Failure;
use provision_model::{Json, Map, canonical};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// Entries that are looked at in one go.
const PAGE: i64 = 10_000;

/// Something that was done, by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// RFC 3339.
    pub time: String,
    pub actor: String,
    /// `apply.begin`, `operation.begin`, `lease.break`, …
    pub event: String,
    /// The address or other thing it was done to.
    pub subject: Option<String>,
    /// The change of the history it is part of.
    pub serial: Option<i64>,
    /// Further facts; never a secret.
    pub detail: Map,
}

/// An entry with its place in the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Counted from 1.
    pub seq: i64,
    #[serde(flatten)]
    pub entry: AuditEntry,
    pub hash: String,
}

/// What is wrong with the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditProblem {
    pub seq: i64,
    pub problem: String,
}

/// What verifying the log found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    pub valid: bool,
    pub entries: i64,
    pub checkpoints: i64,
    /// The hash of the newest entry.
    pub head: Option<String>,
    pub problems: Vec<AuditProblem>,
    /// What going back to a backup cut off. It is no alteration, for the log itself tells of it.
    pub gaps: Vec<AuditGap>,
}

/// Entries that are gone because the state went back to a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditGap {
    /// The entry that tells of it.
    pub seq: i64,
    /// The first entry that is gone.
    pub from: i64,
    /// The last one that is known of; `None` where nothing was left to tell.
    pub until: Option<i64>,
    /// The hash of that one.
    pub hash: Option<String>,
}

/// The event of a restore.
pub(crate) const RESTORE: &str = "state.restore";

/// The end of a log: the sequence number and the hash of its newest entry.
pub(crate) type Head = (i64, String);

/// What a restore notes of the log it cuts: `first` is the first entry that goes.
pub(crate) fn cut(first: i64, head: Option<Head>, detail: &mut Map) {
    detail.insert("first_cut".into(), Json::from(first));
    let head = head.map(|(seq, hash)| serde_json::json!({"seq": seq, "hash": hash}));
    detail.insert("head".into(), head.unwrap_or(Json::Null));
}

/// The newest end of a log that its files tell of: the database as far as it can be read, and the checkpoint beside it.
pub(crate) fn head_in(folder: &std::path::Path) -> Option<Head> {
    let file = folder.join(crate::store::FILE);
    let kept = crate::sqlite::Sqlite::look(&file).and_then(|mut database| head_of(&mut database)).unwrap_or_default();
    let signed = std::fs::read_to_string(folder.join(HEAD)).ok();
    let signed = signed.and_then(|text| serde_json::from_str::<Checkpoint>(&text).ok());
    let signed = signed.map(|checkpoint| (checkpoint.seq, checkpoint.hash));
    [kept, signed].into_iter().flatten().max_by_key(|(seq, _)| *seq)
}

fn head_of(database: &mut dyn Database) -> Result<Option<Head>, DbError> {
    let row = database.row("select seq, hash from audit_head where one = 1", &[])?;
    Ok(row.map(|row| (row.int(0), row.text(1).to_owned())))
}

/// The gap that the entry of a restore tells of.
fn gap(seq: i64, data: &str) -> Option<AuditGap> {
    let entry: AuditEntry = serde_json::from_str(data).ok().filter(|entry: &AuditEntry| entry.event == RESTORE)?;
    let from = entry.detail.get("first_cut").and_then(Json::as_i64).unwrap_or(seq);
    let head = entry.detail.get("head");
    let until = head.and_then(|head| head.get("seq")).and_then(Json::as_i64);
    let hash = head.and_then(|head| head.get("hash")).and_then(Json::as_str).map(str::to_owned);
    until.is_none_or(|until| until >= from).then_some(AuditGap { seq, from, until, hash })
}

/// The file with the newest checkpoint, beside the state.
pub(crate) const HEAD: &str = "audit.head";

/// The signed state of the log at one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Version of this file's shape.
    version: u32,
    seq: i64,
    at: String,
    hash: String,
    /// Hexadecimal.
    signature: String,
}

const CHECKPOINT_VERSION: u32 = 1;

fn chained(before: &str, data: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(before.as_bytes());
    hasher.update(b"\n");
    hasher.update(data.as_bytes());
    HEXLOWER.encode(&hasher.finalize())
}

fn signed_text(lineage: &str, seq: i64, hash: &str, at: &str) -> String {
    format!("{lineage}\n{seq}\n{hash}\n{at}")
}

/// Adds an entry at the end of the chain.
pub(crate) fn append(database: &mut dyn Database, lineage: &str, entry: &AuditEntry) -> Result<(), DbError> {
    let head = format!("select seq, hash from audit_head where one = 1{}", database.for_update());
    let (seq, before) =
        database.row(&head, &[])?.map_or((0, String::new()), |row| (row.int(0), row.text(1).to_owned()));
    let before = if seq == 0 { lineage } else { &before };
    let data = serde_json::to_value(entry).map_err(|error| DbError::new(Trouble::Other, error))?;
    let data = canonical(&data);
    let hash = chained(before, &data);
    database.run("insert into audit (seq, data, hash) values (?1, ?2, ?3)", vals![seq + 1, data, &hash])?;
    database.run("update audit_head set seq = ?1, hash = ?2 where one = 1", vals![seq + 1, &hash])?;
    Ok(())
}

/// Signs what another key signed, and the end of the log; gives the checkpoint of the end. What that key did not sign is
/// left as it is, for it to be found.
pub(crate) fn resign(
    database: &mut dyn Database,
    lineage: &str,
    old: &Sealer,
    new: &Sealer,
) -> Result<Checkpoint, DbError> {
    for row in database.rows("select seq, at, hash, signature from checkpoints order by seq", &[])? {
        let text = signed_text(lineage, row.int(0), row.text(2), row.text(1));
        if old.is_signed(&text, row.text(3)) {
            let sql = "update checkpoints set signature = ?2 where seq = ?1";
            database.run(sql, vals![row.int(0), new.sign(&text)])?;
        }
    }
    let (seq, hash) = head_of(database)?.unwrap_or_default();
    let at = now();
    let signature = new.sign(&signed_text(lineage, seq, &hash, &at));
    let sql = "insert into checkpoints (seq, at, hash, signature) values (?1, ?2, ?3, ?4) on conflict do nothing";
    database.run(sql, vals![seq, &at, &hash, &signature])?;
    Ok(Checkpoint { version: CHECKPOINT_VERSION, seq, at, hash, signature })
}

impl Store {
    pub(crate) fn audit_entry(&self, lease: &Lease, event: &str, subject: Option<&str>, detail: Map) -> AuditEntry {
        AuditEntry {
            time: now(),
            actor: lease.user().to_owned(),
            event: event.to_owned(),
            subject: subject.map(str::to_owned),
            serial: None,
            detail,
        }
    }

    /// Writes something down that the holder of the lease did.
    pub fn audit(&self, lease: &Lease, event: &str, subject: Option<&str>, detail: Map) -> Result<(), Failure> {
        let entry = self.audit_entry(lease, event, subject, detail);
        let lineage = self.lineage().to_owned();
        self.fenced(lease, move |database| append(database, &lineage, &entry))
    }

    /// Signs the log as it is. Without one there is nothing to sign.
    pub fn checkpoint(&self) -> Result<(), Failure> {
        let Some((seq, hash)) = self.read(|database| head_of(database))? else { return Ok(()) };
        if seq == 0 {
            return Ok(());
        }
        let at = now();
        let signature = self.sealer().sign(&signed_text(self.lineage(), seq, &hash, &at));
        let checkpoint = Checkpoint { version: CHECKPOINT_VERSION, seq, at, hash, signature };
        let kept = checkpoint.clone();
        self.write(move |database| {
            let sql = "insert into checkpoints (seq, at, hash, signature) values (?1, ?2, ?3, ?4)
                 on conflict (seq) do nothing";
            database.run(sql, vals![kept.seq, &kept.at, &kept.hash, &kept.signature])?;
            Ok(())
        })?;
        self.write_head(&checkpoint)
    }

    /// How many entries the log has.
    pub(crate) fn audited(&self) -> Result<i64, Failure> {
        Ok(self.read(|database| head_of(database))?.map_or(0, |(seq, _)| seq))
    }

    fn head_file(&self) -> Option<PathBuf> {
        (!self.folder().as_os_str().is_empty()).then(|| self.folder().join(HEAD))
    }

    pub(crate) fn write_head(&self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let Some(file) = self.head_file() else { return Ok(()) };
        let text = serde_json::to_string_pretty(checkpoint).map_err(|error| io("write the audit log of", &error))?;
        crate::write_whole(&file, &text).map_err(|error| file_io("write the audit log of", &error))
    }

    /// Entries from a sequence number on, at most a page of them.
    pub fn audit_page(&self, from: i64) -> Result<Vec<AuditRow>, Failure> {
        let sql = "select seq, data, hash from audit where seq >= ?1 order by seq limit ?2";
        self.rows(sql, vals![from, PAGE])?
            .iter()
            .map(|row| Ok(AuditRow { seq: row.int(0), entry: parsed(row.text(1))?, hash: row.text(2).to_owned() }))
            .collect()
    }

    /// Looks for entries that were altered, removed, put elsewhere or cut off.
    pub fn verify_audit(&self) -> Result<Verified, Failure> {
        let mut found =
            Verified { valid: true, entries: 0, checkpoints: 0, head: None, problems: Vec::new(), gaps: Vec::new() };
        let mut before = self.lineage().to_owned();
        let checkpoints = self.rows("select seq, at, hash, signature from checkpoints order by seq", &[])?;
        let mut checkpoints: Vec<Checkpoint> = checkpoints
            .iter()
            .map(|row| Checkpoint {
                version: CHECKPOINT_VERSION,
                seq: row.int(0),
                at: row.text(1).to_owned(),
                hash: row.text(2).to_owned(),
                signature: row.text(3).to_owned(),
            })
            .collect();
        found.checkpoints = checkpoints.len() as i64;
        checkpoints.extend(self.read_head(&mut found));
        let mut told = |seq: i64, problem: &str| found.problems.push(AuditProblem { seq, problem: problem.to_owned() });
        for checkpoint in &checkpoints {
            let text = signed_text(self.lineage(), checkpoint.seq, &checkpoint.hash, &checkpoint.at);
            if !self.sealer().is_signed(&text, &checkpoint.signature) {
                told(checkpoint.seq, "the signature of the checkpoint is not ours");
            }
        }
        let by_seq: std::collections::HashMap<i64, &str> =
            checkpoints.iter().map(|checkpoint| (checkpoint.seq, checkpoint.hash.as_str())).collect();
        let mut next = 1;
        let mut gaps = Vec::new();
        loop {
            let sql = "select seq, data, hash from audit where seq >= ?1 order by seq limit ?2";
            let page = self.rows(sql, vals![next, PAGE])?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let (seq, hash) = (row.int(0), row.text(2));
                if seq != next {
                    told(next, &format!("{} entries are missing", seq - next));
                    // What follows the gap is looked at for itself.
                } else if chained(&before, row.text(1)) != hash {
                    told(seq, "the entry is not the one that was written, or not in its place");
                }
                if by_seq.get(&seq).is_some_and(|signed| *signed != hash) {
                    told(seq, "the entry is not the one that was signed");
                }
                if row.text(1).contains(RESTORE) {
                    gaps.extend(gap(seq, row.text(1)));
                }
                before = hash.to_owned();
                next = seq + 1;
                found.entries += 1;
            }
        }
        let newest = checkpoints.iter().map(|checkpoint| checkpoint.seq).max().unwrap_or(0);
        let (head_seq, head_hash) = self.read(|database| head_of(database))?.unwrap_or_default();
        if next <= newest.max(head_seq) {
            told(next, &format!("the log ends before entry {}, which was there", newest.max(head_seq)));
        } else if head_seq != next - 1 || (head_seq > 0 && head_hash != before) {
            told(head_seq, "the end of the log is not where it was");
        }
        found.gaps = gaps;
        found.head = (found.entries > 0).then_some(before);
        found.valid = found.problems.is_empty();
        Ok(found)
    }

    fn read_head(&self, found: &mut Verified) -> Option<Checkpoint> {
        let text = std::fs::read_to_string(self.head_file()?).ok()?;
        match serde_json::from_str::<Checkpoint>(&text) {
            Ok(checkpoint) if checkpoint.version <= CHECKPOINT_VERSION => Some(checkpoint),
            _ => {
                found.problems.push(AuditProblem { seq: 0, problem: "the file audit.head cannot be read".into() });
                None
            }
        }
    }
}
