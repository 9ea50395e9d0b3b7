//! Owns the rows that say what is: resources, plans, outputs, accounts, policies in force.

use crate::db::{Database, DbError, vals};
use crate::history::{Version, keep_version, newest_version};
use crate::journal::PolicyInForce;
use crate::proofs::{self, POLICIES};
use crate::store::{meta, parsed, set_meta, text_of};
use crate::{Lease, Store};
use provision_diagnostic::{Code, Failure};
use provision_model::{Address, Json, Map, Resource, Time, short_hash};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};

/// Plans that are kept; older ones are stale anyway.
const PLANS: usize = 50;

/// What shows that a row is as it was written.
pub(crate) fn sum(text: &str) -> String {
    short_hash(text, 16)
}

/// Rows of resources to change at once.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    pub puts: Vec<Resource>,
    pub gone: Vec<Address>,
    /// Old address and new address.
    pub moved: Vec<(Address, Address)>,
}

impl Edit {
    fn texts(&self) -> Result<EditTexts, Failure> {
        let texts = self.puts.iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
        let before = self.moved.iter().map(|(from, to)| (to.clone(), from.clone())).collect();
        Ok(EditTexts { puts: self.puts.iter().cloned().zip(texts).collect(), gone: self.gone.clone(), before })
    }
}

struct EditTexts {
    puts: Vec<(Resource, String)>,
    gone: Vec<Address>,
    /// The old address by the new one.
    before: HashMap<Address, Address>,
}

impl EditTexts {
    fn write(&self, database: &mut dyn Database, serial: i64) -> Result<(), DbError> {
        // What was there is looked up before anything goes.
        let mut versions = Vec::with_capacity(self.puts.len());
        for (resource, _) in &self.puts {
            let before = self.before.get(&resource.address).unwrap_or(&resource.address);
            versions.push(Version::of(resource.clone(), newest_version(database, before.as_str())?));
        }
        for address in &self.gone {
            database.run("delete from resources where address = ?1", vals![address.as_str()])?;
            keep_version(database, address.as_str(), serial, None)?;
        }
        for ((resource, text), version) in self.puts.iter().zip(&versions) {
            put_resource(database, resource, text, serial)?;
            keep_version(database, resource.address.as_str(), serial, Some(version))?;
            // A creation after this one must not look like it.
            let sql = "insert into generations (address, generation) values (?1, ?2)
                 on conflict (address) do update set generation = excluded.generation
                 where generations.generation < excluded.generation";
            database.run(sql, vals![resource.address.as_str(), resource.generation as i64])?;
        }
        Ok(())
    }
}

impl Store {
    /// Every resource, by address. One whose row is damaged is given as the history has it.
    pub fn resources(&self) -> Result<Vec<Resource>, Failure> {
        let rows = self.rows("select address, data, sum from resources order by address", &[])?;
        rows.iter().map(|row| self.sound(row.text(0), row.text(1), row.text(2)).map(|(resource, _)| resource)).collect()
    }

    /// One resource.
    pub fn resource(&self, address: &str) -> Result<Option<Resource>, Failure> {
        let rows = self.rows("select address, data, sum from resources where address = ?1", vals![address])?;
        let found = rows.first().map(|row| self.sound(row.text(0), row.text(1), row.text(2))).transpose()?;
        Ok(found.map(|(resource, _)| resource))
    }

    /// A resource as its row has it, or as the history has it where the row is damaged; and whether it was.
    fn sound(&self, address: &str, text: &str, expected: &str) -> Result<(Resource, bool), Failure> {
        if (expected.is_empty() || sum(text) == expected)
            && let Ok(resource) = serde_json::from_str(text)
        {
            return Ok((resource, false));
        }
        match self.read(|database| newest_version(database, address))? {
            Some(version) => Ok((version.resource, true)),
            None => Err(Failure::new(
                Code::StateCorrupt,
                format!("the row of `{address}` is damaged, and the history has no good one"),
            )
            .with_help("Run `provision state restore` to go back to the newest good backup.")),
        }
    }

    /// Writes damaged rows again as the history has them; gives their addresses.
    pub fn mend(&self, lease: &Lease) -> Result<Vec<Address>, Failure> {
        let rows = self.rows("select address, data, sum, serial from resources order by address", &[])?;
        let mut mended = Vec::new();
        // Before every apply: what its checksum vouches for is not read once more.
        for row in rows.iter().filter(|row| sum(row.text(1)) != row.text(2)) {
            let (resource, damaged) = self.sound(row.text(0), row.text(1), row.text(2))?;
            if damaged {
                let (serial, text, written) = (row.int(3), text_of(&resource)?, resource.clone());
                self.fenced(lease, move |database| put_resource(database, &written, &text, serial))?;
                self.audit(lease, "state.mend", Some(resource.address.as_str()), Map::new())?;
                mended.push(resource.address);
            }
        }
        Ok(mended)
    }

    /// Number of the last change, 0 for none.
    pub fn serial(&self) -> Result<i64, Failure> {
        self.read(|database| {
            Ok(database.row("select coalesce(max(serial), 0) from history", &[])?.map_or(0, |r| r.int(0)))
        })
    }

    /// The newest generation of every address that ever had one.
    pub fn generations(&self) -> Result<HashMap<Address, u64>, Failure> {
        let rows = self.rows("select address, generation from generations", &[])?;
        Ok(rows.iter().map(|row| (Address::new(row.text(0)), row.int(1).unsigned_abs())).collect())
    }

    /// The generation that the next creation of an address has.
    pub fn next_generation(&self, address: &Address) -> Result<u64, Failure> {
        let sql = "select generation from generations where address = ?1";
        let found = self.read(|database| database.row(sql, vals![address.as_str()]))?;
        Ok(found.map_or(1, |row| row.int(0).unsigned_abs() + 1))
    }

    fn sealed_edit(&self, rows: &Edit) -> Result<Edit, Failure> {
        let puts = rows.puts.iter().map(|it| Ok(self.with_secrets_sealed(it)?.into_owned()));
        Ok(Edit { puts: puts.collect::<Result<_, Failure>>()?, ..rows.clone() })
    }

    /// Changes rows outside an operation, all or none, as one change of the history: some are put, some go, some have the
    /// address that the other one had before.
    pub fn edit(&self, lease: &Lease, change: &crate::NewChange, rows: &Edit) -> Result<i64, Failure> {
        let (rows, change) = (self.sealed_edit(rows)?.texts()?, self.vouched_change(change));
        let (chain, actor, time) = (self.chain(), lease.user().to_owned(), self.now());
        self.fenced(lease, move |database| {
            // What is configured stays as it is: a way back to this change must find all of it.
            let change = crate::history::continued(database, &change)?;
            let added = crate::history::add(database, &change, &actor, time, false)?;
            rows.write(database, added.serial)?;
            crate::audit::append(database, &chain, &change.audit(&actor, &added, time))?;
            Ok(added.serial)
        })
    }

    /// The same as part of a change that is open.
    pub fn edit_in(&self, lease: &Lease, serial: i64, rows: &Edit) -> Result<(), Failure> {
        let moved = rows.moved.iter().map(|(from, to)| (from.to_string(), Json::from(to.as_str()))).collect();
        let mut detail = Map::new();
        detail.insert("moved".into(), Json::Object(moved));
        let entry =
            crate::AuditEntry { serial: Some(serial), ..self.audit_entry(lease, "operation.move", None, detail) };
        let (rows, chain) = (self.sealed_edit(rows)?.texts()?, self.chain());
        self.fenced(lease, move |database| {
            rows.write(database, serial)?;
            crate::audit::append(database, &chain, &entry)
        })
    }

    /// Writes what the clouds show of resources that nobody changed: no change of the history.
    pub fn put_seen(&self, lease: &Lease, resources: &[Resource]) -> Result<(), Failure> {
        let sealed = resources.iter().map(|it| self.with_secrets_sealed(it)).collect::<Result<Vec<_>, _>>()?;
        let texts = sealed.iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<(String, String)> =
            resources.iter().map(|resource| resource.address.to_string()).zip(texts).collect();
        self.fenced(lease, move |database| {
            for (address, text) in &rows {
                let sql = "update resources set data = ?2, sum = ?3 where address = ?1";
                database.run(sql, vals![address, text, sum(text)])?;
            }
            Ok(())
        })
    }

    /// Keeps a plan, as JSON text, under its digest.
    pub fn put_plan(&self, digest: &str, text: String) -> Result<(), Failure> {
        if self.read_only {
            return Ok(());
        }
        let (digest, time) = (digest.to_owned(), self.now());
        self.write(move |database| {
            let sql = "insert into plans (digest, created_at, body) values (?1, ?2, ?3) on conflict do nothing";
            database.run(sql, vals![&digest, time, &text])?;
            // Settling an open operation needs the accounts of its plan, however old that is.
            let sql = "select digest from plans
                 where digest not in (select plan from journal where open = 1) order by created_at desc, digest";
            let kept = database.rows(sql, &[])?;
            for old in kept.iter().skip(PLANS).map(|row| row.text(0)).filter(|old| *old != digest) {
                database.run("delete from plans where digest = ?1", vals![old])?;
                // What carried it out is in the history; only who applies its rows again asks the journal.
                database.run("delete from journal where plan = ?1 and open = 0", vals![old])?;
            }
            Ok(())
        })
    }

    /// A kept plan.
    pub fn plan<T: DeserializeOwned>(&self, digest: &str) -> Result<Option<T>, Failure> {
        self.one("select body from plans where digest = ?1", digest)
    }

    /// Keeps the outputs as last written in the configuration, references unresolved.
    pub fn put_outputs(&self, lease: &Lease, outputs: &Map) -> Result<(), Failure> {
        if self.outputs()? == *outputs {
            return Ok(());
        }
        let rows: Vec<(String, String)> =
            outputs.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        self.fenced(lease, move |database| {
            database.run("delete from outputs", &[])?;
            for (at, (name, value)) in rows.iter().enumerate() {
                let sql = "insert into outputs (name, value, position) values (?1, ?2, ?3)";
                database.run(sql, vals![name, value, at as i64])?;
            }
            Ok(())
        })
    }

    /// The outputs, in the order they were written.
    pub fn outputs(&self) -> Result<Map, Failure> {
        let rows = self.rows("select name, value from outputs order by position, name", &[])?;
        rows.iter().map(|row| Ok((row.text(0).to_owned(), parsed(row.text(1))?))).collect()
    }

    /// Keeps the accounts as last applied, credentials sealed: a resource may outlive the account's block in the file.
    pub fn put_accounts(&self, lease: &Lease, accounts: &Json) -> Result<(), Failure> {
        let text = accounts.to_string();
        if self.read(|database| meta(database, "accounts"))?.as_deref() == Some(&text) {
            return Ok(());
        }
        self.fenced(lease, move |database| set_meta(database, "accounts", &text))
    }

    /// The accounts as last applied.
    pub fn accounts<T: DeserializeOwned + Default>(&self) -> Result<T, Failure> {
        Ok(self.one("select value from meta where key = ?1", "accounts")?.unwrap_or_default())
    }

    /// The policies in force.
    pub fn policies(&self) -> Result<Option<PolicyInForce>, Failure> {
        let in_force = self.policies_as_stored()?;
        let (chain, text) = (self.chain(), policies_text(in_force.as_ref())?);
        let proof = self.read(|database| {
            Ok((proofs::kept(database, POLICIES)?.is_some(), chain.is_proved(database, POLICIES, &text)?))
        })?;
        match (in_force, proof) {
            (None, (false, _)) => Ok(None),
            (Some(in_force), (_, true)) => Ok(Some(in_force)),
            (in_force, _) => {
                let what = if in_force.is_some() { "were not written by this state" } else { "are gone" };
                Err(Failure::new(Code::StateForged, format!("the policies in force {what}")).with_help(
                    "Somebody changed the state's file: run `provision audit verify`, and put back a state that is whole.",
                ))
            }
        }
    }

    pub(crate) fn policies_as_stored(&self) -> Result<Option<PolicyInForce>, Failure> {
        let rows = self.rows("select digest, sources from policies", &[])?;
        let read =
            |row: &crate::db::Row| Ok(PolicyInForce { digest: row.text(0).to_owned(), sources: parsed(row.text(1))? });
        rows.first().map(read).transpose()
    }

    /// Makes policies the ones in force; one who accepts them is in the audit log.
    pub fn put_policies(&self, lease: &Lease, policies: &PolicyInForce) -> Result<(), Failure> {
        let before = self.policies()?;
        if before.as_ref().is_some_and(|before| before.digest == policies.digest) {
            return Ok(());
        }
        let (digest, text) = (policies.digest.clone(), text_of(&policies.sources)?);
        let proved = policies_text(Some(policies))?;
        let mut detail = Map::new();
        detail.insert("before".into(), before.map_or(Json::Null, |before| Json::from(before.digest)));
        detail.insert("after".into(), Json::from(digest.as_str()));
        let entry = self.audit_entry(lease, "policy.change", None, detail);
        let chain = self.chain();
        self.fenced(lease, move |database| {
            let sql = "insert into policies (one, digest, sources) values (1, ?1, ?2)
                 on conflict (one) do update set digest = excluded.digest, sources = excluded.sources";
            database.run(sql, vals![&digest, &text])?;
            chain.prove(database, POLICIES, &proved)?;
            crate::audit::append(database, &chain, &entry)
        })
    }

    /// When each drift was first seen; what is not among `seen` any more is forgotten. `seen` has address, path and a
    /// digest of the actual value.
    pub fn first_seen(&self, seen: &[(String, String, String)]) -> Result<Vec<Time>, Failure> {
        let (seen, time) = (seen.to_vec(), self.now());
        if self.read_only {
            let known = self.rows("select address, path, actual, since from drift", &[])?;
            let since = |it: &(String, String, String)| {
                let same = |row: &&crate::db::Row| (row.text(0), row.text(1), row.text(2)) == (&*it.0, &*it.1, &*it.2);
                known.iter().find(same).map_or(time, |row| row.time(3))
            };
            return Ok(seen.iter().map(since).collect());
        }
        self.write(move |database| {
            let there: HashSet<(&str, &str)> = seen.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
            let known = database.rows("select address, path, actual, since from drift", &[])?;
            for row in known.iter().filter(|row| !there.contains(&(row.text(0), row.text(1)))) {
                database.run("delete from drift where address = ?1 and path = ?2", vals![row.text(0), row.text(1)])?;
            }
            let since: HashMap<(&str, &str, &str), Time> =
                known.iter().map(|row| ((row.text(0), row.text(1), row.text(2)), row.time(3))).collect();
            let mut found = Vec::with_capacity(seen.len());
            for (address, path, actual) in &seen {
                if let Some(since) = since.get(&(address.as_str(), path.as_str(), actual.as_str())) {
                    found.push(*since);
                    continue;
                }
                let sql = "insert into drift (address, path, actual, since) values (?1, ?2, ?3, ?4)
                     on conflict (address, path) do update set actual = excluded.actual, since = excluded.since";
                database.run(sql, vals![address, path, actual, time])?;
                found.push(time);
            }
            Ok(found)
        })
    }
}

/// What is proved of the policies in force.
pub(crate) fn policies_text(in_force: Option<&PolicyInForce>) -> Result<String, Failure> {
    in_force.map_or(Ok(String::new()), |it| Ok(format!("{}\n{}", it.digest, text_of(&it.sources)?)))
}

pub(crate) fn put_resource(
    database: &mut dyn Database,
    resource: &Resource,
    text: &str,
    serial: i64,
) -> Result<(), DbError> {
    let sql = "insert into resources (address, kind, data, serial, sum) values (?1, ?2, ?3, ?4, ?5)
         on conflict (address) do update set
           kind = excluded.kind, data = excluded.data, serial = excluded.serial, sum = excluded.sum";
    database.run(sql, vals![resource.address.as_str(), &resource.kind, text, serial, sum(text)])?;
    Ok(())
}
