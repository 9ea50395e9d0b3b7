//! Owns the promise about bad input: one error with code, position and next step, and no call to any cloud.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{PUBLIC_KEY, World};

fn infra(resources: &str) -> String {
    format!(
        "let p = import \"provision.ncl\" in\n{{\n  name = \"shop\",\n  resources = {{\n{resources}\n  }},\n}} | p.Infrastructure\n"
    )
}

/// Plans the resources, which start on line 5, and expects the error; nothing may have been asked of a cloud.
#[track_caller]
fn refused(resources: &str, code: &str, in_message: &str, in_help: &str) {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra(resources));
    world.fails("provision plan").is(code, in_message, in_help);
    assert_eq!(provision_tests::control::requests(world.sandbox()).unwrap(), []);
}

#[test]
fn a_lifecycle_says_which_field_is_wrong_and_what_it_takes() {
    for (lifecycle, code, message, help) in [
        ("ignore = [\"input.x\"]", "provision::plan::unknown_field", "`input.x`", "whole fields: write `input`"),
        (
            "precondition = { condition = \"fun self => true\", mesage = \"x\" }",
            "provision::plan::unknown_field",
            "precondition.mesage",
            "`message`",
        ),
        (
            "postcondition = [{ message = \"x\" }, \"fun self => true\"]",
            "provision::plan::missing_field",
            "postcondition.0` has no `condition`",
            "fun self",
        ),
        ("precondition = 3", "provision::plan::type", "precondition` is a text or a record", "fun self"),
        ("moved_from = 3", "provision::plan::type", "moved_from` is an address", "moved_from = \"web\""),
        (
            "precondition = \"1 == 2\"",
            "provision::plan::precondition",
            "of `a` is no function: 1 == 2",
            "as a function",
        ),
    ] {
        refused(&format!("a = p.local.data & {{ input = 1, lifecycle = {{ {lifecycle} }} }}"), code, message, help);
    }
}

#[test]
fn a_mistake_in_an_environment_is_shown_where_it_was_written() {
    let world = World::new();
    world.write("infra.ncl", "let p = import \"provision.ncl\" in\n{\n  name = \"s\",\n  resources.site = p.local.data & { input = 1 },\n  environments = {\n    one.resources.site.inputt = 2,\n    two.resources.site.lifecycle.protect = \"x\",\n    three.resources.site.input = p.ref \"nope\" \"id\",\n  },\n} | p.Infrastructure\n");
    for (name, code, place) in [
        ("one", "provision::plan::unknown_field", "infra.ncl:6:24"),
        ("two", "nickel::eval::contract", "infra.ncl:7:44"),
        ("three", "provision::plan::unknown_reference", "infra.ncl:8:34"),
    ] {
        let caught = world.fails(&format!("provision plan --environment {name}"));
        caught.is(code, &format!("({place})"), "");
        assert!(!format!("{caught:?}").contains("environment of"), "{caught:?}");
    }
}

#[test]
fn an_unknown_field_has_a_nearest_name() {
    refused(
        "    web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", locaton = \"hel1\" },",
        "provision::plan::unknown_field",
        "`resources.web.locaton` (infra.ncl:5:75)",
        "Did you mean `location`?",
    );
}

#[test]
fn a_wrong_type_is_found_at_the_value() {
    refused(
        "    web = p.hetzner.server & { server_type = \"cx23\", image = 3 },",
        "nickel::eval::contract",
        "(infra.ncl:5:62)",
        "Change the value",
    );
}

#[test]
fn a_missing_required_field_is_found_at_the_resource() {
    refused(
        "    web = p.hetzner.server & { server_type = \"cx23\" },",
        "nickel::eval::missing_field",
        "`image` (infra.ncl:5:11)",
        "Define the field",
    );
}

#[test]
fn an_unknown_region_is_found_without_asking() {
    refused(
        "    web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", location = \"hel2\" },",
        "provision::plan::unknown_value",
        "`hel2` (infra.ncl:5:86)",
        "Did you mean `hel1`?",
    );
}

#[test]
fn an_unknown_server_type_is_found_without_asking() {
    refused(
        "    web = p.hetzner.server & { server_type = \"cx2222\", image = \"debian-12\" },",
        "provision::plan::unknown_value",
        "(infra.ncl:5:46)",
        "allow_unknown",
    );
}

#[test]
fn an_unknown_type_has_a_nearest_name() {
    refused("    web = p.hetzner.servr & { },", "nickel::eval::missing_field", "(infra.ncl:5:", "server");
    let world = World::new().with_sandbox();
    world.fails("{name: shop, resources: {web: {\"$type\": hetzner.servr}}} | provision plan").is(
        "provision::plan::unknown_type",
        "servr",
        "Did you mean `hetzner.server`?",
    );
    world.fails("{name: shop, resources: {web: {\"$type\": hetzer.server}}} | provision plan").is(
        "provision::provider::unknown",
        "hetzer",
        "Did you mean `hetzner`?",
    );
}

#[test]
fn a_reference_to_nothing_is_found() {
    refused(
        "    net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" },\n    \
         web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", networks = [p.ref \"ned\" \"id\"] },",
        "provision::plan::unknown_reference",
        "there is no resource `ned` (infra.ncl:6:",
        "Did you mean `net`?",
    );
}

#[test]
fn a_reference_to_an_unknown_attribute_is_found() {
    refused(
        "    net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" },\n    \
         web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", networks = [p.ref \"net\" \"idd\"] },",
        "provision::plan::unknown_attribute",
        "has no attribute `idd` (infra.ncl:6:",
        "Did you mean `id`?",
    );
}

#[test]
fn a_cycle_is_named_whole() {
    refused(
        "    a = p.local.data & { input = p.ref \"b\" \"id\" },\n    b = p.local.data & { input = p.ref \"c\" \"id\" },\n    \
         c = p.local.data & { input = p.ref \"a\" \"id\" },",
        "provision::plan::cycle",
        "a → b → c → a (infra.ncl:5:",
        "Remove one of these: `a.input`, which refers to `b`, `b.input`, which refers to `c`, `c.input`",
    );
}

#[test]
fn a_duplicate_name_is_found_where_the_cloud_forbids_it() {
    refused(
        "    a = p.hetzner.server & { name = \"same\", server_type = \"cx23\", image = \"debian-12\" },\n    \
         b = p.hetzner.server & { name = \"same\", server_type = \"cx23\", image = \"debian-12\" },",
        "provision::plan::duplicate_name",
        "`same` (infra.ncl:6:37)",
        "another",
    );
}

#[test]
fn two_routes_for_one_range_are_found_before_the_cloud_refuses_one() {
    refused(
        "    v = p.aws.vpc & { cidr_block = \"10.0.0.0/16\", region = \"eu-north-1\" },\n    \
         t = p.aws.route_table & { vpc_id = p.ref \"v\" \"id\", region = \"eu-north-1\" },\n    \
         a = p.aws.route & { route_table_id = p.ref \"t\" \"id\", destination_cidr_block = \"0.0.0.0/0\", region = \"eu-north-1\" },\n    \
         b = p.aws.route & { route_table_id = p.ref \"t\" \"id\", destination_cidr_block = \"0.0.0.0/0\", region = \"eu-north-1\" },",
        "provision::plan::duplicate_name",
        "have the same route_table_id, destination_cidr_block (infra.ncl:8:",
        "another",
    );
}

#[test]
fn an_absent_credential_is_named_and_never_shown() {
    let mut world = World::new().with_sandbox();
    world.env("HCLOUD_TOKEN", None).env("AWS_SECRET_ACCESS_KEY", None).env("AWS_ACCESS_KEY_ID", Some("canary-7"));
    world.write(
        "infra.ncl",
        &infra(&format!(
            "    key = p.hetzner.ssh_key & {{ public_key = \"{PUBLIC_KEY}\" }},\n    \
             vpc = p.aws.vpc & {{ cidr_block = \"10.0.0.0/16\" }},"
        )),
    );
    let error = world.fails("provision plan");
    error.is("provision::provider::credential", "HCLOUD_TOKEN is not set (infra.ncl:5:", "$env.HCLOUD_TOKEN");
    assert!(error.all().iter().any(|it| it.msg.contains("AWS_SECRET_ACCESS_KEY")), "{error:#?}");
    assert!(!format!("{error:?}").contains("canary-7"));
    assert_eq!(provision_tests::control::requests(world.sandbox()).unwrap(), []);
}

#[test]
fn a_syntax_error_is_found_at_its_place() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", "{\n  name = \"shop\",\n  resources = { web = = 3 },\n}\n");
    world.fails("provision plan").is("nickel::parse", "(infra.ncl:3:23)", "3 |");
}

#[test]
fn several_mistakes_are_reported_in_one_run() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        &infra(
            "    a = p.hetzner.server & { server_type = \"cx23\", image = 3 },\n    \
             b = p.hetzner.server & { server_type = \"cx23\" },\n    \
             c = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", locaton = \"hel1\" },\n    \
             d = p.upcloud.server & { zone = \"mars\", plan = \"1xCPU-1GB\" },\n    \
             e = p.local.data & { input = p.ref \"nobody\" \"id\" },",
        ),
    );
    let error = world.fails("provision plan");
    let all: Vec<String> =
        error.all().iter().map(|it| format!("{} {}", it.code.clone().unwrap_or_default(), it.msg)).collect();
    for (code, place) in [
        ("nickel::eval::contract", "infra.ncl:5:"),
        ("nickel::eval::missing_field", "infra.ncl:6:"),
        ("provision::plan::unknown_field", "infra.ncl:7:"),
        ("provision::plan::unknown_value", "infra.ncl:8:"),
        ("provision::plan::unknown_reference", "infra.ncl:9:"),
    ] {
        assert!(all.iter().any(|it| it.starts_with(code) && it.contains(place)), "no {code} at {place} in {all:#?}");
    }
}

#[test]
fn piped_data_keeps_positions_while_its_file_stands() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        &infra("    web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", location = \"hel2\" },"),
    );
    world.fails("nickel eval infra.ncl | provision plan").is(
        "provision::plan::unknown_value",
        "(infra.ncl:5:86)",
        "hel1",
    );
    // Changed on the way, the file says nothing about it any more: the path inside the data does.
    world.fails("nickel eval infra.ncl | update name other | provision plan").is(
        "provision::plan::unknown_value",
        "at `resources.web.location`",
        "hel1",
    );
}

#[test]
fn an_edited_row_is_refused() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("    a = p.local.data & { input = 1 },"));
    world.fails("provision plan | update action delete | provision apply").is(
        "provision::plan::tampered",
        "`action` of the row `a`",
        "plan again",
    );
    world.fails("[[address plan]; [a nowhere]] | provision apply").is(
        "provision::plan::unknown_plan",
        "nowhere",
        "provision plan",
    );
    assert_eq!(world.json("provision state list"), serde_json::json!([]));
}

#[test]
fn a_stale_plan_is_refused() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("    a = p.local.data & { input = 1 },"));
    world.ok("provision plan | provision apply | ignore");
    world.write("infra.ncl", &infra("    a = p.local.data & { input = 2 },"));
    world.ok("provision plan | to nuon | save old.nuon; provision plan | provision apply | ignore");
    world.write("infra.ncl", &infra("    a = p.local.data & { input = 3 },"));
    world.ok("provision plan | provision apply | ignore");
    let rows = "open old.nuon | provision apply";
    world.fails(rows).is("provision::plan::stale", "`a` has changed since this plan was made", "provision plan");
}

#[test]
fn a_subset_without_its_dependency_is_refused_by_name() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        &infra(
            "    net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" },\n    \
             web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", networks = [p.ref \"net\" \"id\"] },",
        ),
    );
    world.fails("provision plan | where address != net | provision apply").is(
        "provision::plan::missing_dependency",
        "`web` needs `net`",
        "Add the row `net`",
    );
    assert_eq!(world.mutating(), []);
}

#[test]
fn a_cedar_syntax_error_is_found_at_its_place() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("    a = p.local.data & { input = 1 },"));
    world.write("policies/a.cedar", "permit (principal, action, resource);\nforbid (principal, action resource);\n");
    world.fails("provision plan | provision apply").is("policy::parse", "policies/a.cedar:2:", "");
    assert_eq!(world.json("provision state list"), serde_json::json!([]));
}

#[test]
fn a_policy_that_names_an_unknown_attribute_is_found_at_its_place() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("    a = p.local.data & { input = 1 },"));
    world.write(
        "policies/a.cedar",
        "permit (principal, action, resource);\nforbid (principal, action, resource is Hetzner::Server)\nwhen { resource.server_typ == \"cx53\" };\n",
    );
    world.fails("provision plan | provision apply").is("policy::validate", "policies/a.cedar:", "server_type");
    assert_eq!(world.json("provision state list"), serde_json::json!([]));
}

#[test]
fn nothing_is_applied_without_consent_or_project() {
    let world = World::new();
    world.fails("provision plan").is("provision::config::no_project", "no infra.ncl", "--project");
    world.write("infra.ncl", &infra("    a = p.local.data & { input = 1 },"));
    world.fails("provision apply").is("provision::apply::consent", "no consent", "--yes");
    world.fails("provision destroy").is("provision::apply::consent", "no consent", "--yes");
    world.ok("[] | provision apply | collect");
    assert_eq!(world.json("provision state list"), serde_json::json!([]));
}
