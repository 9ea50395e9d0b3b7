//! Owns what comes from outside the engine: environment, clock, wire, chance, and the way to stop. A room that wants one of
//! them asks here, so that a story is told by its seed.

use provision_diagnostic::{Code, Failure};
use provision_model::Time;
use provision_providers::{ANSWER_TIMEOUT, CallError, Control, Outside, RustProviders};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Environment variables as the caller sees them.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The variable with the longest time that an answer of a cloud may take.
const REQUEST_TIMEOUT: &str = "PROVISION_REQUEST_TIMEOUT";

/// The times that can be waited for an answer.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// Two ways to stop: nothing new starts, or what is in flight parks too. Parked operations are settled later.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    soft: Arc<AtomicBool>,
    hard: Arc<AtomicBool>,
}

impl Stop {
    /// Ctrl-C: starts nothing new; a second one parks what is in flight.
    pub fn interrupt(&self) {
        if self.soft.swap(true, Ordering::SeqCst) {
            self.hard.store(true, Ordering::SeqCst);
        }
    }

    /// Starts nothing new, however often it is said.
    pub fn wind_down(&self) {
        self.soft.store(true, Ordering::SeqCst);
    }

    /// Parks what is in flight.
    pub fn park(&self) {
        self.soft.store(true, Ordering::SeqCst);
        self.hard.store(true, Ordering::SeqCst);
    }

    pub fn is_requested(&self) -> bool {
        self.soft.load(Ordering::SeqCst)
    }

    pub(crate) fn hard_flag(&self) -> &AtomicBool {
        &self.hard
    }

    /// The flag that says nothing new starts.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.soft.clone()
    }
}

/// The world outside the engine, as a command has it.
pub struct Host {
    pub env: Environment,
    /// Clock and wire.
    pub outside: Outside,
    pub stop: Stop,
    /// The providers that are written in Rust.
    pub rust: RustProviders,
    /// Asked when somebody else holds the lease: waits until it may be given back, false when that is not to be expected.
    pub patience: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// How many kinds are listed at a time.
    pub readers: usize,
    /// How many operations are settled at a time: most of them wait for a cloud.
    pub settlers: usize,
}

impl Host {
    /// This machine, with the environment as the caller sees it. Fails where a variable says nonsense.
    pub fn new(env: Environment) -> Result<Host, Failure> {
        let outside = Outside { answer_timeout: answer_timeout(&*env)?, ..Outside::default() };
        Ok(Self::over(env, outside))
    }

    /// Another world: its clock and its wire.
    pub fn over(env: Environment, outside: Outside) -> Host {
        let (stop, rust) = (Stop::default(), RustProviders::default());
        Host { env, outside, stop, rust, patience: None, readers: 16, settlers: 64 }
    }

    /// For an operation: it ends only when it is parked.
    pub(crate) fn control<'a>(
        &'a self,
        may_change: &'a (dyn Fn() -> bool + Sync),
        retrying: &'a (dyn Fn(u32, &CallError) -> bool + Sync),
    ) -> Control<'a> {
        let (interrupt, winding_down) = (self.stop.hard_flag(), &*self.stop.soft);
        Control { interrupt, winding_down, may_change, clock: &*self.outside.clock, retrying }
    }

    /// Waits as an operation does; false when it was parked meanwhile.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        self.control(&|| false, &|_, _| true).sleep(time)
    }

    /// For what only reads: it ends as soon as a stop is asked for.
    pub(crate) fn reading(&self) -> Control<'_> {
        let clock = &*self.outside.clock;
        let soft = &*self.stop.soft;
        Control { interrupt: soft, winding_down: soft, may_change: &|| false, clock, retrying: &|_, _| true }
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Time {
        Time::from(self.outside.clock.wall())
    }
}

/// Longest an answer of a cloud may take.
fn answer_timeout(env: &dyn Fn(&str) -> Option<String>) -> Result<Duration, Failure> {
    let Some(text) = env(REQUEST_TIMEOUT).filter(|text| !text.is_empty()) else { return Ok(ANSWER_TIMEOUT) };
    provision_registry::time_of(&text).filter(|time| TIMEOUTS.contains(time)).ok_or_else(|| {
        Failure::new(Code::ConfigInvalid, format!("{REQUEST_TIMEOUT} is no time to wait for an answer: `{text}`"))
            .with_help("Set it to a time from `1s` to `10min`, or remove it for one minute.")
    })
}
