//! Owns UpCloud's storages.

use super::{Answer, Cx, catalog, error, invalid, is_yes, labels, no_such_method, number, time, uuid, yes};
use crate::call::Reply;
use serde_json::{Value, json};

/// Answers `/storage…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => list(cx, None),
        ("GET", [kind @ ("normal" | "private" | "public" | "template" | "backup" | "cdrom" | "favorite")]) => {
            list(cx, Some(kind))
        }
        ("POST", []) => create(cx),
        ("GET", [id]) => Ok(Reply::json(200, &json!({"storage": details(cx, &any(cx, id)?)}))),
        ("PUT" | "PATCH", [id]) => modify(cx, id),
        ("DELETE", [id]) => {
            let storage = own(cx, id)?;
            idle(&storage)?;
            if !holders(cx, id).is_empty() {
                return Err(error(409, "STORAGE_ATTACHED", &format!("The storage {id} is attached to a server.")));
            }
            cx.world.store.remove(&cx.scope, "storage", id);
            Ok(Reply::empty().about(id))
        }
        ("POST", [id, "clone"]) => clone(cx, id),
        _ => Err(no_such_method()),
    }
}

fn list(cx: &Cx<'_>, kind: Option<&str>) -> Answer {
    let mut found: Vec<Value> = catalog::templates();
    let stale = cx.call.stale_ms;
    let rows = cx.world.store.rows(&cx.scope, "storage", cx.call.now);
    found.extend(rows.filter(|row| stale == 0 || row.created <= cx.call.now - stale).map(|row| row.at(cx.call.now)));
    found.retain(|storage| match kind {
        None => true,
        Some(access @ ("public" | "private")) => storage["access"] == access,
        Some(kind) => storage["type"] == kind,
    });
    let shown: Vec<Value> = cx.narrowed(found)?.iter().map(public).collect();
    Ok(Reply::json(200, &json!({"storages": {"storage": shown}})))
}

/// What lists show.
fn public(storage: &Value) -> Value {
    crate::hetzner::public(storage)
}

fn details(cx: &Cx<'_>, storage: &Value) -> Value {
    let mut shown = public(storage);
    let id = storage["uuid"].as_str().unwrap_or_default();
    shown["backup_rule"] = storage.get("backup_rule").cloned().unwrap_or_else(|| json!({}));
    shown["backups"] = json!({"backup": []});
    shown["servers"] = json!({"server": holders(cx, id)});
    shown
}

/// The servers a storage is attached to.
fn holders(cx: &Cx<'_>, id: &str) -> Vec<String> {
    let holds = |server: &Value| {
        server["_devices"].as_array().is_some_and(|list| list.iter().any(|device| device["storage"] == id))
    };
    cx.every("server").filter(holds).filter_map(|server| server["uuid"].as_str().map(str::to_owned)).collect()
}

/// A storage of this account.
pub fn own(cx: &Cx<'_>, id: &str) -> Result<Value, Reply> {
    cx.find("storage", id)
}

/// A storage of this account, or a public template.
pub fn any(cx: &Cx<'_>, id: &str) -> Result<Value, Reply> {
    match catalog::templates().into_iter().find(|template| template["uuid"] == id) {
        Some(template) => Ok(template),
        None => own(cx, id),
    }
}

/// Refuses when the storage is attached somewhere.
pub fn unattached(cx: &Cx<'_>, id: &str) -> Result<(), Reply> {
    if holders(cx, id).is_empty() {
        return Ok(());
    }
    Err(error(409, "STORAGE_ATTACHED", &format!("The storage {id} is already attached.")))
}

fn idle(storage: &Value) -> Result<(), Reply> {
    if storage["state"] == "online" {
        return Ok(());
    }
    let message = format!("The storage {} is in state {}.", storage["uuid"], storage["state"]);
    Err(error(409, "STORAGE_STATE_ILLEGAL", &message))
}

/// Makes a storage from the fields of a request; `origin` is what it is cloned from.
pub fn make(
    cx: &mut Cx<'_>,
    fields: &Value,
    zone: &str,
    origin: Option<&Value>,
    part_of_plan: bool,
) -> Result<Value, Reply> {
    let size = match (number(&fields["size"]), origin) {
        (Some(size), _) => size,
        (None, Some(origin)) if fields["size"].is_null() => number(&origin["size"]).unwrap_or(10),
        (None, _) if fields["size"].is_null() => {
            return Err(invalid("SIZE_MISSING", "The required attribute size is missing from the request."));
        }
        _ => return Err(invalid("SIZE_INVALID", "The attribute size has an invalid value.")),
    };
    let least = origin.and_then(|origin| number(&origin["size"])).unwrap_or(1);
    if size < least || size > 4096 {
        return Err(invalid("SIZE_INVALID", "The attribute size has an invalid value."));
    }
    let title = fields["title"].as_str().filter(|title| !title.is_empty());
    let title =
        title.ok_or_else(|| invalid("TITLE_MISSING", "The required attribute title is missing from the request."))?;
    let tier = fields["tier"].as_str().unwrap_or("maxiops");
    if !matches!(tier, "maxiops" | "standard" | "hdd" | "archive") {
        return Err(invalid("TIER_INVALID", "The attribute tier has an invalid value."));
    }
    let labels = labels(&fields["labels"])?.unwrap_or_else(|| json!([]));
    let (now, until) = (cx.call.now, cx.call.now + cx.world.action_ms());
    let storage = json!({
        "access": "private", "created": time(now), "encrypted": yes(is_yes(&fields["encrypted"])), "labels": labels, "license": 0,
        "origin": origin.map(|origin| origin["uuid"].clone()), "part_of_plan": yes(part_of_plan), "size": size,
        "state": "maintenance", "template_type": origin.map(|origin| origin["template_type"].clone()), "tier": tier,
        "title": title, "type": "normal", "uuid": uuid("01"), "zone": zone,
        "backup_rule": if fields["backup_rule"].is_object() { fields["backup_rule"].clone() } else { json!({}) },
        "_then": [{"at": until, "set": {"state": "online"}}],
    });
    cx.put("storage", &storage);
    Ok(storage)
}

/// The zone of a request, which must be one of the vendor's.
pub fn zone(fields: &Value) -> Result<String, Reply> {
    match fields["zone"].as_str() {
        None | Some("") => Err(invalid("ZONE_MISSING", "The required attribute zone is missing from the request.")),
        Some(zone) if catalog::is_zone(zone) => Ok(zone.to_owned()),
        Some(zone) => Err(error(404, "ZONE_NOT_FOUND", &format!("The zone {zone} does not exist."))),
    }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let fields = cx.body["storage"].clone();
    let zone = zone(&fields)?;
    let storage = make(cx, &fields, &zone, None, false)?;
    let id = storage["uuid"].as_str().unwrap_or_default().to_owned();
    Ok(Reply::json(201, &json!({"storage": details(cx, &storage)})).about(id))
}

fn clone(cx: &mut Cx<'_>, id: &str) -> Answer {
    let origin = any(cx, id)?;
    idle(&origin)?;
    let fields = cx.body["storage"].clone();
    let zone = zone(&fields)?;
    let storage = make(cx, &fields, &zone, Some(&origin), false)?;
    let id = storage["uuid"].as_str().unwrap_or_default().to_owned();
    Ok(Reply::json(201, &json!({"storage": details(cx, &storage)})).about(id))
}

fn modify(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut storage = own(cx, id)?;
    idle(&storage)?;
    let fields = cx.body["storage"].clone();
    if !fields["title"].is_null() {
        let title = fields["title"].as_str().filter(|title| !title.is_empty());
        storage["title"] =
            json!(title.ok_or_else(|| invalid("TITLE_INVALID", "The attribute title has an invalid value."))?);
    }
    if !fields["size"].is_null() {
        let size = number(&fields["size"]).filter(|size| Some(*size) >= number(&storage["size"]) && *size <= 4096);
        let size = size.ok_or_else(|| invalid("SIZE_INVALID", "The attribute size has an invalid value."))?;
        if Some(size) != number(&storage["size"]) {
            for holder in holders(cx, id) {
                super::servers::must_be(&cx.find("server", &holder)?, &["stopped"])?;
            }
        }
        storage["size"] = json!(size);
    }
    if let Some(labels) = labels(&fields["labels"])? {
        storage["labels"] = labels;
    }
    if fields["backup_rule"].is_object() {
        storage["backup_rule"] = fields["backup_rule"].clone();
    }
    cx.put("storage", &storage);
    Ok(Reply::json(202, &json!({"storage": details(cx, &storage)})).about(id))
}
