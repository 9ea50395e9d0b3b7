//! Owns the tables and their migrations, forward only.

use crate::io;
use provision_diagnostic::Failure;
use rusqlite::Connection;

/// The version this build writes.
pub const SCHEMA_VERSION: i64 = 2;

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
];

/// Brings a database to this build's version; a newer one is refused.
pub fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    let found: i64 =
        connection.query_row("pragma user_version", [], |row| row.get(0)).map_err(|error| io("read", &error))?;
    if found > SCHEMA_VERSION {
        return Err(Failure::new(
            "provision::state::version",
            format!("the state has version {found}, this build knows versions up to {SCHEMA_VERSION}"),
        )
        .with_help("Update nu-provision to a version that knows this state."));
    }
    for (at, script) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let mut step = || -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            // Another process may have migrated while this one waited for the lock.
            let now: i64 = transaction.query_row("pragma user_version", [], |row| row.get(0))?;
            if now == at as i64 {
                transaction.execute_batch(script)?;
                transaction.execute_batch(&format!("pragma user_version = {}", at + 1))?;
            }
            transaction.commit()
        };
        step().map_err(|error| io("migrate", &error))?;
    }
    Ok(())
}
