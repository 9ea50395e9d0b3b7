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
