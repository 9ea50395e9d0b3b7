//! Owns the way values take between the user's shape and a vendor's: paths, renames, encodings. Pure.
//!
//! One path language serves both directions: `a.b` walks objects, `a[].b` maps over a list (null is none, anything else a
//! list of one), `a.0` takes one item, `a[k=v].b` the first item whose `k` is `v` (an object is a list of one), `[k=v].b`
//! the value itself if its `k` is `v`, `a[k].b` maps over those that have a `k`, `x|y` is the first of the two that is
//! there, `x|[]` says that there is none where `x` is not there, `x!` is `false` where
//! there is no `x` and nothing where there is, and `=x` is `x` itself.

use base64::Engine;
use indexmap::IndexMap;
use provision_model::{Encode, FieldSpec, FieldType, Json, Map, Visible, normalised};
use provision_registry::{Protocol, pascal, path_steps};

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

/// The request path of a field; `None` when it is not sent.
pub fn wire_path(name: &str, spec: &FieldSpec, protocol: Protocol) -> Option<String> {
    match &spec.wire {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(path.clone()),
        None if protocol == Protocol::Ec2Query => Some(pascal(name)),
        None => Some(name.to_owned()),
    }
}

/// The answer path of a field or attribute.
pub fn read_path(name: &str, spec: &FieldSpec, protocol: Protocol) -> String {
    if let Some(path) = &spec.read {
        return path.clone();
    }
    match (&spec.wire, protocol) {
        (Some(path), _) if !path.is_empty() => path.clone(),
        (_, Protocol::Ec2Query) => {
            let name = pascal(name);
            name[..1].to_ascii_lowercase() + &name[1..]
        }
        _ => name.to_owned(),
    }
}

/// The body made of the given fields.
pub fn encode_fields<'a>(
    specs: impl Iterator<Item = (&'a String, &'a FieldSpec)>,
    values: &Map,
    protocol: Protocol,
) -> Json {
    let mut body = Json::Object(Map::new());
    for (name, spec) in specs {
        let Some(value) = values.get(name).filter(|value| !value.is_null()) else { continue };
        let Some(path) = wire_path(name, spec, protocol) else { continue };
        put(&mut body, &path.split('.').collect::<Vec<_>>(), encode(spec, value, protocol));
    }
    body
}

/// One value in the vendor's shape.
pub fn encode(spec: &FieldSpec, value: &Json, protocol: Protocol) -> Json {
    match (spec.encode, value) {
        (Some(Encode::KeyValue), Json::Object(map)) => {
            let (key, val) = if protocol == Protocol::Ec2Query { ("Key", "Value") } else { ("key", "value") };
            return map
                .iter()
                .map(|(name, item)| {
                    let mut pair = Map::new();
                    pair.insert(key.into(), Json::from(name.as_str()));
                    pair.insert(val.into(), text(item));
                    Json::Object(pair)
                })
                .collect();
        }
        (Some(Encode::Tags), Json::Object(map)) => {
            return map.iter().map(|(name, item)| Json::from(format!("{name}:{}", plain(item)))).collect();
        }
        (Some(Encode::Base64), Json::String(text)) => return Json::from(BASE64.encode(text)),
        (Some(Encode::YesNo), Json::Bool(yes)) => return Json::from(if *yes { "yes" } else { "no" }),
        (Some(Encode::OnOff), Json::Bool(on)) => return Json::from(if *on { "on" } else { "off" }),
        (Some(Encode::Text), Json::Number(number)) => return Json::from(number.to_string()),
        _ => {}
    }
    encode_kind(&spec.kind, value, protocol)
}

/// A value of a type in the vendor's shape.
pub fn encode_kind(kind: &FieldType, value: &Json, protocol: Protocol) -> Json {
    match (kind, value) {
        (FieldType::List(inner), Json::Array(items)) => {
            items.iter().map(|item| encode_kind(inner, item, protocol)).collect()
        }
        (FieldType::Record(fields), Json::Object(map)) => encode_fields(fields.iter(), map, protocol),
        (FieldType::Map(inner), Json::Object(map)) => {
            Json::Object(map.iter().map(|(key, item)| (key.clone(), encode_kind(inner, item, protocol))).collect())
        }
        // A reference may bring an id in the other of its two forms.
        (FieldType::String, Json::Number(number)) => Json::from(number.to_string()),
        (FieldType::Int, Json::String(text)) => text.parse::<i64>().map_or_else(|_| value.clone(), Json::from),
        _ => value.clone(),
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Labels and tags are texts, whatever a reference brings.
fn text(value: &Json) -> Json {
    match value {
        Json::Number(number) => Json::from(number.to_string()),
        other => other.clone(),
    }
}

/// Writes a value at a path, making objects and lists on the way.
pub fn put(target: &mut Json, path: &[&str], value: Json) {
    let Some((segment, rest)) = path.split_first() else {
        merge(target, value);
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    let Json::Object(map) = target else { return };
    match segment.strip_suffix("[]") {
        Some(name) => {
            let items = match value {
                Json::Array(items) => items,
                other => vec![other],
            };
            let made = items
                .into_iter()
                .map(|item| {
                    let mut one = Json::Null;
                    put(&mut one, rest, item);
                    one
                })
                .collect();
            map.insert(name.to_owned(), Json::Array(made));
        }
        None => put(map.entry(segment.to_string()).or_insert(Json::Null), rest, value),
    }
}

/// Deep merge, the second wins.
pub fn merge(target: &mut Json, value: Json) {
    match (target, value) {
        (Json::Object(old), Json::Object(new)) => {
            for (key, item) in new {
                merge(old.entry(key).or_insert(Json::Null), item);
            }
        }
        (target, value) => *target = value,
    }
}

/// Whether there is a null at a plain path of an answer.
pub fn is_null(value: &Json, path: &str) -> bool {
    !path.is_empty() && value.pointer(&format!("/{}", path.replace('.', "/"))).is_some_and(Json::is_null)
}

/// The value at a path of an answer; a path with `[]` gives a list.
pub fn extract(value: &Json, path: &str) -> Option<Json> {
    if let Some(text) = path.strip_prefix('=') {
        return Some(Json::from(text));
    }
    if let Some(path) = path.strip_suffix('!') {
        return extract(value, path).is_none_or(|found| found.is_null()).then_some(Json::Bool(false));
    }
    path.split('|').find_map(|path| {
        let segments: Vec<&str> = path_steps(path).filter(|step| !step.is_empty()).collect();
        let many = segments.iter().any(|segment| segment.ends_with(']') && !segment.contains('='));
        let mut found = Vec::new();
        let there = collect(value, &segments, &mut found);
        if many { there.then_some(Json::Array(found)) } else { found.into_iter().next() }
    })
}

/// Gives every object below one that has a value of these names the same, where it has none.
pub fn inherit(value: &mut Json, names: &[String], from: &Map) {
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| inherit(item, names, from)),
        Json::Object(map) => {
            let mut own = from.clone();
            own.extend(names.iter().filter_map(|name| Some((name.clone(), map.get(name)?.clone()))));
            map.values_mut().for_each(|inner| inherit(inner, names, &own));
            for (name, inherited) in from {
                map.entry(name.clone()).or_insert_with(|| inherited.clone());
            }
        }
        _ => {}
    }
}

/// Whether the path led anywhere, even to an empty list.
fn collect(value: &Json, path: &[&str], found: &mut Vec<Json>) -> bool {
    let Some((segment, rest)) = path.split_first() else {
        found.push(value.clone());
        return true;
    };
    if let Some((name, key)) =
        segment.strip_suffix(']').and_then(|it| it.split_once('[')).filter(|(_, key)| !key.contains('='))
    {
        return match value.get(name) {
            // No list at all: none.
            None if name.is_empty() => true,
            Some(Json::Array(items)) => {
                let has = |item: &&Json| key.is_empty() || item.get(key).is_some_and(|it| !it.is_null());
                for item in items.iter().filter(has) {
                    collect(item, rest, found);
                }
                true
            }
            // An empty XML list is indistinguishable from an empty text.
            Some(Json::Null) => true,
            Some(one) => collect(one, rest, found),
            None => false,
        };
    }
    if let Some((name, condition)) = segment.split_once('[') {
        let (key, wanted) = condition.trim_end_matches(']').split_once('=').unwrap_or((condition, ""));
        let of = if name.is_empty() { Some(value) } else { value.get(name) };
        let items = match of {
            Some(Json::Array(items)) => items.as_slice(),
            // One thing is a list of one.
            Some(one @ Json::Object(_)) => std::slice::from_ref(one),
            _ => return false,
        };
        return items
            .iter()
            .find(|item| match item.get(key) {
                Some(Json::Number(number)) => number.to_string() == wanted,
                found => found.and_then(Json::as_str) == Some(wanted),
            })
            .is_some_and(|item| collect(item, rest, found));
    }
    let next = match value {
        Json::Object(map) => map.get(*segment),
        Json::Array(items) => segment.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
    };
    match next {
        Some(Json::Null) | None => false,
        Some(next) => collect(next, rest, found),
    }
}

/// The fields an answer shows, in the user's shape.
pub fn decode_fields(specs: &IndexMap<String, FieldSpec>, item: &Json, protocol: Protocol) -> Map {
    let mut out = Map::new();
    for (name, spec) in specs {
        if spec.returned_once || spec.visible == Visible::Never {
            continue;
        }
        let path = read_path(name, spec, protocol);
        let raw = extract(item, &path).or_else(|| empty_list(spec, item, &path));
        // Of what is attached some clouds say with an empty text that it is not.
        if spec.detaches && raw.as_ref().is_some_and(|raw| raw == "") {
            out.insert(name.clone(), Json::Null);
            continue;
        }
        if let Some(value) = raw.and_then(|raw| decode(spec, &raw, protocol)) {
            out.insert(name.clone(), normalised(spec, value));
        }
    }
    out
}

/// The first field whose value has another form than the manifest says: a record where a text is documented, a text where a
/// list is. It is a fault of the answer, and must not be taken for a change of the resource.
pub fn misfit<'a>(specs: &'a IndexMap<String, FieldSpec>, fields: &Map) -> Option<(&'a str, &'a FieldSpec)> {
    let wrong = |spec: &FieldSpec, value: &Json| match (&spec.kind, value) {
        (FieldType::Any, _) | (_, Json::Null) => false,
        (FieldType::List(_), value) => !value.is_array() && value != "",
        (FieldType::Map(_) | FieldType::Record(_), value) => !value.is_object() && value != "",
        (_, value) => value.is_array() || value.is_object(),
    };
    specs.iter().find_map(|(name, spec)| wrong(spec, fields.get(name)?).then_some((name.as_str(), spec)))
}

/// An XML list without entries is null, which for a list or a map means empty, not absent.
fn empty_list(spec: &FieldSpec, item: &Json, path: &str) -> Option<Json> {
    let listy = matches!(spec.kind, FieldType::List(_) | FieldType::Map(_));
    (listy && item.get(path).is_some_and(Json::is_null)).then(|| Json::Array(Vec::new()))
}

/// One value in the user's shape; `None` for null and for what does not fit.
pub fn decode(spec: &FieldSpec, raw: &Json, protocol: Protocol) -> Option<Json> {
    match (spec.encode, raw) {
        (_, Json::Null) => return None,
        (Some(Encode::KeyValue), Json::Array(items)) => {
            let mut map = Map::new();
            for item in items {
                if let (Some(key), Some(value)) = (item.get("key").and_then(Json::as_str), item.get("value")) {
                    let value = if value.is_null() { Json::from("") } else { value.clone() };
                    map.insert(key.to_owned(), value);
                }
            }
            return Some(Json::Object(map));
        }
        (Some(Encode::Tags), Json::Array(items)) => {
            let pair = |item: &Json| {
                let text = item.as_str()?;
                let (key, value) = text.split_once(':').unwrap_or((text, ""));
                Some((key.to_owned(), Json::from(value)))
            };
            return Some(Json::Object(items.iter().filter_map(pair).collect()));
        }
        (Some(Encode::YesNo | Encode::OnOff), Json::String(text)) => {
            return Some(Json::Bool(text == "yes" || text == "on"));
        }
        (Some(Encode::Base64), Json::String(text)) => {
            return BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).map(Json::from);
        }
        _ => {}
    }
    decode_kind(&spec.kind, raw, protocol)
}

fn decode_kind(kind: &FieldType, raw: &Json, protocol: Protocol) -> Option<Json> {
    match (kind, raw) {
        (_, Json::Null) => None,
        (FieldType::List(inner), Json::Array(items)) => {
            Some(items.iter().filter_map(|item| decode_kind(inner, item, protocol)).collect())
        }
        (FieldType::Record(fields), Json::Object(_)) => Some(Json::Object(decode_fields(fields, raw, protocol))),
        // A list where one value is meant: the cloud says that there is none, which is more than saying nothing.
        (FieldType::String | FieldType::Int | FieldType::Record(_), Json::Array(items)) => match items.first() {
            None => Some(Json::Null),
            Some(first) => decode_kind(kind, first, protocol),
        },
        (FieldType::Int, Json::String(text)) => text.parse::<i64>().ok().map(Json::from),
        (FieldType::Number, Json::String(text)) => text.parse::<f64>().ok().map(Json::from),
        (FieldType::Bool, Json::String(text)) => Some(Json::Bool(text == "true")),
        (FieldType::String, Json::Number(number)) => Some(Json::from(number.to_string())),
        _ => Some(raw.clone()),
    }
}

/// Gives an item what a call says that it gets besides, placeholders replaced.
pub fn complete<'a>(
    item: &mut Json,
    with: impl IntoIterator<Item = (&'a String, &'a Json)>,
    value_of: &dyn Fn(&str) -> Option<Json>,
) {
    if let Json::Object(map) = item {
        map.extend(with.into_iter().map(|(name, value)| (name.clone(), fill(value, value_of))));
    }
}

/// Puts values in the place of `{id}`, `{item}`, `{item.x}`, `{field.x}`. A text that is one placeholder keeps the
/// type of its value.
pub fn fill(template: &Json, value_of: &dyn Fn(&str) -> Option<Json>) -> Json {
    match template {
        Json::String(text) => fill_text(text, value_of),
        Json::Array(items) => items.iter().map(|item| fill(item, value_of)).collect(),
        Json::Object(map) => Json::Object(map.iter().map(|(key, item)| (key.clone(), fill(item, value_of))).collect()),
        other => other.clone(),
    }
}

/// The same for one text.
pub fn fill_text(text: &str, value_of: &dyn Fn(&str) -> Option<Json>) -> Json {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))
        && !name.contains(['{', '}'])
    {
        return value_of(name).unwrap_or(Json::Null);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        match after.split_once('}') {
            Some((name, tail)) => {
                match value_of(name) {
                    Some(Json::String(value)) => out.push_str(&value),
                    Some(Json::Null) | None => {}
                    Some(other) => out.push_str(&other.to_string()),
                }
                rest = tail;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Json::String(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn specs(value: Json) -> IndexMap<String, FieldSpec> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_body_and_its_answer_have_the_same_paths() {
        let specs = specs(json!({
            "firewalls": {"type": {"list": "int"}, "wire": "firewalls[].firewall"},
            "size": {"type": "int", "encode": "text"},
            "on": {"type": "bool", "encode": "yes_no"},
            "labels": {"type": {"map": "string"}, "wire": "labels.label", "encode": "key_value"},
            "tags": {"type": {"map": "string"}, "encode": "tags"},
        }));
        let values = json!({"firewalls": ["1", 2], "size": 3, "on": true, "labels": {"a": "b"}, "tags": {"c": "d:e"}});
        let body = encode_fields(specs.iter(), values.as_object().unwrap(), Protocol::RestJson);
        assert_eq!(
            body,
            json!({"firewalls": [{"firewall": 1}, {"firewall": 2}], "size": "3", "on": "yes",
                "labels": {"label": [{"key": "a", "value": "b"}]}, "tags": ["c:d:e"]})
        );
        let back = decode_fields(&specs, &body, Protocol::RestJson);
        assert_eq!(
            Json::Object(back),
            json!({"firewalls": [1, 2], "size": 3, "on": true, "labels": {"a": "b"}, "tags": {"c": "d:e"}})
        );
    }

    #[test]
    fn paths_select_flatten_and_fall_back() {
        let value = json!({"r": [{"i": [{"x": 1}, {"x": 2}]}, {"i": [{"x": 3}]}],
            "ip": [{"access": "utility", "a": "10"}, {"access": "public", "a": "20"}], "none": null});
        assert_eq!(extract(&value, "r[].i[].x"), Some(json!([1, 2, 3])));
        assert_eq!(extract(&value, "ip[access=public].a"), Some(json!("20")));
        assert_eq!(extract(&value, "missing.x|r.1.i.0.x"), Some(json!(3)));
        assert_eq!(extract(&value, "none"), None);
        assert_eq!((extract(&value, "none!"), extract(&value, "ip!")), (Some(json!(false)), None));
        assert_eq!(extract(&value, "=attach"), Some(json!("attach")));
        assert_eq!(extract(&value, "ip[access].a"), Some(json!(["10", "20"])));
        assert_eq!(extract(&value, "ip[other].a"), Some(json!([])));
        assert_eq!(extract(&json!({"server": 7}), "server[]"), Some(json!([7])));
        let one = specs(json!({"server": {"type": "int", "read": "server[]"}}));
        assert_eq!(decode_fields(&one, &json!({"server": null}), Protocol::RestJson)["server"], Json::Null);
        let mut tables = json!({"t": [{"id": 7, "r": [{"to": "10.0.0.0/8", "via": "x"}]}]});
        inherit(&mut tables, &["id".to_owned()], &Map::new());
        assert_eq!(
            extract(&tables, "t[id=7].r[to=10.0.0.0/8]"),
            Some(json!({"to": "10.0.0.0/8", "via": "x", "id": 7}))
        );
    }

    #[test]
    fn placeholders_keep_types() {
        let of = |name: &str| match name {
            "id" => Some(json!(7)),
            "item.x" => Some(json!("v")),
            _ => None,
        };
        assert_eq!(fill(&json!({"a": "{id}", "b": "/s/{id}/{item.x}"}), &of), json!({"a": 7, "b": "/s/7/v"}));
    }

    #[test]
    fn an_empty_text_is_nothing_attached_and_anything_else_stays_what_it_is() {
        let field = |detaches: bool| {
            let mut spec: FieldSpec = serde_json::from_value(json!({"type": "string"})).unwrap();
            spec.detaches = detaches;
            IndexMap::from([("server".to_owned(), spec)])
        };
        let read = |detaches: bool| decode_fields(&field(detaches), &json!({"server": ""}), Protocol::RestJson);
        assert_eq!(Json::Object(read(true)), json!({"server": null}));
        assert_eq!(Json::Object(read(false)), json!({"server": ""}));
    }
}
