//! Owns the plugin between Nushell and Cedar: its state, which is the generated schema, and its list of commands.

#![expect(
    clippy::result_large_err,
    reason = "Nushell's own error types are this large, and its traits return them by value"
)]

mod commands;
mod given;

use nu_plugin::{EngineInterface, Plugin, PluginCommand};
use nu_protocol::ShellError;
use provision_diagnostic::Failure;
use provision_nu_bridge::user_dir;
use provision_policy::Schema;
use provision_registry::Registry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The schema generated from the manifests in force.
#[derive(Clone)]
pub(crate) struct Generated {
    pub text: String,
    pub schema: Arc<Schema>,
}

struct Kept {
    project: Option<PathBuf>,
    user_dir: Option<PathBuf>,
    registry: Registry,
    generated: Generated,
}

/// The plugin's state.
#[derive(Default)]
pub struct PolicyPlugin {
    kept: Mutex<Option<Kept>>,
}

impl PolicyPlugin {
    /// The schema of a project, made again when a manifest changed.
    pub(crate) fn generated(
        &self,
        engine: &EngineInterface,
        project: Option<&Path>,
    ) -> Result<Result<Generated, Failure>, ShellError> {
        let user_dir = user_dir(engine)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && kept.project.as_deref() == project
            && kept.user_dir == user_dir
            && kept.registry.is_current(project, user_dir.as_deref())
        {
            return Ok(Ok(kept.generated.clone()));
        }
        let made = Registry::load(project, user_dir.as_deref(), &Default::default()).and_then(|registry| {
            let text = registry.cedar_schema();
            let schema = Arc::new(Schema::parse("generated.cedarschema", &text)?);
            let generated = Generated { text, schema };
            let project = project.map(Path::to_owned);
            *kept = Some(Kept { project, user_dir, registry, generated: generated.clone() });
            Ok(generated)
        });
        Ok(made)
    }
}

/// The project of the shell's folder, found upwards.
pub(crate) fn project(engine: &EngineInterface) -> Result<Option<PathBuf>, ShellError> {
    let here = PathBuf::from(engine.get_current_dir()?);
    Ok(here.ancestors().find(|above| above.join("infra.ncl").is_file()).map(Path::to_owned))
}

impl Plugin for PolicyPlugin {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn commands(&self) -> Vec<Box<dyn PluginCommand<Plugin = Self>>> {
        commands::all()
    }
}
