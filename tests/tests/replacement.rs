//! Owns what happens to the one that was there before: it goes from where it is, by the rules for what it is, and what is
//! renamed, lost or only needed otherwise is told apart from it.

use provision_tests::{Faults, World};
use serde_json::{Value, json};

const KEY: &str = provision_tests::PUBLIC_KEY;

fn infra(resources: &str) -> String {
    format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resources} }} }} | p.Infrastructure")
}

fn deletions(world: &World) -> Vec<String> {
    let calls = world.mutating();
    calls.iter().filter(|it| it.method == "DELETE").map(|it| it.path.clone()).collect()
}

#[test]
fn what_is_replaced_is_deleted_where_it_is_and_as_what_it_is() {
    let world = World::new().with_sandbox();
    // Another type of another cloud.
    world.write("infra.ncl", &infra(&format!("x = p.hetzner.ssh_key & {{ public_key = \"{KEY}\" }}")));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &infra("x = p.upcloud.storage & { zone = \"fi-hel1\", size = 10 }"));
    let row = world.json(
        "provision plan | first | {action: $in.action, change: ($in.changes | first | select path before after)}",
    );
    let change = json!({"path": "$type", "before": "hetzner.ssh_key", "after": "upcloud.storage"});
    assert_eq!(row, json!({"action": "replace", "change": change}));
    world.write("policies/p.cedar", "permit(principal, action, resource);\n@id(\"keys-stay\") forbid(principal, action == Provision::Action::\"delete\", resource is Hetzner::SshKey);");
    world.write(
        "infra.ncl",
        &infra("x = p.upcloud.storage & { zone = \"fi-hel1\", size = 10 }")
            .replace("name = \"s\"", "name = \"s\", policies = \"policies\""),
    );
    world.fails("provision apply --yes").is("provision::apply::denied", "`keys-stay`", "");
    world.write("policies/p.cedar", "permit(principal, action, resource);");
    world.ok("provision policy accept | ignore");
    world.ok("provision apply --yes | ignore");
    assert_eq!(deletions(&world), ["/v1/ssh_keys/4000001"]);
    assert_eq!((world.json("provision plan"), world.held()), (json!([]), 1));
    // Another region of the same cloud, the new one first.
    let vpc = |region: &str| {
        infra(&format!(
            "x = p.upcloud.storage & {{ zone = \"fi-hel1\", size = 10 }}, net = p.aws.vpc & {{ cidr_block = \"10.0.0.0/16\", region = \"{region}\", lifecycle.create_before_destroy = {} }}",
            region.starts_with("us")
        ))
    };
    for region in ["eu-central-1", "us-east-1", "eu-west-1"] {
        world.write("infra.ncl", &vpc(region));
        world.ok("provision apply --yes | ignore");
        assert_eq!((world.json("provision plan"), world.held()), (json!([]), 2), "{region}");
        assert_eq!(world.json("provision recover | where outcome == stray"), json!([]), "{region}");
    }
}

#[test]
fn renames_are_one_mapping_and_go_back() {
    let world = World::new();
    let text = |parts: &[(&str, &str, &str)]| {
        let parts = parts.iter().map(|(name, input, from)| {
            format!("{name} = p.local.data & {{ input = \"{input}\", lifecycle.moved_from = [{from}] }}, ")
        });
        infra(&parts.collect::<String>())
    };
    world.write("infra.ncl", &text(&[("a", "1", ""), ("b", "2", "")]));
    world.ok("provision apply --yes | ignore");
    let ids = world.json("provision state list | get remote_id");
    // A chain: each has the address of the one before it.
    world.write("infra.ncl", &text(&[("b", "1", "\"a\""), ("c", "2", "\"b\"")]));
    let rows = world.json("provision plan | select address action reason");
    let moved = |name: &str| json!({"address": name, "action": "update", "reason": "address changed"});
    assert_eq!(rows, json!([moved("b"), moved("c")]));
    world.fails("provision plan | where address == b | provision apply").is(
        "provision::plan::missing_dependency",
        "`c`",
        "Add the row",
    );
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision state list | get address"), json!(["b", "c"]));
    assert_eq!(world.json("provision state list | get remote_id"), ids);
    assert_eq!(world.json("provision plan"), json!([]));
    // Back, as a rollback: nothing is made anew.
    let back = world.json("provision rollback 1 | select address action");
    assert_eq!(back, json!([{"address": "a", "action": "update"}, {"address": "b", "action": "update"}]));
    world.ok("provision rollback 1 | provision apply | ignore");
    assert_eq!(world.json("provision state list | get remote_id"), ids);
    // What cannot be.
    world.write("infra.ncl", &text(&[("x", "1", "\"a\""), ("y", "2", "\"a\"")]));
    world.fails("provision plan").is("provision::config::invalid", "both moved from `a`", "One of them");
    world.write("infra.ncl", &text(&[("a", "2", "\"b\""), ("b", "1", "\"a\"")]));
    world.fails("provision plan").is("provision::config::invalid", "moved from itself", "third address");
}

#[test]
fn what_must_be_there_first_asks_the_same_of_what_it_needs() {
    let world = World::new();
    let text = |value: u32| {
        infra(&format!(
            "v = p.local.data & {{ input = {value} }},\n\
             base = p.local.data & {{ input = 1, lifecycle.replace_when = [p.ref \"v\" \"input\"] }},\n\
             top = p.local.data & {{ input = p.ref \"base\" \"id\", lifecycle = {{ create_before_destroy = true, replace_when = [p.ref \"v\" \"input\"] }} }}"
        ))
    };
    world.write("infra.ncl", &text(1));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text(2));
    let reasons = world.json("provision plan | where action == replace | get reason");
    assert!(reasons.as_array().unwrap().iter().all(|it| it.as_str().unwrap().ends_with("made first")), "{reasons}");
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision state list | length"), json!(3));
    // Only the order changes: it is noted, or the next removal would come in the wrong one.
    world.write("infra.ncl", &infra("v = p.local.data & { input = 2 }, w = p.local.data & { input = 3 }"));
    world.ok("provision apply --yes | ignore");
    world.write(
        "infra.ncl",
        &infra("v = p.local.data & { input = 2 }, w = p.local.data & { input = 3, depends_on = [\"v\"] }"),
    );
    let row = world.json("provision plan | select address action reason | first");
    assert_eq!(row, json!({"address": "w", "action": "update", "reason": "depends_on changed"}));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision state show w | get depends_on"), json!(["v"]));
    assert_eq!(world.json("provision plan"), json!([]));
    world.write(
        "infra.ncl",
        &infra("v = p.local.data & { input = 2, lifecycle.replace_when = [p.ref \"w\" \"nope\"] }, w = p.local.data & { input = 3 }"),
    );
    world.fails("provision plan").is("provision::plan::unknown_attribute", "`nope`", "");
}

#[test]
fn a_secret_hides_nothing_from_policies_and_is_in_no_file() {
    let world = World::new().with_sandbox();
    let server = |labels: &str, lifecycle: &str| {
        infra(&format!(
            "w = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", labels = {{ {labels} }}, lifecycle = {{ {lifecycle} }} }}"
        ))
        .replace("name = \"s\"", "name = \"s\", policies = \"policies\", providers.spare = p.hetzner.account & { token = p.secret \"canary-53\" }")
    };
    world.write(
        "policies/p.cedar",
        "permit(principal, action, resource);\n@id(\"no-lab\") forbid(principal, action, resource is Hetzner::Server) when { resource.hasTag(\"team\") && resource.getTag(\"team\") == \"lab\" };",
    );
    // What hides a part hides neither the rest nor itself: it is decided where it is known, before the call.
    for labels in ["team = \"lab\", key = p.secret \"canary-50\"", "team = p.secret \"lab\""] {
        world.write("infra.ncl", &server(labels, ""));
        let caught = world.fails("provision apply --yes");
        let denied = caught.all().iter().any(|it| it.msg.contains("`no-lab` forbids it"));
        assert!(denied && world.held() == 0, "{caught:?}");
    }
    // Conditions do not see it, and a value of `replace_when` is not kept in the clear.
    world.write(
        "infra.ncl",
        &server(
            "team = \"shop\", key = p.secret \"canary-51\"",
            "replace_when = [p.secret \"canary-52\"], postcondition = \"fun self => if std.record.has_field \\\"labels\\\" self then std.to_string self.labels.key else true\"",
        ),
    );
    world.ok("provision apply --yes | ignore");
    // No secret any more, it is still not shown as what was there before.
    world.write("infra.ncl", &server("team = \"shop\", key = \"public\"", ""));
    let shown = world.ok("provision plan | to json");
    assert!(!shown.contains("canary"), "{shown}");
    let held = Value::from(world.held());
    assert_eq!(held, json!(1));
    let grep = std::process::Command::new("grep")
        .args(["-rla", "canary", ".provision"])
        .current_dir(world.project())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
}

#[test]
fn what_a_cloud_showed_once_and_nobody_heard_is_made_again() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        &infra("w = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\" }, d = p.local.data & { input = p.ref \"w\" \"root_password\" }"),
    );
    world.faults(Faults { reset_after_commit_rate: 1.0, ..Faults::default() });
    world.fails("provision apply --yes");
    world.faults(Faults::default());
    assert_eq!(world.json("provision state show w | get tainted"), json!(true));
    let row = world.json("provision plan | where address == w | select action reason | first");
    assert_eq!(row, json!({"action": "replace", "reason": "tainted: a secret it needs was lost"}));
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.json("provision plan"), world.held()), (json!([]), 1));
}

#[test]
fn what_was_there_before_is_somebody_elses() {
    let world = World::new().with_sandbox();
    world.ok("http post --user $env.UPCLOUD_USERNAME --password $env.UPCLOUD_PASSWORD --content-type application/json $'($env.UPCLOUD_API_URL)/tag' {tag: {name: theirs}} | ignore");
    world.write("infra.ncl", &infra("t = p.upcloud.tag & { name = \"theirs\" }"));
    let caught = world.fails("provision apply --yes");
    let told = caught.all();
    let refused = told.iter().find(|it| it.code.as_deref() == Some("provision::plan::someone_elses"));
    let refused = refused.unwrap_or_else(|| panic!("{caught:?}"));
    assert!(refused.msg.contains("somebody else's"), "{refused:?}");
    assert!(refused.help.as_deref().unwrap_or_default().contains("provision import t theirs"), "{refused:?}");
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 1);
    // Two rows are not one thing.
    let key = format!("p.hetzner.ssh_key & {{ public_key = \"{KEY}\" }}");
    world.write("infra.ncl", &infra(&format!("a = {key}")));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &infra(&format!("a = {key}, b = {key} & {{ name = \"s-a\" }}")));
    let caught = world.fails("provision apply --yes");
    assert!(!caught.all().is_empty() && world.held() == 2, "{caught:?}");
}

#[test]
fn what_is_retained_is_left_by_a_replacement_too() {
    let world = World::new().with_sandbox();
    let volume = |name: &str, place: &str| {
        infra(&format!(
            "v = p.hetzner.volume & {{ size = 10, location = \"{place}\", name = \"{name}\", lifecycle.retain = true }}"
        ))
    };
    world.write("infra.ncl", &volume("one", "hel1"));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &volume("one", "nbg1"));
    world.fails("provision plan").is("provision::plan::duplicate_name", "the same name", "");
    world.write("infra.ncl", &volume("two", "nbg1"));
    let row = world.json("provision plan | first");
    assert!(row["reason"].as_str().unwrap().ends_with("the old one is left in the cloud"), "{row}");
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.held(), deletions(&world), world.json("provision plan")), (2, Vec::new(), json!([])));
}

#[test]
fn what_the_cloud_detached_by_itself_is_done_and_not_tried_for_minutes() {
    let world = World::new().with_sandbox();
    let write = |kind: &str| {
        world.write(
            "infra.ncl",
            &infra(&format!(
                "web = p.hetzner.server & {{ server_type = \"cx23\", image = \"{kind}\", location = \"hel1\" }},
                 disk = p.hetzner.volume & {{ size = 10, server = p.ref \"web\" \"id\" }},
                 ip = p.hetzner.floating_ip & {{ type = \"ipv4\", server = p.ref \"web\" \"id\" }}"
            )),
        );
    };
    write("debian-12");
    world.ok("provision apply --yes | ignore");
    write("ubuntu-24.04");
    let begun = std::time::Instant::now();
    world.ok("provision apply --yes | ignore");
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    let calls = provision_sandbox::control::requests(world.sandbox()).unwrap();
    // An address is assigned to the new server in one call: only the volume is detached first.
    let refused = calls.iter().filter(|it| it.path.ends_with("/detach") || it.path.ends_with("/unassign"));
    assert_eq!(refused.filter(|it| it.status.is_some_and(|status| status >= 400)).count(), 1, "nothing was detached");
    assert_eq!(world.json("provision plan | length"), 0);
}
