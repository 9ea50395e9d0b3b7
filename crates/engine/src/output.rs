//! Owns outputs: what the configuration promises to tell, resolved against the state.

use crate::Session;
use provision_diagnostic::Failure;
use provision_model::{Address, Json, Map, lookup, resolve};

/// All outputs; what is not there yet is null.
pub fn outputs(session: &Session) -> Result<Map, Failure> {
    let written = session.store.outputs()?;
    written.into_iter().map(|(name, value)| Ok((name, value_of(session, &value)?.unwrap_or(Json::Null)))).collect()
}

/// One output.
pub fn output(session: &Session, name: &str) -> Result<Json, Failure> {
    let written = session.store.outputs()?;
    let Some(value) = written.get(name) else {
        let near = provision_diagnostic::nearest(name, written.keys().map(String::as_str));
        return Err(Failure::new("provision::output::unknown", format!("there is no output `{name}`")).with_help(
            near.map_or_else(
                || "Run `provision output` for all of them.".to_owned(),
                |near| format!("Did you mean `{near}`?"),
            ),
        ));
    };
    value_of(session, value)?.ok_or_else(|| {
        Failure::new(
            "provision::output::unresolved",
            format!("the output `{name}` refers to something that is not there yet"),
        )
        .with_help("Run `provision apply`.")
    })
}

fn value_of(session: &Session, value: &Json) -> Result<Option<Json>, Failure> {
    let attribute = |address: &Address, name: &str| -> Result<Option<Json>, Failure> {
        let Some(resource) = session.store.resource(address.as_str())? else { return Ok(None) };
        attribute_of(&resource.attributes, &resource.inputs, name)
            .map(|value| session.store.sealer().open_value(&value))
            .transpose()
    };
    let resolved = resolve(value, &attribute, &|name| session.env_json(name))?;
    Ok((!resolved.unknown).then_some(resolved.value))
}

/// An attribute by dotted name: what the cloud says first, then what was sent.
pub fn attribute_of(attributes: &Map, inputs: &Map, name: &str) -> Option<Json> {
    let find = |map: &Map| {
        map.get(name).cloned().or_else(|| {
            let (first, rest) = name.split_once('.')?;
            lookup(map.get(first)?, rest).cloned()
        })
    };
    find(attributes).or_else(|| find(inputs))
}
