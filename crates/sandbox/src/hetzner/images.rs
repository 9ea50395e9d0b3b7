//! Owns Hetzner's images: those that everybody has, and the snapshots of servers.

use super::{Answer, Cx, actions, catalog, error, has_id, invalid, no_such_method, not_found, pages, public, selector};
use crate::call::Reply;
use serde_json::{Value, json};

/// Answers `/images…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => list(cx),
        ("GET", [id]) => {
            let known = catalog::images().into_iter().find(|image| has_id(image, id));
            let image = known.map_or_else(|| cx.find("image", id).map(|image| public(&image)), Ok)?;
            Ok(Reply::json(200, &json!({ "image": image })))
        }
        ("PUT", [id]) => {
            let mut image = cx.find("image", id)?;
            if let Some(text) = cx.text("description")? {
                image["description"] = json!(text);
            }
            if let Some(labels) = cx.labels()? {
                image["labels"] = labels;
            }
            cx.put("image", image.clone());
            Ok(Reply::json(200, &json!({"image": public(&image)})).about(id))
        }
        ("POST", [id, "actions", "change_protection"]) => cx.protect("image", id),
        ("DELETE", [id]) => {
            if cx.find("image", id)?["protection"]["delete"] == true {
                return Err(error(423, "protected", "image is delete protected"));
            }
            cx.world.store.remove(&cx.scope, "image", id);
            Ok(Reply::empty().about(id))
        }
        _ => Err(no_such_method()),
    }
}

fn list(cx: &Cx<'_>) -> Answer {
    let wanted = match cx.call.param("label_selector") {
        Some(text) if !text.is_empty() => {
            Some(selector::parse(text).ok_or_else(|| invalid("label_selector", "invalid label selector"))?)
        }
        _ => None,
    };
    let now = cx.call.now;
    let fresh = now - cx.call.stale_ms;
    let own = cx.world.store.rows(&cx.scope, "image", now);
    let own = own.filter(|row| cx.call.stale_ms == 0 || row.created <= fresh).map(|row| row.at(now));
    let matches = |image: &Value, name: &str| {
        let wanted: Vec<&str> = cx.call.all(name).collect();
        wanted.is_empty() || wanted.iter().any(|one| image[name] == *one)
    };
    let found = catalog::images()
        .into_iter()
        .chain(own)
        .filter(|image| ["name", "type", "architecture", "status"].iter().all(|name| matches(image, name)))
        .filter(|image| wanted.as_ref().is_none_or(|selector| selector.matches(&image["labels"])))
        .collect();
    pages(cx.call, "images", found, public)
}

/// `POST /servers/{id}/actions/create_image`.
pub fn of_server(cx: &mut Cx<'_>, server: &Value) -> Answer {
    let kind = cx.text("type")?.unwrap_or_else(|| "snapshot".to_owned());
    if kind != "snapshot" {
        return Err(invalid("type", "backups need a backup window, which this sandbox does not have"));
    }
    let labels = cx.labels()?.unwrap_or_else(|| json!({}));
    let shown = super::servers::render(server);
    let id = cx.next_id();
    let until = cx.call.now + cx.world.action_ms();
    let image = json!({"id": id, "type": kind, "status": "creating", "name": null, "labels": labels,
        "description": cx.text("description")?.unwrap_or_default(), "image_size": 1.5, "disk_size": server["primary_disk_size"],
        "created": cx.time(), "created_from": {"id": server["id"], "name": server["name"]}, "bound_to": null,
        "os_flavor": shown["image"]["os_flavor"], "os_version": shown["image"]["os_version"], "rapid_deploy": false,
        "protection": {"delete": false}, "deprecated": null, "deleted": null,
        "architecture": shown["server_type"]["architecture"], "_then": [{"at": until, "set": {"status": "available"}}]});
    cx.put("image", image.clone());
    let server = server["id"].to_string();
    let action = actions::start(cx, "create_image", "server", &server, &[("image", &id.to_string())]);
    Ok(Reply::json(201, &json!({"image": public(&image), "action": action})).about(id))
}

/// A snapshot that a new server is to start from.
pub fn snapshot(cx: &Cx<'_>, wanted: &Value, architecture: &Value) -> Result<Value, Reply> {
    let id = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
    let image = cx.find("image", &id).map_err(|_| invalid("image", "image not found"))?;
    if image["architecture"] != *architecture {
        return Err(invalid("image", "image architecture does not match the server type"));
    }
    if image["status"] != "available" {
        return Err(not_found("image"));
    }
    Ok(public(&image))
}
