//! Owns the simulation: the engine, its state and the clouds in one process, with a clock that only waiting moves, and a
//! life that ends where the dice say.

mod life;

pub use life::{Broken, Death, LATEST};

use life::{A_DAY, Clouds, EPOCH_MS, KEY, Life, Mortal, Shared, Unwritten, World};
use provision_engine::{Actor, ApplyOptions, Host, Input, Outside, PlanOptions, Project, Session, Stop};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use provision_sandbox::{Faults, Options, Simulation, control};
use provision_state::{Database, Lease, Sqlite, Store, Val};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A project's whole world: what is configured comes from outside, everything else is here.
pub struct Simulated {
    clouds: Arc<Clouds>,
    database: Shared,
    key: String,
    /// The project's folder, which outlives every process too.
    folder: tempfile::TempDir,
    /// Where the state is that was put back.
    older: Option<tempfile::TempDir>,
    unwritten: Unwritten,
    /// Whether the last process died.
    died: AtomicBool,
    pub broken: Option<Broken>,
    /// How many operations go on at a time. With more than one the seed does not tell which of them is first.
    pub parallel: usize,
    /// How many of the requests that change something arrive late, with nobody waiting for them any more.
    pub late: f64,
}

/// How one life went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lived {
    pub commits: i64,
    pub calls: i64,
    /// The numbers of the calls that may change something.
    pub changing: Vec<i64>,
    pub waits: i64,
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
            simulation: Mutex::new(Simulation::new(options, 0).unwrap()),
            begun: Instant::now(),
            epoch: EPOCH_MS,
            passed: AtomicU64::new(0),
            under_way: Mutex::default(),
            told: Mutex::default(),
        };
        Self {
            clouds: Arc::new(clouds),
            database: Arc::new(Mutex::new(database)),
            key: KEY.to_owned(),
            folder: tempfile::Builder::new().prefix("nup").tempdir().unwrap(),
            older: None,
            unwritten: Unwritten::default(),
            died: AtomicBool::new(false),
            broken: None,
            parallel: 1,
            late: 0.0,
        }
    }

    /// Goes on with the state as it is now, whatever is done to it in between, as `provision state restore` does.
    pub fn put_back(&mut self, between: impl FnOnce(&Self)) {
        let folder = tempfile::Builder::new().prefix("nup").tempdir().unwrap();
        let file = folder.path().join("state.db");
        let target = Val::Text(file.display().to_string());
        self.database.lock().unwrap_or_else(PoisonError::into_inner).run("vacuum into ?1", &[target]).unwrap();
        between(self);
        self.database = Arc::new(Mutex::new(Box::new(Sqlite::open(&file).unwrap())));
        self.older = Some(folder);
        let store = self.session(&Arc::new(Life::default()), 0).unwrap().workspace.store;
        store.set_behind(&Lease::acquire(&store, "ada").unwrap()).unwrap();
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

    /// The story as it went: everything that was sent, with its time and its answer, and the audit log. Digests of what holds
    /// something sealed are left out: the same secret is sealed otherwise every time.
    pub fn told(&self) -> Vec<String> {
        let mut all = self.clouds.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sql = "select data from audit order by seq";
        let log = self.database.lock().unwrap_or_else(PoisonError::into_inner).rows(sql, &[]).unwrap();
        for row in log {
            let mut entry: Value = serde_json::from_str(row.text(0)).unwrap();
            if let Some(detail) = entry["detail"].as_object_mut() {
                ["history", "plan", "digest"].iter().for_each(|name| _ = detail.remove(*name));
            }
            all.push(entry.to_string());
        }
        all
    }

    /// What the clouds hold: scope, kind and id.
    pub fn held(&self) -> Vec<(String, String, String)> {
        // Everything that takes time has happened by then.
        let later = self.clouds.now_ms() + 3_600_000;
        let held = self.clouds.simulation().held(later);
        // A server's own disk comes and goes with it.
        let disks: HashSet<String> = held
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
        // The one before is over; that its lease is free is for the new one to find out. What it was told is durable, and was
        // not, is lost if it died.
        let kept = self.unwritten.swap(false, Ordering::SeqCst) && !self.died.load(Ordering::SeqCst);
        let end = if kept { "commit" } else { "rollback" };
        let _ = self.database.lock().unwrap_or_else(PoisonError::into_inner).script(end);
        let variables = control::environment("http://127.0.0.1:9", "secret");
        let env = move |name: &str| variables.get(name).cloned();
        let stop = Stop::default();
        let world = Arc::new(World {
            clouds: self.clouds.clone(),
            life: life.clone(),
            stop: stop.clone(),
            late: self.late,
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
            undeleted: Mutex::default(),
        });
        let mortal = Mortal {
            database: self.database.clone(),
            life: life.clone(),
            clouds: self.clouds.clone(),
            unwritten: self.unwritten.clone(),
        };
        let store = Store::over_in(Box::new(mortal), PathBuf::new(), Some(&self.key), world.clone())?;
        // A thread that was waited for is seen for a moment after its end.
        let end = Instant::now() + Duration::from_secs(2);
        while store.lease_row()?.is_some_and(|row| row.status == "held") && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let project = Project::new(self.folder.path().to_path_buf(), registry(), Evaluator::default());
        let mut outside = Outside { clock: world.clone(), wire: Some(world), ..Outside::default() };
        if self.broken == Some(Broken::Lingering) {
            outside.answer_timeout = Duration::from_millis(1);
        }
        let mut host = Host::over(Arc::new(env), outside);
        (host.stop, host.readers, host.settlers) = (stop, 1, if self.parallel == 1 { 1 } else { 64 });
        Ok(Session::over(store, project, host, Actor::vouched("ada", "cli")))
    }

    /// One process that plans and applies a configuration, and perhaps dies of it.
    pub fn apply(&self, config: &Value, seed: u64, death: Option<Death>) -> (Lived, Result<(), String>) {
        let wrong_by = StdRng::seed_from_u64(seed).random_range(-A_DAY..=A_DAY);
        let life = Arc::new(Life { death, wrong_by, broken: self.broken, ..Life::default() });
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
        self.died.store(life.is_over(), Ordering::SeqCst);
        let lived = Lived {
            commits: life.commits.load(Ordering::SeqCst),
            calls: life.calls.load(Ordering::SeqCst),
            changing: life.changing.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            waits: life.waits.load(Ordering::SeqCst),
            died: life.is_over() || life.full.load(Ordering::SeqCst) || life.panicked.load(Ordering::SeqCst),
        };
        (lived, done)
    }

    /// Everything that must hold when a plain apply has gone through. `Err` says what does not.
    pub fn check(&self, config: &Value) -> Result<(), String> {
        // By then everything that was ever sent has arrived.
        self.clouds.pass(Duration::from_millis(2 * LATEST));
        let life = Arc::new(Life::default());
        let session = self.session(&life, 0).map_err(|failure| failure.to_string())?;
        let told = |failure: provision_diagnostic::Failure| failure.to_string();
        let state = session.workspace.store.resources().map_err(told)?;
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
        let open = session.workspace.store.open_entries().map_err(told)?;
        if !open.is_empty() {
            return Err(format!("operations are open: {open:?}"));
        }
        if let Some(lease) = session.workspace.store.lease_row().map_err(told)? {
            return Err(format!("the lease is held: {lease:?}"));
        }
        let plan = session
            .plan(&Input::Data { value: config.clone(), note: None }, &PlanOptions { deep: true, ..Default::default() })
            .map_err(told)?;
        let left: Vec<String> = plan.rows().map(|row| format!("{} {}", row.action.name(), row.address)).collect();
        if !left.is_empty() {
            return Err(format!("there is more to do: {left:?}"));
        }
        let verified = session.workspace.store.verify_audit(&[]).map_err(told)?;
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
