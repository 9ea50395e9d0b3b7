//! Owns the network interfaces of UpCloud's servers and the addresses on them.

use super::{Cx, error, invalid, is_yes, networks, yes};
use crate::call::Reply;
use crate::net::Range;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// Builds the interfaces a request asks for; one public and one utility when it says nothing.
pub fn build(cx: &mut Cx<'_>, networking: &Value, zone: &str) -> Result<Value, Reply> {
    let v4 = || json!({"ip_address": [{"family": "IPv4"}]});
    let usual =
        || vec![json!({"type": "public", "ip_addresses": v4()}), json!({"type": "utility", "ip_addresses": v4()})];
    let mut wanted = super::members(&networking["interfaces"]["interface"]);
    if wanted.is_empty() {
        wanted = usual();
    }
    let mut built = Vec::new();
    for (at, one) in wanted.iter().enumerate() {
        let kind = one["type"].as_str().unwrap_or_default();
        let network = match kind {
            "public" | "utility" => networks::of_zone(kind, zone),
            "private" => {
                let id = one["network"].as_str().ok_or_else(|| {
                    invalid("NETWORK_MISSING", "The required attribute network is missing from the request.")
                })?;
                let network = cx.find("network", id)?;
                if network["zone"] != zone {
                    return Err(error(409, "ZONE_MISMATCH", "The network and the server must be in the same zone."));
                }
                network["uuid"].clone()
            }
            _ => return Err(invalid("INTERFACE_TYPE_INVALID", "The attribute type has an invalid value.")),
        };
        let mut asked = super::members(&one["ip_addresses"]["ip_address"]);
        if asked.is_empty() {
            asked.push(json!({"family": "IPv4"}));
        }
        let mut addresses: Vec<Value> = Vec::new();
        for ask in asked {
            let family = ask["family"].as_str().unwrap_or("IPv4");
            let address = match (kind, family) {
                ("private", "IPv4") => private(cx, network.as_str().unwrap_or_default(), &ask, &built)?,
                ("utility", "IPv4") => {
                    let number = cx.world.store.next("upcloud.address");
                    Ipv4Addr::from(
                        u32::from(Ipv4Addr::new(10, 100, 0, 0)) + u32::try_from(number % 4_000_000).unwrap_or(0) + 2,
                    )
                    .to_string()
                }
                ("public", "IPv4") => public_address(cx),
                ("public", "IPv6") => format!("2001:db8:ffff::{:x}", cx.world.store.next("upcloud.address")),
                _ => return Err(invalid("IP_ADDRESS_FAMILY_INVALID", "The attribute family has an invalid value.")),
            };
            addresses.push(json!({"address": address, "family": family, "floating": "no"}));
        }
        let mac = cx.world.store.next("upcloud.mac");
        built.push(json!({"index": at + 1, "ip_addresses": {"ip_address": addresses},
            "mac": format!("6a:1b:{:02x}:{:02x}:{:02x}:{:02x}", mac >> 24 & 255, mac >> 16 & 255, mac >> 8 & 255, mac & 255),
            "network": network, "source_ip_filtering": yes(one["source_ip_filtering"].is_null() || is_yes(&one["source_ip_filtering"])),
            "type": kind, "bootable": yes(is_yes(&one["bootable"]))}));
    }
    Ok(Value::Array(built))
}

/// The next public IPv4 address.
pub fn public_address(cx: &mut Cx<'_>) -> String {
    let number = cx.world.store.next("upcloud.address");
    Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 0)) + u32::try_from(number % 60_000).unwrap_or(0) + 2)
        .to_string()
}

fn private(cx: &Cx<'_>, network_id: &str, ask: &Value, built: &[Value]) -> Result<String, Reply> {
    let network = cx.find("network", network_id)?;
    let range = network["ip_networks"]["ip_network"][0]["address"].as_str().and_then(Range::parse);
    let range = range.unwrap_or(Range { base: 0, prefix: 32 });
    let servers: Vec<Value> = cx.every("server").collect();
    let interfaces =
        servers.iter().flat_map(|server| server["_interfaces"].as_array().into_iter().flatten()).chain(built);
    let used: HashSet<u32> = interfaces
        .filter(|interface| interface["network"] == network_id)
        .flat_map(|interface| interface["ip_addresses"]["ip_address"].as_array().into_iter().flatten())
        .filter_map(|address| address["address"].as_str()?.parse::<Ipv4Addr>().ok())
        .map(u32::from)
        .collect();
    match ask["address"].as_str().filter(|text| !text.is_empty()) {
        Some(text) => {
            let address = text.parse::<Ipv4Addr>().ok().filter(|address| range.has(u32::from(*address)));
            let address = address.ok_or_else(|| invalid("IP_ADDRESS_INVALID", "The address is not in the network."))?;
            if used.contains(&u32::from(address)) {
                return Err(error(409, "IP_ADDRESS_UNAVAILABLE", &format!("The address {text} is in use.")));
            }
            Ok(address.to_string())
        }
        None => range
            .free_address(2, 1, |address| used.contains(&address))
            .map(|address| address.to_string())
            .ok_or_else(|| error(409, "IP_ADDRESS_RESOURCES_UNAVAILABLE", "The network has no free address.")),
    }
}

/// The addresses of one server, flat, as the server and the list of all show them.
pub fn addresses(server: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for interface in server["_interfaces"].as_array().into_iter().flatten() {
        for address in interface["ip_addresses"]["ip_address"].as_array().into_iter().flatten() {
            all.push(json!({"access": interface["type"], "address": address["address"], "family": address["family"],
                "part_of_plan": yes(interface["type"] == "public" && address["family"] == "IPv4" && interface["_added"] != true
                    && address["floating"] != "yes")}));
        }
    }
    all
}

/// The interfaces of a server in the vendor's shape.
pub fn shown(server: &Value) -> Vec<Value> {
    server["_interfaces"].as_array().into_iter().flatten().map(crate::hetzner::public).collect()
}

/// The name that a public address comes with.
pub fn usual_name(address: &str, zone: &str) -> String {
    format!("{}.{zone}.upcloud.host", address.replace(['.', ':'], "-"))
}

/// Every address that came with a server or was added to one.
pub fn all(cx: &Cx<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for server in cx.every("server") {
        for mut address in addresses(&server) {
            address["server"] = server["uuid"].clone();
            address["zone"] = server["zone"].clone();
            let own = address["address"].as_str().unwrap_or_default();
            let named = server["_names"][own].as_str().map(str::to_owned);
            let usual = || match address["access"] == "public" {
                true => usual_name(own, server["zone"].as_str().unwrap_or_default()),
                false => String::new(),
            };
            address["ptr_record"] = json!(named.unwrap_or_else(usual));
            address["floating"] = json!("no");
            all.push(address);
        }
    }
    all
}
