//! Owns the programs that ours are compared with: fetched from the registry and kept under `target/peers`.

use crate::{process, workspace};
use std::path::PathBuf;
use std::process::Command;

/// An official command of a library we build on, in the version of the library.
struct Peer {
    package: &'static str,
    program: &'static str,
    version: &'static str,
}

const NICKEL: Peer = Peer { package: "nickel-lang-cli", program: "nickel", version: "1.18.0" };
const CEDAR: Peer = Peer { package: "cedar-policy-cli", program: "cedar", version: "4.14.1" };

/// The official `nickel` command, compiled at the first use: quickly, for what it says.
pub fn nickel() -> Result<PathBuf, String> {
    NICKEL.get(false)
}

/// The official `nickel` command as its makers release it, for how fast it is.
pub fn nickel_released() -> Result<PathBuf, String> {
    NICKEL.get(true)
}

/// The official `cedar` command.
pub fn cedar() -> Result<PathBuf, String> {
    CEDAR.get(false)
}

/// The official `cedar` command as its makers release it.
pub fn cedar_released() -> Result<PathBuf, String> {
    CEDAR.get(true)
}

impl Peer {
    fn get(&self, released: bool) -> Result<PathBuf, String> {
        let folder = workspace::target().join(if released { "peers/released" } else { "peers" });
        let program = folder.join("bin").join(self.program);
        let said = Command::new(&program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains(self.version) {
            return Ok(program);
        }
        println!("compiling the official {} command {} into {}", self.program, self.version, folder.display());
        let mut cargo = workspace::cargo();
        cargo.args(["install", self.package, "--locked", "--quiet", "--force", "--version", self.version, "--root"]);
        cargo.arg(&folder).arg("--target-dir").arg(folder.join("build"));
        if !released {
            cargo.envs([("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")]);
            cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
        }
        process::shown(&mut cargo)?;
        Ok(program)
    }
}
