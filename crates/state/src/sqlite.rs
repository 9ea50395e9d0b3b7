//! Owns SQLite as the database of a state: one file, WAL, synchronous FULL.

use crate::db::{Database, DbError, Dialect, Row, Trouble, Val};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An open file, or memory that is gone with it.
pub struct Sqlite {
    connection: Connection,
    /// The file and which one it was: writes to one that was taken away would be lost without a word.
    place: Option<(PathBuf, (u64, u64))>,
}

/// How long whoever finds the file locked waits for it.
const BUSY: Duration = Duration::from_secs(10);

const PRAGMAS: &str =
    "pragma busy_timeout = 10000; pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;";

impl Sqlite {
    /// Opens or makes a file.
    pub fn open(file: &Path) -> Result<Self, DbError> {
        // The files beside it get the same mode from SQLite.
        if let Err(error) = crate::files::touch(file)
            && error.kind() == std::io::ErrorKind::NotFound
        {
            return Err(DbError::new(Trouble::ReadOnly, error));
        }
        let mut opened = Self::with(Connection::open(file).map_err(trouble)?)?;
        opened.place = which(file).map(|which| (file.to_path_buf(), which));
        Ok(opened)
    }

    /// Opens a file that must be there, to look at it.
    pub fn look(file: &Path) -> Result<Self, DbError> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(trouble)?;
        Ok(Self { connection, place: None })
    }

    /// Whether a file is there and neither it nor its folder may be written.
    pub fn may_only_read(file: &Path) -> bool {
        let may = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        file.is_file() && !(may(file) && file.parent().is_some_and(may))
    }

    /// Opens a file that may only be read.
    pub fn open_to_read(file: &Path) -> Result<Self, DbError> {
        let opened = Self::look(file)?;
        let asked = opened.connection.query_row("select count(*) from sqlite_master", [], |_| Ok(()));
        if asked.is_ok() {
            return Ok(opened);
        }
        // Without its log beside it nothing is missing from the file, and nothing has to be made to read it.
        let log = file.with_file_name(format!("{}-wal", crate::store::FILE));
        if std::fs::metadata(&log).is_ok_and(|data| data.len() > 0) {
            return asked.map_err(trouble).map(|()| opened);
        }
        let place = file.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let uri = format!("file:{place}?immutable=1");
        let connection = Connection::open_with_flags(uri, flags).map_err(trouble)?;
        Ok(Self { connection, place: None })
    }

    /// A state that is gone when it is closed.
    pub fn in_memory() -> Result<Self, DbError> {
        Self::with(Connection::open_in_memory().map_err(trouble)?)
    }

    fn with(connection: Connection) -> Result<Self, DbError> {
        connection.set_prepared_statement_cache_capacity(128);
        // The timeout does not hold for the change of the journal's mode, which whoever opens it too may be making just now.
        let end = Instant::now() + BUSY;
        while let Err(error) = connection.execute_batch(PRAGMAS) {
            if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || Instant::now() >= end {
                return Err(trouble(error));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Self { connection, place: None })
    }
}

/// Device and number of a file.
fn which(file: &Path) -> Option<(u64, u64)> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.dev(), data.ino()))
}

impl ToSql for Val {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Val::Null => ToSqlOutput::Owned(Value::Null),
            Val::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Val::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
        })
    }
}

/// What an error of SQLite means for the state.
fn trouble(error: rusqlite::Error) -> DbError {
    use rusqlite::ffi;
    // Only the first write of a full disk is called full; what SQLite writes on its own account (the log's index, a
    // truncation, a flush) fails with one of these.
    let unwritten = [
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_FSYNC,
        ffi::SQLITE_IOERR_DIR_FSYNC,
        ffi::SQLITE_IOERR_TRUNCATE,
        ffi::SQLITE_IOERR_SHMOPEN,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR_SHMMAP,
    ];
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Trouble::Full,
        Some(ErrorCode::SystemIoFailure) if unwritten.contains(&extended) => Trouble::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => Trouble::ReadOnly,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Locked,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Corrupt,
        _ => Trouble::Other,
    };
    DbError::new(kind, error)
}

impl Database for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn run(&mut self, sql: &str, values: &[Val]) -> Result<u64, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(trouble)?;
        statement.execute(params_from_iter(values)).map(|count| count as u64).map_err(trouble)
    }

    fn rows(&mut self, sql: &str, values: &[Val]) -> Result<Vec<Row>, DbError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(trouble)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values)).map_err(trouble)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(trouble)? {
            let mut cells = Vec::with_capacity(columns);
            for at in 0..columns {
                cells.push(match row.get_ref(at).map_err(trouble)? {
                    ValueRef::Integer(value) => Val::Int(value),
                    ValueRef::Text(text) => match std::str::from_utf8(text) {
                        Ok(text) => Val::Text(text.to_owned()),
                        Err(error) => return Err(DbError::new(Trouble::Corrupt, error)),
                    },
                    _ => Val::Null,
                });
            }
            found.push(Row(cells));
        }
        Ok(found)
    }

    fn script(&mut self, sql: &str) -> Result<(), DbError> {
        self.connection.execute_batch(sql).map_err(trouble)
    }

    fn revive(&mut self) -> Result<(), DbError> {
        match &self.place {
            Some((file, opened)) if which(file) != Some(*opened) => Err(DbError::new(
                Trouble::Vanished,
                format!("{} was taken away or replaced while it was in use", file.display()),
            )),
            _ => Ok(()),
        }
    }
}
