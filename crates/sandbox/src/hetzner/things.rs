//! Owns Hetzner's smaller kinds: volumes, floating and primary addresses, placement groups and certificates. Each has a
//! name, labels and a few fields, and may be held by a server.

use super::{Answer, Cx, actions, catalog, dns, error, invalid, no_such_method, public};
use crate::call::Reply;
use crate::net::Range;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;

/// Answers `/volumes…`, `/floating_ips…`, `/primary_ips…`, `/placement_groups…` and `/certificates…`.
pub fn answer(cx: &mut Cx<'_>, plural: &str, rest: &[&str]) -> Answer {
    let kind = super::singular(plural);
    let one = |cx: &Cx<'_>, value: &Value| json!({ kind: render(cx, kind, value) });
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let wanted = cx.call.param("ip").map(str::to_owned);
            let keep = |value: &Value| wanted.as_ref().is_none_or(|ip| value["ip"] == ip.as_str());
            cx.page(plural, kind, |value| render(cx, kind, value), keep)
        }
        ("POST", []) => create(cx, kind),
        ("GET", [id]) => Ok(Reply::json(200, &one(cx, &cx.find(kind, id)?))),
        ("PUT", [id]) => {
            let mut value = cx.rename(kind, id)?;
            for field in ["description", "auto_delete"] {
                if let (true, Some(new)) = (value.get(field).is_some(), cx.body.get(field)) {
                    value[field] = new.clone();
                }
            }
            cx.put(kind, value.clone());
            Ok(Reply::json(200, &one(cx, &value)).about(id))
        }
        ("DELETE", [id]) => delete(cx, kind, id),
        ("POST", [id, "actions", action]) => act(cx, kind, id, action),
        _ => Err(no_such_method()),
    }
}

/// The vendor's shape.
fn render(cx: &Cx<'_>, kind: &str, value: &Value) -> Value {
    let mut shown = public(value);
    if let Some(location) = value.get("_location") {
        let field = if kind == "floating_ip" { "home_location" } else { "location" };
        shown[field] = catalog::location(location).unwrap_or_default();
    }
    if kind == "primary_ip" {
        let held = shown["assignee_id"].is_number();
        shown["assignee_type"] = json!(if held { "server" } else { "unassigned" });
    }
    if kind == "placement_group" {
        let servers = cx.world.store.rows(&cx.scope, "server", cx.call.now);
        let members = servers.filter(|row| row.value["placement_group"]["id"] == value["id"]);
        shown["servers"] = members.map(|row| row.value["id"].clone()).collect();
    }
    shown
}

fn place(cx: &Cx<'_>, field: &str) -> Result<Value, Reply> {
    let wanted = cx.body.get(field).filter(|value| !value.is_null()).cloned();
    let wanted = wanted.ok_or_else(|| invalid(field, "Missing data for required field."))?;
    let found = catalog::location(&wanted).ok_or_else(|| invalid(field, "location not found"))?;
    Ok(found["id"].clone())
}

/// The server that a body names, if any; with where it is.
fn server(cx: &Cx<'_>, field: &str) -> Result<Option<Value>, Reply> {
    match cx.body.get(field).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(id) => cx.find("server", &id.to_string()).map(Some),
    }
}

fn choice(cx: &Cx<'_>, field: &str, choices: &[&str]) -> Result<String, Reply> {
    let text = cx.required(field)?;
    if choices.contains(&text.as_str()) { Ok(text) } else { Err(invalid(field, "is none of the valid choices")) }
}

/// A public address that nobody had before, as its kind writes it, with its name in the DNS.
fn fresh(cx: &mut Cx<'_>, kind: &str) -> (String, Value) {
    let number = u32::try_from(cx.world.store.next("hetzner.address")).unwrap_or(u32::MAX);
    if kind == "ipv6" {
        return (format!("2001:db8:{:x}:{:x}::/64", 0x8000 | (number >> 16), number & 0xffff), json!([]));
    }
    let ip = Range { base: u32::from(Ipv4Addr::new(198, 18, 0, 0)), prefix: 15 }.nth(number % 65_533 + 1).to_string();
    let names = json!([{"ip": ip, "dns_ptr": dns::usual(&ip)}]);
    (ip, names)
}

fn create(cx: &mut Cx<'_>, kind: &str) -> Answer {
    let name = match cx.text("name")? {
        None if kind == "floating_ip" => String::new(),
        _ => cx.required("name")?,
    };
    let labels = cx.labels()?.unwrap_or_else(|| json!({}));
    if !name.is_empty() {
        cx.name_free(kind, &name, None)?;
    }
    let mut commands = Vec::new();
    let mut value = json!({"name": name, "labels": labels, "created": cx.time(), "protection": {"delete": false}});
    let until = cx.call.now + cx.world.action_ms();
    match kind {
        "volume" => {
            let size = cx.body.get("size").and_then(Value::as_u64).filter(|size| (10..=10_240).contains(size));
            let size = size.ok_or_else(|| invalid("size", "must be between 10 and 10240"))?;
            let holder = server(cx, "server")?;
            value["_location"] = match &holder {
                Some(server) => server["_location"].clone(),
                None => place(cx, "location")?,
            };
            if let Some(format) = cx.text("format")? {
                if !matches!(format.as_str(), "ext4" | "xfs") {
                    return Err(invalid("format", "must be one of ext4, xfs"));
                }
                value["format"] = json!(format);
            }
            value["size"] = json!(size);
            value["server"] = holder.map(|server| server["id"].clone()).unwrap_or_default();
            value["status"] = json!("creating");
            value["_then"] = json!([{"at": until, "set": {"status": "available"}}]);
            commands.push("create_volume");
            if !value["server"].is_null() {
                commands.push("attach_volume");
            }
        }
        "floating_ip" => {
            let family = choice(cx, "type", &["ipv4", "ipv6"])?;
            let holder = server(cx, "server")?;
            value["_location"] = match &holder {
                Some(server) => server["_location"].clone(),
                None => place(cx, "home_location")?,
            };
            let (ip, names) = fresh(cx, &family);
            value["type"] = json!(family);
            value["ip"] = json!(ip);
            value["dns_ptr"] = names;
            value["description"] = json!(cx.text("description")?.unwrap_or_default());
            value["server"] = holder.map(|server| server["id"].clone()).unwrap_or_default();
            value["blocked"] = json!(false);
            if !value["server"].is_null() {
                commands.push("assign_floating_ip");
            }
        }
        "primary_ip" => {
            let family = choice(cx, "type", &["ipv4", "ipv6"])?;
            if cx.text("assignee_type")?.is_some() {
                choice(cx, "assignee_type", &["server"])?;
            }
            if cx.body.get("assignee_id").is_some_and(|id| !id.is_null()) {
                let holder = server(cx, "assignee_id")?.unwrap_or_default();
                must_be_off(&holder)?;
                value["_location"] = holder["_location"].clone();
                value["assignee_id"] = holder["id"].clone();
            } else {
                value["_location"] = place(cx, "location")?;
                value["assignee_id"] = Value::Null;
            }
            let (ip, names) = fresh(cx, &family);
            value["type"] = json!(family);
            value["ip"] = json!(ip);
            value["dns_ptr"] = names;
            value["auto_delete"] = json!(cx.body.get("auto_delete").and_then(Value::as_bool).unwrap_or(false));
            value["blocked"] = json!(false);
        }
        "placement_group" => {
            value["type"] = json!(choice(cx, "type", &["spread"])?);
            value["servers"] = json!([]);
        }
        _ => certificate(cx, &mut value)?,
    }
    let id = cx.next_id();
    value["id"] = json!(id);
    if kind == "volume" {
        value["linux_device"] = json!(format!("/dev/disk/by-id/scsi-0HC_Volume_{id}"));
    }
    cx.put(kind, value.clone());
    let id = id.to_string();
    let mut started: Vec<Value> = commands.iter().map(|command| actions::start(cx, command, kind, &id, &[])).collect();
    let mut body = json!({ kind: render(cx, kind, &value) });
    body["action"] = if started.is_empty() { Value::Null } else { started.remove(0) };
    if kind == "volume" {
        body["next_actions"] = json!(started);
    }
    Ok(Reply::json(201, &body).about(id))
}

fn certificate(cx: &Cx<'_>, value: &mut Value) -> Result<(), Reply> {
    let kind = cx.text("type")?.unwrap_or_else(|| "uploaded".to_owned());
    if kind != "uploaded" {
        return Err(invalid("type", "managed certificates need a domain that this sandbox cannot look up"));
    }
    let text = cx.required("certificate")?;
    cx.required("private_key")?;
    let inner = text.trim().strip_prefix("-----BEGIN CERTIFICATE-----").and_then(|it| it.split("-----END").next());
    let inner = inner.ok_or_else(|| invalid("certificate", "must be a certificate in PEM"))?;
    let digest = Sha256::digest(inner.split_whitespace().collect::<String>().as_bytes());
    let print: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    value["type"] = json!(kind);
    value["certificate"] = json!(text);
    value["fingerprint"] = json!(print.join(":"));
    value["status"] = Value::Null;
    value["used_by"] = json!([]);
    value["domain_names"] = json!([]);
    for field in ["not_valid_before", "not_valid_after"] {
        value[field] = value["created"].clone();
    }
    Ok(())
}

fn must_be_off(server: &Value) -> Result<(), Reply> {
    if server["status"] == "off" {
        return Ok(());
    }
    Err(error(422, "server_not_stopped", "server must be stopped"))
}

fn delete(cx: &mut Cx<'_>, kind: &str, id: &str) -> Answer {
    let value = cx.find(kind, id)?;
    if value["protection"]["delete"] == true {
        return Err(error(423, "protected", &format!("{} is delete protected", kind.replace('_', " "))));
    }
    let in_use = match kind {
        "volume" => value["server"].is_number(),
        "primary_ip" => value["assignee_id"].is_number(),
        "placement_group" => render(cx, kind, &value)["servers"].as_array().is_some_and(|list| !list.is_empty()),
        "certificate" => super::balancers::uses_certificate(cx, &value["id"]),
        _ => false,
    };
    if in_use {
        return Err(error(422, "resource_in_use", &format!("{} is still in use", kind.replace('_', " "))));
    }
    cx.world.store.remove(&cx.scope, kind, id);
    Ok(Reply::empty().about(id))
}

fn act(cx: &mut Cx<'_>, kind: &str, id: &str, action: &str) -> Answer {
    let mut value = cx.find(kind, id)?;
    let field = if kind == "primary_ip" { "assignee_id" } else { "server" };
    let given = if kind == "primary_ip" { "assignee_id" } else { "server" };
    let command = match (kind, action) {
        ("volume", "attach") | ("floating_ip" | "primary_ip", "assign") => {
            let holder = server(cx, given)?.ok_or_else(|| invalid(given, "Missing data for required field."))?;
            if kind == "volume" && value["server"].is_number() {
                return Err(error(409, "volume_already_attached", "volume is already attached to a server"));
            }
            if kind == "primary_ip" {
                must_be_off(&holder)?;
                if value[field].is_number() {
                    return Err(error(409, "primary_ip_already_assigned", "primary IP is already assigned"));
                }
            }
            if kind != "floating_ip" && holder["_location"] != value["_location"] {
                return Err(invalid(given, "server is in another location"));
            }
            value[field] = holder["id"].clone();
            if kind == "primary_ip" {
                give(cx, holder, &value)?;
            }
            if kind == "volume" { "attach_volume" } else { "assign_ip" }
        }
        ("volume", "detach") | ("floating_ip" | "primary_ip", "unassign") => {
            if !value[field].is_number() {
                return Err(error(409, "conflict", "it is not attached to a server"));
            }
            if kind == "primary_ip" {
                let mut holder = cx.find("server", &value[field].to_string()).unwrap_or_default();
                must_be_off(&holder)?;
                let family = value["type"].as_str().unwrap_or_default();
                holder["public_net"][family] = Value::Null;
                cx.put("server", holder);
            }
            value[field] = Value::Null;
            if kind == "volume" { "detach_volume" } else { "unassign_ip" }
        }
        ("volume", "resize") => {
            let size = cx.body.get("size").and_then(Value::as_u64).unwrap_or(0);
            if Some(size) <= value["size"].as_u64() || size > 10_240 {
                return Err(invalid("size", "must be larger than the current size and at most 10240"));
            }
            value["size"] = json!(size);
            "resize_volume"
        }
        ("floating_ip" | "primary_ip", "change_dns_ptr") => {
            dns::of_address(cx, &mut value)?;
            "change_dns_ptr"
        }
        (_, "change_protection") => return cx.protect(kind, id),
        _ => return Err(no_such_method()),
    };
    cx.put(kind, value);
    let action = actions::start(cx, command, kind, id, &[]);
    Ok(Reply::json(201, &json!({ "action": action })).about(id))
}

/// Gives a server a primary address; it has one of each family at most.
fn give(cx: &mut Cx<'_>, mut server: Value, address: &Value) -> Result<(), Reply> {
    let family = address["type"].as_str().unwrap_or_default();
    if !server["public_net"][family].is_null() {
        return Err(error(422, &format!("server_has_{family}"), "the server has an address of this family"));
    }
    let names = if family == "ipv4" { address["dns_ptr"][0]["dns_ptr"].clone() } else { json!([]) };
    server["public_net"][family] =
        json!({"id": address["id"], "ip": address["ip"], "blocked": false, "dns_ptr": names});
    cx.put("server", server);
    Ok(())
}

/// What a server held is free when it is gone; an address that goes with it goes.
pub fn free(cx: &mut Cx<'_>, server: &Value) {
    for (kind, field) in [("volume", "server"), ("floating_ip", "server"), ("primary_ip", "assignee_id")] {
        let rows = cx.world.store.rows(&cx.scope, kind, cx.call.now);
        let held: Vec<Value> = rows.filter(|row| row.value[field] == *server).map(|row| row.value.clone()).collect();
        for mut value in held {
            if value["auto_delete"] == true {
                cx.world.store.remove(&cx.scope, kind, &value["id"].to_string());
                continue;
            }
            value[field] = Value::Null;
            cx.put(kind, value);
        }
    }
}

/// The volumes of a server.
pub fn volumes(cx: &Cx<'_>, server: &Value) -> Value {
    let rows = cx.world.store.rows(&cx.scope, "volume", cx.call.now);
    rows.filter(|row| row.value["server"] == *server).map(|row| row.value["id"].clone()).collect()
}
