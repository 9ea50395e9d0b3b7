//! Owns the one way the state speaks to a database: statements with values in, rows out, whatever the database is.

use provision_diagnostic::{Code, Failure};
use provision_model::Time;
use std::fmt;

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Val {
    Null,
    Int(i64),
    Text(String),
}

impl From<i64> for Val {
    fn from(value: i64) -> Self {
        Val::Int(value)
    }
}

impl From<Time> for Val {
    fn from(value: Time) -> Self {
        Val::Text(value.to_string())
    }
}

impl From<bool> for Val {
    fn from(value: bool) -> Self {
        Val::Int(i64::from(value))
    }
}

impl From<&str> for Val {
    fn from(value: &str) -> Self {
        Val::Text(value.to_owned())
    }
}

impl From<&String> for Val {
    fn from(value: &String) -> Self {
        Val::Text(value.clone())
    }
}

impl From<String> for Val {
    fn from(value: String) -> Self {
        Val::Text(value)
    }
}

impl<T: Into<Val>> From<Option<T>> for Val {
    fn from(value: Option<T>) -> Self {
        value.map_or(Val::Null, Into::into)
    }
}

/// The values of a statement, in the order of `?1`, `?2`, ….
macro_rules! vals {
    ($($value:expr),* $(,)?) => { &[$($crate::db::Val::from($value)),*] };
}
pub(crate) use vals;

/// One row, its columns in the order of the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub Vec<Val>);

impl Row {
    /// An integer column; 0 for anything else.
    pub fn int(&self, at: usize) -> i64 {
        match self.0.get(at) {
            Some(Val::Int(value)) => *value,
            _ => 0,
        }
    }

    /// A text column; `None` for null.
    pub fn opt(&self, at: usize) -> Option<&str> {
        match self.0.get(at) {
            Some(Val::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// A column with a time; the beginning of 1970 for anything else.
    pub fn time(&self, at: usize) -> Time {
        Time::parse(self.text(at)).unwrap_or_default()
    }

    /// A text column that is never null.
    pub fn text(&self, at: usize) -> &str {
        self.opt(at).unwrap_or_default()
    }
}

/// What kind of database it is, where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// Why a statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is gone; whether the last commit holds is not known.
    Lost,
    /// No space is left.
    Full,
    /// Another process is writing, and has been for long.
    Locked,
    /// It may not be written.
    ReadOnly,
    /// What is stored is damaged.
    Corrupt,
    /// It is not where it was any more.
    Vanished,
    /// The connection is not encrypted, or it is not certain with whom.
    Insecure,
    Other,
}

/// A failed statement.
#[derive(Debug, Clone)]
pub struct DbError {
    pub trouble: Trouble,
    pub message: String,
}

impl DbError {
    pub fn new(trouble: Trouble, message: impl fmt::Display) -> Self {
        Self { trouble, message: message.to_string() }
    }

    /// As an error for people: `what` is the verb, as in "cannot write the state".
    pub fn failure(&self, what: &str) -> Failure {
        let message = format!("cannot {what} the state: {}", self.message);
        let (code, help) = match self.trouble {
            Trouble::Full => (Code::StateIo, crate::FREE),
            Trouble::Locked => (
                Code::LeaseHeld,
                "Another process has been writing to it for long, or was stopped while it did: `provision lock show` tells which. Wait for it or end it; what it began is settled first.",
            ),
            Trouble::ReadOnly => {
                (Code::StateIo, "Make the project's `.provision` folder and its files writable for you.")
            }
            Trouble::Vanished => (
                Code::StateIo,
                "Put the folder `.provision` back, from a backup if need be, then run the command again: what was begun is settled first.",
            ),
            Trouble::Insecure => (
                Code::StateInsecure,
                "Give the certificate of its authority with `sslrootcert=/PATH.pem` in PROVISION_STATE; only where nobody else can reach the connection write `sslmode=disable`.",
            ),
            Trouble::Corrupt => (
                Code::StateCorrupt,
                "Run `provision state restore` to go back to the newest good backup; `provision refresh` then lists what was made since.",
            ),
            Trouble::Lost => (
                Code::StateUnreachable,
                "Check that the database of the state is reachable, then run the command again: open operations are settled first.",
            ),
            Trouble::Other => (Code::StateIo, crate::WRITABLE),
        };
        Failure::new(code, message).with_help(help)
    }
}

/// A database connection. Statements are written once for all: `?1` stands for the first value.
pub trait Database: Send {
    fn dialect(&self) -> Dialect;
    /// Runs a statement; gives how many rows it changed.
    fn run(&mut self, sql: &str, values: &[Val]) -> Result<u64, DbError>;
    /// Runs a statement that gives rows.
    fn rows(&mut self, sql: &str, values: &[Val]) -> Result<Vec<Row>, DbError>;
    /// Runs statements without values.
    fn script(&mut self, sql: &str) -> Result<(), DbError>;
    /// Connects again if the connection is gone.
    fn revive(&mut self) -> Result<(), DbError>;

    /// The first row of a statement.
    fn row(&mut self, sql: &str, values: &[Val]) -> Result<Option<Row>, DbError> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// Seconds since the epoch: the server's clock where there is a server.
    fn clock(&mut self) -> Result<i64, DbError> {
        match self.dialect() {
            Dialect::Sqlite => Ok(chrono::Utc::now().timestamp()),
            Dialect::Postgres => {
                Ok(self.row("select extract(epoch from clock_timestamp())::bigint", &[])?.map_or(0, |row| row.int(0)))
            }
        }
    }

    /// Added to a `select` whose row nobody else may change before this transaction ends.
    fn for_update(&self) -> &'static str {
        match self.dialect() {
            // A writing transaction is alone there anyway.
            Dialect::Sqlite => "",
            Dialect::Postgres => " for update",
        }
    }
}
