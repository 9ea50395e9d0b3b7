//! Owns backups of a state that is a file, and going back to one.

use crate::db::{Database, Dialect, Trouble};
use crate::sqlite::Sqlite;
use crate::store::FILE;
use crate::{Ambient, Location, Machine, Store, file_io, files};
use provision_diagnostic::{Code, Failure};
use provision_model::{Json, Map, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Backups that are kept.
const KEPT: usize = 5;
/// A larger state is backed up once a day, so that changing one resource of many does not write all of them.
const LARGE: u64 = 8 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupRow {
    pub file: String,
    /// The newest change it has.
    pub serial: i64,
    /// RFC 3339.
    pub at: Time,
    pub bytes: u64,
}

/// What going back to a backup found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub backup: String,
    pub serial: i64,
    pub resources: usize,
    /// Where the damaged files are now.
    pub damaged: String,
}

impl Store {
    /// Makes a backup; gives `None` for a state that is no file, whose database has backups of its own.
    pub fn backup(&self) -> Result<Option<BackupRow>, Failure> {
        if self.dialect != Dialect::Sqlite || self.folder().as_os_str().is_empty() {
            return Ok(None);
        }
        let folder = self.folder().join("backups");
        // A folder that was taken away is not made again: the state is not there.
        match std::fs::create_dir(&folder) {
            Err(error) if !folder.is_dir() => return Err(file_io("back up", &error)),
            _ => {}
        }
        files::close(&folder, 0o700);
        let serial = self.serial()?;
        let stamp = stamp(self.now());
        let file = folder.join(format!("state-{serial:06}-{stamp}.db"));
        let unfinished = file.with_extension("new");
        let _ = std::fs::remove_file(&unfinished);
        // SQLite writes into a file that is empty, and leaves its mode.
        files::touch(&unfinished).map_err(|error| file_io("back up", &error))?;
        let target = unfinished.display().to_string();
        self.read(|database| {
            database.run("vacuum into ?1", crate::db::vals![&target])?;
            Ok(())
        })?;
        let made = std::fs::File::open(&unfinished)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&unfinished, &file))
            .and_then(|()| files::sync(&folder));
        made.map_err(|error| file_io("back up", &error))?;
        for old in list(self.folder()).into_iter().skip(KEPT) {
            // One too many does no harm.
            let _ = std::fs::remove_file(&old.file);
        }
        Ok(list(self.folder()).into_iter().next())
    }

    /// Makes a backup when it is time for one: after every change of a small state, once a day of a large one.
    pub fn backup_when_due(&self) -> Result<(), Failure> {
        let size = std::fs::metadata(self.folder().join(FILE)).map_or(0, |data| data.len());
        if size > LARGE {
            let newest = list(self.folder()).first().and_then(|row| std::fs::metadata(&row.file).ok());
            let young = newest.and_then(|data| data.modified().ok()?.elapsed().ok()).is_some_and(|age| age < DAY);
            if young {
                return Ok(());
            }
        }
        self.backup().map(|_| ())
    }
}

/// The backups of a state's folder, the newest first. Those that cannot be read are left out.
pub fn list(folder: &Path) -> Vec<BackupRow> {
    let Ok(entries) = std::fs::read_dir(folder.join("backups")) else { return Vec::new() };
    let mut found: Vec<BackupRow> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .filter_map(|path| {
            let data = std::fs::metadata(&path).ok()?;
            let serial = path.file_stem()?.to_str()?.split('-').nth(1)?.parse().ok()?;
            let at = Time::from(data.modified().ok()?);
            Some(BackupRow { file: path.display().to_string(), serial, at, bytes: data.len() })
        })
        .collect();
    found.sort_by(|a, b| (b.serial, &b.at).cmp(&(a.serial, &a.at)));
    found
}

/// A time as a part of a file's name.
fn stamp(time: Time) -> String {
    time.to_string().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Whether a backup is whole.
fn is_good(file: &Path) -> bool {
    let Ok(mut database) = Sqlite::look(file) else { return false };
    let checked = database.row("pragma quick_check", &[]);
    checked.is_ok_and(|row| row.is_some_and(|row| row.text(0) == "ok"))
}

/// Goes back to a backup: the newest good one, or the one named. What is there now is put aside, not thrown away.
pub fn restore(project: &Path, location: &Location, from: Option<&Path>, user: &str) -> Result<Restored, Failure> {
    if location.url.is_some() {
        return Err(Failure::new(Code::StateNoBackup, "the state is kept in a database, which has its own backups")
            .with_help("Restore the database with its own tools, pg_restore for instance."));
    }
    let folder = location.folder(project);
    refuse_live(&folder)?;
    let chosen: Option<PathBuf> = match from {
        Some(file) if is_good(file) => Some(file.to_path_buf()),
        Some(file) => {
            return Err(Failure::new(
                Code::StateCorrupt,
                format!("the backup {} cannot be read or is damaged", file.display()),
            )
            .with_help("Name another one; `provision state backups` lists them."));
        }
        None => list(&folder).into_iter().map(|row| PathBuf::from(row.file)).find(|file| is_good(file)),
    };
    let chosen = chosen.ok_or_else(|| {
        Failure::new(Code::StateNoBackup, format!("there is no good backup in {}", folder.display()))
            .with_help("Name a backup with --from, or begin anew and adopt what is there with `provision import`.")
    })?;
    let head = crate::head::head_in(&folder);
    let stamp = stamp(Machine.now());
    let aside = folder.join(format!("damaged-{stamp}"));
    let failed = |error: std::io::Error| file_io("restore", &error);
    files::folder(&aside).map_err(failed)?;
    for name in files() {
        let file = folder.join(&name);
        if file.exists() {
            std::fs::rename(&file, aside.join(&name)).map_err(failed)?;
        }
    }
    let put = put_back(project, location, &folder, &chosen, head, user);
    let store = put.inspect_err(|_| {
        // What cannot be restored leaves everything as it was.
        for name in files() {
            let _ = std::fs::remove_file(folder.join(&name));
            let _ = std::fs::rename(aside.join(&name), folder.join(&name));
        }
        let _ = std::fs::remove_dir(&aside);
    })?;
    Ok(Restored {
        backup: chosen.display().to_string(),
        serial: store.serial()?,
        resources: store.resources()?.len(),
        damaged: aside.display().to_string(),
    })
}

/// The files that a state in a file is made of.
fn files() -> [String; 4] {
    [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-shm"), crate::head::HEAD.to_owned()]
}

/// Copies a backup to where the state is, and notes that in its audit log.
fn put_back(
    project: &Path,
    location: &Location,
    folder: &Path,
    chosen: &Path,
    head: Option<crate::audit::Head>,
    user: &str,
) -> Result<Arc<Store>, Failure> {
    let failed = |error: std::io::Error| file_io("restore", &error);
    let beside = folder.join(format!("{FILE}.new"));
    std::fs::copy(chosen, &beside).map_err(failed)?;
    std::fs::File::open(&beside).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, folder.join(FILE)).map_err(failed)?;
    let store: Arc<Store> = Store::open_at(project, location)?;
    // The lease of the backup was somebody's who is done.
    store.write(|database| database.run("update lease set fencing = fencing + 1, expires_at = 0", &[]))?;
    let lease = crate::Lease::acquire(&store, user)?;
    let mut detail = Map::new();
    detail.insert("backup".into(), Json::from(chosen.display().to_string()));
    crate::audit::cut(store.audited()? + 1, head, &mut detail);
    store.audit(&lease, crate::audit::RESTORE, None, detail)?;
    // What was made since is in the clouds, and not in this state.
    store.set_behind(&lease)?;
    store.checkpoint()?;
    Ok(store)
}

/// A state somebody is writing to is not put aside under them.
fn refuse_live(folder: &Path) -> Result<(), Failure> {
    let file = folder.join(FILE);
    if !file.is_file() {
        return Ok(());
    }
    let held = Sqlite::open(&file).and_then(|mut database| {
        let row = database.row("select owner, expires_at from lease where one = 1", &[])?;
        Ok(row.filter(|row| row.int(1) != 0).map(|row| row.text(0).to_owned()))
    });
    let owner = match held {
        Ok(owner) => owner,
        // What cannot be read holds nobody back.
        Err(error) if error.trouble != Trouble::ReadOnly => None,
        Err(error) => return Err(error.failure("read")),
    };
    match owner.and_then(|owner| serde_json::from_str::<crate::LeaseInfo>(&owner).ok()) {
        Some(info) if !info.is_dead(&crate::LeaseInfo::here("", 0)) => {
            Err(Failure::new(Code::LeaseHeld, format!("the state is in use by {info}"))
                .with_help("Wait for it to finish, or stop that process."))
        }
        _ => Ok(()),
    }
}
