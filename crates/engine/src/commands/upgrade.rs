//! Owns what a new version of a manifest means for the states of a project.

use crate::configuration::environments::states;
use crate::host::Environment;
use indexmap::IndexMap;
use provision_diagnostic::Failure;
use provision_model::Map;
use provision_registry::Manifest;
use provision_state::{Edit, Lease, NewChange};
use std::path::Path;

/// The resources of a provider in the states of a project, `ADDRESS`, or `ENVIRONMENT: ADDRESS`, with their types.
pub fn held_of(project: &Path, env: &Environment, provider: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut held = Vec::new();
    for (environment, store) in states(project, env)? {
        for resource in store.resources()? {
            if resource.kind.split_once('.').is_some_and(|(of, _)| of == provider) {
                let address = match &environment {
                    Some(environment) => format!("{environment}: {}", resource.address),
                    None => resource.address.to_string(),
                };
                held.push((address, resource.kind));
            }
        }
    }
    Ok(held)
}

/// Gives the fields of stored resources the names that a new version of their manifest has for them. Once done it finds
/// nothing to do; it says which resources it changed.
pub fn migrate(project: &Path, env: &Environment, user: &str, manifest: &Manifest) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for (environment, store) in states(project, env)? {
        let mut puts = Vec::new();
        for mut resource in store.resources()? {
            let spec = resource.kind.split_once('.').filter(|(of, _)| *of == manifest.name);
            let Some(spec) = spec.and_then(|(_, kind)| manifest.types.get(kind)) else { continue };
            let renamed = [&mut resource.inputs, &mut resource.attributes].map(|fields| rename(fields, &spec.renamed));
            if renamed.contains(&true) {
                resource.updated_at = store.now();
                puts.push(resource);
            }
        }
        if puts.is_empty() {
            continue;
        }
        all.extend(puts.iter().map(|resource| match &environment {
            Some(environment) => format!("{environment}: {}", resource.address),
            None => resource.address.to_string(),
        }));
        let lease = Lease::acquire(&store, user)?;
        store.refuse_older()?;
        store.edit(&lease, &NewChange::new("upgrade", "cli"), &Edit { puts, ..Edit::default() })?;
        store.checkpoint()?;
    }
    Ok(all)
}

/// Renames fields, keeping their order; whether any had its old name.
fn rename(fields: &mut Map, renamed: &IndexMap<String, String>) -> bool {
    let had = fields.keys().any(|name| renamed.contains_key(name));
    if had {
        let old = std::mem::take(fields);
        fields.extend(old.into_iter().map(|(name, value)| (renamed.get(&name).cloned().unwrap_or(name), value)));
    }
    had
}
