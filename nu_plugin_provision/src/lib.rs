//! Owns the plugin between Nushell and the engine: its state, which is what stays warm, and its list of commands.

mod closures;
mod commands;
mod open;
mod progress;
mod settling;

use nu_plugin::{MsgPackSerializer, Plugin, PluginCommand, serve_plugin};
pub use provision_engine::RustProviders;
use provision_nickel::Evaluator;
use provision_registry::Warm;

/// The plugin's state.
#[derive(Default)]
pub struct ProvisionPlugin {
    pub(crate) evaluator: Evaluator,
    pub(crate) registry: Warm,
    pub(crate) rust: RustProviders,
}

impl ProvisionPlugin {
    /// The plugin with these providers written in Rust, for a build of one's own.
    pub fn with_rust(rust: RustProviders) -> Self {
        Self { rust, ..Self::default() }
    }
}

/// Serves the plugin on standard input and output, as Nushell starts it; or evaluates Nickel for one that does. A build of one's
/// own calls it with its providers.
pub fn serve(rust: RustProviders) {
    provision_nickel::serve_or_continue();
    serve_plugin(&ProvisionPlugin::with_rust(rust), MsgPackSerializer);
}

impl Plugin for ProvisionPlugin {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn commands(&self) -> Vec<Box<dyn PluginCommand<Plugin = Self>>> {
        commands::all()
    }
}
