//! Owns the promise about crashes: killed at any instant, a plain `provision apply` finishes the job, and the clouds hold
//! exactly what was asked for.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{Faults, PUBLIC_KEY, World, plugin_of};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

const RESOURCES: usize = 60;

/// Sixty resources of all three clouds, in layers.
fn sixty() -> String {
    let mut out = String::from("let p = import \"provision.ncl\" in\n{\n  name = \"big\",\n  resources = {\n");
    out += &format!("    key = p.hetzner.ssh_key & {{ public_key = \"{PUBLIC_KEY}\" }},\n");
    out += "    net = p.hetzner.network & { ip_range = \"10.0.0.0/16\", subnets = [{ type = \"cloud\", network_zone = \"eu-central\", ip_range = \"10.0.1.0/24\" }] },\n";
    out += "    vpc = p.aws.vpc & { cidr_block = \"10.9.0.0/16\" },\n";
    out += "    subnet = p.aws.subnet & { vpc_id = p.ref \"vpc\" \"id\", cidr_block = \"10.9.1.0/24\" },\n";
    out += "    sg = p.aws.security_group & { vpc_id = p.ref \"vpc\" \"id\", ingress = [{ ip_protocol = \"tcp\", from_port = 22, to_port = 22, cidr_ips = [\"10.0.0.0/8\"] }] },\n";
    out += "    web = p.each (std.array.generate (fun n => \"n%{std.to_string n}\") 20) (fun key => p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", ssh_keys = [p.ref \"key\" \"name\"], networks = [p.ref \"net\" \"id\"] }),\n";
    out += "    db = p.each (std.array.generate (fun n => \"n%{std.to_string n}\") 18) (fun key => p.upcloud.storage & { zone = \"fi-hel1\", size = 10, tier = \"maxiops\" }),\n";
    out += "    edge = p.each (std.array.generate (fun n => \"n%{std.to_string n}\") 17) (fun key => p.aws.instance & { instance_type = \"t3.micro\", ami = \"ami-0abcdef1234567890\", subnet_id = p.ref \"subnet\" \"id\", security_group_ids = [p.ref \"sg\" \"id\"] }),\n";
    out += "  },\n} | p.Infrastructure\n";
    out
}

fn bad_days(seed: u64) -> Faults {
    Faults {
        latency_ms: 5,
        error_rate: 0.05,
        throttle_rate: 0.0,
        reset_after_commit_rate: 0.1,
        reset_before_rate: 0.03,
        seed: Some(seed),
        ..Faults::default()
    }
}

/// Starts an apply and kills its plugin `after` it began to change things.
fn kill_in_mid_apply(world: &World, after: Duration) -> bool {
    let mut command = world.command();
    command.args(["-c", "provision apply --yes | ignore"]);
    let mut nu = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let before = world.mutating().len();
    while world.mutating().len() == before && Instant::now() < end && nu.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(after);
    let killed = plugin_of(nu.id()).is_some_and(|plugin| {
        Command::new("kill").args(["-9", &plugin.to_string()]).status().is_ok_and(|status| status.success())
    });
    let _ = nu.kill();
    let _ = nu.wait();
    killed
}

#[track_caller]
fn exactly_sixty(world: &World, context: &str) {
    assert_eq!(world.held(), RESOURCES as u64, "{context}: {:#?}", provision_tests::control::status(world.sandbox()));
    assert_eq!(world.json("provision state list | length"), json!(RESOURCES), "{context}");
    assert_eq!(world.json("provision plan | select address action reason"), json!([]), "{context}");
    let strays = world.json("provision recover | where outcome == stray");
    assert_eq!(strays, json!([]), "{context}");
}

/// One round: killed some time into the apply, then applied again until it is through.
fn round(number: u64) -> bool {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &sixty());
    world.faults(bad_days(number));
    // Spread over the whole apply; the primes keep rounds from falling into step with it.
    let after = Duration::from_millis(7 + number * 61 % 997);
    let killed = kill_in_mid_apply(&world, after);
    let context = format!("round {number}, killed {after:?} in");
    // Faults go on while it recovers, and may exhaust the repetitions of one call: the same command again is the
    // documented way on.
    let mut said = world.nu("provision apply --yes | where status in [failed in_doubt] | to json");
    for _ in 0..3 {
        if said.status.success() {
            break;
        }
        assert!(said.stderr.contains("provision::"), "{context}: {said:?}");
        said = world.nu("provision apply --yes | where status in [failed in_doubt] | to json");
    }
    assert!(said.status.success(), "{context}: {}\n{}", said.stdout, said.stderr);
    world.faults(Faults::default());
    exactly_sixty(&world, &context);
    killed
}

#[test]
fn killed_at_twenty_instants_a_plain_apply_finishes_the_job() {
    // A round mostly waits for consistency windows, so five at a time cost little more than one.
    let killed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..5u64)
            .map(|worker| scope.spawn(move || (0..4).filter(|turn| round(worker * 4 + turn)).count()))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(killed >= 15, "only {killed} of 20 applies were still running when they were to be killed");
}

#[test]
fn an_update_that_fails_with_the_power_off_is_finished_with_the_power_on() {
    let world = World::new().with_sandbox();
    let text = |size: &str| {
        format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\", resources.web = p.hetzner.server & {{ server_type = \"{size}\", image = \"debian-12\" }} }}"
        )
    };
    world.write("infra.ncl", &text("cx23"));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text("cx33"));
    world.faults(
        serde_json::from_value(json!({"fail_next": [{"path_contains": "change_type", "kind": "error", "times": 50}]}))
            .unwrap(),
    );
    world.fails("provision apply --yes").is("provision::apply::incomplete", "1 failed", "provision apply --yes");
    assert_eq!(world.json("provision state show web | get attributes.status"), json!("off"));
    // The wish is taken back, and still the power comes on again.
    world.faults(Faults::default());
    world.write("infra.ncl", &text("cx23"));
    let row = world.json("provision plan | first | select action reason changes.0.path");
    assert_eq!(row, json!({"action": "update", "reason": "status changed", "changes.0.path": "status"}));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision state show web | get attributes.status"), json!("running"));
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn a_lost_answer_is_settled_in_the_same_run() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &sixty());
    world.faults(Faults { reset_after_commit_rate: 0.4, seed: Some(3), ..Faults::default() });
    world.ok("provision apply --yes | ignore");
    world.faults(Faults::default());
    exactly_sixty(&world, "answers lost");
}

#[test]
fn throttling_and_stale_reads_slow_down_and_change_nothing() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &sixty());
    world.faults(Faults {
        throttle_rate: 0.05,
        stale_reads_ms: 700,
        reset_after_commit_rate: 0.1,
        seed: Some(5),
        ..Faults::default()
    });
    world.ok("provision apply --yes | ignore");
    world.faults(Faults::default());
    exactly_sixty(&world, "throttled and stale");
}

#[test]
fn a_reader_that_stops_early_leaves_nothing_in_flight() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &sixty());
    world.ok("provision apply --yes --parallel 4 | where status == done | first 2 | ignore");
    let entries = world.json("provision recover | where outcome != stray | length");
    assert_eq!(entries, json!(0), "an operation was left open");
    let some = world.json("provision state list | length").as_u64().unwrap();
    assert!(some < RESOURCES as u64, "it did not stop: {some}");
    world.ok("provision apply --yes | ignore");
    exactly_sixty(&world, "after an early stop");
}

#[test]
fn ctrl_c_starts_nothing_new_and_settles_what_is_in_flight() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &sixty());
    world.faults(Faults { latency_ms: 50, ..Faults::default() });
    let mut command = world.command();
    command.args(["-c", "provision apply --yes --parallel 4"]);
    let mut nu = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while world.mutating().len() < 3 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &nu.id().to_string()]).status().unwrap();
    let _ = nu.wait();
    // The plugin ends only when what it had in flight is settled.
    let end = Instant::now() + Duration::from_secs(60);
    while world.nu("provision recover | ignore").status.code() != Some(0) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(world.json("provision recover"), json!([]), "an operation was left open");
    let some = world.json("provision state list | length").as_u64().unwrap();
    assert!((1..RESOURCES as u64).contains(&some), "it did not stop: {some}");
    world.faults(Faults::default());
    world.ok("provision apply --yes | ignore");
    exactly_sixty(&world, "after Ctrl-C");
}

#[test]
fn two_at_once_do_not_write_over_each_other() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &sixty());
    let mut command = world.command();
    command.args(["-c", "provision apply --yes --parallel 2 | ignore"]);
    let mut first = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while world.mutating().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    world.fails("provision apply --yes").is("provision::lease::held", "ada (process", "Wait for it to finish");
    assert!(first.wait().unwrap().success());
    exactly_sixty(&world, "two at once");
}

#[test]
fn a_process_that_slept_past_its_lease_writes_and_sends_nothing_any_more() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &sixty());
    world.faults(Faults { latency_ms: 100, ..Faults::default() });
    let mut command = world.command();
    command.args(["-c", "provision apply --yes --parallel 4 | ignore"]);
    let nu = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while world.mutating().len() < 6 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let plugin = plugin_of(nu.id()).unwrap().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &plugin]).status().unwrap();
    signal("-STOP");
    // Its term of 30 s, and 75 s more for a request that it may have sent.
    // Stopped in the middle of a write, it keeps the file locked as well.
    let caught = world.fails("provision apply --yes");
    caught.is("provision::lease::held", "", "provision lock show");
    let in_a_write = caught.msg.contains("database is locked");
    assert!(in_a_write || caught.msg.contains("ada (process"), "{caught:?}");
    assert_eq!(world.json("provision lock show | get status"), json!(["held"]));
    if in_a_write {
        signal("-KILL");
        let _ = nu.wait_with_output();
        world.ok("provision apply --yes | ignore");
        return exactly_sixty(&world, "ended");
    }
    std::thread::sleep(Duration::from_secs(34));
    assert_eq!(world.json("provision lock show | get status"), json!(["stale"]));
    world.fails("provision apply --yes").is("provision::lease::held", "ada (process", "");
    std::thread::sleep(Duration::from_secs(74));
    world.ok("provision apply --yes | ignore");
    exactly_sixty(&world, "taken over");
    let sent = world.mutating().len();
    signal("-CONT");
    let said = nu.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && error.contains("lease"), "{error}");
    // What it had in its hands when it was stopped may have left it; nothing else did.
    assert!(world.mutating().len() <= sent + 4, "{} after {sent}", world.mutating().len());
    exactly_sixty(&world, "woken");
    assert_eq!(world.json("provision audit verify | get valid"), json!(true));
}
