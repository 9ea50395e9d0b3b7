//! Owns the control API: faults of every kind, the log, reset, and the restart that loses nothing.

mod common;

use common::{sandbox, with};
use provision_sandbox::Options;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NONE: Value = Value::Null;

#[test]
fn a_reset_before_changes_nothing_and_one_after_commit_changes_all() {
    let sandbox = sandbox();
    let body = |name: &str| json!({"name": name, "ip_range": "10.0.0.0/16"});
    sandbox.faults(json!({"fail_next": [{"method": "POST", "path_contains": "/networks", "kind": "reset_before"}]}));
    assert!(sandbox.try_hetzner("POST", "/networks", body("a")).is_err());
    assert_eq!(sandbox.count("hetzner", "network"), 0);
    sandbox.faults(json!({"fail_next": [{"kind": "reset_after_commit"}]}));
    // A read is let through: the fault waits for a change.
    sandbox.hetzner("GET", "/networks", NONE).is(200);
    assert!(sandbox.try_hetzner("POST", "/networks", body("b")).is_err());
    assert_eq!(sandbox.hetzner("GET", "/networks?name=b", NONE).json()["networks"].as_array().unwrap().len(), 1);
    let log = sandbox.control("GET", "/requests", NONE).json()["requests"].as_array().unwrap().clone();
    let row = &log[2];
    assert_eq!((&row["fault"], &row["status"], &row["mutating"]), (&json!("reset_after_commit"), &NONE, &json!(true)));
    assert!(row["remote_id"].is_string());
    assert_eq!(sandbox.control("GET", "/faults", NONE).json()["fail_next"], json!([]));
}

#[test]
fn a_raw_socket_sees_the_end_and_no_status_line() {
    use std::io::{Read, Write};
    let sandbox = sandbox();
    sandbox.faults(json!({"reset_after_commit_rate": 1.0}));
    let host = sandbox.background.url.trim_start_matches("http://");
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let body = r#"{"name":"a","ip_range":"10.0.0.0/16"}"#;
    let head = format!(
        "POST /v1/networks HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer one\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert_eq!(String::from_utf8_lossy(&answer), "");
    assert_eq!(sandbox.count("hetzner", "network"), 1);
}

#[test]
fn refusals_have_the_shape_of_each_vendor_and_change_nothing() {
    let sandbox = sandbox();
    sandbox.faults(json!({"throttle_rate": 1.0}));
    let hetzner = sandbox
        .hetzner("POST", "/networks", json!({"name": "a", "ip_range": "10.0.0.0/16"}))
        .refused(429, "rate_limit_exceeded");
    assert_eq!(hetzner.header("retry-after"), Some("1"));
    let upcloud = sandbox.upcloud("GET", "/server", NONE).refused(429, "TOO_MANY_REQUESTS");
    assert_eq!(upcloud.header("retry-after"), Some("1"));
    sandbox.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).aws_refused(503, "RequestLimitExceeded");
    sandbox.faults(json!({"error_rate": 1.0}));
    sandbox.hetzner("GET", "/networks", NONE).refused(503, "service_error");
    sandbox.upcloud("GET", "/server", NONE).refused(503, "SERVICE_UNAVAILABLE");
    sandbox.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).aws_refused(500, "InternalError");
    assert_eq!(sandbox.control("GET", "/status", NONE).json()["resources"], json!([]));
}

#[test]
fn faults_can_be_aimed_at_an_action_and_counted() {
    let sandbox = sandbox();
    sandbox.faults(json!({"fail_next": [{"action": "CreateVpc", "kind": "error", "times": 2}]}));
    sandbox.aws("DescribeVpcs", &[]).is(200);
    for status in [500, 500, 200] {
        sandbox.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).is(status);
    }
    sandbox.control("PUT", "/faults", json!({"error_rate": 2.0})).is(400);
    sandbox.control("PUT", "/faults", json!({"eror_rate": 0.1})).is(400);
}

#[test]
fn the_same_seed_throws_the_same_dice() {
    let sandbox = sandbox();
    let throw = || -> Vec<u16> {
        sandbox.faults(json!({"error_rate": 0.5, "seed": 7}));
        (0..20).map(|_| sandbox.hetzner("GET", "/locations", NONE).status).collect()
    };
    let first = throw();
    assert!(first.contains(&200) && first.contains(&503));
    assert_eq!(first, throw());
}

#[test]
fn latency_is_added_and_new_things_stay_unseen_for_a_while() {
    let sandbox = sandbox();
    sandbox.faults(json!({"stale_reads_ms": 60_000}));
    sandbox.hetzner("POST", "/networks", json!({"name": "a", "ip_range": "10.0.0.0/16"})).is(201);
    assert_eq!(sandbox.hetzner("GET", "/networks", NONE).json()["networks"], json!([]));
    let vpc = sandbox.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).is(200).tag("vpcId");
    sandbox.aws("DescribeVpcs", &[("VpcId.1", &vpc)]).aws_refused(400, "InvalidVpcID.NotFound");
    sandbox.faults(json!({"latency_ms": 60}));
    let start = Instant::now();
    sandbox.aws("DescribeVpcs", &[("VpcId.1", &vpc)]).is(200);
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn the_log_tells_changes_from_reads_and_no_secret() {
    let sandbox = sandbox();
    sandbox.hetzner("GET", "/servers?name=x", NONE);
    sandbox.upcloud("DELETE", "/storage/none", NONE);
    sandbox.aws("DescribeVpcs", &[]);
    sandbox.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16"), ("DryRun", "true")]);
    let vpc = sandbox.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).tag("vpcId");
    let text = sandbox.control("GET", "/requests", NONE).text;
    assert!(!text.contains("Bearer") && !text.contains("Signature"));
    let log: Value = serde_json::from_str(&text).unwrap();
    let rows = log["requests"].as_array().unwrap();
    let mutating: Vec<bool> = rows.iter().map(|row| row["mutating"].as_bool().unwrap()).collect();
    assert_eq!(mutating, [false, true, false, false, true]);
    assert_eq!(rows[0]["path"], "/v1/servers?name=x");
    assert_eq!((&rows[4]["action"], &rows[4]["remote_id"]), (&json!("CreateVpc"), &json!(vpc)));
    let time = rows[0]["time"].as_str().unwrap();
    assert_eq!((time.len(), chrono::DateTime::parse_from_rfc3339(time).is_ok()), (27, true));
    sandbox.control("POST", "/reset", NONE).is(200);
    assert_eq!(sandbox.control("GET", "/requests", NONE).json()["requests"], json!([]));
    assert_eq!(sandbox.count("aws", "vpc"), 0);
}

#[test]
fn a_restart_loses_nothing_and_ids_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options {
        data: Some(folder.path().to_owned()),
        action_duration: Duration::from_millis(20),
        ..Options::default()
    };
    let first = with(options());
    let id = first.server("web", json!({}));
    let vpc = first.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).is(200).tag("vpcId");
    drop(first);
    let second = with(options());
    second.settled(id, "running");
    assert_eq!(second.aws("DescribeVpcs", &[]).is(200).tag("vpcId"), vpc);
    second
        .hetzner("POST", "/servers", json!({"name": "web", "server_type": "cx23", "image": "debian-12"}))
        .refused(409, "uniqueness_error");
    assert!(second.server("web-2", json!({})) > id);
    second.control("POST", "/reset", NONE).is(200);
    drop(second);
    assert_eq!(with(options()).count("hetzner", "server"), 0);
}

#[test]
fn somebody_else_changes_a_resource_and_takes_it_away() {
    let sandbox = sandbox();
    let made =
        sandbox.hetzner("POST", "/networks", json!({"name": "a", "ip_range": "10.0.0.0/16", "labels": {"x": "1"}}));
    let id = made.json()["network"]["id"].to_string();
    let mutate = |body: Value| sandbox.control("POST", "/mutate", body);
    let changed = mutate(json!({"id": id, "set": {"name": "b", "labels": {"y": "2"}, "new_word": [1]}}));
    assert_eq!((&changed.json()["cloud"], &changed.json()["kind"]), (&json!("hetzner"), &json!("network")));
    let shown = sandbox.hetzner("GET", &format!("/networks/{id}"), NONE).json()["network"].clone();
    assert_eq!(shown["labels"], json!({"x": "1", "y": "2"}));
    assert_eq!((&shown["name"], &shown["new_word"]), (&json!("b"), &json!([1])));
    for wrong in [json!({"id": "1"}), json!({"id": id, "set": {"id": 5}}), json!({"id": id, "kind": "server"})] {
        mutate(wrong).is(400);
    }
    let server = json!({"name": "s", "server_type": "cx23", "image": "debian-12"});
    let server = sandbox.hetzner("POST", "/servers", server).json()["server"]["id"].to_string();
    mutate(json!({"id": server, "set": {"server_type": "cx33"}})).is(200);
    let shown = sandbox.hetzner("GET", &format!("/servers/{server}"), NONE).json();
    assert_eq!(shown["server"]["server_type"]["name"], "cx33");
    assert_eq!(mutate(json!({"id": id, "remove": true})).json()["removed"], true);
    sandbox.hetzner("GET", &format!("/networks/{id}"), NONE).refused(404, "not_found");
}
