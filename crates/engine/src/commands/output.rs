//! Owns outputs: what the configuration promises to tell, resolved against the state.

use crate::commands::Session;
use crate::configuration::desired::attribute_of;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::{Address, Json, Map, SENSITIVE, resolve};

impl Session {
    /// All outputs; what is not there yet is null, what is sensitive is masked and given only by name.
    pub fn outputs(&self) -> Result<Map, Failure> {
        let written = self.workspace.store.outputs()?;
        written
            .into_iter()
            .map(|(name, value)| {
                Ok(match value_of(&self.workspace, &value)? {
                    None => (name, Json::Null),
                    Some((_, true)) => (name, Json::from(SENSITIVE)),
                    Some((value, false)) => (name, value),
                })
            })
            .collect()
    }

    /// One output.
    pub fn output(&self, name: &str) -> Result<Json, Failure> {
        let written = self.workspace.store.outputs()?;
        let Some(value) = written.get(name) else {
            return Err(Failure::new(Code::OutputUnknown, format!("there is no output `{name}`")).with_help(
                provision_diagnostic::did_you_mean(name, written.keys().map(String::as_str), || {
                    "Run `provision output` for all of them.".to_owned()
                }),
            ));
        };
        value_of(&self.workspace, value)?.map(|(value, _)| value).ok_or_else(|| {
            Failure::new(
                Code::OutputUnresolved,
                format!("the output `{name}` refers to something that is not there yet"),
            )
            .with_help("Run `provision apply`.")
        })
    }
}

/// The value, and whether it is sensitive.
fn value_of(on: &Workspace, value: &Json) -> Result<Option<(Json, bool)>, Failure> {
    let attribute = |address: &Address, name: &str| -> Result<Option<(Json, bool)>, Failure> {
        let Some(resource) = on.store.resource(address.as_str())? else { return Ok(None) };
        attribute_of(&resource.attributes, &resource.inputs, name)
            .map(|value| on.store.sealer().reveal(&value))
            .transpose()
    };
    let (value, sealed) = on.store.sealer().reveal(value)?;
    let resolved = resolve(&value, &attribute, on)?;
    Ok((!resolved.unknown).then_some((resolved.value, sealed || resolved.sensitive)))
}
