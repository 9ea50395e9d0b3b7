//! Owns Cedar values ⇄ JSON, where no parser is needed.

use cedar_policy_core::ast::{Value, ValueKind};
use cedar_policy_core::entities::CedarValueJson;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;
use std::collections::BTreeMap;

/// A record of plain values; `None` where something in it needs Cedar's own reader: an entity, an extension value, or
/// what is no Cedar value at all.
pub(crate) fn record(json: &Json) -> Option<BTreeMap<SmolStr, Value>> {
    let map = json.as_object()?;
    if map.keys().any(|key| key.starts_with("__")) {
        return None;
    }
    map.iter().map(|(key, item)| Some((SmolStr::new(key), plain(item)?))).collect()
}

fn plain(json: &Json) -> Option<Value> {
    let value = match json {
        Json::Null => return None,
        Json::Bool(item) => (*item).into(),
        Json::Number(item) => item.as_i64()?.into(),
        Json::String(item) => SmolStr::new(item).into(),
        Json::Array(items) => return Some(Value::set(items.iter().map(plain).collect::<Option<Vec<_>>>()?, None)),
        Json::Object(_) => return Some(Value::record(record(json)?, None)),
    };
    Some(Value::new(ValueKind::Lit(value), None))
}

/// Cedar's JSON form of a value, with `__entity` and `__extn`; null for what has none.
pub(crate) fn to_cedar_json(value: &Value) -> Json {
    let json = CedarValueJson::from_value(value.clone()).ok();
    json.and_then(|json| serde_json::to_value(json).ok()).unwrap_or(Json::Null)
}

/// The form for reading: entities as `Type::"id"`, extension values as `decimal("1.5")`.
pub(crate) fn to_shown_json(value: &Value) -> Json {
    shown(to_cedar_json(value))
}

pub(crate) fn shown(json: Json) -> Json {
    match json {
        Json::Object(map) => {
            if let Some(entity) = map.get("__entity") {
                return Json::from(uid_text(entity));
            }
            if let Some(call) = map.get("__extn") {
                return Json::from(call_text(call));
            }
            Json::Object(map.into_iter().map(|(key, item)| (key, shown(item))).collect::<Map<_, _>>())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(shown).collect()),
        other => other,
    }
}

/// `Type::"id"` of Cedar's `{type, id}`.
pub(crate) fn uid_text(entity: &Json) -> String {
    let entity = entity.get("__entity").unwrap_or(entity);
    format!("{}::{}", entity["type"].as_str().unwrap_or_default(), entity["id"])
}

fn call_text(call: &Json) -> String {
    let args: Vec<String> = match (call.get("arg"), call["args"].as_array()) {
        (Some(arg), _) => vec![inner_text(arg)],
        (None, Some(args)) => args.iter().map(inner_text).collect(),
        (None, None) => Vec::new(),
    };
    format!("{}({})", call["fn"].as_str().unwrap_or_default(), args.join(", "))
}

fn inner_text(arg: &Json) -> String {
    match shown(arg.clone()) {
        Json::String(text) if arg.is_object() => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_records_cross_without_a_parser_and_others_are_left() {
        let context = json!({"mfa": true, "age": 3, "tags": ["a", "b"], "inner": {"n": -1}});
        let record = record(&context).unwrap();
        assert_eq!(to_cedar_json(&Value::record(record, None)), context);
        for other in [json!({"a": 1.5}), json!({"a": null}), json!({"a": {"__entity": {"type": "A", "id": "b"}}})] {
            assert!(super::record(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn entities_and_calls_are_shown_as_written() {
        let json =
            json!({"who": {"__entity": {"type": "A::B", "id": "c\"d"}}, "at": {"__extn": {"fn": "ip", "arg": "::1"}}});
        assert_eq!(shown(json), json!({"who": "A::B::\"c\\\"d\"", "at": "ip(\"::1\")"}));
    }
}
