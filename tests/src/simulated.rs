//! Owns the simulation: the engine, its state and the clouds in one process, with a clock that only waiting moves, and a
//! life that ends where the dice say.

use provision_engine::{
    ApplyOptions, Clock, Input, Outside, PlanOptions, Sabotage, Session, Wire, WireAnswer, WireError, WireRequest,
};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use provision_sandbox::{Faults, Options, Simulation, control};
use provision_state::{Database, DbError, Dialect, Row, Sealer, Sqlite, Store, Trouble, Val};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Where a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Just before the n-th commit (from 1) would be durable.
    BeforeCommit(i64),
    /// Just after it is.
    AfterCommit(i64),
    /// The n-th request never leaves.
    BeforeCall(i64),
    /// It took effect, and nobody hears the answer.
    AfterCall(i64),
    /// No death: whoever sends the n-th request panics once it took effect.
    PanicAfterCall(i64),
    /// No death: from the n-th commit on there is no space on the disk, while requests still leave.
    FullAt(i64),
}

/// One process's life.
#[derive(Default)]
struct Life {
    death: Option<Death>,
    commits: AtomicI64,
    calls: AtomicI64,
    dead: AtomicBool,
    full: AtomicBool,
    panicked: AtomicBool,
}

impl Life {
    fn is_over(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn end_at(&self, here: Death) -> bool {
        if self.death == Some(here) {
            self.dead.store(true, Ordering::SeqCst);
        }
        self.is_over()
    }
}

/// The database as it outlives every process.
type Shared = Arc<Mutex<Box<dyn Database>>>;

/// The database as one life sees it. What was committed outlives it.
struct Mortal {
    database: Shared,
    life: Arc<Life>,
}

impl Mortal {
    fn alive<T>(&self, body: impl FnOnce(&mut dyn Database) -> Result<T, DbError>) -> Result<T, DbError> {
        if self.life.is_over() {
            return Err(DbError::new(Trouble::Other, "the process is dead"));
        }
        body(&mut **self.database.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn roll_back(&self) {
        let _ = self.database.lock().unwrap_or_else(PoisonError::into_inner).script("rollback");
    }
}

impl Database for Mortal {
    fn dialect(&self) -> Dialect {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).dialect()
    }

    fn run(&mut self, sql: &str, values: &[Val]) -> Result<u64, DbError> {
        self.alive(|database| database.run(sql, values))
    }

    fn rows(&mut self, sql: &str, values: &[Val]) -> Result<Vec<Row>, DbError> {
        self.alive(|database| database.rows(sql, values))
    }

    fn script(&mut self, sql: &str) -> Result<(), DbError> {
        if sql != "commit" {
            return self.alive(|database| database.script(sql));
        }
        let number = self.life.commits.fetch_add(1, Ordering::SeqCst) + 1;
        if matches!(self.life.death, Some(Death::FullAt(at)) if number >= at) {
            self.life.full.store(true, Ordering::SeqCst);
            self.roll_back();
            return Err(DbError::new(Trouble::Full, "database or disk is full"));
        }
        if self.life.end_at(Death::BeforeCommit(number)) {
            self.roll_back();
            return Err(DbError::new(Trouble::Other, "the process is dead"));
        }
        let done = self.alive(|database| database.script(sql));
        match self.life.end_at(Death::AfterCommit(number)) {
            true => Err(DbError::new(Trouble::Other, "the process is dead")),
            false => done,
        }
    }

    fn revive(&mut self) -> Result<(), DbError> {
        Ok(())
    }
}

/// The clouds and the time, which outlive every process.
struct Clouds {
    simulation: Mutex<Simulation>,
    begun: Instant,
    /// Milliseconds since the epoch when it began.
    epoch: i64,
    passed: AtomicU64,
}

impl Clouds {
    fn now_ms(&self) -> i64 {
        self.epoch + self.passed.load(Ordering::SeqCst) as i64
    }

    fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 3_600_000);
        self.passed.fetch_add(ms, Ordering::SeqCst);
    }

    fn simulation(&self) -> std::sync::MutexGuard<'_, Simulation> {
        self.simulation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clock and wire of one life.
struct World {
    clouds: Arc<Clouds>,
    life: Arc<Life>,
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.clouds.begun + Duration::from_millis(self.clouds.passed.load(Ordering::SeqCst))
    }

    fn wall(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + Duration::from_millis(self.clouds.now_ms().unsigned_abs())
    }

    fn wait(&self, time: Duration) {
        self.clouds.pass(time);
    }
}

impl Wire for World {
    fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
        let number = self.life.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.life.is_over() || self.life.end_at(Death::BeforeCall(number)) {
            return Err(WireError::NotSent("the process is dead".into()));
        }
        self.clouds.pass(Duration::from_millis(5));
        let path = request.url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
        let mut headers: Vec<(String, String)> =
            request.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        headers.push(("host".into(), "127.0.0.1:9".into()));
        let answer = self.clouds.simulation().answer(
            &request.method,
            &path.unwrap_or_else(|| "/".into()),
            headers,
            request.body.unwrap_or_default(),
            self.clouds.now_ms(),
        );
        if self.life.death == Some(Death::PanicAfterCall(number)) {
            self.life.panicked.store(true, Ordering::SeqCst);
            panic!("request {number} panics");
        }
        if self.life.end_at(Death::AfterCall(number)) {
            return Err(WireError::Lost("the process is dead".into()));
        }
        let answer = answer.ok_or_else(|| WireError::Lost("the connection was closed".into()))?;
        Ok(WireAnswer { status: answer.status, headers: answer.headers, body: answer.body })
    }
}

/// A project's whole world: what is configured comes from outside, everything else is here.
pub struct Simulated {
    clouds: Arc<Clouds>,
    database: Shared,
    key: String,
    /// The project's folder, which outlives every process too.
    folder: tempfile::TempDir,
    pub sabotage: Option<Sabotage>,
    /// How many operations go on at a time. With more than one the seed does not tell which of them is first.
    pub parallel: usize,
}

/// How one life went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lived {
    pub commits: i64,
    pub calls: i64,
    pub died: bool,
}

fn registry() -> Arc<Registry> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    REGISTRY.get_or_init(|| Arc::new(Registry::load(None, None, &Evaluator::default()).unwrap())).clone()
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulated {
    /// Empty clouds and an empty state in memory.
    pub fn new() -> Self {
        Self::on(Box::new(Sqlite::in_memory().unwrap()))
    }

    /// Empty clouds and a state in an empty database.
    pub fn on(database: Box<dyn Database>) -> Self {
        let options = Options { action_duration: Duration::from_millis(300), ..Options::default() };
        let clouds = Clouds {
            simulation: Mutex::new(Simulation::new(options).unwrap()),
            begun: Instant::now(),
            epoch: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64,
            passed: AtomicU64::new(0),
        };
        Self {
            clouds: Arc::new(clouds),
            database: Arc::new(Mutex::new(database)),
            key: Sealer::fresh_key(),
            folder: tempfile::Builder::new().prefix("nup").tempdir().unwrap(),
            sabotage: None,
            parallel: 1,
        }
    }

    /// Orders faults of the clouds.
    pub fn faults(&self, faults: Faults) {
        self.clouds.simulation().faults(faults).unwrap();
    }

    /// A request by somebody else.
    pub fn meddle(&self, method: &str, path: &str, body: &Value) -> Option<u16> {
        let headers = vec![
            (
                "authorization".to_owned(),
                match path.starts_with("/1.3") {
                    true => "Basic c2FuZGJveDpzYW5kYm94LXNlY3JldA==".to_owned(),
                    false => "Bearer sandbox".to_owned(),
                },
            ),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        let now = self.clouds.now_ms();
        let answer = self.clouds.simulation().answer(method, path, headers, body.to_string().into_bytes(), now);
        answer.map(|answer| answer.status)
    }

    /// What the clouds hold: scope, kind and id.
    pub fn held(&self) -> Vec<(String, String, String)> {
        // Everything that takes time has happened by then.
        let later = self.clouds.now_ms() + 3_600_000;
        let held = self.clouds.simulation().held(later);
        // A server's own disk comes and goes with it.
        let disks: std::collections::HashSet<String> = held
            .iter()
            .filter(|(_, kind, ..)| kind == "server")
            .flat_map(|(.., value)| value["_devices"].as_array().cloned().unwrap_or_default())
            .filter_map(|disk| disk["storage"].as_str().map(str::to_owned))
            .collect();
        let all = held.into_iter().filter(|(.., id, _)| !disks.contains(id));
        all.map(|(scope, kind, id, _)| (scope, kind, id)).collect()
    }

    /// A session of a new process.
    fn session(&self, life: &Arc<Life>, seed: u64) -> Result<Session, provision_diagnostic::Failure> {
        // The one before is dead, and its lease with it.
        for sql in ["rollback", "update lease set expires_at = 0"] {
            let _ = self.database.lock().unwrap_or_else(PoisonError::into_inner).script(sql);
        }
        let mortal = Mortal { database: self.database.clone(), life: life.clone() };
        let store = Store::over(Box::new(mortal), PathBuf::new(), Some(&self.key))?;
        let variables = control::environment("http://127.0.0.1:9", "secret");
        let env = move |name: &str| variables.get(name).cloned();
        let folder = self.folder.path().to_path_buf();
        let mut session =
            Session::over(store, folder, registry(), Evaluator::default(), Arc::new(env), "ada".to_owned());
        let world = Arc::new(World { clouds: self.clouds.clone(), life: life.clone() });
        session.outside = Outside { clock: world.clone(), wire: Some(world) };
        session.readers = 1;
        session.dice = Some(Mutex::new(StdRng::seed_from_u64(seed)));
        session.sabotage = self.sabotage;
        Ok(session)
    }

    /// One process that plans and applies a configuration, and perhaps dies of it.
    pub fn apply(&self, config: &Value, seed: u64, death: Option<Death>) -> (Lived, Result<(), String>) {
        let life = Arc::new(Life { death, ..Life::default() });
        let run = || -> Result<(), provision_diagnostic::Failure> {
            let session = self.session(&life, seed)?;
            let input = Input::Data { value: config.clone(), note: None };
            let options = ApplyOptions { parallel: self.parallel, yes: true, input, ..ApplyOptions::default() };
            session.apply(None, &options, &|_| {})
        };
        let done = run()
            .map_err(|failure| failure.diagnostics().map(|one| one.message.clone()).collect::<Vec<_>>().join("; "));
        if std::env::var("SIMULATION").is_ok() {
            let calls = self.clouds.simulation();
            let last = calls.requests().map(|it| format!("{} {} {:?} {:?}", it.method, it.path, it.action, it.status));
            let all: Vec<String> = last.collect();
            println!("-- applied: {done:?}, dead: {}\n{}", life.is_over(), all.join("\n"));
        }
        let lived = Lived {
            commits: life.commits.load(Ordering::SeqCst),
            calls: life.calls.load(Ordering::SeqCst),
            died: life.is_over() || life.full.load(Ordering::SeqCst) || life.panicked.load(Ordering::SeqCst),
        };
        (lived, done)
    }

    /// Everything that must hold when a plain apply has gone through. `Err` says what does not.
    pub fn check(&self, config: &Value) -> Result<(), String> {
        let life = Arc::new(Life::default());
        let session = self.session(&life, 0).map_err(|failure| failure.to_string())?;
        let told = |failure: provision_diagnostic::Failure| failure.to_string();
        let state = session.store.resources().map_err(told)?;
        let mut known: Vec<String> = state
            .iter()
            .filter(|resource| !resource.kind.starts_with("local."))
            .map(|resource| resource.remote_id.clone())
            .collect();
        let mut held: Vec<String> = self.held().into_iter().map(|(.., id)| id).collect();
        known.sort();
        held.sort();
        if known != held {
            return Err(format!("the state knows {known:?}, the clouds hold {held:?}"));
        }
        let declared = config["resources"].as_object().map_or(0, serde_json::Map::len);
        if state.len() != declared {
            return Err(format!("{declared} are declared, the state has {}", state.len()));
        }
        let on_disk = files(self.folder.path());
        let wanted: std::collections::BTreeSet<String> = state
            .iter()
            .filter(|resource| resource.kind == "local.file")
            .map(|resource| resource.remote_id.clone())
            .collect();
        if on_disk != wanted {
            return Err(format!("the state knows the files {wanted:?}, the disk holds {on_disk:?}"));
        }
        let open = session.store.open_entries().map_err(told)?;
        if !open.is_empty() {
            return Err(format!("operations are open: {open:?}"));
        }
        if let Some(lease) = session.store.lease_row().map_err(told)? {
            return Err(format!("the lease is held: {lease:?}"));
        }
        let plan = session
            .plan(&Input::Data { value: config.clone(), note: None }, &PlanOptions { deep: true, ..Default::default() })
            .map_err(told)?;
        let left: Vec<String> = plan.rows().map(|row| format!("{} {}", row.action.name(), row.address)).collect();
        if !left.is_empty() {
            return Err(format!("there is more to do: {left:?}"));
        }
        let verified = session.store.verify_audit(&[]).map_err(told)?;
        if !verified.valid {
            return Err(format!("the audit log is broken: {:?}", verified.problems));
        }
        Ok(())
    }
}

/// Every file below a folder, by its path from there.
fn files(folder: &std::path::Path) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(here).unwrap().flatten() {
            match entry.path().is_dir() {
                true => open.push(entry.path()),
                false => {
                    found.insert(entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned());
                }
            }
        }
    }
    found
}
