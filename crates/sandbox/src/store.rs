//! Owns what the clouds hold: resources and counters in memory, each change durable in SQLite before it is answered.

use rusqlite::{Connection, params};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// One resource of one kind in one account or region.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: String,
    /// Milliseconds since the epoch.
    pub created: i64,
    /// The vendor's own shape; keys that start with `_` are ours and never leave.
    pub value: Value,
}

impl Row {
    /// The value with every change that time has brought since: `_then` is a list of `{at, set}`.
    pub fn at(&self, now: i64) -> Value {
        let mut value = self.value.clone();
        let due: Vec<Value> = match value.get("_then").and_then(Value::as_array) {
            Some(list) => list.iter().filter(|step| step["at"].as_i64().is_some_and(|at| at <= now)).cloned().collect(),
            None => return value,
        };
        if let Some(fields) = value.as_object_mut() {
            for step in due {
                for (key, to) in step["set"].as_object().into_iter().flatten() {
                    fields.insert(key.clone(), to.clone());
                }
            }
            if let Some(list) = fields.get_mut("_then").and_then(Value::as_array_mut) {
                list.retain(|step| step["at"].as_i64().is_none_or(|at| at > now));
            }
        }
        value
    }

    /// Whether its time is over: `_gone_at` has passed.
    fn gone(&self, now: i64) -> bool {
        self.value["_gone_at"].as_i64().is_some_and(|at| at <= now)
    }
}

#[derive(Default)]
struct Table {
    /// By order of creation.
    rows: BTreeMap<u64, Row>,
    by_id: HashMap<String, u64>,
    by_name: HashMap<String, u64>,
}

type Key = (String, String, String);

/// The resources and counters of every account.
#[derive(Default)]
pub struct Store {
    /// Scope (`hetzner/<account>`, `aws/<region>`) to kind to rows.
    tables: HashMap<String, BTreeMap<String, Table>>,
    counters: HashMap<String, u64>,
    sequence: u64,
    dirty: HashSet<Key>,
    dirty_counters: HashSet<String>,
    database: Option<Connection>,
}

impl Store {
    /// A store in memory, or one kept in a folder and loaded from it.
    pub fn open(folder: Option<&Path>) -> Result<Self, String> {
        let mut store = Store::default();
        let Some(folder) = folder else { return Ok(store) };
        crate::control::private_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let database = Connection::open(folder.join("sandbox.db")).map_err(|error| error.to_string())?;
        store.load(&database).map_err(|error| error.to_string())?;
        store.database = Some(database);
        Ok(store)
    }

    fn load(&mut self, database: &Connection) -> rusqlite::Result<()> {
        database.execute_batch(
            "pragma journal_mode = wal; pragma synchronous = normal; pragma busy_timeout = 5000;
             create table if not exists resource (scope text, kind text, id text, seq integer, created integer, json text,
               primary key (scope, kind, id)) without rowid;
             create table if not exists counter (name text primary key, value integer) without rowid;",
        )?;
        let mut all = database.prepare("select scope, kind, id, seq, created, json from resource order by seq")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let (scope, kind, id): Key = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (seq, created, json): (u64, i64, String) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let value = serde_json::from_str(&json).unwrap_or(Value::Null);
            self.sequence = self.sequence.max(seq);
            self.insert(&scope, &kind, seq, Row { id, created, value });
        }
        let mut all = database.prepare("select name, value from counter")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            self.counters.insert(row.get(0)?, row.get(1)?);
        }
        Ok(())
    }

    fn insert(&mut self, scope: &str, kind: &str, seq: u64, row: Row) {
        let table = self.tables.entry(scope.to_owned()).or_default().entry(kind.to_owned()).or_default();
        if let Some(old) = table.rows.get(&seq).and_then(|old| old.value["name"].as_str()) {
            table.by_name.remove(old);
        }
        if let Some(name) = row.value["name"].as_str() {
            table.by_name.insert(name.to_owned(), seq);
        }
        table.by_id.insert(row.id.clone(), seq);
        table.rows.insert(seq, row);
    }

    fn table(&self, scope: &str, kind: &str) -> Option<&Table> {
        self.tables.get(scope)?.get(kind)
    }

    /// The next number of a counter, which starts at 1 and survives a restart.
    pub fn next(&mut self, counter: &str) -> u64 {
        let value = self.counters.entry(counter.to_owned()).or_insert(0);
        *value += 1;
        self.dirty_counters.insert(counter.to_owned());
        *value
    }

    /// Adds a resource, or replaces one that has the same id.
    pub fn put(&mut self, scope: &str, kind: &str, id: &str, value: Value, now: i64) {
        let known = self.table(scope, kind).and_then(|table| {
            let seq = *table.by_id.get(id)?;
            Some((seq, table.rows.get(&seq)?.created))
        });
        let (seq, created) = known.unwrap_or_else(|| {
            self.sequence += 1;
            (self.sequence, now)
        });
        self.insert(scope, kind, seq, Row { id: id.to_owned(), created, value });
        self.dirty.insert((scope.to_owned(), kind.to_owned(), id.to_owned()));
    }

    /// Takes a resource away; false when there was none.
    pub fn remove(&mut self, scope: &str, kind: &str, id: &str) -> bool {
        let Some(table) = self.tables.get_mut(scope).and_then(|kinds| kinds.get_mut(kind)) else { return false };
        let Some(row) = table.by_id.remove(id).and_then(|seq| table.rows.remove(&seq)) else { return false };
        if let Some(name) = row.value["name"].as_str() {
            table.by_name.remove(name);
        }
        self.dirty.insert((scope.to_owned(), kind.to_owned(), id.to_owned()));
        true
    }

    /// A resource as it is now.
    pub fn get(&self, scope: &str, kind: &str, id: &str, now: i64) -> Option<Value> {
        self.row(scope, kind, id, now).map(|row| row.at(now))
    }

    /// The row behind a resource.
    pub fn row(&self, scope: &str, kind: &str, id: &str, now: i64) -> Option<&Row> {
        let table = self.table(scope, kind)?;
        table.rows.get(table.by_id.get(id)?).filter(|row| !row.gone(now))
    }

    /// The resource whose `name` this is, for kinds whose names are unique.
    pub fn named(&self, scope: &str, kind: &str, name: &str, now: i64) -> Option<&Row> {
        let table = self.table(scope, kind)?;
        table.rows.get(table.by_name.get(name)?).filter(|row| !row.gone(now))
    }

    /// Every row of a kind, oldest first.
    pub fn rows<'a>(&'a self, scope: &str, kind: &str, now: i64) -> impl Iterator<Item = &'a Row> + use<'a> {
        let table = self.table(scope, kind);
        table.into_iter().flat_map(|table| table.rows.values()).filter(move |row| !row.gone(now))
    }

    /// Scopes and kinds with the rows in each.
    pub fn census(&self, now: i64) -> Vec<(&str, &str, Vec<&Row>)> {
        let mut all = Vec::new();
        for (scope, kinds) in &self.tables {
            for (kind, table) in kinds {
                let rows = table.rows.values().filter(|row| !row.gone(now)).collect();
                all.push((scope.as_str(), kind.as_str(), rows));
            }
        }
        all
    }

    /// Makes what changed since the last commit durable.
    pub fn commit(&mut self) -> Result<(), String> {
        let dirty = std::mem::take(&mut self.dirty);
        let counters = std::mem::take(&mut self.dirty_counters);
        if dirty.is_empty() && counters.is_empty() {
            return Ok(());
        }
        self.write(&dirty, &counters).map_err(|error| error.to_string())
    }

    fn write(&self, dirty: &HashSet<Key>, counters: &HashSet<String>) -> rusqlite::Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        let work = database.unchecked_transaction()?;
        for (scope, kind, id) in dirty {
            let found = self.table(scope, kind).and_then(|table| {
                let seq = *table.by_id.get(id)?;
                Some((seq, table.rows.get(&seq)?))
            });
            match found {
                Some((seq, row)) => work
                    .prepare_cached("insert or replace into resource values (?, ?, ?, ?, ?, ?)")?
                    .execute(params![scope, kind, id, seq, row.created, row.value.to_string()])?,
                None => work
                    .prepare_cached("delete from resource where scope = ? and kind = ? and id = ?")?
                    .execute(params![scope, kind, id])?,
            };
        }
        for name in counters {
            work.prepare_cached("insert or replace into counter values (?, ?)")?
                .execute(params![name, self.counters.get(name)])?;
        }
        work.commit()
    }

    /// Forgets every resource; counters go on, so that an old id never names a new thing.
    pub fn clear(&mut self) -> Result<(), String> {
        self.tables.clear();
        self.dirty.clear();
        match &self.database {
            Some(database) => database.execute_batch("delete from resource").map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_committed_is_there_after_a_restart_and_counters_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(Some(folder.path())).unwrap();
        assert_eq!(store.next("id"), 1);
        store.put("a", "thing", "1", json!({"name": "one"}), 5);
        store.put("a", "thing", "2", json!({"name": "two"}), 6);
        store.remove("a", "thing", "1");
        store.commit().unwrap();
        drop(store);
        let mut store = Store::open(Some(folder.path())).unwrap();
        assert_eq!(store.next("id"), 2);
        assert_eq!(store.rows("a", "thing", 9).count(), 1);
        assert_eq!(store.named("a", "thing", "two", 9).unwrap().created, 6);
        assert!(store.named("a", "thing", "one", 9).is_none());
    }

    #[test]
    fn time_brings_the_changes_it_was_told_to() {
        let mut store = Store::default();
        let value = json!({"status": "a", "_then": [{"at": 10, "set": {"status": "b"}}, {"at": 20, "set": {"status": "c"}}],
            "_gone_at": 30});
        store.put("a", "thing", "1", value, 0);
        let status = |now| store.get("a", "thing", "1", now).map(|value| value["status"].clone());
        assert_eq!(
            [status(9), status(10), status(25), status(30)],
            [Some(json!("a")), Some(json!("b")), Some(json!("c")), None]
        );
    }
}
