//! Owns what UpCloud groups other things by: routers of networks, groups of servers, and tags.

use super::{Answer, Cx, error, invalid, labels, members, no_such_method, uuid};
use crate::call::Reply;
use serde_json::{Value, json};

fn named(fields: &Value, field: &str) -> Result<String, Reply> {
    let code = field.to_uppercase();
    match fields[field].as_str() {
        Some(text) if !text.is_empty() && text.chars().count() <= 255 => Ok(text.to_owned()),
        Some(_) => Err(invalid(&format!("{code}_INVALID"), format!("The attribute {field} has an invalid value."))),
        None => Err(invalid(
            &format!("{code}_MISSING"),
            format!("The required attribute {field} is missing from the request."),
        )),
    }
}

/// Answers `/router…`.
pub fn routers(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let shown: Vec<Value> = cx.listed("router")?.iter().map(|router| router_of(cx, router)).collect();
            Ok(Reply::json(200, &json!({"routers": {"router": shown}})))
        }
        ("POST", []) => {
            let fields = cx.body["router"].clone();
            let id = uuid("04");
            let router = json!({"uuid": id, "name": named(&fields, "name")?, "type": "normal",
                "labels": labels(&fields["labels"])?.unwrap_or_else(|| json!([])), "static_routes": routes(&fields)?});
            cx.put("router", &router);
            Ok(Reply::json(201, &json!({"router": router_of(cx, &router)})).about(id))
        }
        ("GET", [id]) => Ok(Reply::json(200, &json!({"router": router_of(cx, &cx.find("router", id)?)}))),
        ("PUT" | "PATCH", [id]) => {
            let mut router = cx.find("router", id)?;
            let fields = cx.body["router"].clone();
            if !fields["name"].is_null() {
                router["name"] = json!(named(&fields, "name")?);
            }
            if let Some(labels) = labels(&fields["labels"])? {
                router["labels"] = labels;
            }
            if fields["static_routes"].is_array() {
                router["static_routes"] = routes(&fields)?;
            }
            cx.put("router", &router);
            Ok(Reply::json(200, &json!({"router": router_of(cx, &router)})).about(id))
        }
        ("DELETE", [id]) => {
            let router = cx.find("router", id)?;
            let attached = router_of(cx, &router)["attached_networks"]["network"].clone();
            if attached.as_array().is_some_and(|list| !list.is_empty()) {
                return Err(error(409, "ROUTER_ATTACHED", &format!("The router {id} is attached to a network.")));
            }
            cx.world.store.remove(&cx.scope, "router", id);
            Ok(Reply::empty().about(id))
        }
        _ => Err(no_such_method()),
    }
}

fn router_of(cx: &Cx<'_>, router: &Value) -> Value {
    let mut shown = router.clone();
    let attached = cx.every("network").filter(|network| network["router"] == router["uuid"]);
    shown["attached_networks"] =
        json!({"network": attached.map(|network| json!({"uuid": network["uuid"]})).collect::<Vec<_>>()});
    shown
}

fn routes(fields: &Value) -> Result<Value, Reply> {
    let mut kept: Vec<Value> = Vec::new();
    for (at, route) in members(&fields["static_routes"]).iter().enumerate() {
        let (to, hop) = (route["route"].as_str().unwrap_or_default(), route["nexthop"].as_str().unwrap_or_default());
        if crate::net::Range::parse(to).is_none() || hop.parse::<std::net::IpAddr>().is_err() {
            return Err(invalid("STATIC_ROUTE_INVALID", "The attribute static_routes has an invalid value."));
        }
        if kept.iter().any(|one| one["route"] == to && one["nexthop"] == hop) {
            return Err(error(409, "DUPLICATE_ROUTE", &format!("The route {to} is given twice.")));
        }
        let name = route["name"].as_str().map_or_else(|| format!("static-route-{at}"), str::to_owned);
        kept.push(json!({"name": name, "route": to, "nexthop": hop, "type": "user"}));
    }
    Ok(Value::Array(kept))
}

/// Answers `/server-group…`.
pub fn server_groups(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    let shown = |group: &Value| {
        let mut shown = group.clone();
        shown["labels"] = json!({"label": group["labels"]});
        shown["servers"] = json!({"server": group["servers"]});
        shown["anti_affinity_status"] = json!([]);
        shown
    };
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let all: Vec<Value> = cx.listed("server_group")?.iter().map(shown).collect();
            Ok(Reply::json(200, &json!({"server_groups": {"server_group": all}})))
        }
        ("POST", []) => {
            let id = uuid("0b");
            let fields = cx.body["server_group"].clone();
            named(&fields, "title")?;
            let mut group = json!({"uuid": id, "anti_affinity": "no", "labels": [], "servers": []});
            change_group(cx, &mut group)?;
            cx.put("server_group", &group);
            Ok(Reply::json(201, &json!({"server_group": shown(&group)})).about(id))
        }
        ("GET", [id]) => Ok(Reply::json(200, &json!({"server_group": shown(&cx.find("server_group", id)?)}))),
        ("PUT" | "PATCH", [id]) => {
            let mut group = cx.find("server_group", id)?;
            change_group(cx, &mut group)?;
            cx.put("server_group", &group);
            Ok(Reply::json(200, &json!({"server_group": shown(&group)})).about(id))
        }
        ("DELETE", [id]) => {
            cx.find("server_group", id)?;
            cx.world.store.remove(&cx.scope, "server_group", id);
            Ok(Reply::empty().about(id))
        }
        _ => Err(no_such_method()),
    }
}

fn change_group(cx: &Cx<'_>, group: &mut Value) -> Result<(), Reply> {
    let fields = &cx.body["server_group"];
    if !fields["title"].is_null() {
        group["title"] = json!(named(fields, "title")?);
    }
    if let Some(labels) = labels(&fields["labels"])? {
        group["labels"] = labels;
    }
    if let Some(how) = fields["anti_affinity"].as_str() {
        if !matches!(how, "strict" | "yes" | "no") {
            return Err(invalid("ANTI_AFFINITY_INVALID", "The attribute anti_affinity has an invalid value."));
        }
        group["anti_affinity"] = json!(how);
    }
    if let Some(servers) = fields["servers"]["server"].as_array() {
        for server in servers {
            cx.find("server", server.as_str().unwrap_or_default())?;
        }
        group["servers"] = json!(servers);
    }
    Ok(())
}

/// Answers `/tag…`. A tag is known by its name.
pub fn tags(cx: &mut Cx<'_>, rest: &[&str]) -> Answer {
    let fields = cx.body["tag"].clone();
    match (cx.call.method.as_str(), rest) {
        ("GET", []) => {
            let all: Vec<Value> = cx.listed("tag")?.iter().map(crate::hetzner::public).collect();
            Ok(Reply::json(200, &json!({"tags": {"tag": all}})))
        }
        ("POST", []) => {
            let name = named(&fields, "name")?;
            if name.len() > 32 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(invalid("TAG_INVALID", "The attribute name has an invalid value."));
            }
            if cx.find("tag", &name).is_ok() {
                return Err(error(409, "TAG_EXISTS", &format!("The tag {name} already exists.")));
            }
            let mut tag = json!({"name": name, "description": "", "servers": {"server": []}});
            change_tag(cx, &mut tag)?;
            put_tag(cx, &tag);
            Ok(Reply::json(201, &json!({ "tag": tag })).about(name))
        }
        ("GET", [name]) => {
            let tag = crate::hetzner::public(&cx.find("tag", name)?);
            Ok(Reply::json(200, &json!({ "tag": tag })))
        }
        ("PUT" | "PATCH", [name]) => {
            let mut tag = cx.find("tag", name)?;
            change_tag(cx, &mut tag)?;
            put_tag(cx, &tag);
            Ok(Reply::json(200, &json!({ "tag": tag })).about(name))
        }
        ("DELETE", [name]) => {
            cx.find("tag", name)?;
            cx.world.store.remove(&cx.scope, "tag", name);
            Ok(Reply::empty().about(name))
        }
        _ => Err(no_such_method()),
    }
}

fn change_tag(cx: &Cx<'_>, tag: &mut Value) -> Result<(), Reply> {
    let fields = &cx.body["tag"];
    if let Some(text) = fields["description"].as_str() {
        tag["description"] = json!(text);
    }
    if let Some(servers) = fields["servers"]["server"].as_array() {
        for server in servers {
            cx.find("server", server.as_str().unwrap_or_default())?;
        }
        tag["servers"] = json!({ "server": servers });
    }
    Ok(())
}

fn put_tag(cx: &mut Cx<'_>, tag: &Value) {
    let name = tag["name"].as_str().unwrap_or_default().to_owned();
    cx.world.store.put(&cx.scope, "tag", &name, tag.clone(), cx.call.now);
}

/// A server that goes is in no group and has no tag.
pub fn free(cx: &mut Cx<'_>, server: &str) {
    let groups: Vec<Value> = cx.every("server_group").collect();
    for mut group in groups {
        if let Some(list) = group["servers"].as_array_mut() {
            list.retain(|one| one != server);
        }
        cx.put("server_group", &group);
    }
    let tags: Vec<Value> = cx.every("tag").collect();
    for mut tag in tags {
        if let Some(list) = tag["servers"]["server"].as_array_mut() {
            list.retain(|one| one != server);
        }
        put_tag(cx, &tag);
    }
}
