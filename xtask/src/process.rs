//! Owns running other programs: what they may see, how their output comes back, and that none runs for ever.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Variables through which a program under test could reach the world, or a real account.
const WORLDLY: [&str; 12] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HCLOUD_ENDPOINT",
    "UPCLOUD_DEBUG_API_BASE_URL",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_PROFILE",
    "AWS_REGION",
];
/// Credentials, by prefix and by name.
const CREDENTIALS: [&str; 3] = ["HCLOUD_TOKEN", "UPCLOUD_", "AWS_"];

/// Takes proxies, endpoints and credentials away: what is tested talks to loopback only.
pub fn offline(command: &mut Command) -> &mut Command {
    for name in WORLDLY {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if CREDENTIALS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost")
}

/// An environment with a home of its own and nothing of the user's but the path and the terminal.
pub fn secluded<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command.env_clear();
    for name in ["PATH", "TERM", "COLUMNS", "LANG", "LC_ALL", "TZ"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("HOME", home)
        .env("USER", std::env::var_os("USER").unwrap_or_else(|| "ada".into()))
        .env("TMPDIR", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("NO_PROXY", "127.0.0.1,localhost")
}

/// A folder that goes when dropped. Its path is short: a socket's address has about a hundred characters.
pub fn scratch() -> Result<tempfile::TempDir, String> {
    let usual = std::env::temp_dir();
    let parent = if usual.as_os_str().len() > 40 { Path::new("/tmp") } else { &usual };
    tempfile::Builder::new().prefix("nup").tempdir_in(parent).map_err(|error| format!("no temporary folder: {error}"))
}

fn name(command: &Command) -> String {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let line = format!("{program} {}", arguments.join(" "));
    match line.char_indices().nth(120) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// Runs a command whose output goes to the terminal.
pub fn shown(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{}: {error}", name(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", name(command))) }
}

/// Runs a command and returns what it printed; its error output is part of the error.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{}: {error}", name(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("`{}` failed ({})\n{}", name(command), output.status, String::from_utf8_lossy(&output.stderr)))
}

/// What a program said, whether it was content or not.
pub struct Said {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command for at most `limit` and returns what it said; an error only when it could not run or end.
pub fn bounded(command: &mut Command, limit: Duration) -> Result<Said, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", name(command)))?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{}` did not end within {limit:?}", name(command)));
            }
        }
    };
    let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Said { success: status.success(), stdout: text(stdout), stderr: text(stderr) })
}

fn reader(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut all);
        }
        String::from_utf8_lossy(&all).into_owned()
    })
}

/// Runs a command, shows its output as it comes, and returns it with whether it succeeded.
pub fn tee(command: &mut Command) -> Result<(bool, String), String> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{}: {error}", name(command)))?;
    let mut all = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // A closed terminal is no reason to lose the result.
            let _ = writeln!(std::io::stdout(), "{line}");
            all.push_str(&line);
            all.push('\n');
        }
    }
    let status = child.wait().map_err(|error| format!("{}: {error}", name(command)))?;
    Ok((status.success(), all))
}

/// Whether a process of this id is there.
pub fn alive(pid: u64) -> bool {
    Command::new("kill")
        .args(["-0", &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
