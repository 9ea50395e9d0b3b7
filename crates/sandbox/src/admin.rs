//! Owns the control API under `/_sandbox`: status, reset, the log of requests, and the faults.

use crate::call::{Call, Reply};
use crate::faults::Faults;
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Kinds that are records of work, not resources a user made.
const BOOKKEEPING: &[&str] = &["action", "client_token", "rule"];

/// Answers a control request.
pub fn answer(world: &mut World, call: &Call) -> Reply {
    match (call.method.as_str(), call.segments().as_slice()) {
        ("GET", ["status"]) => Reply::json(200, &status(world, call.now)),
        ("POST", ["reset"]) => {
            if let Err(error) = world.store.clear() {
                return Reply::json(500, &json!({"error": error}));
            }
            world.journal.requests.clear();
            world.limits.refill();
            let _ = world.faults.set(Faults::default());
            Reply::json(200, &json!({}))
        }
        ("GET", ["requests"]) => {
            let requests: Vec<_> = world.journal.requests.iter().collect();
            Reply::json(200, &json!({ "requests": requests }))
        }
        ("DELETE", ["requests"]) => {
            world.journal.requests.clear();
            Reply::json(200, &json!({}))
        }
        ("POST", ["mutate"]) => {
            let done = serde_json::from_slice(&call.body)
                .map_err(|error| error.to_string())
                .and_then(|mutation| crate::mutate::mutate(world, &mutation, call.now));
            match done {
                Ok(changed) => Reply::json(200, &changed),
                Err(error) => Reply::json(400, &json!({ "error": error })),
            }
        }
        ("GET", ["faults"]) => Reply::json(200, &json!(world.faults.faults)),
        ("PUT", ["faults"]) => {
            let set = serde_json::from_slice::<Faults>(&call.body)
                .map_err(|error| error.to_string())
                .and_then(|faults| world.faults.set(faults));
            match set {
                Ok(()) => Reply::json(200, &json!(world.faults.faults)),
                Err(error) => Reply::json(400, &json!({ "error": error })),
            }
        }
        _ => Reply::json(404, &json!({"error": format!("no {} {}", call.method, call.raw_path)})),
    }
}

/// What somebody made and did not take away: scope, kind, id and the vendor's own shape.
pub fn alive(world: &World, now: i64) -> Vec<(String, String, String, Value)> {
    let mut found = Vec::new();
    for (scope, kind, rows) in world.store.census(now) {
        if BOOKKEEPING.contains(&kind) {
            continue;
        }
        for row in rows {
            let value = row.at(now);
            // What came with the account, or is only still listed as terminated, was not left behind by anybody.
            let over = value["instanceState"]["name"] == "terminated" || value["state"] == "deleted";
            if value["_builtin"] != true && !over {
                found.push((scope.to_owned(), kind.to_owned(), row.id.clone(), value));
            }
        }
    }
    found
}

/// The same with what somebody put into other things: names, rules and more addresses, each with the thing it is in.
pub fn held(world: &World, now: i64) -> Vec<(String, String, String, Value)> {
    let mut found = Vec::new();
    for (scope, kind, id, value) in alive(world, now) {
        let inside = match scope.split('/').next() {
            Some("hetzner") => crate::hetzner::named(&kind, &id, &value),
            Some("upcloud") if kind == "server" => crate::upcloud::inside(&id, &value),
            _ => Vec::new(),
        };
        found.extend(inside.into_iter().map(|(kind, id)| (scope.clone(), kind.to_owned(), id, value.clone())));
        found.push((scope, kind, id, value));
    }
    // A volume that goes with its instance is a part of it.
    let parts: std::collections::HashSet<String> = found
        .iter()
        .filter(|(_, kind, _, value)| kind == "volume_attachment" && value["deleteOnTermination"] == true)
        .flat_map(|(.., id, value)| [id.clone(), value["volumeId"].as_str().unwrap_or_default().to_owned()])
        .collect();
    found.retain(|(.., id, _)| !parts.contains(id));
    // A rule with tags was made for itself; without, it is a part of its group.
    for (scope, kind, rows) in world.store.census(now).into_iter().filter(|(_, kind, _)| *kind == "rule") {
        for row in rows {
            let value = row.at(now);
            if value["tagSet"].as_array().is_some_and(|tags| !tags.is_empty()) {
                found.push((scope.to_owned(), kind.to_owned(), row.id.clone(), value));
            }
        }
    }
    found
}

fn status(world: &World, now: i64) -> Value {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (scope, kind, ..) in held(world, now) {
        let cloud = scope.split('/').next().unwrap_or(&scope).to_owned();
        *counts.entry((cloud, kind)).or_default() += 1;
    }
    let resources: Vec<Value> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|((cloud, kind), count)| json!({"cloud": cloud, "kind": kind, "count": count}))
        .collect();
    json!({"pid": std::process::id(), "resources": resources, "faults": world.faults.faults})
}
