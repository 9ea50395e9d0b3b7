//! Owns one life of a process in a simulated world: its database, its clock and its wire, and where it ends.

use provision_engine::{Clock, Stop, Wire, WireAnswer, WireError, WireRequest};
use provision_model::Time;
use provision_sandbox::Simulation;
use provision_state::{Ambient, Database, DbError, Dialect, Row, Trouble, Val};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
pub(super) const EPOCH_MS: i64 = 1_893_456_000_000;

/// The key of every story's state.
pub(super) const KEY: &str = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG";

/// The seconds of a day.
pub(super) const A_DAY: i64 = 86_400;

/// One process's life.
#[derive(Default)]
pub(super) struct Life {
    pub(super) death: Option<Death>,
    /// By how many seconds its time of day is wrong: machines are set, and not all alike.
    pub(super) wrong_by: i64,
    pub(super) commits: AtomicI64,
    pub(super) calls: AtomicI64,
    pub(super) waits: AtomicI64,
    /// The numbers of the calls that may change something.
    pub(super) changing: Mutex<Vec<i64>>,
    pub(super) dead: AtomicBool,
    pub(super) full: AtomicBool,
    pub(super) panicked: AtomicBool,
    pub(super) broken: Option<Broken>,
}

impl Life {
    pub(super) fn is_over(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(super) fn end_at(&self, here: Death) -> bool {
        if self.death == Some(here) {
            self.dead.store(true, Ordering::SeqCst);
        }
        self.is_over()
    }
}

/// The database as it outlives every process.
pub(super) type Shared = Arc<Mutex<Box<dyn Database>>>;

/// Whether the last commit was only said to be durable.
pub(super) type Unwritten = Arc<AtomicBool>;

/// The database as one life sees it. What was committed outlives it.
pub(super) struct Mortal {
    pub(super) database: Shared,
    pub(super) life: Arc<Life>,
    pub(super) clouds: Arc<Clouds>,
    pub(super) unwritten: Unwritten,
}

impl Mortal {
    pub(super) fn alive<T>(&self, body: impl FnOnce(&mut dyn Database) -> Result<T, DbError>) -> Result<T, DbError> {
        if self.life.is_over() {
            return Err(DbError::new(Trouble::Other, "the process is dead"));
        }
        body(&mut **self.database.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn roll_back(&self) {
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
pub(super) struct Clouds {
    pub(super) simulation: Mutex<Simulation>,
    pub(super) begun: Instant,
    /// Milliseconds since the epoch when it began.
    pub(super) epoch: i64,
    pub(super) passed: AtomicU64,
    /// Requests that have not arrived yet, whether anybody waits for them or not.
    pub(super) under_way: Mutex<Vec<Late>>,
    /// What was sent, in its order, with the time and the answer.
    pub(super) told: Mutex<Vec<String>>,
}

/// A request and when it arrives.
pub(super) struct Late {
    pub(super) at: i64,
    pub(super) request: Arriving,
}

/// The first request that has arrived by now.
pub(super) fn next_late(under_way: &mut Vec<Late>, now: i64) -> Option<Late> {
    let (at, first) = under_way.iter().enumerate().min_by_key(|(_, late)| late.at)?;
    (first.at <= now).then(|| under_way.swap_remove(at))
}

/// A request as the clouds see it.
#[derive(Clone)]
pub(super) struct Arriving {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Clouds {
    pub(super) fn now_ms(&self) -> i64 {
        self.epoch + self.passed.load(Ordering::SeqCst) as i64
    }

    pub(super) fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 3_600_000);
        self.passed.fetch_add(ms, Ordering::SeqCst);
        // Held until all have arrived: nobody's time goes on past a request that is due.
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(late) = next_late(&mut under_way, self.now_ms()) {
            let _ = self.answer(late.request, late.at);
        }
    }

    pub(super) fn answer(&self, request: Arriving, now: i64) -> Option<provision_sandbox::Answered> {
        let Arriving { method, path, headers, body } = request;
        let sent = format!("{now} {method} {path} {headers:?} {}", String::from_utf8_lossy(&body));
        let answer = self.simulation().answer(&method, &path, headers, body, now);
        let body = answer.as_ref().map(|it| String::from_utf8_lossy(&it.body).into_owned());
        let told = format!("{sent} -> {:?} {body:?}", answer.as_ref().map(|it| it.status));
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        answer
    }

    pub(super) fn simulation(&self) -> std::sync::MutexGuard<'_, Simulation> {
        self.simulation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clock and wire of one life.
pub(super) struct World {
    pub(super) clouds: Arc<Clouds>,
    pub(super) life: Arc<Life>,
    pub(super) stop: Stop,
    /// How many of the requests that change something are late, and nobody waits for them.
    pub(super) late: f64,
    /// When requests are late.
    pub(super) dice: Mutex<StdRng>,
    /// What the engine asks chance for: pauses, names, and which of several goes first.
    pub(super) chance: Mutex<StdRng>,
    /// Paths of deletions that were sent and never arrived.
    pub(super) undeleted: Mutex<HashSet<String>>,
}

impl World {
    pub(super) fn engine_dice(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is late by chance: by how much it is, and how long its answer is waited for.
    pub(super) fn lateness(&self) -> Option<(u64, u64)> {
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
pub(super) fn is_change(method: &str, body: &[u8]) -> bool {
    method != "GET" && !String::from_utf8_lossy(body).contains("Action=Describe")
}
