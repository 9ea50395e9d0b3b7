//! Owns the promise about a state that is not the newest, or not the project's: nothing is created twice, and nothing of
//! another project goes.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_state::{Database, Sqlite};
use provision_tests::World;
use serde_json::{Value, json};
use std::path::Path;

fn infra(name: &str, resources: &str) -> String {
    format!("let p = import \"provision.ncl\" in {{ name = \"{name}\", resources = {{ {resources} }} }}")
}

const FIRST: &str = "web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", location = \"hel1\" },";
const LATER: &str = "key = p.hetzner.volume & { size = 10, location = \"hel1\" },
    net = p.hetzner.network & { ip_range = \"10.0.0.0/16\", subnets = [{ type = \"cloud\", network_zone = \"eu-central\", ip_range = \"10.0.1.0/24\" }] },
    spare = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", location = \"hel1\", networks = [p.ref \"net\" \"id\"] },
    disk = p.upcloud.storage & { zone = \"fi-hel1\", size = 10 },
    box = p.aws.vpc & { cidr_block = \"10.0.0.0/16\" },";

/// A folder and everything in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &place),
            false => drop(std::fs::copy(entry.path(), place).unwrap()),
        }
    }
}

/// A world whose state is put back to what it was before most of what is in the clouds was made.
fn put_back(how: impl Fn(&World, &Path)) -> (World, u64) {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("shop", FIRST));
    world.ok("provision apply --yes | ignore");
    let kept = world.project().join("kept");
    copy(&world.project().join(".provision"), &kept);
    world.write("infra.ncl", &infra("shop", &format!("{FIRST} {LATER}")));
    world.ok("provision apply --yes | ignore");
    // One has another generation by now, and another id.
    world.ok("provision state replace web | ignore; provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    let held = world.held();
    how(&world, &kept);
    (world, held)
}

/// What went missing is adopted: nothing is made, and the state knows all of it.
fn is_adopted(world: &World, held: u64, what: &str) {
    let rows = world.json("provision plan | select address action | sort-by address");
    let action = |address: &str| {
        rows.as_array().unwrap().iter().find(|row| row["address"] == address).map(|row| row["action"].clone())
    };
    for address in ["box", "disk", "key", "net", "spare", "web"] {
        assert_eq!(action(address), Some(json!("adopt")), "{what}: {rows}");
    }
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.held(), held, "{what}");
    assert_eq!(world.json("provision plan"), json!([]), "{what}");
    assert_eq!(world.json("provision recover"), json!([]), "{what}");
    assert_eq!(world.json("provision audit verify | get valid"), json!(true), "{what}");
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0, "{what}");
}

#[test]
fn a_backup_put_back_by_restore_makes_nothing_twice() {
    let (world, held) = put_back(|world, _| {
        let oldest = world.json("provision state backups | last | get file");
        world.ok(&format!("provision state restore --from {oldest} | ignore"));
    });
    is_adopted(&world, held, "restore");
}

#[test]
fn an_older_file_is_refused_until_recover_and_then_makes_nothing_twice() {
    let (world, held) = put_back(|world, kept| {
        std::fs::copy(kept.join("state.db"), world.project().join(".provision/state.db")).unwrap();
    });
    for script in ["provision apply --yes", "provision destroy --yes", "provision heal | provision apply"] {
        world.fails(script).is("provision::state::older", "older one", "provision recover");
    }
    assert_eq!(world.held(), held);
    let strays = world.json("provision recover | where outcome == stray | get address | sort");
    assert_eq!(strays, json!(["box", "disk", "key", "net", "spare", "web"]));
    let gaps = world.json("provision audit verify | get gaps | length");
    assert_eq!(gaps, json!(1));
    is_adopted(&world, held, "state.db");
}

#[test]
fn a_whole_older_folder_makes_nothing_twice() {
    let (world, held) = put_back(|world, kept| {
        std::fs::remove_dir_all(world.project().join(".provision")).unwrap();
        copy(kept, &world.project().join(".provision"));
    });
    is_adopted(&world, held, "folder");
}

#[test]
fn rows_that_were_planned_without_looking_make_nothing_twice() {
    let (world, held) = put_back(|world, kept| {
        std::fs::remove_dir_all(world.project().join(".provision")).unwrap();
        copy(kept, &world.project().join(".provision"));
    });
    world.fails("provision plan --refresh=false | provision apply").is(
        "provision::plan::stray",
        "exists already",
        "plan",
    );
    assert_eq!(world.held(), held);
    is_adopted(&world, held, "no refresh");
}

#[test]
fn a_state_of_before_the_first_apply_makes_nothing_twice() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("shop", FIRST));
    world.ok("provision plan | ignore");
    let kept = world.project().join("kept");
    copy(&world.project().join(".provision"), &kept);
    world.ok("provision apply --yes | ignore");
    let held = world.held();
    std::fs::remove_dir_all(world.project().join(".provision")).unwrap();
    copy(&kept, &world.project().join(".provision"));
    world.fails("provision plan | provision apply").is("provision::plan::stray", "`web` exists already", "plan");
    assert_eq!(world.json("provision plan | get action"), json!(["adopt"]));
    world.ok("provision plan | provision apply | ignore");
    assert_eq!((world.held(), world.json("provision plan")), (held, json!([])));
}

#[test]
fn a_log_of_sqlite_that_is_lost_after_a_kill_makes_nothing_twice() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("shop", FIRST));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &infra("shop", &format!("{FIRST} {LATER}")));
    let mut command = world.command();
    command.args(["-c", "provision apply --yes | ignore; kill -9 $nu.pid"]);
    // The last connection to close puts the log into the file: it is kept as it is while one is open.
    let mut reader = Sqlite::open(&world.project().join(".provision/state.db")).unwrap();
    assert_eq!(reader.rows("select address from resources", &[]).unwrap().len(), 1);
    let _ = command.status().unwrap();
    let held = world.held();
    let folder = world.project().join(".provision");
    let log = folder.join("state.db-wal");
    assert!(log.exists());
    let (file, _) = (std::fs::read(folder.join("state.db")).unwrap(), std::fs::remove_file(&log).unwrap());
    drop(reader);
    let _ = std::fs::remove_file(&log);
    std::fs::write(folder.join("state.db"), file).unwrap();
    let _ = std::fs::remove_file(folder.join("state.db-shm"));
    if world.json("provision state list | length") == json!(1) {
        world.fails("provision apply --yes").is("provision::state::older", "older one", "recover");
        world.ok("provision recover | ignore");
    }
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.held(), world.json("provision plan")), (held, json!([])));
}

#[test]
fn what_the_state_let_go_of_is_not_taken_back() {
    let world = World::new().with_sandbox();
    let server = "web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", location = \"hel1\", lifecycle.retain = true },";
    world.write("infra.ncl", &infra("shop", server));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &infra("shop", ""));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.held(), 1);
    world.write("infra.ncl", &infra("shop", FIRST));
    assert_eq!(world.json("provision plan | get action"), json!(["create"]));
    let told = world.json("provision recover | get 0 | select address outcome message");
    assert_eq!((&told["address"], &told["outcome"]), (&Value::Null, &json!("stray")));
    assert!(told["message"].as_str().unwrap().contains("let go"), "{told}");
}

#[test]
fn what_nobody_can_say_an_address_of_stops_what_may_be_the_same() {
    let (world, held) = put_back(|world, kept| {
        std::fs::remove_dir_all(world.project().join(".provision")).unwrap();
        copy(kept, &world.project().join(".provision"));
    });
    // Renamed in the file meanwhile, without saying so.
    world.write(
        "infra.ncl",
        &infra("shop", &format!("{FIRST} other = p.hetzner.volume & {{ size = 10, location = \"hel1\" }}")),
    );
    let row = world.json("provision plan | where address starts-with stray | where type == hetzner.volume | get 0");
    assert_eq!(row["action"], "adopt");
    let id = row["address"].as_str().unwrap().trim_start_matches("stray~").to_owned();
    assert!(row["reason"].as_str().unwrap().contains(&format!("provision import ADDRESS {id}")), "{row}");
    world.fails("provision apply --yes").is("provision::plan::stray", "`other` is not created", "provision import");
    assert_eq!(world.held(), held);
    world.ok(&format!("provision import other {id} --type hetzner.volume | ignore"));
    let volumes = world.json("provision plan | where type == hetzner.volume | where action == create");
    assert_eq!(volumes, json!([]));
}

#[test]
fn the_state_of_another_project_is_refused() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("shop", FIRST));
    world.ok("provision apply --yes | ignore");
    let held = world.held();
    let plan = world.ok("provision plan --all --out plan.json | ignore; echo done");
    assert!(plan.contains("done"));
    world.write("infra.ncl", &infra("blog", "a = p.local.data & { input = 1 }"));
    for script in [
        "provision plan",
        "provision apply --yes",
        "provision destroy --yes",
        "provision heal",
        "provision import web2 1 --type hetzner.server",
        "provision state forget web",
        "provision state unprotect web",
        "provision policy accept",
        "provision state rekey",
        "provision state restore",
    ] {
        world.fails(script).is("provision::state::project", "`shop`", "adopt-project");
    }
    assert_eq!(world.held(), held);
    // A rename is said so, and asked of the policies.
    world.write("policies/p.cedar", "@id(\"no\") forbid(principal, action == Provision::Action::\"adopt_project\", resource);\n@id(\"yes\") permit(principal, action, resource);");
    world.write("infra.ncl", &infra("blog", FIRST));
    world.fails("provision state adopt-project").is("provision::apply::denied", "`no`", "");
    world.ok("rm -r policies");
    let renamed = World::new().with_sandbox();
    renamed.write("infra.ncl", &infra("shop", FIRST));
    renamed.ok("provision apply --yes | ignore");
    renamed.write("infra.ncl", &infra("blog", FIRST));
    assert_eq!(renamed.json("provision state adopt-project"), json!({"before": "shop", "after": "blog"}));
    renamed.ok("provision plan | ignore");
    let told = renamed.json("provision audit | last | select event actor detail.before detail.after");
    assert_eq!(
        told,
        json!({"event": "state.adopt-project", "actor": "ada", "detail.before": "shop", "detail.after": "blog"})
    );
}

#[test]
fn a_head_that_was_anchored_shows_another_log() {
    let world = World::new();
    world.write("infra.ncl", &infra("shop", "a = p.local.data & { input = 1 }"));
    world.ok("provision apply --yes | ignore");
    world.ok("provision audit head | to json --raw | save head.json; cp -r .provision kept");
    world.ok("provision state replace a | ignore; provision audit head | to json --raw | save --append newer.json");
    assert_eq!(world.json("provision audit verify --head (open head.json) | get valid"), json!(true));
    world.ok("rm -r .provision; mv kept .provision");
    assert_eq!(world.json("provision audit verify | get valid"), json!(true));
    let found = world.json("provision audit verify --head (open --raw newer.json)");
    assert_eq!(found["valid"], json!(false));
    assert!(found["problems"][0]["problem"].as_str().unwrap().contains("older"), "{found}");
    world.fails("provision audit verify --strict --head (open newer.json)").is(
        "provision::audit::broken",
        "anchored",
        "",
    );
    world.fails("provision audit verify --head 7").is("provision::audit::head", "no head", "provision audit head");
    world.fails("provision audit verify --head ''").is("provision::audit::head", "no head", "provision audit head");
    world.fails("provision audit verify --head []").is("provision::audit::head", "no head", "provision audit head");
}

/// A script of a world as a user who may write nothing of it; as root everything may be written.
fn reading(world: &World, script: &str) -> std::process::Output {
    let mut command = world.command();
    command.args(["-c", script]);
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    if id.stdout.trim_ascii() != b"0" {
        return command.output().unwrap();
    }
    let mut other = std::process::Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(command.get_program());
    other.args(command.get_args()).current_dir(world.project()).env_clear();
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other.output().unwrap()
}

#[test]
fn a_project_that_may_only_be_read_is_read_and_stays_as_it_is() {
    let world = World::new();
    world.write("infra.ncl", &infra("shop", "a = p.local.data & { input = 1 }"));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &infra("shop", "a = p.local.data & { input = 2 }"));
    let around = world.project().parent().unwrap().to_owned();
    let mode = |how: &str| {
        std::process::Command::new("chmod").args(["-R", how]).arg(&around).status().unwrap();
    };
    let listed = || {
        let entries = std::fs::read_dir(world.project().join(".provision")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listed();
    mode("a+rX,a-w");
    let mut refused = Vec::new();
    for script in [
        "provision plan | get 0.action | if $in != update { error make {msg: $in} }",
        "provision state list | get 0.address",
        "provision state show a",
        "provision history | get 0.serial",
        "provision audit | get 0.event",
        "provision audit verify | if not $in.valid { error make {msg: invalid} }",
        "provision output",
        "provision drift",
    ] {
        let said = reading(&world, script);
        if !said.status.success() {
            refused.push(format!("{script}: {}", String::from_utf8_lossy(&said.stderr)));
        }
    }
    let changed = reading(&world, "provision apply --yes | ignore");
    mode("u+w");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(!changed.status.success() && String::from_utf8_lossy(&changed.stderr).contains("provision::state::io"));
    assert_eq!(listed(), before);
}
