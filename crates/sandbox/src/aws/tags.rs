//! Owns EC2's tags.

use super::{Answer, Cx, KINDS, Kind, Params, bad, describe, missing, xml};
use crate::call::Reply;
use serde_json::{Value, json};

/// Whether a key is one that AWS sets and nobody else changes; it does not count against the limit.
fn is_reserved(key: &str) -> bool {
    key.starts_with("aws:")
}

fn reserved() -> Reply {
    bad("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
}

/// The tags of a specification or request: `Tag.N.Key`, `Tag.N.Value`.
pub fn read(params: &Params) -> Result<Vec<Value>, Reply> {
    let mut all = Vec::new();
    for tag in params.list("Tag") {
        let key = tag.get("Key").filter(|key| !key.is_empty()).ok_or_else(|| missing("Tag.Key"))?;
        let value = tag.get("Value").unwrap_or_default();
        if is_reserved(key) {
            return Err(reserved());
        }
        if key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(bad("InvalidParameterValue", "Tag key or value exceeds the maximum length"));
        }
        all.push(json!({"key": key, "value": value}));
    }
    Ok(all)
}

/// Adds tags, replacing those of the same key.
pub fn merge(tags: &mut Vec<Value>, new: Vec<Value>) -> Result<(), Reply> {
    for tag in new {
        match tags.iter_mut().find(|old| old["key"] == tag["key"]) {
            Some(old) => *old = tag,
            None => tags.push(tag),
        }
    }
    if tags.iter().filter(|tag| !tag["key"].as_str().is_some_and(is_reserved)).count() > 50 {
        return Err(bad("TagLimitExceeded", "More than 50 tags are not allowed"));
    }
    Ok(())
}

/// The resources a request names, of whatever kind.
fn named(cx: &Cx<'_>) -> Result<Vec<(Kind, String, Value)>, Reply> {
    let ids = cx.params.values("ResourceId");
    if ids.is_empty() {
        return Err(missing("ResourceIdSet"));
    }
    let mut all = Vec::new();
    for id in ids {
        let kind = KINDS.iter().find(|kind| id.strip_prefix(kind.prefix).is_some_and(|rest| rest.starts_with('-')));
        let kind = kind.ok_or_else(|| bad("InvalidID", format!("The ID '{id}' is not valid")))?;
        let value = cx.find(*kind, &id)?;
        all.push((*kind, id, value));
    }
    Ok(all)
}

/// CreateTags.
pub fn create(cx: &mut Cx<'_>) -> Answer {
    let new = read(&cx.params)?;
    let mut about = String::new();
    for (kind, id, mut value) in named(cx)? {
        let mut tags = value["tagSet"].as_array().cloned().unwrap_or_default();
        merge(&mut tags, new.clone())?;
        value["tagSet"] = Value::Array(tags);
        cx.put(kind, &id, value);
        about = id;
    }
    cx.done("CreateTags", &about)
}

/// DeleteTags: by key, or by key and value where a value is given; all when no tag is named.
pub fn delete(cx: &mut Cx<'_>) -> Answer {
    let going = cx.params.list("Tag");
    if going.iter().filter_map(|tag| tag.get("Key")).any(is_reserved) {
        return Err(reserved());
    }
    let mut about = String::new();
    for (kind, id, mut value) in named(cx)? {
        if let Some(tags) = value["tagSet"].as_array_mut() {
            tags.retain(|tag| {
                let stays = going.is_empty() && tag["key"].as_str().is_some_and(is_reserved);
                stays
                    || !going.is_empty()
                        && !going.iter().any(|one| {
                            one.get("Key").is_some_and(|key| tag["key"] == key)
                                && one.get("Value").is_none_or(|value| tag["value"] == value)
                        })
            });
        }
        cx.put(kind, &id, value);
        about = id;
    }
    cx.done("DeleteTags", &about)
}

/// DescribeTags.
pub fn describe(cx: &mut Cx<'_>) -> Answer {
    let mut all = Vec::new();
    for kind in KINDS {
        for value in cx.every(*kind) {
            for tag in value["tagSet"].as_array().into_iter().flatten() {
                all.push(json!({"resourceId": value[kind.id_field], "resourceType": kind.resource_type,
                    "key": tag["key"], "value": tag["value"]}));
            }
        }
    }
    let found = describe::narrow(cx, all)?;
    let (shown, token) = describe::page(cx, "ResourceId", found)?;
    Ok(xml::response("DescribeTags", &describe::body("tagSet", shown, token)))
}
