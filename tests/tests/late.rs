//! Owns requests that are still on their way when their process is dead: behind a proxy that holds them back, an apply right
//! after a `kill -9` makes nothing a second time, stopped or not, and one cloud that cannot be asked hides nothing of another.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::proxy::{Proxy, Unkind};
use provision_tests::{World, plugin_of};
use serde_json::json;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Names of these are free to repeat: nothing but our mark tells them apart.
const DISKS: usize = 12;

/// A project of disks and a network, with its requests held back for up to nine seconds.
fn held_back() -> (World, Proxy) {
    let mut world = World::new().with_sandbox();
    let direct =
        world.environment()["HCLOUD_ENDPOINT"].trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let unkind = Unkind { late: 1.0, latest: Duration::from_secs(9), repeated: 0.0, seed: 1 };
    let proxy = Proxy::start(direct.parse().unwrap(), unkind);
    for (name, value) in world.environment().clone() {
        if value.contains(&direct) {
            world.env(&name, Some(&value.replace(&direct, &proxy.address.to_string())));
        }
    }
    // Longer than anything is held back.
    world.env("PROVISION_REQUEST_TIMEOUT", Some("12s"));
    world.declare(&format!(
        "net = p.hetzner.network & {{ ip_range = \"10.0.0.0/16\" }},\n\
         disk = p.each (std.array.generate (fun n => \"n%{{std.to_string n}}\") {DISKS}) \
         (fun key => p.upcloud.storage & {{ zone = \"fi-hel1\", size = 10 }}),"
    ));
    (world, proxy)
}

fn started(world: &World) -> Child {
    world.command().args(["-c", "provision apply --yes --parallel 20 | ignore"]).spawn().unwrap()
}

/// Begins an apply and kills it when all its requests are on their way.
fn killed(world: &World, proxy: &Proxy) {
    let mut nu = started(world);
    let end = Instant::now() + Duration::from_secs(60);
    while proxy.late() <= DISKS {
        assert!(Instant::now() < end && nu.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let plugin = plugin_of(nu.id()).unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &plugin]).status().unwrap().success());
    let _ = nu.kill();
    let _ = nu.wait();
}

#[track_caller]
fn exactly_what_is_declared(world: &World, proxy: &Proxy) {
    proxy.drain();
    assert_eq!(world.held(), DISKS as u64 + 1);
    assert_eq!(world.json("provision plan | select address action"), json!([]));
    assert_eq!(world.json("provision recover"), json!([]));
}

#[test]
fn what_a_killed_process_sent_is_waited_for_and_made_once() {
    let (world, proxy) = held_back();
    killed(&world, &proxy);
    let waited = world.json("provision apply --yes | where status == waiting | get message | uniq");
    assert!(waited.to_string().contains("may arrive for another"), "{waited}");
    exactly_what_is_declared(&world, &proxy);
}

#[test]
fn an_apply_that_is_stopped_while_it_waits_for_that_leaves_it_open() {
    let (world, proxy) = held_back();
    killed(&world, &proxy);
    // Ctrl-C while it is found out what became of them.
    let mut nu = started(&world);
    std::thread::sleep(Duration::from_millis(1500));
    Command::new("kill").args(["-INT", &nu.id().to_string()]).status().unwrap();
    nu.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while world.json("provision lock show") != json!([]) {
        assert!(Instant::now() < end);
    }
    world.ok("provision apply --yes | ignore");
    exactly_what_is_declared(&world, &proxy);
}

#[test]
fn one_cloud_that_cannot_be_asked_hides_nothing_of_what_another_one_says() {
    let (mut world, proxy) = held_back();
    killed(&world, &proxy);
    let token = world.environment()["HCLOUD_TOKEN"].clone();
    world.env("HCLOUD_TOKEN", None);
    let said = world.nu("provision recover | each {|row| print $\"($row.address) ($row.outcome)\" } | ignore");
    assert!(said.stdout.contains("adopted") && said.stdout.contains("net in_doubt"), "{said:?}");
    assert!(!said.status.success() && said.stderr.contains("HCLOUD_TOKEN"), "{said:?}");
    world.env("HCLOUD_TOKEN", Some(&token));
    world.ok("provision apply --yes | ignore");
    exactly_what_is_declared(&world, &proxy);
}

#[test]
fn what_could_not_be_looked_at_is_told_after_the_rows() {
    let mut world = World::new().with_sandbox();
    world.declare("net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" }, keys = p.local.data & { input = 1 },");
    world.settle();
    world.declare(
        "net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" }, disk = p.upcloud.storage & { zone = \"fi-hel1\", size = 10, tier = \"maxiops\" },",
    );
    assert_eq!(world.json("provision drift"), json!([]));
    let (user, password) = ("UPCLOUD_USERNAME", "UPCLOUD_PASSWORD");
    world.env(user, None).env(password, None);
    // Nobody knows whether something of ours is there.
    world.fails("provision drift").is("provision::provider::credential", "UPCLOUD_", "Set it");
    let said = world.nu("provision refresh | each {|row| print $\"($row.address) ($row.outcome)\" } | ignore");
    assert!(said.stdout.contains("net unchanged") && !said.status.success(), "{said:?}");
    // A cloud that does not answer hides nothing of the others.
    world.env("HCLOUD_ENDPOINT", Some("http://127.0.0.1:9/v1"));
    let said = world.nu("provision refresh | each {|row| print $\"($row.address) ($row.outcome)\" } | ignore");
    assert!(
        said.stdout.contains("keys unchanged") && said.stderr.contains("HCLOUD") | said.stderr.contains("hetzner"),
        "{said:?}"
    );
}
