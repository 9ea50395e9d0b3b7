//! Owns a small stand-in for DigitalOcean's API v2, written from its public reference, for the guide's fourth cloud: keys,
//! volumes, droplets, regions and sizes, with the vendor's pages, errors and states.

use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The longest name of a key.
const LONGEST_NAME: usize = 30;

/// What it holds.
#[derive(Default)]
struct World {
    next: u64,
    kinds: std::collections::BTreeMap<&'static str, Vec<Value>>,
    requests: Vec<String>,
    /// The method whose next request is neither done nor answered.
    loses: Option<&'static str>,
}

/// The page of Nickel of a provider that makes keys there.
pub const ACME: &str = r#"{
  name = "acme",
  version = "1.0.0",
  api = "1",
  protocol = "rest-json",
  endpoint = { default = "https://api.acme.example", env = [{ name = "ACME_URL" }] },
  auth = [{ kind = "bearer", token = { setting = "token", env = ["ACME_TOKEN"] } }],
  errors = { code = ["id"], message = ["message"], conflict = [], quota = [] },
  pagination = { kind = "link", size = "per_page", max = 2, next = "links.pages.next" },
  types.key = {
    doc = "A key.",
    identity = "keyed",
    unique = ["public_key"],
    fields = {
      name = { type = "string", doc = "Name.", required = true },
      public_key = { type = "string", doc = "The key.", required = true, on_change = "replace" },
    },
    attributes.id = { type = "int", doc = "Its id." },
    create = { method = "POST", path = "/v2/account/keys", result = "ssh_key" },
    list = { path = "/v2/account/keys", items = "ssh_keys" },
    update = [{ name = "rename", fields = ["name"], call = { method = "PUT", path = "/v2/account/keys/{id}" } }],
    delete = [{ name = "delete", call = { method = "DELETE", path = "/v2/account/keys/{id}" } }],
  },
}
"#;

/// A running stand-in; it ends with the process.
pub struct Ocean {
    pub url: String,
    world: Arc<Mutex<World>>,
}

/// Path below `/v2`, name of one, name of many.
const KINDS: [(&str, &str, &str); 3] =
    [("account/keys", "ssh_key", "ssh_keys"), ("volumes", "volume", "volumes"), ("droplets", "droplet", "droplets")];

impl Ocean {
    /// Starts one on a free port of loopback.
    pub fn start(token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = Arc::new(Mutex::new(World { next: 1000, ..World::default() }));
        let (shared, token) = (world.clone(), format!("Bearer {token}"));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, token) = (shared.clone(), token.clone());
                std::thread::spawn(move || serve(&stream, &shared, &token));
            }
        });
        Self { url, world }
    }

    /// How many resources it holds.
    pub fn held(&self) -> usize {
        self.world.lock().unwrap().kinds.values().map(Vec::len).sum()
    }

    /// The next request of a method never arrives, and its connection is closed.
    pub fn lose(&self, method: &'static str) {
        self.world.lock().unwrap().loses = Some(method);
    }

    /// The requests so far, `METHOD PATH`.
    pub fn requests(&self) -> Vec<String> {
        self.world.lock().unwrap().requests.clone()
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, world: &Mutex<World>, token: &str) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut length, mut authorized) = (0, false);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            let (name, value) = header.trim().split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => authorized = value.trim() == token,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let mut world = world.lock().unwrap();
        world.requests.push(format!("{method} {target}"));
        if world.loses.take_if(|lost| *lost == method).is_some() {
            return;
        }
        let (status, answer) = match authorized {
            true => answer(&mut world, method, target, &body),
            false => error(401, "unauthorized", "Unable to authenticate you"),
        };
        drop(world);
        let text = if status == 204 { String::new() } else { answer.to_string() };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nratelimit-remaining: 4999\r\n\r\n",
            text.len()
        );
        let mut stream = stream;
        if stream.write_all((head + &text).as_bytes()).is_err() {
            return;
        }
    }
}

fn error(status: u16, id: &str, message: &str) -> (u16, Value) {
    (status, json!({"id": id, "message": message, "request_id": "4d9d8375-3c56-4925-a3e7-eb137fed17e9"}))
}

fn answer(world: &mut World, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(path) = path.strip_prefix("/v2/") else { return error(404, "not_found", "no such route") };
    let query: Map<String, Value> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), json!(value.replace("%3A", ":"))))
        .collect();
    if let ("GET", "regions" | "sizes") = (method, path) {
        let all = match path {
            "regions" => {
                vec![json!({"slug": "fra1", "name": "Frankfurt 1"}), json!({"slug": "ams3", "name": "Amsterdam 3"})]
            }
            _ => vec![
                json!({"slug": "s-1vcpu-1gb", "vcpus": 1, "memory": 1024, "disk": 25, "price_monthly": 6.0}),
                json!({"slug": "s-2vcpu-2gb", "vcpus": 2, "memory": 2048, "disk": 60, "price_monthly": 18.0}),
            ],
        };
        return page(target, path, all, &query);
    }
    let Some((base, one, many)) =
        KINDS.into_iter().find(|(base, ..)| path == *base || path.starts_with(&format!("{base}/")))
    else {
        return error(404, "not_found", "The resource you were accessing could not be found.");
    };
    let rest: Vec<&str> = path[base.len()..].split('/').filter(|part| !part.is_empty()).collect();
    let single = |value: Value| json!({ one: value });
    let all = world.kinds.entry(many).or_default();
    let found = rest.first().and_then(|id| {
        all.iter().position(|item| {
            item["id"].as_str() == Some(id) || item["id"].as_u64().is_some_and(|it| id.parse() == Ok(it))
        })
    });
    match (method, rest.as_slice(), found) {
        ("GET", [], _) => {
            // A droplet is there when it is looked at the second time.
            let tag = query.get("tag_name").and_then(Value::as_str);
            let shown: Vec<Value> = all
                .iter()
                .filter(|item| {
                    tag.is_none_or(|tag| item["tags"].as_array().is_some_and(|tags| tags.iter().any(|it| it == tag)))
                })
                .cloned()
                .collect();
            all.iter_mut().filter(|item| item["status"] == "new").for_each(|item| item["status"] = json!("active"));
            page(target, many, shown, &query)
        }
        ("POST", [], _) => match create(world, one, many, body) {
            Ok(value) => (if one == "droplet" { 202 } else { 201 }, single(value)),
            Err(refused) => refused,
        },
        ("GET", [_], Some(at)) => {
            let value = all[at].clone();
            if value["status"] == "new" {
                all[at]["status"] = json!("active");
            }
            (200, single(value))
        }
        ("PUT", [_], Some(at)) if one == "ssh_key" => {
            // A name that is too long it keeps as it was, and says nothing.
            if body["name"].as_str().is_some_and(|name| name.len() <= LONGEST_NAME) {
                all[at]["name"] = body["name"].clone();
            }
            (200, single(all[at].clone()))
        }
        ("POST", [_, "actions"], Some(at)) => {
            match (one, body["type"].as_str()) {
                ("droplet", Some("rename")) => all[at]["name"] = body["name"].clone(),
                ("volume", Some("resize")) if body["size_gigabytes"].as_u64() >= all[at]["size_gigabytes"].as_u64() => {
                    all[at]["size_gigabytes"] = body["size_gigabytes"].clone();
                }
                _ => return error(422, "unprocessable_entity", "This action cannot be done."),
            }
            (201, json!({"action": {"id": 36_804_636, "status": "completed", "type": body["type"]}}))
        }
        ("DELETE", [_], Some(at)) => {
            all.remove(at);
            (204, Value::Null)
        }
        (_, [_, ..], None) => error(404, "not_found", "The resource you were accessing could not be found."),
        _ => error(405, "method_not_allowed", "The method is not allowed."),
    }
}

/// A page with the address of the next one.
fn page(target: &str, name: &str, all: Vec<Value>, query: &Map<String, Value>) -> (u16, Value) {
    let number =
        |name: &str, or: usize| query.get(name).and_then(Value::as_str).and_then(|it| it.parse().ok()).unwrap_or(or);
    let (at, size) = (number("page", 1), number("per_page", 20).min(200));
    let shown: Vec<&Value> = all.iter().skip((at - 1) * size).take(size).collect();
    let mut links = json!({});
    if at * size < all.len() {
        let path = target.split('?').next().unwrap_or_default();
        let kept = query.iter().filter(|(name, _)| *name != "page");
        let kept: Vec<String> =
            kept.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
        // The vendor's own host, wherever it was asked.
        links = json!({"pages": {"next": format!("https://api.digitalocean.com{path}?page={}&{}", at + 1, kept.join("&"))}});
    }
    (200, json!({name: shown, "links": links, "meta": {"total": all.len()}}))
}

fn create(world: &mut World, one: &str, many: &'static str, body: &Value) -> Result<Value, (u16, Value)> {
    let needed: &[&str] = match one {
        "ssh_key" => &["name", "public_key"],
        "volume" => &["name", "region", "size_gigabytes"],
        _ => &["name", "region", "size", "image"],
    };
    if let Some(missing) = needed.iter().find(|name| body[**name].is_null()) {
        return Err(error(422, "unprocessable_entity", &format!("{missing} is missing")));
    }
    let all = world.kinds.entry(many).or_default();
    if one == "ssh_key" && all.iter().any(|item| item["public_key"] == body["public_key"]) {
        return Err(error(422, "unprocessable_entity", "SSH Key is already in use on your account"));
    }
    world.next += 1;
    let id = world.next;
    let region = json!({"slug": body["region"], "name": body["region"]});
    let tags = body.get("tags").filter(|tags| !tags.is_null()).cloned().unwrap_or_else(|| json!([]));
    let value = match one {
        "ssh_key" => json!({"id": id, "name": body["name"], "public_key": body["public_key"],
            "fingerprint": format!("3b:16:e4:bf:8b:00:8b:b8:59:8c:a9:d3:f0:19:fa:{:02x}", id % 256)}),
        "volume" => {
            json!({"id": format!("506f78a4-e098-11e5-ad9f-{id:012}"), "name": body["name"], "region": region, "tags": tags,
            "size_gigabytes": body["size_gigabytes"], "description": body["description"].as_str().unwrap_or_default(), "droplet_ids": []})
        }
        _ => {
            json!({"id": id, "name": body["name"], "region": region, "size_slug": body["size"], "status": "new", "tags": tags,
            "image": {"id": 63_663_980, "slug": body["image"]}, "networks": {"v4": [
                {"ip_address": format!("10.128.0.{}", id % 250), "type": "private"},
                {"ip_address": format!("203.0.113.{}", id % 250), "type": "public"}]}})
        }
    };
    world.kinds.entry(many).or_default().push(value.clone());
    Ok(value)
}
