//! Owns the list of the commands about consent, and what they share.

mod add;
mod list;
mod remove;

use crate::ProvisionPlugin;
use crate::open::{actor, environment, project_flag, required_project, variables};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::Failure;
use provision_engine::{Environment, Wanted, trust};
use provision_nu_bridge::{labeled, user_dir};
use provision_registry::{Consent, Lock};
use std::path::PathBuf;
use std::sync::Arc;

/// Every `provision trust` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![Box::new(list::TrustList), Box::new(add::TrustAdd), Box::new(remove::TrustRemove)]
}

use super::{category, value};

/// The arguments of the commands that change something.
fn signature(name: &str) -> Signature {
    let signature = Signature::build(name)
        .required("kind", SyntaxShape::String, "`host`, `provider` or `import`.")
        .required("what", SyntaxShape::String, "The URL of a host, the name of a provider, or a path.")
        .named("provider", SyntaxShape::String, "Whose credentials the host gets.", None)
        .input_output_types(vec![(Type::Nothing, Type::table())])
        .category(category());
    project_flag(signature)
}

/// Gives or takes back what a call names; the consents that there are then.
fn change(engine: &EngineInterface, call: &EvaluatedCall, given: bool) -> Result<PipelineData, LabeledError> {
    let (kind, what): (String, Spanned<String>) = (call.req(0)?, call.req(1)?);
    let provider: Option<String> = call.get_flag("provider")?;
    let raised = |failure: Failure| labeled(&failure, what.span, "this");
    let project = required_project(engine, call)?;
    let wanted = Wanted { kind: &kind, what: &what.item, provider: provider.as_deref() };
    let here = PathBuf::from(engine.get_current_dir()?);
    let consent = wanted.consent(&project, &here, user_dir(engine)?.as_deref()).map_err(raised)?;
    let variables = variables(engine)?;
    let who = actor(&variables).map_err(raised)?;
    let env: Environment = Arc::new(move |name: &str| variables.get(name).cloned());
    let lock =
        trust(&project, &env, environment(engine, call)?.as_deref(), &who.id, &consent, given).map_err(raised)?;
    Ok(rows(&lock, call))
}

/// A row for each consent: its kind, the provider it is about, and what is trusted.
fn rows(lock: &Lock, call: &EvaluatedCall) -> PipelineData {
    let row = |consent: &Consent| {
        let (kind, provider, what) = match consent {
            Consent::Host { provider, host } => ("host", Some(provider), host),
            Consent::Provider { provider, digest } => ("provider", Some(provider), digest),
            Consent::Import { path } => ("import", None, path),
        };
        value(&serde_json::json!({"kind": kind, "provider": provider, "what": what}), call.head, &[])
    };
    PipelineData::value(Value::list(lock.trust.all().iter().map(row).collect(), call.head), None)
}
