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
use provision_nickel::Evaluator;
use provision_nu_bridge::user_dir;
use provision_policy::Schema;
use provision_registry::{Registry, Warm};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The schema generated from the manifests in force.
#[derive(Clone)]
pub(crate) struct Generated {
    pub text: String,
    pub schema: Arc<Schema>,
}

/// The plugin's state.
#[derive(Default)]
pub struct PolicyPlugin {
    evaluator: Evaluator,
    registry: Warm,
    /// The schema last made, and the manifests it was made of.
    kept: Mutex<Option<(Arc<Registry>, Generated)>>,
}

impl PolicyPlugin {
    /// The schema of a project, made again when a manifest changed.
    pub(crate) fn generated(
        &self,
        engine: &EngineInterface,
        project: Option<&Path>,
    ) -> Result<Result<Generated, Failure>, ShellError> {
        let user_dir = user_dir(engine)?;
        let registry = match self.registry.get(project, user_dir.as_deref(), &self.evaluator) {
            Ok(registry) => registry,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_of, generated)) = &*kept
            && Arc::ptr_eq(made_of, &registry)
        {
            return Ok(Ok(generated.clone()));
        }
        let text = registry.cedar_schema();
        Ok(Schema::parse("generated.cedarschema", &text).map(|schema| {
            let generated = Generated { text, schema: Arc::new(schema) };
            *kept = Some((registry, generated.clone()));
            generated
        }))
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
