//! Owns the typed diff: what a resource should be against what it is, field by field.

use crate::spec::is_later;
use crate::{Change, Disruption, FieldSpec, FieldType, Json, Map, SENSITIVE, UNKNOWN};
use indexmap::IndexMap;

/// The outcome of a comparison.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    pub changes: Vec<Change>,
    /// The worst of the changes.
    pub disruption: Disruption,
    /// Top-level fields that differ, in the order of the specification.
    pub fields: Vec<String>,
}

/// Compares desired fields (resolved; unknown parts are `{"$unknown": true}`) with the current ones (as the cloud shows
/// them where it does, as last sent elsewhere). `sealed_equal` compares a value with a sealed one.
pub fn compare(
    specs: &IndexMap<String, FieldSpec>,
    desired: &Map,
    current: &Map,
    ignore: &[String],
    sealed_equal: &dyn Fn(&Json, &Json) -> bool,
) -> Comparison {
    let mut out = Comparison::default();
    for (name, spec) in specs {
        if ignore.iter().any(|ignored| ignored == name) {
            continue;
        }
        let before = current.get(name).unwrap_or(&Json::Null);
        let after = match desired.get(name) {
            Some(value) if !value.is_null() => value.clone(),
            // A field taken out of the file: collections become empty, what is attached is detached, and another scalar
            // keeps what the cloud has.
            _ if spec.keep => continue,
            _ => match (&spec.kind, before) {
                (_, before) if spec.detaches && !before.is_null() => Json::Null,
                (FieldType::List(_), Json::Array(items)) if !items.is_empty() => Json::Array(Vec::new()),
                (FieldType::Map(_), Json::Object(map)) if !map.is_empty() => Json::Object(Map::new()),
                _ => continue,
            },
        };
        let mut found = Vec::new();
        if spec.sensitive || is_sealed(before) {
            if !sealed_equal(&after, before) {
                found.push(change(name, before, &Json::from(SENSITIVE), true));
            }
        } else {
            differ(&spec.kind, spec.unordered, name, before, &after, &mut found);
        }
        if found.is_empty() {
            continue;
        }
        // What comes and goes by calls of its own costs no more than an update.
        let moves = !spec.movable.is_empty() && same(&spec.kind, false, &stays(spec, before), &stays(spec, &after));
        let disruption = if moves { Disruption::Update } else { spec.on_change };
        out.disruption = out.disruption.max(disruption);
        out.fields.push(name.clone());
        for mut change in found {
            change.forces_replacement = disruption == Disruption::Replace;
            change.sensitive |= spec.sensitive;
            out.changes.push(change);
        }
    }
    out
}

/// The items of a list that do not come and go by calls of their own.
fn stays(spec: &FieldSpec, value: &Json) -> Json {
    let moves = |item: &&Json| spec.movable.iter().all(|(name, value)| item.get(name) == Some(value));
    let items = value.as_array().into_iter().flatten();
    Json::Array(items.filter(|item| !moves(item)).cloned().collect())
}

fn is_sealed(value: &Json) -> bool {
    value.as_object().is_some_and(|map| map.contains_key("$sealed"))
}

fn change(path: &str, before: &Json, after: &Json, sensitive: bool) -> Change {
    let before = match before {
        Json::Null => Json::Null,
        _ if sensitive => Json::from(SENSITIVE),
        other => other.clone(),
    };
    Change { path: path.to_owned(), before, after: shown(after), sensitive, forces_replacement: false }
}

/// A value for people: unknown parts become a phrase.
pub fn shown(value: &Json) -> Json {
    match value {
        Json::Object(map) if map.contains_key("$unknown") => Json::from(UNKNOWN),
        Json::Object(map) => Json::Object(map.iter().map(|(key, item)| (key.clone(), shown(item))).collect()),
        Json::Array(items) => Json::Array(items.iter().map(shown).collect()),
        other => other.clone(),
    }
}

fn is_unknown(value: &Json) -> bool {
    is_later(value) || value.as_object().is_some_and(|map| map.contains_key("$unknown"))
}

fn differ(kind: &FieldType, unordered: bool, path: &str, before: &Json, after: &Json, out: &mut Vec<Change>) {
    if is_unknown(after) {
        out.push(change(path, before, after, false));
        return;
    }
    match (kind, before, after) {
        (FieldType::Map(inner), Json::Object(old), Json::Object(new)) => {
            for (key, item) in new {
                differ(inner, false, &format!("{path}.{key}"), old.get(key).unwrap_or(&Json::Null), item, out);
            }
            for (key, item) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                out.push(change(&format!("{path}.{key}"), item, &Json::Null, false));
            }
        }
        (FieldType::Record(fields), Json::Object(old), Json::Object(new)) => {
            // Only what the user gave: the cloud fills in the rest.
            for (key, item) in new {
                let spec = fields.get(key);
                let kind = spec.map_or(&FieldType::Any, |spec| &spec.kind);
                let unordered = spec.is_some_and(|spec| spec.unordered);
                differ(kind, unordered, &format!("{path}.{key}"), old.get(key).unwrap_or(&Json::Null), item, out);
            }
        }
        (FieldType::Any, Json::Null | Json::Object(_), Json::Object(_)) if is_plain(before) && is_plain(after) => {
            apart(path, Some(before).filter(|before| !before.is_null()), after, out);
        }
        _ => {
            if !same(kind, unordered, before, after) {
                out.push(change(path, before, after, false));
            }
        }
    }
}

/// Whether a value is nothing but data: no secret, and no reference or other thing with a meaning of its own, is in it.
fn is_plain(value: &Json) -> bool {
    match value {
        Json::Object(map) => map.iter().all(|(key, item)| !key.starts_with('$') && is_plain(item)),
        Json::Array(items) => items.iter().all(is_plain),
        _ => true,
    }
}

/// What a new value of a field brings: data of any shape each at its own path, everything else at the field's.
pub fn brought(kind: &FieldType, field: &str, value: &Json) -> Vec<Change> {
    let mut out = Vec::new();
    match kind {
        FieldType::Any if value.is_object() && is_plain(value) => apart(field, None, value, &mut out),
        _ => out.push(change(field, &Json::Null, value, false)),
    }
    out
}

/// The changes of data of any shape, each at its own path; `None` was not there.
fn apart(path: &str, before: Option<&Json>, after: &Json, out: &mut Vec<Change>) {
    if before == Some(after) {
        return;
    }
    let nothing = Map::new();
    let old = match before {
        None => Some(&nothing),
        Some(before) => before.as_object(),
    };
    match (old, after) {
        (Some(old), Json::Object(new)) if !new.is_empty() && can_be_told_apart(old, new) => {
            for (key, item) in new {
                apart(&format!("{path}.{key}"), old.get(key), item, out);
            }
            for (key, item) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                out.push(change(&format!("{path}.{key}"), item, &Json::Null, false));
            }
        }
        _ => out.push(change(path, before.unwrap_or(&Json::Null), after, false)),
    }
}

/// Whether each change has a path of its own, and a before and an after that differ: a null that comes or goes looks like
/// nothing, and a name with a dot like two.
fn can_be_told_apart(old: &Map, new: &Map) -> bool {
    let plain = |key: &String| !key.is_empty() && !key.contains('.');
    let visible = |map: &Map, other: &Map| map.iter().all(|(key, item)| !item.is_null() || other.contains_key(key));
    old.keys().chain(new.keys()).all(plain) && visible(old, new) && visible(new, old)
}

fn same(kind: &FieldType, unordered: bool, before: &Json, after: &Json) -> bool {
    match (kind, before, after) {
        (FieldType::List(inner), Json::Array(old), Json::Array(new)) => {
            if old.len() != new.len() {
                return false;
            }
            if !unordered {
                return old.iter().zip(new).all(|(a, b)| same(inner, false, a, b));
            }
            let mut left: Vec<&Json> = old.iter().collect();
            new.iter().all(|item| match left.iter().position(|candidate| same(inner, false, candidate, item)) {
                Some(at) => {
                    left.swap_remove(at);
                    true
                }
                None => false,
            })
        }
        (FieldType::List(_), Json::Null, Json::Array(new)) => new.is_empty(),
        (FieldType::Map(_), Json::Null, Json::Object(new)) => new.is_empty(),
        (FieldType::Record(_) | FieldType::Map(_), Json::Object(_), Json::Object(_)) => {
            let mut found = Vec::new();
            differ(kind, unordered, "", before, after, &mut found);
            found.is_empty()
        }
        _ => is_same(before, after),
    }
}

/// Ids come as numbers or text depending on the call; they are the same id.
pub(crate) fn is_same(one: &Json, other: &Json) -> bool {
    one == other || scalar_text(one).is_some_and(|text| scalar_text(other) == Some(text))
}

fn scalar_text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn specs() -> IndexMap<String, FieldSpec> {
        serde_json::from_value(json!({
            "size": {"type": "string", "on_change": "replace"},
            "ids": {"type": {"list": "int"}, "unordered": true},
            "labels": {"type": {"map": "string"}},
            "user_data": {"type": "string", "sensitive": true, "on_change": "replace"},
            "net": {"type": {"record": {"v4": {"type": "bool"}}}},
        }))
        .unwrap()
    }

    fn run(desired: Json, current: Json) -> Comparison {
        let equal = |a: &Json, b: &Json| a == b;
        compare(&specs(), desired.as_object().unwrap(), current.as_object().unwrap(), &[], &equal)
    }

    #[test]
    fn data_of_any_shape_differs_where_it_differs() {
        let specs = serde_json::from_value(json!({"input": {"type": "any"}})).unwrap();
        let changes = |before: Json, after: Json| {
            let map =
                |value: Json| if value.is_null() { Map::new() } else { Map::from_iter([("input".to_owned(), value)]) };
            let found = compare(&specs, &map(after), &map(before), &[], &|a, b| a == b);
            assert_eq!(found.fields.is_empty(), found.changes.is_empty());
            found.changes.into_iter().map(|it| json!([it.path, it.before, it.after])).collect::<Json>()
        };
        let web = json!({"base": {"image": "nginx", "ports": [80, 443]}, "name": "web"});
        let mut other = web.clone();
        other["base"]["image"] = json!("caddy");
        other.as_object_mut().unwrap().shift_remove("name");
        assert_eq!(changes(web.clone(), web.clone()), json!([]));
        assert_eq!(
            changes(web.clone(), other),
            json!([["input.base.image", "nginx", "caddy"], ["input.name", "web", null]])
        );
        assert_eq!(
            changes(json!(null), web),
            json!([
                ["input.base.image", null, "nginx"],
                ["input.base.ports", null, [80, 443]],
                ["input.name", null, "web"]
            ])
        );
        // A number is no text where nobody says that it is an id, and what is to be empty is.
        assert_eq!(changes(json!({"a": 1}), json!({"a": "1"})), json!([["input.a", 1, "1"]]));
        assert_eq!(changes(json!({"a": {"b": 1}}), json!({"a": {}})), json!([["input.a", {"b": 1}, {}]]));
        assert_eq!(changes(json!(null), json!({})), json!([["input", null, {}]]));
        assert_eq!(changes(json!({}), json!({})), json!([]));
        // A null that comes or goes is a change, told where it can be seen; so is a name that would be read as a path.
        assert_eq!(
            changes(json!({"b": 1}), json!({"b": 1, "n": null})),
            json!([["input", {"b": 1}, {"b": 1, "n": null}]])
        );
        assert_eq!(
            changes(json!({"c": {"d": null}, "e": 1}), json!({"c": {}, "e": 1})),
            json!([["input.c", {"d": null}, {}]])
        );
        assert_eq!(changes(json!({"b": null}), json!({"b": 1})), json!([["input.b", null, 1]]));
        assert_eq!(changes(json!({"a.b": 1}), json!({"a.b": 2})), json!([["input", {"a.b": 1}, {"a.b": 2}]]));
        // What has a meaning of its own is one value.
        let later = json!({"x": {"$ref": {"address": "b", "attribute": "id"}}});
        assert_eq!(changes(json!(null), later.clone()), json!([["input", null, later]]));
    }

    #[test]
    fn equal_things_are_equal() {
        let current = json!({"size": "s", "ids": [2, 1], "labels": {"a": "1"}, "net": {"v4": true, "v6": false}});
        assert_eq!(
            run(json!({"size": "s", "ids": ["1", 2], "labels": {"a": "1"}, "net": {"v4": true}}), current),
            Comparison::default()
        );
    }

    #[test]
    fn changes_carry_paths_and_disruption() {
        let out = run(
            json!({"size": "l", "ids": [{"$unknown": true}], "labels": {"b": "2"}}),
            json!({"size": "s", "ids": [1], "labels": {"a": "1"}}),
        );
        let paths: Vec<&str> = out.changes.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["size", "ids", "labels.b", "labels.a"]);
        assert_eq!(out.disruption, Disruption::Replace);
        assert_eq!(out.changes[1].after, json!([UNKNOWN]));
        assert!(out.changes[0].forces_replacement && !out.changes[2].forces_replacement);
    }

    #[test]
    fn sensitive_values_are_never_shown() {
        let out = run(json!({"user_data": "secret-2"}), json!({"user_data": "secret-1"}));
        assert!(!serde_json::to_string(&out.changes).unwrap().contains("secret-"));
        assert_eq!(out.changes[0].after, json!(SENSITIVE));
    }
}
