//! Owns what others do in the clouds: what the vendors' command lines make is taken in and the next plan is empty; what
//! somebody changes or takes away behind our back is found.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{World, control};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Runs a client against the sandbox of a world; what it printed.
#[track_caller]
fn client(world: &World, program: &str, arguments: &[&str]) -> String {
    let url = control::status(world.sandbox()).unwrap().url.unwrap();
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", world.home())
        .env("LANG", "C.UTF-8")
        .env("NO_PROXY", "127.0.0.1")
        .env("HCLOUD_ENDPOINT", format!("{url}/v1"))
        .env("HCLOUD_TOKEN", "sandbox")
        .env("AWS_ACCESS_KEY_ID", "sandbox")
        .env("AWS_SECRET_ACCESS_KEY", "sandbox-secret")
        .env("AWS_DEFAULT_REGION", "eu-north-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_PAGER", "")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{out}\n{err}", output.status);
    out.trim().to_owned()
}

/// Whether a client is installed. Where everything must run (`CI=true`) its absence is a failure.
fn installed(program: &str) -> bool {
    let there = Path::new(program).exists();
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
    there
}

fn declare(world: &World, resources: &str) {
    world.write(
        "infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in\n{{\n  name = \"s\",\n  resources = {{\n{resources}\n  }},\n}}\n"
        ),
    );
}

/// Takes in what was made, and has nothing to do then.
#[track_caller]
fn taken_in(world: &World, all: &[(&str, &str, &str)]) {
    declare(world, "");
    let mut nickel = String::new();
    for (address, id, kind) in all {
        let rows = world.json(&format!("provision import {address} '{id}' --type {kind}"));
        nickel += rows[0]["nickel"].as_str().unwrap();
    }
    declare(world, &nickel);
    assert_eq!(world.json("provision plan --deep"), json!([]), "{nickel}");
}

#[test]
fn what_hcloud_makes_is_taken_in() {
    let program = "/usr/bin/hcloud";
    if !installed(program) {
        return;
    }
    let world = World::new().with_sandbox();
    let hcloud = |arguments: &[&str]| client(&world, program, arguments);
    hcloud(&["load-balancer", "create", "--name", "lb", "--type", "lb11", "--location", "hel1"]);
    let service = ["--protocol", "http", "--listen-port", "8080", "--destination-port", "80"];
    hcloud(&[&["load-balancer", "add-service", "lb"], &service[..]].concat());
    hcloud(&["load-balancer", "change-algorithm", "lb", "--algorithm-type", "least_connections"]);
    hcloud(&[
        "floating-ip",
        "create",
        "--type",
        "ipv4",
        "--home-location",
        "hel1",
        "--name",
        "ip",
        "--description",
        "x",
    ]);
    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&hcloud(arguments)).unwrap() };
    let balancer = json(&["load-balancer", "describe", "lb", "-o", "json"]);
    assert_eq!(balancer["services"][0]["health_check"]["http"]["path"], "/");
    assert_eq!(balancer["algorithm"]["type"], "least_connections");
    let address = json(&["floating-ip", "describe", "ip", "-o", "json"]);
    let (lb, ip) = (balancer["id"].to_string(), address["id"].to_string());
    taken_in(&world, &[("lb", &lb, "hetzner.load_balancer"), ("ip", &ip, "hetzner.floating_ip")]);
    // And the client sees what we do to it.
    let text = world.read("infra.ncl").replace("least_connections", "round_robin");
    world.write("infra.ncl", &text);
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(json(&["load-balancer", "describe", "lb", "-o", "json"])["algorithm"]["type"], "round_robin");
    hcloud(&["load-balancer", "delete", "lb"]);
    hcloud(&["floating-ip", "delete", "ip"]);
    assert_eq!(hcloud(&["load-balancer", "list", "-o", "noheader"]), "");
}

#[test]
fn what_the_aws_cli_makes_is_taken_in() {
    let program = "/usr/bin/aws";
    if !installed(program) {
        return;
    }
    let world = World::new().with_sandbox();
    let url = control::status(world.sandbox()).unwrap().url.unwrap();
    let ec2 = |arguments: &[&str]| {
        client(&world, program, &[&["--endpoint-url", url.as_str(), "--output", "text", "ec2"], arguments].concat())
    };
    let vpc = ec2(&["create-vpc", "--cidr-block", "10.0.0.0/16", "--query", "Vpc.VpcId"]);
    let gateway = ec2(&["create-internet-gateway", "--query", "InternetGateway.InternetGatewayId"]);
    ec2(&["attach-internet-gateway", "--internet-gateway-id", &gateway, "--vpc-id", &vpc]);
    let subnet = ec2(&["create-subnet", "--vpc-id", &vpc, "--cidr-block", "10.0.1.0/24", "--query", "Subnet.SubnetId"]);
    let table = ec2(&["create-route-table", "--vpc-id", &vpc, "--query", "RouteTable.RouteTableId"]);
    let to = ["--destination-cidr-block", "0.0.0.0/0", "--gateway-id", &gateway];
    ec2(&[&["create-route", "--route-table-id", &table], &to[..]].concat());
    let used = ["associate-route-table", "--route-table-id", &table, "--subnet-id", &subnet];
    let used = ec2(&[&used[..], &["--query", "AssociationId"]].concat());
    let key = provision_tests::PUBLIC_KEY;
    let key_file = world.home().join("key.pub");
    std::fs::write(&key_file, key).unwrap();
    let material = format!("fileb://{}", key_file.display());
    let pair = ec2(&["import-key-pair", "--key-name", "k", "--public-key-material", &material, "--query", "KeyPairId"]);
    let volume = ["create-volume", "--availability-zone", "eu-north-1a", "--size", "10", "--volume-type", "gp3"];
    let volume = ec2(&[&volume[..], &["--query", "VolumeId"]].concat());
    ec2(&["wait", "volume-available", "--volume-ids", &volume]);
    let route = format!("{table},0.0.0.0/0");
    taken_in(
        &world,
        &[
            ("vpc", &vpc, "aws.vpc"),
            ("gateway", &gateway, "aws.internet_gateway"),
            ("subnet", &subnet, "aws.subnet"),
            ("table", &table, "aws.route_table"),
            ("route", &route, "aws.route"),
            ("used", &used, "aws.route_table_association"),
            ("volume", &volume, "aws.volume"),
        ],
    );
    assert!(!pair.is_empty());
    ec2(&["delete-volume", "--volume-id", &volume]);
    let gone = world.json("provision drift | where address == volume");
    assert_eq!(gone.as_array().unwrap().len(), 1, "{gone}");
}

#[test]
fn what_somebody_changes_in_the_sandbox_is_found() {
    let world = World::new().with_sandbox();
    declare(&world, "    net = p.hetzner.network & { ip_range = \"10.0.0.0/16\", labels.team = \"shop\" },");
    world.ok("provision apply --yes | collect | ignore");
    let id = "(provision state show net | get attributes.id)";
    let changed =
        world.json(&format!("provision sandbox mutate {id} {{labels: {{team: ops}}}} | get resource.labels.team"));
    assert_eq!(changed, "ops");
    assert_eq!(world.json("provision plan | get address"), json!(["net"]));
    world.ok(&format!("provision sandbox mutate {id} --remove | ignore"));
    assert_eq!(world.json("provision plan | get action"), json!(["create"]));
    world.fails("provision sandbox mutate 17").is("provision::sandbox::failed", "the id `17`", "provision state list");
}
