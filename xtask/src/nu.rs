//! Owns getting a `nu` of the one supported version: the user's, or one kept under `target/nu`.

use crate::{process, workspace};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The one version of Nushell the plugins speak to.
pub const VERSION: &str = "0.115.1";

/// `$NU_BIN`, `nu` on the path, the one under `target/nu`, or a fetched one. A wrong version is named and not used.
pub fn get() -> Result<PathBuf, String> {
    let kept = workspace::target().join("nu");
    let packaged = kept.join("node_modules/@nushell").join(package()).join("bin/nu");
    let compiled = kept.join("bin/nu");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::var_os("NU_BIN")
        .map(PathBuf::from)
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join("nu")))
        .chain([packaged.clone(), compiled.clone()]);
    for candidate in candidates.filter(|candidate| candidate.is_file()) {
        match version(&candidate) {
            Some(found) if found == VERSION => return Ok(candidate),
            Some(found) => println!("not using {}: it is nu {found}, needed is {VERSION}", candidate.display()),
            None => println!("not using {}: it does not say its version", candidate.display()),
        }
    }
    println!("fetching nu {VERSION} into {}", kept.display());
    from_npm(&kept);
    if version(&packaged).as_deref() == Some(VERSION) {
        return Ok(packaged);
    }
    println!("the npm package is not to be had; compiling nu {VERSION}, which takes a while");
    let mut cargo = workspace::cargo();
    cargo.args(["install", "nu", "--locked", "--version", VERSION, "--root"]).arg(&kept);
    process::shown(&mut cargo)?;
    Ok(compiled)
}

/// A failure is seen by the caller: the file is not there.
fn from_npm(kept: &Path) {
    let specification = format!("@nushell/{}@{VERSION}", package());
    let _ = std::fs::create_dir_all(kept);
    let _ = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"])
        .arg(kept)
        .arg(specification)
        .stdin(Stdio::null())
        .status();
}

/// The npm package that carries the binary of this platform.
fn package() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{os}-{architecture}")
}

/// The version a `nu` says it has.
pub fn version(nu: &Path) -> Option<String> {
    let output = Command::new(nu).arg("--version").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && said.starts_with(|c: char| c.is_ascii_digit())).then_some(said)
}

/// A `nu` command without the user's configuration and with these plugins.
pub fn with_plugins(nu: &Path, plugins: &[PathBuf]) -> Command {
    let mut command = Command::new(nu);
    command.args(["-n", "--plugins", &list(plugins)]);
    command
}

/// Paths as a Nushell list.
pub fn list(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("\"{}\"", path.display())).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_the_crates_are_pinned_to() {
        let manifest = workspace::read("Cargo.toml").unwrap();
        for name in ["nu-plugin", "nu-protocol", "nu-plugin-test-support"] {
            assert!(manifest.contains(&format!("{name} = \"={VERSION}\"")), "{name} is not pinned to {VERSION}");
        }
        let harness = workspace::read("tests/src/nu.rs").unwrap();
        assert!(harness.contains(&format!("NU_VERSION: &str = \"{VERSION}\"")), "the test harness wants another nu");
    }
}
