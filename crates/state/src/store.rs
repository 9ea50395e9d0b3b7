//! Owns the store: the SQLite database of one project and every read and write of it.

use crate::journal::PolicyInForce;
use crate::{Entry, Lease, Phase, Record, Sealer, io, lease, schema};
use provision_diagnostic::Failure;
use provision_model::{Action, Address, Json, Map, Resource};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// The state of one project.
pub struct Store {
    connection: Mutex<Connection>,
    folder: PathBuf,
    lineage: String,
    sealer: Sealer,
}

impl Store {
    /// Opens the state in `<project>/.provision`, making it when it is not there.
    pub fn open(project: &Path) -> Result<Arc<Store>, Failure> {
        let folder = project.join(".provision");
        std::fs::create_dir_all(&folder).map_err(|error| io("create", &error))?;
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").map_err(|error| io("create", &error))?;
        }
        let mut connection = Connection::open(folder.join("state.db")).map_err(|error| io("open", &error))?;
        connection
            .execute_batch(
                "pragma busy_timeout = 10000; pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;",
            )
            .map_err(|error| io("open", &error))?;
        schema::migrate(&mut connection)?;
        let fresh = crate::new_id();
        connection
            .execute("insert into meta values ('lineage', ?1) on conflict do nothing", [fresh])
            .map_err(|error| io("open", &error))?;
        let lineage = connection
            .query_row("select value from meta where key = 'lineage'", [], |row| row.get(0))
            .map_err(|error| io("open", &error))?;
        let sealer = open_sealer(&connection, &folder)?;
        Ok(Arc::new(Store { connection: Mutex::new(connection), folder, lineage, sealer }))
    }

    /// Whether a project has a state.
    pub fn exists(project: &Path) -> bool {
        project.join(".provision/state.db").is_file()
    }

    /// `<project>/.provision`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What marks this state's resources in the clouds.
    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// Seals and opens sensitive values.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    fn lock(&self) -> Result<MutexGuard<'_, Connection>, Failure> {
        self.connection.lock().map_err(|error| io("lock", &error))
    }

    pub(crate) fn write<T>(&self, body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let mut connection = self.lock()?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| io("write", &error))?;
        let value = body(&transaction).map_err(|error| io("write", &error))?;
        transaction.commit().map_err(|error| io("write", &error))?;
        Ok(value)
    }

    /// A write that only the holder of the lease may do; the number is checked in the same transaction.
    pub(crate) fn fenced<T>(
        &self,
        lease: &Lease,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let done = self.write(|transaction| {
            let current: i64 = transaction.query_row("select fencing from lease", [], |row| row.get(0))?;
            if current != lease.fencing() {
                return Ok(None);
            }
            body(transaction).map(Some)
        })?;
        done.ok_or_else(lease::lost)
    }

    pub(crate) fn read<T>(&self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let connection = self.lock()?;
        body(&connection).map_err(|error| io("read", &error))
    }

    fn all<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, Failure> {
        let connection = self.lock()?;
        let read = || -> rusqlite::Result<Vec<String>> {
            connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let texts = read().map_err(|error| io("read", &error))?;
        texts.iter().map(|text| serde_json::from_str(text).map_err(|error| io("read", &error))).collect()
    }

    fn one<T: DeserializeOwned>(&self, sql: &str, key: &str) -> Result<Option<T>, Failure> {
        let connection = self.lock()?;
        let text: Option<String> = connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([key], |row| row.get(0)).optional())
            .map_err(|error| io("read", &error))?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| io("read", &error))).transpose()
    }

    /// Every resource, by address.
    pub fn resources(&self) -> Result<Vec<Resource>, Failure> {
        self.all("select data from resources order by address")
    }

    /// One resource.
    pub fn resource(&self, address: &str) -> Result<Option<Resource>, Failure> {
        self.one("select data from resources where address = ?1", address)
    }

    /// Number of the last change, 0 for none.
    pub fn serial(&self) -> Result<i64, Failure> {
        let connection = self.lock()?;
        connection
            .query_row("select coalesce(max(serial), 0) from resources", [], |row| row.get(0))
            .map_err(|error| io("read", &error))
    }

    /// The generation that the next creation of an address has.
    pub fn next_generation(&self, address: &Address) -> Result<u64, Failure> {
        let connection = self.lock()?;
        let found: Option<i64> = connection
            .query_row("select generation from generations where address = ?1", [address.as_str()], |row| row.get(0))
            .optional()
            .map_err(|error| io("read", &error))?;
        Ok(found.map_or(1, |generation| generation.unsigned_abs() + 1))
    }

    /// Writes an operation down before its first call; gives it with its id.
    pub fn begin(&self, lease: &Lease, mut entry: Entry) -> Result<Entry, Failure> {
        entry.phase = Phase::Begun;
        let text = serde_json::to_string(&entry).map_err(|error| io("write", &error))?;
        entry.id = self.fenced(lease, |transaction| {
            transaction.execute(
                "insert into journal (address, plan, phase, data, open) values (?1, ?2, 'begun', ?3, 1)",
                params![entry.address.as_str(), entry.plan, text],
            )?;
            Ok(transaction.last_insert_rowid())
        })?;
        Ok(entry)
    }

    /// Records what happened to an operation, durably, before anything that follows from it.
    pub fn record(&self, lease: &Lease, entry: &mut Entry, record: &Record) -> Result<(), Failure> {
        self.finish(lease, entry, record, |_| Ok(()))
    }

    /// Ends an operation and writes the resource it left, in one transaction.
    pub fn end_with(&self, lease: &Lease, entry: &mut Entry, resource: &Resource) -> Result<(), Failure> {
        let text = serde_json::to_string(resource).map_err(|error| io("write", &error))?;
        let generation = entry.generation as i64;
        let created = entry.action == Action::Create;
        self.finish(lease, entry, &Record::Ended, |transaction| {
            put_resource(transaction, resource, &text)?;
            if created {
                transaction.execute(
                    "insert into generations values (?1, ?2) on conflict (address) do update set generation = ?2",
                    params![resource.address.as_str(), generation],
                )?;
            }
            Ok(())
        })
    }

    /// Ends an operation that left nothing.
    pub fn end_without(&self, lease: &Lease, entry: &mut Entry) -> Result<(), Failure> {
        let address = entry.address.clone();
        self.finish(lease, entry, &Record::Ended, |transaction| {
            transaction.execute("delete from resources where address = ?1", [address.as_str()])?;
            Ok(())
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
        let text = resource.map(serde_json::to_string).transpose().map_err(|error| io("write", &error))?;
        let record = Record::Closed { reason: reason.to_owned() };
        self.finish(lease, entry, &record, |transaction| match (resource, &text) {
            (Some(resource), Some(text)) => put_resource(transaction, resource, text),
            _ => Ok(()),
        })
    }

    fn finish(
        &self,
        lease: &Lease,
        entry: &mut Entry,
        record: &Record,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), Failure> {
        let mut next = entry.clone();
        next.apply(record).map_err(|error| io("write", &error))?;
        let text = serde_json::to_string(&next).map_err(|error| io("write", &error))?;
        let phase = serde_json::to_value(next.phase).ok().and_then(|phase| phase.as_str().map(str::to_owned));
        self.fenced(lease, |transaction| {
            transaction.execute(
                "update journal set phase = ?2, data = ?3, open = ?4 where id = ?1",
                params![next.id, phase.unwrap_or_default(), text, next.is_open()],
            )?;
            body(transaction)
        })?;
        *entry = next;
        Ok(())
    }

    /// Operations that somebody has to settle, oldest first.
    pub fn open_entries(&self) -> Result<Vec<Entry>, Failure> {
        let connection = self.lock()?;
        let read = || -> rusqlite::Result<Vec<(i64, String)>> {
            connection
                .prepare_cached("select id, data from journal where open = 1 order by id")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let rows = read().map_err(|error| io("read", &error))?;
        rows.into_iter()
            .map(|(id, text)| {
                let mut entry: Entry = serde_json::from_str(&text).map_err(|error| io("read", &error))?;
                entry.id = id;
                Ok(entry)
            })
            .collect()
    }

    /// Operations of a plan that ended: address and action.
    pub fn ended_of(&self, plan: &str) -> Result<Vec<(Address, Action)>, Failure> {
        let connection = self.lock()?;
        let read = || -> rusqlite::Result<Vec<String>> {
            connection
                .prepare_cached("select data from journal where plan = ?1 and phase = 'ended'")?
                .query_map([plan], |row| row.get(0))?
                .collect()
        };
        let rows = read().map_err(|error| io("read", &error))?;
        rows.iter()
            .map(|text| {
                let entry: Entry = serde_json::from_str(text).map_err(|error| io("read", &error))?;
                Ok((entry.address, entry.action))
            })
            .collect()
    }

    /// Changes a resource row outside an operation (protection, forgetting).
    pub fn put(&self, lease: &Lease, resource: &Resource) -> Result<(), Failure> {
        let text = serde_json::to_string(resource).map_err(|error| io("write", &error))?;
        self.fenced(lease, |transaction| put_resource(transaction, resource, &text))
    }

    /// Forgets a resource.
    pub fn remove(&self, lease: &Lease, address: &Address) -> Result<(), Failure> {
        self.fenced(lease, |transaction| {
            transaction.execute("delete from resources where address = ?1", [address.as_str()])?;
            Ok(())
        })
    }

    /// Keeps a plan under its digest.
    pub fn put_plan(&self, digest: &str, body: &Json) -> Result<(), Failure> {
        let text = body.to_string();
        self.write(|transaction| {
            transaction.execute(
                "insert into plans values (?1, ?2, ?3) on conflict do nothing",
                params![digest, crate::now(), text],
            )?;
            // Old plans are stale anyway.
            transaction.execute(
                "delete from plans where digest not in (select digest from plans order by created_at desc limit 50)",
                [],
            )?;
            Ok(())
        })
    }

    /// A kept plan.
    pub fn plan<T: DeserializeOwned>(&self, digest: &str) -> Result<Option<T>, Failure> {
        self.one("select body from plans where digest = ?1", digest)
    }

    /// Keeps the outputs as last written in the configuration, references unresolved.
    pub fn put_outputs(&self, lease: &Lease, outputs: &Map) -> Result<(), Failure> {
        self.fenced(lease, |transaction| {
            transaction.execute("delete from outputs", [])?;
            for (name, value) in outputs {
                transaction.execute("insert into outputs values (?1, ?2)", params![name, value.to_string()])?;
            }
            Ok(())
        })
    }

    /// The outputs, in the order they were written.
    pub fn outputs(&self) -> Result<Map, Failure> {
        let connection = self.lock()?;
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            connection
                .prepare_cached("select name, value from outputs order by rowid")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let rows = read().map_err(|error| io("read", &error))?;
        rows.into_iter()
            .map(|(name, text)| Ok((name, serde_json::from_str(&text).map_err(|error| io("read", &error))?)))
            .collect()
    }

    /// Keeps the accounts as last applied, credentials sealed: a resource may outlive the account's block in the file.
    pub fn put_accounts(&self, lease: &Lease, accounts: &Json) -> Result<(), Failure> {
        let text = accounts.to_string();
        self.fenced(lease, |transaction| {
            transaction.execute(
                "insert into meta values ('accounts', ?1) on conflict (key) do update set value = ?1",
                [text],
            )?;
            Ok(())
        })
    }

    /// The accounts as last applied.
    pub fn accounts<T: DeserializeOwned + Default>(&self) -> Result<T, Failure> {
        Ok(self.one("select value from meta where key = ?1", "accounts")?.unwrap_or_default())
    }

    /// The policies in force.
    pub fn policies(&self) -> Result<Option<PolicyInForce>, Failure> {
        let connection = self.lock()?;
        let row: Option<(String, String)> = connection
            .query_row("select digest, sources from policies", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|error| io("read", &error))?;
        row.map(|(digest, text)| {
            let sources = serde_json::from_str(&text).map_err(|error| io("read", &error))?;
            Ok(PolicyInForce { digest, sources })
        })
        .transpose()
    }

    /// Makes policies the ones in force.
    pub fn put_policies(&self, lease: &Lease, policies: &PolicyInForce) -> Result<(), Failure> {
        let text = serde_json::to_string(&policies.sources).map_err(|error| io("write", &error))?;
        self.fenced(lease, |transaction| {
            transaction.execute(
                "insert into policies values (1, ?1, ?2) on conflict (one) do update set digest = ?1, sources = ?2",
                params![policies.digest, text],
            )?;
            Ok(())
        })
    }
}

/// The state's key. One that was lost is an error: a new one could not open what the old one sealed.
fn open_sealer(connection: &Connection, folder: &Path) -> Result<Sealer, Failure> {
    let known: Option<String> = connection
        .query_row("select value from meta where key = 'public_key'", [], |row| row.get(0))
        .optional()
        .map_err(|error| io("open", &error))?;
    let lost = |what: &str| {
        Failure::new(
            "provision::state::io",
            format!("the key of the state {what}: {}", folder.join("identity.txt").display()),
        )
        .with_help("Put the key back from a backup; what it sealed cannot be opened without it.")
    };
    if known.is_some() && !Sealer::exists(folder) {
        return Err(lost("is gone"));
    }
    let sealer = Sealer::open(folder)?;
    match known {
        Some(known) if known != sealer.public_key() => return Err(lost("is another one")),
        Some(_) => {}
        None => {
            connection
                .execute("insert into meta values ('public_key', ?1) on conflict do nothing", [sealer.public_key()])
                .map_err(|error| io("open", &error))?;
        }
    }
    Ok(sealer)
}

fn put_resource(transaction: &Transaction<'_>, resource: &Resource, text: &str) -> rusqlite::Result<()> {
    transaction.execute(
        "insert into resources values (?1, ?2, ?3, (select coalesce(max(serial), 0) + 1 from resources))
         on conflict (address) do update set kind = ?2, data = ?3, serial = excluded.serial",
        params![resource.address.as_str(), resource.kind, text],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_model::Identity;

    fn entry(action: Action) -> Entry {
        let address = Address::new("web");
        Entry {
            id: 0,
            identity: Identity::new("l", &address, 1),
            address,
            kind: "local.data".into(),
            account: "local".into(),
            region: None,
            action,
            phase: Phase::Begun,
            inputs: Map::new(),
            generation: 1,
            remote_id: None,
            once: Map::new(),
            once_wanted: vec![],
            plan: String::new(),
            prior_status: None,
            depends_on: vec![],
            protect: false,
            retain: false,
            steps: vec![],
            begun_at: crate::now(),
            reason: None,
        }
    }

    #[test]
    fn an_illegal_transition_is_an_error_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lease = Lease::acquire(&store, "t").unwrap();
        let mut open = store.begin(&lease, entry(Action::Create)).unwrap();
        let error = store.record(&lease, &mut open, &Record::Ended).unwrap_err();
        assert_eq!(error.code(), "provision::state::io");
        assert_eq!(store.open_entries().unwrap(), vec![open.clone()]);
        store.record(&lease, &mut open, &Record::Created { remote_id: "7".into(), once: Map::new() }).unwrap();
        assert_eq!(store.open_entries().unwrap()[0].remote_id.as_deref(), Some("7"));
        store.end_without(&lease, &mut open).unwrap();
        assert!(store.open_entries().unwrap().is_empty());
    }

    #[test]
    fn a_live_lease_is_not_stolen_and_a_fenced_writer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lease = Lease::acquire(&store, "ada").unwrap();
        let other = Store::open(folder.path()).unwrap();
        let error = Lease::acquire(&other, "bob").err().unwrap();
        assert_eq!(error.code(), "provision::lease::held");
        assert!(error.first.message.contains("ada"), "{error}");
        // As after a takeover.
        other.write(|transaction| transaction.execute("update lease set fencing = fencing + 1", [])).unwrap();
        let error = store.begin(&lease, entry(Action::Delete)).unwrap_err();
        assert_eq!(error.code(), "provision::lease::lost");
    }

    #[test]
    fn a_lost_key_is_an_error_and_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join(".provision/identity.txt")).unwrap();
        let error = Store::open(folder.path()).err().unwrap();
        assert_eq!(error.code(), "provision::state::io");
        assert!(error.first.message.contains("identity.txt"), "{error}");
        assert!(!folder.path().join(".provision/identity.txt").exists());
    }

    #[test]
    fn a_newer_state_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).unwrap();
        let connection = Connection::open(folder.path().join(".provision/state.db")).unwrap();
        connection.execute_batch("pragma user_version = 99").unwrap();
        let error = Store::open(folder.path()).err().unwrap();
        assert_eq!(error.code(), "provision::state::version");
        assert!(error.first.message.contains("99"));
    }
}
