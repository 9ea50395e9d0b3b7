//! Owns the `changes` column of rows that make or remove something, and masking. Pure.

use provision_model::{Change, FieldType, Json, Map, Resource, SENSITIVE, brought};
use provision_registry::TypeSpec;
use std::collections::HashSet;

/// Every field of a new resource.
pub fn creation(spec: &TypeSpec, secrets: &HashSet<String>, desired: &Map) -> Vec<Change> {
    let one = |(field, value): (&String, &Json)| {
        let rule = spec.fields.get(field);
        match rule.is_some_and(|rule| rule.sensitive) || secrets.contains(field) {
            true => vec![Change {
                path: field.clone(),
                before: Json::Null,
                after: Json::from(SENSITIVE),
                sensitive: true,
                forces_replacement: false,
            }],
            false => brought(rule.map_or(&FieldType::String, |rule| &rule.kind), field, value),
        }
    };
    desired.iter().flat_map(one).collect()
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
