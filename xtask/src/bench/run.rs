//! Owns pieces of Nushell timed in turns in one `nu`.

use crate::{nu, process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No piece takes longer.
pub const LIMIT: Duration = Duration::from_secs(900);

/// The real `nu` with the plugins to be measured.
pub struct Run<'a> {
    pub nu: &'a Path,
    pub plugins: &'a [PathBuf],
    pub home: &'a Path,
    pub path: String,
}

impl Run<'_> {
    pub fn command(&self, plugins: &[PathBuf], script: &str) -> std::process::Command {
        let mut command = nu::with_plugins(self.nu, plugins);
        command.args(["--no-std-lib", "-c", script]).current_dir(self.home);
        process::secluded(&mut command, self.home).env("PATH", &self.path);
        command
    }

    /// The value of a script, from JSON.
    pub fn json(&self, script: &str) -> Result<Value, String> {
        let said = process::bounded(&mut self.command(self.plugins, script), LIMIT)?;
        if !said.success {
            return Err(format!("{script}\n{}", said.stderr));
        }
        serde_json::from_str(&said.stdout).map_err(|error| format!("{script}\n{error}\n{}", said.stdout))
    }

    /// Medians, in milliseconds, of pieces of Nushell that take turns; the first round is not counted.
    pub fn medians(
        &self,
        rounds: usize,
        setup: &str,
        pieces: &[(&str, &str)],
    ) -> Result<BTreeMap<String, f64>, String> {
        let mut script = format!("0..{rounds} | each {{|round| {setup}; {{");
        for (name, piece) in pieces {
            let _ = write!(script, "{name}: (timeit {{ {piece} | ignore }}), ");
        }
        script.push_str(
            "} } | skip 1 | each {|row| $row | transpose k v | update v {|it| $it.v / 1ns } | transpose -rd } | to json --raw",
        );
        let rows = self.json(&script)?;
        let rows = rows.as_array().ok_or("no rounds")?;
        let mut medians = BTreeMap::new();
        for (name, _) in pieces {
            let mut times: Vec<f64> = rows.iter().filter_map(|row| row[name].as_f64()).collect();
            times.sort_by(f64::total_cmp);
            let middle = times.get(times.len() / 2).ok_or("no times")?;
            medians.insert((*name).to_owned(), middle / 1e6);
        }
        Ok(medians)
    }
}
