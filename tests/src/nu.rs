//! Owns where the programs under test are: `nu` of the one supported version, and the binaries that were just built.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The one version of Nushell the plugins speak to.
pub const NU_VERSION: &str = "0.115.1";

/// `$NU_BIN`, `nu` on the path, or the one that `cargo xtask test` keeps under `target/nu`; a test without it fails.
pub fn find_nu() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let kept = workspace.join("target/nu/node_modules/@nushell");
    let platform = format!("{}-{}/bin/nu", platform(), architecture());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::var_os("NU_BIN")
        .map(PathBuf::from)
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join("nu")))
        .chain([kept.join(platform), workspace.join("target/nu/bin/nu")]);
    let mut wrong = Vec::new();
    for candidate in candidates.filter(|candidate| candidate.is_file()) {
        match version(&candidate) {
            Some(found) if found == NU_VERSION => return candidate,
            found => wrong.push(format!("{} is {}", candidate.display(), found.unwrap_or_else(|| "not a nu".into()))),
        }
    }
    panic!("nu {NU_VERSION} is needed ({}); `cargo xtask test` fetches it, or set NU_BIN", wrong.join(", "));
}

fn version(nu: &Path) -> Option<String> {
    let output = Command::new(nu).arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "riscv64gc" | "riscv64" => "riscv64",
        other => other,
    }
}

/// A binary that was built beside the running test: `<target>/<profile>/<name>`.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(binary.is_file(), "{} is not built; run `cargo build --workspace` first", binary.display());
    binary
}

/// The provisioning plugin's process that a `nu` started.
pub fn plugin_of(nu: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{nu}/task/{nu}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("nu_plugin_provi"))
    })
}
