//! Owns UpCloud's private networks; the public and utility network of each zone are there from the start.

use super::{Answer, Cx, catalog, error, invalid, is_yes, labels, no_such_method, storages, uuid, yes};
use crate::call::Reply;
use crate::net::Range;
use serde_json::{Value, json};

/// Answers `/network…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let mut found = builtin();
            found.extend(cx.listed_all("network"));
            let zone = cx.call.param("zone");
            found.retain(|network| zone.is_none_or(|zone| network["zone"] == zone));
            let members = members(cx);
            let shown: Vec<Value> = cx.narrowed(found)?.iter().map(|network| render(network, &members)).collect();
            Ok(Reply::json(200, &json!({"networks": {"network": shown}})))
        }
        ("POST", []) => create(cx),
        ("GET", [id]) => {
            let found = builtin().into_iter().find(|network| network["uuid"] == *id);
            let network = found.map_or_else(|| cx.find("network", id), Ok)?;
            Ok(Reply::json(200, &json!({"network": render(&network, &members(cx))})))
        }
        ("PUT" | "PATCH", [id]) => modify(cx, id),
        ("DELETE", [id]) => {
            cx.find("network", id)?;
            if members(cx).iter().any(|(network, _)| network == id) {
                return Err(error(409, "NETWORK_NOT_EMPTY", &format!("The network {id} has servers attached to it.")));
            }
            cx.world.store.remove(&cx.scope, "network", id);
            Ok(Reply::empty().about(id))
        }
        _ => Err(no_such_method()),
    }
}

fn builtin() -> Vec<Value> {
    let one = |at: usize, zone: &str, kind: &str, digit: u8, address: String, gateway: String| {
        json!({"name": format!("{kind} {zone}"), "uuid": format!("03000000-0000-4000-800{digit}-0000000{at:05}"), "zone": zone,
            "type": kind, "ip_networks": {"ip_network": [{"address": address, "dhcp": "yes", "dhcp_default_route": yes(kind == "public"),
            "dhcp_dns": [], "family": "IPv4", "gateway": gateway}]}, "labels": []})
    };
    catalog::zones()
        .enumerate()
        .flat_map(|(at, zone)| {
            [
                one(at, zone, "public", 1, format!("100.64.{}.0/22", at * 4), format!("100.64.{}.1", at * 4)),
                one(at, zone, "utility", 2, format!("10.{}.0.0/22", at + 1), format!("10.{}.0.1", at + 1)),
            ]
        })
        .collect()
}

/// Pairs of network and server.
fn members(cx: &Cx<'_>) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for server in cx.every("server") {
        for interface in server["_interfaces"].as_array().into_iter().flatten() {
            let network = interface["network"].as_str().unwrap_or_default().to_owned();
            all.push((network, json!({"uuid": server["uuid"], "title": server["title"]})));
        }
    }
    all
}

fn render(network: &Value, members: &[(String, Value)]) -> Value {
    let mut shown = crate::hetzner::public(network);
    let attached: Vec<&Value> =
        members.iter().filter(|(id, _)| network["uuid"] == id.as_str()).map(|(_, server)| server).collect();
    shown["servers"] = json!({ "server": attached });
    shown
}

fn ip_networks(fields: &Value) -> Result<Value, Reply> {
    let list = super::members(&fields["ip_networks"]["ip_network"]);
    let [one] = list.as_slice() else {
        return Err(invalid("IP_NETWORKS_MISSING", "Exactly one IP network is required."));
    };
    let range = one["address"].as_str().and_then(Range::parse).filter(|range| (8..=29).contains(&range.prefix));
    let range =
        range.ok_or_else(|| invalid("NETWORK_ADDRESS_INVALID", "The attribute address has an invalid value."))?;
    if one["family"].as_str().unwrap_or("IPv4") != "IPv4" {
        return Err(invalid("IP_ADDRESS_FAMILY_INVALID", "The attribute family has an invalid value."));
    }
    let gateway = match one["gateway"].as_str().filter(|text| !text.is_empty()) {
        None => range.nth(1).to_string(),
        Some(text) => {
            let inside = text.parse().is_ok_and(|ip: std::net::Ipv4Addr| range.has(u32::from(ip)));
            if !inside {
                return Err(invalid("GATEWAY_INVALID", "The attribute gateway has an invalid value."));
            }
            text.to_owned()
        }
    };
    let dns = if one["dhcp_dns"].is_array() { one["dhcp_dns"].clone() } else { json!([]) };
    Ok(json!({"ip_network": [{"address": range.to_string(), "dhcp": yes(one["dhcp"].is_null() || is_yes(&one["dhcp"])),
        "dhcp_default_route": yes(is_yes(&one["dhcp_default_route"])), "dhcp_dns": dns, "family": "IPv4", "gateway": gateway}]}))
}

/// The router that a request names; null takes the network off its router.
fn router(cx: &Cx<'_>, fields: &Value) -> Result<Option<Value>, Reply> {
    match fields.get("router") {
        None => Ok(None),
        Some(Value::String(id)) if !id.is_empty() => Ok(Some(cx.find("router", id)?["uuid"].clone())),
        Some(_) => Ok(Some(Value::Null)),
    }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let fields = cx.body["network"].clone();
    let name = fields["name"].as_str().filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| invalid("NAME_MISSING", "The required attribute name is missing from the request."))?;
    let zone = storages::zone(&fields)?;
    let ip_networks = ip_networks(&fields)?;
    let labels = labels(&fields["labels"])?.unwrap_or_else(|| json!([]));
    let router = router(cx, &fields)?.unwrap_or_default();
    let id = uuid("03");
    let network = json!({"name": name, "type": "private", "uuid": id, "zone": zone, "ip_networks": ip_networks, "labels": labels, "router": router});
    cx.put("network", &network);
    Ok(Reply::json(201, &json!({"network": render(&network, &[])})).about(id))
}

fn modify(cx: &mut Cx<'_>, id: &str) -> Answer {
    let mut network = cx.find("network", id)?;
    let fields = cx.body["network"].clone();
    if let Some(name) = fields["name"].as_str() {
        network["name"] = json!(name);
    }
    if let Some(labels) = labels(&fields["labels"])? {
        network["labels"] = labels;
    }
    if let Some(router) = router(cx, &fields)? {
        network["router"] = router;
    }
    if fields["ip_networks"].is_object() {
        let mut wanted = fields.clone();
        wanted["ip_networks"]["ip_network"] = Value::Array(super::members(&fields["ip_networks"]["ip_network"]));
        if wanted["ip_networks"]["ip_network"] == json!([]) {
            return Err(invalid("IP_NETWORKS_MISSING", "Exactly one IP network is required."));
        }
        // The address cannot change; a request may leave it out.
        if wanted["ip_networks"]["ip_network"][0]["address"].is_null() {
            wanted["ip_networks"]["ip_network"][0]["address"] =
                network["ip_networks"]["ip_network"][0]["address"].clone();
        }
        let new = ip_networks(&wanted)?;
        if new["ip_network"][0]["address"] != network["ip_networks"]["ip_network"][0]["address"] {
            return Err(invalid("NETWORK_ADDRESS_INVALID", "The address of an IP network cannot be changed."));
        }
        network["ip_networks"] = new;
    }
    cx.put("network", &network);
    Ok(Reply::json(200, &json!({"network": render(&network, &members(cx))})).about(id))
}

impl Cx<'_> {
    /// What is old enough to be read, before any filter.
    fn listed_all(&self, kind: &str) -> Vec<Value> {
        let (now, stale) = (self.call.now, self.call.stale_ms);
        let rows = self.world.store.rows(&self.scope, kind, now);
        rows.filter(|row| stale == 0 || row.created <= now - stale).map(|row| row.at(now)).collect()
    }
}

/// The id of a zone's public or utility network.
pub fn of_zone(kind: &str, zone: &str) -> Value {
    let found = builtin().into_iter().find(|network| network["type"] == kind && network["zone"] == zone);
    found.map(|network| network["uuid"].clone()).unwrap_or_default()
}
