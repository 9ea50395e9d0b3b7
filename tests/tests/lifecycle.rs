//! Owns what a `lifecycle` block promises, environments, and plans as files.

use provision_tests::World;
use serde_json::{Value, json};

fn infra(resources: &str) -> String {
    format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resources} }} }} | p.Infrastructure")
}

#[test]
fn a_renamed_resource_is_moved_and_not_made_again() {
    let world = World::new().with_sandbox();
    let key = provision_tests::PUBLIC_KEY;
    world.write("infra.ncl", &infra(&format!("key = p.hetzner.ssh_key & {{ name = \"k\", public_key = \"{key}\" }}, b = p.local.data & {{ input = p.ref \"key\" \"id\" }}")));
    world.ok("provision apply --yes | ignore");
    let id = world.json("provision state show key | get remote_id");
    world.write("infra.ncl", &infra(&format!("front = p.hetzner.ssh_key & {{ name = \"k\", public_key = \"{key}\", lifecycle.moved_from = \"key\" }}, b = p.local.data & {{ input = p.ref \"front\" \"id\" }}")));
    let rows = world.json("provision plan | select address action reason changes.0");
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!((&rows[0]["action"], &rows[0]["reason"]), (&json!("update"), &json!("address changed")));
    assert_eq!(rows[0]["changes.0"]["before"], "key");
    world.ok("provision plan | provision apply | ignore");
    assert_eq!(world.json("provision state show front | get remote_id"), id);
    assert_eq!(world.json("provision state show b | get depends_on"), json!(["front"]));
    assert_eq!((world.json("provision plan"), world.held()), (json!([]), 1));
}

#[test]
fn a_target_brings_along_what_it_cannot_go_without_and_no_more() {
    let world = World::new();
    let text = |version: u32, broken: &str| {
        infra(&format!(
            "v = p.local.data & {{ input = {version} }}, a = p.local.data & {{ input = 1, lifecycle.replace_when = [p.ref \"v\" \"output\"] }}, b = p.local.data & {{ input = p.ref \"a\" \"id\" }}, c = p.local.data & {{ input = {version} }}{broken}"
        ))
    };
    world.write("infra.ncl", &text(1, ""));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text(2, ""));
    let planned = |flags: &str| world.json(&format!("provision plan {flags} | get address | sort"));
    // `b` must turn to the new `a`.
    assert_eq!(planned("--target [a]"), json!(["a", "b", "v"]));
    assert_eq!(planned("--target [c]"), json!(["c"]));
    assert_eq!(planned("--exclude [b]"), json!(["c", "v"]));
    assert_eq!(planned("--target []"), json!([]));
    assert_eq!(world.json("provision plan --target [] | provision apply"), json!([]));
    world.fails("provision plan --target [d]").is("provision::plan::target", "`d`", "");
    // Mistakes elsewhere are not in the way, and nothing is taken for left out of the file; a cycle is.
    world.write("infra.ncl", &text(2, ", x = p.local.data & { inputt = p.ref \"nope\" \"id\" }, y = p.local.data & { input = p.ref \"x\" \"id\", lifecycle.wrong = 1 }"));
    assert_eq!(planned("--target [a]"), json!(["a", "b", "v"]));
    world.fails("provision plan --target [x]").is("provision::plan::unknown_field", "inputt", "");
    world.fails("provision plan").is("provision::plan::unknown_field", "", "");
    // So for what Nickel finds itself.
    world.write("infra.ncl", &text(2, ", x = p.hetzner.server & { image = 3 }"));
    assert_eq!(planned("--target [a]"), json!(["a", "b", "v"]));
    world.fails("provision plan --target [x]").is("nickel::eval::contract", "`image`", "");
    // One that must come along is no elsewhere.
    world.write("infra.ncl", &text(2, "").replace("b = p.local.data & {", "b = p.local.data & { inputt = 3,"));
    assert_eq!(planned("--target [c]"), json!(["c"]));
    world.fails("provision plan --target [a]").is("provision::plan::unknown_field", "inputt", "");
    world.write(
        "infra.ncl",
        &text(
            2,
            ", x = p.local.data & { input = p.ref \"y\" \"id\" }, y = p.local.data & { input = p.ref \"x\" \"id\" }",
        ),
    );
    world.fails("provision plan --target [c]").is("provision::plan::cycle", "", "");
    world.write("infra.ncl", &text(2, ""));
    world.ok("provision plan --target [a] | provision apply | ignore");
    assert_eq!(planned(""), json!(["c"]));
}

#[test]
fn what_is_made_first_is_there_before_the_old_one_goes() {
    let world = World::new().with_sandbox();
    let text = |name: &str, image: &str, first: bool| {
        infra(&format!(
            "web = p.hetzner.server & {{ name = \"{name}\", server_type = \"cx23\", image = \"{image}\", lifecycle.create_before_destroy = {first} }}, b = p.local.data & {{ input = p.ref \"web\" \"id\" }}"
        ))
    };
    world.write("infra.ncl", &text("one", "debian-12", true));
    world.ok("provision apply --yes | ignore");
    let old = world.json("provision state show web | get remote_id");
    world.write("infra.ncl", &text("one", "debian-13", true));
    world.fails("provision plan").is("provision::plan::duplicate_name", "the same name", "create_before_destroy");
    world.write("infra.ncl", &text("two", "debian-13", true));
    let row = world.json("provision plan | where address == web | first");
    assert!(row["reason"].as_str().unwrap().ends_with("the new one is made first"), "{row}");
    world.ok("provision apply --yes | ignore");
    let calls: Vec<String> = world.mutating().iter().rev().take(2).rev().map(|it| it.method.clone()).collect();
    assert_eq!(calls, ["POST", "DELETE"]);
    assert_ne!(world.json("provision state show web | get remote_id"), old);
    assert_eq!(
        world.json("provision state show b | get attributes.output"),
        world.json("provision state show web | get attributes.id")
    );
    assert_eq!((world.json("provision plan"), world.held()), (json!([]), 1));
    assert_eq!(world.json("provision state list | length"), json!(2));
}

#[test]
fn a_value_of_replace_when_that_changes_replaces_the_resource() {
    let world = World::new();
    let text = |version: u32| {
        infra(&format!(
            "v = p.local.data & {{ input = {version} }}, a = p.local.data & {{ input = 1, lifecycle.replace_when = [p.ref \"v\" \"output\"] }}"
        ))
    };
    world.write("infra.ncl", &text(1));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    let id = world.json("provision state show a | get remote_id");
    world.write("infra.ncl", &text(2));
    let rows = world.json("provision plan | select address action reason");
    assert_eq!(
        rows[0],
        json!({"address": "a", "action": "replace", "reason": "a value of `replace_when` is known only after apply"})
    );
    world.ok("provision apply --yes | ignore");
    assert_ne!(world.json("provision state show a | get remote_id"), id);
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn ignored_fields_are_left_alone() {
    let world = World::new().with_sandbox();
    let text = |label: &str| {
        infra(&format!(
            "w = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", labels.team = \"{label}\", lifecycle.ignore = [\"labels\"] }}"
        ))
    };
    world.write("infra.ncl", &text("a"));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text("b"));
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn conditions_are_asked_before_and_after() {
    let world = World::new().with_sandbox();
    let text = |lifecycle: &str| {
        infra(&format!(
            "w = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", lifecycle = {{ {lifecycle} }} }}"
        ))
    };
    world.write("infra.ncl", &text("precondition = { condition = \"fun self => self.server_type != \\\"cx23\\\"\", message = \"cx23 is too small\" }"));
    let before = world.mutating().len();
    world.fails("provision plan").is("provision::plan::precondition", "cx23 is too small", "condition holds");
    world.fails("provision apply --yes").is("provision::plan::precondition", "infra.ncl:1", "");
    assert_eq!(world.mutating().len(), before);
    world.write("infra.ncl", &text("precondition = \"fun self => self.nope\""));
    world.fails("provision plan").is("provision::plan::precondition", "cannot be evaluated", "");
    world.write(
        "infra.ncl",
        &text("postcondition = \"fun self => if self.status == \\\"running\\\" then \\\"it runs\\\" else true\""),
    );
    let caught = world.fails("provision apply --yes");
    caught.is("provision::apply::incomplete", "1 failed", "");
    assert!(
        caught
            .all()
            .iter()
            .any(|it| it.code.as_deref() == Some("provision::apply::postcondition") && it.msg.contains("it runs")),
        "{caught:?}"
    );
    assert_eq!(world.held(), 1);
    world.write("infra.ncl", &text("postcondition = \"fun self => self.status == \\\"running\\\"\""));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn environments_are_merges_with_a_state_each() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"shop\", resources.web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\" },\n\
         environments = { prod = { resources.web = { server_type = \"cx33\" } }, dev = {} } } | p.Infrastructure",
    );
    let size = |environment: &str| {
        world.json(&format!(
            "provision plan {environment} | first | get changes | where path == server_type | get 0.after"
        ))
    };
    assert_eq!(
        (size(""), size("--environment prod"), size("--environment dev")),
        (json!("cx23"), json!("cx33"), json!("cx23"))
    );
    world.ok("provision plan --environment prod | provision apply | ignore");
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.held(), 2);
    assert_eq!(world.json("provision state show web --environment prod | get inputs.name"), json!("shop-prod-web"));
    assert_eq!(world.json("with-env {PROVISION_ENVIRONMENT: prod} { provision plan }"), json!([]));
    let context = world.json("provision plan --environment dev | first | get request.context.environment");
    assert_eq!(context, json!("dev"));
    world.fails("provision plan --environment prd").is("provision::config::environment", "`prd`", "`prod`");
    world.fails("provision plan --environment ../x").is("provision::config::invalid", "`../x`", "lower-case");
}

#[test]
fn a_plan_goes_through_a_file_as_it_was_made() {
    let world = World::new();
    world.write("infra.ncl", &infra("a = p.local.data & { input = p.secret \"canary-31\" }"));
    world.ok("provision plan --out plan.json | ignore");
    assert!(!world.read("plan.json").contains("canary"));
    world.write("tampered.json", &world.read("plan.json").replace("local.data", "local.dato"));
    world.fails("provision apply tampered.json").is("provision::plan::tampered", "signed", "Plan again");
    world.fails("open tampered.json | provision apply").is("provision::plan::tampered", "signed", "Plan again");
    world.write("no.json", "{}");
    world.fails("provision apply no.json").is("provision::plan::file", "no plan file", "--out");
    let newer = world.read("plan.json").replacen("\"version\":1", "\"version\":9", 1);
    world.write("newer.json", &newer);
    world.fails("provision apply newer.json").is("provision::plan::file", "version 9", "Update");
    world.ok("provision apply plan.json --reason file | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("mkdir other; cp infra.ncl other");
    world.fails("provision apply plan.json --project other").is("provision::plan::file", "another state", "");
    let document: Value = serde_json::from_str(&world.ok("provision plan --all --json")).unwrap();
    assert_eq!((&document["format_version"], &document["project"]), (&json!("1"), &json!("s")));
    assert_eq!(document["rows"][0]["action"], "no-op");
}

#[test]
fn what_is_attached_is_detached_when_it_is_taken_out() {
    let world = World::new().with_sandbox();
    let text = |server: &str| {
        infra(&format!(
            "web = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", location = \"hel1\" }}, \
             data = p.hetzner.volume & {{ size = 10, location = \"hel1\"{server} }}"
        ))
    };
    world.write("infra.ncl", &text(", server = p.ref \"web\" \"id\""));
    world.ok("provision apply --yes | ignore");
    for nothing in [", server = null", ""] {
        world.write("infra.ncl", &text(nothing));
        let rows = world.json("provision plan | select address action reason changes");
        assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
        assert_eq!(rows[0]["changes"][0]["path"], json!("server"), "{rows}");
        assert_eq!(rows[0]["changes"][0]["after"], Value::Null, "{rows}");
    }
    world.ok("provision apply --yes | ignore");
    assert!(world.mutating().last().unwrap().path.ends_with("/actions/detach"));
    assert_eq!(world.json("provision plan"), json!([]));
    // What somebody else attaches is not ours to detach.
    world.ok("provision sandbox mutate (provision state show data | get remote_id) {server: (provision state show web | get remote_id | into int)}");
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("provision sandbox mutate (provision state show data | get remote_id) {server: null}");
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn what_only_grows_is_not_made_smaller() {
    let world = World::new().with_sandbox();
    let text = |size: u32| infra(&format!("data = p.hetzner.volume & {{ location = \"hel1\", size = {size} }}"));
    world.write("infra.ncl", &text(20));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text(10));
    world.fails("provision plan").is("provision::plan::shrinks", "can only grow", "20 or more");
    // Grown by hand, healing leaves it.
    world.write("infra.ncl", &text(20));
    world.ok("provision sandbox mutate (provision state show data | get remote_id) {size: 30}");
    let told = "size is 30 and can only grow: write 30 instead of 20, or mark the resource for replacement";
    let row = json!([{"address": "data", "action": "no-op", "reason": told}]);
    assert_eq!(world.json("provision heal | select address action reason"), row);
    assert_eq!(world.json("provision plan | select address action reason"), row);
    // Everything else goes on, of the same resource too.
    let more = "labels = { team = \"a\" }";
    let both = format!(
        "data = p.hetzner.volume & {{ location = \"hel1\", size = 20, {more} }}, net = p.hetzner.network & {{ ip_range = \"10.0.0.0/16\" }}"
    );
    world.write("infra.ncl", &infra(&both));
    assert_eq!(world.json("provision plan | get action"), json!(["update", "create"]));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan | select address action reason"), row);
    world.write("infra.ncl", &infra(&both.replace("size = 20", "size = 30")));
    assert_eq!(world.json("provision plan --target data | get action"), json!([]));
}

#[test]
fn another_way_to_write_a_network_is_no_change() {
    let world = World::new().with_sandbox();
    let text = |range: &str| {
        infra(&format!(
            "net = p.hetzner.network & {{ ip_range = \"{range}\" }}, \
             wall = p.hetzner.firewall & {{ rules = [{{ direction = \"in\", protocol = \"tcp\", port = \"22\", source_ips = [\"2001:DB8::0/32\", \"192.0.2.7\"] }}] }}"
        ))
    };
    world.write("infra.ncl", &text("10.1.2.3/16"));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision state show net | get inputs.ip_range"), json!("10.1.0.0/16"));
    world.write("infra.ncl", &text("10.1.0.0/16"));
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision drift"), json!([]));
}

#[test]
fn a_service_of_a_load_balancer_is_changed_in_its_place() {
    let world = World::new().with_sandbox();
    let text = |to: u32| {
        infra(&format!(
            "front = p.hetzner.load_balancer & {{ load_balancer_type = \"lb11\", location = \"hel1\", services = [\
             {{ protocol = \"tcp\", listen_port = 80, destination_port = {to} }}, {{ protocol = \"tcp\", listen_port = 90, destination_port = 1 }}] }}"
        ))
    };
    world.write("infra.ncl", &text(8080));
    world.ok("provision apply --yes | ignore");
    let before = world.mutating().len();
    world.write("infra.ncl", &text(8081));
    world.ok("provision apply --yes | ignore");
    let sent: Vec<String> = world.mutating()[before..].iter().map(|it| it.path.clone()).collect();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].ends_with("/actions/update_service"), "{sent:?}");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn what_a_rule_lets_in_comes_and_goes_alone_however_the_rules_are_written() {
    let world = World::new().with_sandbox();
    let with = |rules: &str| {
        world.declare(&format!(
            "vpc = p.aws.vpc & {{ cidr_block = \"10.0.0.0/16\" }},
             other = p.aws.security_group & {{ vpc_id = p.ref \"vpc\" \"id\" }},
             wall = p.aws.security_group & {{ vpc_id = p.ref \"vpc\" \"id\", ingress = [{rules}] }},"
        ));
    };
    let https = |rest: &str| format!("{{ ip_protocol = \"tcp\", from_port = 443, to_port = 443, {rest} }},");
    // Two rules with the same ports, and one thing said twice.
    with(&format!(
        "{}{}{}",
        https("cidr_ips = [\"10.0.0.0/8\", \"192.168.0.7/16\"]"),
        https("cidr_ips = [\"10.0.0.0/8\"], cidr_ipv6 = [\"2001:db8::/32\"]"),
        "{ ip_protocol = \"all\", source_groups = [p.ref \"other\" \"id\"] },"
    ));
    world.settle();
    assert_eq!(world.json("provision plan --deep"), json!([]));
    // The same in other words is no change.
    with(&format!(
        "{}{}",
        "{ ip_protocol = \"-1\", source_groups = [p.ref \"other\" \"id\"] },",
        "{ ip_protocol = \"6\", from_port = 443, to_port = 443, cidr_ipv6 = [\"2001:db8::/32\"], cidr_ips = [\"192.168.0.0/16\", \"10.0.0.0/8\"] },"
    ));
    assert_eq!(world.json("provision plan --deep"), json!([]));
    // One range comes, one goes, and the others are not touched in between.
    let before = world.mutating().len();
    with(&https("cidr_ips = [\"10.0.0.0/8\", \"172.16.0.0/12\"], cidr_ipv6 = [\"2001:db8::/32\"]"));
    world.settle();
    let actions: Vec<String> = world.mutating()[before..].iter().filter_map(|call| call.action.clone()).collect();
    let count = |action: &str| actions.iter().filter(|one| *one == action).count();
    assert_eq!(count("RevokeSecurityGroupIngress"), 2, "{actions:?}");
    assert_eq!(count("AuthorizeSecurityGroupIngress"), 1, "{actions:?}");
}
