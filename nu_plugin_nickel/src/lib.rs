//! Owns the plugin between Nushell and Nickel: its state, which is the warm evaluator, and its list of commands.

#![expect(
    clippy::result_large_err,
    reason = "Nushell's own error types are this large, and its traits return them by value"
)]

mod commands;
mod complete;
mod input;
mod settings;

use nu_plugin::{EngineInterface, Plugin, PluginCommand};
use nu_protocol::{ShellError, Span, Value};
use provision_diagnostic::Failure;
use provision_nickel::{Evaluator, Library};
use provision_nu_bridge::user_dir;
use provision_registry::Warm;
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Folders remembered.
const FOLDERS: usize = 1000;

/// The plugin's state.
#[derive(Default)]
pub struct NickelPlugin {
    pub(crate) evaluator: Evaluator,
    registry: Warm,
    /// Results as Nushell's values, each for its digest and the place of the call.
    pub(crate) converted: Mutex<VecDeque<(String, Span, Value)>>,
    /// Folders whose files import the built-in schemas.
    with_schemas: Mutex<HashSet<PathBuf>>,
}

impl NickelPlugin {
    /// Starts what the first command would start.
    pub fn warm_up(&self) {
        self.evaluator.warm_up();
    }

    /// Whether the built-in schemas were needed for a file of this folder before.
    pub(crate) fn imports_schemas(&self, folder: &Path) -> bool {
        self.with_schemas.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }

    /// Remembers that they were.
    pub(crate) fn note_schemas(&self, folder: &Path) {
        let mut known = self.with_schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= FOLDERS {
            known.clear();
        }
        known.insert(folder.to_owned());
    }

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
