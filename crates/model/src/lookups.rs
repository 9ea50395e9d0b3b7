//! Owns look-ups inside data: what a configuration says of something that a cloud knows more of. Pure.

use crate::reference::walk;
use crate::{Json, Map, Step};

/// The key of a filter that says which one of several: the greatest of a column.
pub const NEWEST: &str = "newest";

/// `{"$lookup": {type, filter, attribute}}` somewhere in a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// `hetzner.image`.
    pub kind: String,
    /// What it is known by: texts, numbers and booleans.
    pub filter: Map,
    /// Of several, the one whose value here is the greatest.
    pub newest: Option<String>,
    /// The column that is wanted of it.
    pub attribute: String,
}

/// The look-up that a value is.
pub fn parse_lookup(value: &Json) -> Option<Lookup> {
    let inner = value.as_object()?.get("$lookup")?.as_object()?;
    let text = |name: &str| inner.get(name)?.as_str().map(str::to_owned);
    let mut filter = inner.get("filter")?.as_object()?.clone();
    let newest = match filter.shift_remove(NEWEST) {
        None => None,
        Some(column) => Some(column.as_str()?.to_owned()),
    };
    let plain = |value: &Json| value.is_string() || value.is_number() || value.is_boolean();
    if inner.len() != 3 || !filter.values().all(plain) {
        return None;
    }
    Some(Lookup { kind: text("type")?, filter, newest, attribute: text("attribute")? })
}

/// Every look-up in a value, in order, with where it stands.
pub fn lookups(value: &Json) -> Vec<(Vec<Step>, Lookup)> {
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut |value, path| {
        let Some(lookup) = parse_lookup(value) else { return false };
        found.push((path.to_vec(), lookup));
        true
    });
    found
}

/// The value with what was found in the place of its look-ups; one for which nothing is given stays.
pub fn put_found(value: &Json, found: &dyn Fn(&Lookup) -> Option<Json>) -> Json {
    if let Some(lookup) = parse_lookup(value) {
        return found(&lookup).unwrap_or_else(|| value.clone());
    }
    match value {
        Json::Object(map) => {
            map.iter().map(|(key, item)| (key.clone(), put_found(item, found))).collect::<Map>().into()
        }
        Json::Array(items) => items.iter().map(|item| put_found(item, found)).collect(),
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lookups_are_found_and_put_in_place() {
        let one = json!({"$lookup": {"type": "aws.ami", "filter": {"name": "x*", "newest": "creation_date"}, "attribute": "id"}});
        let value = json!({"a": [one], "b": {"$join": ["x-", one]}, "c": 1});
        let all = lookups(&value);
        let paths: Vec<String> = all.iter().map(|(path, _)| crate::display_path(path)).collect();
        assert_eq!(paths, ["a.0", "b.$join.1"]);
        assert_eq!(all[0].1.newest.as_deref(), Some("creation_date"));
        assert_eq!(Json::Object(all[0].1.filter.clone()), json!({"name": "x*"}));
        let put = put_found(&value, &|it| Some(json!(it.attribute)));
        assert_eq!(put, json!({"a": ["id"], "b": {"$join": ["x-", "id"]}, "c": 1}));
    }

    #[test]
    fn what_is_not_of_the_form_is_no_lookup() {
        for wrong in [
            json!("aws.ami"),
            json!({"type": "aws.ami", "attribute": "id"}),
            json!({"type": "aws.ami", "filter": "x", "attribute": "id"}),
            json!({"type": "aws.ami", "filter": {"name": {"$env": "X"}}, "attribute": "id"}),
            json!({"type": "aws.ami", "filter": {"newest": true}, "attribute": "id"}),
            json!({"type": "aws.ami", "filter": {}, "attribute": "id", "more": 1}),
        ] {
            let value = json!({ "$lookup": wrong });
            assert!(parse_lookup(&value).is_none() && crate::malformed(&value).len() == 1, "{value}");
        }
    }
}
