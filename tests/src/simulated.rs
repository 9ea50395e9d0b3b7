//! Owns the simulation: the engine, its state and the clouds in one process, with a clock that only waiting moves, and a
//! life that ends where the dice say.

use provision_engine::{
    Actor, ApplyOptions, Clock, Host, Input, Outside, PlanOptions, Project, Session, Stop, Wire, WireAnswer, WireError,
    WireRequest,
};
use provision_model::Time;
use provision_nickel::Evaluator;
use provision_registry::Registry;
use provision_sandbox::{Faults, Options, Simulation, control};
use provision_state::{Ambient, Database, DbError, Dialect, Lease, Row, Sqlite, Store, Trouble, Val};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::HashSet;
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
    /// It dies as it sends the n-th request, which arrives so many milliseconds later.
    LateCall(i64, u64),
    /// No death: whoever sends the n-th request panics once it took effect.
    PanicAfterCall(i64),
    /// No death: from the n-th commit on there is no space on the disk, while requests still leave.
    FullAt(i64),
    /// No death: somebody asks it to stop while it waits for the n-th time.
    StopAt(i64),
    /// No death: it is told to drop everything while it waits for the n-th time.
    ParkAt(i64),
    /// The same while it waits for the answer to the n-th request, which arrives so many milliseconds later.
    ParkCall(i64, u64),
}

/// A promise of the world that is broken, which nobody can live with: the simulation must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The disk says that a commit is durable, and the last one before a death is not: calls were sent that nobody wrote down.
    LyingDisk,
    /// What is open in the journal is not found again: an interrupted operation counts as one that never was.
    LostJournal,
    /// The wire sends a request again whose answer was lost, without a look at what it did.
    Resending,
    /// A deletion is answered as done, and never reaches the cloud.
    Swallowing,
    /// What a deletion was sent for that never arrived shows as gone.
    Hiding,
    /// The clock runs ahead of the clouds': every window is over too soon.
    Hurrying,
    /// The longest time that a request may be under way is not true: it arrives long after that.
    Lingering,
}

/// How late a request may arrive: as long as it may be under way, less what the machine needs meanwhile. How long a process
/// is dead is measured by the real clock.
pub const LATEST: u64 = 70_000;

/// When every story begins, in milliseconds since 1970: a story that is told again has the times it had.
const EPOCH_MS: i64 = 1_893_456_000_000;

/// The key of every story's state.
const KEY: &str = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG";

/// The seconds of a day.
const A_DAY: i64 = 86_400;

/// One process's life.
#[derive(Default)]
struct Life {
    death: Option<Death>,
    /// By how many seconds its time of day is wrong: machines are set, and not all alike.
    wrong_by: i64,
    commits: AtomicI64,
    calls: AtomicI64,
    waits: AtomicI64,
    /// The numbers of the calls that may change something.
    changing: Mutex<Vec<i64>>,
    dead: AtomicBool,
    full: AtomicBool,
    panicked: AtomicBool,
    broken: Option<Broken>,
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

/// Whether the last commit was only said to be durable.
type Unwritten = Arc<AtomicBool>;

/// The database as one life sees it. What was committed outlives it.
struct Mortal {
    database: Shared,
    life: Arc<Life>,
    clouds: Arc<Clouds>,
    unwritten: Unwritten,
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
        if self.life.broken == Some(Broken::LostJournal) && sql.contains("from journal where open = 1") {
            return Ok(Vec::new());
        }
        self.alive(|database| database.rows(sql, values))
    }

    fn script(&mut self, sql: &str) -> Result<(), DbError> {
        if sql.starts_with("begin") && self.unwritten.swap(false, Ordering::SeqCst) {
            self.alive(|database| database.script("commit"))?;
        }
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
        let done = match self.life.broken {
            Some(Broken::LyingDisk) => {
                self.unwritten.store(true, Ordering::SeqCst);
                Ok(())
            }
            _ => self.alive(|database| database.script(sql)),
        };
        match self.life.end_at(Death::AfterCommit(number)) {
            true => Err(DbError::new(Trouble::Other, "the process is dead")),
            false => done,
        }
    }

    fn revive(&mut self) -> Result<(), DbError> {
        Ok(())
    }

    fn clock(&mut self) -> Result<i64, DbError> {
        match self.dialect() {
            // A file has the clock of whoever opens it.
            Dialect::Sqlite => Ok(self.clouds.now_ms() / 1000 + self.life.wrong_by),
            Dialect::Postgres => self.database.lock().unwrap_or_else(PoisonError::into_inner).clock(),
        }
    }
}

/// The clouds and the time, which outlive every process.
struct Clouds {
    simulation: Mutex<Simulation>,
    begun: Instant,
    /// Milliseconds since the epoch when it began.
    epoch: i64,
    passed: AtomicU64,
    /// Requests that have not arrived yet, whether anybody waits for them or not.
    under_way: Mutex<Vec<Late>>,
    /// What was sent, in its order, with the time and the answer.
    told: Mutex<Vec<String>>,
}

/// A request and when it arrives.
struct Late {
    at: i64,
    request: Arriving,
}

/// The first request that has arrived by now.
fn next_late(under_way: &mut Vec<Late>, now: i64) -> Option<Late> {
    let (at, first) = under_way.iter().enumerate().min_by_key(|(_, late)| late.at)?;
    (first.at <= now).then(|| under_way.swap_remove(at))
}

/// A request as the clouds see it.
#[derive(Clone)]
struct Arriving {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Clouds {
    fn now_ms(&self) -> i64 {
        self.epoch + self.passed.load(Ordering::SeqCst) as i64
    }

    fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 3_600_000);
        self.passed.fetch_add(ms, Ordering::SeqCst);
        // Held until all have arrived: nobody's time goes on past a request that is due.
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(late) = next_late(&mut under_way, self.now_ms()) {
            let _ = self.answer(late.request, late.at);
        }
    }

    fn answer(&self, request: Arriving, now: i64) -> Option<provision_sandbox::Answered> {
        let Arriving { method, path, headers, body } = request;
        let sent = format!("{now} {method} {path} {headers:?} {}", String::from_utf8_lossy(&body));
        let answer = self.simulation().answer(&method, &path, headers, body, now);
        let body = answer.as_ref().map(|it| String::from_utf8_lossy(&it.body).into_owned());
        let told = format!("{sent} -> {:?} {body:?}", answer.as_ref().map(|it| it.status));
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        answer
    }

    fn simulation(&self) -> std::sync::MutexGuard<'_, Simulation> {
        self.simulation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clock and wire of one life.
struct World {
    clouds: Arc<Clouds>,
    life: Arc<Life>,
    stop: Stop,
    /// How many of the requests that change something are late, and nobody waits for them.
    late: f64,
    /// When requests are late.
    dice: Mutex<StdRng>,
    /// What the engine asks chance for: pauses, names, and which of several goes first.
    chance: Mutex<StdRng>,
    /// Paths of deletions that were sent and never arrived.
    undeleted: Mutex<HashSet<String>>,
}

impl World {
    fn engine_dice(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is late by chance: by how much it is, and how long its answer is waited for.
    fn lateness(&self) -> Option<(u64, u64)> {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        (self.late > 0.0 && dice.random_bool(self.late)).then(|| {
            let late = dice.random_range(0..LATEST);
            (late, dice.random_range(0..=late.min(60_000)))
        })
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        let ahead = if self.life.broken == Some(Broken::Hurrying) { 100 } else { 1 };
        self.clouds.begun + Duration::from_millis(ahead * self.clouds.passed.load(Ordering::SeqCst))
    }

    fn wall(&self) -> std::time::SystemTime {
        // EC2 lets nobody in whose clock is wrong by more than five minutes.
        let shown = self.clouds.now_ms() + self.life.wrong_by.clamp(-240, 240) * 1000;
        std::time::UNIX_EPOCH + Duration::from_millis(shown.unsigned_abs())
    }

    fn wait(&self, time: Duration) {
        let number = self.life.waits.fetch_add(1, Ordering::SeqCst) + 1;
        match self.life.death {
            Some(Death::StopAt(at)) if at == number => self.stop.wind_down(),
            Some(Death::ParkAt(at)) if at == number => self.stop.park(),
            _ => {}
        }
        self.clouds.pass(time);
    }

    fn chance(&self) -> f64 {
        self.engine_dice().random()
    }

    fn pick(&self, of: usize) -> usize {
        self.engine_dice().random_range(0..of.max(1))
    }
}

impl Ambient for World {
    fn now(&self) -> Time {
        Time::from(self.wall())
    }

    fn random(&self) -> [u8; 10] {
        self.engine_dice().random()
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
        let path = path.unwrap_or_else(|| "/".into());
        let body = request.body.unwrap_or_default();
        let changes = is_change(&request.method, &body);
        if changes {
            self.life.changing.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        }
        let request = Arriving { method: request.method, path, headers, body };
        let deletes = request.method == "DELETE";
        let undeleted = || self.undeleted.lock().unwrap_or_else(PoisonError::into_inner);
        match self.life.broken {
            Some(Broken::Swallowing) if deletes => {
                return Ok(WireAnswer { status: 204, headers: Vec::new(), body: Vec::new() });
            }
            Some(Broken::Hiding) if deletes && undeleted().insert(request.path.clone()) => {
                return Err(WireError::Lost("nobody answered".to_owned()));
            }
            Some(Broken::Hiding) if request.method == "GET" && undeleted().contains(&request.path) => {
                return Ok(WireAnswer { status: 404, headers: Vec::new(), body: Vec::new() });
            }
            _ => {}
        }
        let lost = |why: &str| Err(WireError::Lost(why.to_owned()));
        let late = |request: Arriving, late: u64| {
            let at = self.clouds.now_ms() + i64::try_from(late).unwrap_or_default();
            self.clouds.under_way.lock().unwrap_or_else(PoisonError::into_inner).push(Late { at, request });
        };
        match self.life.death {
            Some(Death::LateCall(at, by)) if at == number => {
                late(request, by);
                self.life.dead.store(true, Ordering::SeqCst);
                return lost("the process is dead");
            }
            Some(Death::ParkCall(at, by)) if at == number => {
                late(request, by);
                self.stop.park();
                return lost("the request was dropped");
            }
            _ => {}
        }
        if let (true, Some((by, waited))) = (changes, self.lateness()) {
            late(request, by);
            self.clouds.pass(Duration::from_millis(waited));
            return lost("nobody answered");
        }
        let mut answer = self.clouds.answer(request.clone(), self.clouds.now_ms());
        if self.life.broken == Some(Broken::Resending) && answer.is_none() {
            answer = self.clouds.answer(request, self.clouds.now_ms());
        }
        if self.life.death == Some(Death::PanicAfterCall(number)) {
            self.life.panicked.store(true, Ordering::SeqCst);
            panic!("request {number} panics");
        }
        if self.life.end_at(Death::AfterCall(number)) {
            return lost("the process is dead");
        }
        let answer = answer.ok_or_else(|| WireError::Lost("the connection was closed".into()))?;
        Ok(WireAnswer { status: answer.status, headers: answer.headers, body: answer.body })
    }
}

/// Whether a request may change something: EC2 says it in the body.
fn is_change(method: &str, body: &[u8]) -> bool {
    method != "GET" && !String::from_utf8_lossy(body).contains("Action=Describe")
}

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
