//! Owns where the workspace's files are, and what `cargo metadata` says of it.

use crate::process;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The plugins, as they are named on disk.
pub const PLUGINS: [&str; 3] = ["nu_plugin_nickel", "nu_plugin_policy", "nu_plugin_provision"];

/// The root of the workspace.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The three plugins of a profile (`debug` or `release`); an error names the one that is not built.
pub fn plugins(profile: &str) -> Result<Vec<PathBuf>, String> {
    PLUGINS
        .iter()
        .map(|name| {
            let file = target().join(profile).join(name);
            file.is_file().then_some(file).ok_or_else(|| format!("{name} is not built"))
        })
        .collect()
}

/// A `cargo` command in the root of the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the workspace in the profile that tests and demo share.
pub fn build() -> Result<(), String> {
    process::shown(cargo().args(["build", "--workspace", "--quiet"]))
}

/// What cargo knows of every package of the dependency tree.
pub fn metadata() -> Result<Value, String> {
    let text = process::output(cargo().args(["metadata", "--format-version", "1", "--locked", "--offline"]))
        .or_else(|_| process::output(cargo().args(["metadata", "--format-version", "1"])))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

/// All files below a folder that git would not ignore, as paths relative to the root, in order.
pub fn files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root().join(below), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            let skipped = ["target", ".git", ".provision", "node_modules"];
            if !skipped.iter().any(|skip| name == *skip) {
                collect(&path, found);
            }
        } else if let Ok(relative) = path.strip_prefix(root()) {
            found.push(relative.to_path_buf());
        }
    }
}

/// Reads a file of the workspace.
pub fn read(file: impl AsRef<Path>) -> Result<String, String> {
    let path = root().join(file.as_ref());
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", file.as_ref().display()))
}
