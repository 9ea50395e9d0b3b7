//! Owns the list of the commands about providers.

mod add;
mod catalog;
mod check;
mod list;
mod remove;
mod schema;
mod test;
mod upgrade;

use crate::ProvisionPlugin;
use crate::open::variables;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{LabeledError, Spanned};
use provision_diagnostic::Code;
use provision_diagnostic::Failure;
use provision_engine::Environment;
use provision_nu_bridge::{labeled, resolve_path, user_dir};
use provision_registry::{Manifest, Registry};
use std::path::Path;
use std::sync::Arc;

/// Every `provision provider` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![
        Box::new(list::ProviderList),
        Box::new(check::ProviderCheck),
        Box::new(schema::ProviderSchema),
        Box::new(catalog::ProviderCatalog),
        Box::new(test::ProviderTest),
        Box::new(add::ProviderAdd),
        Box::new(upgrade::ProviderUpgrade),
        Box::new(remove::ProviderRemove),
    ]
}

use super::{category, value};

/// The manifests in force for a project.
fn registry(
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    project: Option<&Path>,
) -> Result<Arc<Registry>, LabeledError> {
    plugin
        .registry
        .get(project, user_dir(engine)?.as_deref(), &plugin.evaluator)
        .map_err(|failure| labeled(&failure, call.head, "while loading the manifests"))
}

/// The manifest of a provider by name; the error names the nearest.
fn manifest<'a>(registry: &'a Registry, name: &Spanned<String>) -> Result<&'a Arc<Manifest>, LabeledError> {
    registry.manifest(&name.item).ok_or_else(|| {
        let known: Vec<&str> = registry.manifests().map(|manifest| manifest.name.as_str()).collect();
        let failure = Failure::new(Code::ProviderUnknown, format!("there is no provider `{}`", name.item)).with_help(
            provision_diagnostic::did_you_mean(&name.item, known.iter().copied(), || {
                format!("Installed: {}.", known.join(", "))
            }),
        );
        labeled(&failure, name.span, "this provider")
    })
}

/// The environment variables, as a session wants them.
fn env(engine: &EngineInterface) -> Result<Environment, LabeledError> {
    let variables = variables(engine)?;
    Ok(Arc::new(move |name: &str| variables.get(name).cloned()))
}

/// A candidate at a path, checked.
fn candidate(
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    path: &Spanned<String>,
) -> Result<provision_registry::Candidate, LabeledError> {
    let digest: Option<String> = call.get_flag("digest")?;
    let at = resolve_path(engine, &path.item)?;
    provision_registry::open(&at, digest.as_deref(), &plugin.evaluator)
        .map_err(|failure| labeled(&failure, path.span, "this provider"))
}

/// The resources of a provider in the project's states.
fn held(
    engine: &EngineInterface,
    call: &EvaluatedCall,
    project: &Path,
    name: &str,
) -> Result<Vec<(String, String)>, LabeledError> {
    provision_engine::held_of(project, &env(engine)?, name)
        .map_err(|failure| labeled(&failure, call.head, "while looking at the state"))
}
