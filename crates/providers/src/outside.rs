//! Owns what is outside: the clock, and the wire that carries a request to a cloud. A simulation brings its own.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

/// A clock that goes on, a way to wait for it, and what chance decides about waiting. A story that is told again has one that
/// its seed made.
pub trait Clock: Send + Sync {
    fn now(&self) -> Instant;
    /// The time of day, which signatures carry.
    fn wall(&self) -> SystemTime;
    /// Waits; may be woken early.
    fn wait(&self, time: Duration);

    /// A number from 0 up to, not including, 1: how much of the longest pause somebody takes.
    fn chance(&self) -> f64 {
        rand::random()
    }

    /// Which of so many that may go first does.
    fn pick(&self, _of: usize) -> usize {
        0
    }
}

/// The machine's own.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn wait(&self, time: Duration) {
        // Whoever asked to stop is heard soon.
        std::thread::sleep(time.min(Duration::from_millis(50)));
    }
}

/// A request as it goes over the wire, signed.
pub struct WireRequest<'a> {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// Nobody waits for the answer any more once this is set.
    pub interrupt: &'a AtomicBool,
}

/// An answer as it came.
pub struct WireAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no answer.
pub enum WireError {
    /// The request could not be made.
    Build(String),
    /// It certainly did not reach the cloud.
    NotSent(String),
    /// It may have.
    Lost(String),
    /// It did, and what came back cannot be read.
    Unreadable(String),
    /// Whoever asked stopped waiting; it may have reached the cloud.
    Dropped,
}

/// Carries requests to a cloud.
pub trait Wire: Send + Sync {
    fn exchange(&self, request: WireRequest<'_>) -> Result<WireAnswer, WireError>;
}

/// Longest an answer may take where nothing else is said. A create that waits for capacity is slow; a repeated one is
/// expensive.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Clock and wire; the machine's own when a wire is not given.
#[derive(Clone)]
pub struct Outside {
    pub clock: Arc<dyn Clock>,
    pub wire: Option<Arc<dyn Wire>>,
    /// Longest an answer may take.
    pub answer_timeout: Duration,
}

impl Outside {
    /// How long after it was sent a request may still arrive: nobody waits for its answer longer than the timeout, and a
    /// quarter more is for what the network itself holds back.
    pub fn under_way(&self) -> Duration {
        self.answer_timeout * 5 / 4
    }
}

impl Default for Outside {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), wire: None, answer_timeout: ANSWER_TIMEOUT }
    }
}
