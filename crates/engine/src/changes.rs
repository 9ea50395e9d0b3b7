//! Owns the `changes` column of rows that make or remove something, and masking. Pure.

use provision_model::{Change, Json, Map, Resource, SENSITIVE, shown};
use provision_registry::TypeSpec;
use std::collections::HashSet;

/// The change without its values.
pub fn masked(change: &Change) -> Change {
    let mask = |value: &Json| if value.is_null() { Json::Null } else { Json::from(SENSITIVE) };
    Change { before: mask(&change.before), after: mask(&change.after), sensitive: true, ..change.clone() }
}

/// Every field of a new resource.
pub fn creation(spec: &TypeSpec, secrets: &HashSet<String>, desired: &Map) -> Vec<Change> {
    desired
        .iter()
        .map(|(field, value)| {
            let sensitive = spec.fields.get(field).is_some_and(|rule| rule.sensitive) || secrets.contains(field);
            let after = if sensitive { Json::from(SENSITIVE) } else { shown(value) };
            Change { path: field.clone(), before: Json::Null, after, sensitive, forces_replacement: false }
        })
        .collect()
}

/// Every input of a resource that goes.
pub fn removal(spec: &TypeSpec, resource: &Resource) -> Vec<Change> {
    resource
        .inputs
        .iter()
        .map(|(field, value)| {
            let sensitive =
                spec.fields.get(field).is_some_and(|rule| rule.sensitive) || provision_model::is_sealed(value);
            let before = if sensitive { Json::from(SENSITIVE) } else { value.clone() };
            Change { path: field.clone(), before, after: Json::Null, sensitive, forces_replacement: false }
        })
        .collect()
}
