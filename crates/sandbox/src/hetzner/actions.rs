//! Owns Hetzner's actions: the records of work that takes time, and their lists.

use super::{Answer, Cx, invalid, no_such_method, not_found, pages, time};
use crate::call::Reply;
use serde_json::{Value, json};

/// Starts an action that ends after the simulated duration.
pub fn start(cx: &mut Cx<'_>, command: &str, kind: &str, id: &str, others: &[(&str, &str)]) -> Value {
    let until = cx.call.now + cx.world.action_ms();
    start_until(cx, command, kind, id, others, until)
}

/// Starts an action that ends at a given moment.
pub fn start_until(cx: &mut Cx<'_>, command: &str, kind: &str, id: &str, others: &[(&str, &str)], until: i64) -> Value {
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    let mut resources = vec![json!({"id": number(id), "type": kind})];
    resources.extend(others.iter().map(|(kind, id)| json!({"id": number(id), "type": kind})));
    let action = json!({
        "id": cx.next_id(), "command": command, "started": cx.time(), "resources": resources,
        "error": null, "_started": cx.call.now, "_until": until,
    });
    cx.put("action", action.clone());
    render(&action, cx.call.now)
}

/// An action as it is at a moment.
pub fn render(action: &Value, now: i64) -> Value {
    let (from, until) = (action["_started"].as_i64().unwrap_or(0), action["_until"].as_i64().unwrap_or(0));
    let done = now >= until;
    let progress = if done { 100 } else { (now - from).max(0) * 100 / (until - from).max(1) };
    json!({
        "id": action["id"], "command": action["command"], "status": if done { "success" } else { "running" },
        "progress": progress, "started": action["started"],
        "finished": if done { json!(time(until)) } else { Value::Null },
        "resources": action["resources"], "error": null,
    })
}

/// Answers `/actions…`, `/servers/actions…` and `/servers/{id}/actions…`.
pub fn answer(cx: &Cx<'_>, kind: Option<&str>, resource: Option<&str>, rest: &[&str]) -> Answer {
    let now = cx.call.now;
    let single = kind.map(super::singular);
    let concerns = |action: &Value| {
        action["resources"].as_array().is_some_and(|list| {
            list.iter().any(|one| {
                single.is_none_or(|kind| one["type"] == kind) && resource.is_none_or(|id| super::has_id(one, id))
            })
        })
    };
    match (cx.call.method.as_str(), rest) {
        ("GET", [id]) => {
            let action = cx.find("action", id)?;
            if !concerns(&action) {
                return Err(not_found("action"));
            }
            Ok(Reply::json(200, &json!({"action": render(&action, now)})))
        }
        ("GET", []) => {
            let ids: Vec<&str> = cx.call.all("id").collect();
            let states: Vec<&str> = cx.call.all("status").collect();
            if ids.iter().any(|id| id.parse::<u64>().is_err()) {
                return Err(invalid("id", "must be a number"));
            }
            let found: Vec<Value> = if ids.is_empty() {
                let rows = cx.world.store.rows(&cx.scope, "action", now);
                rows.filter(|row| concerns(&row.value)).map(|row| render(&row.value, now)).collect()
            } else {
                // Asked for by id, the way pollers do it: no walk over every action there ever was.
                let mut found: Vec<Value> = ids
                    .iter()
                    .filter_map(|id| cx.world.store.get(&cx.scope, "action", id, now))
                    .filter(concerns)
                    .map(|action| render(&action, now))
                    .collect();
                found.sort_by_key(|action| action["id"].as_u64());
                found.dedup();
                found
            };
            let kept = found
                .into_iter()
                .filter(|action| states.is_empty() || states.iter().any(|state| action["status"] == **state))
                .collect();
            pages(cx.call, "actions", kept, Value::clone)
        }
        _ => Err(no_such_method()),
    }
}
