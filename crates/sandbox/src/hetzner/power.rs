//! Owns what is done to a Hetzner server that exists: power, type, networks, protection.

use super::{Answer, Cx, actions, catalog, dns, error, invalid, networks, no_such_method, servers};
use crate::call::Reply;
use serde_json::{Value, json};

/// Another action on the server is still running.
pub fn refuse_when_locked(cx: &Cx<'_>, server: &Value) -> Result<(), Reply> {
    if server["_busy"].as_i64().is_some_and(|until| until > cx.call.now) {
        return Err(error(423, "locked", "server is locked by another action"));
    }
    Ok(())
}

/// Answers `POST /servers/{id}/actions/{action}`.
pub fn act(cx: &mut Cx<'_>, id: &str, action: &str) -> Answer {
    let mut server = cx.find("server", id)?;
    refuse_when_locked(cx, &server)?;
    let until = cx.call.now + cx.world.action_ms();
    let mut extra = Value::Null;
    let mut other = None;
    let (command, status) = match action {
        "poweron" => ("start_server", Some("running")),
        "poweroff" => ("stop_server", Some("off")),
        "shutdown" => ("shutdown_server", Some("off")),
        "reboot" => ("reboot_server", Some("running")),
        "reset" => ("reset_server", Some("running")),
        "reset_password" => {
            extra = json!(servers::password());
            ("reset_password", None)
        }
        "change_type" => {
            change_type(cx, &mut server)?;
            ("change_server_type", None)
        }
        "attach_to_network" => {
            other = Some(attach(cx, &mut server)?);
            ("attach_to_network", None)
        }
        "detach_from_network" => {
            other = Some(detach(cx, &mut server)?);
            ("detach_from_network", None)
        }
        "add_to_placement_group" | "remove_from_placement_group" => {
            if server["status"] != "off" {
                return Err(error(422, "server_not_stopped", "server must be stopped"));
            }
            server["placement_group"] = match action {
                "add_to_placement_group" => {
                    let wanted = cx.body.get("placement_group").cloned().unwrap_or_default();
                    super::public(&cx.find("placement_group", &wanted.to_string())?)
                }
                _ => Value::Null,
            };
            (
                if server["placement_group"].is_null() {
                    "remove_from_placement_group"
                } else {
                    "add_to_placement_group"
                },
                None,
            )
        }
        "change_dns_ptr" => {
            dns::of_net(cx, &mut server["public_net"])?;
            ("change_dns_ptr", None)
        }
        "create_image" => return super::images::of_server(cx, &server),
        "change_protection" => return cx.protect("server", id),
        _ => return Err(no_such_method()),
    };
    if matches!(action, "shutdown" | "reboot" | "reset" | "reset_password") && server["status"] == "off" {
        return Err(error(409, "server_not_started", "server is not running"));
    }
    if let Some(status) = status {
        let during = if action == "poweron" { "starting" } else { "stopping" };
        if matches!(action, "poweron" | "poweroff" | "shutdown") && server["status"] != status {
            server["status"] = json!(during);
        }
        server["_then"] = json!([{"at": until, "set": {"status": status}}]);
    }
    server["_busy"] = json!(until);
    cx.put("server", server);
    let others: Vec<(&str, &str)> = other.iter().map(|id: &String| ("network", id.as_str())).collect();
    let started = actions::start_until(cx, command, "server", id, &others, until);
    let mut body = json!({ "action": started });
    if !extra.is_null() {
        body["root_password"] = extra;
    }
    Ok(Reply::json(201, &body).about(id))
}

fn change_type(cx: &Cx<'_>, server: &mut Value) -> Result<(), Reply> {
    let wanted = cx.body.get("server_type").cloned().unwrap_or_default();
    let kind = catalog::server_type(&wanted).ok_or_else(|| invalid("server_type", "server type not found"))?;
    let old = catalog::server_type(&server["_type"]).unwrap_or_default();
    if server["status"] != "off" {
        return Err(error(422, "server_not_stopped", "server must be stopped"));
    }
    if kind["architecture"] != old["architecture"] || kind["id"] == old["id"] {
        return Err(error(422, "invalid_server_type", "server type does not fit the server"));
    }
    if kind["disk"].as_u64() < server["primary_disk_size"].as_u64() {
        return Err(error(422, "invalid_server_type", "disk of the server type is too small"));
    }
    if cx.body.get("upgrade_disk").and_then(Value::as_bool).unwrap_or(true) {
        server["primary_disk_size"] = kind["disk"].clone();
    }
    server["_type"] = kind["id"].clone();
    Ok(())
}

fn network(cx: &Cx<'_>) -> Result<Value, Reply> {
    let id = cx.body.get("network").ok_or_else(|| invalid("network", "Missing data for required field."))?;
    cx.find("network", &id.to_string())
}

fn attach(cx: &mut Cx<'_>, server: &mut Value) -> Result<String, Reply> {
    let network = network(cx)?;
    let nets = server["private_net"].as_array().cloned().unwrap_or_default();
    if nets.iter().any(|net| net["network"] == network["id"]) {
        return Err(error(409, "server_already_attached", "server is already attached to the network"));
    }
    let location = catalog::location(&server["_location"]).unwrap_or_default();
    let alias = cx.body.get("alias_ips").cloned().unwrap_or_default();
    let wanted = cx.text("ip")?.filter(|text| !text.is_empty());
    let mac = 0xa000 + cx.world.store.next("hetzner.mac");
    let net = networks::join(cx, &network, &location["network_zone"], wanted.as_deref(), &alias, mac)?;
    if let Some(nets) = server["private_net"].as_array_mut() {
        nets.push(net);
    }
    Ok(network["id"].to_string())
}

fn detach(cx: &Cx<'_>, server: &mut Value) -> Result<String, Reply> {
    let network = network(cx)?;
    let nets = server["private_net"].as_array_mut();
    let at = nets.as_ref().and_then(|nets| nets.iter().position(|net| net["network"] == network["id"]));
    match (nets, at) {
        (Some(nets), Some(at)) => {
            nets.remove(at);
            Ok(network["id"].to_string())
        }
        _ => Err(error(409, "conflict", "server is not attached to the network")),
    }
}
