//! Owns the programs that ours are compared with: fetched from the registry and kept under `target/peers`.

use crate::{process, workspace};
use std::path::PathBuf;
use std::process::Command;

/// The official command of the Nickel version whose library we build on.
const NICKEL: &str = "1.18.0";

/// The official `nickel` command, compiled at the first use.
pub fn nickel() -> Result<PathBuf, String> {
    let folder = workspace::target().join("peers");
    let program = folder.join("bin/nickel");
    let said = Command::new(&program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    if String::from_utf8_lossy(&said).contains(NICKEL) {
        return Ok(program);
    }
    println!("compiling the official nickel command {NICKEL} into {}", folder.display());
    let mut cargo = workspace::cargo();
    cargo.args(["install", "nickel-lang-cli", "--locked", "--quiet", "--force", "--version", NICKEL, "--root"]);
    cargo.arg(&folder).arg("--target-dir").arg(folder.join("build"));
    process::shown(&mut cargo)?;
    Ok(program)
}
