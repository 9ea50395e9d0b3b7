//! Owns the audit log: append-only, every entry chained to the one before by its hash, checkpoints signed.
//!
//! An entry's hash is SHA-256 over the hash before it, a line feed, and the entry's canonical JSON; the first one follows
//! the state's lineage. Checkpoints sign `lineage, sequence number, hash, time`, one per line, with an Ed25519 key that is
//! derived from the state's key; the newest one is also beside the state (`head`). Each entry proves with the key that the
//! log ends with it (`proofs`), so that no entry can be added or cut off without the key.

use crate::db::{Database, DbError, Trouble, vals};
use crate::proofs::{self, Chain};
use crate::store::parsed;
use crate::{Lease, Store};
use data_encoding::HEXLOWER;
use provision_diagnostic::Failure;
use provision_model::{Json, Map, Time, canonical};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Entries that are looked at in one go.
pub(crate) const PAGE: i64 = 10_000;

/// Something that was done, by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// RFC 3339.
    pub time: Time,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRow {
    /// Counted from 1.
    pub seq: i64,
    #[serde(flatten)]
    pub entry: AuditEntry,
    pub hash: String,
}

/// Entries that are gone because the state went back to a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// The end of the log in the database.
pub(crate) fn head_of(database: &mut dyn Database) -> Result<Option<Head>, DbError> {
    let row = database.row("select seq, hash from audit_head where one = 1", &[])?;
    Ok(row.map(|row| (row.int(0), row.text(1).to_owned())))
}

/// The gap that the entry of a restore tells of.
pub(crate) fn gap(seq: i64, data: &str) -> Option<AuditGap> {
    let entry: AuditEntry = serde_json::from_str(data).ok().filter(|entry: &AuditEntry| entry.event == RESTORE)?;
    let from = entry.detail.get("first_cut").and_then(Json::as_i64).unwrap_or(seq);
    let head = entry.detail.get("head");
    let until = head.and_then(|head| head.get("seq")).and_then(Json::as_i64);
    let hash = head.and_then(|head| head.get("hash")).and_then(Json::as_str).map(str::to_owned);
    until.is_none_or(|until| until >= from).then_some(AuditGap { seq, from, until, hash })
}

pub(crate) fn chained(before: &str, data: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(before.as_bytes());
    hasher.update(b"\n");
    hasher.update(data.as_bytes());
    HEXLOWER.encode(&hasher.finalize())
}

/// The digest by which entries refer to what is stored elsewhere.
pub(crate) fn digest_of(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

/// What the proof of the log's end is of.
pub(crate) fn end_text(seq: i64, hash: &str) -> String {
    format!("{seq}\n{hash}")
}

/// Adds an entry at the end of the chain, and proves that the log ends there.
pub(crate) fn append(database: &mut dyn Database, chain: &Chain, entry: &AuditEntry) -> Result<(), DbError> {
    let head = format!("select seq, hash from audit_head where one = 1{}", database.for_update());
    let (seq, before) =
        database.row(&head, &[])?.map_or((0, String::new()), |row| (row.int(0), row.text(1).to_owned()));
    let before = if seq == 0 { &chain.lineage } else { &before };
    let data = serde_json::to_value(entry).map_err(|error| DbError::new(Trouble::Other, error))?;
    let data = canonical(&data);
    let hash = chained(before, &data);
    database.run("insert into audit (seq, data, hash) values (?1, ?2, ?3)", vals![seq + 1, data, &hash])?;
    database.run("update audit_head set seq = ?1, hash = ?2 where one = 1", vals![seq + 1, &hash])?;
    chain.prove(database, proofs::LOG, &end_text(seq + 1, &hash))
}

impl Store {
    pub(crate) fn audit_entry(&self, lease: &Lease, event: &str, subject: Option<&str>, detail: Map) -> AuditEntry {
        self.vouched(AuditEntry {
            time: self.now(),
            actor: lease.user().to_owned(),
            event: event.to_owned(),
            subject: subject.map(str::to_owned),
            serial: None,
            detail,
        })
    }

    /// Writes something down that the holder of the lease did.
    pub fn audit(&self, lease: &Lease, event: &str, subject: Option<&str>, detail: Map) -> Result<(), Failure> {
        let entry = self.audit_entry(lease, event, subject, detail);
        let chain = self.chain();
        self.fenced(lease, move |database| append(database, &chain, &entry))
    }

    /// How many entries the log has.
    pub(crate) fn audited(&self) -> Result<i64, Failure> {
        Ok(self.read(|database| head_of(database))?.map_or(0, |(seq, _)| seq))
    }

    /// Entries from a sequence number on, at most a page of them.
    pub fn audit_page(&self, from: i64) -> Result<Vec<AuditRow>, Failure> {
        let sql = "select seq, data, hash from audit where seq >= ?1 order by seq limit ?2";
        self.rows(sql, vals![from, PAGE])?
            .iter()
            .map(|row| Ok(AuditRow { seq: row.int(0), entry: parsed(row.text(1))?, hash: row.text(2).to_owned() }))
            .collect()
    }
}
