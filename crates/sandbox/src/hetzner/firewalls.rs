//! Owns Hetzner's firewalls: their rules and what they are applied to.

use super::{Answer, Cx, actions, error, invalid, no_such_method, not_found, public, selector};
use crate::call::Reply;
use serde_json::{Value, json};

/// Answers `/firewalls…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let servers = servers(cx);
            cx.page("firewalls", "firewall", |firewall| render(firewall, &servers), |_| true)
        }
        ("POST", []) => create(cx),
        ("GET", [id]) => {
            let firewall = cx.find("firewall", id)?;
            Ok(Reply::json(200, &json!({"firewall": render(&firewall, &servers(cx))})))
        }
        ("PUT", [id]) => {
            let firewall = cx.rename("firewall", id)?;
            Ok(Reply::json(200, &json!({"firewall": render(&firewall, &servers(cx))})).about(id))
        }
        ("DELETE", [id]) => {
            let firewall = cx.find("firewall", id)?;
            let shown = render(&firewall, &servers(cx));
            if shown["applied_to"].as_array().is_some_and(|list| !list.is_empty()) {
                return Err(error(422, "resource_in_use", "firewall is still applied to a resource"));
            }
            cx.world.store.remove(&cx.scope, "firewall", id);
            Ok(Reply::empty().about(id))
        }
        ("POST", [id, "actions", action]) => act(cx, id, action),
        _ => Err(no_such_method()),
    }
}

fn servers(cx: &Cx<'_>) -> Vec<Value> {
    let rows = cx.world.store.rows(&cx.scope, "server", cx.call.now);
    rows.map(|row| json!({"id": row.value["id"], "labels": row.value["labels"], "_firewalls": row.value["_firewalls"]}))
        .collect()
}

/// A firewall that label selectors apply to servers.
pub struct Selecting {
    pub id: Value,
    selectors: Vec<selector::Selector>,
}

impl Selecting {
    /// Whether it is applied to a server.
    pub fn has(&self, server: &Value) -> bool {
        self.selectors.iter().any(|selector| selector.matches(&server["labels"]))
    }
}

/// Every firewall that is applied by label selectors.
pub fn selecting(cx: &Cx<'_>) -> Vec<Selecting> {
    let rows = cx.world.store.rows(&cx.scope, "firewall", cx.call.now);
    let all = rows.map(|row| {
        let texts = row.value["_selectors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Selecting { id: row.value["id"].clone(), selectors: texts.filter_map(selector::parse).collect() }
    });
    all.filter(|firewall| !firewall.selectors.is_empty()).collect()
}

fn has(list: &Value, wanted: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(wanted))
}

fn render(firewall: &Value, servers: &[Value]) -> Value {
    let mut shown = public(firewall);
    let direct = servers.iter().filter(|server| has(&server["_firewalls"], &firewall["id"]));
    let mut applied: Vec<Value> =
        direct.map(|server| json!({"type": "server", "server": {"id": server["id"]}})).collect();
    for text in firewall["_selectors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let selected: Vec<Value> = servers
            .iter()
            .filter(|server| selector::parse(text).is_some_and(|selector| selector.matches(&server["labels"])))
            .map(|server| json!({"type": "server", "server": {"id": server["id"]}}))
            .collect();
        applied.push(
            json!({"type": "label_selector", "label_selector": {"selector": text}, "applied_to_resources": selected}),
        );
    }
    shown["applied_to"] = Value::Array(applied);
    shown
}

fn rules(cx: &Cx<'_>) -> Result<Value, Reply> {
    let mut rules = Vec::new();
    for (at, rule) in cx.list("rules")?.iter().enumerate() {
        let bad = |field: &str, message: &str| Err(invalid(&format!("rules.{at}.{field}"), message));
        let direction = rule["direction"].as_str().unwrap_or_default();
        if !matches!(direction, "in" | "out") {
            return bad("direction", "must be one of in, out");
        }
        let protocol = rule["protocol"].as_str().unwrap_or_default();
        if !matches!(protocol, "tcp" | "udp" | "icmp" | "esp" | "gre") {
            return bad("protocol", "must be one of tcp, udp, icmp, esp, gre");
        }
        let port = rule["port"].as_str();
        match (matches!(protocol, "tcp" | "udp"), port) {
            (true, Some(port)) if is_ports(port) => {}
            (true, _) => return bad("port", "must be a port or a range of ports"),
            (false, Some(_)) => return bad("port", "is only allowed for tcp and udp"),
            (false, None) => {}
        }
        let list = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
        let (needed, other) =
            if direction == "in" { ("source_ips", "destination_ips") } else { ("destination_ips", "source_ips") };
        if list(needed).is_empty() {
            return bad(needed, "must not be empty");
        }
        if !list(other).is_empty() {
            return bad(other, "is not allowed for this direction");
        }
        if !list(needed).iter().all(|ip| ip.as_str().is_some_and(is_network)) {
            return bad(needed, "must be ranges in CIDR notation");
        }
        rules.push(json!({"description": rule.get("description").cloned().unwrap_or(Value::Null), "direction": direction,
            "source_ips": list("source_ips"), "destination_ips": list("destination_ips"), "protocol": protocol, "port": port}));
    }
    if rules.len() > 50 {
        return Err(invalid("rules", "at most 50 rules"));
    }
    Ok(Value::Array(rules))
}

fn is_ports(text: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match text.split_once('-') {
        Some((from, to)) => port(from).zip(port(to)).is_some_and(|(from, to)| from <= to),
        None => text == "any" || port(text).is_some(),
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    match (address.parse::<std::net::IpAddr>(), prefix.parse::<u8>()) {
        (Ok(std::net::IpAddr::V4(_)), Ok(prefix)) => prefix <= 32,
        (Ok(std::net::IpAddr::V6(_)), Ok(prefix)) => prefix <= 128,
        _ => false,
    }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("name")?;
    if name.len() > 128 {
        return Err(invalid("name", "at most 128 characters"));
    }
    let labels = cx.labels()?.unwrap_or_else(|| json!({}));
    let rules = rules(cx)?;
    cx.name_free("firewall", &name, None)?;
    let targets = targets(cx, "apply_to")?;
    let id = cx.next_id();
    let firewall =
        json!({"id": id, "name": name, "labels": labels, "created": cx.time(), "rules": rules, "_selectors": []});
    cx.put("firewall", firewall);
    let id = id.to_string();
    let started = apply(cx, &id, targets)?;
    let firewall = cx.find("firewall", &id)?;
    Ok(Reply::json(201, &json!({"firewall": render(&firewall, &servers(cx)), "actions": started})).about(id))
}

enum Target {
    Server(String),
    Selector(String),
}

fn targets(cx: &Cx<'_>, field: &str) -> Result<Vec<Target>, Reply> {
    let mut all = Vec::new();
    for one in cx.list(field)? {
        all.push(match one["type"].as_str() {
            Some("server") => {
                let id = one["server"]["id"].to_string();
                cx.find("server", &id).map_err(|_| error(404, "firewall_resource_not_found", "server not found"))?;
                Target::Server(id)
            }
            Some("label_selector") => {
                let text = one["label_selector"]["selector"].as_str().unwrap_or_default();
                selector::parse(text).ok_or_else(|| invalid("label_selector", "invalid label selector"))?;
                Target::Selector(text.to_owned())
            }
            _ => return Err(invalid(field, "type must be one of server, label_selector")),
        });
    }
    Ok(all)
}

fn apply(cx: &mut Cx<'_>, id: &str, targets: Vec<Target>) -> Result<Vec<Value>, Reply> {
    let mut started = Vec::new();
    for target in targets {
        let mut firewall = cx.find("firewall", id)?;
        match target {
            Target::Server(server_id) => {
                let mut server = cx.find("server", &server_id)?;
                if !has(&server["_firewalls"], &firewall["id"]) {
                    if let Some(list) = server["_firewalls"].as_array_mut() {
                        list.push(firewall["id"].clone());
                    }
                    cx.put("server", server);
                }
                started.push(actions::start(cx, "apply_firewall", "firewall", id, &[("server", &server_id)]));
            }
            Target::Selector(text) => {
                if !has(&firewall["_selectors"], &json!(text)) {
                    if let Some(list) = firewall["_selectors"].as_array_mut() {
                        list.push(json!(text));
                    }
                    cx.put("firewall", firewall);
                }
                started.push(actions::start(cx, "apply_firewall", "firewall", id, &[]));
            }
        }
    }
    Ok(started)
}

fn remove(cx: &mut Cx<'_>, id: &str, targets: Vec<Target>) -> Result<Vec<Value>, Reply> {
    let mut started = Vec::new();
    for target in targets {
        let mut firewall = cx.find("firewall", id)?;
        match target {
            Target::Server(server_id) => {
                let mut server = cx.find("server", &server_id)?;
                if !has(&server["_firewalls"], &firewall["id"]) {
                    if selecting(cx).iter().any(|one| one.id == firewall["id"] && one.has(&server)) {
                        let message = "firewall is applied to the server by a label selector";
                        return Err(error(422, "firewall_managed_by_label_selector", message));
                    }
                    return Err(error(404, "firewall_resource_not_found", "firewall is not applied to the server"));
                }
                if let Some(list) = server["_firewalls"].as_array_mut() {
                    list.retain(|one| *one != firewall["id"]);
                }
                cx.put("server", server);
                started.push(actions::start(cx, "remove_firewall", "firewall", id, &[("server", &server_id)]));
            }
            Target::Selector(text) => {
                if let Some(list) = firewall["_selectors"].as_array_mut() {
                    list.retain(|one| one != text.as_str());
                }
                cx.put("firewall", firewall);
                started.push(actions::start(cx, "remove_firewall", "firewall", id, &[]));
            }
        }
    }
    Ok(started)
}

fn act(cx: &mut Cx<'_>, id: &str, action: &str) -> Answer {
    let mut firewall = cx.find("firewall", id)?;
    let started = match action {
        "set_rules" => {
            firewall["rules"] = rules(cx)?;
            let applied: Vec<String> = servers(cx)
                .iter()
                .filter(|server| has(&server["_firewalls"], &firewall["id"]))
                .map(|server| server["id"].to_string())
                .collect();
            cx.put("firewall", firewall);
            let mut started = vec![actions::start(cx, "set_firewall_rules", "firewall", id, &[])];
            for server in applied {
                started.push(actions::start(cx, "apply_firewall", "firewall", id, &[("server", &server)]));
            }
            started
        }
        "apply_to_resources" => {
            let targets = targets(cx, "apply_to")?;
            apply(cx, id, targets)?
        }
        "remove_from_resources" => {
            let targets = targets(cx, "remove_from")?;
            remove(cx, id, targets)?
        }
        _ => return Err(no_such_method()),
    };
    Ok(Reply::json(201, &json!({ "actions": started })).about(id))
}

/// The firewall of that id, for a server that wants it.
pub fn exists(cx: &Cx<'_>, id: &Value) -> Result<Value, Reply> {
    cx.find("firewall", &id.to_string()).map(|firewall| firewall["id"].clone()).map_err(|_| not_found("firewall"))
}
