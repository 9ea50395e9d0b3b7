//! Owns a canary in every source of secrets, echoed by a cloud in every encoding: it is in nothing that is shown or kept.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use provision_tests::World;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What every secret of these tests has in it.
const CANARY: &str = "canary-8";

/// A cloud that repeats what it was sent: in its refusals, or in the fields of what it makes.
struct Echo {
    makes: AtomicBool,
    asked: AtomicUsize,
    made: Mutex<Vec<Value>>,
}

impl Echo {
    /// Serves as long as the test runs; gives the endpoint.
    fn start() -> (Arc<Echo>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let echo = Arc::new(Echo { makes: false.into(), asked: 0.into(), made: Mutex::default() });
        let server = echo.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        (echo, url)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = self.answer(&head, &String::from_utf8(body).unwrap());
        let text = answer.to_string();
        let _ = write!(
            stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nRetry-After: 0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
    }

    fn answer(&self, head: &str, body: &str) -> (u16, Value) {
        let first: Vec<&str> = head.lines().next().unwrap_or_default().split([' ', '?']).collect();
        let path: Vec<&str> = first[1].trim_start_matches("/v1/").split('/').collect();
        let made = self.made.lock().unwrap().clone();
        if first[0] == "GET" {
            return match path.get(1) {
                Some(id) => match made.iter().find(|it| it["id"].as_u64().is_some_and(|own| id.parse() == Ok(own))) {
                    Some(server) => (200, json!({"server": server})),
                    None => (404, json!({"error": {"code": "not_found", "message": "no such server"}})),
                },
                None => {
                    let page = json!({"pagination": {"page": 1, "next_page": null, "total_entries": made.len()}});
                    let listed = if path[0] == "servers" { made } else { Vec::new() };
                    (200, json!({path[0]: listed, "meta": page}))
                }
            };
        }
        let echo = format!("{} {}", encodings(body).join(" | "), encodings(head).join(" | "));
        if !self.makes.load(Ordering::SeqCst) {
            // At first it has too much to do, which is told too.
            return match self.asked.fetch_add(1, Ordering::SeqCst) % 2 {
                0 => (429, json!({"error": {"code": "rate_limit_exceeded", "message": echo}})),
                _ => (422, json!({"error": {"code": format!("invalid {body}"), "message": echo}})),
            };
        }
        let sent: Value = serde_json::from_str(body).unwrap();
        let mut made = self.made.lock().unwrap();
        let server = json!({"id": made.len() + 1, "name": sent["name"], "status": "running", "labels": sent["labels"],
            "server_type": {"name": sent["server_type"]}, "image": {"name": sent["image"]},
            "location": {"name": echo}, "datacenter": {"name": echo},
            "public_net": {"ipv4": {"ip": sent["user_data"]}, "ipv6": {"ip": echo}}});
        made.push(server.clone());
        (201, json!({"server": server, "action": {"id": 1, "status": "success"}, "root_password": null}))
    }
}

/// A text in the ways in which clouds and what is before them repeat it.
fn encodings(text: &str) -> Vec<String> {
    let percent = |kept: &str, space: &str| -> String {
        let one = |byte: u8| match byte {
            b' ' => space.to_owned(),
            byte if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(one).collect()
    };
    let hex = |upper: bool| -> String {
        text.bytes().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
    };
    let json = serde_json::to_string(text).unwrap();
    let wrapped: Vec<String> = STANDARD
        .encode(format!("ab{text}"))
        .as_bytes()
        .chunks(64)
        .map(|it| String::from_utf8_lossy(it).into())
        .collect();
    vec![
        text.to_owned(),
        serde_json::to_string(&json).unwrap(),
        json,
        percent("-._~", "%20"),
        percent("-._~!'()*", "+"),
        hex(false),
        hex(true),
        STANDARD.encode(text),
        STANDARD_NO_PAD.encode(format!("a{text}")),
        URL_SAFE.encode(format!("ab{text}")),
        wrapped.join("\n"),
        text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#39;"),
    ]
}

/// What the canary is in those encodings, in part.
fn traces() -> Vec<String> {
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = (0..3).map(|offset| {
        let encoded = STANDARD_NO_PAD.encode(format!("{}{CANARY}", "x".repeat(offset)));
        encoded[(offset * 8).div_ceil(6)..(offset + CANARY.len()) * 8 / 6].to_owned()
    });
    [CANARY.to_owned(), hex.to_uppercase(), hex].into_iter().chain(base64).collect()
}

/// None of these bytes shows a canary.
#[track_caller]
fn silent(what: &str, bytes: &[u8]) {
    let squeezed: Vec<u8> = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect();
    for trace in traces() {
        let found = squeezed.windows(trace.len()).position(|window| window == trace.as_bytes());
        if let Some(at) = found {
            let near = String::from_utf8_lossy(&squeezed[at.saturating_sub(200)..squeezed.len().min(at + 100)]);
            unreachable!("`{trace}` in {what}: …{near}…");
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        found.push(path.clone());
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

/// No file under a folder shows a canary, and nobody else may read any.
#[track_caller]
fn kept_silent(folder: &Path) {
    for file in files(folder) {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{mode:o} {}", file.display());
        if file.is_file() {
            silent(&file.display().to_string(), &std::fs::read(&file).unwrap());
        }
    }
}

/// Runs a script, whatever it ends with: none of what it says shows a canary.
#[track_caller]
fn says(world: &World, script: &str) -> String {
    let said = world.nu(script);
    let text = format!("{}{}", said.stdout, said.stderr);
    silent(script, text.as_bytes());
    text
}

const VAULT: &str = "export def secret [request: record]: nothing -> any { 'canary-8007<&>\"' }\n";

fn world() -> (World, Arc<Echo>) {
    let mut world = World::new();
    let (echo, url) = Echo::start();
    world.env("HCLOUD_ENDPOINT", Some(&url)).env("HCLOUD_TOKEN", Some("canary-8000-token"));
    world.env("DB_PASSWORD", Some("canary-8006 with 'spaces'"));
    world.write("infra.ncl", "{ name = \"s\", resources = {} }");
    world.ok("provision secret init | ignore");
    world.ok("'canary-8001/+?' | provision secret encrypt db | ignore");
    world.ok("{ user: ada, db: { password: canary-8002 } } | provision secret encrypt app | ignore");
    let lines: Vec<String> =
        (0..6).map(|at| format!("{at}M{CANARY}AAoIBAQC7VJTUt9Us8cKjMzEfYyjiWA4R4{at}M2b")).collect();
    world.write("key.pem", &format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")));
    world.write("hidden/value", "canary-8004:ü\\n").write("vault/mod.nu", VAULT);
    let sources = [
        r#"p.secret { age = "db" }"#,
        r##"p.join ["#cloud-config\nurl: postgres://app:", p.secret { age = "app", field = "db.password" }, "@db/x\n"]"##,
        r#"p.secret { file = "key.pem" }"#,
        r#"p.secret { command = ["cat", "hidden/value"] }"#,
        r#"p.secret "canary-8005-written-out""#,
        r#"p.secret { env = "DB_PASSWORD" }"#,
        r#"p.secret { module = "vault" }"#,
        r#"p.join ["pin ", p.ref "box" "output"]"#,
    ];
    let server = |(at, source): (usize, &&str)| {
        format!(
            "s{at} = p.hetzner.server & {{ server_type = \"cpx22\", image = \"debian-12\", user_data = {source} }},"
        )
    };
    let servers: Vec<String> = sources.iter().enumerate().map(server).collect();
    world.declare(&format!("box = p.local.data & {{ input = p.secret \"canary-8008\" }},\n{}", servers.join("\n")));
    (world, echo)
}

/// Everything that can be asked about the state and what happened to it.
const ASKED: &str = "for it in [
    { provision plan --all } { provision refresh } { provision drift } { provision recover } { provision audit } { provision history }
    { provision state list } { provision state list | each {|row| provision state show $row.address } } { provision state export }
    { provision output } { provision graph } { provision heal } { provision plan --out p.plan }
] { try { do $it | to json | print } catch {|error| print ($error | to json) } }";

#[track_caller]
fn all_silent(world: &World) {
    says(world, ASKED);
    says(world, "provision state backup | to json");
    kept_silent(&world.project().join(".provision"));
    let plan = world.project().join("p.plan");
    if plan.exists() {
        kept_silent(&plan);
    }
    for entry in std::fs::read_dir(world.project().parent().unwrap().join("tmp")).unwrap() {
        kept_silent(&entry.unwrap().path());
    }
}

#[test]
fn a_refusal_that_repeats_what_was_sent_tells_no_secret() {
    let (world, echo) = world();
    let told = says(&world, "provision apply --yes | each {|event| $event | to json | print } | ignore");
    assert!(told.contains("<sensitive>") && echo.asked.load(Ordering::SeqCst) >= 16, "{told}");
    let told = says(&world, "try { provision apply --yes | ignore } catch {|error| print ($error | to json)  }");
    assert!(told.contains("provision::apply::incomplete"), "{told}");
    all_silent(&world);
}

#[test]
fn fields_that_repeat_what_was_sent_are_secret_from_then_on() {
    let (world, echo) = world();
    echo.makes.store(true, Ordering::SeqCst);
    let told = says(&world, "provision apply --yes | each {|event| $event | to json | print } | ignore");
    assert_eq!(echo.made.lock().unwrap().len(), 8, "{told}");
    assert_eq!(world.json("provision state list | length"), json!(9));
    all_silent(&world);
}
