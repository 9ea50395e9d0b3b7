//! Owns what people find out afterwards: the history, the way back, the audit log, who holds the lease, and the commands
//! that change the state alone.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::World;
use serde_json::{Value, json};

fn infra(resources: &str) -> String {
    format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resources} }} }}")
}

/// A row of a table by a column.
fn row<'a>(rows: &'a Value, column: &str, value: &str) -> &'a Value {
    rows.as_array().unwrap().iter().find(|row| row[column] == value).unwrap()
}

#[test]
fn every_change_has_a_serial_and_says_who_why_and_from_where() {
    let world = World::new();
    world.write(".git/HEAD", "ref: refs/heads/main\n");
    world.write(".git/refs/heads/main", "0123456789abcdef0123456789abcdef01234567\n");
    world.write(
        "infra.ncl",
        &infra("a = p.local.data & { input = 1 }, b = p.local.data & { input = p.ref \"a\" \"id\" }"),
    );
    let plan = world.json(
        "provision plan | provision apply --reason 'first light' | ignore; provision plan --all | first | get plan",
    );
    world.write("infra.ncl", &infra("a = p.local.data & { input = 2 }"));
    world.ok("provision apply --yes -m 'second' | ignore");
    let rows = world.json("provision history");
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let newest = world.json("provision history | first | select serial kind by source reason revision done failed");
    assert_eq!(
        newest,
        json!({"serial": 2, "kind": "apply", "by": "ada", "source": "cli", "reason": "second",
            "revision": "0123456789abcdef0123456789abcdef01234567", "done": 2, "failed": 0})
    );
    assert_ne!(rows[0]["plan"], plan);
    assert_eq!(world.json("provision history | get at | describe"), json!("list<datetime>"));
    let changes = world.json("provision history show 2");
    assert_eq!(row(&changes, "address", "a")["action"], "update");
    assert_eq!(row(&changes, "address", "a")["changes"][0]["before"], 1);
    assert_eq!(row(&changes, "address", "b")["action"], "delete");
    world.fails("provision history show 9").is("provision::state::unknown_serial", "no change 9", "provision history");
    // Nothing to do is no change.
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision history | length"), json!(2));
}

#[test]
fn a_rollback_is_a_plan_to_what_was_and_owns_up_to_what_is_lost() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("v = p.hetzner.volume & { size = 10, location = \"hel1\" }, a = p.local.data & { input = p.secret \"canary-9\" }, b = p.local.data & { input = p.ref \"a\" \"id\" }"));
    let volume = world.nu("provision plan").status.success();
    let disk = if volume { "v" } else { "d" };
    if !volume {
        world.write("infra.ncl", &infra("d = p.upcloud.storage & { zone = \"fi-hel1\", size = 10 }, a = p.local.data & { input = p.secret \"canary-9\" }, b = p.local.data & { input = p.ref \"a\" \"id\" }"));
    }
    world.ok("provision apply --yes | ignore");
    world.write(
        "infra.ncl",
        &infra("a = p.local.data & { input = p.secret \"canary-10\" }, b = p.local.data & { input = 7 }"),
    );
    world.ok("provision apply --yes | ignore");
    let rows = world.json("provision rollback 1 | select address action reason");
    let back = row(&rows, "address", disk);
    assert_eq!(back["action"], "create");
    assert!(back["reason"].as_str().unwrap().contains("the data it held does not"), "{back}");
    assert_eq!(row(&rows, "address", "b")["action"], "update");
    assert!(!world.ok("provision rollback 1 | to json").contains("canary"));
    world.ok("provision rollback 1 | provision apply | ignore");
    assert_eq!(world.json("provision history | first | get kind"), json!("rollback"));
    assert_eq!(world.held(), 1);
    // It is as it was: rolling back again does nothing, and b refers to a again.
    assert_eq!(world.json("provision rollback 1"), json!([]));
    let depends = world.json("provision state show b | get depends_on");
    assert_eq!(depends, json!(["a"]));
    world.fails("provision rollback 77").is("provision::state::unknown_serial", "77", "provision history");
}

#[test]
fn the_audit_log_says_who_did_what_and_under_which_decision() {
    let world = World::new();
    world.write("infra.ncl", &infra("a = p.local.data & { input = p.secret \"canary-77\" }"));
    world.write("policies/a.cedar", "@id(\"all\") permit (principal, action, resource);");
    world.ok("provision apply --yes --reason why | ignore");
    let log = world.json("provision audit");
    let begin = row(&log, "event", "operation.begin");
    assert_eq!((&begin["actor"], &begin["subject"]), (&json!("ada"), &json!("a")));
    assert_eq!(begin["detail"]["allowed_by"], json!(["all"]));
    assert_eq!(row(&log, "event", "apply.begin")["detail"]["reason"], "why");
    assert_eq!(row(&log, "event", "apply.end")["detail"]["done"], 1);
    assert_eq!(world.json("provision audit | get time | describe"), json!("list<datetime> (stream)"));
    assert!(!log.to_string().contains("canary"));
    let lines = world.ok("provision audit --lines");
    assert_eq!(lines.lines().count(), log.as_array().unwrap().len());
    serde_json::from_str::<Value>(lines.lines().next().unwrap()).unwrap();
    // What was denied is there too.
    world.write("policies/a.cedar", "@id(\"all\") permit (principal, action, resource);\n@id(\"no\") forbid (principal, action == Provision::Action::\"delete\", resource);");
    world.ok("provision policy accept | ignore");
    world.fails("provision destroy --yes");
    let denied = world.json("provision audit | where event == apply.deny | get detail.denials.0.0");
    assert!(denied.as_str().unwrap().contains("`no` forbids it"), "{denied}");
    let verified = world.json("provision audit verify");
    assert_eq!((&verified["valid"], &verified["problems"]), (&json!(true), &json!([])));
    assert!(verified["checkpoints"].as_i64().unwrap() >= 2);
}

/// Changes the database behind everybody's back.
fn tamper(world: &World, sql: &str) {
    world.ok(&format!("open .provision/state.db | query db \"{sql}\" | ignore"));
}

#[test]
fn an_audit_log_that_was_altered_cut_or_reordered_shows_it() {
    let new = || {
        let world = World::new();
        world.write("infra.ncl", &infra("a = p.local.data & { input = 1 }, b = p.local.data & { input = 2 }"));
        world.ok("provision apply --yes | ignore");
        assert_eq!(world.json("provision audit verify | get valid"), json!(true));
        world
    };
    let cases = [
        ("update audit set data = replace(data, 'ada', 'eve') where seq = 3", "not the one that was written"),
        ("delete from audit where seq = 3", "1 entries are missing"),
        (
            "update audit set data = (select data from audit other where other.seq = 7 - audit.seq) where seq in (3, 4)",
            "not the one that was written",
        ),
        ("delete from audit where seq > 4", "ends before entry"),
        (
            "delete from audit where seq > 4; delete from checkpoints; update audit_head set seq = 4, hash = (select hash from audit where seq = 4)",
            "ends before entry",
        ),
        ("update checkpoints set hash = 'x'", "signature"),
    ];
    for (sql, said) in cases {
        let world = new();
        for statement in sql.split("; ") {
            tamper(&world, statement);
        }
        let found = world.json("provision audit verify");
        assert_eq!(found["valid"], json!(false), "{sql}");
        assert!(found["problems"].to_string().contains(said), "{sql}: {found}");
        world.fails("provision audit verify --strict").is("provision::audit::broken", "not whole", "audit.head");
    }
}

#[test]
fn the_state_alone_can_be_renamed_let_go_and_marked() {
    let world = World::new();
    world.write(
        "infra.ncl",
        &infra("a = p.local.data & { input = 1 }, b = p.local.data & { input = p.ref \"a\" \"id\" }"),
    );
    world.ok("provision apply --yes | ignore");
    let id = world.json("provision state show a | get remote_id");
    world.ok("provision state move a z.blue | ignore");
    assert_eq!(world.json("provision state show b | get depends_on"), json!(["z.blue"]));
    assert_eq!(world.json("provision state show z.blue | get remote_id"), id);
    world.fails("provision state move nope x").is(
        "provision::state::unknown_address",
        "`nope`",
        "provision state list",
    );
    world.fails("provision state move b z.blue").is("provision::import::address_taken", "`z.blue`", "free");
    world.fails("provision state move b Bad").is("provision::plan::address", "`Bad`", "lower-case");
    world.ok("provision state move z.blue a | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("provision state replace a | ignore; provision state replace a --undo | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("provision state replace a | ignore");
    let asked = world.json("provision plan | where address == a | select action reason");
    assert_eq!(
        asked,
        json!([{"action": "replace", "reason": "its replacement was asked for (`provision state replace`)"}])
    );
    // It is no drift.
    assert_eq!(world.json("provision heal"), json!([]));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    assert_ne!(world.json("provision state show a | get remote_id"), id);
    world.ok("provision state forget b | ignore");
    assert_eq!(world.json("provision plan | get action"), json!(["create"]));
    assert_eq!(
        world.json("provision history | get kind"),
        json!(["forget", "apply", "replace", "keep", "replace", "move", "move", "apply"])
    );
    assert_eq!(world.json("provision audit verify | get valid"), json!(true));
}

#[test]
fn a_restore_is_told_in_the_log_with_what_it_cut_off() {
    let world = World::new();
    world.write("infra.ncl", &infra("a = p.local.data & { input = 1, lifecycle.protect = true }"));
    world.ok("provision apply --yes | ignore; provision state unprotect a | ignore");
    let before = world.json("provision audit verify | select entries head");
    world.ok("provision state restore | ignore");
    let found = world.json("provision audit verify");
    let gap = &found["gaps"][0];
    assert_eq!((&found["valid"], &gap["until"], &gap["hash"]), (&json!(true), &before["entries"], &before["head"]));
    assert_eq!(gap["from"], gap["seq"]);
    // Where the state itself is gone, the checkpoint beside it tells how far the log went.
    world.ok("provision apply --yes | ignore");
    let before = world.json("provision audit verify | get entries").as_i64().unwrap();
    std::fs::write(world.project().join(".provision/state.db"), "").unwrap();
    world.ok("rm -f .provision/state.db-wal .provision/state.db-shm; provision state restore | ignore");
    let gaps = world.json("provision audit verify | get gaps");
    assert!(gaps.as_array().unwrap().iter().any(|gap| gap["until"].as_i64() == Some(before)), "{gaps} {before}");
    world.fails("provision state replace a").is("provision::plan::protected", "`a`", "unprotect");
}

#[test]
fn what_fails_or_only_reads_leaves_no_state_behind() {
    let world = World::new();
    let left = |world: &World| world.project().join(".provision").exists();
    world
        .write("infra.ncl", &format!("{} & {{ environments.prod = {{}} }}", infra("a = p.local.data & { input = 1 }")));
    for script in [
        "provision state list",
        "provision history",
        "provision output",
        "provision drift",
        "provision plan --environment nope",
        "provision state list --environment prdo",
        "provision apply",
        "'{' | provision state import",
        "{format: x} | provision state import",
    ] {
        world.nu(script);
        assert!(!left(&world), "{script}");
    }
    world.fails("provision state list --environment prdo").is("provision::config::environment", "`prdo`", "`prod`");
    world.fails("'{\"format\": \"nu-provision state\",}' | provision state import").is(
        "provision::state::malformed",
        "line 1",
        "export",
    );
    assert_eq!(world.json("provision state list --environment prod"), json!([]));
    world.write("infra.ncl", &infra("a = p.local.data & { inputt = 1 }"));
    world.fails("provision plan");
    assert!(!left(&world));
    world.write("infra.ncl", &infra("a = p.local.data & { input = 1 }"));
    world.ok("provision plan --out plan.json | ignore");
    world.fails("provision plan | provision apply plan.json").is(
        "provision::apply::two_plans",
        "plan.json, and 1 rows",
        "one of them",
    );
    world.ok("provision apply plan.json | ignore");
}

#[test]
fn everything_goes_without_the_file_and_without_its_secrets() {
    let world = World::new().with_sandbox();
    world.write("token.txt", "x");
    world.write("infra.ncl", &infra("n = p.hetzner.network & { ip_range = \"10.0.0.0/16\" }, a = p.local.data & { input = p.secret { file = \"token.txt\" } }, keep = p.local.data & { input = 1, lifecycle.protect = true }"));
    world.write("policies/p.cedar", "permit(principal, action, resource);");
    world.ok("provision apply --yes | ignore");
    std::fs::remove_file(world.project().join("token.txt")).unwrap();
    let kept = world.fails("provision plan --destroy");
    kept.is("provision::plan::protected", "infra.ncl:1:", "unprotect keep");
    assert!(!kept.msg.contains("infra.ncl:1:1)"), "{kept:?}");
    world.ok("provision state unprotect keep | ignore");
    // The place of a secret that is not to be had is told.
    world.fails("provision plan").is("provision::secret::source", "infra.ncl:1:", "relative to the project");
    world.write("infra.ncl", "{ name = \"s\", resources = ");
    let rows = world.json("provision plan --destroy | get action | uniq");
    assert_eq!(rows, json!(["delete"]));
    // No mistake in the file gets past its policies.
    world.write("policies/p.cedar", "@id(\"no\") forbid(principal, action, resource);");
    world.ok("mv infra.ncl broken.ncl");
    world.fails("provision destroy --yes").is("provision::apply::policy_changed", "", "policy accept");
    world.write("policies/p.cedar", "permit(principal, action, resource);");
    world.ok("provision destroy --yes | ignore");
    assert_eq!((world.held(), world.json("provision state list")), (0, json!([])));
}

#[test]
fn a_state_is_exported_and_taken_over_elsewhere() {
    let world = World::new();
    world.write("infra.ncl", &infra("a = p.local.data & { input = p.secret \"canary-5\" }"));
    world.ok("provision apply --yes | ignore");
    let exported = world.ok("provision state export --text");
    assert!(!exported.contains("canary"));
    world.ok("provision state export | to json | save state.json; mkdir other/.provision; cp infra.ncl other; cp .provision/identity.txt other/.provision");
    world.fails("open state.json | provision state import").is("provision::state::not_empty", "already", "new");
    world.fails("{} | provision state import --project other").is("provision::state::malformed", "format", "export");
    let brought = world.json("open state.json | provision state import --project other");
    assert_eq!((&brought["resources"], &brought["history"]), (&json!(1), &json!(1)));
    assert_eq!(world.json("cd other; provision plan"), json!([]));
    assert_eq!(world.json("cd other; provision audit verify | get valid"), json!(true));
    world.ok("mkdir third; cp infra.ncl third");
    world.fails("open state.json | provision state import --project third").is(
        "provision::state::io",
        "another key",
        "identity.txt",
    );
}

#[test]
fn another_key_changes_nothing_but_what_the_old_one_opens() {
    let mut world = World::new();
    world.write("infra.ncl", &infra("a = p.local.data & { input = p.secret \"canary-7\" }, b = p.local.data & { input = p.ref \"a\" \"output\", lifecycle.replace_when = [1] }"));
    world.ok("provision apply --yes | ignore; cp .provision/identity.txt old.txt");
    let rekeyed = world.json("provision state rekey");
    assert!(rekeyed["values"].as_u64().unwrap() > 2 && rekeyed["backups"] == 1, "{rekeyed}");
    // The values of `replace_when` are noted again; nothing is replaced.
    assert_eq!(world.json("provision plan | select address action"), json!([{"address": "b", "action": "update"}]));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision audit verify | select valid gaps"), json!({"valid": true, "gaps": []}));
    world.ok("provision rollback 1 | ignore; provision state restore | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("mv old.txt .provision/identity.txt");
    world.fails("provision plan").is("provision::state::io", "another one", "backup");
    world.env("PROVISION_STATE_NEW_KEY", Some("AGE-SECRET-KEY-1"));
    world.fails("provision state rekey").is("provision::state::io", "another one", "");
}

#[test]
fn nobody_holds_the_lease_and_breaking_needs_a_reason() {
    let world = World::new();
    world.write("infra.ncl", &infra("a = p.local.data & { input = 1 }"));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision lock show"), json!([]));
    for group in ["state", "lock", "secret", "sandbox", "policy", "provider"] {
        let help = world.ok(&format!("help provision {group}"));
        assert!(help.contains(&format!("provision {group} ")) && help.contains("Subcommands"), "{help}");
    }
    world.fails("provision lock break").is("provision::lease::reason", "reason", "--reason");
    world.fails("provision lock break --reason x").is("provision::lease::free", "nobody", "");
}

#[test]
fn a_secret_that_became_another_one_is_a_change_of_the_history() {
    let mut world = World::new();
    let apply = |world: &mut World, word: &str| {
        world.env("WORD", Some(word));
        world.write("infra.ncl", &infra("a = p.local.data & { input = p.secret { env = \"WORD\" } }"));
        world.ok("provision apply --yes | ignore");
    };
    apply(&mut world, "canary-1");
    apply(&mut world, "canary-2");
    assert_eq!(
        world.json("provision history show 2 | get changes.0 | select path before after"),
        json!([{"path": "input", "before": "<sensitive>", "after": "<sensitive>"}])
    );
    apply(&mut world, "canary-2");
    assert_eq!(world.json("provision history | length"), json!(2));
}
