//! Owns the tables and their migrations, forward only.

use crate::db::{Database, DbError, Dialect};
use provision_diagnostic::{Code, Failure};

/// The version this build writes.
pub const SCHEMA_VERSION: i64 = 5;

/// One script per version; a script is never edited after it was released.
const MIGRATIONS: &[&str] = &[
    "
create table meta (key text primary key, value text not null) strict;
create table resources (
  address text primary key,
  kind text not null,
  data text not null,
  serial integer not null
) strict;
create table journal (
  id integer primary key autoincrement,
  address text not null,
  plan text not null,
  phase text not null,
  data text not null,
  open integer not null
) strict;
create index journal_open on journal (open) where open = 1;
create index journal_plan on journal (plan);
create table generations (address text primary key, generation integer not null) strict;
create table plans (digest text primary key, created_at text not null, body text not null) strict;
create table outputs (name text primary key, value text not null) strict;
create table lease (
  one integer primary key check (one = 1),
  owner text not null,
  fencing integer not null,
  expires_at integer not null
) strict;
create table policies (one integer primary key check (one = 1), digest text not null, sources text not null) strict;
",
    "
create table approvals (
  id text primary key,
  plan text not null,
  address text,
  role text not null,
  \"by\" text not null,
  at text not null,
  until text not null,
  used text,
  policies text not null
) strict;
create index approvals_plan on approvals (plan);
",
    "
alter table resources add column sum text not null default '';
alter table journal add column uid text not null default '';
create unique index journal_uid on journal (uid) where uid <> '';
alter table outputs add column position integer not null default 0;
alter table lease add column expires_boot integer not null default 0;
create table history (
  serial integer primary key,
  data text not null,
  outputs text not null,
  open integer not null
) strict;
create table versions (
  address text not null,
  serial integer not null,
  body text,
  sum text not null,
  primary key (address, serial)
) strict;
create table audit (
  seq integer primary key,
  data text not null,
  hash text not null
) strict;
create table audit_head (one integer primary key check (one = 1), seq integer not null, hash text not null) strict;
insert into audit_head values (1, 0, '');
create table checkpoints (seq integer primary key, at text not null, hash text not null, signature text not null) strict;
create table drift (
  address text not null,
  path text not null,
  actual text not null,
  since text not null,
  primary key (address, path)
) strict;
",
    // A state knows its project: the one that it was last applied for. Approvals that are not used or that the log does not
    // tell of have to be given again, for nothing vouches for them.
    "
create table proofs (subject text primary key, proof text not null) strict;
insert into meta (key, value)
  select 'project', json_extract(data, '$.project') from history
  where json_valid(data) and coalesce(json_extract(data, '$.project'), '') <> '' order by serial desc limit 1;
delete from approvals
  where used is null or not exists (select 1 from audit where instr(data, '\"' || approvals.id || '\"') > 0);
",
    // The journal has operations of the second format from here on; those of the first are read as they are. An older build
    // would not know the second.
    "",
];

/// The same for PostgreSQL, from [`POSTGRES_FROM`] on.
const POSTGRES_MIGRATIONS: &[&str] = &[
    "
create table proofs (subject text primary key, proof text not null);
insert into meta (key, value)
  select 'project', data::json ->> 'project' from history
  where coalesce(data::json ->> 'project', '') <> '' order by serial desc limit 1;
delete from approvals
  where used is null or not exists (select 1 from audit where strpos(data, '\"' || approvals.id || '\"') > 0);
",
    "",
];

/// The first version PostgreSQL was supported at; its tables are made whole, later versions use [`POSTGRES_MIGRATIONS`].
const POSTGRES_FROM: i64 = 3;

const POSTGRES: &str = "
create table meta (key text primary key, value text not null);
create table resources (
  address text primary key, kind text not null, data text not null, serial bigint not null, sum text not null
);
create table journal (
  id bigserial primary key, address text not null, plan text not null, phase text not null, data text not null,
  open bigint not null, uid text not null
);
create index journal_open on journal (open) where open = 1;
create index journal_plan on journal (plan);
create unique index journal_uid on journal (uid) where uid <> '';
create table generations (address text primary key, generation bigint not null);
create table plans (digest text primary key, created_at text not null, body text not null);
create table outputs (name text primary key, value text not null, position bigint not null);
create table lease (
  one bigint primary key check (one = 1), owner text not null, fencing bigint not null, expires_at bigint not null,
  expires_boot bigint not null
);
create table policies (one bigint primary key check (one = 1), digest text not null, sources text not null);
create table approvals (
  id text primary key, plan text not null, address text, role text not null, \"by\" text not null, at text not null,
  until text not null, used text, policies text not null
);
create index approvals_plan on approvals (plan);
create table history (serial bigint primary key, data text not null, outputs text not null, open bigint not null);
create table versions (
  address text not null, serial bigint not null, body text, sum text not null, primary key (address, serial)
);
create table audit (seq bigint primary key, data text not null, hash text not null);
create table audit_head (one bigint primary key check (one = 1), seq bigint not null, hash text not null);
insert into audit_head values (1, 0, '');
create table checkpoints (seq bigint primary key, at text not null, hash text not null, signature text not null);
create table drift (
  address text not null, path text not null, actual text not null, since text not null, primary key (address, path)
);
create table schema_version (one bigint primary key check (one = 1), version bigint not null);
";

/// Every table with data of the state, in the order in which they are carried to another database, with its columns.
/// The lease stays behind: it belongs to a process.
pub const TABLES: &[(&str, &[&str])] = &[
    ("meta", &["key", "value"]),
    ("resources", &["address", "kind", "data", "serial", "sum"]),
    ("journal", &["id", "address", "plan", "phase", "data", "open", "uid"]),
    ("generations", &["address", "generation"]),
    ("plans", &["digest", "created_at", "body"]),
    ("outputs", &["name", "value", "position"]),
    ("policies", &["one", "digest", "sources"]),
    ("approvals", &["id", "plan", "address", "role", "\"by\"", "at", "until", "used", "policies"]),
    ("history", &["serial", "data", "outputs", "open"]),
    ("versions", &["address", "serial", "body", "sum"]),
    ("audit", &["seq", "data", "hash"]),
    ("audit_head", &["one", "seq", "hash"]),
    ("checkpoints", &["seq", "at", "hash", "signature"]),
    ("drift", &["address", "path", "actual", "since"]),
    ("proofs", &["subject", "proof"]),
];

/// Tables that came with a version; what was exported before has none of them.
pub const SINCE: &[(&str, i64)] = &[("proofs", 4)];

/// Brings a database to this build's version, and gives the one it had; a newer one is refused.
pub fn migrate(database: &mut dyn Database) -> Result<i64, Failure> {
    let failed = |error: DbError| error.failure("migrate");
    let found = version(database).map_err(failed)?;
    refuse_newer(found)?;
    let mut at = found;
    while at < SCHEMA_VERSION {
        begin(database).map_err(failed)?;
        match step(database, at) {
            Ok(()) => database.script("commit").map_err(failed)?,
            Err(error) => {
                let _ = database.script("rollback");
                return Err(failed(error));
            }
        }
        at = version(database).map_err(failed)?;
    }
    Ok(found)
}

/// Refuses a database that may only be read and is not of this build's version.
pub fn refuse_other(database: &mut dyn Database) -> Result<(), Failure> {
    let found = version(database).map_err(|error| error.failure("read"))?;
    refuse_newer(found)?;
    if found < SCHEMA_VERSION {
        let message = format!("the state has version {found} and may only be read; this build reads {SCHEMA_VERSION}");
        return Err(Failure::new(Code::StateVersion, message)
            .with_help("Run a command that may write it once: it is brought forward then."));
    }
    Ok(())
}

/// The first version whose log proves its end.
pub const PROVED_FROM: i64 = 4;

fn step(database: &mut dyn Database, at: i64) -> Result<(), DbError> {
    // Another process may have migrated while this one waited for the lock.
    if version(database)? != at {
        return Ok(());
    }
    let (script, next) = match (database.dialect(), at) {
        (Dialect::Postgres, 0) => (POSTGRES, POSTGRES_FROM),
        (Dialect::Postgres, at) => {
            (POSTGRES_MIGRATIONS[usize::try_from(at - POSTGRES_FROM).unwrap_or_default()], at + 1)
        }
        _ => (MIGRATIONS[usize::try_from(at).unwrap_or_default()], at + 1),
    };
    database.script(script)?;
    set_version(database, next)
}

/// Refuses what a newer build wrote.
pub fn refuse_newer(found: i64) -> Result<(), Failure> {
    if found > SCHEMA_VERSION {
        return Err(Failure::new(
            Code::StateVersion,
            format!("the state has version {found}, this build knows versions up to {SCHEMA_VERSION}"),
        )
        .with_help("Update nu-provision to a version that knows this state."));
    }
    Ok(())
}

/// Begins a transaction that writes.
fn begin(database: &mut dyn Database) -> Result<(), DbError> {
    match database.dialect() {
        Dialect::Sqlite => database.script("begin immediate"),
        // Migrations of two processes must not meet.
        Dialect::Postgres => database.script("begin; select pg_advisory_xact_lock(7023114208)"),
    }
}

fn version(database: &mut dyn Database) -> Result<i64, DbError> {
    match database.dialect() {
        Dialect::Sqlite => Ok(database.row("pragma user_version", &[])?.map_or(0, |row| row.int(0))),
        Dialect::Postgres => {
            let there = database.row("select to_regclass('schema_version')::text", &[])?;
            if there.is_none_or(|row| row.opt(0).is_none()) {
                return Ok(0);
            }
            Ok(database.row("select version from schema_version", &[])?.map_or(0, |row| row.int(0)))
        }
    }
}

fn set_version(database: &mut dyn Database, version: i64) -> Result<(), DbError> {
    match database.dialect() {
        Dialect::Sqlite => database.script(&format!("pragma user_version = {version}")),
        Dialect::Postgres => database.script(&format!(
            "insert into schema_version values (1, {version}) on conflict (one) do update set version = {version}"
        )),
    }
}
