//! Owns `cargo xtask demo`: the shop example from plan to nothing left, in a home of its own.

use crate::{nu, process, workspace};
use clap::Args;
use std::path::Path;

/// The flags.
#[derive(Args)]
pub struct Demo {
    /// Use what is built already.
    #[arg(long)]
    built: bool,
}

const EXAMPLE: &str = "examples/shop";

impl Demo {
    /// Builds, runs the script of the example in a copy of its folder, and looks that nothing was left.
    pub fn run(self) -> Result<(), String> {
        let nu = nu::get()?;
        if !self.built {
            println!("building (the first time takes some minutes)");
            workspace::build()?;
        }
        let plugins = workspace::plugins("debug")?;
        let home = process::scratch()?;
        let project = home.path().join("shop");
        for file in workspace::files(EXAMPLE) {
            let inside = file.strip_prefix(EXAMPLE).unwrap_or(&file);
            copy(&workspace::root().join(&file), &project.join(inside))?;
        }
        let pid_file = home.path().join("sandbox.pid");
        let mut command = nu::with_plugins(&nu, &plugins);
        command.arg("demo.nu").arg(&pid_file).current_dir(&project);
        process::secluded(&mut command, home.path()).env("PROVISION_ACTOR", "env").env("USER", "ada");
        let ran = process::shown(&mut command);
        let left = std::fs::read_to_string(&pid_file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|pid| process::alive(*pid));
        if let Some(pid) = left {
            // Started by the script above; a failed run must not leave it behind.
            let _ = process::output(std::process::Command::new("kill").arg(pid.to_string()));
        }
        ran?;
        if let Some(pid) = left {
            return Err(format!("the sandbox (process {pid}) was still running"));
        }
        if !pid_file.is_file() {
            return Err("the demo did not say which process its sandbox was".to_owned());
        }
        let folder = home.path().to_owned();
        home.close().map_err(|error| format!("{}: {error}", folder.display()))?;
        println!("nothing is left running, and {} is gone", folder.display());
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let folder = to.parent().unwrap_or(to);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::copy(from, to))
        .map(|_| ())
        .map_err(|error| format!("{}: {error}", from.display()))
}
