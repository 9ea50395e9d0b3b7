//! Owns outputs: what the configuration promises to tell, resolved against the state.

use crate::Session;
use provision_diagnostic::Failure;
use provision_model::{Address, Json, Map, SENSITIVE, lookup, resolve};

/// All outputs; what is not there yet is null, what is sensitive is masked and given only by name.
pub fn outputs(session: &Session) -> Result<Map, Failure> {
    let written = session.store.outputs()?;
    written
        .into_iter()
        .map(|(name, value)| {
            Ok(match value_of(session, &value)? {
                None => (name, Json::Null),
                Some((_, true)) => (name, Json::from(SENSITIVE)),
                Some((value, false)) => (name, value),
            })
        })
        .collect()
}

/// One output.
pub fn output(session: &Session, name: &str) -> Result<Json, Failure> {
    let written = session.store.outputs()?;
    let Some(value) = written.get(name) else {
        return Err(Failure::new("provision::output::unknown", format!("there is no output `{name}`")).with_help(
            provision_diagnostic::did_you_mean(name, written.keys().map(String::as_str), || {
                "Run `provision output` for all of them.".to_owned()
            }),
        ));
    };
    value_of(session, value)?.map(|(value, _)| value).ok_or_else(|| {
        Failure::new(
            "provision::output::unresolved",
            format!("the output `{name}` refers to something that is not there yet"),
        )
        .with_help("Run `provision apply`.")
    })
}

/// The value, and whether it is sensitive.
fn value_of(session: &Session, value: &Json) -> Result<Option<(Json, bool)>, Failure> {
    let attribute = |address: &Address, name: &str| -> Result<Option<(Json, bool)>, Failure> {
        let Some(resource) = session.store.resource(address.as_str())? else { return Ok(None) };
        attribute_of(&resource.attributes, &resource.inputs, name)
            .map(|value| session.store.sealer().reveal(&value))
            .transpose()
    };
    let (value, sealed) = session.store.sealer().reveal(value)?;
    let resolved = resolve(&value, &attribute, session)?;
    Ok((!resolved.unknown).then_some((resolved.value, sealed || resolved.sensitive)))
}

/// An attribute by dotted name: what the cloud says first, then what was sent.
pub fn attribute_of(attributes: &Map, inputs: &Map, name: &str) -> Option<Json> {
    let find = |map: &Map| {
        map.get(name).cloned().or_else(|| {
            let (first, rest) = name.split_once('.')?;
            lookup(map.get(first)?, rest).cloned()
        })
    };
    find(attributes).or_else(|| match name.split_once('.') {
        // What the cloud shows is whole: what is not in it is not there any more, whatever was sent.
        Some((first, _)) if attributes.contains_key(first) => None,
        _ => find(inputs),
    })
}
