//! Owns what is done to an UpCloud server that exists: starting, stopping, attaching and detaching disks.

use super::{Answer, Cx, error, invalid, servers, storages};
use crate::call::Reply;
use serde_json::{Value, json};

/// Answers `/server/{uuid}/start`, `stop` and `restart`.
pub fn switch(cx: &mut Cx<'_>, id: &str, verb: &str) -> Answer {
    let mut server = cx.find("server", id)?;
    servers::must_be(&server, &[if verb == "start" { "stopped" } else { "started" }])?;
    let until = cx.call.now + cx.world.action_ms();
    let becomes = if verb == "stop" { "stopped" } else { "started" };
    if verb == "start" {
        server["state"] = json!("maintenance");
    }
    server["_then"] = json!([{"at": until, "set": {"state": becomes}}]);
    cx.put("server", &server);
    Ok(Reply::json(200, &json!({"server": servers::details(cx, &server)})).about(id))
}

/// Answers `/server/{uuid}/storage/attach`.
pub fn attach(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut server = cx.find("server", id)?;
    servers::must_be(&server, &["started", "stopped"])?;
    let wanted = cx.body["storage_device"].clone();
    let storage_id = wanted["storage"].as_str();
    let storage_id = storage_id
        .ok_or_else(|| invalid("STORAGE_MISSING", "The required attribute storage is missing from the request."))?;
    let storage = storages::own(cx, storage_id)?;
    storages::unattached(cx, storage_id)?;
    if storage["zone"] != server["zone"] {
        return Err(error(409, "ZONE_MISMATCH", "The storage and the server must be in the same zone."));
    }
    let devices = server["_devices"].as_array().cloned().unwrap_or_default();
    let taken = |address: &str| devices.iter().any(|device| device["address"] == address);
    let asked = wanted["address"].as_str().unwrap_or("virtio");
    let address = if asked.contains(':') {
        if taken(asked) {
            return Err(error(409, "DEVICE_ADDRESS_IN_USE", &format!("The address {asked} is in use.")));
        }
        asked.to_owned()
    } else {
        let free = (0..16).map(|at| format!("{asked}:{at}")).find(|address| !taken(address));
        free.ok_or_else(|| error(409, "STORAGE_DEVICE_LIMIT_REACHED", "The server has no free device address."))?
    };
    let kind = wanted["type"].as_str().unwrap_or("disk");
    if let Some(list) = server["_devices"].as_array_mut() {
        list.push(json!({"address": address, "type": kind, "storage": storage_id, "boot_disk": "0"}));
    }
    cx.put("server", &server);
    Ok(Reply::json(200, &json!({"server": servers::details(cx, &server)})).about(id))
}

/// Answers `/server/{uuid}/storage/detach`: by address, or by the storage.
pub fn detach(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut server = cx.find("server", id)?;
    servers::must_be(&server, &["started", "stopped"])?;
    let wanted = cx.body["storage_device"].clone();
    let meant = |device: &Value| {
        (wanted["address"].is_string() && device["address"] == wanted["address"])
            || (wanted["storage"].is_string() && device["storage"] == wanted["storage"])
    };
    let devices = server["_devices"].as_array_mut();
    let at = devices.as_ref().and_then(|list| list.iter().position(meant));
    match (devices, at) {
        (Some(list), Some(at)) => {
            list.remove(at);
        }
        _ => return Err(error(404, "STORAGE_DEVICE_NOT_FOUND", "The server has no such storage device.")),
    }
    cx.put("server", &server);
    Ok(Reply::json(200, &json!({"server": servers::details(cx, &server)})).about(id))
}
