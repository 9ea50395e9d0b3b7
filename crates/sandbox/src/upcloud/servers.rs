//! Owns UpCloud's servers: creating, showing, changing and deleting them. Power and disks are in `power`.

use super::{
    Answer, Cx, catalog, error, floating, interfaces, invalid, is_yes, labels, no_such_method, number, storages, uuid,
    yes,
};
use crate::call::Reply;
use serde_json::{Value, json};

/// Answers `/server…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let shown: Vec<Value> = cx.listed("server")?.iter().map(summary).collect();
            Ok(Reply::json(200, &json!({"servers": {"server": shown}})))
        }
        ("POST", []) => create(cx),
        ("GET", [id]) => Ok(Reply::json(200, &json!({"server": details(cx, &cx.find("server", id)?)}))),
        ("PUT" | "PATCH", [id]) => modify(cx, id),
        ("DELETE", [id]) => delete(cx, id),
        (_, [id, "firewall_rule", rest @ ..]) => super::rules::answer(cx, id, rest),
        ("GET", [id, "networking"]) => {
            let server = floating::with(cx, &cx.find("server", id)?);
            Ok(Reply::json(200, &json!({"networking": {"interfaces": {"interface": interfaces::shown(&server)}}})))
        }
        ("POST", [id, verb @ ("start" | "stop" | "restart")]) => super::power::switch(cx, id, verb),
        ("POST", [id, "storage", "attach"]) => super::power::attach(cx, id),
        ("POST", [id, "storage", "detach"]) => super::power::detach(cx, id),
        _ => Err(no_such_method()),
    }
}

/// What the list shows: no addresses, no disks.
fn summary(server: &Value) -> Value {
    let mut shown = json!({});
    for field in [
        "core_number",
        "created",
        "hostname",
        "license",
        "memory_amount",
        "plan",
        "plan_ipv4_bytes",
        "plan_ipv6_bytes",
        "state",
        "tags",
        "title",
        "uuid",
        "zone",
    ] {
        shown[field] = server[field].clone();
    }
    shown["labels"] = json!({"label": server["labels"]});
    shown
}

/// The server in full.
pub fn details(cx: &Cx<'_>, server: &Value) -> Value {
    let server = &floating::with(cx, server);
    let mut shown = crate::hetzner::public(server);
    shown["labels"] = json!({"label": server["labels"]});
    shown["ip_addresses"] = json!({"ip_address": interfaces::addresses(server)});
    shown["networking"] = json!({"interfaces": {"interface": interfaces::shown(server)}});
    let devices = server["_devices"].as_array().into_iter().flatten();
    let devices: Vec<Value> = devices
        .map(|device| {
            let storage = storages::any(cx, device["storage"].as_str().unwrap_or_default()).unwrap_or_default();
            json!({"address": device["address"], "part_of_plan": storage["part_of_plan"], "labels": storage["labels"],
                "storage": device["storage"], "storage_encrypted": storage["encrypted"], "storage_size": storage["size"],
                "storage_tier": storage["tier"], "storage_title": storage["title"], "type": device["type"], "boot_disk": device["boot_disk"]})
        })
        .collect();
    shown["storage_devices"] = json!({ "storage_device": devices });
    shown
}

/// Refuses unless the server is in one of the states.
pub fn must_be(server: &Value, states: &[&str]) -> Result<(), Reply> {
    if states.iter().any(|state| server["state"] == *state) {
        return Ok(());
    }
    let message =
        format!("The server {} is in state {}.", server["uuid"].as_str().unwrap_or_default(), server["state"]);
    Err(error(409, "SERVER_STATE_ILLEGAL", &message))
}

fn text<'a>(fields: &'a Value, name: &str) -> Result<&'a str, Reply> {
    let code = name.to_uppercase();
    match &fields[name] {
        Value::Null => Err(invalid(
            &format!("{code}_MISSING"),
            format!("The required attribute {name} is missing from the request."),
        )),
        Value::String(text) if !text.is_empty() && text.chars().count() <= 255 => Ok(text),
        _ => Err(invalid(&format!("{code}_INVALID"), format!("The attribute {name} has an invalid value."))),
    }
}

fn hostname(fields: &Value) -> Result<&str, Reply> {
    let name = text(fields, "hostname")?;
    let fits = name.len() <= 128
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        && !name.starts_with('-');
    if fits { Ok(name) } else { Err(invalid("HOSTNAME_INVALID", "The attribute hostname has an invalid value.")) }
}

/// Refuses what is neither `on` nor `off`.
fn is_switch(fields: &Value, name: &str) -> Result<(), Reply> {
    if fields[name].is_null() || matches!(fields[name].as_str(), Some("on" | "off")) {
        return Ok(());
    }
    Err(invalid(&format!("{}_INVALID", name.to_uppercase()), format!("The attribute {name} has an invalid value.")))
}

/// Name, cores and memory of the plan or of the free choice.
fn size(fields: &Value) -> Result<(String, u64, u64), Reply> {
    let (cores, memory) = (number(&fields["core_number"]), number(&fields["memory_amount"]));
    match fields["plan"].as_str().filter(|plan| *plan != "custom") {
        Some(name) => {
            let plan = catalog::plan(name)
                .ok_or_else(|| error(404, "PLAN_NOT_FOUND", &format!("The plan {name} does not exist.")))?;
            Ok((
                name.to_owned(),
                number(&plan["core_number"]).unwrap_or(1),
                number(&plan["memory_amount"]).unwrap_or(1024),
            ))
        }
        None => match (cores, memory) {
            (Some(cores @ 1..=80), Some(memory)) if (1024..=524_288).contains(&memory) => {
                Ok(("custom".to_owned(), cores, memory))
            }
            (None, None) if fields["plan"].is_null() => Ok(("custom".to_owned(), 1, 1024)),
            _ => Err(invalid("CORE_MEMORY_UNSUPPORTED", "The combination of cores and memory is not supported.")),
        },
    }
}

/// What a request wants of one disk, checked but not yet made.
enum Disk {
    Make { fields: Value, origin: Option<Value> },
    Attach(String),
}

fn disks(cx: &Cx<'_>, fields: &Value, metadata: bool) -> Result<Vec<Disk>, Reply> {
    let list = super::members(&fields["storage_devices"]["storage_device"]);
    if list.is_empty() {
        return Err(invalid(
            "STORAGE_DEVICES_MISSING",
            "The required attribute storage_devices is missing from the request.",
        ));
    }
    let mut all = Vec::new();
    for device in &list {
        let source = || text(device, "storage");
        all.push(match device["action"].as_str() {
            Some("create") => Disk::Make { fields: device.clone(), origin: None },
            Some("clone") => {
                let origin = storages::any(cx, source()?)?;
                if origin["template_type"] == "cloud-init" && origin["type"] == "template" && !metadata {
                    let message = "Metadata must be enabled when cloning a cloud-init template.";
                    return Err(error(409, "METADATA_DISABLED_ON_CLOUD-INIT", message));
                }
                Disk::Make { fields: device.clone(), origin: Some(origin) }
            }
            Some("attach") => {
                let storage = storages::own(cx, source()?)?;
                storages::unattached(cx, source()?)?;
                if storage["zone"] != fields["zone"] {
                    return Err(error(409, "ZONE_MISMATCH", "The storage and the server must be in the same zone."));
                }
                Disk::Attach(source()?.to_owned())
            }
            _ => return Err(invalid("ACTION_INVALID", "The attribute action has an invalid value.")),
        });
    }
    Ok(all)
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let fields = cx.body["server"].clone();
    let zone = storages::zone(&fields)?;
    let title = text(&fields, "title")?.to_owned();
    let hostname = hostname(&fields)?.to_owned();
    let (plan, cores, memory) = size(&fields)?;
    let labels = labels(&fields["labels"])?.unwrap_or_else(|| json!([]));
    let metadata = is_yes(&fields["metadata"]);
    is_switch(&fields, "firewall")?;
    let disks = disks(cx, &fields, metadata)?;
    let built = interfaces::build(cx, &fields["networking"], &zone)?;
    let planned = catalog::plan(&plan).map(|plan| plan["storage_size"].clone());
    let mut devices = Vec::new();
    for (at, disk) in disks.into_iter().enumerate() {
        let id = match disk {
            Disk::Attach(id) => json!(id),
            Disk::Make { mut fields, origin } => {
                // The first disk of a plan has the plan's size unless the request says otherwise.
                if fields["size"].is_null()
                    && at == 0
                    && let Some(size) = &planned
                {
                    fields["size"] = size.clone();
                }
                if fields["title"].is_null() {
                    fields["title"] = json!(format!("{title} Disk {}", at + 1));
                }
                storages::make(cx, &fields, &zone, origin.as_ref(), at == 0 && planned.is_some())?["uuid"].clone()
            }
        };
        devices.push(json!({"address": format!("virtio:{at}"), "type": "disk", "storage": id, "boot_disk": if at == 0 { "1" } else { "0" }}));
    }
    let id = uuid("00");
    let login = &fields["login_user"];
    let password = is_yes(&login["create_password"]).then(crate::hetzner::password);
    let or = |name: &str, default: &str| fields[name].as_str().unwrap_or(default).to_owned();
    let server = json!({
        "boot_order": or("boot_order", "disk"), "core_number": cores.to_string(), "created": cx.call.now / 1000,
        "firewall": or("firewall", "off"), "hostname": hostname, "labels": labels, "license": 0, "memory_amount": memory.to_string(),
        "metadata": yes(metadata), "nic_model": or("nic_model", "virtio"), "plan": plan, "plan_ipv4_bytes": "0",
        "plan_ipv6_bytes": "0", "progress": "0", "remote_access_enabled": yes(is_yes(&fields["remote_access_enabled"])),
        "remote_access_type": or("remote_access_type", "vnc"), "remote_access_host": "", "remote_access_password": "",
        "remote_access_port": "", "server_group": fields["server_group"], "simple_backup": or("simple_backup", "no"),
        "state": "maintenance", "tags": {"tag": []}, "timezone": or("timezone", "UTC"), "title": title, "uuid": id,
        "video_model": or("video_model", "cirrus"), "zone": zone, "user_data": fields["user_data"].as_str().unwrap_or(""),
        "_interfaces": built, "_devices": devices,
        "_then": [{"at": cx.call.now + cx.world.action_ms(), "set": {"state": "started", "progress": "100"}}],
    });
    cx.put("server", &server);
    let mut shown = details(cx, &server);
    if let Some(password) = password {
        shown["password"] = json!(password);
        shown["password_delivery"] = json!("none");
        shown["username"] = json!(login["username"].as_str().unwrap_or("root"));
    }
    Ok(Reply::json(202, &json!({ "server": shown })).about(id))
}

fn modify(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut server = cx.find("server", id)?;
    let fields = cx.body["server"].clone();
    is_switch(&fields, "firewall")?;
    if !fields["title"].is_null() {
        server["title"] = json!(text(&fields, "title")?);
    }
    if !fields["hostname"].is_null() {
        server["hostname"] = json!(hostname(&fields)?);
    }
    if let Some(labels) = labels(&fields["labels"])? {
        server["labels"] = labels;
    }
    for name in [
        "firewall",
        "metadata",
        "timezone",
        "boot_order",
        "nic_model",
        "video_model",
        "simple_backup",
        "remote_access_enabled",
    ] {
        if fields[name].is_string() {
            server[name] = fields[name].clone();
        }
    }
    let same = |name: &str| {
        fields[name].is_null()
            || fields[name] == server[name]
            || number(&fields[name]).is_some_and(|n| number(&server[name]) == Some(n))
    };
    if !(same("plan") && same("core_number") && same("memory_amount")) {
        must_be(&server, &["stopped"])?;
        let (plan, cores, memory) = size(&fields)?;
        server["plan"] = json!(plan);
        server["core_number"] = json!(cores.to_string());
        server["memory_amount"] = json!(memory.to_string());
    }
    cx.put("server", &server);
    Ok(Reply::json(202, &json!({"server": details(cx, &server)})).about(id))
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    let server = cx.find("server", id)?;
    must_be(&server, &["stopped", "error"])?;
    if cx.call.param("storages").is_some_and(|value| matches!(value, "1" | "true")) {
        for device in server["_devices"].as_array().into_iter().flatten() {
            let storage = device["storage"].as_str().unwrap_or_default();
            cx.world.store.remove(&cx.scope, "storage", storage);
        }
    }
    cx.world.store.remove(&cx.scope, "server", id);
    super::groups::free(cx, id);
    floating::free(cx, &server);
    Ok(Reply::empty().about(id))
}
