//! Owns UpCloud's floating addresses: IPv4 addresses of a zone that are on one public interface, or on none.
//! Source: <https://developers.upcloud.com/1.3/10-ip-addresses> and the exchanges recorded in upcloud-go-api.

use super::{Answer, Cx, addresses, catalog, error, interfaces, invalid};
use crate::call::Reply;
use serde_json::{Value, json};

/// The kind they are kept as, by address.
pub const KIND: &str = "floating_ip";

/// Whether an address is a floating one.
pub fn is_one(cx: &Cx<'_>, address: &str) -> bool {
    cx.find(KIND, address).is_ok()
}

/// Every floating address as the vendor shows it.
pub fn all(cx: &Cx<'_>) -> Vec<Value> {
    cx.every(KIND)
        .map(|mut one| {
            match one["mac"].as_str().and_then(|mac| on(cx, mac)) {
                Some(server) => one["server"] = server["uuid"].clone(),
                // One that is on no interface has none of the two.
                None => _ = one.as_object_mut().map(|fields| fields.shift_remove("mac")),
            }
            one
        })
        .collect()
}

/// The server with its floating addresses on the interfaces that they are on.
pub fn with(cx: &Cx<'_>, server: &Value) -> Value {
    let mut server = server.clone();
    for interface in server["_interfaces"].as_array_mut().into_iter().flatten() {
        let mac = interface["mac"].clone();
        let floating = cx.every(KIND).filter(|one| one["mac"] == mac);
        let floating = floating.map(|one| json!({"address": one["address"], "family": "IPv4", "floating": "yes"}));
        if let Some(list) = interface["ip_addresses"]["ip_address"].as_array_mut() {
            list.extend(floating);
        }
    }
    server
}

/// Takes the floating addresses from the interfaces of a server that goes.
pub fn free(cx: &mut Cx<'_>, server: &Value) {
    let macs: Vec<Value> =
        server["_interfaces"].as_array().into_iter().flatten().map(|one| one["mac"].clone()).collect();
    let mut freed: Vec<Value> = cx.every(KIND).filter(|one| macs.contains(&one["mac"])).collect();
    for one in &mut freed {
        one["mac"] = Value::Null;
        keep(cx, one);
    }
}

/// Answers a POST with `floating: yes`: in a zone, on an interface, or both.
pub fn create(cx: &mut Cx<'_>, fields: &Value) -> Answer {
    if !matches!(fields["family"].as_str(), None | Some("IPv4")) {
        return Err(invalid("FAMILY_INVALID", "A floating address is an IPv4 address."));
    }
    let zone = match (&fields["zone"], &fields["mac"]) {
        (Value::String(zone), _) if catalog::is_zone(zone) => zone.clone(),
        (Value::String(zone), _) => {
            return Err(error(404, "ZONE_NOT_FOUND", &format!("The zone {zone} does not exist.")));
        }
        (_, Value::String(mac)) => on(cx, mac).and_then(|it| Some(it["zone"].as_str()?.to_owned())).unwrap_or_default(),
        _ => return Err(invalid("ZONE_MISSING", "The required attribute zone is missing from the request.")),
    };
    let mac = interface(cx, &fields["mac"], &zone)?;
    let address = interfaces::public_address(cx);
    let name = interfaces::usual_name(&address, &zone);
    keep(
        cx,
        &json!({"access": "public", "address": address, "family": "IPv4", "floating": "yes", "mac": mac,
        "part_of_plan": "no", "ptr_record": name, "release_policy": "keep", "zone": zone}),
    );
    Ok(Reply::json(201, &addresses::shown(cx, &address)?).about(address))
}

/// Answers a change: to another interface, to none, or of its name.
pub fn modify(cx: &mut Cx<'_>, address: &str, fields: &Value) -> Answer {
    let mut one = cx.find(KIND, address)?;
    if let Some(mac) = fields.get("mac") {
        let zone = one["zone"].as_str().unwrap_or_default().to_owned();
        one["mac"] = interface(cx, mac, &zone)?;
    }
    if let Some(name) = fields["ptr_record"].as_str() {
        one["ptr_record"] = json!(name);
    }
    keep(cx, &one);
    Ok(Reply::json(202, &addresses::shown(cx, address)?).about(address))
}

fn keep(cx: &mut Cx<'_>, one: &Value) {
    let address = one["address"].as_str().unwrap_or_default().to_owned();
    cx.world.store.put(&cx.scope, KIND, &address, one.clone(), cx.call.now);
}

/// The server that has an interface.
fn on(cx: &Cx<'_>, mac: &str) -> Option<Value> {
    cx.every("server").find(|server| public(server, mac).is_some())
}

/// The public interface of a server with this MAC.
fn public<'a>(server: &'a Value, mac: &str) -> Option<&'a Value> {
    let mut all = server["_interfaces"].as_array().into_iter().flatten();
    all.find(|one| one["type"] == "public" && one["mac"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(mac)))
}

/// The MAC that a request names, checked: of a public interface in the zone; null is none.
fn interface(cx: &Cx<'_>, mac: &Value, zone: &str) -> Result<Value, Reply> {
    let Some(wanted) = mac.as_str().filter(|text| !text.is_empty()) else {
        return match mac {
            Value::Null => Ok(Value::Null),
            _ => Err(invalid("MAC_INVALID", "The attribute mac has an invalid value.")),
        };
    };
    let none = || error(404, "INTERFACE_NOT_FOUND", &format!("There is no public interface {wanted}."));
    let server = on(cx, wanted).ok_or_else(none)?;
    if server["zone"] != zone {
        return Err(error(409, "ZONE_MISMATCH", "The address and the server must be in the same zone."));
    }
    Ok(public(&server, wanted).ok_or_else(none)?["mac"].clone())
}
