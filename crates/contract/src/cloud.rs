//! Owns the clouds a suite runs against: the sandbox in this process with a clock that only waiting moves, a cloud over
//! the network, or a recording.

use crate::record::{Recorder, Replay};
use provision_diagnostic::{Code, Failure};
use provision_engine::Environment;
use provision_providers::{Clock, Outside, SystemClock, Wire, WireAnswer, WireError, WireRequest};
use provision_sandbox::{Options, Simulation, control};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the suite runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The sandbox, in this process.
    Sandbox,
    /// A cloud of the user's own; `None` is where the manifest says.
    Network(Option<String>),
    /// What was recorded in a folder.
    Replay(PathBuf),
}

/// The secrets that the sandbox takes as credentials; they must not be seen.
const CREDENTIALS: [(&str, &str); 4] = [
    ("HCLOUD_TOKEN", "canary-token-71c2"),
    ("UPCLOUD_PASSWORD", "canary-password-71c2"),
    ("AWS_ACCESS_KEY_ID", "sandbox"),
    ("AWS_SECRET_ACCESS_KEY", "canary-secret-71c2"),
];

/// The environment of the sandbox: endpoints that lead nowhere else, and credentials.
pub fn sandbox_environment() -> BTreeMap<String, String> {
    let mut variables = control::environment("http://127.0.0.1:9", "secret");
    variables.extend(CREDENTIALS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables
}

/// A clock and a wire.
pub type Ends = (Arc<dyn Clock>, Arc<dyn Wire>);

/// Clock and wire of a target, fresh for one type.
pub fn outside(target: &Target, kind: &str, env: &Environment) -> Result<Ends, Failure> {
    Ok(match target {
        Target::Sandbox => {
            let cloud = Arc::new(InProcess::new()?);
            (cloud.clone(), cloud)
        }
        Target::Network(_) => (Arc::new(SystemClock), provision_providers::network_in(&|name| env(name))),
        Target::Replay(folder) => (Arc::new(Passing::default()), Arc::new(Replay::open(folder, kind)?)),
    })
}

/// The same with everything that goes over it written down.
pub fn recorded(wire: Arc<dyn Wire>, recorder: Arc<Recorder>) -> Arc<dyn Wire> {
    struct Recorded(Arc<dyn Wire>, Arc<Recorder>);
    impl Wire for Recorded {
        fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
            let asked = Recorder::asked(&request);
            let answer = self.0.exchange(request)?;
            self.1.note(asked, &answer);
            Ok(answer)
        }
    }
    Arc::new(Recorded(wire, recorder))
}

/// How long an answer of the sandbox may take.
const AT_HAND: Duration = Duration::from_secs(1);

/// A session's outside.
pub fn of(target: &Target, clock: Arc<dyn Clock>, wire: Arc<dyn Wire>) -> Outside {
    let outside = Outside { clock, wire: Some(wire), ..Outside::default() };
    match target {
        Target::Network(_) => outside,
        Target::Sandbox | Target::Replay(_) => Outside { answer_timeout: AT_HAND, ..outside },
    }
}

/// Time that passes by waiting alone.
struct Passing {
    begun: Instant,
    passed: AtomicU64,
}

impl Default for Passing {
    fn default() -> Self {
        Self { begun: Instant::now(), passed: AtomicU64::new(0) }
    }
}

impl Passing {
    fn ms(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

impl Clock for Passing {
    fn now(&self) -> Instant {
        self.begun + Duration::from_millis(self.ms())
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now() + Duration::from_millis(self.ms())
    }

    fn wait(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 3_600_000);
        self.passed.fetch_add(ms, Ordering::SeqCst);
    }
}

/// The sandbox without a socket.
struct InProcess {
    simulation: Mutex<Simulation>,
    time: Passing,
}

impl InProcess {
    fn new() -> Result<Self, Failure> {
        let secret = CREDENTIALS.iter().find(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY").map_or("", |(_, it)| it);
        let options = Options {
            action_duration: Duration::from_millis(300),
            aws_secret: secret.to_owned(),
            hetzner_rate_limit: 1_000_000,
            ..Options::default()
        };
        let simulation =
            Simulation::new(options, rand::random()).map_err(|error| Failure::new(Code::SandboxFailed, error))?;
        Ok(Self { simulation: Mutex::new(simulation), time: Passing::default() })
    }
}

impl Clock for InProcess {
    fn now(&self) -> Instant {
        self.time.now()
    }

    fn wall(&self) -> SystemTime {
        self.time.wall()
    }

    fn wait(&self, time: Duration) {
        self.time.wait(time);
    }
}

impl Wire for InProcess {
    fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
        self.time.wait(Duration::from_millis(5));
        let path = request.url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
        let mut headers: Vec<(String, String)> =
            request.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        headers.push(("host".into(), "127.0.0.1:9".into()));
        let now = self.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let answer = self.simulation.lock().unwrap_or_else(PoisonError::into_inner).answer(
            &request.method,
            &path.unwrap_or_else(|| "/".into()),
            headers,
            request.body.unwrap_or_default(),
            i64::try_from(now).unwrap_or(i64::MAX),
        );
        let answer = answer.ok_or_else(|| WireError::Lost("the connection was closed".into()))?;
        Ok(WireAnswer { status: answer.status, headers: answer.headers, body: answer.body })
    }
}
