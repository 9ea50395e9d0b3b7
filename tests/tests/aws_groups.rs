//! Owns EC2's security groups from outside: groups that refer to themselves and to each other, egress, rules of their own.

use provision_sandbox::{FailNext, FaultKind};
use provision_tests::{Faults, World};
use serde_json::{Value, json};

const VPC: &str = "vpc = p.aws.vpc & { cidr_block = \"10.1.0.0/16\" },";

fn group(name: &str, rest: &str) -> String {
    format!("{name} = p.aws.security_group & {{ vpc_id = p.ref \"vpc\" \"id\"{rest} }},")
}

fn from(group: &str) -> String {
    format!(
        ", ingress = [{{ ip_protocol = \"tcp\", from_port = 7000, to_port = 7001, source_groups = [p.ref \"{group}\" \"id\"] }}]"
    )
}

/// The actions that were sent, in their order.
fn sent(world: &World) -> Vec<String> {
    let action = |request: provision_sandbox::Request| request.action.unwrap_or(request.path);
    world.mutating().into_iter().map(action).collect()
}

#[test]
fn groups_refer_to_themselves_and_to_each_other() {
    let world = World::new().with_sandbox();
    world.declare(&format!("{VPC}{}", group("members", &from("members"))));
    let rows = json!([["members", "create"], ["vpc", "create"]]);
    assert_eq!(world.json("provision plan | each {|row| [$row.address $row.action]}"), rows);
    world.settle();
    let own = world.json("provision state show members | get remote_id");
    assert_eq!(world.json("provision state show members | get inputs.ingress.0.source_groups.0"), own);

    world.declare(&format!("{VPC}{}{}", group("front", &from("back")), group("back", &from("front"))));
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0);
    let rows = json!([["back", "create"], ["front", "create"], ["vpc", "create"]]);
    assert_eq!(world.json("provision plan | each {|row| [$row.address $row.action]}"), rows);
    world.ok("provision plan | provision apply | ignore");
    assert_eq!(world.json("provision plan | select address action reason"), json!([]));
    assert_eq!(world.json("provision drift"), json!([]));
    assert_eq!(world.json("provision heal"), json!([]));
    let back = world.json("provision state show back | get remote_id");
    assert_eq!(world.json("provision state show front | get inputs.ingress.0.source_groups.0"), back);
    // Neither can go while the other refers to it: first both let go, whatever runs at a time.
    world.ok("provision destroy --yes --parallel 1 | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn the_same_rows_set_what_a_creation_has_left() {
    let world = World::new().with_sandbox();
    world.declare(&format!("{VPC}{}", group("members", &from("members"))));
    world.ok("provision plan | to json | save rows.json");
    let action = Some("AuthorizeSecurityGroupIngress".to_owned());
    let fault = FailNext { method: None, path_contains: None, action, kind: FaultKind::Error, times: 100 };
    world.faults(Faults { fail_next: vec![fault], ..Faults::default() });
    world.fails("open rows.json | provision apply");
    world.faults(Faults::default());
    assert_eq!(world.json("provision state list | get address"), json!(["members", "vpc"]));
    assert_eq!(
        world.json("provision plan | select address action reason"),
        json!([{
            "address": "members", "action": "update", "reason": "ingress changed",
        }])
    );
    world.ok("open rows.json | provision apply | ignore");
    assert_eq!(world.json("provision plan | select address action reason"), json!([]));
    let creates = sent(&world).into_iter().filter(|it| it == "CreateSecurityGroup").count();
    assert_eq!(creates, 1);
}

#[test]
fn one_group_of_two_can_be_taken_out_of_the_file() {
    let world = World::new().with_sandbox();
    world.declare(&format!("{VPC}{}{}", group("front", &from("back")), group("back", &from("front"))));
    world.settle();
    world.declare(&format!("{VPC}{}", group("front", &from("front"))));
    world.settle();
    assert_eq!(world.json("provision state list | get address"), json!(["front", "vpc"]));
}

#[test]
fn a_cycle_that_nothing_breaks_names_its_references() {
    let world = World::new();
    world.declare(
        "a = p.local.data & { input = p.ref \"b\" \"output\" }, b = p.local.data & { input = p.ref \"a\" \"output\" }",
    );
    world.fails("provision plan").is("provision::plan::cycle", "a → b → a", "`a.input`, which refers to `b`");
}

#[test]
fn what_goes_out_of_a_group_is_all_that_the_file_says() {
    let world = World::new().with_sandbox();
    world.declare(&format!("{VPC}{}{}", group("open", ""), group("closed", ", egress = []")));
    world.settle();
    let actions = sent(&world);
    assert_eq!(actions.iter().filter(|it| *it == "RevokeSecurityGroupEgress").count(), 1, "{actions:?}");
    assert!(!actions.iter().any(|it| it == "AuthorizeSecurityGroupEgress"), "{actions:?}");
    // Somebody opens it: a rule more is drift, and is closed again.
    let id = world.json("provision state show closed | get remote_id");
    world.write(
        "other/infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in {{ name = \"other\", resources.hole = p.aws.security_group_rule & \
             {{ group_id = {id}, direction = \"egress\", ip_protocol = \"-1\", cidr_ip = \"0.0.0.0/0\" }} }} | p.Infrastructure"
        ),
    );
    world.ok("cd other; provision apply --yes | ignore");
    assert_eq!(world.json("provision drift | get path"), json!(["egress"]));
    world.settle();
    assert_eq!(world.json("cd other; provision plan | get action"), json!(["create"]));
    // And back to what AWS begins with.
    world.declare(&format!("{VPC}{}{}", group("open", ""), group("closed", "")));
    world.settle();
}

#[test]
fn a_locked_down_group_is_adopted_and_made_again_closed() {
    let world = World::new().with_sandbox();
    world.write(
        "other/infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in {{ name = \"other\", resources = {{ {VPC}{}{} }} }} | p.Infrastructure",
            group("shut", ", egress = []"),
            group("peers", &from("peers"))
        ),
    );
    world.ok("cd other; provision apply --yes | ignore");
    let ids = world.json("cd other; provision state list | select address remote_id | transpose -rd");
    world.declare("");
    let mut text = String::new();
    for name in ["vpc", "shut", "peers"] {
        let kind = if name == "vpc" { "aws.vpc" } else { "aws.security_group" };
        let row = world.json(&format!("provision import {name} {} --type {kind} --adopt", ids[name].as_str().unwrap()));
        text += row["nickel"].as_str().or_else(|| row[0]["nickel"].as_str()).unwrap();
    }
    assert!(text.contains("egress = []"), "{text}");
    assert!(text.contains("p.ref \"peers\" \"id\""), "{text}");
    world.declare(&text);
    assert_eq!(world.json("provision plan | select address reason"), json!([]));
    // Made again, both are as they were.
    world.ok("provision destroy --yes | ignore");
    world.settle();
    assert_eq!(world.json("provision state show shut | get inputs.egress"), json!([]));
    let own = world.json("provision state show peers | get remote_id");
    assert_eq!(world.json("provision state show peers | get inputs.ingress.0.source_groups.0"), own);
}

#[test]
fn a_rule_of_its_own_stands_beside_those_of_its_group_and_has_one_owner() {
    let world = World::new().with_sandbox();
    let inline = ", ingress = [{ ip_protocol = \"tcp\", from_port = 22, to_port = 22, cidr_ips = [\"10.0.0.0/8\"] }]";
    let rule = |name: &str, direction: &str, port: u32| {
        format!(
            "{name} = p.aws.security_group_rule & {{ group_id = p.ref \"web\" \"id\", direction = \"{direction}\", \
             ip_protocol = \"tcp\", from_port = {port}, to_port = {port}, cidr_ip = \"10.0.0.0/8\" }},"
        )
    };
    let closed = format!("{inline}, egress = []");
    world.declare(&format!(
        "{VPC}{}{}{}",
        group("web", &closed),
        rule("https", "ingress", 443),
        rule("dns", "egress", 53)
    ));
    world.settle();
    assert_eq!(world.json("provision drift"), json!([]));
    // Another one comes and goes without the others.
    world.declare(&format!("{VPC}{}{}", group("web", &closed), rule("https", "ingress", 444)));
    world.settle();
    world.declare(&format!("{VPC}{}{}", group("web", &closed), rule("ssh", "ingress", 22)));
    world.fails("provision plan").is(
        "provision::plan::two_owners",
        "`ssh` is also an item of `ingress`",
        "Remove it from",
    );
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn a_gp2_volume_grows_and_is_made_again_without_a_number_of_operations() {
    let world = World::new().with_sandbox();
    let volume = |rest: &str| format!("data = p.aws.volume & {{ availability_zone = \"eu-north-1a\", size = {rest} }}");
    world.write(
        "other/infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in {{ name = \"o\", resources = {{ {} }} }} | p.Infrastructure",
            volume("200")
        ),
    );
    world.ok("cd other; provision apply --yes | ignore");
    let id = world.json("cd other; provision state show data | get remote_id");
    world.declare("");
    let row = world.json(&format!("provision import data {} --type aws.volume --adopt", id.as_str().unwrap()));
    let text = row["nickel"].as_str().or_else(|| row[0]["nickel"].as_str()).unwrap().to_owned();
    assert!(!text.contains("iops"), "{text}");
    world.declare(&text.replace("200", "400"));
    world.settle();
    world.ok("provision destroy --yes | ignore");
    world.settle();
    world.declare(&volume("400, iops = 3000"));
    world.fails("provision plan").is("provision::plan::value", "does not go with its `volume_type`", "gp3, io1, io2");
}

#[test]
fn a_resource_with_as_many_tags_as_there_can_be_is_told_before_it_is_made_again() {
    let world = World::new().with_sandbox();
    let tags = |number: usize| {
        let all: Vec<String> = (0..number).map(|at| format!("t{at} = \"x\"")).collect();
        format!("data = p.aws.elastic_ip & {{ tags = {{ {} }} }}", all.join(", "))
    };
    // The name that is set by default and the two that mark it count.
    world.declare(&tags(48));
    world.fails("provision plan").is("provision::plan::value", "would have 51 tags", "Write 48 tags or fewer");
    world.declare(&tags(47));
    world.settle();
    let id = world.json("provision state show data | get remote_id");
    // One that is full and was imported carries no mark of ours, and nothing is the matter with it.
    let full: Vec<Value> = (0..50).map(|at| json!({"key": format!("t{at}"), "value": "x"})).collect();
    world.ok(&format!("provision sandbox mutate {id} {{tagSet: {}}}", Value::Array(full)));
    world.ok("provision state forget data | ignore");
    let row = world.json(&format!("provision import data {} --type aws.elastic_ip", id.as_str().unwrap()));
    let text = row["nickel"].as_str().or_else(|| row[0]["nickel"].as_str()).unwrap().to_owned();
    world.declare(&text);
    assert_eq!(world.json("provision plan | select address reason"), json!([]));
    world.ok("provision state replace data | ignore");
    world.fails("provision plan").is("provision::plan::value", "would have 53 tags", "Write 48 tags or fewer");
}
