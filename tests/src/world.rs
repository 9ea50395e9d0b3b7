//! Owns one test's world: a home, a project folder, an environment without the user's, and a sandbox on request.

use crate::nu::{binary, find_nu};
use provision_sandbox::control::{self, Home, StartOptions};
use provision_sandbox::{Faults, Request};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The plugins, as they are named on disk.
const PLUGINS: [&str; 3] = ["nu_plugin_nickel", "nu_plugin_policy", "nu_plugin_provision"];
/// No script may take longer.
const LIMIT: Duration = Duration::from_secs(180);

/// Everything a test touches; gone when dropped, its sandbox too.
pub struct World {
    folder: tempfile::TempDir,
    nu: PathBuf,
    plugins: Vec<PathBuf>,
    env: BTreeMap<String, String>,
    sandbox: Option<Home>,
}

/// What a script said.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// An error as a user's `catch` sees it.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Caught {
    pub msg: String,
    pub code: Option<String>,
    pub help: Option<String>,
    /// The further errors of the same run.
    #[serde(default)]
    pub inner: Vec<Caught>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty project folder and all three plugins.
    pub fn new() -> Self {
        Self::with_plugins(&PLUGINS)
    }

    /// The same with some of the plugins, for a suite that needs no more.
    pub fn with_plugins(plugins: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("nup").tempdir().unwrap();
        for name in ["home", "project", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let home = folder.path().join("home").to_string_lossy().into_owned();
        let env = [
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("HOME", home),
            // Tests act as several people, and none of them as whoever runs the tests.
            ("PROVISION_ACTOR", "env".to_owned()),
            ("USER", "ada".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TMPDIR", folder.path().join("tmp").to_string_lossy().into_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            // A sandbox answers soon, so nobody has to wait long for what a killed process sent.
            ("PROVISION_REQUEST_TIMEOUT", "6s".to_owned()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        let plugins = plugins.iter().map(|name| binary(name)).collect();
        Self { folder, nu: find_nu(), plugins, env, sandbox: None }
    }

    /// Starts a sandbox of its own, with actions that take 20 ms, and points the environment at it.
    pub fn with_sandbox(self) -> Self {
        self.with_sandbox_options(StartOptions { action_duration_ms: Some(20), ..StartOptions::default() })
    }

    /// The same with other options.
    pub fn with_sandbox_options(mut self, options: StartOptions) -> Self {
        // Where `provision sandbox` looks for it.
        let home = Home(self.home().join(".local/state/nu-provision/sandbox"));
        let options = StartOptions { exit_with_parent: Some(std::process::id()), ..options };
        let started = control::start(&home, &binary("provisiond"), &options).unwrap();
        self.env.extend(started.env);
        self.sandbox = Some(home);
        self
    }

    /// The project folder, which is the working folder of every script.
    pub fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// The home folder that scripts see.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Writes a file of the project, with its folders.
    pub fn write(&self, path: &str, text: &str) -> &Self {
        let file = self.project().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }

    /// Writes `infra.ncl` with these resources.
    #[track_caller]
    pub fn declare(&self, resources: &str) {
        self.write(
            "infra.ncl",
            &format!(
                "let p = import \"provision.ncl\" in\n{{ name = \"t\", resources = {{\n{resources}\n}} }} | p.Infrastructure\n"
            ),
        );
    }

    /// Applies what is declared, after which nothing is to be done.
    #[track_caller]
    pub fn settle(&self) {
        self.ok("provision apply --yes | ignore");
        assert_eq!(self.json("provision plan | select address action reason"), serde_json::json!([]));
    }

    /// Reads a file of the project.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        let file = self.project().join(path);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Sets a variable for the scripts that follow; `None` removes it.
    pub fn env(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.env.insert(name.to_owned(), value.to_owned()),
            None => self.env.remove(name),
        };
        self
    }

    /// The environment of the scripts.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The control of this world's sandbox: `control::faults(world.sandbox(), …)`.
    #[track_caller]
    pub fn sandbox(&self) -> &Home {
        self.sandbox.as_ref().expect("this world has no sandbox; use with_sandbox()")
    }

    /// The requests that asked the clouds for a change.
    pub fn mutating(&self) -> Vec<Request> {
        control::requests(self.sandbox()).unwrap().into_iter().filter(|request| request.mutating).collect()
    }

    /// How many resources the clouds hold.
    pub fn held(&self) -> u64 {
        control::status(self.sandbox()).unwrap().resources.iter().map(|count| count.count).sum()
    }

    /// Orders faults.
    pub fn faults(&self, faults: Faults) {
        control::faults(self.sandbox(), Some(faults)).unwrap();
    }

    /// A `nu` command in this world, to be started by the caller, with the script still to be added.
    pub fn command(&self) -> Command {
        let plugins: Vec<String> = self.plugins.iter().map(|path| format!("\"{}\"", path.display())).collect();
        let mut command = Command::new(&self.nu);
        command
            .args(["-n", "--no-std-lib", "--plugins", &format!("[{}]", plugins.join(" "))])
            .current_dir(self.project())
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a script in the real `nu` in the project folder.
    pub fn nu(&self, script: &str) -> Said {
        let mut command = self.command();
        command.args(["-c", script]);
        finish(command.spawn().unwrap(), script)
    }

    /// The same, and it must succeed: what it printed, without the line end.
    #[track_caller]
    pub fn ok(&self, script: &str) -> String {
        let said = self.nu(script);
        assert!(said.status.success(), "{script}\n--- {}\n{}\n{}", said.status, said.stdout, said.stderr);
        said.stdout.trim_end().to_owned()
    }

    /// The same, with its value as JSON.
    #[track_caller]
    pub fn json(&self, script: &str) -> Value {
        let said = self.ok(&format!("{script} | to json --raw"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{script}\n--- {error}\n{said}"))
    }

    /// Runs a script that must fail and returns the error as its `catch` sees it. A stream is read to its end.
    #[track_caller]
    pub fn fails(&self, script: &str) -> Caught {
        let caught = format!(
            "let caught = try {{ {script} | collect | ignore; null }} catch {{|error| $error.details }}; $caught | to json --raw"
        );
        let said = self.ok(&caught);
        let found: Option<Caught> =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{script}\n--- {error}\n{said}"));
        found.unwrap_or_else(|| panic!("{script}\n--- did not fail"))
    }
}

impl Caught {
    /// Asserts the code, a part of the message (a position, a name) and a part of the next step together.
    #[track_caller]
    pub fn is(&self, code: &str, in_message: &str, in_help: &str) -> &Self {
        assert_eq!(self.code.as_deref(), Some(code), "{self:#?}");
        assert!(self.msg.contains(in_message), "no `{in_message}` in {self:#?}");
        assert!(self.help.as_deref().unwrap_or_default().contains(in_help), "no `{in_help}` in {self:#?}");
        self
    }

    /// This error and those beneath it, in order.
    pub fn all(&self) -> Vec<&Caught> {
        std::iter::once(self).chain(&self.inner).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(home) = &self.sandbox {
            let _ = control::stop(home);
        }
    }
}

/// Waits for a bounded time, reading both outputs meanwhile.
pub(crate) fn finish(mut child: Child, script: &str) -> Said {
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{script}\n--- did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Said { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
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

/// Holds a table that was counted against the one in a document, which begins with the same two cells; `WRITE_TABLE=1`
/// writes it there.
#[track_caller]
pub fn table_in(document: &str, table: &str) {
    let file = workspace().join(document);
    let text = std::fs::read_to_string(&file).unwrap();
    let first = table.match_indices('|').nth(2).map_or(table, |(at, _)| &table[..at]);
    let begin = text.find(first).unwrap_or(text.len());
    let end = text[begin..].find("\n\n").map_or(text.len(), |at| begin + at + 1);
    let whole = format!("{}{table}{}", &text[..begin], &text[end..]);
    if std::env::var("WRITE_TABLE").is_ok() {
        std::fs::write(&file, whole).unwrap();
    } else {
        assert!(whole == text, "the table of {document} is another one; write it with WRITE_TABLE=1:\n{table}");
    }
}

/// The folder of the workspace, for tests that read examples.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
