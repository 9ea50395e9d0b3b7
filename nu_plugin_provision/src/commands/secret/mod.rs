//! Owns the list of the commands about secrets, and what they have in common.

mod decrypt;
mod edit;
mod encrypt;
mod init;
mod list;
mod rotate;

use crate::ProvisionPlugin;
use crate::open::required_project;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{LabeledError, Signature, Spanned, SyntaxShape, Value};
use provision_engine::Secrets;
use provision_nu_bridge::env_string;
use std::path::PathBuf;

/// Every `provision secret` command.
pub fn all() -> Vec<Box<dyn PluginCommand<Plugin = ProvisionPlugin>>> {
    vec![
        Box::new(init::SecretInit),
        Box::new(encrypt::SecretEncrypt),
        Box::new(decrypt::SecretDecrypt),
        Box::new(edit::SecretEdit),
        Box::new(rotate::SecretRotate),
        Box::new(list::SecretList),
    ]
}

use super::{category, value};

/// The secrets of the project of this call. Its state is not opened.
fn secrets(engine: &EngineInterface, call: &EvaluatedCall) -> Result<Secrets, LabeledError> {
    let project = required_project(engine, call)?;
    let here = PathBuf::from(engine.get_current_dir()?);
    // A variable that is no text is none of ours.
    let env = |name: &str| env_string(engine, name).ok().flatten();
    Ok(Secrets::new(&project, &here, &env))
}

fn recipient_flag(signature: Signature, what: &str) -> Signature {
    signature.named("recipient", SyntaxShape::Any, what, Some('r'))
}

/// The public keys of `--recipient`, one or a list of them.
fn given_recipients(call: &EvaluatedCall) -> Result<Option<Spanned<Vec<String>>>, LabeledError> {
    let Some(value) = call.get_flag_value("recipient") else { return Ok(None) };
    let span = value.span();
    let item = match &value {
        Value::List { vals, .. } => vals.iter().map(Value::coerce_string).collect::<Result<Vec<String>, _>>()?,
        one => vec![one.coerce_string()?],
    };
    Ok(Some(Spanned { item, span }))
}
