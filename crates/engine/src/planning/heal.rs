//! Owns putting references back where a plan of drift alone has values. Pure.

use provision_model::{Json, references, variables};
use std::collections::HashSet;

/// Puts the references of a value as it was written into the place of what they were last resolved to: what is made again
/// has another id. What came from the environment stays as it was sent.
pub(crate) fn relink(value: &mut Json, written: &Json, there: &HashSet<&str>) {
    if written.get("$ref").is_some() || written.get("$join").is_some() {
        let found = references(written);
        let known = found.iter().all(|reference| there.contains(reference.address.as_str()));
        if known && !found.is_empty() && variables(written).is_empty() {
            *value = written.clone();
        }
        return;
    }
    match (value, written) {
        (Json::Object(map), Json::Object(written)) => {
            for (key, item) in map {
                if let Some(written) = written.get(key) {
                    relink(item, written, there);
                }
            }
        }
        (Json::Array(items), Json::Array(written)) if items.len() == written.len() => {
            for (item, written) in items.iter_mut().zip(written) {
                relink(item, written, there);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_come_back_and_what_came_from_the_environment_stays() {
        let reference = json!({"$ref": {"address": "net", "attribute": "id"}});
        let lost = json!({"$ref": {"address": "gone", "attribute": "id"}});
        let mut value = json!({"a": [7], "b": "n7", "c": "x7", "d": [1, 2], "e": {"$secret": "s"}, "f": 3});
        let written = json!({"a": [reference], "b": {"$join": ["n", reference]},
            "c": {"$join": [{"$env": "X"}, reference]}, "d": [reference], "e": {"$sealed": "…"}, "f": lost});
        relink(&mut value, &written, &HashSet::from(["net"]));
        assert_eq!(
            value,
            json!({"a": [reference], "b": {"$join": ["n", reference]}, "c": "x7", "d": [1, 2], "e": {"$secret": "s"}, "f": 3})
        );
    }
}
