//! Owns Hetzner's servers: creating, showing and deleting them. What is done to one is in `power`.

use super::{
    Answer, Cx, actions, catalog, dns, error, firewalls, images, invalid, networks, no_such_method, not_found, public,
};
use crate::call::Reply;
use crate::net::Range;
use serde_json::{Value, json};

/// Answers `/servers…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let states: Vec<&str> = cx.call.all("status").collect();
            let keep = |server: &Value| states.is_empty() || states.iter().any(|state| server["status"] == *state);
            let selecting = firewalls::selecting(cx);
            cx.page("servers", "server", |server| with_selected(render(server), &selecting), keep)
        }
        ("POST", []) => create(cx),
        ("GET", [id]) => {
            let mut server = with_selected(render(&cx.find("server", id)?), &firewalls::selecting(cx));
            server["volumes"] = super::things::volumes(cx, &server["id"]);
            Ok(Reply::json(200, &json!({ "server": server })))
        }
        ("GET", [id, "metrics"]) => {
            cx.find("server", id)?;
            let range =
                json!({"start": cx.call.param("start"), "end": cx.call.param("end"), "step": 60, "time_series": {}});
            Ok(Reply::json(200, &json!({ "metrics": range })))
        }
        ("PUT", [id]) => {
            let server = cx.rename("server", id)?;
            let shown = with_selected(render(&server), &firewalls::selecting(cx));
            Ok(Reply::json(200, &json!({ "server": shown })).about(id))
        }
        ("DELETE", [id]) => delete(cx, id),
        ("POST", [id, "actions", action]) => super::power::act(cx, id, action),
        _ => Err(no_such_method()),
    }
}

/// The server in the vendor's shape: type, image and place in full.
pub fn render(server: &Value) -> Value {
    let mut shown = public(server);
    let location = catalog::location(&server["_location"]).unwrap_or_default();
    let kind = catalog::server_type(&server["_type"]).unwrap_or_default();
    let system = || catalog::image(&server["_image"], &kind["architecture"]).ok().flatten().unwrap_or_default();
    shown["image"] = server.get("_snapshot").filter(|image| image.is_object()).cloned().unwrap_or_else(system);
    shown["datacenter"] = catalog::datacenter(&location["id"]).unwrap_or_default();
    shown["location"] = location;
    shown["server_type"] = kind;
    let applied = server["_firewalls"].as_array().into_iter().flatten();
    shown["public_net"]["firewalls"] = applied.map(|id| json!({"id": id, "status": "applied"})).collect();
    shown
}

/// With the firewalls that a label selector applies to it.
fn with_selected(mut shown: Value, selecting: &[firewalls::Selecting]) -> Value {
    let applied: Vec<_> = selecting.iter().filter(|firewall| firewall.has(&shown)).collect();
    for firewall in applied {
        if let Some(list) = shown["public_net"]["firewalls"].as_array_mut()
            && !list.iter().any(|one| one["id"] == firewall.id)
        {
            list.push(json!({"id": firewall.id, "status": "applied"}));
        }
    }
    shown
}

/// Whether it may be a server's name: a host name as RFC 1123 has it.
pub fn is_hostname(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|part| {
            !part.is_empty()
                && part.len() <= 63
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

/// A field that names an entry of a catalogue, by name or number.
fn named(cx: &Cx<'_>, field: &str) -> Option<Value> {
    cx.body.get(field).filter(|value| !value.is_null() && *value != "").cloned()
}

fn place(cx: &Cx<'_>) -> Result<Value, Reply> {
    if let Some(wanted) = named(cx, "datacenter") {
        let found = catalog::datacenter(&wanted).ok_or_else(|| invalid("datacenter", "datacenter not found"))?;
        return Ok(found["location"].clone());
    }
    let wanted = named(cx, "location").unwrap_or_else(|| json!("fsn1"));
    catalog::location(&wanted).ok_or_else(|| invalid("location", "location not found"))
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("name")?;
    if !is_hostname(&name) {
        return Err(invalid("name", "must be a valid hostname"));
    }
    let missing = |field: &str| invalid(field, "Missing data for required field.");
    let kind = named(cx, "server_type").ok_or_else(|| missing("server_type"))?;
    let kind = catalog::server_type(&kind).ok_or_else(|| invalid("server_type", "server type not found"))?;
    let image = named(cx, "image").ok_or_else(|| missing("image"))?;
    let image = match catalog::image(&image, &kind["architecture"]) {
        Ok(Some(image)) => image,
        Ok(None) => images::snapshot(cx, &image, &kind["architecture"])?,
        Err(()) => return Err(invalid("image", "image architecture does not match the server type")),
    };
    let location = place(cx)?;
    let labels = cx.labels()?.unwrap_or_else(|| json!({}));
    if cx.text("user_data")?.is_some_and(|text| text.len() > 32 << 10) {
        return Err(invalid("user_data", "must be at most 32 KiB"));
    }
    cx.name_free("server", &name, None)?;
    let keys = cx.list("ssh_keys")?;
    for key in &keys {
        let by_name = key.as_str().and_then(|name| cx.world.store.named(&cx.scope, "ssh_key", name, cx.call.now));
        let id = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        if by_name.is_none() && cx.find("ssh_key", &id).is_err() {
            return Err(not_found("ssh_key"));
        }
    }
    let mut applied = Vec::new();
    for one in cx.list("firewalls")? {
        applied.push(firewalls::exists(cx, &one["firewall"])?);
    }
    let mut nets = Vec::new();
    let wanted = cx.list("networks")?;
    for (at, id) in wanted.iter().enumerate() {
        let network = cx.find("network", &id.to_string())?;
        let mac = 0xa000 + cx.world.store.next("hetzner.mac") + at as u64;
        nets.push(networks::join(cx, &network, &location["network_zone"], None, &Value::Null, mac)?);
    }
    let has = |field: &str| cx.body.get("public_net").and_then(|net| net[field].as_bool()).unwrap_or(true);
    let (ipv4, ipv6) = (has("enable_ipv4"), has("enable_ipv6"));
    if !ipv4 && !ipv6 && nets.is_empty() {
        return Err(invalid("public_net", "a server needs a public or private network"));
    }
    let mut public_net = public_net(cx, ipv4, ipv6)?;
    let id = cx.next_id();
    let own = own_addresses(cx, &mut public_net)?;
    let group = match cx.body.get("placement_group").filter(|it| !it.is_null()).cloned() {
        Some(group) => public(&cx.find("placement_group", &group.to_string())?),
        None => Value::Null,
    };
    let (now, step) = (cx.call.now, cx.world.action_ms());
    let on = cx.body.get("start_after_create").and_then(Value::as_bool).unwrap_or(true);
    let then = if on {
        json!([{"at": now + step, "set": {"status": "starting"}},
            {"at": now + 2 * step, "set": {"status": "running", "_busy": null}}])
    } else {
        json!([{"at": now + step, "set": {"status": "off", "_busy": null}}])
    };
    let server = json!({
        "id": id, "name": name, "status": "initializing", "created": cx.time(), "public_net": public_net, "private_net": nets,
        "iso": null, "rescue_enabled": false, "locked": false, "backup_window": null, "outgoing_traffic": 0,
        "ingoing_traffic": 0, "included_traffic": kind["included_traffic"], "protection": {"delete": false, "rebuild": false},
        "labels": labels, "volumes": [], "load_balancers": [], "primary_disk_size": kind["disk"], "placement_group": group,
        "_type": kind["id"], "_image": image["id"], "_snapshot": if image["type"] == "snapshot" { image.clone() } else { Value::Null }, "_location": location["id"], "_firewalls": applied,
        "_user_data": cx.body.get("user_data").cloned().unwrap_or(Value::Null), "_then": then, "_busy": now + step,
    });
    cx.put("server", server.clone());
    for mut address in own {
        address["assignee_id"] = json!(id);
        cx.put("primary_ip", address);
    }
    let id = id.to_string();
    let action = actions::start_until(cx, "create_server", "server", &id, &[], now + step);
    let mut next = Vec::new();
    for net in &wanted {
        next.push(actions::start_until(
            cx,
            "attach_to_network",
            "server",
            &id,
            &[("network", &net.to_string())],
            now + step,
        ));
    }
    if on {
        next.push(actions::start_until(cx, "start_server", "server", &id, &[], now + 2 * step));
    }
    let password = if keys.is_empty() { json!(password()) } else { Value::Null };
    let body = json!({"server": render(&server), "action": action, "next_actions": next, "root_password": password});
    Ok(Reply::json(201, &body).about(id))
}

/// Twenty letters and digits, told once.
pub fn password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyzABCDEFGH";
    let number = crate::chance::number();
    (0..20).map(|at| char::from(LETTERS[(number >> (5 * at)) as usize % LETTERS.len()])).collect()
}

fn public_net(cx: &mut Cx<'_>, ipv4: bool, ipv6: bool) -> Result<Value, Reply> {
    let number = u32::try_from(cx.world.store.next("hetzner.address")).unwrap_or(u32::MAX);
    // The range of RFC 2544: never a real host.
    let v4 = Range { base: u32::from(std::net::Ipv4Addr::new(198, 18, 0, 0)), prefix: 15 }.nth(number % 65_533 + 1);
    let v4 = if ipv4 {
        let ip = v4.to_string();
        json!({"id": cx.next_id(), "ip": ip, "blocked": false, "dns_ptr": dns::usual(&ip)})
    } else {
        Value::Null
    };
    let v6 = if ipv6 {
        json!({"id": cx.next_id(), "ip": format!("2001:db8:{:x}:{:x}::/64", number >> 16, number & 0xffff), "blocked": false,
            "dns_ptr": []})
    } else {
        Value::Null
    };
    Ok(json!({"ipv4": v4, "ipv6": v6, "floating_ips": [], "firewalls": []}))
}

/// The primary addresses that the new server is to have, in the place of those that it would get.
fn own_addresses(cx: &Cx<'_>, public_net: &mut Value) -> Result<Vec<Value>, Reply> {
    let mut own = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let id = cx.body.get("public_net").map(|net| net[family].clone()).unwrap_or_default();
        if !id.is_number() {
            continue;
        }
        let address = cx.find("primary_ip", &id.to_string())?;
        if address["type"] != family {
            return Err(error(422, "primary_ip_version_mismatch", "the primary IP is of another version"));
        }
        if address["assignee_id"].is_number() {
            return Err(error(409, "primary_ip_already_assigned", "primary IP is already assigned"));
        }
        public_net[family]["id"] = id;
        public_net[family]["ip"] = address["ip"].clone();
        own.push(address);
    }
    Ok(own)
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    let server = cx.find("server", id)?;
    if server["protection"]["delete"] == true {
        return Err(error(423, "protected", "server is delete protected"));
    }
    super::power::refuse_when_locked(cx, &server)?;
    cx.world.store.remove(&cx.scope, "server", id);
    super::things::free(cx, &server["id"]);
    super::balancers::free(cx, &server["id"]);
    let action = actions::start(cx, "delete_server", "server", id, &[]);
    Ok(Reply::json(200, &json!({ "action": action })).about(id))
}
