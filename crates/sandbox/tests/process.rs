//! Owns the proof that a sandbox is a process of its own: started, asked, killed, started again, stopped.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

use clap::Parser;
use provision_sandbox::cli::{SandboxArgs, run};
use provision_sandbox::control::{self, Home, StartOptions, Started};
use provision_sandbox::{Cloud, Faults};
use std::io::{Read, Write};

#[derive(Parser)]
enum Service {
    Sandbox(SandboxArgs),
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("sandbox") => {
            let Service::Sandbox(args) = Service::parse();
            run(args).unwrap();
        }
        Some("--list") => println!("life_of_a_process: test"),
        _ => {
            life_of_a_process();
            println!("test life_of_a_process ... ok");
        }
    }
}

fn life_of_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home(folder.path().join("sandbox"));
    let binary = std::env::current_exe().unwrap();
    // Whatever goes wrong below, the process does not outlive this one.
    let options = StartOptions { exit_with_parent: Some(std::process::id()), ..StartOptions::default() };

    assert!(!control::status(&home).unwrap().running);
    assert_eq!(control::requests(&home).unwrap_err().code().as_str(), "provision::sandbox::not_running");
    assert!(!control::stop(&home).unwrap());
    let absent = control::start(&home, &folder.path().join("none"), &options).unwrap_err();
    assert_eq!(absent.code().as_str(), "provision::sandbox::failed");
    assert!(absent.first.help.is_some());

    let started = control::start(&home, &binary, &options).expect("starts");
    assert_eq!(started.env["HCLOUD_ENDPOINT"], format!("{}/v1", started.url));
    assert_eq!(started.env["AWS_ENDPOINT_URL"], started.url);
    assert_eq!(control::start(&home, &binary, &options).unwrap(), started, "a second start finds the first");

    make_network(&started);
    let status = control::status(&home).unwrap();
    let counts: Vec<_> =
        status.resources.iter().map(|one| (one.cloud.as_str(), one.kind.as_str(), one.count)).collect();
    assert_eq!(counts, [("hetzner", "network", 1)]);
    let requests = control::requests(&home).unwrap();
    assert_eq!((requests.len(), requests[0].cloud, requests[0].mutating), (1, Cloud::Hetzner, true));

    is_private(&home, &started);
    let wanted = Faults { latency_ms: 5, ..Faults::default() };
    assert_eq!(control::faults(&home, Some(wanted.clone())).unwrap(), wanted);
    assert_eq!(control::faults(&home, None).unwrap(), wanted);
    let refused = control::faults(&home, Some(Faults { error_rate: 7.0, ..Faults::default() })).unwrap_err();
    assert!(refused.first.message.contains("error_rate"));

    let pid = rustix::process::Pid::from_raw(i32::try_from(started.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while control::status(&home).unwrap().running {
        assert!(std::time::Instant::now() < end, "still running after kill -9");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let again = control::start(&home, &binary, &options).expect("starts after kill -9");
    assert_ne!(again.pid, started.pid);
    assert_eq!(control::status(&home).unwrap().resources, status.resources, "what was answered is there");
    control::reset(&home).unwrap();
    assert!(control::status(&home).unwrap().resources.is_empty());
    assert!(control::stop(&home).unwrap());
    assert!(!control::status(&home).unwrap().running);
}

fn make_network(started: &Started) {
    let body = r#"{"name": "a", "ip_range": "10.0.0.0/16"}"#;
    let token = format!("authorization: Bearer {}", started.env["HCLOUD_TOKEN"]);
    assert_eq!(ask(started, "POST", "/v1/networks", &[&token], body), 201);
}

/// The status of an answer.
fn ask(started: &Started, method: &str, path: &str, headers: &[&str], body: &str) -> u16 {
    let host = started.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|header| header.starts_with("host:")) {
        head.push_str(&format!("host: {host}\r\n"));
    }
    headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
    write!(stream, "{head}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Neither another user of the machine nor a page in a browser gets anything out of it or into it.
fn is_private(home: &Home, started: &Started) {
    let status = |path: &str, headers: &[&str]| ask(started, "GET", path, headers, "");
    let control = format!("authorization: Bearer {}", started.env["PROVISION_SANDBOX_TOKEN"]);
    let cloud = format!("authorization: Bearer {}", started.env["HCLOUD_TOKEN"]);
    assert_eq!(status("/_sandbox/status", &[&control]), 200);
    assert_eq!(status("/_sandbox/status", &["host: localhost:1", &control]), 200);
    assert_eq!(status("/_sandbox/status", &[]), 401);
    assert_eq!(status("/_sandbox/status", &["authorization: Bearer sandbox"]), 401);
    assert_eq!(ask(started, "POST", "/_sandbox/reset", &[], ""), 401);
    assert_eq!(status("/_sandbox/status", &[&control, "origin: http://evil.example"]), 403);
    assert_eq!(status("/_sandbox/status", &[&control, "host: evil.example"]), 403);
    assert_eq!(status("/v1/servers", &[&cloud]), 200);
    assert_eq!(status("/v1/servers", &[&format!("{cloud}-eu")]), 200);
    assert_eq!(status("/v1/servers", &[&cloud, "origin: null"]), 403);
    assert_eq!(status("/v1/servers", &[&cloud, "host: rebound.example"]), 403);
    for wrong in ["Bearer sandbox", "Bearer one", "Bearer sandbox-"] {
        assert_eq!(status("/v1/servers", &[&format!("authorization: {wrong}")]), 401, "{wrong}");
    }
    assert_eq!(status("/1.3/server", &["authorization: Basic c2FuZGJveDpzYW5kYm94LXNlY3JldA=="]), 401);
    assert_eq!(status("/1.3/server", &[&cloud.replace("Bearer ", "Bearer ucat_")]), 200);
    for file in std::fs::read_dir(&home.0).unwrap().map(|entry| entry.unwrap()) {
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
        assert_eq!(mode & 0o077, 0, "{mode:o} {}", file.path().display());
    }
}
