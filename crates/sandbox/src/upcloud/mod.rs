//! Owns the UpCloud API 1.3: authentication, routing, and the vendor's shapes for errors, labels and lists.

mod addresses;
mod catalog;
mod floating;
mod groups;
mod interfaces;
mod networks;
mod power;
mod rules;
mod servers;
mod storages;

use crate::call::{Call, Reply, account_of};
use crate::world::World;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// An answer, or a refusal in the vendor's shape; both are sent alike.
pub type Answer = Result<Reply, Reply>;

/// One request in one account.
pub struct Cx<'a> {
    pub world: &'a mut World,
    pub call: &'a Call,
    /// `upcloud/<account>`.
    pub scope: String,
    pub username: String,
    pub body: Value,
}

/// Answers a request below `/1.3`.
pub fn answer(world: &mut World, call: &Call) -> Reply {
    let Some(username) = username(call, world) else {
        return error(401, "AUTHENTICATION_FAILED", "Authentication failed using the given username and password.");
    };
    let body = if call.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice::<Value>(&call.body) };
    let Ok(body) = body else {
        return error(400, "JSON_INVALID", "The JSON is not valid.");
    };
    let scope = format!("upcloud/{}", account_of(&username));
    route(Cx { world, call, scope, username, body }).unwrap_or_else(|refusal| refusal)
}

/// The account: the user name of Basic authentication, or what follows `ucat_` in a token, so that user `x` and token
/// `ucat_x` see the same resources.
fn username(call: &Call, world: &World) -> Option<String> {
    let header = call.header("authorization")?;
    if let Some(token) = header.strip_prefix("Bearer ") {
        return world.account(token.trim().strip_prefix("ucat_")?);
    }
    let basic = STANDARD.decode(header.strip_prefix("Basic ")?.trim()).ok()?;
    let text = String::from_utf8(basic).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty() && world.account(password).is_some()).then(|| user.to_owned())
}

/// What somebody put into a server: kind and id.
pub fn inside(id: &str, server: &Value) -> Vec<(&'static str, String)> {
    let rules = server["_rules"].as_array().is_some_and(|rules| !rules.is_empty());
    let interfaces = server["_interfaces"].as_array().into_iter().flatten();
    let added = interfaces
        .filter(|one| one["_added"] == true)
        .flat_map(|one| one["ip_addresses"]["ip_address"].as_array().into_iter().flatten())
        .filter_map(|one| Some(("ip_address", one["address"].as_str()?.to_owned())));
    rules.then(|| ("firewall_rules", id.to_owned())).into_iter().chain(added).collect()
}

fn route(mut cx: Cx<'_>) -> Answer {
    let segments = cx.call.segments();
    match segments.as_slice() {
        ["storage", rest @ ..] => storages::answer(&mut cx, rest),
        ["network", rest @ ..] => networks::answer(&mut cx, rest),
        ["server", rest @ ..] => servers::answer(&mut cx, rest),
        ["router", rest @ ..] => groups::routers(&mut cx, rest),
        ["server-group", rest @ ..] => groups::server_groups(&mut cx, rest),
        ["tag", rest @ ..] => groups::tags(&mut cx, rest),
        ["ip_address", rest @ ..] => addresses::answer(&mut cx, rest),
        rest => catalog::answer(&cx, rest),
    }
}

/// An error in the vendor's shape.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"error_code": code, "error_message": message}}))
}

/// A 400 about one attribute.
pub fn invalid(code: &str, message: impl AsRef<str>) -> Reply {
    error(400, code, message.as_ref())
}

/// The path exists, the method does not, or neither does.
pub fn no_such_method() -> Reply {
    error(404, "NOT_FOUND", "The requested resource does not exist.")
}

/// `yes` or `no`, as the vendor writes booleans.
pub fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// Reads `yes`, `no`, true, false, `1` and `0`.
pub fn is_yes(value: &Value) -> bool {
    matches!(value, Value::Bool(true)) || matches!(value.as_str(), Some("yes" | "on" | "1" | "true"))
}

/// Reads a number that may be written as a string.
pub fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The members of a list; a lone object stands for a list of one, as some of the vendor's clients send it.
pub fn members(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list.clone(),
        Value::Object(_) => vec![value.clone()],
        _ => Vec::new(),
    }
}

/// A random UUID whose first two digits tell the kind, as the vendor's do.
pub fn uuid(kind: &str) -> String {
    let random = crate::aws::uuid();
    format!("{kind}{}", &random[2..])
}

/// A moment as the vendor writes it.
pub fn time(ms: i64) -> String {
    crate::call::timestamp(ms).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Labels of a request, in either shape: `[{key, value}]` or `{"label": [...]}`. `None` when absent.
pub fn labels(value: &Value) -> Result<Option<Value>, Reply> {
    let list = match value {
        Value::Null => return Ok(None),
        Value::Array(list) => list,
        other => {
            other["label"].as_array().ok_or_else(|| invalid("LABELS_INVALID", "The attribute labels is not valid."))?
        }
    };
    let mut kept: Vec<Value> = Vec::new();
    for label in list {
        let (key, text) = (label["key"].as_str().unwrap_or_default(), label["value"].as_str().unwrap_or_default());
        let ends = key.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let fits = (2..=32).contains(&key.len()) && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !ends || !fits || text.chars().count() > 255 {
            return Err(invalid("LABEL_INVALID", format!("The label {key} is not valid.")));
        }
        if kept.iter().any(|other| other["key"] == key) {
            return Err(invalid("DUPLICATE_LABEL_KEYS", format!("The label key {key} is given twice.")));
        }
        kept.push(json!({"key": key, "value": text}));
    }
    Ok(Some(Value::Array(kept)))
}

impl Cx<'_> {
    /// A resource of this account as it is now.
    pub fn find(&self, kind: &str, uuid: &str) -> Result<Value, Reply> {
        self.world.store.get(&self.scope, kind, uuid, self.call.now).ok_or_else(|| {
            error(404, &format!("{}_NOT_FOUND", kind.to_uppercase()), &format!("The {kind} {uuid} does not exist."))
        })
    }

    /// Keeps a resource.
    pub fn put(&mut self, kind: &str, value: &Value) {
        let uuid = value["uuid"].as_str().unwrap_or_default().to_owned();
        self.world.store.put(&self.scope, kind, &uuid, value.clone(), self.call.now);
    }

    /// Every resource of a kind as it is now.
    pub fn every(&self, kind: &str) -> impl Iterator<Item = Value> {
        let now = self.call.now;
        self.world.store.rows(&self.scope, kind, now).map(move |row| row.at(now))
    }

    /// What a list shows: without what is too new to be read, with the labels asked for, and the page asked for.
    pub fn listed(&self, kind: &str) -> Result<Vec<Value>, Reply> {
        let now = self.call.now;
        let stale = self.call.stale_ms;
        let rows = self.world.store.rows(&self.scope, kind, now);
        let found = rows.filter(|row| stale == 0 || row.created <= now - stale).map(|row| row.at(now)).collect();
        self.narrowed(found)
    }

    /// The label filters and the page asked for.
    pub fn narrowed(&self, found: Vec<Value>) -> Result<Vec<Value>, Reply> {
        let wanted: Vec<(&str, Option<&str>)> = self
            .call
            .all("label")
            .map(|label| label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value))))
            .collect();
        let has = |resource: &Value, key: &str, value: Option<&str>| {
            let labels = resource["labels"].as_array();
            labels.is_some_and(|list| {
                list.iter().any(|label| label["key"] == key && value.is_none_or(|value| label["value"] == value))
            })
        };
        let bound = |name: &str, default: usize, most: usize| match self.call.param(name) {
            None | Some("") => Ok(default),
            Some(text) => text.parse::<usize>().ok().filter(|n| *n <= most).ok_or_else(|| {
                invalid(
                    &format!("{}_INVALID", name.to_uppercase()),
                    format!("The query parameter {name} is not valid."),
                )
            }),
        };
        let (offset, limit) = (bound("offset", 0, usize::MAX)?, bound("limit", usize::MAX, 1000)?);
        Ok(found
            .into_iter()
            .filter(|resource| wanted.iter().all(|(key, value)| has(resource, key, *value)))
            .skip(offset)
            .take(limit)
            .collect())
    }
}
