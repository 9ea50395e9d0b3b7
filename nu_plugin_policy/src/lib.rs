//! Owns the plugin between Nushell and Cedar: its state, which is what is kept between calls, and its list of commands.

#![expect(
    clippy::result_large_err,
    reason = "Nushell's own error types are this large, and its traits return them by value"
)]

mod asking;
mod commands;
mod given;
mod keep;

use keep::{Keep, key};
use nu_plugin::{EngineInterface, Plugin, PluginCommand};
use nu_protocol::ShellError;
use provision_diagnostic::Code;
use provision_diagnostic::Failure;
use provision_nickel::{Evaluator, Request};
use provision_nu_bridge::{env_paths, user_dir};
use provision_policy::{Authorizer, PolicySet, PolicySource, Schema};
use provision_registry::{Registry, Warm, real};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The schema generated from the manifests in force.
#[derive(Clone)]
pub(crate) struct Generated {
    pub text: String,
    pub schema: Arc<Schema>,
}

/// The folder of policies when a project names none.
const POLICIES: &str = "policies";

/// The plugin's state.
#[derive(Default)]
pub struct PolicyPlugin {
    evaluator: Evaluator,
    registry: Warm,
    /// The schema last made, and the manifests it was made of.
    kept: Mutex<Option<(Arc<Registry>, Generated)>>,
    policies: Keep<PolicySet>,
    schemas: Keep<Schema>,
    authorizers: Arc<Keep<Authorizer>>,
}

impl PolicyPlugin {
    /// Policies compiled from their sources, once for as long as these are the same.
    pub(crate) fn policies(
        &self,
        sources: &[PolicySource],
        folder: bool,
        shown: &str,
    ) -> Result<Arc<PolicySet>, Failure> {
        let texts = sources.iter().flat_map(|source| [source.name.as_str(), source.text.as_str()]);
        let how = if folder { "folder" } else { "" };
        self.policies.get(key([how, shown].into_iter().chain(texts)), || match folder {
            true => PolicySet::parse_folder(sources, shown),
            false => PolicySet::parse(sources),
        })
    }

    /// A schema read once.
    pub(crate) fn schema(&self, name: &str, text: &str) -> Result<Arc<Schema>, Failure> {
        self.schemas.get(key([name, text]), || Schema::parse(name, text))
    }

    /// The authorizers made before.
    pub(crate) fn authorizers(&self) -> &Arc<Keep<Authorizer>> {
        &self.authorizers
    }

    /// The folder of a project's policies, as its `infra.ncl` writes it: that of `$env.PROVISION_ENVIRONMENT` first.
    pub(crate) fn policy_folder(
        &self,
        engine: &EngineInterface,
        project: &Path,
    ) -> Result<Result<String, Failure>, ShellError> {
        let environment = match engine.get_env_var("PROVISION_ENVIRONMENT")? {
            Some(name) => Some(name.coerce_into_string()?).filter(|name| !name.is_empty()),
            None => None,
        };
        let file = project.join("infra.ncl");
        if let Some(name) = &environment {
            let there = |field: &str| self.evaluate(engine, &file, Some(field));
            let known = !name.contains(['"', '\\']) && there(&format!("environments.\"{name}\""))?.is_ok();
            // A file that cannot be evaluated says so itself.
            if !known && there("name")?.is_ok() {
                return Ok(Err(Failure::new(Code::ConfigEnvironment, format!("there is no environment `{name}`"))
                    .with_help("Correct PROVISION_ENVIRONMENT, or add the environment to infra.ncl.")));
            }
        }
        let own = environment.map(|name| format!("environments.\"{name}\".policies"));
        for field in own.iter().map(String::as_str).chain(["policies"]) {
            match self.evaluate(engine, &file, Some(field))? {
                Ok(value) => return Ok(Ok(value.as_str().unwrap_or(POLICIES).to_owned())),
                Err(failure) if failure.code() == Code::NickelEvalMissingField => {}
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(POLICIES.to_owned()))
    }

    /// The data in a Nickel, JSON, YAML or TOML file.
    pub(crate) fn data(
        &self,
        engine: &EngineInterface,
        file: &Path,
    ) -> Result<Result<serde_json::Value, Failure>, ShellError> {
        self.evaluate(engine, file, None)
    }

    fn evaluate(
        &self,
        engine: &EngineInterface,
        file: &Path,
        field: Option<&str>,
    ) -> Result<Result<serde_json::Value, Failure>, ShellError> {
        let project = file.ancestors().find(|above| above.join("infra.ncl").is_file());
        let registry = match self.registry.get(project, user_dir(engine)?.as_deref(), &self.evaluator) {
            Ok(registry) => registry,
            Err(failure) => return Ok(Err(failure)),
        };
        let import_paths = env_paths(engine, "NICKEL_IMPORT_PATH")?;
        let request = Request {
            field: field.map(str::to_owned),
            library: Some(registry.library()),
            confine: project.map(|project| {
                // As `provision` commands have it: whoever wrote the project must not reach out of it.
                let import_paths = import_paths.iter().map(|folder| real(folder));
                registry.import_roots(project).into_iter().chain(import_paths).collect()
            }),
            import_paths,
            shown_from: Some(PathBuf::from(engine.get_current_dir()?)),
            ..Request::file(file)
        };
        Ok(self.evaluator.eval(&request).map(|evaluation| evaluation.value.clone()))
    }

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
