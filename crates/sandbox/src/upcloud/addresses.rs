//! Owns UpCloud's addresses as things of their own: those that servers have, given one more, named and released, and the
//! floating ones, which are in `floating`.

use super::{Answer, Cx, error, floating, interfaces, invalid, is_yes, no_such_method};
use crate::call::Reply;
use serde_json::{Value, json};

/// The most public addresses of one family that a server has.
const MOST: usize = 5;

/// Answers `/ip_address…`.
pub fn answer(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    let fields = cx.body["ip_address"].clone();
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::json(200, &json!({"ip_addresses": {"ip_address": all(cx)}}))),
        ("GET", [address]) => Ok(Reply::json(200, &shown(cx, address)?)),
        ("POST", []) if is_yes(&fields["floating"]) => floating::create(cx, &fields),
        ("POST", []) => assign(cx, &fields),
        ("PUT" | "PATCH", [address]) if floating::is_one(cx, address) => floating::modify(cx, address, &fields),
        ("DELETE", [address]) if floating::is_one(cx, address) => {
            cx.world.store.remove(&cx.scope, floating::KIND, address);
            Ok(Reply::empty().about(*address))
        }
        ("PUT" | "PATCH", [address]) => {
            let mut server = holder(cx, address)?;
            if let Some(name) = fields["ptr_record"].as_str() {
                server["_names"][*address] = json!(name);
                cx.put("server", &server);
            }
            Ok(Reply::json(202, &shown(cx, address)?).about(*address))
        }
        ("DELETE", [address]) => {
            let mut server = holder(cx, address)?;
            for interface in server["_interfaces"].as_array_mut().into_iter().flatten() {
                if let Some(all) = interface["ip_addresses"]["ip_address"].as_array_mut() {
                    all.retain(|one| one["address"] != *address);
                }
            }
            if let Some(all) = server["_interfaces"].as_array_mut() {
                all.retain(|one| one["ip_addresses"]["ip_address"].as_array().is_some_and(|left| !left.is_empty()));
            }
            if let Some(names) = server["_names"].as_object_mut() {
                names.shift_remove(*address);
            }
            cx.put("server", &server);
            Ok(Reply::empty().about(*address))
        }
        _ => Err(no_such_method()),
    }
}

/// Every address of the account.
fn all(cx: &Cx<'_>) -> Vec<Value> {
    interfaces::all(cx).into_iter().chain(floating::all(cx)).collect()
}

/// One address as the vendor shows it.
pub fn shown(cx: &Cx<'_>, address: &str) -> Result<Value, Reply> {
    Ok(json!({"ip_address": find(cx, address)?}))
}

fn gone(address: &str) -> Reply {
    error(404, "IP_ADDRESS_NOT_FOUND", &format!("The IP address {address} does not exist."))
}

fn find(cx: &Cx<'_>, address: &str) -> Result<Value, Reply> {
    all(cx).into_iter().find(|one| one["address"] == address).ok_or_else(|| gone(address))
}

/// The server that has an address.
fn holder(cx: &Cx<'_>, address: &str) -> Result<Value, Reply> {
    let server = find(cx, address)?["server"].as_str().unwrap_or_default().to_owned();
    cx.find("server", &server)
}

fn assign(cx: &mut Cx<'_>, fields: &Value) -> Answer {
    let missing = |name: &str| {
        let code = format!("{}_MISSING", name.to_uppercase());
        invalid(&code, format!("The required attribute {name} is missing from the request."))
    };
    let id = fields["server"].as_str().ok_or_else(|| missing("server"))?;
    let mut server = cx.find("server", id)?;
    let family = fields["family"].as_str().unwrap_or("IPv4");
    // The one address of the utility network is there already.
    if !matches!(fields["access"].as_str(), None | Some("public")) {
        return Err(invalid("ACCESS_INVALID", "The attribute access has an invalid value."));
    }
    let has = interfaces::addresses(&server);
    if has.iter().filter(|one| one["access"] == "public" && one["family"] == family).count() >= MOST {
        return Err(error(409, "SERVER_IP_LIMIT_REACHED", "The server has too many IP addresses."));
    }
    let zone = server["zone"].as_str().unwrap_or_default().to_owned();
    let wanted = json!({"interfaces": {"interface": [{"type": "public", "ip_addresses": {"ip_address": [{"family": family}]}}]}});
    let mut built = interfaces::build(cx, &wanted, &zone)?;
    let all = server["_interfaces"].as_array().map_or(0, Vec::len);
    built[0]["index"] = json!(all + 1);
    built[0]["_added"] = json!(true);
    let address = built[0]["ip_addresses"]["ip_address"][0]["address"].as_str().unwrap_or_default().to_owned();
    if let Some(list) = server["_interfaces"].as_array_mut() {
        list.push(built[0].clone());
    }
    cx.put("server", &server);
    Ok(Reply::json(201, &shown(cx, &address)?).about(address))
}
