//! Owns where credentials go and whom a project trusts, end to end: a host that only a file names gets nothing without consent.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{World, workspace};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

const INFRA: &str = "let p = import \"provision.ncl\" in\n{ name = \"t\",\n  providers.hetzner = p.hetzner.account & { ENDPOINT },\n\
    resources.net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" } } | p.Infrastructure\n";

/// A server that refuses everybody; what it heard, and its port.
fn listener() -> (Arc<Mutex<String>>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<String>> = Arc::default();
    let all = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap_or(0);
            all.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            let body = r#"{"error": {"code": "unauthorized", "message": "no"}}"#;
            let head = "HTTP/1.1 401 X\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length";
            let _ = write!(stream, "{head}: {}\r\n\r\n{body}", body.len());
        }
    });
    (heard, port)
}

/// An apply reaches the cloud, and ends with this.
#[track_caller]
fn asks(world: &World, code: &str) {
    let ended = world.fails("provision apply --yes");
    assert!(ended.all().iter().any(|it| it.code.as_deref() == Some(code)), "{ended:?}");
}

#[test]
fn a_host_that_only_the_file_names_gets_no_token_without_consent() {
    let mut world = World::new();
    let (heard, port) = listener();
    // It leads to this machine, and is not one of its loopback addresses.
    let host = format!("http://0.0.0.0:{port}");
    world.env("HCLOUD_TOKEN", Some("canary-token-9001"));
    for endpoint in [format!("endpoint = \"{host}/v1\""), "endpoint = p.env \"BRANCH\"".to_owned()] {
        world.env("BRANCH", Some(&format!("{host}/v1")));
        world.write("infra.ncl", &INFRA.replace("ENDPOINT", &endpoint));
        let refused = world.fails("provision plan");
        let said = format!("`hetzner` are not sent to {host}");
        refused.is(
            "provision::provider::untrusted",
            &said,
            &format!("provision trust add host {host} --provider hetzner"),
        );
    }
    // Not encrypted, and for all to hear, even where the user's environment says so.
    world.env("HCLOUD_ENDPOINT", Some(&format!("{host}/v1")));
    world.write("infra.ncl", &INFRA.replace("ENDPOINT", ""));
    world.fails("provision plan").is("provision::provider::untrusted", "not encrypted", "provision trust add host");
    assert_eq!(*heard.lock().unwrap(), "");

    let trusted = world.json(&format!("provision trust add host {host}/v1 --provider hetzner"));
    assert_eq!(trusted, json!([{"kind": "host", "provider": "hetzner", "what": host}]));
    assert_eq!(world.json("provision trust list"), trusted);
    let lock = world.json("open --raw provision.lock | from json | get trust");
    assert_eq!(lock, json!({"hosts": {"hetzner": [host]}}));
    asks(&world, "provision::provider::unauthorized");
    assert!(heard.lock().unwrap().contains("Bearer canary-token-9001"));
    let audited = world.json("provision audit | where event =~ trust | select event detail.host");
    assert_eq!(audited, json!([{"event": "trust.add", "detail.host": host}]));

    // Consent is for one provider, one host, and until it is taken back.
    heard.lock().unwrap().clear();
    world.ok(&format!("provision trust remove host {host} --provider hetzner"));
    world.fails("provision plan").is("provision::provider::untrusted", "not encrypted", "");
    let gone = world.fails(&format!("provision trust remove host {host} --provider hetzner"));
    gone.is("provision::trust::unknown", "no such consent", "provision trust list");
    assert_eq!(*heard.lock().unwrap(), "");
    // Loopback is this machine: a local test names it in the file.
    world.env("HCLOUD_ENDPOINT", None);
    let local = format!("endpoint = \"http://127.0.0.1:{port}/v1\"");
    world.write("infra.ncl", &INFRA.replace("ENDPOINT", &local));
    asks(&world, "provision::provider::unauthorized");
}

#[test]
fn a_region_cannot_name_another_host() {
    let mut world = World::new();
    let (heard, port) = listener();
    world.env("AWS_ENDPOINT_URL", Some("http://127.0.0.1:9{region}"));
    world.env("AWS_ACCESS_KEY_ID", Some("x")).env("AWS_SECRET_ACCESS_KEY", Some("canary-9002"));
    world.env("AWS_REGION", Some(&format!("@127.0.0.1:{port}/")));
    world.declare("net = p.aws.vpc & { cidr_block = \"10.0.0.0/16\" }");
    let refused = world.fails("provision apply --yes");
    assert!(refused.all().iter().any(|it| it.msg.contains("is not a valid region")), "{refused:?}");
    assert_eq!(*heard.lock().unwrap(), "");
}

#[test]
fn the_sandboxes_credentials_stay_on_this_machine() {
    let mut world = World::new();
    let (heard, port) = listener();
    world.env("HCLOUD_TOKEN", Some("sandbox-0123"));
    world.env("HCLOUD_ENDPOINT", Some(&format!("https://0.0.0.0:{port}/v1")));
    world.write("infra.ncl", &INFRA.replace("ENDPOINT", ""));
    let refused = world.fails("provision plan");
    refused.is("provision::provider::untrusted", "the sandbox's credentials are not sent", "point the endpoint at");
    assert_eq!(*heard.lock().unwrap(), "");
}

#[test]
fn an_extension_takes_a_built_in_providers_place_only_as_it_was_read() {
    let mut world = World::new();
    world.env("HCLOUD_TOKEN", Some("canary-token-9003"));
    let manifest = std::fs::read_to_string(workspace().join("extensions/providers/hetzner/manifest.ncl")).unwrap();
    let file = "extensions/providers/hetzner/manifest.ncl";
    world
        .write("infra.ncl", &INFRA.replace("ENDPOINT", ""))
        .write(file, &manifest.replace("api.hetzner.cloud", "127.0.0.1:9"));
    let would = "`hetzner` would replace the built-in provider";
    world.fails("provision plan").is("provision::provider::untrusted", would, "provision trust add provider hetzner");
    assert_eq!(world.json("provision trust add provider hetzner | get kind"), json!(["provider"]));
    // It is used now; its host is not there.
    asks(&world, "provision::provider::unavailable");
    world.write(file, &manifest);
    let changed = world.fails("provision plan");
    changed.is(
        "provision::provider::untrusted",
        "is not the one that is trusted",
        "provision trust add provider hetzner",
    );
    // Its host is the project's word, not the user's.
    world.ok("provision trust add provider hetzner");
    let refused = world.fails("provision plan");
    refused.is(
        "provision::provider::untrusted",
        "only the project's own extension names it",
        "https://api.hetzner.cloud",
    );
}
