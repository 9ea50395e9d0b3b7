//! Owns what every Describe shares: ids, filters with wildcards, stale reads, and pages.

use super::{Answer, Cx, Kind, bad, xml};
use crate::call::Reply;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// One filter of a request: the name and the patterns of which one must match.
pub struct Filter {
    pub name: String,
    values: Vec<String>,
}

impl Filter {
    /// Whether a text matches one of the patterns; `*` and `?` are wildcards.
    pub fn accepts(&self, text: &str) -> bool {
        self.values.iter().any(|pattern| wild(pattern.as_bytes(), text.as_bytes()))
    }
}

fn wild(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => wild(&pattern[1..], text) || (!text.is_empty() && wild(pattern, &text[1..])),
        (Some(b'?'), Some(_)) => wild(&pattern[1..], &text[1..]),
        (Some(a), Some(b)) if a == b => wild(&pattern[1..], &text[1..]),
        _ => false,
    }
}

/// The filters of a request.
pub fn filters(cx: &Cx<'_>) -> Vec<Filter> {
    let read =
        |filter: &super::Params| Some(Filter { name: filter.get("Name")?.to_owned(), values: filter.values("Value") });
    cx.params.list("Filter").iter().filter_map(read).collect()
}

/// The texts of a resource that a filter looks at; `None` when EC2 has no such filter for it.
pub fn texts(value: &Value, name: &str) -> Option<Vec<String>> {
    let tags = || value["tagSet"].as_array().into_iter().flatten();
    if let Some(key) = name.strip_prefix("tag:") {
        return Some(tags().filter(|tag| tag["key"] == key).filter_map(|tag| text(&tag["value"])).collect());
    }
    if name == "tag-key" {
        return Some(tags().filter_map(|tag| text(&tag["key"])).collect());
    }
    let inside = [("attachment.", "attachmentSet"), ("association.", "associationSet"), ("route.", "routeSet")];
    for (prefix, set) in inside {
        if let (Some(name), Some(items)) = (name.strip_prefix(prefix), value[set].as_array()) {
            let name = camel(name);
            return Some(items.iter().filter_map(|item| text(&item[&name])).collect());
        }
    }
    let field = match name {
        "instance-state-name" => &value["instanceState"]["name"],
        "instance-state-code" => &value["instanceState"]["code"],
        "availability-zone" if value["placement"].is_object() => &value["placement"]["availabilityZone"],
        "cidr" => &value["cidrBlock"],
        "is-default" | "isDefault" => &value["isDefault"],
        "description" => &value["groupDescription"],
        "network-interface.subnet-id" => &value["subnetId"],
        "ip-address" => &value["ipAddress"],
        "instance.group-id" | "network-interface.group-id" => return Some(members(value, "groupId")),
        "group-id" if value["groupSet"].is_array() => return Some(members(value, "groupId")),
        "instance.group-name" => return Some(members(value, "groupName")),
        "group-name" if value["groupSet"].is_array() => return Some(members(value, "groupName")),
        _ => {
            let field = camel(name);
            return value.get(&field).map(|value| text(value).into_iter().collect());
        }
    };
    Some(text(field).into_iter().collect())
}

fn members(value: &Value, field: &str) -> Vec<String> {
    value["groupSet"].as_array().into_iter().flatten().filter_map(|group| text(&group[field])).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// `vpc-id` → `vpcId`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.chars() {
        match c {
            '-' => upper = true,
            c if upper => {
                out.extend(c.to_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// The resources of a kind that the request asks for: by ids, by filters, without what is still too new to be read.
pub fn select(cx: &Cx<'_>, kind: Kind, id_param: &str) -> Result<Vec<Value>, Reply> {
    narrow(cx, chosen(cx, kind, id_param)?)
}

/// The same before the filters, for kinds of which a filter looks at more than is stored with them.
pub fn chosen(cx: &Cx<'_>, kind: Kind, id_param: &str) -> Result<Vec<Value>, Reply> {
    let ids = cx.params.values(id_param);
    let fresh = |created: i64| cx.stale_ms == 0 || created <= cx.now - cx.stale_ms;
    let mut found = Vec::new();
    if ids.is_empty() {
        let rows = cx.world.store.rows(&cx.scope, kind.name, cx.now);
        found.extend(rows.filter(|row| fresh(row.created)).map(|row| row.at(cx.now)));
    }
    for id in ids {
        let value = cx.find(kind, &id)?;
        let created = cx.world.store.row(&cx.scope, kind.name, &id, cx.now).map(|row| row.created);
        if !created.is_some_and(fresh) {
            return Err(kind.absent(&id));
        }
        found.push(value);
    }
    Ok(found)
}

/// The whole answer of a Describe of what was put together.
pub fn answer(cx: &Cx<'_>, action: &str, set: &str, id_param: &str, all: Vec<Value>) -> Answer {
    let (shown, token) = page(cx, id_param, narrow(cx, all)?)?;
    Ok(xml::response(action, &body(set, shown, token)))
}

/// Keeps what passes every filter of the request.
pub fn narrow(cx: &Cx<'_>, found: Vec<Value>) -> Result<Vec<Value>, Reply> {
    let filters = filters(cx);
    let known = |filter: &&Filter| found.iter().all(|value| texts(value, &filter.name).is_none());
    if let Some(filter) = filters.iter().find(|filter| !found.is_empty() && known(filter)) {
        return Err(bad("InvalidParameterValue", format!("The filter '{}' is invalid", filter.name)));
    }
    let passes = |value: &Value, filter: &Filter| {
        texts(value, &filter.name).is_some_and(|texts| texts.iter().any(|text| filter.accepts(text)))
    };
    Ok(found.into_iter().filter(|value| filters.iter().all(|filter| passes(value, filter))).collect())
}

/// Cuts out the page asked for; the token is null on the last one.
pub fn page(cx: &Cx<'_>, id_param: &str, all: Vec<Value>) -> Result<(Vec<Value>, Value), Reply> {
    let from = match cx.params.get("NextToken") {
        None | Some("") => 0,
        Some(token) => STANDARD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok()?.strip_prefix("from:")?.parse::<usize>().ok())
            .ok_or_else(|| bad("InvalidPaginationToken", "The specified pagination token is not valid."))?,
    };
    let limit = match cx.params.get("MaxResults") {
        None => 1000,
        Some(_) if !cx.params.values(id_param).is_empty() => {
            let message = format!("The parameter {id_param} cannot be used with the parameter MaxResults");
            return Err(bad("InvalidParameterCombination", message));
        }
        Some(text) => text.parse::<usize>().ok().filter(|limit| (5..=1000).contains(limit)).ok_or_else(|| {
            bad(
                "InvalidParameterValue",
                format!("Value ( {text} ) for parameter maxResults is invalid. Expecting a value between 5 and 1000."),
            )
        })?,
    };
    let total = all.len();
    let shown: Vec<Value> = all.into_iter().skip(from).take(limit).collect();
    let next = from + shown.len();
    let token = if next < total { Value::String(STANDARD.encode(format!("from:{next}"))) } else { Value::Null };
    Ok((shown, token))
}

/// The whole answer of a plain Describe.
pub fn list(cx: &Cx<'_>, action: &str, set: &str, kind: Kind, id_param: &str) -> Answer {
    let found = select(cx, kind, id_param)?;
    let (shown, token) = page(cx, id_param, found)?;
    Ok(xml::response(action, &body(set, shown, token)))
}

/// A set and its token.
pub fn body(set: &str, shown: Vec<Value>, token: Value) -> Value {
    let mut fields = Map::new();
    fields.insert(set.to_owned(), Value::Array(shown));
    fields.insert("nextToken".to_owned(), token);
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_ec2_has_them() {
        let filter = Filter { name: String::new(), values: vec!["web-*".to_owned(), "d?".to_owned()] };
        assert!(filter.accepts("web-1") && filter.accepts("db") && filter.accepts("web-"));
        assert!(!filter.accepts("web") && !filter.accepts("dbx"));
        assert_eq!(camel("vpc-id"), "vpcId");
    }
}
