//! Owns what clouds keep inside other things: names of addresses, all firewall rules of a server, one more address. None of them
//! can carry a mark, and still nobody else's is taken for ours.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_sandbox::{FailNext, FaultKind};
use provision_tests::{Faults, World, control};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const HETZNER: &str = "web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", location = \"hel1\" }";
const UPCLOUD: &str = "web = p.upcloud.server & { zone = \"fi-hel1\", plan = \"1xCPU-2GB\" }";

fn declare(world: &World, resources: &str) {
    let text = format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resources} }} }}");
    world.write("infra.ncl", &text);
}

fn rdns(name: &str) -> String {
    format!(
        "{HETZNER}, name = p.hetzner.rdns & {{ type = \"server\", resource = p.ref \"web\" \"id\", ip = p.ref \"web\" \"public_net.ipv4.ip\", dns_ptr = \"{name}\" }}"
    )
}

/// One call to the sandbox past everything, which must do.
#[track_caller]
fn call(world: &World, method: &str, path: &str, body: &str) -> String {
    let answer = send(world, method, path, body);
    assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The same; what came back.
fn send(world: &World, method: &str, path: &str, body: &str) -> String {
    let url = world.environment()["AWS_ENDPOINT_URL"].clone();
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let token = &world.environment()["HCLOUD_TOKEN"];
    let auth = match path.starts_with("/v1") {
        true => format!("Bearer {token}"),
        false => format!("Bearer ucat_{token}"),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: {auth}\r\nconnection: close");
    write!(stream, "{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_name_is_given_changed_found_and_given_back() {
    let world = World::new().with_sandbox();
    declare(&world, HETZNER);
    world.ok("provision apply --yes | collect | ignore");
    let server = world.json("provision state show web | get remote_id").as_str().unwrap().to_owned();
    let ip =
        world.json("provision state show web | get attributes.\"public_net.ipv4.ip\"").as_str().unwrap().to_owned();
    let named = || -> serde_json::Value {
        let body = call(&world, "GET", &format!("/v1/servers/{server}"), "");
        let found: serde_json::Value = serde_json::from_str(&body).unwrap();
        found["server"]["public_net"]["ipv4"]["dns_ptr"].clone()
    };
    let usual = named();
    // The name that the address came with is none of anybody's.
    declare(&world, &rdns("www.example.com"));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(named(), "www.example.com");
    assert_eq!(world.json("provision plan --deep"), json!([]));
    declare(&world, &rdns("mail.example.com"));
    assert_eq!(world.json("provision plan | get action"), json!(["update"]));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(named(), "mail.example.com");

    let change = |name: &str| {
        let body = format!("{{\"ip\": \"{ip}\", \"dns_ptr\": {name}}}");
        call(&world, "POST", &format!("/v1/servers/{server}/actions/change_dns_ptr"), &body);
        std::thread::sleep(Duration::from_millis(50));
    };
    change("\"theirs.example.com\"");
    let drift = world.json("provision drift | select address path actual");
    assert_eq!(drift, json!([{"address": "name", "path": "dns_ptr", "actual": "theirs.example.com"}]));
    change("null");
    assert_eq!(world.json("provision plan | select address action"), json!([{"address": "name", "action": "create"}]));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(named(), "mail.example.com");

    declare(&world, HETZNER);
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(named(), usual);

    // What somebody else called it stays, until it is taken in.
    change("\"theirs.example.com\"");
    declare(&world, &rdns("www.example.com"));
    let caught = world.fails("provision apply --yes");
    let id = format!("server,{server},{ip}");
    assert!(caught.all().iter().any(|it| it.code.as_deref() == Some("provision::plan::someone_elses")), "{caught:?}");
    assert_eq!(named(), "theirs.example.com");
    let taken = world.json(&format!("provision import name '{id}' --type hetzner.rdns"));
    let nickel = taken[0]["nickel"].as_str().unwrap();
    assert!(nickel.contains("dns_ptr = \"theirs.example.com\""), "{nickel}");
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(named(), "www.example.com");
}

#[test]
fn one_call_sets_all_rules_of_a_server_and_their_order_counts() {
    let world = World::new().with_sandbox();
    let rules = |ports: &[u16]| {
        let all: Vec<String> = ports
            .iter()
            .map(|port| format!("{{ direction = \"in\", action = \"accept\", family = \"IPv4\", protocol = \"tcp\", destination_port_start = {port}, destination_port_end = {port} }}"))
            .collect();
        format!(
            "{UPCLOUD}, rules = p.upcloud.firewall_rules & {{ server = p.ref \"web\" \"id\", rules = [{}, {{ direction = \"in\", action = \"drop\" }}] }}",
            all.join(", ")
        )
    };
    declare(&world, &rules(&[22, 443]));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(world.json("provision plan --deep"), json!([]));
    declare(&world, &rules(&[443, 22]));
    assert_eq!(world.json("provision plan | select address action"), json!([{"address": "rules", "action": "update"}]));
    let before = world.mutating().len();
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(world.mutating().len(), before + 1);
    let server = world.json("provision state show web | get remote_id").as_str().unwrap().to_owned();
    call(&world, "DELETE", &format!("/1.3/server/{server}/firewall_rule/3"), "");
    assert_eq!(world.json("provision drift | get address | uniq"), json!(["rules"]));
    world.ok("provision heal | provision apply | collect | ignore");
    assert_eq!(world.json("provision plan --deep"), json!([]));
    // With none left there are no rules.
    call(
        &world,
        "PUT",
        &format!("/1.3/server/{server}/firewall_rule"),
        "{\"firewall_rules\": {\"firewall_rule\": []}}",
    );
    assert_eq!(world.json("provision plan | select address action"), json!([{"address": "rules", "action": "create"}]));
    world.ok("provision destroy --yes | collect | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn of_addresses_that_nothing_tells_apart_the_new_one_is_ours_and_two_are_nobodys() {
    let world = World::new().with_sandbox();
    let more = |names: &[&str]| {
        let all =
            names.iter().map(|name| format!(", {name} = p.upcloud.ip_address & {{ server = p.ref \"web\" \"id\" }}"));
        format!("{UPCLOUD}{}", all.collect::<String>())
    };
    declare(&world, &more(&[]));
    world.ok("provision apply --yes | collect | ignore");
    let server = world.json("provision state show web | get remote_id").as_str().unwrap().to_owned();
    let addresses = || call(&world, "GET", "/1.3/ip_address", "").matches("\"address\":").count();
    let had = addresses();
    // Somebody's own, which looks the same.
    let one = format!("{{\"ip_address\": {{\"server\": \"{server}\"}}}}");
    let own = call(&world, "POST", "/1.3/ip_address", &one);
    // The answers to both are lost, and each finds its own.
    let lost = |times| FailNext {
        method: Some("POST".into()),
        path_contains: Some("ip_address".into()),
        action: None,
        kind: FaultKind::ResetAfterCommit,
        times,
    };
    world.faults(Faults { fail_next: vec![lost(2)], ..Faults::default() });
    declare(&world, &more(&["a", "b"]));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(addresses(), had + 3);
    let ids = world.json("[a b] | each {|it| provision state show $it | get remote_id } | uniq | length");
    assert_eq!((ids, world.json("provision plan --deep")), (json!(2), json!([])));

    let own: serde_json::Value = serde_json::from_str(&own).unwrap();
    call(&world, "DELETE", &format!("/1.3/ip_address/{}", own["ip_address"]["address"].as_str().unwrap()), "");

    // Somebody else makes one at the same time: after ours looked what was there, before it looks what became of its own.
    let all = || -> BTreeSet<String> {
        let body: serde_json::Value = serde_json::from_str(&call(&world, "GET", "/1.3/ip_address", "")).unwrap();
        let all = body["ip_addresses"]["ip_address"].as_array().unwrap().clone();
        all.iter().filter_map(|it| it["address"].as_str()).map(str::to_owned).collect()
    };
    let there = all();
    declare(&world, &more(&["a", "b", "c"]));
    world.faults(Faults { latency_ms: 700, fail_next: vec![lost(2)], ..Faults::default() });
    let looks = || {
        let requests = control::requests(world.sandbox()).unwrap();
        requests.iter().filter(|it| it.method == "GET" && it.path.contains("ip_address")).count()
    };
    let before = looks();
    let mut command = world.command();
    command.args(["-c", "provision plan --refresh=false | provision apply | ignore"]);
    let apply = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    // The apply looks for what it has lost first, then for what is there before it makes one.
    while looks() < before + 2 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    send(&world, "POST", "/1.3/ip_address", &one);
    apply.wait_with_output().unwrap();
    world.faults(Faults::default());
    let new: Vec<String> = all().difference(&there).cloned().collect();
    assert_eq!(new.len(), 2, "{new:?}");
    let caught = world.fails("provision recover");
    caught.is("provision::apply::incomplete", "`c` cannot be settled: 2 resources", "recover");
    assert!(new.iter().all(|address| caught.msg.contains(address)), "{caught:?}");
    // Whoever knows takes the other one away.
    call(&world, "DELETE", &format!("/1.3/ip_address/{}", new[0]), "");
    let settled = world.json("provision recover | where address == c | select outcome remote_id");
    assert_eq!(settled, json!([{"outcome": "adopted", "remote_id": new[1]}]));
    assert_eq!(world.json("provision plan --deep"), json!([]));
}

#[test]
fn a_floating_address_moves_in_one_call_and_outlives_its_servers() {
    let world = World::new().with_sandbox();
    let two = format!("{UPCLOUD}, other = p.upcloud.server & {{ zone = \"fi-hel1\", plan = \"1xCPU-2GB\" }}");
    let with = |fields: &str| format!("{two}, ip = p.upcloud.floating_ip & {{ zone = \"fi-hel1\" {fields} }}");
    let on = |name: &str| with(&format!(", mac = p.ref \"{name}\" \"public_mac\""));
    declare(&world, &on("web"));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(world.json("provision plan --deep"), json!([]));
    let address = world.json("provision state show ip | get remote_id").as_str().unwrap().to_owned();
    let holder = || world.json("provision state show ip | get attributes.server?");
    let server = |name: &str| world.json(&format!("provision state show {name} | get remote_id"));
    assert_eq!(holder(), server("web"));
    // Both servers' own addresses are another type's, and not to be imported as this one.
    let own = "let own = provision state show web | get attributes.public_ip";
    let refused = world.fails(&format!("{own}; provision import x $own --type upcloud.floating_ip"));
    refused.is("provision::import::not_found", "upcloud.floating_ip", "");

    declare(&world, &on("other"));
    let steps = world.json("provision apply --yes | where address == ip | get action | uniq");
    assert_eq!((steps, holder()), (json!(["update"]), server("other")));
    let moved = world.mutating().iter().filter(|call| call.method == "PATCH").count();
    assert_eq!(moved, 1, "it was detached in between");

    declare(&world, &with(""));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!((holder(), world.json("provision plan --deep")), (json!(null), json!([])));

    declare(&world, &on("web"));
    world.ok("provision apply --yes | collect | ignore");
    declare(&world, "ip = p.upcloud.floating_ip & { zone = \"fi-hel1\" }");
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(world.json("provision state show ip | get remote_id"), json!(address));
    assert_eq!(world.json("provision plan --deep"), json!([]));
    world.ok("provision destroy --yes | collect | ignore");
    assert!(!call(&world, "GET", "/1.3/ip_address", "").contains(&address));
}
