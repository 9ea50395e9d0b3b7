//! Owns what somebody else does to a resource behind everybody's back: changes in the vendor's own shape, or taking it away.

use crate::world::World;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Whose resource it is in the store, and what becomes of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mutation {
    pub id: String,
    /// Needed where several kinds have this id.
    pub kind: Option<String>,
    /// Merged into the resource: records deep, everything else in its place.
    pub set: Map<String, Value>,
    pub remove: bool,
}

/// What is written in full from a catalogue is kept as a name.
const KEPT: &[(&str, &str)] = &[
    ("server_type", "_type"),
    ("load_balancer_type", "_type"),
    ("image", "_image"),
    ("location", "_location"),
    ("home_location", "_location"),
];

/// Carries it out; gives the cloud, the kind and the resource as it is then. `Err` says why not.
pub fn mutate(world: &mut World, mutation: &Mutation, now: i64) -> Result<Value, String> {
    let mut found = crate::admin::alive(world, now);
    found.retain(|(_, kind, id, _)| *id == mutation.id && mutation.kind.as_ref().is_none_or(|wanted| wanted == kind));
    let kinds: Vec<String> = found.iter().map(|(_, kind, ..)| kind.clone()).collect();
    let Some((scope, kind, id, mut value)) = found.pop().filter(|_| kinds.len() == 1) else {
        return Err(match kinds.is_empty() {
            true => format!("the clouds hold nothing with the id `{}`", mutation.id),
            false => format!("several resources have the id `{}`: {}", mutation.id, kinds.join(", ")),
        });
    };
    for (name, new) in &mutation.set {
        let own = matches!(name.as_str(), "id" | "uuid") || value[name] == id.as_str();
        if own || name.starts_with('_') {
            return Err(format!("`{name}` of a resource does not change"));
        }
        let kept = KEPT.iter().find(|(shown, kept)| shown == name && value.get(kept).is_some());
        let name = kept.map_or(name.as_str(), |(_, kept)| kept);
        merge(value.as_object_mut().map(|map| map.entry(name).or_insert(Value::Null)), new);
        // What time was to bring to this field does not come any more.
        for step in value["_then"].as_array_mut().into_iter().flatten() {
            if let Some(set) = step["set"].as_object_mut() {
                set.shift_remove(name);
            }
        }
    }
    match mutation.remove {
        true => _ = world.store.remove(&scope, &kind, &id),
        false => world.store.put(&scope, &kind, &id, value.clone(), now),
    }
    world.store.commit()?;
    let cloud = scope.split('/').next().unwrap_or(&scope);
    let shown = crate::hetzner::public(&value);
    Ok(json!({"cloud": cloud, "kind": kind, "id": id, "removed": mutation.remove, "resource": shown}))
}

fn merge(old: Option<&mut Value>, new: &Value) {
    match (old, new) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (name, new) in new {
                merge(Some(old.entry(name.clone()).or_insert(Value::Null)), new);
            }
        }
        (Some(old), new) => *old = new.clone(),
        (None, _) => {}
    }
}
