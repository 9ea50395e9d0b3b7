//! Owns the plugin between Nushell and the engine: its state, which is what stays warm, and its list of commands.

mod closures;
mod commands;
mod open;
mod progress;

use nu_plugin::{Plugin, PluginCommand};
use provision_nickel::Evaluator;
use provision_registry::Warm;

/// The plugin's state.
#[derive(Default)]
pub struct ProvisionPlugin {
    pub(crate) evaluator: Evaluator,
    pub(crate) registry: Warm,
}

impl Plugin for ProvisionPlugin {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn commands(&self) -> Vec<Box<dyn PluginCommand<Plugin = Self>>> {
        commands::all()
    }
}
