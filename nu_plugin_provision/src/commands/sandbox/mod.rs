//! Owns the list of the commands about the sandbox, and where it lives.

mod faults;
mod mutate;
mod requests;
mod reset;
mod start;
mod status;
mod stop;

use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, PluginCommand};
use nu_protocol::LabeledError;
use provision_nu_bridge::{env_string, resolve_path};
use provision_sandbox::control::Home;
use std::path::PathBuf;

/// Every `provision sandbox` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![
        Box::new(start::SandboxStart),
        Box::new(stop::SandboxStop),
        Box::new(status::SandboxStatus),
        Box::new(reset::SandboxReset),
        Box::new(requests::SandboxRequests),
        Box::new(faults::SandboxFaults),
        Box::new(mutate::SandboxMutate),
    ]
}

use super::{category, value};

/// Where the user's one sandbox lives: `nu-provision/sandbox` in the folder for state.
fn home(engine: &EngineInterface) -> Result<Home, LabeledError> {
    let base = match (env_string(engine, "XDG_STATE_HOME")?, env_string(engine, "HOME")?) {
        (Some(base), _) => resolve_path(engine, &base)?,
        (None, Some(home)) => PathBuf::from(home).join(".local/state"),
        // A folder that all share would be anybody's.
        (None, None) => {
            return Err(LabeledError::new(
                "there is no folder for the sandbox: neither XDG_STATE_HOME nor HOME is set",
            )
            .with_help("Set `$env.HOME`."));
        }
    };
    Ok(Home(base.join("nu-provision/sandbox")))
}
