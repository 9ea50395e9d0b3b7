//! Owns the promise as an outsider tries it: plugins killed at random instants behind a proxy that delivers requests late, in
//! another order and some twice, an apply that is interrupted while it settles, and then a plain apply.
//!
//! `ROUNDS=50` plays fifty rounds; without it a few are played.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::proxy::{Proxy, Unkind};
use provision_tests::{PUBLIC_KEY, World, plugin_of};
use serde_json::json;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RESOURCES: u64 = 20;
/// How late a request may arrive: later than anybody waits without a reason.
const LATEST: Duration = Duration::from_secs(9);

/// Twenty resources of the three clouds. Nothing but our mark tells most of them apart.
fn twenty() -> String {
    format!(
        "let p = import \"provision.ncl\" in\n\
         let keys = fun prefix count => std.array.generate (fun n => \"%{{prefix}}%{{std.to_string n}}\") count in\n\
         {{ name = \"late\", resources = {{\n\
           key = p.hetzner.ssh_key & {{ public_key = \"{PUBLIC_KEY}\" }},\n\
           net = p.each (keys \"n\" 5) (fun key => p.hetzner.network & {{ ip_range = \"10.0.0.0/16\" }}),\n\
           disk = p.each (keys \"d\" 6) (fun key => p.upcloud.storage & {{ zone = \"fi-hel1\", size = 10 }}),\n\
           vpc = p.aws.vpc & {{ cidr_block = \"10.9.0.0/16\" }},\n\
           subnet = p.aws.subnet & {{ vpc_id = p.ref \"vpc\" \"id\", cidr_block = \"10.9.1.0/24\" }},\n\
           volume = p.each (keys \"v\" 6) (fun key => p.aws.volume & {{ size = 1, availability_zone = \"eu-north-1a\" }}),\n\
         }} }} | p.Infrastructure\n"
    )
}

/// The sandbox's address as the clients are told it.
fn address_of(world: &World) -> SocketAddr {
    let url = world.environment()["HCLOUD_ENDPOINT"].clone();
    url.trim_start_matches("http://").split('/').next().unwrap().parse().unwrap()
}

/// Starts an apply; when it has begun to change things, waits and ends it with `signal`: `-9` for the plugin, `-INT` for all.
fn ended(world: &World, signal: &str, after: Duration) -> bool {
    let before = world.mutating().len();
    let mut command = world.command();
    command.args(["-c", "provision apply --yes | ignore"]);
    let mut nu = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let is_begun = || signal == "-INT" || world.mutating().len() > before;
    while !is_begun() && Instant::now() < end && nu.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(after);
    let whom = if signal == "-INT" { Some(nu.id()) } else { plugin_of(nu.id()) };
    let done = whom.is_some_and(|pid| {
        Command::new("kill").args([signal, &pid.to_string()]).status().is_ok_and(|status| status.success())
    });
    if signal == "-9" {
        let _ = nu.kill();
    }
    let _ = nu.wait_with_output();
    done
}

/// One round: killed, applied again and interrupted while that settles, then applied to the end.
fn round(number: u64) {
    let mut world = World::new().with_sandbox();
    world.write("infra.ncl", &twenty());
    let target = address_of(&world);
    let proxy = Proxy::start(target, Unkind { late: 0.5, latest: LATEST, repeated: 0.3, seed: number });
    let (direct, through) = (target.to_string(), proxy.address.to_string());
    for (name, value) in world.environment().clone() {
        if value.contains(&direct) {
            world.env(&name, Some(&value.replace(&direct, &through)));
        }
    }
    // A request may be under way for longer than the proxy holds it back.
    world.env("PROVISION_REQUEST_TIMEOUT", Some("12s"));
    let what = format!("round {number}");
    // The primes keep rounds from falling into step with the applies.
    let killed = ended(&world, "-9", Duration::from_millis(5 + number * 131 % 2399));
    ended(&world, "-INT", Duration::from_millis(150 + number * 277 % 4801));
    let end = Instant::now() + Duration::from_secs(600);
    loop {
        let said = world.nu("provision apply --yes | ignore");
        if said.status.success() {
            break;
        }
        assert!(said.stderr.contains("provision::"), "{what}: {said:?}");
        assert!(Instant::now() < end, "{what}: {}", said.stderr);
        std::thread::sleep(Duration::from_secs(1));
    }
    proxy.drain();
    assert_eq!(world.held(), RESOURCES, "{what}, killed {killed}, {} late", proxy.late());
    assert_eq!(world.json("provision state list | length"), json!(RESOURCES), "{what}");
    assert_eq!(world.json("provision plan | select address action reason"), json!([]), "{what}");
    assert_eq!(world.json("provision recover"), json!([]), "{what}");
    assert_eq!(world.json("provision audit verify | get valid"), json!(true), "{what}");
    println!("{what}: killed {killed}, {} requests late", proxy.late());
}

#[test]
fn killed_interrupted_and_late_a_plain_apply_finishes_the_job() {
    let rounds: u64 = std::env::var("ROUNDS").map_or(4, |rounds| rounds.parse().unwrap());
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        // A round mostly waits.
        for _ in 0..rounds.min(8) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= rounds {
                        return;
                    }
                    round(number);
                }
            });
        }
    });
}
