//! Owns Hetzner's load balancers: services, targets, algorithm, type and networks.

use super::{Answer, Cx, actions, catalog, dns, error, invalid, networks, no_such_method, public};
use crate::call::Reply;
use serde_json::{Value, json};

const KIND: &str = "load_balancer";

/// Answers `/load_balancers…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => cx.page("load_balancers", KIND, render, |_| true),
        ("POST", []) => create(cx),
        ("GET", [id]) => Ok(Reply::json(200, &json!({ KIND: render(&cx.find(KIND, id)?) }))),
        ("PUT", [id]) => {
            let balancer = cx.rename(KIND, id)?;
            Ok(Reply::json(200, &json!({ KIND: render(&balancer) })).about(id))
        }
        ("DELETE", [id]) => {
            if cx.find(KIND, id)?["protection"]["delete"] == true {
                return Err(error(423, "protected", "load balancer is delete protected"));
            }
            cx.world.store.remove(&cx.scope, KIND, id);
            let action = actions::start(cx, "delete_load_balancer", KIND, id, &[]);
            Ok(Reply::json(200, &json!({ "action": action })).about(id))
        }
        ("POST", [id, "actions", action]) => act(cx, id, action),
        _ => Err(no_such_method()),
    }
}

fn render(balancer: &Value) -> Value {
    let mut shown = public(balancer);
    shown["location"] = catalog::location(&balancer["_location"]).unwrap_or_default();
    shown["load_balancer_type"] = catalog::load_balancer_type(&balancer["_type"]).unwrap_or_default();
    let ports: Vec<Value> = items(balancer, "services").map(|service| service["listen_port"].clone()).collect();
    for target in shown["targets"].as_array_mut().into_iter().flatten() {
        target["health_status"] = ports.iter().map(|port| json!({"listen_port": port, "status": "healthy"})).collect();
    }
    shown
}

fn items<'a>(balancer: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    balancer[list].as_array().into_iter().flatten()
}

/// Whether a load balancer presents a certificate.
pub fn uses_certificate(cx: &Cx<'_>, id: &Value) -> bool {
    cx.world.store.rows(&cx.scope, KIND, cx.call.now).any(|row| {
        items(&row.value, "services")
            .any(|service| service["http"]["certificates"].as_array().is_some_and(|list| list.contains(id)))
    })
}

/// A target that goes is no target any more.
pub fn free(cx: &mut Cx<'_>, server: &Value) {
    let rows = cx.world.store.rows(&cx.scope, KIND, cx.call.now);
    let all: Vec<Value> = rows.map(|row| row.value.clone()).collect();
    for mut balancer in all {
        let before = items(&balancer, "targets").count();
        if let Some(targets) = balancer["targets"].as_array_mut() {
            targets.retain(|target| target["server"]["id"] != *server);
        }
        if items(&balancer, "targets").count() < before {
            cx.put(KIND, balancer);
        }
    }
}

fn kind_of(cx: &Cx<'_>) -> Result<Value, Reply> {
    let wanted = cx.body.get("load_balancer_type").cloned().unwrap_or_default();
    catalog::load_balancer_type(&wanted).ok_or_else(|| invalid("load_balancer_type", "load balancer type not found"))
}

fn algorithm(wanted: &Value) -> Result<Value, Reply> {
    match wanted.as_str() {
        None if wanted.is_null() => Ok(json!({"type": "round_robin"})),
        Some("round_robin" | "least_connections") => Ok(json!({"type": wanted})),
        _ => Err(invalid("algorithm.type", "must be one of round_robin, least_connections")),
    }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("name")?;
    let kind = kind_of(cx)?;
    let wanted = cx.body.get("location").filter(|it| !it.is_null()).cloned();
    let zone = cx.text("network_zone")?;
    let location = match (wanted, zone) {
        (Some(wanted), _) => catalog::location(&wanted),
        (None, Some(zone)) => catalog::locations().into_iter().find(|one| one["network_zone"] == zone.as_str()),
        (None, None) => return Err(invalid("location", "either location or network_zone must be given")),
    };
    let location = location.ok_or_else(|| invalid("location", "location not found"))?;
    let labels = cx.labels()?.unwrap_or_else(|| json!({}));
    cx.name_free(KIND, &name, None)?;
    let algorithm = algorithm(&cx.body.get("algorithm").map(|it| it["type"].clone()).unwrap_or_default())?;
    let number = u32::try_from(cx.world.store.next("hetzner.address")).unwrap_or(u32::MAX);
    let ip = std::net::Ipv4Addr::from(u32::from(std::net::Ipv4Addr::new(198, 18, 0, 0)) + number % 65_533 + 1);
    let public = cx.body.get("public_interface").and_then(Value::as_bool).unwrap_or(true);
    let mut balancer = json!({"name": name, "labels": labels, "created": cx.time(), "algorithm": algorithm,
        "services": [], "targets": [], "private_net": [], "protection": {"delete": false}, "included_traffic": 21_990_232_555_520_u64,
        "outgoing_traffic": 0, "ingoing_traffic": 0, "public_net": {"enabled": public,
        "ipv4": {"ip": ip.to_string(), "dns_ptr": dns::usual(&ip.to_string())},
        "ipv6": {"ip": format!("2001:db8:4000:{:x}::1", number & 0xffff), "dns_ptr": ""}},
        "_type": kind["id"], "_location": location["id"]});
    if let Some(network) = cx.body.get("network").filter(|it| !it.is_null()).cloned() {
        join(cx, &mut balancer, &network)?;
    }
    for service in cx.list("services")? {
        add_service(&mut balancer, &service)?;
    }
    for target in cx.list("targets")? {
        add_target(cx, &mut balancer, &target)?;
    }
    let id = cx.next_id();
    balancer["id"] = json!(id);
    cx.put(KIND, balancer.clone());
    let id = id.to_string();
    let action = actions::start(cx, "create_load_balancer", KIND, &id, &[]);
    Ok(Reply::json(201, &json!({ KIND: render(&balancer), "action": action })).about(id))
}

fn join(cx: &mut Cx<'_>, balancer: &mut Value, network: &Value) -> Result<(), Reply> {
    let network = cx.find("network", &network.to_string())?;
    if items(balancer, "private_net").any(|net| net["network"] == network["id"]) {
        let message = "load balancer is already attached to the network";
        return Err(error(409, "load_balancer_already_attached", message));
    }
    let location = catalog::location(&balancer["_location"]).unwrap_or_default();
    let wanted = cx.text("ip")?;
    let net = networks::join(cx, &network, &location["network_zone"], wanted.as_deref(), &Value::Null, 0)?;
    if let Some(nets) = balancer["private_net"].as_array_mut() {
        nets.push(json!({"network": net["network"], "ip": net["ip"]}));
    }
    Ok(())
}

/// A service with everything that the vendor fills in.
fn whole(service: &Value) -> Result<Value, Reply> {
    let protocol = service["protocol"].as_str().unwrap_or_default();
    let http = matches!(protocol, "http" | "https");
    if !http && protocol != "tcp" {
        return Err(invalid("protocol", "must be one of tcp, http, https"));
    }
    let port = |value: &Value| value.as_u64().filter(|port| (1..=65_535).contains(port));
    let usual = match protocol {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let listen = port(&service["listen_port"]).or(usual);
    let listen = listen.ok_or_else(|| invalid("listen_port", "must be between 1 and 65535"))?;
    let to = port(&service["destination_port"]).or(usual.map(|_| 80));
    let to = to.ok_or_else(|| invalid("destination_port", "must be between 1 and 65535"))?;
    let mut made = json!({"protocol": protocol, "listen_port": listen, "destination_port": to, "proxyprotocol": false,
        "health_check": {"protocol": if http { "http" } else { "tcp" }, "port": to, "interval": 15, "timeout": 10,
        "retries": 3}});
    if http {
        made["health_check"]["http"] =
            json!({"domain": "", "path": "/", "response": "", "status_codes": ["2??", "3??"], "tls": false});
        made["http"] = json!({"cookie_name": "HCLBSTICKY", "cookie_lifetime": 300, "certificates": [],
            "redirect_http": false, "sticky_sessions": false});
    }
    if protocol == "https" && service["http"]["certificates"].as_array().is_none_or(Vec::is_empty) {
        return Err(invalid("http.certificates", "https needs a certificate"));
    }
    merge(&mut made, service);
    Ok(made)
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        if value.is_object() && into[key.as_str()].is_object() {
            merge(&mut into[key.as_str()], value);
        } else {
            into[key.as_str()] = value.clone();
        }
    }
}

fn add_service(balancer: &mut Value, service: &Value) -> Result<(), Reply> {
    let made = whole(service)?;
    if items(balancer, "services").any(|one| one["listen_port"] == made["listen_port"]) {
        return Err(error(409, "source_port_already_used", "the listen port is already used by another service"));
    }
    let most = catalog::load_balancer_type(&balancer["_type"]).and_then(|kind| kind["max_services"].as_u64());
    if items(balancer, "services").count() as u64 >= most.unwrap_or(5) {
        return Err(error(403, "resource_limit_exceeded", "the type of the load balancer has no more services"));
    }
    if let Some(list) = balancer["services"].as_array_mut() {
        list.push(made);
    }
    Ok(())
}

/// What a target is told apart by.
fn target_of(target: &Value) -> Value {
    let kind = target["type"].as_str().unwrap_or_default();
    let field = match kind {
        "server" => "id",
        "label_selector" => "selector",
        _ => "ip",
    };
    json!({"type": kind, kind: { field: target[kind][field] }})
}

fn add_target(cx: &Cx<'_>, balancer: &mut Value, target: &Value) -> Result<(), Reply> {
    let private = target["use_private_ip"].as_bool().unwrap_or(false);
    match target["type"].as_str() {
        Some("server") => {
            let server = cx.find("server", &target["server"]["id"].to_string())?;
            let nets: Vec<&Value> = items(balancer, "private_net").map(|net| &net["network"]).collect();
            if private && nets.is_empty() {
                let message = "load balancer is not attached to a network";
                return Err(error(422, "load_balancer_not_attached_to_network", message));
            }
            if private && !items(&server, "private_net").any(|net| nets.contains(&&net["network"])) {
                let message = "server is not attached to the network of the load balancer";
                return Err(error(422, "server_not_attached_to_network", message));
            }
        }
        Some("label_selector") if target["label_selector"]["selector"].is_string() => {}
        Some("ip") if target["ip"]["ip"].is_string() => {}
        _ => return Err(invalid("type", "must be one of server, label_selector, ip, with what it names")),
    }
    let mut made = target_of(target);
    if items(balancer, "targets").any(|one| target_of(one) == made) {
        return Err(error(409, "target_already_defined", "the target is already defined"));
    }
    if made["type"] != "ip" {
        made["use_private_ip"] = json!(private);
    }
    if let Some(list) = balancer["targets"].as_array_mut() {
        list.push(made);
    }
    Ok(())
}

/// Takes away the entries of a list that match; one must.
fn drop_entry(balancer: &mut Value, list: &str, gone: impl Fn(&Value) -> bool) -> Result<(), Reply> {
    let before = items(balancer, list).count();
    if let Some(entries) = balancer[list].as_array_mut() {
        entries.retain(|one| !gone(one));
    }
    if items(balancer, list).count() == before {
        return Err(super::not_found(list.trim_end_matches('s')));
    }
    Ok(())
}

fn act(cx: &mut Cx<'_>, id: &str, action: &str) -> Answer {
    let mut balancer = cx.find(KIND, id)?;
    let body = Value::Object(cx.body.clone());
    match action {
        "add_service" => add_service(&mut balancer, &body)?,
        "update_service" => {
            let found = balancer["services"].as_array_mut().into_iter().flatten();
            let mut found = found.filter(|one| one["listen_port"] == body["listen_port"]);
            merge(found.next().ok_or_else(|| super::not_found("service"))?, &body);
        }
        "delete_service" => drop_entry(&mut balancer, "services", |one| one["listen_port"] == body["listen_port"])?,
        "add_target" => add_target(cx, &mut balancer, &body)?,
        "remove_target" => drop_entry(&mut balancer, "targets", |one| target_of(one) == target_of(&body))?,
        "change_algorithm" => balancer["algorithm"] = algorithm(&body["type"])?,
        "change_type" => {
            let kind = kind_of(cx)?;
            if kind["id"] == balancer["_type"] {
                return Err(error(422, "invalid_load_balancer_type", "the load balancer has this type already"));
            }
            balancer["_type"] = kind["id"].clone();
        }
        "attach_to_network" => join(cx, &mut balancer, &body["network"])?,
        "detach_from_network" => {
            drop_entry(&mut balancer, "private_net", |one| one["network"] == body["network"])?;
        }
        "enable_public_interface" => balancer["public_net"]["enabled"] = json!(true),
        "disable_public_interface" => balancer["public_net"]["enabled"] = json!(false),
        "change_dns_ptr" => dns::of_net(cx, &mut balancer["public_net"])?,
        "change_protection" => return cx.protect(KIND, id),
        _ => return Err(no_such_method()),
    }
    cx.put(KIND, balancer);
    let action = actions::start(cx, action, KIND, id, &[]);
    Ok(Reply::json(201, &json!({ "action": action })).about(id))
}
