//! Owns what a step of a manifest comes to: one call, or one for each item of a collection that comes, goes or changes. Pure.

use crate::runtime::text_of;
use crate::{CallStep, Operation, StepKind, wire};
use provision_model::{Action, FieldType, Json, Map};
use provision_registry::{Call, Protocol, StepSpec, TypeSpec};

/// The calls of one step: its own, and those for the items of its collection that come, go and change.
pub(crate) fn expand(spec: &TypeSpec, step: &StepSpec, operation: &Operation, prior: &Map, out: &mut Vec<CallStep>) {
    if !step.when_status.is_empty()
        && !operation.prior_status.as_ref().is_some_and(|status| step.when_status.contains(status))
    {
        return;
    }
    if let Some(call) = &step.call {
        let mut fields = call.fields.clone().unwrap_or_else(|| step.fields.clone());
        if operation.action == Action::Update {
            // What did not change is not sent again: since it was last seen somebody else may have changed it. A field that is
            // no reason for the step is what its call always needs.
            fields.retain(|field| operation.changed.contains(field) || !step.fields.contains(field));
        }
        out.push(CallStep {
            name: step.name.clone(),
            kind: StepKind::Change,
            call: call.clone(),
            fields: Some(fields),
            item: None,
            until: step.until.clone(),
        });
    }
    let Some(collection) = &step.collection else { return };
    let kind = spec.fields.get(&collection.field).map(|field| &field.kind);
    let is_map = matches!(kind, Some(FieldType::Map(_)));
    let comes_and_goes = |item: &Json| collection.only.iter().all(|(name, value)| item.get(name) == Some(value));
    let items = |value: Option<&Json>, is_map: bool| {
        let mut items = items(value, is_map);
        items.retain(comes_and_goes);
        items
    };
    let old = items(prior.get(&collection.field), is_map);
    // Of what goes, nothing stays.
    let wanted = operation.inputs.get(&collection.field).filter(|_| operation.action != Action::Delete);
    let new = items(wanted, is_map);
    let same = |a: &Json, b: &Json| contains(a, b) || contains(b, a);
    let mut push = |call: &Call, sign: char, item: &Json| {
        let label = collection.key.as_ref().and_then(|key| item.get(key)).unwrap_or(item);
        let label = label.as_str().map_or_else(|| label.to_string(), str::to_owned);
        out.push(CallStep {
            name: format!("{} {sign} {label}", step.name),
            kind: StepKind::Change,
            call: call.clone(),
            fields: Some(Vec::new()),
            item: Some((collection.field.clone(), item.clone())),
            until: step.until.clone(),
        });
    };
    // A changed entry of a map is set again; a changed item of a list, or a single value, is changed where there is a call
    // for it, and goes first and comes then where there is none.
    let single = !kind.is_some_and(FieldType::is_many);
    let keyed = |a: &Json, b: &Json| single || collection.key.as_ref().is_some_and(|key| a.get(key) == b.get(key));
    for item in &old {
        let stays = new.iter().any(|other| match is_map {
            true => item.get("key") == other.get("key"),
            false => same(item, other) || (collection.change.is_some() && keyed(item, other)),
        });
        if !stays {
            push(&collection.remove, '-', item);
        }
    }
    for item in &new {
        match (&collection.change, old.iter().any(|other| keyed(item, other))) {
            _ if old.iter().any(|other| same(item, other)) => {}
            (Some(change), true) => push(change, '~', item),
            _ => push(&collection.add, '+', item),
        }
    }
}

/// The calls that keep one of the things that a deletion takes along.
pub(crate) fn spare(steps: &[StepSpec], operation: &Operation, name: &str, item: &Json) -> Vec<CallStep> {
    let needed = |step: &&StepSpec| {
        let is_so = |status: &String| step.when_status.contains(status);
        step.when_status.is_empty() || operation.prior_status.as_ref().is_some_and(is_so)
    };
    let label = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    let one = |step: &StepSpec| {
        Some(CallStep {
            name: format!("{} {label}", step.name),
            kind: StepKind::Change,
            call: step.call.clone()?,
            fields: Some(Vec::new()),
            item: Some((name.to_owned(), item.clone())),
            until: step.until.clone(),
        })
    };
    steps.iter().filter(needed).filter_map(one).collect()
}

/// Whether a collection, or a field of a single value, has an item: as configured or as a cloud shows it.
pub(crate) fn holds(value: &Json, item: &Json) -> bool {
    let has = |one: &Json| contains(one, item) || contains(item, one);
    let pair = item.get("key").and_then(Json::as_str).zip(item.get("value"));
    match (value, pair) {
        (Json::Object(map), Some((key, value))) if !map.contains_key("key") => {
            map.get(key).is_some_and(|it| it == value)
        }
        _ => items(Some(value), false).iter().any(has),
    }
}

/// Leaves out what an interrupted operation has brought about already: some clouds refuse to stop what is stopped. Only an
/// operation that goes on with an earlier one has done anything, only what comes before its first call can be done, and a
/// step that sends a value is never taken for done.
pub(crate) fn leave_out_done(operation: &Operation, steps: &mut Vec<CallStep>) {
    let mut status = operation.status.as_ref().filter(|_| operation.restore.is_some());
    steps.retain(|step| {
        if step.until.is_empty() {
            return true;
        }
        let done = status.is_some_and(|status| step.until.contains(status)) && !step.sends_values();
        if !done {
            status = None;
        }
        !done
    });
}

/// Whether everything the one says, the other says too: clouds fill in what was not given.
fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => {
            part.iter().all(|(key, item)| whole.get(key).is_some_and(|found| contains(found, item)))
        }
        (Json::Array(whole), Json::Array(part)) => {
            whole.len() == part.len() && part.iter().all(|item| whole.iter().any(|found| contains(found, item)))
        }
        _ => whole == part || text_of(whole).is_some_and(|text| text_of(part) == Some(text)),
    }
}

fn items(value: Option<&Json>, is_map: bool) -> Vec<Json> {
    match value {
        Some(Json::Array(items)) => items.clone(),
        Some(Json::Object(map)) if is_map => map
            .iter()
            .map(|(key, value)| {
                let mut pair = Map::new();
                pair.insert("key".into(), Json::from(key.as_str()));
                pair.insert("value".into(), value.clone());
                Json::Object(pair)
            })
            .collect(),
        // A single value is a list of one.
        Some(Json::String(none)) if none.is_empty() => Vec::new(),
        Some(one @ (Json::String(_) | Json::Number(_) | Json::Object(_))) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// An item of a collection as the wire has it.
pub(crate) fn encode_item(spec: &TypeSpec, field: &str, item: &Json, protocol: Protocol) -> Json {
    match spec.fields.get(field).map(|field| &field.kind) {
        Some(kind @ (FieldType::Int | FieldType::String | FieldType::Record(_))) => {
            wire::encode_kind(kind, item, protocol)
        }
        Some(FieldType::List(inner)) => match (inner.as_ref(), item) {
            (FieldType::Record(fields), Json::Object(map)) => wire::encode_fields(fields.iter(), map, protocol),
            (FieldType::Int, Json::String(text)) => text.parse::<i64>().map_or_else(|_| item.clone(), Json::from),
            _ => item.clone(),
        },
        _ => item.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_model::{Address, Identity};
    use serde_json::json;

    /// The names of the steps of an update of `size`, for a thing in a state, from a state.
    fn steps(status: &str, restore: Option<&str>) -> Vec<String> {
        let spec: TypeSpec = serde_json::from_value(json!({
            "doc": "", "identity": "tagged", "fields": {"size": {"type": "int"}},
            "status": {"path": "status", "ready": ["on", "off"]},
            "update": [
                {"name": "stop", "fields": ["size"], "when_status": ["on"], "until": ["off"],
                 "call": {"path": "/stop", "fields": []}},
                {"name": "resize", "fields": ["size"], "until": ["off"],
                 "call": {"path": "/resize", "fields": [], "body": {"to": "{field.size}"}}},
                {"name": "check", "fields": ["size"], "until": ["off"], "call": {"path": "/check", "fields": []}},
                {"name": "start", "fields": ["size"], "when_status": ["on"], "until": ["on"],
                 "call": {"path": "/start", "fields": []}},
                {"name": "reboot", "fields": ["size"], "when_status": ["on"], "until": ["on"],
                 "call": {"path": "/reboot", "fields": []}},
            ],
        }))
        .unwrap();
        let fields = |size: i64| json!({"size": size}).as_object().cloned().unwrap();
        let operation = Operation {
            address: Address::new("it"),
            type_name: "thing".to_owned(),
            action: Action::Update,
            remote_id: Some("7".to_owned()),
            inputs: fields(2),
            secrets: Default::default(),
            prior: fields(1),
            prior_status: Some(restore.unwrap_or(status).to_owned()),
            status: Some(status.to_owned()),
            restore: restore.map(str::to_owned),
            host: None,
            changed: vec!["size".to_owned()],
            identity: Identity { state: "s".into(), op: "o".into() },
            generation: 1,
            region: None,
            name: "it".to_owned(),
        };
        let mut out = Vec::new();
        for step in &spec.update {
            expand(&spec, step, &operation, &operation.prior, &mut out);
        }
        leave_out_done(&operation, &mut out);
        out.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn an_item_is_found_in_whatever_holds_it() {
        let server = json!({"id": 7});
        for (value, item, held) in [
            (json!(7), json!("7"), true),
            (json!(8), json!(7), false),
            (json!(null), json!(7), false),
            (json!(""), json!(7), false),
            (json!([1, 7]), json!("7"), true),
            (json!([]), json!(7), false),
            (json!([{"id": 7, "filled": true}]), server.clone(), true),
            (json!({"id": 7, "filled": true}), server, true),
            (json!({"a": "b"}), json!({"key": "a", "value": "b"}), true),
            (json!({"a": "c"}), json!({"key": "a", "value": "b"}), false),
        ] {
            assert_eq!(holds(&value, &item), held, "{value} {item}");
        }
    }

    #[test]
    fn only_what_an_interrupted_operation_did_is_left_out_and_never_a_value() {
        // It begins in the state that the last step ends in.
        assert_eq!(steps("on", None), ["stop", "resize", "check", "start", "reboot"]);
        // Nobody stopped it for us: what waits for that state is sent.
        assert_eq!(steps("off", None), ["resize", "check"]);
        // Stopped by an earlier, interrupted update: it is not stopped again, and everything after is done.
        assert_eq!(steps("off", Some("on")), ["resize", "check", "start", "reboot"]);
    }
}
