//! Owns `cargo xtask install`: a release build, registered with the user's Nushell.

use crate::{nu, process, workspace};
use clap::Args;
use std::path::PathBuf;
use std::process::Command;

/// The flags.
#[derive(Args)]
pub struct Install {
    /// Plugin registry file to add to; that of your Nushell by default.
    #[arg(long)]
    plugin_config: Option<PathBuf>,
    /// Use what is built already, of this profile (`release` or `debug`), and build nothing.
    #[arg(long)]
    built: Option<String>,
}

impl Install {
    /// Builds, registers, and says what to add to the configuration.
    pub fn run(self) -> Result<(), String> {
        let nu = nu::get()?;
        let profile = match &self.built {
            Some(profile) => profile.as_str(),
            None => {
                println!("building a release");
                process::shown(workspace::cargo().args(["build", "--workspace", "--release"]))?;
                "release"
            }
        };
        let plugins = workspace::plugins(profile)?;
        for plugin in &plugins {
            let mut command = Command::new(&nu);
            let add = match &self.plugin_config {
                Some(file) => {
                    command.arg("-n");
                    format!("plugin add --plugin-config '{}' '{}'", file.display(), plugin.display())
                }
                None => format!("plugin add '{}'", plugin.display()),
            };
            process::output(command.args(["-c", &add]))?;
            println!("registered {}", plugin.display());
        }
        println!();
        println!("Open a new Nushell, or load them into this one:");
        println!("    plugin use nickel; plugin use policy; plugin use provision");
        println!("Add to your config.nu to have nu-lib, and Nickel warm for five minutes:");
        println!("    use '{}'", workspace::root().join("nu-lib/nu-lib").display());
        println!("    $env.config.plugin_gc.plugins = {{nickel: {{stop_after: 5min}}}}");
        Ok(())
    }
}
