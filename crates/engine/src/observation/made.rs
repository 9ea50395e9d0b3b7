//! Owns which of what a resource holds was made with it. Pure.

use provision_model::{Held, Json, Map, Remote};
use provision_registry::TypeSpec;
use std::collections::HashSet;

/// What was made with a resource that is new: what it holds but for what its fields name, which was there before.
pub fn made_with(spec: &TypeSpec, remote: Option<&Remote>, fields: &Map) -> Held {
    let mut made = remote.map(|remote| remote.held.clone()).unwrap_or_default();
    for (name, ids) in &mut made {
        let given = || spec.takes.as_ref().and_then(|takes| takes.get(name)).into_iter().flat_map(|takes| &takes.given);
        // Every one of ours has a field with a default: where it lacks, nobody knows what was given.
        let has_default = |field: &&String| spec.fields.get(*field).is_some_and(|rule| rule.default.is_some());
        if given().filter(has_default).any(|field| !fields.contains_key(field)) {
            ids.clear();
        }
        let mut named = HashSet::new();
        given().filter_map(|field| fields.get(field)).for_each(|value| texts(value, &mut named));
        ids.retain(|id| !named.contains(id));
    }
    made
}

fn texts(value: &Json, found: &mut HashSet<String>) {
    match value {
        Json::String(text) => _ = found.insert(text.clone()),
        Json::Number(number) => _ = found.insert(number.to_string()),
        Json::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Json::Object(map) => map.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}
