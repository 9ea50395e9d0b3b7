//! Owns the history: every change that was applied, by serial, and for each address what it was after which change.

use crate::db::{Database, DbError, Trouble, vals};
use crate::resources::sum;
use crate::store::{parsed, text_of};
use crate::{AuditEntry, Lease, Store, io};
use provision_diagnostic::{Code, Failure};
use provision_model::{Address, Json, Lifecycle, Map, Resource, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes that are kept at least; when there are twice as many the oldest go.
const KEPT: i64 = 500;

/// A change that is to be written into the history.
#[derive(Debug, Clone, Default)]
pub struct NewChange {
    /// `apply`, `destroy`, `import`, `move`, `forget`, `replace`, `unprotect`.
    pub kind: String,
    /// `cli`, `webhook`, …
    pub source: String,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// The revision of the source the configuration came from.
    pub revision: Option<String>,
    /// Digest of the plan.
    pub plan: Option<String>,
    pub project: Option<String>,
    /// The folder of policies that was configured.
    pub policies: Option<String>,
    pub outputs: Map,
    /// What it is about, where it is one resource.
    pub subject: Option<Address>,
    /// Further facts for the audit log.
    pub detail: Map,
}

/// One change of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryRow {
    /// Counted from 1.
    #[serde(default)]
    pub serial: i64,
    /// RFC 3339, as all times here.
    pub at: Time,
    /// `None`: it is running, or was interrupted.
    pub ended_at: Option<Time>,
    pub kind: String,
    pub by: String,
    pub source: String,
    pub reason: Option<String>,
    pub revision: Option<String>,
    pub plan: Option<String>,
    pub project: Option<String>,
    pub policies: Option<String>,
    pub subject: Option<Address>,
    pub done: u64,
    pub failed: u64,
    pub in_doubt: u64,
    pub not_started: u64,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub done: u64,
    pub failed: u64,
    pub in_doubt: u64,
    pub not_started: u64,
}

/// What a resource was after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub resource: Resource,
    /// The fields as they were written, references unresolved, sensitive values sealed.
    pub declared: Map,
    pub lifecycle: Lifecycle,
}

impl Version {
    /// Of a resource that was changed outside an operation: what was written stays as it was before.
    pub fn of(resource: Resource, before: Option<Version>) -> Version {
        match before {
            Some(before) => {
                // Protection lives in the state: it may have been lifted there.
                let lifecycle = Lifecycle { protect: resource.protect, retain: resource.retain, ..before.lifecycle };
                Version { resource, lifecycle, ..before }
            }
            None => Version { declared: resource.inputs.clone(), lifecycle: Lifecycle::default(), resource },
        }
    }
}

/// What one change did to one address.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    pub address: Address,
    /// `None`: it was not there.
    pub before: Option<Version>,
    /// `None`: it was gone afterwards.
    pub after: Option<Version>,
}

impl NewChange {
    /// A change of this kind, made from `source`.
    pub fn new(kind: &str, source: &str) -> Self {
        Self { kind: kind.to_owned(), source: source.to_owned(), ..Self::default() }
    }

    pub(crate) fn audit(&self, actor: &str, added: &Added, time: Time) -> AuditEntry {
        let mut detail = self.detail.clone();
        detail.insert(DIGEST.into(), Json::from(added.digest.as_str()));
        let facts = [
            ("source", Some(&self.source)),
            ("reason", self.reason.as_ref()),
            ("revision", self.revision.as_ref()),
            ("plan", self.plan.as_ref()),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                detail.insert(name.into(), Json::from(value.as_str()));
            }
        }
        AuditEntry {
            time,
            actor: actor.to_owned(),
            event: format!("{}.begin", self.kind),
            subject: self.subject.as_ref().map(ToString::to_string),
            serial: Some(added.serial),
            detail,
        }
    }
}

/// What cannot be written is no reason to write less.
fn unwritable(error: serde_json::Error) -> DbError {
    DbError::new(Trouble::Other, error)
}

/// The name under which an entry of the audit log has the digest of the change it tells of.
pub(crate) const DIGEST: &str = "history";

/// The name under which an entry has the oldest change that is left, where older ones went.
pub(crate) const PRUNED: &str = "oldest";

/// A change as it is stored: with the end the audit log had when it began, so that each vouches for the other.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    #[serde(flatten)]
    row: HistoryRow,
    #[serde(default)]
    pub(crate) log: Option<Tip>,
}

/// The end of the audit log.
#[derive(Serialize, Deserialize)]
pub(crate) struct Tip {
    pub seq: i64,
    pub hash: String,
}

/// A change that was added: its serial, and the digest of what was stored.
pub(crate) struct Added {
    pub serial: i64,
    digest: String,
}

/// Adds a change; an open one is ended by [`Store::close_change`].
pub(crate) fn add(
    database: &mut dyn Database,
    change: &NewChange,
    by: &str,
    at: Time,
    open: bool,
) -> Result<Added, DbError> {
    let serial = database.row("select coalesce(max(serial), 0) + 1 from history", &[])?.map_or(1, |row| row.int(0));
    let row = HistoryRow {
        serial,
        ended_at: (!open).then_some(at),
        at,
        kind: change.kind.clone(),
        by: by.to_owned(),
        source: change.source.clone(),
        reason: change.reason.clone(),
        revision: change.revision.clone(),
        plan: change.plan.clone(),
        project: change.project.clone(),
        policies: change.policies.clone(),
        subject: change.subject.clone(),
        done: u64::from(!open),
        failed: 0,
        in_doubt: 0,
        not_started: 0,
    };
    // Only the holder of the lease adds changes: one that is open still was interrupted.
    database.run("update history set open = 0 where open = 1", &[])?;
    let log = crate::audit::head_of(database)?.map(|(seq, hash)| Tip { seq, hash });
    let data = serde_json::to_string(&Stored { row, log }).map_err(unwritable)?;
    let digest = crate::audit::digest_of(&data);
    let outputs = Json::Object(change.outputs.clone()).to_string();
    database.run(
        "insert into history (serial, data, outputs, open) values (?1, ?2, ?3, ?4)",
        vals![serial, data, outputs, open],
    )?;
    Ok(Added { serial, digest })
}

/// A change of the state alone, with what stays as it was: the project, its policies, the outputs.
pub(crate) fn continued(database: &mut dyn Database, change: &NewChange) -> Result<NewChange, DbError> {
    let newest = database.row("select data from history order by serial desc limit 1", &[])?;
    let before = newest.and_then(|row| serde_json::from_str::<HistoryRow>(row.text(0)).ok());
    let outputs = database.rows("select name, value from outputs order by position, name", &[])?;
    let outputs = outputs.iter().map(|row| {
        let value = serde_json::from_str(row.text(1)).map_err(|error| DbError::new(Trouble::Corrupt, error))?;
        Ok((row.text(0).to_owned(), value))
    });
    Ok(NewChange {
        project: change.project.clone().or_else(|| before.as_ref()?.project.clone()),
        policies: change.policies.clone().or_else(|| before.as_ref()?.policies.clone()),
        outputs: outputs.collect::<Result<_, DbError>>()?,
        ..change.clone()
    })
}

/// Keeps what an address was after a change.
pub(crate) fn keep_version(
    database: &mut dyn Database,
    address: &str,
    serial: i64,
    version: Option<&Version>,
) -> Result<(), DbError> {
    let body = version.map(|version| serde_json::to_string(version).map_err(unwritable)).transpose()?;
    let check = body.as_deref().map(sum).unwrap_or_default();
    let sql = "insert into versions (address, serial, body, sum) values (?1, ?2, ?3, ?4)
         on conflict (address, serial) do update set body = excluded.body, sum = excluded.sum";
    database.run(sql, vals![address, serial, body, check])?;
    Ok(())
}

/// The newest version of an address that is not damaged; none where it was deleted since.
pub(crate) fn newest_version(database: &mut dyn Database, address: &str) -> Result<Option<Version>, DbError> {
    let sql = "select body, sum from versions where address = ?1 order by serial desc limit 3";
    let rows = database.rows(sql, vals![address])?;
    // What had the address before it was deleted is another resource.
    let good = rows.iter().take_while(|row| row.opt(0).is_some()).filter(|row| sum(row.text(0)) == row.text(1));
    Ok(good.filter_map(|row| serde_json::from_str(row.text(0)).ok()).next())
}

impl Store {
    /// Begins a change of several operations; gives its serial. The approvals that let it through are used up in the same
    /// instant; it is refused when one of them was used or taken back meanwhile.
    pub fn open_change(&self, lease: &Lease, change: &NewChange, approvals: &[String]) -> Result<i64, Failure> {
        let (change, by, chain) = (self.vouched_change(change), lease.user().to_owned(), self.chain());
        let (time, approvals) = (self.now(), approvals.to_vec());
        let serial = self.fenced(lease, move |database| {
            if !crate::approval::take(database, &chain, &by, &approvals, time)? {
                return Ok(None);
            }
            let added = add(database, &change, &by, time, true)?;
            crate::audit::append(database, &chain, &change.audit(&by, &added, time))?;
            Ok(Some(added.serial))
        })?;
        serial.ok_or_else(crate::approval::taken)
    }

    /// Ends a change.
    pub fn close_change(&self, lease: &Lease, serial: i64, counts: Counts) -> Result<(), Failure> {
        let rows = self.rows("select data from history where serial = ?1", vals![serial])?;
        let Some(found) = rows.first() else { return self.change(serial).map(drop) };
        let mut stored: Stored = parsed(found.text(0))?;
        let row = &mut stored.row;
        row.ended_at = Some(self.now());
        row.done = counts.done;
        row.failed = counts.failed;
        row.in_doubt = counts.in_doubt;
        row.not_started = counts.not_started;
        let event = format!("{}.end", row.kind);
        let data = text_of(&stored)?;
        let mut detail = Map::new();
        detail.insert(DIGEST.into(), Json::from(crate::audit::digest_of(&data)));
        for (name, count) in [
            ("done", counts.done),
            ("failed", counts.failed),
            ("in_doubt", counts.in_doubt),
            ("not_started", counts.not_started),
        ] {
            detail.insert(name.into(), Json::from(count));
        }
        let told = AuditEntry { serial: Some(serial), ..self.audit_entry(lease, &event, None, detail) };
        let chain = self.chain();
        self.fenced(lease, move |database| {
            let sql = "update history set data = ?2, open = 0 where serial = ?1 and data <> ?2";
            if database.run(sql, vals![serial, &data])? == 1 {
                let mut told = told.clone();
                if let Some(cut) = prune(database)? {
                    told.detail.insert(PRUNED.into(), Json::from(cut));
                }
                crate::audit::append(database, &chain, &told)?;
            }
            Ok(())
        })
    }

    /// Forgets a resource as part of a change.
    pub fn forget(&self, lease: &Lease, serial: i64, address: &Address) -> Result<(), Failure> {
        let told = AuditEntry {
            serial: Some(serial),
            ..self.audit_entry(lease, "operation.forget", Some(address.as_str()), Map::new())
        };
        let (address, chain) = (address.clone(), self.chain());
        self.fenced(lease, move |database| {
            if database.run("delete from resources where address = ?1", vals![address.as_str()])? == 1 {
                keep_version(database, address.as_str(), serial, None)?;
                crate::audit::append(database, &chain, &told)?;
            }
            Ok(())
        })
    }

    /// Every change, the newest first.
    pub fn history(&self) -> Result<Vec<HistoryRow>, Failure> {
        let rows = self.rows("select serial, data from history order by serial desc", &[])?;
        rows.iter()
            .map(|row| {
                let mut change: HistoryRow = parsed(row.text(1))?;
                change.serial = row.int(0);
                Ok(change)
            })
            .collect()
    }

    /// One change.
    pub fn change(&self, serial: i64) -> Result<HistoryRow, Failure> {
        let rows = self.rows("select data from history where serial = ?1", vals![serial])?;
        match rows.first() {
            Some(row) => parsed(row.text(0)),
            None => Err(Failure::new(Code::StateUnknownSerial, format!("the history has no change {serial}"))
                .with_help("See `provision history`; the oldest changes are not kept.")),
        }
    }

    /// The outputs as a change wrote them.
    pub fn outputs_at(&self, serial: i64) -> Result<Map, Failure> {
        let rows = self.rows("select outputs from history where serial = ?1", vals![serial])?;
        rows.first().map_or_else(|| Ok(Map::new()), |row| parsed(row.text(0)))
    }

    /// What one change did, by address.
    pub fn changed(&self, serial: i64) -> Result<Vec<Changed>, Failure> {
        let rows = self.rows("select address, body from versions where serial = ?1 order by address", vals![serial])?;
        rows.iter()
            .map(|row| {
                let sql = "select body from versions where address = ?1 and serial < ?2 order by serial desc limit 1";
                let before = self.rows(sql, vals![row.text(0), serial])?;
                let body = |text: Option<&str>| text.map(parsed).transpose();
                Ok(Changed {
                    address: Address::new(row.text(0)),
                    before: body(before.first().and_then(|before| before.opt(0)))?,
                    after: body(row.opt(1))?,
                })
            })
            .collect()
    }

    /// Type, account and fields of what the history has had and the state has no more, each different one once.
    pub fn places_of_gone(&self) -> Result<Vec<(String, String, Map)>, Failure> {
        let kind = match self.dialect {
            crate::db::Dialect::Sqlite => "json_extract(v.body, '$.resource.type')",
            crate::db::Dialect::Postgres => "v.body::json #>> '{resource,type}'",
        };
        let sql = format!(
            "select v.body from versions v where v.body is not null and not exists
             (select 1 from resources r where r.address = v.address and r.kind = {kind}) order by v.address, v.serial"
        );
        let mut seen = std::collections::HashSet::new();
        let mut found = Vec::new();
        for row in self.rows(&sql, &[])? {
            // One that is damaged tells nothing; what it was is in another version, or nowhere.
            let Ok(Version { resource, .. }) = serde_json::from_str(row.text(0)) else { continue };
            let place = (resource.kind, resource.account, resource.inputs);
            let key = (place.0.clone(), place.1.clone(), Json::Object(place.2.clone()).to_string());
            if seen.insert(key) {
                found.push(place);
            }
        }
        Ok(found)
    }

    /// What there was after a change, by address.
    pub fn versions_at(&self, serial: i64) -> Result<Vec<Version>, Failure> {
        let sql = "select v.body from versions v
             join (select address, max(serial) as serial from versions where serial <= ?1 group by address) newest
               on v.address = newest.address and v.serial = newest.serial
             where v.body is not null order by v.address";
        self.rows(sql, vals![serial])?.iter().map(|row| parsed(row.text(0))).collect()
    }
}

/// Forgets the oldest changes, and what addresses were before the oldest one kept; gives the oldest that is left.
fn prune(database: &mut dyn Database) -> Result<Option<i64>, DbError> {
    let row = database.row("select min(serial), max(serial) from history", &[])?;
    let (oldest, newest) = row.map_or((0, 0), |row| (row.int(0), row.int(1)));
    if newest - oldest < 2 * KEPT {
        return Ok(None);
    }
    let cut = newest - KEPT;
    database.run("delete from history where serial < ?1", vals![cut])?;
    let sql = "delete from versions where exists (
           select 1 from versions later
           where later.address = versions.address and later.serial > versions.serial and later.serial <= ?1)";
    database.run(sql, vals![cut])?;
    // What is gone since before the cut leaves nothing.
    database.run("delete from versions where body is null and serial < ?1", vals![cut])?;
    Ok(Some(cut))
}

/// The revision a project's sources are at, where they are in a git repository: the commit HEAD stands on.
pub fn revision(project: &std::path::Path) -> Result<Option<String>, Failure> {
    let Some(git) = project.ancestors().map(|folder| folder.join(".git")).find(|git| git.is_dir()) else {
        return Ok(None);
    };
    let read = |path: &str| match std::fs::read_to_string(git.join(path)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read the revision of", &error)),
    };
    let Some(head) = read("HEAD")? else { return Ok(None) };
    let Some(name) = head.strip_prefix("ref: ") else { return Ok(Some(head)) };
    if let Some(commit) = read(name)? {
        return Ok(Some(commit));
    }
    let packed = read("packed-refs")?.unwrap_or_default();
    let line = packed.lines().find(|line| line.ends_with(&format!(" {name}")));
    Ok(line.and_then(|line| line.split(' ').next()).map(str::to_owned))
}
