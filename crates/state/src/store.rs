//! Owns the store: the state of one project, where it is kept, and how it is read and written.

use crate::commit::Committer;
use crate::db::{Database, DbError, Dialect, Row, Trouble, Val, vals};
use crate::files::{self, Presence};
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::{Ambient, AuditEntry, Lease, Machine, NewChange, Sealer, file_io, io, lease, schema};
use provision_diagnostic::{Code, Failure};
use provision_model::{Json, Map, Time};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The file of a state that is kept in the project.
pub const FILE: &str = "state.db";

/// Where a state is kept when it is not a file of the project.
#[derive(Clone, Default)]
pub struct Location {
    /// `postgresql://…`; `None` for the project's own file.
    pub url: Option<String>,
    /// The password, where the URL has none.
    pub password: Option<String>,
    /// The state's key, where it is not a file of the project.
    pub key: Option<String>,
    /// The environment it is the state of: each has one of its own.
    pub environment: Option<String>,
}

impl Location {
    /// The folder of a project's state and of what belongs to it.
    pub fn folder(&self, project: &Path) -> PathBuf {
        let folder = project.join(".provision");
        match &self.environment {
            Some(environment) => folder.join("environments").join(environment),
            None => folder,
        }
    }

    /// Whether the project's folder has it; one in a database elsewhere is there only when it is asked for.
    pub fn is_there(&self, project: &Path) -> bool {
        self.url.is_none() && self.folder(project).join(FILE).is_file()
    }
}

/// The state of one project.
pub struct Store {
    pub(crate) committer: Committer,
    pub(crate) dialect: Dialect,
    folder: PathBuf,
    lineage: String,
    sealer: Arc<Sealer>,
    ambient: Arc<dyn Ambient>,
    /// Set once everything that is sealed was opened, to know what must not be told.
    pub(crate) swept: OnceLock<()>,
    /// Nobody may write here: what a command would only note is not noted.
    pub(crate) read_only: bool,
    /// Whether who acts is known from the environment alone.
    claimed: AtomicBool,
    /// The files that were made for it, where it was not there before.
    made: Option<Made>,
    /// While it is open, nobody takes its folder away.
    presence: Option<Presence>,
}

/// What opening a state made.
#[derive(Default)]
struct Made {
    key: bool,
    ignore: Option<PathBuf>,
    /// Folders, the outermost first.
    folders: Vec<PathBuf>,
}

/// Tables whose rows are what somebody did; a state without any was only looked at.
const DONE: &[&str] =
    &["resources", "journal", "plans", "outputs", "policies", "approvals", "history", "versions", "audit", "drift"];

impl Store {
    /// Opens the state in `<project>/.provision`, making it when it is not there.
    pub fn open(project: &Path) -> Result<Arc<Store>, Failure> {
        Self::open_at(project, &Location::default())
    }

    /// Opens the state where it is kept, making it when it is not there.
    pub fn open_at(project: &Path, location: &Location) -> Result<Arc<Store>, Failure> {
        let folder = location.folder(project);
        let failed = |error: std::io::Error| file_io("create", &error);
        if location.url.is_none() && Sqlite::may_only_read(&folder.join(FILE)) {
            return Self::open_to_read(folder, location.key.as_deref());
        }
        let mut made = Made { key: location.key.is_none() && !Sealer::exists(&folder), ..Made::default() };
        made.folders = folder.ancestors().take_while(|it| *it != project && !it.exists()).map(Path::to_owned).collect();
        made.folders.reverse();
        let presence = Presence::enter(&folder).map_err(failed)?;
        for open in [project.join(".provision"), folder.clone()] {
            files::close(&open, 0o700);
        }
        let ignore = project.join(".provision/.gitignore");
        if !ignore.exists() && files::write_new(&ignore, "*\n").map_err(failed)? {
            made.ignore = Some(ignore);
        }
        let database: Box<dyn Database> = match &location.url {
            None if is_lost(&folder) => {
                return Err(Failure::new(
                    Code::StateCorrupt,
                    format!("the state is empty, but there was one: {}", folder.join(FILE).display()),
                )
                .with_help(
                    "Run `provision state restore` to go back to the newest good backup. Without one, rename the folder `.provision`, which keeps what is left of it, and adopt what exists with `provision import`.",
                ));
            }
            None => {
                let file = folder.join(FILE);
                let is_new = !file.exists() && create(&file, &folder, location.key.as_deref())?;
                let open = || Sqlite::open(&file).map_err(|error| error.failure("open"));
                let (mut writer, reader) = (open()?, open()?);
                // What reads must find the tables.
                let from = schema::migrate(&mut writer)?;
                let (writer, reader) = (Box::new(writer), Some(Box::new(reader) as Box<dyn Database>));
                let mut store =
                    Self::assembled(writer, reader, folder, location.key.as_deref(), from, Arc::new(Machine))?;
                store.made = is_new.then_some(made);
                store.presence = presence;
                store.begin_head(from)?;
                return Ok(Arc::new(store));
            }
            Some(url) => {
                let environment = location.environment.as_deref();
                Box::new(Postgres::connect(url, location.password.as_deref(), environment)?)
            }
        };
        let mut database = database;
        let from = schema::migrate(&mut *database)?;
        let mut store = Self::assembled(database, None, folder, location.key.as_deref(), from, Arc::new(Machine))?;
        store.presence = presence;
        Ok(Arc::new(store))
    }

    /// A state in memory, for simulations: it is gone when it is dropped. Its key is made anew.
    pub fn in_memory() -> Result<Arc<Store>, Failure> {
        let database = Sqlite::in_memory().map_err(|error| error.failure("open"))?;
        Self::over(Box::new(database), PathBuf::new(), Some(&Sealer::fresh_key()))
    }

    /// The same with a lineage that is given, so that what it marks is the same every time.
    pub fn in_memory_as(lineage: &str) -> Result<Arc<Store>, Failure> {
        let mut database = Sqlite::in_memory().map_err(|error| error.failure("open"))?;
        schema::migrate(&mut database)?;
        let lineage = lineage.to_owned();
        let named = database.run("insert into meta (key, value) values ('lineage', ?1)", vals![lineage]);
        named.map_err(|error| error.failure("open"))?;
        Self::over(Box::new(database), PathBuf::new(), Some(&Sealer::fresh_key()))
    }

    /// A state over a database, with its key given or kept in the folder.
    pub fn over(database: Box<dyn Database>, folder: PathBuf, key: Option<&str>) -> Result<Arc<Store>, Failure> {
        Self::over_in(database, folder, key, Arc::new(Machine))
    }

    /// The same in another world than this machine's.
    pub fn over_in(
        mut database: Box<dyn Database>,
        folder: PathBuf,
        key: Option<&str>,
        ambient: Arc<dyn Ambient>,
    ) -> Result<Arc<Store>, Failure> {
        let from = schema::migrate(&mut *database)?;
        Self::assembled(database, None, folder, key, from, ambient).map(Arc::new)
    }

    /// Opens a state that may only be read: nothing is made, and nothing is written.
    fn open_to_read(folder: PathBuf, key: Option<&str>) -> Result<Arc<Store>, Failure> {
        let mut database = Sqlite::open_to_read(&folder.join(FILE)).map_err(|error| error.failure("open"))?;
        schema::refuse_other(&mut database)?;
        let mut store =
            Self::assembled(Box::new(database), None, folder, key, schema::SCHEMA_VERSION, Arc::new(Machine))?;
        store.read_only = true;
        Ok(Arc::new(store))
    }

    fn assembled(
        writer: Box<dyn Database>,
        reader: Option<Box<dyn Database>>,
        folder: PathBuf,
        key: Option<&str>,
        from: i64,
        ambient: Arc<dyn Ambient>,
    ) -> Result<Store, Failure> {
        let dialect = writer.dialect();
        let committer = Committer::new(writer, reader);
        let opened = |error: DbError| error.failure("open");
        let public_key = || committer.read(|database| meta(database, "public_key")).map_err(opened);
        let known = public_key()?;
        let is_known = known.is_some();
        let mut sealer = Arc::new(open_sealer(known, &folder, key)?);
        let known = committer.read(|database| meta(database, "lineage")).map_err(opened)?.filter(|_| is_known);
        // Who only looks must not wait for one who writes, who may have been stopped while it did.
        let lineage = match known {
            Some(lineage) => lineage,
            None => {
                let (own, fresh) = (sealer.public_key(), ambient.id());
                let lineage = committer.write(move |database| name(database, &own, &fresh)).map_err(opened)?;
                // Somebody else may have given it a key in the same instant.
                sealer = Arc::new(open_sealer(public_key()?, &folder, key)?);
                lineage
            }
        };
        let store = Store {
            committer,
            dialect,
            folder,
            lineage,
            sealer,
            ambient,
            swept: OnceLock::new(),
            claimed: AtomicBool::new(false),
            read_only: false,
            made: None,
            presence: None,
        };
        if from < schema::PROVED_FROM {
            store.prove_as_is()?;
        }
        Ok(store)
    }

    /// Proves what an older version wrote, and had no proofs for, as it is.
    pub(crate) fn prove_as_is(&self) -> Result<(), Failure> {
        let (chain, policies) = (self.chain(), self.policies_as_stored()?);
        let text = crate::resources::policies_text(policies.as_ref())?;
        self.write(move |database| {
            if let Some((seq, hash)) = crate::audit::head_of(database)?.filter(|(seq, _)| *seq > 0) {
                chain.prove(database, crate::proofs::LOG, &crate::audit::end_text(seq, &hash))?;
            }
            if policies.is_some() {
                chain.prove(database, crate::proofs::POLICIES, &text)?;
            }
            Ok(())
        })
    }

    /// Has the audit log say of each entry that follows that nothing but the environment vouches for its actor.
    pub fn claim_actor(&self) {
        self.claimed.store(true, Ordering::Relaxed);
    }

    /// An entry of the audit log with what vouches for its actor, where that is not the operating system.
    pub(crate) fn vouched(&self, mut entry: AuditEntry) -> AuditEntry {
        self.vouch(&mut entry.detail);
        entry
    }

    /// The same for the entry that a change begins with.
    pub(crate) fn vouched_change(&self, change: &NewChange) -> NewChange {
        let mut change = change.clone();
        self.vouch(&mut change.detail);
        change
    }

    fn vouch(&self, detail: &mut Map) {
        if self.claimed.load(Ordering::Relaxed) {
            detail.insert("actor_from".to_owned(), Json::from("env"));
        }
    }

    /// Whether a project has a state of its own.
    pub fn exists(project: &Path) -> bool {
        project.join(".provision").join(FILE).is_file()
    }

    /// `<project>/.provision`; empty for a state in memory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What marks this state's resources in the clouds.
    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// What its entries are chained and vouched for with.
    pub(crate) fn chain(&self) -> crate::proofs::Chain {
        crate::proofs::Chain {
            lineage: self.lineage.clone(),
            sealer: self.sealer.clone(),
            ambient: self.ambient.clone(),
        }
    }

    /// The project whose state it is, once something was applied.
    pub fn project(&self) -> Result<Option<String>, Failure> {
        self.read(|database| meta(database, "project"))
    }

    /// Notes whose state it is, where that is not known yet.
    pub fn pin_project(&self, lease: &Lease, name: &str) -> Result<(), Failure> {
        if name.is_empty() || self.project()?.is_some() {
            return Ok(());
        }
        let name = name.to_owned();
        self.fenced(lease, move |database| set_meta(database, "project", &name))
    }

    /// Makes it the state of a project, whoever's it was; gives the one that it was of.
    pub fn adopt_project(&self, lease: &Lease, name: &str) -> Result<Option<String>, Failure> {
        let before = self.project()?;
        let mut detail = provision_model::Map::new();
        detail.insert("before".into(), serde_json::json!(before));
        detail.insert("after".into(), name.into());
        let (chain, name) = (self.chain(), name.to_owned());
        let entry = self.audit_entry(lease, "state.adopt-project", None, detail);
        self.fenced(lease, move |database| {
            set_meta(database, "project", &name)?;
            crate::audit::append(database, &chain, &entry)
        })?;
        Ok(before)
    }

    /// The time of day.
    pub fn now(&self) -> Time {
        self.ambient.now()
    }

    /// A name that nothing else has.
    pub fn new_id(&self) -> String {
        self.ambient.id()
    }

    /// Seals and opens sensitive values.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    pub(crate) fn write<T: Send + 'static>(
        &self,
        body: impl Fn(&mut dyn Database) -> Result<T, DbError> + Send + Sync + 'static,
    ) -> Result<T, Failure> {
        self.committer.write(body).map_err(|error| error.failure("write"))
    }

    /// A write that only the holder of the lease may do; the number is checked in the same transaction.
    pub(crate) fn fenced<T: Send + 'static>(
        &self,
        lease: &Lease,
        body: impl Fn(&mut dyn Database) -> Result<T, DbError> + Send + Sync + 'static,
    ) -> Result<T, Failure> {
        let number = lease.fencing();
        let done = self.write(move |database| {
            let current = format!("select fencing from lease where one = 1{}", database.for_update());
            if database.row(&current, &[])?.is_none_or(|row| row.int(0) != number) {
                return Ok(None);
            }
            body(database).map(Some)
        })?;
        done.ok_or_else(lease::lost)
    }

    pub(crate) fn read<T>(&self, body: impl Fn(&mut dyn Database) -> Result<T, DbError>) -> Result<T, Failure> {
        self.committer.read(body).map_err(|error| error.failure("read"))
    }

    pub(crate) fn rows(&self, sql: &str, values: &[Val]) -> Result<Vec<Row>, Failure> {
        self.read(|database| database.rows(sql, values))
    }

    pub(crate) fn one<T: DeserializeOwned>(&self, sql: &str, key: &str) -> Result<Option<T>, Failure> {
        let found = self.read(|database| database.row(sql, vals![key]))?;
        found.map(|row| parsed(row.text(0))).transpose()
    }
}

impl Drop for Store {
    /// Takes a state away again that was made to be looked at, or by a command that failed: nothing was written to it.
    fn drop(&mut self) {
        let (Some(made), Some(presence)) = (self.made.take(), self.presence.take()) else { return };
        let Ok(nothing) = Sqlite::in_memory() else { return };
        // Its own connections would be in the way.
        self.committer = Committer::new(Box::new(nothing), None);
        // Whoever else is there keeps it.
        if presence.is_alone() {
            let _ = self.take_back(&made);
        }
    }
}

impl Store {
    fn take_back(&self, made: &Made) -> Result<(), DbError> {
        let file = self.folder.join(FILE);
        let beside = std::fs::read_dir(&self.folder).map_err(|error| DbError::new(Trouble::Other, error))?;
        let ours = |name: &std::ffi::OsStr| {
            let name = name.to_string_lossy();
            let parts = [FILE, files::UNFINISHED];
            parts.iter().any(|part| name.starts_with(part))
                || [crate::seal::KEY, crate::head::HEAD, ".gitignore"].contains(&&*name)
        };
        if beside.filter_map(Result::ok).any(|entry| !ours(&entry.file_name())) {
            return Ok(());
        }
        let mut database = Sqlite::open(&file)?;
        // Whoever has it open too keeps it.
        database.script("pragma busy_timeout = 0")?;
        let alone = database.row("pragma journal_mode = delete", &[])?;
        if alone.is_none_or(|row| row.text(0) != "delete") {
            return Ok(());
        }
        database.script("begin exclusive")?;
        for table in DONE {
            if database.row(&format!("select 1 from {table} limit 1"), &[])?.is_some() {
                database.script("rollback")?;
                return database.script("pragma journal_mode = wal");
            }
        }
        // The key first: who opens the state in this instant must not seal with one that goes.
        if made.key {
            let _ = std::fs::remove_file(self.folder.join(crate::seal::KEY));
        }
        // Then its head: beside it another one would be taken for an older state.
        let _ = std::fs::remove_file(self.folder.join(crate::head::HEAD));
        let _ = std::fs::remove_file(&file);
        drop(database);
        for name in [format!("{FILE}-wal"), format!("{FILE}-shm"), format!("{FILE}-journal")] {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
        let root_goes = made.folders.first().is_some_and(|first| first.ends_with(".provision"));
        if let (Some(ignore), true) = (&made.ignore, root_goes) {
            let _ = std::fs::remove_file(ignore);
        }
        for folder in made.folders.iter().rev() {
            // One that holds something else stays.
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// Makes a state beside its place and puts it there whole, so that nobody ever finds half of one; false where somebody else
/// was first.
fn create(file: &Path, folder: &Path, key: Option<&str>) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| file_io("create", &error);
    let public_key = open_sealer(None, folder, key)?.public_key();
    let beside = files::beside(file, files::PRIVATE).map_err(failed)?;
    let mut database = Sqlite::open(beside.path()).map_err(|error| error.failure("create"))?;
    schema::migrate(&mut database)?;
    let finish = |database: &mut Sqlite| {
        name(database, &public_key, &Machine.id())?;
        // Its log goes into the file.
        database.row("pragma journal_mode = delete", &[])
    };
    finish(&mut database).map_err(|error| error.failure("create"))?;
    drop(database);
    files::put(beside, file, true).map_err(failed)
}

/// Gives a new state its lineage and the public half of its key; the one it has stays.
fn name(database: &mut dyn Database, public_key: &str, fresh: &str) -> Result<String, DbError> {
    for (name, value) in [("lineage", fresh), ("public_key", public_key)] {
        let sql = "insert into meta (key, value) values (?1, ?2) on conflict do nothing";
        database.run(sql, vals![name, value])?;
    }
    Ok(meta(database, "lineage")?.unwrap_or_default())
}

/// Whether a folder had a state that is not there any more: what is empty must not be taken for new.
fn is_lost(folder: &Path) -> bool {
    match std::fs::metadata(folder.join(FILE)) {
        Ok(data) => data.len() == 0,
        Err(_) => folder.join(crate::head::HEAD).exists() || !crate::backups(folder).is_empty(),
    }
}

/// Data of a column.
pub(crate) fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(Code::StateCorrupt, format!("the state holds data that cannot be read: {error}"))
            .with_help("Run `provision state restore` to go back to the newest good backup.")
    })
}

/// Data for a column.
pub(crate) fn text_of(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| io("write", &error))
}

pub(crate) fn meta(database: &mut dyn Database, key: &str) -> Result<Option<String>, DbError> {
    let row = database.row("select value from meta where key = ?1", vals![key])?;
    Ok(row.map(|row| row.text(0).to_owned()))
}

pub(crate) fn set_meta(database: &mut dyn Database, key: &str, value: &str) -> Result<(), DbError> {
    let sql = "insert into meta (key, value) values (?1, ?2) on conflict (key) do update set value = excluded.value";
    database.run(sql, vals![key, value])?;
    Ok(())
}

/// The state's key. One that was lost is an error: a new one could not open what the old one sealed.
fn open_sealer(known: Option<String>, folder: &Path, key: Option<&str>) -> Result<Sealer, Failure> {
    let place = folder.join(crate::seal::KEY);
    let lost = |what: &str| {
        let message = match key {
            Some(_) => format!("the key of the state {what}: PROVISION_STATE_KEY"),
            None => format!("the key of the state {what}: {}", place.display()),
        };
        Failure::new(Code::StateIo, message)
            .with_help("Put the key back from a backup; what it sealed cannot be opened without it.")
    };
    let sealer = match key {
        Some(key) => Sealer::from_key(key)?,
        None => {
            if known.is_some() && !Sealer::exists(folder) {
                return Err(lost("is gone"));
            }
            Sealer::open(folder)?
        }
    };
    match known {
        Some(known) if known != sealer.public_key() => match Sealer::next(folder, &known).filter(|_| key.is_none()) {
            // The state was sealed anew, and a crash came before the new key was in its place.
            Some(next) => crate::rekey::take_over(folder).map(|()| next),
            None => Err(lost("is another one")),
        },
        _ => Ok(sealer),
    }
}
