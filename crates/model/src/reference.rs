//! Owns references inside data: finding them, and putting values in their place.

use crate::{Address, Json, Map, Step};

/// `{"$ref": {address, attribute}}` somewhere in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub address: Address,
    pub attribute: String,
    /// Where in the value it stands.
    pub path: Vec<Step>,
}

/// What resolving a value gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    pub value: Json,
    /// A part is not known until apply.
    pub unknown: bool,
    /// A part came from a secret.
    pub sensitive: bool,
}

/// The address and attribute of a `$ref` record.
pub fn parse_ref(value: &Json) -> Option<(Address, String)> {
    let inner = value.as_object()?.get("$ref")?.as_object()?;
    Some((Address::new(inner.get("address")?.as_str()?), inner.get("attribute")?.as_str()?.to_owned()))
}

/// Walks a value in order; a visit that takes a value keeps the walk out of it.
fn walk(value: &Json, path: &mut Vec<Step>, take: &mut dyn FnMut(&Json, &[Step]) -> bool) {
    if take(value, path) {
        return;
    }
    match value {
        Json::Object(map) => {
            for (key, item) in map {
                path.push(Step::Field(key.clone()));
                walk(item, path, take);
                path.pop();
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                walk(item, path, take);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Every `$ref` in a value, in order.
pub fn references(value: &Json) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some((address, attribute)) = parse_ref(value) else { return false };
        found.push(Reference { address, attribute, path: path.to_vec() });
        true
    });
    found
}

/// References that are not of their form, with what they should look like.
pub fn malformed(value: &Json) -> Vec<(Vec<Step>, &'static str)> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some(map) = value.as_object() else { return false };
        let wrong = [
            ("$ref", parse_ref(value).is_some(), "write `p.ref \"address\" \"attribute\"`"),
            ("$env", map.get("$env").is_some_and(Json::is_string), "write `p.env \"NAME\"`"),
            ("$join", map.get("$join").is_some_and(Json::is_array), "write `p.join [\"text\", …]`"),
        ];
        match wrong.into_iter().find(|(key, right, _)| map.contains_key(*key) && !right) {
            Some((_, _, form)) => {
                found.push((path.to_vec(), form));
                true
            }
            None => false,
        }
    });
    found
}

/// The environment variables a value stands on, with where it names them.
pub fn variables(value: &Json) -> Vec<(Vec<Step>, String)> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some(name) = value.get("$env").and_then(Json::as_str) else { return false };
        found.push((path.to_vec(), name.to_owned()));
        true
    });
    found
}

/// The marker that stands for a value not known until apply.
pub fn unknown() -> Json {
    let mut map = Map::new();
    map.insert("$unknown".into(), Json::Bool(true));
    Json::Object(map)
}

/// Gives a resource's attribute and whether it is sensitive; `Ok(None)` when it is not known yet.
pub type AttributeOf<'a, E> = dyn Fn(&Address, &str) -> Result<Option<(Json, bool)>, E> + 'a;

/// Puts values in the place of references. `attribute` gives a resource's attribute, `Ok(None)` when it is not known
/// yet; `env` gives an environment variable, or an error naming it.
pub fn resolve<E>(
    value: &Json,
    attribute: &AttributeOf<'_, E>,
    env: &dyn Fn(&str) -> Result<Json, E>,
) -> Result<Resolution, E> {
    if let Some((address, name)) = parse_ref(value) {
        return Ok(match attribute(&address, &name)? {
            Some((value, sensitive)) => Resolution { value, unknown: false, sensitive },
            None => Resolution { value: unknown(), unknown: true, sensitive: false },
        });
    }
    match value {
        Json::Object(map) => {
            if let Some(name) = map.get("$env").and_then(Json::as_str) {
                return Ok(Resolution { value: env(name)?, unknown: false, sensitive: false });
            }
            if let Some(inner) = map.get("$secret") {
                return Ok(Resolution { sensitive: true, ..resolve(inner, attribute, env)? });
            }
            if let Some(Json::Array(parts)) = map.get("$join") {
                let mut out = Resolution { value: Json::Null, unknown: false, sensitive: false };
                let mut text = String::new();
                for part in parts {
                    let part = resolve(part, attribute, env)?;
                    out.unknown |= part.unknown;
                    out.sensitive |= part.sensitive;
                    match part.value {
                        Json::String(piece) => text.push_str(&piece),
                        other => text.push_str(&other.to_string()),
                    }
                }
                out.value = if out.unknown { unknown() } else { Json::String(text) };
                return Ok(out);
            }
            let mut out = Resolution { value: Json::Null, unknown: false, sensitive: false };
            let mut resolved = Map::new();
            for (key, item) in map {
                let item = resolve(item, attribute, env)?;
                out.unknown |= item.unknown;
                out.sensitive |= item.sensitive;
                resolved.insert(key.clone(), item.value);
            }
            out.value = Json::Object(resolved);
            Ok(out)
        }
        Json::Array(items) => {
            let mut out = Resolution { value: Json::Null, unknown: false, sensitive: false };
            let mut resolved = Vec::with_capacity(items.len());
            for item in items {
                let item = resolve(item, attribute, env)?;
                out.unknown |= item.unknown;
                out.sensitive |= item.sensitive;
                resolved.push(item.value);
            }
            out.value = Json::Array(resolved);
            Ok(out)
        }
        scalar => Ok(Resolution { value: scalar.clone(), unknown: false, sensitive: false }),
    }
}

/// Whether a value holds a `$secret` anywhere.
pub fn has_secret(value: &Json) -> bool {
    match value {
        Json::Object(map) => map.contains_key("$secret") || map.values().any(has_secret),
        Json::Array(items) => items.iter().any(has_secret),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn get(address: &Address, name: &str) -> Result<Option<(Json, bool)>, String> {
        match (address.as_str(), name) {
            ("net", "id") => Ok(Some((json!(7), false))),
            ("web", "ip") => Ok(None),
            _ => Err(format!("{address}.{name}")),
        }
    }

    #[test]
    fn joins_and_unknowns() {
        let env = |name: &str| Ok(json!(format!("<{name}>")));
        let value = json!({"a": [{"$ref": {"address": "net", "attribute": "id"}}],
            "b": {"$join": ["n", {"$ref": {"address": "net", "attribute": "id"}}, {"$env": "X"}]}});
        let out = resolve(&value, &get, &env).unwrap();
        assert_eq!(out.value, json!({"a": [7], "b": "n7<X>"}));
        assert!(!out.unknown);
        let later = json!({"$join": ["http://", {"$ref": {"address": "web", "attribute": "ip"}}]});
        assert!(resolve(&later, &get, &env).unwrap().unknown);
        assert_eq!(references(&value).len(), 2);
    }

    #[test]
    fn malformed_references_and_variables_are_found_where_they_stand() {
        let value =
            json!({"a": [{"$ref": "net"}, {"$env": "X"}], "b": {"$join": ["x", {"$env": "Y"}]}, "c": {"$join": "x"}});
        let paths: Vec<Vec<Step>> = malformed(&value).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, [vec!["a".into(), 0.into()], vec![Step::from("c")]]);
        assert_eq!(
            variables(&value),
            [
                (vec!["a".into(), 1.into()], "X".to_owned()),
                (vec!["b".into(), "$join".into(), 1.into()], "Y".to_owned())
            ]
        );
    }
}
