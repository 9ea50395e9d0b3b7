//! Owns carrying a state elsewhere: export and import between databases.

use crate::db::Val;
use crate::head::Checkpoint;
use crate::proofs::{self, Chain};
use crate::schema::{PROVED_FROM, SCHEMA_VERSION, SINCE, TABLES, refuse_newer};
use crate::{AuditEntry, Entry, HistoryRow, Lease, Store, Version, audit};
use provision_diagnostic::{Code, Failure};
use provision_model::{Json, Map, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an exported state says it is.
const FORMAT: &str = "nu-provision state";

/// What an import brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    pub lineage: String,
    pub resources: usize,
    pub history: usize,
    pub audit: usize,
}

fn malformed(what: &str) -> Failure {
    Failure::new(Code::StateMalformed, format!("this is no exported state: {what}"))
        .with_help("Give what `provision state export` gave.")
}

impl Store {
    /// Everything but the lease, as data: `{format, version, tables}`, each table a list of rows, each row its columns in
    /// the order of `columns`. What is sealed stays sealed.
    pub fn export(&self) -> Result<Json, Failure> {
        let tables = self.read(|database| {
            let mut tables = Map::new();
            for (name, columns) in TABLES {
                let rows = database.rows(&format!("select {} from {name}", columns.join(", ")), &[])?;
                let rows: Vec<Json> = rows.into_iter().map(|row| row.0.iter().map(cell).collect()).collect();
                let columns: Vec<String> = columns.iter().map(|column| column.replace('"', "")).collect();
                tables.insert((*name).to_owned(), serde_json::json!({"columns": columns, "rows": rows}));
            }
            Ok(tables)
        })?;
        Ok(serde_json::json!({"format": FORMAT, "version": SCHEMA_VERSION, "tables": tables}))
    }

    /// Whether it says that it is an exported state; gives its version.
    pub fn check_exported(exported: &Json) -> Result<i64, Failure> {
        if exported["format"] != FORMAT {
            return Err(malformed("its `format` is another one"));
        }
        let version = exported["version"].as_i64().ok_or_else(|| malformed("it has no `version`"))?;
        refuse_newer(version)?;
        if version < 3 {
            return Err(malformed("its version is older than any that was exported"));
        }
        Ok(version)
    }

    /// Takes over an exported state. Refused where there is one already, and without the key that sealed it.
    pub fn import(&self, lease: &Lease, exported: &Json) -> Result<Imported, Failure> {
        let version = Self::check_exported(exported)?;
        if self.serial()? > 0 || !self.resources()?.is_empty() {
            return Err(Failure::new(Code::StateNotEmpty, "there is a state here already")
                .with_help("Import into a project whose `.provision` folder, or database schema, is new."));
        }
        let mut tables = Vec::new();
        for (name, columns) in TABLES {
            if SINCE.iter().any(|(table, since)| table == name && version < *since) {
                tables.push((*name, *columns, Vec::new()));
                continue;
            }
            let table = &exported["tables"][*name];
            let given: Vec<&str> = table["columns"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            let expected: Vec<String> = columns.iter().map(|column| column.replace('"', "")).collect();
            if given != expected {
                return Err(malformed(&format!("the table `{name}` has other columns")));
            }
            let given =
                table["rows"].as_array().ok_or_else(|| malformed(&format!("the table `{name}` has no `rows`")))?;
            let mut rows = Vec::new();
            for (at, row) in given.iter().enumerate() {
                let wrong = |what: &str| malformed(&format!("row {} of the table `{name}`: {what}", at + 1));
                let cells = row.as_array().filter(|cells| cells.len() == columns.len());
                let cells = cells.ok_or_else(|| wrong(&format!("it is no list of {} values", columns.len())))?;
                let read = |(cell, column): (&Json, &&str)| {
                    let column = column.trim_matches('"');
                    value(name, column, cell).map_err(|what| wrong(&format!("`{column}` {what}")))
                };
                rows.push(cells.iter().zip(*columns).map(read).collect::<Result<Vec<Val>, Failure>>()?);
            }
            tables.push((*name, *columns, rows));
        }
        let find = |key: &str| {
            let (_, _, rows) = tables.iter().find(|(name, ..)| *name == "meta")?;
            rows.iter().find_map(|row| match row.as_slice() {
                [Val::Text(name), Val::Text(value)] if name == key => Some(value.clone()),
                _ => None,
            })
        };
        if find("public_key").as_deref() != Some(self.sealer().public_key().as_str()) {
            return Err(Failure::new(Code::StateIo, "the exported state was sealed with another key")
                .with_help(
                    "Put the identity.txt of the old state's `.provision` folder into this one, or set PROVISION_STATE_KEY, then import again.",
                ));
        }
        let count = |name: &str| tables.iter().find(|(table, ..)| *table == name).map_or(0, |(.., rows)| rows.len());
        let imported = Imported {
            lineage: find("lineage").unwrap_or_default(),
            resources: count("resources"),
            history: count("history"),
            audit: count("audit"),
        };
        let postgres = self.dialect == crate::db::Dialect::Postgres;
        // From here on it is that state: its log goes on with who took it over.
        let chain = Chain { lineage: imported.lineage.clone(), ..self.chain() };
        let row = |name: &str, key: Val| {
            let (.., rows) = tables.iter().find(|(table, ..)| *table == name)?;
            rows.iter().find(|row| row.first() == Some(&key)).cloned()
        };
        let end = row("audit_head", Val::Int(1)).map(crate::db::Row);
        let end = end.filter(|end| version >= PROVED_FROM && end.int(1) > 0);
        let proof = row("proofs", Val::from(proofs::LOG)).map(crate::db::Row);
        if let Some(end) = end {
            let text = audit::end_text(end.int(1), end.text(2));
            if !proof.is_some_and(|proof| chain.holds(proofs::LOG, &text, proof.text(1))) {
                return Err(malformed("its audit log does not end where the state ended it"));
            }
        }
        let text = exported.to_string();
        let mut detail = Map::new();
        for (name, count) in
            [("resources", imported.resources), ("history", imported.history), ("audit", imported.audit)]
        {
            detail.insert(name.into(), Json::from(count));
        }
        detail.insert("version".into(), Json::from(version));
        detail.insert("digest".into(), Json::from(audit::digest_of(&text)));
        let entry = self.audit_entry(lease, "state.import", None, detail);
        let sealer = chain.sealer.clone();
        let signed = self.fenced(lease, move |database| {
            for (name, columns, rows) in &tables {
                database.run(&format!("delete from {name}"), &[])?;
                let places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
                let sql = format!("insert into {name} ({}) values ({})", columns.join(", "), places.join(", "));
                for row in rows {
                    database.run(&sql, row)?;
                }
            }
            if postgres {
                // The numbers of new entries go on where the old ones ended.
                database.rows(
                    "select setval(pg_get_serial_sequence('journal', 'id'), coalesce((select max(id) from journal), 0) + 1, false)",
                    &[],
                )?;
            }
            if version < PROVED_FROM {
                // Nothing vouches for what an older version exported: it is taken as it is, but for what lets somebody pass.
                database.run("delete from approvals where used is null", &[])?;
                let sql = "select digest, sources from policies";
                if let Some(row) = database.row(sql, &[])? {
                    chain.prove(database, proofs::POLICIES, &format!("{}\n{}", row.text(0), row.text(1)))?;
                }
            }
            audit::append(database, &chain, &entry)?;
            let (seq, hash) = audit::head_of(database)?.unwrap_or_default();
            Ok(Checkpoint::sign(&chain.lineage, seq, hash, chain.ambient.now(), &sealer))
        })?;
        self.write_head(&signed)?;
        Ok(imported)
    }
}

fn cell(value: &Val) -> Json {
    match value {
        Val::Null => Json::Null,
        Val::Int(value) => Json::from(*value),
        Val::Text(value) => Json::from(value.as_str()),
    }
}

/// A value of a column; the error says what is wrong with it.
fn value(table: &str, column: &str, cell: &Json) -> Result<Val, String> {
    let nullable = matches!((table, column), ("versions", "body") | ("approvals", "address" | "used"));
    let whole = matches!(column, "serial" | "id" | "open" | "position" | "one" | "seq" | "generation");
    match cell {
        Json::Null if nullable => Ok(Val::Null),
        Json::Number(number) if whole => number.as_i64().map(Val::Int).ok_or_else(|| "is no whole number".to_owned()),
        Json::String(text) if !whole => {
            holds(table, column, text).map_err(|error| format!("cannot be read: {error}"))?;
            Ok(Val::Text(text.clone()))
        }
        _ if whole => Err("is no whole number".to_owned()),
        _ => Err("is no text".to_owned()),
    }
}

/// Whether a text is what its column holds: data that could not be read again would be found only when it is needed.
fn holds(table: &str, column: &str, text: &str) -> serde_json::Result<()> {
    fn is<T: serde::de::DeserializeOwned>(text: &str) -> serde_json::Result<()> {
        serde_json::from_str::<T>(text).map(drop)
    }
    match (table, column) {
        ("resources", "data") => is::<Resource>(text),
        ("journal", "data") => is::<Entry>(text),
        ("history", "data") => is::<HistoryRow>(text),
        ("history", "outputs") => is::<Map>(text),
        ("versions", "body") => is::<Version>(text),
        ("audit", "data") => is::<AuditEntry>(text),
        ("plans", "body") | ("outputs", "value") => is::<Json>(text),
        ("policies", "sources") => is::<Vec<(String, String)>>(text),
        _ => Ok(()),
    }
}
