//! Owns the vendors' own clients and moto: where they are, and how they are run in a test's world.

use crate::world::{World, finish, workspace};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Debian's `hcloud`, if it is installed.
pub fn hcloud() -> Option<PathBuf> {
    installed(PathBuf::from("/usr/bin/hcloud"))
}

/// Debian's `aws`, if it is installed.
pub fn aws() -> Option<PathBuf> {
    installed(PathBuf::from("/usr/bin/aws"))
}

/// The Python that has boto3, hcloud, upcloud-api and moto, if it is installed.
pub fn python() -> Option<PathBuf> {
    installed(workspace().join("target/clients/bin/python"))
}

/// The client when it is installed. Where everything must run (`CI=true`) its absence is a failure.
fn installed(path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is not installed", path.display());
    println!("left out: {} is not installed", path.display());
    None
}

impl World {
    /// Runs a client with this world's endpoints, dummy credentials and no file of the user's; it must succeed. What it
    /// printed.
    #[track_caller]
    pub fn client(&self, program: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.project())
            .env_clear()
            .envs(self.environment())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A script may be long.
        let told: Vec<String> = arguments.iter().map(|it| it.chars().take(100).collect()).collect();
        let what = format!("{} {}", program.display(), told.join(" "));
        let said = finish(command.spawn().unwrap(), &what);
        assert!(said.status.success(), "{what}: {}\n{}\n{}", said.status, said.stdout, said.stderr);
        said.stdout.trim().to_owned()
    }
}

/// Serves EC2 on a port of its own until the input ends, which it does with the test.
const SERVE: &str = r#"
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
"#;

/// A moto server, stopped when dropped.
pub struct Moto {
    child: Child,
    pub url: String,
}

impl Moto {
    /// Starts one, if it is installed.
    pub fn start() -> Option<Self> {
        let python = python()?;
        let mut child = Command::new(python)
            .args(["-c", SERVE])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "moto did not start: {url:?}");
        Some(Self { child, url: url.trim().to_owned() })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
