//! Owns Hetzner's networks with their subnets and routes, and the addresses servers get in them.

use super::{Answer, Cx, actions, error, invalid, no_such_method, public};
use crate::call::Reply;
use crate::net::Range;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Answers `/networks…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let members = members(cx);
            cx.page("networks", "network", |network| render(network, &members), |_| true)
        }
        ("POST", []) => create(cx),
        ("GET", [id]) => {
            let network = cx.find("network", id)?;
            Ok(Reply::json(200, &json!({"network": render(&network, &members(cx))})))
        }
        ("PUT", [id]) => {
            let mut network = cx.rename("network", id)?;
            if let Some(Value::Bool(on)) = cx.body.get("expose_routes_to_vswitch") {
                network["expose_routes_to_vswitch"] = json!(on);
                cx.put("network", network.clone());
            }
            Ok(Reply::json(200, &json!({"network": render(&network, &members(cx))})).about(id))
        }
        ("DELETE", [id]) => delete(cx, id),
        ("POST", [id, "actions", action]) => act(cx, id, action),
        _ => Err(no_such_method()),
    }
}

/// What is attached to each network: servers, and load balancers.
type Members = HashMap<(u64, &'static str), Vec<Value>>;

fn members(cx: &Cx<'_>) -> Members {
    let mut all = Members::new();
    for kind in ["server", "load_balancer"] {
        for row in cx.world.store.rows(&cx.scope, kind, cx.call.now) {
            for net in row.value["private_net"].as_array().into_iter().flatten() {
                all.entry((net["network"].as_u64().unwrap_or(0), kind)).or_default().push(row.value["id"].clone());
            }
        }
    }
    all
}

fn render(network: &Value, members: &Members) -> Value {
    let mut shown = public(network);
    let id = network["id"].as_u64().unwrap_or(0);
    for (field, kind) in [("servers", "server"), ("load_balancers", "load_balancer")] {
        shown[field] = Value::Array(members.get(&(id, kind)).cloned().unwrap_or_default());
    }
    shown
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let name = cx.required("name")?;
    let ip_range = cx.required("ip_range")?;
    let range = network_range(&ip_range)?;
    let labels = cx.labels()?.unwrap_or_else(|| json!({}));
    cx.name_free("network", &name, None)?;
    let id = cx.next_id();
    let expose = cx.body.get("expose_routes_to_vswitch").and_then(Value::as_bool).unwrap_or(false);
    let mut network = json!({
        "id": id, "name": name, "ip_range": range.to_string(), "subnets": [], "routes": [],
        "protection": {"delete": false}, "labels": labels, "created": cx.time(), "expose_routes_to_vswitch": expose,
    });
    for subnet in cx.list("subnets")? {
        add_subnet(&mut network, &subnet)?;
    }
    for route in cx.list("routes")? {
        add_route(&mut network, &route)?;
    }
    cx.put("network", network.clone());
    Ok(Reply::json(201, &json!({"network": render(&network, &Members::new())})).about(id))
}

fn network_range(text: &str) -> Result<Range, Reply> {
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    let range = Range::parse(text).ok_or_else(|| invalid("ip_range", "must be an IPv4 range in CIDR notation"))?;
    let inside = private.iter().filter_map(|one| Range::parse(one)).any(|one| one.covers(range));
    if !inside || range.prefix > 24 {
        return Err(invalid("ip_range", "must be a range of RFC 1918 of at least /24"));
    }
    Ok(range)
}

fn add_subnet(network: &mut Value, subnet: &Value) -> Result<(), Reply> {
    let kind = subnet["type"].as_str().unwrap_or_default();
    if !matches!(kind, "cloud" | "server" | "vswitch") {
        return Err(invalid("type", "must be one of cloud, server, vswitch"));
    }
    let zone = subnet["network_zone"].as_str().unwrap_or_default();
    if !super::catalog::locations().iter().any(|location| location["network_zone"] == zone) {
        return Err(invalid("network_zone", "network zone does not exist"));
    }
    let whole = network["ip_range"].as_str().and_then(Range::parse).unwrap_or(Range { base: 0, prefix: 32 });
    let used: Vec<Range> = ranges(network).collect();
    let range = match subnet["ip_range"].as_str().filter(|text| !text.is_empty()) {
        Some(text) => {
            Range::parse(text).ok_or_else(|| invalid("ip_range", "must be an IPv4 range in CIDR notation"))?
        }
        None => whole
            .free_part(24, &used)
            .ok_or_else(|| error(409, "no_subnet_available", "no subnet available in the network"))?,
    };
    if !whole.covers(range) {
        return Err(invalid("ip_range", "must be inside the network's range"));
    }
    if used.iter().any(|one| one.overlaps(range)) {
        return Err(invalid("ip_range", "overlaps with an existing subnet"));
    }
    let entry = json!({"type": kind, "ip_range": range.to_string(), "network_zone": zone,
        "gateway": whole.nth(1).to_string(), "vswitch_id": subnet.get("vswitch_id").cloned().unwrap_or(Value::Null)});
    if let Some(list) = network["subnets"].as_array_mut() {
        list.push(entry);
    }
    Ok(())
}

fn add_route(network: &mut Value, route: &Value) -> Result<(), Reply> {
    let (destination, gateway) = (route["destination"].as_str(), route["gateway"].as_str());
    let destination = destination.filter(|text| Range::parse(text).is_some());
    let destination = destination.ok_or_else(|| invalid("destination", "must be an IPv4 range in CIDR notation"))?;
    let whole = network["ip_range"].as_str().and_then(Range::parse).unwrap_or(Range { base: 0, prefix: 32 });
    let inside =
        gateway.and_then(|text| text.parse().ok()).is_some_and(|ip: std::net::Ipv4Addr| whole.has(u32::from(ip)));
    let gateway = gateway.filter(|_| inside).ok_or_else(|| invalid("gateway", "must be inside the network's range"))?;
    let entry = json!({"destination": destination, "gateway": gateway});
    if let Some(list) = network["routes"].as_array_mut() {
        if list.iter().any(|one| one["destination"] == destination) {
            return Err(invalid("destination", "a route to this destination exists"));
        }
        list.push(entry);
    }
    Ok(())
}

fn ranges(network: &Value) -> impl Iterator<Item = Range> {
    let subnets = network["subnets"].as_array().into_iter().flatten();
    subnets.filter_map(|subnet| subnet["ip_range"].as_str().and_then(Range::parse))
}

fn delete(cx: &mut Cx<'_>, id: &str) -> Answer {
    let network = cx.find("network", id)?;
    if network["protection"]["delete"] == true {
        return Err(error(423, "protected", "network is delete protected"));
    }
    // The vendor takes the network away from under what is attached to it.
    let number = &network["id"];
    for kind in ["server", "load_balancer"] {
        let within = |value: &Value| {
            value["private_net"].as_array().is_some_and(|nets| nets.iter().any(|net| net["network"] == *number))
        };
        let rows = cx.world.store.rows(&cx.scope, kind, cx.call.now);
        let attached: Vec<Value> = rows.filter(|row| within(&row.value)).map(|row| row.value.clone()).collect();
        for mut one in attached {
            if let Some(nets) = one["private_net"].as_array_mut() {
                nets.retain(|net| net["network"] != *number);
            }
            cx.put(kind, one);
        }
    }
    cx.world.store.remove(&cx.scope, "network", id);
    Ok(Reply::empty().about(id))
}

fn act(cx: &mut Cx<'_>, id: &str, action: &str) -> Answer {
    let mut network = cx.find("network", id)?;
    let body = Value::Object(cx.body.clone());
    match action {
        "add_subnet" => add_subnet(&mut network, &body)?,
        "add_route" => add_route(&mut network, &body)?,
        "delete_subnet" => {
            let range = cx.required("ip_range")?;
            let going = Range::parse(&range).ok_or_else(|| invalid("ip_range", "must be an IPv4 range"))?;
            if addresses(cx, &network["id"]).iter().any(|address| going.has(*address)) {
                return Err(error(409, "resource_in_use", "subnet has attached resources"));
            }
            drop_entry(&mut network, "subnets", "ip_range", &range)?;
        }
        "delete_route" => {
            let destination = cx.required("destination")?;
            drop_entry(&mut network, "routes", "destination", &destination)?;
        }
        "change_ip_range" => {
            let range = network_range(&cx.required("ip_range")?)?;
            let old = network["ip_range"].as_str().and_then(Range::parse);
            if old.is_some_and(|old| !range.covers(old)) {
                return Err(invalid("ip_range", "can only be extended"));
            }
            network["ip_range"] = json!(range.to_string());
        }
        "change_protection" => return cx.protect("network", id),
        _ => return Err(no_such_method()),
    }
    cx.put("network", network);
    let action = actions::start(cx, action, "network", id, &[]);
    Ok(Reply::json(201, &json!({ "action": action })).about(id))
}

fn drop_entry(network: &mut Value, list: &str, field: &str, wanted: &str) -> Result<(), Reply> {
    let entries = network[list].as_array_mut();
    let at = entries.as_ref().and_then(|entries| entries.iter().position(|one| one[field] == wanted));
    match (entries, at) {
        (Some(entries), Some(at)) => {
            entries.remove(at);
            Ok(())
        }
        _ => Err(super::not_found(list.trim_end_matches('s'))),
    }
}

/// Every private address in use in a network.
fn addresses(cx: &Cx<'_>, network: &Value) -> HashSet<u32> {
    let servers = cx.world.store.rows(&cx.scope, "server", cx.call.now);
    let balancers = cx.world.store.rows(&cx.scope, "load_balancer", cx.call.now);
    let nets = servers.chain(balancers).flat_map(|row| row.value["private_net"].as_array().into_iter().flatten());
    nets.filter(|net| net["network"] == *network)
        .filter_map(|net| net["ip"].as_str()?.parse::<std::net::Ipv4Addr>().ok())
        .map(u32::from)
        .collect()
}

/// What a server's `private_net` says about a network it joins; the address is the wanted one or the next free one.
pub fn join(
    cx: &Cx<'_>,
    network: &Value,
    zone: &Value,
    wanted: Option<&str>,
    alias: &Value,
    mac: u64,
) -> Result<Value, Reply> {
    let fitting = network["subnets"].as_array().into_iter().flatten().filter(|subnet| subnet["network_zone"] == *zone);
    let subnets: Vec<Range> = fitting.filter_map(|subnet| subnet["ip_range"].as_str().and_then(Range::parse)).collect();
    if subnets.is_empty() {
        return Err(error(409, "no_subnet_available", "network has no subnet in the server's network zone"));
    }
    let taken = addresses(cx, &network["id"]);
    let whole = network["ip_range"].as_str().and_then(Range::parse);
    let used = |address: u32| taken.contains(&address) || whole.is_some_and(|whole| address == whole.base + 1);
    let ip = match wanted {
        Some(text) => {
            let ip: std::net::Ipv4Addr = text.parse().map_err(|_| invalid("ip", "must be an IPv4 address"))?;
            if used(u32::from(ip)) || !subnets.iter().any(|subnet| subnet.has(u32::from(ip))) {
                return Err(error(409, "ip_not_available", "IP is not available in the network"));
            }
            ip
        }
        None => subnets
            .iter()
            .find_map(|subnet| subnet.free_address(2, 1, used))
            .ok_or_else(|| error(409, "ip_not_available", "no free IP in the network"))?,
    };
    let mac: Vec<String> = mac.to_be_bytes()[4..].iter().map(|byte| format!("{byte:02x}")).collect();
    let alias = if alias.is_array() { alias.clone() } else { json!([]) };
    Ok(json!({"network": network["id"], "ip": ip.to_string(), "alias_ips": alias,
        "mac_address": format!("86:00:{}", mac.join(":"))}))
}
