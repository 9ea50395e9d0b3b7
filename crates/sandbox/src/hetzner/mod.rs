//! Owns the Hetzner Cloud API: authentication, routing, and the vendor's shapes for errors and pages.

mod actions;
mod balancers;
mod catalog;
mod dns;
mod firewalls;
mod images;
mod networks;
mod power;
mod selector;
mod servers;
mod ssh_keys;
mod things;

use crate::call::{Call, Reply, account_of};
use crate::world::World;
use serde_json::{Map, Value, json};

pub use dns::named;
pub use servers::password;

/// An answer, or a refusal in the vendor's shape; both are sent alike.
pub type Answer = Result<Reply, Reply>;

/// One request in one project.
pub struct Cx<'a> {
    pub world: &'a mut World,
    pub call: &'a Call,
    /// `hetzner/<project>`.
    pub scope: String,
    pub body: Map<String, Value>,
}

/// Answers a request below `/v1`.
pub fn answer(world: &mut World, call: &Call) -> Reply {
    let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let Some(account) = token.and_then(|token| world.account(token)) else {
        return error(401, "unauthorized", "unable to authenticate");
    };
    let account = account_of(&account);
    let standing = world.limits.take(&account, call.now);
    let mut reply = if standing.allowed {
        route(world, call, format!("hetzner/{account}")).unwrap_or_else(|refusal| refusal)
    } else {
        let message = format!("Limit of '{}' requests per hour for token reached", standing.limit);
        let mut reply = error(429, "rate_limit_exceeded", &message);
        reply.headers.push(("retry-after", "1".to_owned()));
        reply
    };
    reply.headers.push(("ratelimit-limit", standing.limit.to_string()));
    reply.headers.push(("ratelimit-remaining", standing.remaining.to_string()));
    reply.headers.push(("ratelimit-reset", standing.reset.to_string()));
    reply
}

/// The kinds whose actions have lists of their own.
macro_rules! acted {
    () => {
        "networks"
            | "firewalls"
            | "servers"
            | "volumes"
            | "load_balancers"
            | "floating_ips"
            | "primary_ips"
            | "certificates"
    };
}

fn route(world: &mut World, call: &Call, scope: String) -> Answer {
    let body = read_body(call)?;
    let mut cx = Cx { world, call, scope, body };
    let segments = call.segments();
    match segments.as_slice() {
        ["actions", rest @ ..] => actions::answer(&cx, None, None, rest),
        ["ssh_keys", rest @ ..] => ssh_keys::answer(&mut cx, rest),
        [kind @ (acted!()), "actions", rest @ ..] => actions::answer(&cx, Some(kind), None, rest),
        [kind @ (acted!()), id, "actions", rest @ ..] if call.method == "GET" => {
            let single = singular(kind);
            cx.find(single, id)?;
            actions::answer(&cx, Some(kind), Some(id), rest)
        }
        ["networks", rest @ ..] => networks::answer(&mut cx, rest),
        ["firewalls", rest @ ..] => firewalls::answer(&mut cx, rest),
        ["servers", rest @ ..] => servers::answer(&mut cx, rest),
        ["images", rest @ ..] => images::answer(&mut cx, rest),
        ["load_balancers", rest @ ..] => balancers::answer(&mut cx, rest),
        [kind @ ("volumes" | "floating_ips" | "primary_ips" | "placement_groups" | "certificates"), rest @ ..] => {
            things::answer(&mut cx, kind, rest)
        }
        [kind, rest @ ..] => catalog::answer(&cx, kind, rest),
        [] => Err(not_found("resource")),
    }
}

/// `servers` → `server`, as stored and as in action resources.
pub fn singular(kind: &str) -> &str {
    match kind {
        "servers" => "server",
        "networks" => "network",
        "firewalls" => "firewall",
        "ssh_keys" => "ssh_key",
        "images" => "image",
        "volumes" => "volume",
        "load_balancers" => "load_balancer",
        "floating_ips" => "floating_ip",
        "primary_ips" => "primary_ip",
        "placement_groups" => "placement_group",
        "certificates" => "certificate",
        other => other,
    }
}

fn read_body(call: &Call) -> Result<Map<String, Value>, Reply> {
    if call.body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(error(400, "json_error", "unable to decode json")),
    }
}

/// An error in the vendor's shape.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": code, "message": message, "details": {}}}))
}

/// A field that does not do.
pub fn invalid(field: &str, message: &str) -> Reply {
    let text = format!("invalid input in field '{field}'");
    let details = json!({"fields": [{"name": field, "messages": [message]}]});
    Reply::json(422, &json!({"error": {"code": "invalid_input", "message": text, "details": details}}))
}

/// A value that another resource has already.
pub fn taken(field: &str, message: &str) -> Reply {
    let details = json!({"fields": [{"name": field, "messages": [message]}]});
    Reply::json(409, &json!({"error": {"code": "uniqueness_error", "message": message, "details": details}}))
}

/// Nothing by that id.
pub fn not_found(kind: &str) -> Reply {
    error(404, "not_found", &format!("{} not found", kind.replace('_', " ")))
}

/// The path exists, the method does not.
pub fn no_such_method() -> Reply {
    error(404, "not_found", "method or path not found")
}

impl Cx<'_> {
    /// A resource of this project as it is now.
    pub fn find(&self, kind: &str, id: &str) -> Result<Value, Reply> {
        self.world.store.get(&self.scope, kind, id, self.call.now).ok_or_else(|| not_found(kind))
    }

    /// Keeps a resource.
    pub fn put(&mut self, kind: &str, value: Value) {
        let id = value["id"].to_string();
        self.world.store.put(&self.scope, kind, &id, value, self.call.now);
    }

    /// The next id: one sequence for all kinds, as numbers of the vendor's size.
    pub fn next_id(&mut self) -> u64 {
        4_000_000 + self.world.store.next("hetzner.id")
    }

    /// Now, as the vendor writes it.
    pub fn time(&self) -> String {
        time(self.call.now)
    }

    /// A string of the body; `None` when absent or null.
    pub fn text(&self, field: &str) -> Result<Option<String>, Reply> {
        match self.body.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(field, "must be a string")),
        }
    }

    /// A string that must be there.
    pub fn required(&self, field: &str) -> Result<String, Reply> {
        match self.text(field)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(invalid(field, "Missing data for required field.")),
        }
    }

    /// A list of the body, empty when absent.
    pub fn list(&self, field: &str) -> Result<Vec<Value>, Reply> {
        match self.body.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items.clone()),
            Some(_) => Err(invalid(field, "must be a list")),
        }
    }

    /// The labels of the body, checked; `None` when absent.
    pub fn labels(&self) -> Result<Option<Value>, Reply> {
        match self.body.get("labels") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(labels)) => {
                for (key, value) in labels {
                    if !selector::is_key(key) || !value.as_str().is_some_and(selector::is_value) {
                        return Err(invalid("labels", &format!("invalid label `{key}`")));
                    }
                }
                Ok(Some(Value::Object(labels.clone())))
            }
            Some(_) => Err(invalid("labels", "must be an object")),
        }
    }

    /// Refuses a name that another resource of the kind has.
    pub fn name_free(&self, kind: &str, name: &str, own: Option<&str>) -> Result<(), Reply> {
        match self.world.store.named(&self.scope, kind, name, self.call.now) {
            Some(row) if Some(row.id.as_str()) != own => {
                Err(taken("name", &format!("{} name is already used", kind.replace('_', " "))))
            }
            _ => Ok(()),
        }
    }

    /// Changes name and labels, the `PUT` that every kind has.
    pub fn rename(&mut self, kind: &str, id: &str) -> Result<Value, Reply> {
        let mut value = self.find(kind, id)?;
        if let Some(name) = self.text("name")? {
            if name.is_empty() || (kind == "server" && !servers::is_hostname(&name)) {
                return Err(invalid("name", "invalid name"));
            }
            self.name_free(kind, &name, Some(id))?;
            value["name"] = json!(name);
        }
        if let Some(labels) = self.labels()? {
            value["labels"] = labels;
        }
        self.put(kind, value.clone());
        Ok(value)
    }

    /// Sets deletion (and rebuild) protection, and returns the action.
    pub fn protect(&mut self, kind: &str, id: &str) -> Answer {
        let mut value = self.find(kind, id)?;
        for field in ["delete", "rebuild"] {
            if let Some(Value::Bool(on)) = self.body.get(field) {
                value["protection"][field] = json!(on);
            }
        }
        self.put(kind, value);
        let action = actions::start(self, "change_protection", kind, id, &[]);
        Ok(Reply::json(201, &json!({ "action": action })).about(id))
    }

    /// Lists a kind: name and label filters, sorting and pages.
    pub fn page(
        &self,
        key: &str,
        kind: &str,
        render: impl Fn(&Value) -> Value,
        keep: impl Fn(&Value) -> bool,
    ) -> Answer {
        let wanted = self.call.param("name");
        let selector = match self.call.param("label_selector") {
            Some(text) if !text.is_empty() => {
                Some(selector::parse(text).ok_or_else(|| invalid("label_selector", "invalid label selector"))?)
            }
            _ => None,
        };
        let now = self.call.now;
        let rows = self.world.store.rows(&self.scope, kind, now);
        let fresh = now - self.call.stale_ms;
        let found: Vec<Value> = rows
            .filter(|row| self.call.stale_ms == 0 || row.created <= fresh)
            .filter(|row| wanted.is_none_or(|name| row.value["name"] == name))
            .filter(|row| selector.as_ref().is_none_or(|selector| selector.matches(&row.value["labels"])))
            .map(|row| row.at(now))
            .filter(keep)
            .collect();
        pages(self.call, key, found, render)
    }
}

/// Sorts, cuts out the page asked for, and adds the vendor's paging facts.
pub fn pages(call: &Call, key: &str, mut all: Vec<Value>, render: impl Fn(&Value) -> Value) -> Answer {
    let sorts: Vec<&str> = call.all("sort").collect();
    for sort in sorts.iter().rev() {
        let (field, order) = sort.split_once(':').unwrap_or((sort, "asc"));
        if !matches!(field, "id" | "name" | "created" | "command" | "status" | "started" | "finished" | "progress") {
            return Err(invalid("sort", "invalid sort field"));
        }
        all.sort_by(|a, b| {
            let ordering = match (a[field].as_u64(), b[field].as_u64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a[field].as_str().cmp(&b[field].as_str()),
            };
            if order == "desc" { ordering.reverse() } else { ordering }
        });
    }
    let number = |name: &str, default: usize| match call.param(name) {
        None | Some("") => Ok(default),
        Some(text) => match text.parse::<usize>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(invalid(name, "must be a positive number")),
        },
    };
    let page = number("page", 1)?;
    let per_page = number("per_page", 25)?;
    if per_page > 50 {
        return Err(invalid("per_page", "must be between 1 and 50"));
    }
    let total = all.len();
    let last = total.div_ceil(per_page).max(1);
    let shown: Vec<Value> = all.iter().skip((page - 1).saturating_mul(per_page)).take(per_page).map(render).collect();
    let pagination = json!({
        "page": page, "per_page": per_page,
        "previous_page": if page > 1 { json!(page - 1) } else { Value::Null },
        "next_page": if page < last { json!(page + 1) } else { Value::Null },
        "last_page": last, "total_entries": total,
    });
    let mut body = Map::new();
    body.insert(key.to_owned(), Value::Array(shown));
    body.insert("meta".to_owned(), json!({ "pagination": pagination }));
    let mut reply = Reply::json(200, &Value::Object(body));
    if page < last {
        let kept: Vec<&str> =
            call.raw_query.split('&').filter(|it| !it.is_empty() && !it.starts_with("page=")).collect();
        let to = |page: usize, rel: &str| {
            let query = [&kept[..], &[&format!("page={page}")]].concat().join("&");
            format!("<https://api.hetzner.cloud{}?{query}>; rel={rel}", call.raw_path)
        };
        let link = format!("{}, {}", to(page + 1, "next"), to(last, "last"));
        reply.headers.push(("link", link));
    }
    Ok(reply)
}

/// Whether the entry has the id that this text writes.
pub fn has_id(entry: &Value, text: &str) -> bool {
    entry["id"].as_u64().is_some_and(|id| text.parse() == Ok(id))
}

/// A moment as the vendor writes it.
pub fn time(ms: i64) -> String {
    crate::call::timestamp(ms).to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}

/// The resource without what is only ours.
pub fn public(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.iter().filter(|(key, _)| !key.starts_with('_')).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
        other => other.clone(),
    }
}
