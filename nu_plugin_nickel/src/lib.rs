//! Owns the plugin between Nushell and Nickel: its state, which is the warm evaluator, and its list of commands.

#![expect(
    clippy::result_large_err,
    reason = "Nushell's own error types are this large, and its traits return them by value"
)]

mod commands;
mod input;

use nu_plugin::{EngineInterface, Plugin, PluginCommand};
use nu_protocol::ShellError;
use provision_diagnostic::Failure;
use provision_nickel::{Evaluator, Library};
use provision_nu_bridge::user_dir;
use provision_registry::Warm;
use std::path::Path;
use std::sync::Arc;

/// The plugin's state.
#[derive(Default)]
pub struct NickelPlugin {
    pub(crate) evaluator: Evaluator,
    registry: Warm,
}

impl NickelPlugin {
    /// What `import "provision.ncl"` gives a file of this folder: generated from the manifests in force there.
    pub(crate) fn library(
        &self,
        engine: &EngineInterface,
        folder: &Path,
    ) -> Result<Result<Arc<Library>, Failure>, ShellError> {
        let project = folder.ancestors().find(|above| above.join("infra.ncl").is_file()).map(Path::to_owned);
        let user_dir = user_dir(engine)?;
        let registry = self.registry.get(project.as_deref(), user_dir.as_deref(), &self.evaluator);
        Ok(registry.map(|registry| registry.library()))
    }
}

impl Plugin for NickelPlugin {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn commands(&self) -> Vec<Box<dyn PluginCommand<Plugin = Self>>> {
        commands::all()
    }
}
