//! Owns the names that Hetzner's addresses have in the DNS: those they come with, and those somebody gives them.

use super::{Cx, invalid};
use crate::call::Reply;
use serde_json::{Value, json};
use std::net::Ipv6Addr;

/// The name that an IPv4 address comes with; an IPv6 address has none.
pub fn usual(ip: &str) -> String {
    let reversed: Vec<&str> = ip.rsplit('.').collect();
    format!("static.{}.clients.your-server.de", reversed.join("."))
}

/// Changes the name of one of the addresses of a server or a load balancer.
pub fn of_net(cx: &Cx<'_>, net: &mut Value) -> Result<(), Reply> {
    let (ip, name) = (cx.required("ip")?, cx.text("dns_ptr")?);
    if net["ipv4"]["ip"] == ip.as_str() {
        net["ipv4"]["dns_ptr"] = json!(name.unwrap_or_else(|| usual(&ip)));
        return Ok(());
    }
    let v6 = &mut net["ipv6"];
    // A load balancer has one IPv6 address, a server a network of them.
    if v6["dns_ptr"].is_array() {
        let whole = v6["ip"].as_str().unwrap_or_default().to_owned();
        return of_list(&mut v6["dns_ptr"], &whole, &ip, name);
    }
    if v6["ip"] == ip.as_str() {
        v6["dns_ptr"] = json!(name.unwrap_or_default());
        return Ok(());
    }
    Err(not_its())
}

/// Changes the name of a floating or primary address.
pub fn of_address(cx: &Cx<'_>, value: &mut Value) -> Result<(), Reply> {
    let (ip, name) = (cx.required("ip")?, cx.text("dns_ptr")?);
    let whole = value["ip"].as_str().unwrap_or_default().to_owned();
    of_list(&mut value["dns_ptr"], &whole, &ip, name)
}

fn of_list(names: &mut Value, whole: &str, ip: &str, name: Option<String>) -> Result<(), Reply> {
    let name = match name {
        _ if !has(whole, ip) => return Err(not_its()),
        Some(name) => Some(name),
        None => (!ip.contains(':')).then(|| usual(ip)),
    };
    if let Some(names) = names.as_array_mut() {
        names.retain(|one| one["ip"] != ip);
        names.extend(name.map(|name| json!({"ip": ip, "dns_ptr": name})));
    }
    Ok(())
}

/// Whether an address is this one, or in this network of IPv6.
fn has(whole: &str, ip: &str) -> bool {
    let half = |text: &str| text.parse::<Ipv6Addr>().ok().map(|it| it.segments()[..4].to_vec());
    match whole.strip_suffix("/64") {
        Some(network) => half(network).is_some_and(|network| half(ip) == Some(network)),
        None => whole == ip,
    }
}

/// The names that somebody gave to addresses of a thing: kind and id.
pub fn named(kind: &str, id: &str, value: &Value) -> Vec<(&'static str, String)> {
    let net = &value["public_net"];
    let ones = [&net["ipv4"], &net["ipv6"]].into_iter().filter(|one| one["dns_ptr"].is_string());
    let lists = [&net["ipv6"]["dns_ptr"], &value["dns_ptr"]].into_iter().filter_map(Value::as_array).flatten();
    let given = |one: &Value| {
        let (ip, name) = (one["ip"].as_str()?, one["dns_ptr"].as_str()?);
        (!name.is_empty() && name != usual(ip)).then(|| ("rdns", format!("{kind},{id},{ip}")))
    };
    ones.chain(lists).filter_map(given).collect()
}

fn not_its() -> Reply {
    invalid("ip", "is none of its addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_its_network() {
        assert!(has("2001:db8:0:1::/64", "2001:db8:0:1::7") && has("198.18.0.1", "198.18.0.1"));
        assert!(!has("2001:db8:0:1::/64", "2001:db8:0:2::7") && !has("198.18.0.1", "198.18.0.2"));
        assert_eq!(usual("198.18.0.1"), "static.1.0.18.198.clients.your-server.de");
    }
}
