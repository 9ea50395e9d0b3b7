//! Owns how other programs start, ask and stop a sandbox: blocking calls, no runtime needed.

use crate::faults::Faults;
use crate::journal::Request;
use provision_diagnostic::{Code, Failure};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

/// The folder of one sandbox: `sandbox.json` (its address while it runs), `data/` and `log`.
#[derive(Debug, Clone)]
pub struct Home(pub PathBuf);

/// How a sandbox is started.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StartOptions {
    /// 0 takes a free port.
    pub port: u16,
    pub action_duration_ms: Option<u64>,
    pub hetzner_rate_limit: Option<u32>,
    /// Stop by itself when this process is gone.
    pub exit_with_parent: Option<u32>,
}

/// A running sandbox and how to point programs at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub url: String,
    pub pid: u32,
    /// What the vendors' clients and the manifests read.
    pub env: BTreeMap<String, String>,
    pub clients: Vec<ClientHint>,
}

/// How one vendor's client is pointed at the sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientHint {
    pub client: String,
    pub how: String,
}

/// What a sandbox holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub running: bool,
    pub url: Option<String>,
    pub pid: Option<u32>,
    pub resources: Vec<Count>,
    pub faults: Option<Faults>,
}

/// How many resources of one kind there are in all accounts of a cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub cloud: String,
    pub kind: String,
    pub count: u64,
}

#[derive(Serialize, Deserialize)]
struct Address {
    url: String,
    pid: u32,
    /// What its control asks for.
    token: String,
}

#[derive(Deserialize)]
struct Held {
    pid: u32,
    resources: Vec<Count>,
    faults: Faults,
}

#[derive(Deserialize)]
struct Requests {
    requests: Vec<Request>,
}

impl Home {
    fn port_file(&self) -> PathBuf {
        self.0.join("sandbox.json")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The token of this sandbox, made when it is first started: accounts outlive a process.
    fn token(&self) -> std::io::Result<String> {
        let file = self.0.join("token");
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        if kept.len() == TOKEN {
            return Ok(kept);
        }
        let token = new_token();
        private_file(&file)?.write_all(token.as_bytes())?;
        Ok(token)
    }

    fn address(&self) -> Option<Address> {
        serde_json::from_str(&std::fs::read_to_string(self.port_file()).ok()?).ok()
    }

    /// The address, when the process that wrote it still answers there.
    fn alive(&self) -> Option<(Address, Held)> {
        let address = self.address()?;
        let held: Held = ask(&address, "status").ok()?;
        (held.pid == address.pid).then_some((address, held))
    }

    fn running(&self) -> Result<Address, Failure> {
        self.alive().map(|(address, _)| address).ok_or_else(|| {
            Failure::new(Code::SandboxNotRunning, "the sandbox is not running")
                .with_help("Start it with `provision sandbox start`.")
        })
    }
}

/// Makes a folder that its owner alone can enter.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // One that an earlier version made.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

/// Makes a file that its owner alone can read.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Starts a sandbox in a process of its own that outlives this one, or returns the one that runs.
pub fn start(home: &Home, binary: &Path, options: &StartOptions) -> Result<Started, Failure> {
    if let Some((address, _)) = home.alive() {
        return Ok(started(&address));
    }
    private_folder(&home.0).map_err(|error| failed(format!("cannot make {}: {error}", home.0.display())))?;
    let token = home.token().map_err(|error| failed(format!("cannot write into {}: {error}", home.0.display())))?;
    // A file left by a process that was killed would be taken for the new one's.
    let _ = std::fs::remove_file(home.port_file());
    let log =
        || private_file(&home.log()).map_err(|error| failed(format!("cannot write {}: {error}", home.log().display())));
    let mut command = Command::new(binary);
    command
        .arg("sandbox")
        .args(["--port", &options.port.to_string()])
        .arg("--data")
        .arg(home.0.join("data"))
        .arg("--port-file")
        .arg(home.port_file())
        .env("PROVISION_SANDBOX_TOKEN", token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log()?);
    if let Some(ms) = options.action_duration_ms {
        command.args(["--action-duration", &format!("{ms}ms")]);
    }
    if let Some(limit) = options.hetzner_rate_limit {
        command.args(["--hetzner-rate-limit", &limit.to_string()]);
    }
    if let Some(parent) = options.exit_with_parent {
        command.args(["--exit-with-parent", &parent.to_string()]);
    }
    // Its own process group: a Ctrl-C meant for the shell's foreground job does not reach it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| failed(format!("cannot start {}: {error}", binary.display())))?;
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some((address, _)) = home.alive() {
            // Reaps it if it ends while this process lives on.
            std::thread::spawn(move || child.wait());
            return Ok(started(&address));
        }
        if let Ok(Some(status)) = child.try_wait() {
            let said = std::fs::read_to_string(home.log()).unwrap_or_default();
            return Err(failed(format!("the sandbox stopped at once ({status}): {}", said.trim())));
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("the sandbox did not open its port within ten seconds".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Stops the sandbox and waits until it is gone; what it holds stays on disk. False when none ran.
pub fn stop(home: &Home) -> Result<bool, Failure> {
    let Some((address, _)) = home.alive() else { return Ok(false) };
    let pid = i32::try_from(address.pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| failed(format!("{} is not a process id", address.pid)))?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)
        .map_err(|error| failed(format!("cannot stop process {}: {error}", address.pid)))?;
    let end = Instant::now() + Duration::from_secs(5);
    while home.alive().is_some() {
        if Instant::now() > end {
            return Err(failed(format!("process {} does not stop", address.pid)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = std::fs::remove_file(home.port_file());
    Ok(true)
}

/// Whether it runs, and what it holds.
pub fn status(home: &Home) -> Result<Status, Failure> {
    Ok(match home.alive() {
        Some((address, held)) => Status {
            running: true,
            url: Some(address.url),
            pid: Some(address.pid),
            resources: held.resources,
            faults: Some(held.faults),
        },
        None => Status { running: false, url: None, pid: None, resources: Vec::new(), faults: None },
    })
}

/// The environment and hints of the sandbox that runs.
pub fn connection(home: &Home) -> Result<Started, Failure> {
    Ok(started(&home.running()?))
}

/// Empties the clouds, the log and the faults.
pub fn reset(home: &Home) -> Result<(), Failure> {
    let address = home.running()?;
    exchange(&address, Method::POST, "reset", None)?;
    Ok(())
}

/// Every request the clouds received, oldest first.
pub fn requests(home: &Home) -> Result<Vec<Request>, Failure> {
    Ok(ask::<Requests>(&home.running()?, "requests")?.requests)
}

/// The faults in force, after setting them when some are given.
pub fn faults(home: &Home, set: Option<Faults>) -> Result<Faults, Failure> {
    let address = home.running()?;
    let Some(faults) = set else { return ask(&address, "faults") };
    let (status, body) = exchange(&address, Method::PUT, "faults", Some(json(&faults)?))?;
    if !status.is_success() {
        return Err(
            failed(format!("faults were refused: {}", complaint(&body))).with_help("Give rates between 0 and 1.")
        );
    }
    serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))
}

/// Does what somebody else would to a resource; what became of it.
pub fn mutate(home: &Home, mutation: &crate::Mutation) -> Result<serde_json::Value, Failure> {
    let address = home.running()?;
    let (status, body) = exchange(&address, Method::POST, "mutate", Some(json(mutation)?))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| failed(error.to_string()));
    }
    let failure = Failure::new(Code::SandboxFailed, format!("nothing was changed: {}", complaint(&body)));
    Err(failure.with_help("Give the id that the cloud has for it, as `provision state list` shows it."))
}

/// Largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 256 << 20;

/// One request and its answer. It goes to loopback only, so never through a proxy that the environment names.
fn exchange(
    address: &Address,
    method: Method,
    what: &str,
    body: Option<Vec<u8>>,
) -> Result<(StatusCode, Vec<u8>), Failure> {
    let unanswered = |error: &dyn std::fmt::Display| failed(format!("the sandbox did not answer: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| unanswered(&error))?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
    let client = client.build().map_err(|error| unanswered(&error))?;
    let request = client.request(method, format!("{}/_sandbox/{what}", address.url));
    let mut request = request.header("authorization", format!("Bearer {}", address.token));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    runtime.block_on(async {
        let mut answer = request.send().await.map_err(|error| unanswered(&error))?;
        let mut whole = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| unanswered(&error))? {
            whole.extend_from_slice(&part);
            if whole.len() > ANSWER_LIMIT {
                return Err(failed("the sandbox's answer is too large".to_owned()));
            }
        }
        Ok((answer.status(), whole))
    })
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| failed(error.to_string()))
}

/// What the sandbox says that is wrong.
fn complaint(body: &[u8]) -> String {
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    said["error"].as_str().map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

fn ask<T: DeserializeOwned>(address: &Address, what: &str) -> Result<T, Failure> {
    let (status, body) = exchange(address, Method::GET, what, None)?;
    if !status.is_success() {
        return Err(failed(format!("the sandbox answered {status}")));
    }
    serde_json::from_slice(&body).map_err(|error| failed(format!("the sandbox's answer cannot be read: {error}")))
}

fn failed(message: String) -> Failure {
    Failure::new(Code::SandboxFailed, message)
        .with_help("See `log` in the sandbox's folder; check that the port is free.")
}

/// Characters of a token.
const TOKEN: usize = 26;

/// A token that nobody guesses.
pub(crate) fn new_token() -> String {
    let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..TOKEN).map(|_| char::from(alphabet[usize::from(rand::random::<u8>() % 32)])).collect()
}

/// The credential that the clouds of a sandbox take. What begins so never leaves this machine.
pub fn credential(token: &str) -> String {
    format!("sandbox-{token}")
}

/// The variables that point every vendor's client at the sandbox at an address, with its control's token and the only
/// credentials that its clouds take.
pub fn environment(url: &str, token: &str) -> BTreeMap<String, String> {
    let secret = credential(token);
    let env = [
        ("PROVISION_SANDBOX_TOKEN", token.to_owned()),
        ("HCLOUD_ENDPOINT", format!("{url}/v1")),
        ("HCLOUD_TOKEN", secret.clone()),
        ("UPCLOUD_API_URL", format!("{url}/1.3")),
        ("UPCLOUD_DEBUG_API_BASE_URL", url.to_owned()),
        ("UPCLOUD_USERNAME", "sandbox".to_owned()),
        ("UPCLOUD_PASSWORD", secret.clone()),
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_ACCESS_KEY_ID", "sandbox".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_DEFAULT_REGION", "eu-north-1".to_owned()),
    ];
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn started(address: &Address) -> Started {
    let url = &address.url;
    let hint = |client: &str, how: String| ClientHint { client: client.to_owned(), how };
    let clients = vec![
        hint("hcloud", format!("HCLOUD_ENDPOINT={url}/v1 HCLOUD_TOKEN=…")),
        hint("hcloud (Python)", format!("Client(os.environ[\"HCLOUD_TOKEN\"], api_endpoint=\"{url}/v1\")")),
        hint("upcloud-api", format!("manager.api.api_root = \"{url}/1.3\"")),
        hint("upctl", format!("UPCLOUD_DEBUG_API_BASE_URL={url}")),
        hint("boto3", format!("AWS_ENDPOINT_URL={url}")),
        hint("aws", format!("aws --endpoint-url {url}")),
    ];
    Started { url: url.clone(), pid: address.pid, env: environment(url, &address.token), clients }
}
