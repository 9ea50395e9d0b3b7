//! Owns what happens on bad days: no space, folders that cannot be written or go away, damaged files, clouds that cannot be
//! reached or change underneath, and what other versions left. Each has a code, and a next step that works.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{Faults, World, workspace};
use serde_json::json;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

const INFRA: &str = "let p = import \"provision.ncl\" in { name = \"s\", resources = {\n\
    a = p.local.data & { input = \"haystack-needle-one\" }, b = p.local.data & { input = p.ref \"a\" \"id\" } } }";

fn applied() -> World {
    let world = World::new();
    world.write("infra.ncl", INFRA);
    world.ok("provision apply --yes | ignore");
    world
}

/// Runs a script where the project's `.provision` is a file system of its own; `None` where that is not allowed.
fn on_its_own(world: &World, mount: &str, script: &str) -> Option<(bool, String)> {
    let allowed = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    let root = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if !allowed && !root {
        return None;
    }
    let nu = world.command();
    let mut command = Command::new("unshare");
    command.arg(if root { "-m" } else { "-rm" }).args(["sh", "-c", &format!("{mount} && exec \"$@\"; exit 99"), "sh"]);
    command.arg(nu.get_program()).args(nu.get_args()).args(["-c", script]);
    command
        .current_dir(world.project())
        .env_clear()
        .envs(world.environment())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let said = command.output().unwrap();
    assert_ne!(said.status.code(), Some(99), "{}", String::from_utf8_lossy(&said.stderr));
    Some((
        said.status.success(),
        format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)),
    ))
}

#[test]
fn a_full_disk_stops_it_with_what_to_do_and_nothing_is_lost() {
    let world = World::new();
    let many: String =
        (0..400).map(|at| format!("r{at} = p.local.data & {{ input = \"{}\" }},\n", "x".repeat(900))).collect();
    world.write(
        "infra.ncl",
        &format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{\n{many}}} }}"),
    );
    world.ok("mkdir .provision");
    // It fills up in the middle, and is told; then there is room, and the same command finishes.
    let script = "let first = try { provision apply --yes | ignore; null } catch {|e| $e.details }\n\
        ^mount -o remount,size=64m .provision\n\
        provision apply --yes | ignore\n\
        {code: ($first.inner | append $first | get code | uniq | sort), help: ($first.inner | append $first | get help | str join), left: (provision plan | length), audit: (provision audit verify | get valid)} | to json --raw";
    let Some((success, said)) = on_its_own(&world, "mount -t tmpfs -o size=2600k tmpfs .provision", script) else {
        return;
    };
    assert!(success, "{said}");
    let found: serde_json::Value = serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(found["code"].to_string().contains("provision::state::io"), "{found}");
    assert!(found["help"].as_str().unwrap().contains("Free some space"), "{found}");
    assert_eq!((&found["left"], &found["audit"]), (&json!(0), &json!(true)));
}

#[test]
fn a_backup_that_cannot_be_made_is_told_and_undoes_nothing() {
    let world = World::new();
    world.write("infra.ncl", INFRA);
    world.write(".provision/backups", "in the way");
    let told = world.json("provision apply --yes | where address == backup | select status message");
    assert_eq!(told[0]["status"], json!("failed"), "{told}");
    assert!(told[0]["message"].as_str().unwrap().contains("no backup was made"), "{told}");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn a_full_disk_is_called_one_whatever_does_not_fit() {
    let world = World::new();
    world.write("infra.ncl", INFRA);
    world.ok("mkdir .provision");
    // From a disk that holds not even the key, up to one on which the last thing written is a backup.
    let script = "let found = 1..28 | each {|at| ^mount -t tmpfs -o $'size=($at * 16)k' tmpfs .provision\n\
        let caught = try { provision apply --yes | ignore; provision apply --yes | ignore; provision state backup | ignore; null } catch {|e| $e.details }\n\
        if $caught == null { null } else { {at: $at, code: $caught.code, help: ($caught.inner | append $caught | get help | compact | str join)} } } | compact\n\
        $found | to json --raw";
    let Some((success, said)) = on_its_own(&world, "true", script) else { return };
    assert!(success, "{said}");
    let found: serde_json::Value = serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
    let found = found.as_array().unwrap();
    assert!(found.len() > 3, "{found:?}");
    for one in found {
        assert!(one["help"].as_str().unwrap().contains("Free some space"), "{one}");
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_told_by_name() {
    let world = applied();
    let script =
        "try { provision apply --yes | ignore } catch {|e| $e.details | select code msg help | to json --raw }";
    let mount = "mount --bind .provision .provision && mount -o remount,ro,bind .provision";
    let Some((_, said)) = on_its_own(&world, mount, script) else { return };
    assert!(said.contains("provision::state::io") && said.contains("writable"), "{said}");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn a_folder_that_is_taken_away_in_mid_apply_is_noticed() {
    let world = World::new().with_sandbox();
    let many: String =
        (0..12).map(|at| format!("r{at} = p.hetzner.network & {{ ip_range = \"10.{at}.0.0/16\" }},\n")).collect();
    world.write(
        "infra.ncl",
        &format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{\n{many}}} }}"),
    );
    world.faults(Faults { latency_ms: 60, ..Faults::default() });
    let mut command = world.command();
    command.args(["-c", "provision apply --yes --parallel 2 | ignore"]);
    let nu = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while world.mutating().len() < 3 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (here, away) = (world.project().join(".provision"), world.project().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let said = nu.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(
        !said.status.success() && error.contains("taken away or replaced") && error.contains("Put the folder"),
        "{error}"
    );
    assert!(world.held() < 12);
    // Put back, it goes on where it was.
    std::fs::rename(&away, &here).unwrap();
    world.faults(Faults::default());
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.held(), world.json("provision plan")), (12, json!([])));
    assert_eq!(world.json("provision recover"), json!([]));
}

#[test]
fn a_flipped_bit_is_found_and_mended_from_the_history() {
    let world = applied();
    // So that everything is in the one file.
    world.ok("open .provision/state.db | query db 'pragma wal_checkpoint(truncate)' | ignore");
    let text =
        world.ok("open .provision/state.db | query db \"select data from resources where address = 'a'\" | get 0.data");
    let file =
        std::fs::OpenOptions::new().read(true).write(true).open(world.project().join(".provision/state.db")).unwrap();
    let bytes = std::fs::read(world.project().join(".provision/state.db")).unwrap();
    // The version in the history has the same text inside a longer one; the row has it alone.
    let places: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    let alone = places.iter().copied().find(|at| !bytes[..*at].ends_with(b"\"resource\":")).unwrap();
    let inside = alone + text.find("needle-one").unwrap();
    file.write_at(&[bytes[inside] ^ 0x02], inside as u64).unwrap();
    assert_eq!(world.json("provision state show a | get inputs.input"), json!("haystack-needle-one"));
    assert_eq!(world.json("provision plan"), json!([]));
    let events = world.json("provision apply --yes | where status == settled | select address message");
    assert_eq!(events[0]["address"], "a");
    assert!(events[0]["message"].as_str().unwrap().contains("from the history"), "{events}");
    assert_eq!(world.json("provision audit | where event == state.mend | get subject"), json!(["a"]));
    assert_eq!(world.json("provision apply --yes"), json!([]));
}

#[test]
fn a_state_cut_short_or_emptied_is_refused_and_restored_from_the_newest_backup() {
    for left in [0u64, 5000] {
        let world = applied();
        world.ok("open .provision/state.db | query db 'pragma wal_checkpoint(truncate)' | ignore");
        let file = world.project().join(".provision/state.db");
        for name in ["state.db-wal", "state.db-shm"] {
            let _ = std::fs::remove_file(world.project().join(".provision").join(name));
        }
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(left).unwrap();
        world.fails("provision plan").is("provision::state::corrupt", "", "provision state restore");
        let restored = world.json("provision state restore");
        assert_eq!((&restored["serial"], &restored["resources"]), (&json!(1), &json!(2)), "{left}");
        assert_eq!(world.json("provision plan"), json!([]));
        assert_eq!(world.json("provision audit | last | get event"), json!("state.restore"));
        // What the backup did not have is a gap that the log tells of: here nothing, for the backup was the newest.
        assert_eq!(world.json("provision audit verify | select valid gaps"), json!({"valid": true, "gaps": []}));
    }
    let world = World::new();
    world.write("infra.ncl", INFRA);
    world.fails("provision state restore").is("provision::state::no_backup", "no good backup", "--from");
}

#[test]
fn a_cloud_that_cannot_be_reached_in_the_middle_leaves_nothing_in_doubt_for_long() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources = { n = p.hetzner.network & { ip_range = \"10.0.0.0/16\" }, d = p.upcloud.storage & { zone = \"fi-hel1\", size = 10 } } }",
    );
    world.ok("provision plan | to nuon | save plan.nuon");
    // Gone before it begins, it is not begun.
    world.faults(Faults { reset_before_rate: 1.0, ..Faults::default() });
    world.fails("open plan.nuon | provision apply").is(
        "provision::provider::unavailable",
        "cannot list",
        "Run the same",
    );
    assert_eq!(world.json("provision history"), json!([]));
    // Gone in the middle, what was begun is in doubt.
    world.faults(Faults { latency_ms: 400, ..Faults::default() });
    let mut command = world.command();
    command.args(["-c", "open plan.nuon | provision apply | ignore"]);
    let apply = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while world.mutating().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    world.faults(Faults { reset_before_rate: 1.0, ..Faults::default() });
    let said = apply.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success(), "{error}");
    for part in ["provision::apply::incomplete", "in doubt", "provision apply --yes"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    world.faults(Faults::default());
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.held(), world.json("provision plan")), (2, json!([])));
}

#[test]
fn what_changes_under_a_plan_is_told_and_the_next_plan_sees_it() {
    let world = World::new().with_sandbox();
    let infra = |size: u32| {
        format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\", resources.d = p.upcloud.storage & {{ zone = \"fi-hel1\", size = {size} }} }}"
        )
    };
    world.write("infra.ncl", &infra(10));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &infra(20));
    world.ok("provision plan | to nuon | save plan.nuon");
    let id = world.json("provision state show d | get remote_id");
    world.ok(&format!(
        "http delete --user $env.UPCLOUD_USERNAME --password $env.UPCLOUD_PASSWORD $'($env.UPCLOUD_API_URL)/storage/{}'",
        id.as_str().unwrap()
    ));
    world.fails("open plan.nuon | provision apply").is(
        "provision::apply::incomplete",
        "1 failed",
        "provision apply --yes",
    );
    assert_eq!(world.json("provision plan | get action"), json!(["create"]));
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.held(), world.json("provision plan")), (1, json!([])));
}

#[test]
fn what_older_versions_left_is_opened_and_what_newer_ones_left_is_refused_by_number() {
    for version in ["v1", "v2"] {
        let fixture = workspace().join("crates/state/tests/fixtures").join(version);
        let world = World::new();
        world.write(
            "infra.ncl",
            "let p = import \"provision.ncl\" in { name = \"old\", resources = { a = p.local.data & { input = 1 }, b = p.local.data & { input = p.ref \"a\" \"id\" } }, outputs.a = p.ref \"a\" \"id\" }",
        );
        world.write("policies/all.cedar", "permit (principal, action, resource);\n");
        world.ok("mkdir .provision");
        std::fs::copy(fixture.join("identity.txt"), world.project().join(".provision/identity.txt")).unwrap();
        let made = Command::new("python3")
            .args(["-c", "import sqlite3,sys; sqlite3.connect(sys.argv[2]).executescript(open(sys.argv[1]).read())"])
            .arg(fixture.join("state.sql"))
            .arg(world.project().join(".provision/state.db"))
            .status();
        assert!(made.unwrap().success());
        // A plan that the older version made is still known, and done.
        let plan = world
            .json("open .provision/state.db | query db 'select digest from plans order by created_at' | get 0.digest");
        let row = format!("[[address plan]; [a {plan}] [b {plan}]]");
        assert_eq!(
            world.json(&format!("{row} | provision apply | get status | uniq")),
            json!(["skipped"]),
            "{version}"
        );
        assert_eq!(world.json("provision plan"), json!([]), "{version}");
        world.ok("provision state replace b | ignore; provision apply --yes | ignore");
        assert_eq!(world.json("provision plan"), json!([]), "{version}");
        world.ok("open .provision/state.db | query db 'pragma user_version = 99' | ignore");
        world.fails("provision plan").is("provision::state::version", "version 99", "Update nu-provision");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_twice() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if !std::path::Path::new(library).exists() {
        assert!(std::env::var("CI").is_err(), "CI needs faketime");
        return;
    }
    let mut world = World::new().with_sandbox();
    let text = |more: &str| {
        format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ net = p.aws.vpc & {{ cidr_block = \"10.0.0.0/16\" }}, {more} }} }} | p.Infrastructure"
        )
    };
    // What is new stays unseen for a while.
    world.faults(Faults { stale_reads_ms: 4000, ..Faults::default() });
    world.write("infra.ncl", &text(""));
    world.ok("provision apply --yes | ignore");
    world.env("LD_PRELOAD", Some(library)).env("FAKETIME", Some("-240")).env("FAKETIME_DONT_FAKE_MONOTONIC", Some("1"));
    assert_eq!(world.json("provision plan"), json!([]));
    world.faults(Faults::default());
    world.write("infra.ncl", &text("key = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\" }"));
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.held(), world.json("provision plan")), (2, json!([])));
    let earlier = "provision history | sort-by serial | $in.1.at < $in.0.at";
    assert_eq!(world.json(earlier), json!(true), "the clock was not set back");
    assert_eq!(world.json("provision audit verify | get valid"), json!(true));
    // And on again.
    world.env("LD_PRELOAD", None).env("FAKETIME", None);
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("provision destroy --yes | ignore");
    assert_eq!((world.held(), world.json("provision audit verify | get valid")), (0, json!(true)));
}

#[test]
fn a_restore_that_fails_changes_nothing() {
    let world = World::new();
    world.declare("plain = p.local.data & { input = \"x\" }");
    world.settle();
    world.ok("provision state move plain other");
    let entries = world.json("provision audit verify | get entries");
    let key = world.project().join(".provision/identity.txt");
    let aside = world.project().join("key");
    std::fs::rename(&key, &aside).unwrap();
    world.fails("provision state restore").is("provision::state::io", "the key of the state is gone", "");
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(world.json("provision state list | get address"), json!(["other"]));
    let verified = world.json("provision audit verify");
    assert_eq!((&verified["valid"], &verified["entries"]), (&json!(true), &entries));
}
