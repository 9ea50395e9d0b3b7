//! Owns the journal protocol's writes: each is one transaction, checked against the lease, with its line in the audit log.

use crate::audit::{self, AuditEntry};
use crate::db::{Database, DbError, vals};
use crate::history::{Version, keep_version};
use crate::resources::put_resource;
use crate::store::{parsed, text_of};
use crate::{Entry, Lease, Phase, Record, Store, io};
use provision_diagnostic::Failure;
use provision_model::{Action, Address, Json, Map, Resource, Time};

/// Whether an entry is written already. The second condition is that of the index; without it the whole journal is read.
const KNOWN: &str = "select id from journal where uid = ?1 and uid <> ''";

/// Writes an entry anew that stays open.
pub(crate) fn update_entry(database: &mut dyn Database, id: i64, text: &str) -> Result<(), DbError> {
    database.run("update journal set data = ?2 where id = ?1 and open = 1", vals![id, text]).map(drop)
}

impl Store {
    /// Writes an operation down before its first call; gives it with its id.
    pub fn begin(&self, lease: &Lease, mut entry: Entry) -> Result<Entry, Failure> {
        entry.phase = Phase::Begun;
        entry.uid = self.new_id();
        let (written, text) = (entry.clone(), text_of(&entry)?);
        let mut detail = outcome(&entry);
        detail.insert("allowed_by".into(), Json::from(entry.allowed_by.clone()));
        let (chain, told) = (self.chain(), told(&entry, "operation.begin", detail, self.now()));
        entry.id = self.fenced(lease, move |database| {
            let known = database.row(KNOWN, vals![&written.uid])?;
            if let Some(row) = known {
                return Ok(row.int(0));
            }
            let sql = "insert into journal (address, plan, phase, data, open, uid) values (?1, ?2, 'begun', ?3, 1, ?4)
                 returning id";
            let row =
                database.row(sql, vals![written.body.address.as_str(), &written.body.plan, &text, &written.uid])?;
            audit::append(database, &chain, &told)?;
            Ok(row.map_or(0, |row| row.int(0)))
        })?;
        Ok(entry)
    }

    /// Records what happened to an operation, durably, before anything that follows from it.
    /// What a cloud told is sealed where it repeats a secret.
    pub fn record(&self, lease: &Lease, entry: &mut Entry, record: &Record) -> Result<(), Failure> {
        let sealed = match record {
            Record::Created { remote_id, once } => {
                Record::Created { remote_id: remote_id.clone(), once: self.told_sealed(entry, once)? }
            }
            Record::Stepped { result, at } => Record::Stepped { result: self.told_sealed(entry, result)?, at: *at },
            other => other.clone(),
        };
        self.finish(lease, entry, &sealed, |_| Ok(()))
    }

    /// Ends an operation and writes the resource it left, in one transaction. Where another one has the address still,
    /// which the new one is to replace, that one stays under an address of its own until it is deleted.
    pub fn end_with(&self, lease: &Lease, entry: &mut Entry, resource: &Resource) -> Result<(), Failure> {
        let kept = self.with_secrets_sealed(resource)?;
        let resource = &*kept;
        let (text, generation, created) =
            (text_of(resource)?, entry.body.generation as i64, entry.body.action == Action::Create);
        let version = Version {
            resource: resource.clone(),
            declared: declared(entry, resource),
            lifecycle: entry.body.lifecycle.clone(),
        };
        let serial = entry.serial;
        let old = match entry.body.makes_first && created {
            true => self.resource(resource.address.as_str())?.filter(|old| old.remote_id != resource.remote_id),
            false => None,
        };
        let old = old
            .map(|mut old| {
                old.address = old.address.replaced(old.generation);
                let text = text_of(&old)?;
                Ok::<_, Failure>((Version::of(old, None), text))
            })
            .transpose()?;
        self.finish(lease, entry, &Record::Ended { at: self.now() }, move |database| {
            if let Some((old, text)) = &old {
                put_resource(database, &old.resource, text, serial)?;
                keep_version(database, old.resource.address.as_str(), serial, Some(old))?;
            }
            put_resource(database, &version.resource, &text, serial)?;
            let address = version.resource.address.as_str();
            keep_version(database, address, serial, Some(&version))?;
            if created {
                let sql = "insert into generations (address, generation) values (?1, ?2)
                     on conflict (address) do update set generation = excluded.generation";
                database.run(sql, vals![address, generation])?;
            }
            Ok(())
        })
    }

    /// Ends an operation that left nothing.
    pub fn end_without(&self, lease: &Lease, entry: &mut Entry) -> Result<(), Failure> {
        let (address, serial) = (entry.body.address.clone(), entry.serial);
        self.finish(lease, entry, &Record::Ended { at: self.now() }, move |database| {
            database.run("delete from resources where address = ?1", vals![address.as_str()])?;
            keep_version(database, address.as_str(), serial, None)
        })
    }

    /// Closes an operation whose effect the next plan sees, writing what the cloud shows now.
    pub fn close_with(
        &self,
        lease: &Lease,
        entry: &mut Entry,
        reason: &str,
        resource: Option<&Resource>,
    ) -> Result<(), Failure> {
        let resource = resource.map(|resource| self.with_secrets_sealed(resource)).transpose()?;
        let resource = resource.as_deref();
        let written = resource.map(|resource| Ok::<_, Failure>((resource.clone(), text_of(resource)?))).transpose()?;
        let record = Record::Closed { reason: self.mask(reason), at: self.now() };
        let serial = entry.serial;
        let declared = resource.map(|resource| declared(entry, resource)).unwrap_or_default();
        let lifecycle = entry.body.lifecycle.clone();
        self.finish(lease, entry, &record, move |database| {
            let Some((resource, text)) = &written else { return Ok(()) };
            put_resource(database, resource, text, serial)?;
            let version =
                Version { resource: resource.clone(), declared: declared.clone(), lifecycle: lifecycle.clone() };
            keep_version(database, resource.address.as_str(), serial, Some(&version))
        })
    }

    fn finish(
        &self,
        lease: &Lease,
        entry: &mut Entry,
        record: &Record,
        body: impl Fn(&mut dyn Database) -> Result<(), DbError> + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let mut next = entry.clone();
        next.apply(record).map_err(|error| io("write", &error))?;
        let text = text_of(&next)?;
        let phase = serde_json::to_value(next.phase).ok().and_then(|phase| phase.as_str().map(str::to_owned));
        let event = match record {
            Record::Created { .. } => Some("operation.created"),
            Record::Ended { .. } => Some("operation.end"),
            Record::Closed { .. } => Some("operation.close"),
            // The steps are in the journal; the log has what they come to.
            Record::Step { .. } | Record::Stepped { .. } | Record::Silent(_) => None,
        };
        let told = event.map(|event| told(&next, event, outcome(&next), self.now()));
        let (chain, id, open) = (self.chain(), next.id, next.is_open());
        self.fenced(lease, move |database| {
            // Written a second time, because nobody knew whether the first time held, it is written once.
            let sql = "update journal set phase = ?2, data = ?3, open = ?4 where id = ?1 and data <> ?3";
            let changed = database.run(sql, vals![id, phase.as_deref().unwrap_or_default(), &text, open])?;
            body(database)?;
            if let (1, Some(told)) = (changed, &told) {
                audit::append(database, &chain, told)?;
            }
            Ok(())
        })?;
        *entry = next;
        Ok(())
    }

    /// Operations that somebody has to settle, oldest first.
    pub fn open_entries(&self) -> Result<Vec<Entry>, Failure> {
        let rows = self.rows("select id, data from journal where open = 1 order by id", &[])?;
        rows.iter()
            .map(|row| {
                let mut entry: Entry = parsed(row.text(1))?;
                entry.id = row.int(0);
                Ok(entry)
            })
            .collect()
    }

    /// Operations of a plan that ended: address and action.
    pub fn ended_of(&self, plan: &str) -> Result<Vec<(Address, Action)>, Failure> {
        let rows = self.rows("select data from journal where plan = ?1 and phase = 'ended'", vals![plan])?;
        rows.iter()
            .map(|row| {
                let entry: Entry = parsed(row.text(0))?;
                Ok((entry.body.address, entry.body.action))
            })
            .collect()
    }
}

/// What the history keeps of the fields: as they were written, where the journal knows that.
fn declared(entry: &Entry, resource: &Resource) -> Map {
    if entry.body.declared.is_empty() { resource.inputs.clone() } else { entry.body.declared.clone() }
}

fn outcome(entry: &Entry) -> Map {
    let mut detail = Map::new();
    detail.insert("operation".into(), Json::from(entry.uid.as_str()));
    detail.insert("action".into(), Json::from(entry.body.action.name()));
    detail.insert("type".into(), Json::from(entry.body.kind.as_str()));
    detail.insert("plan".into(), Json::from(entry.body.plan.as_str()));
    if let Some(id) = &entry.body.remote_id {
        detail.insert("remote_id".into(), Json::from(id.as_str()));
    }
    if let Some(reason) = &entry.reason {
        detail.insert("reason".into(), Json::from(reason.as_str()));
    }
    detail
}

fn told(entry: &Entry, event: &str, detail: Map, time: Time) -> AuditEntry {
    AuditEntry {
        time,
        actor: entry.actor.clone(),
        event: event.to_owned(),
        subject: Some(entry.body.address.to_string()),
        serial: Some(entry.serial),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Sqlite;

    #[test]
    fn whether_an_entry_is_known_is_asked_of_an_index() {
        let mut database = Sqlite::in_memory().unwrap();
        crate::schema::migrate(&mut database).unwrap();
        let plan = database.rows(&format!("explain query plan {KNOWN}"), vals!["x"]).unwrap();
        let steps: Vec<&str> = plan.iter().map(|row| row.text(3)).collect();
        assert!(steps.iter().all(|step| step.contains("journal_uid")), "{steps:?}");
    }
}
