//! Owns the main job, end to end: plan, filter, authorize, apply, output, plan again, destroy.

use provision_tests::{PUBLIC_KEY, World};
use serde_json::json;

/// Three clouds, references between them.
fn shop() -> String {
    format!(
        r#"let p = import "provision.ncl" in
{{
  name = "shop",
  resources = {{
    key = p.hetzner.ssh_key & {{ public_key = "{PUBLIC_KEY}" }},
    net = p.hetzner.network & {{
      ip_range = "10.0.0.0/16",
      subnets = [{{ type = "cloud", network_zone = "eu-central", ip_range = "10.0.1.0/24" }}],
    }},
    fw = p.hetzner.firewall & {{
      rules = [{{ direction = "in", protocol = "tcp", port = "443", source_ips = ["0.0.0.0/0"] }}],
    }},
    web = p.hetzner.server & {{
      server_type = "cx23", image = "debian-12", location = "hel1",
      ssh_keys = [p.ref "key" "name"], networks = [p.ref "net" "id"], firewalls = [p.ref "fw" "id"],
      labels = {{ tier = "web" }},
    }},
    private = p.upcloud.network & {{ zone = "fi-hel1", ip_networks = [{{ address = "10.7.0.0/24", family = "IPv4", dhcp = true }}] }},
    disk = p.upcloud.storage & {{ zone = "fi-hel1", size = 20, tier = "maxiops" }},
    db = p.upcloud.server & {{
      zone = "fi-hel1", plan = "1xCPU-2GB",
      labels = {{ web = p.ref "web" "public_net.ipv4.ip" }},
    }},
    vpc = p.aws.vpc & {{ cidr_block = "10.9.0.0/16", enable_dns_hostnames = true }},
    subnet = p.aws.subnet & {{ vpc_id = p.ref "vpc" "id", cidr_block = "10.9.1.0/24" }},
    sg = p.aws.security_group & {{
      vpc_id = p.ref "vpc" "id",
      ingress = [{{ ip_protocol = "tcp", from_port = 443, to_port = 443,
        cidr_ips = [p.join [p.ref "web" "public_net.ipv4.ip", "/32"]] }}],
    }},
    pair = p.aws.key_pair & {{ public_key_material = "{PUBLIC_KEY}" }},
    edge = p.aws.instance & {{
      instance_type = "t3.micro", ami = "ami-0abcdef1234567890", subnet_id = p.ref "subnet" "id",
      security_group_ids = [p.ref "sg" "id"], key_name = p.ref "pair" "key_name",
    }},
  }},
  outputs = {{ web_ip = p.ref "web" "public_net.ipv4.ip", db_ip = p.ref "db" "public_ip", edge = p.ref "edge" "id" }},
}} | p.Infrastructure
"#
    )
}

#[test]
fn three_clouds_from_one_file_and_back() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    let rows = world.json("provision plan | select address provider type action");
    assert_eq!(rows.as_array().unwrap().len(), 12);
    assert!(rows.as_array().unwrap().iter().all(|row| row["action"] == "create"), "{rows}");
    let columns = world.json("provision plan | columns");
    assert_eq!(
        columns,
        json!(["address", "provider", "type", "action", "changes", "depends_on", "reason", "request", "plan"])
    );

    let events = world.json("provision plan | provision apply");
    let events = events.as_array().unwrap();
    let done = events.iter().filter(|event| event["status"] == "done").count();
    assert_eq!(done, 12, "{events:#?}");
    for status in ["authorized", "started", "waiting"] {
        assert!(events.iter().any(|event| event["status"] == status), "no {status}");
    }
    assert_eq!(
        world.json("provision plan | columns | length; provision plan --all | get action | uniq"),
        json!(["no-op"])
    );
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision plan --deep"), json!([]));

    let outputs = world.json("provision output");
    assert!(outputs["web_ip"].as_str().unwrap().contains('.'), "{outputs}");
    assert!(outputs["db_ip"].as_str().unwrap().contains('.'), "{outputs}");
    assert!(outputs["edge"].as_str().unwrap().starts_with("i-"), "{outputs}");
    world.fails("provision output web_pi").is("provision::output::unknown", "web_pi", "web_ip");

    let types = world.ok("provision plan | describe; provision state list | get created_at.0 | describe");
    assert!(types.ends_with("datetime"), "{types}");
    let shown = world.json("provision state show db | get inputs.labels.web");
    assert_eq!(shown, outputs["web_ip"]);

    let events = world.json("provision destroy --yes | where status == done | length");
    assert_eq!(events, json!(12));
    assert_eq!(world.held(), 0);
    assert_eq!(world.json("provision state list"), json!([]));
}

#[test]
fn a_filter_applies_just_those_and_the_rest_stays_planned() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    world.ok(r#"nickel eval infra.ncl | provision plan | where provider == "hetzner" | provision apply | ignore"#);
    assert_eq!(world.json("provision state list | get address"), json!(["fw", "key", "net", "web"]));
    assert_eq!(world.json("provision plan | get provider | uniq | sort"), json!(["aws", "upcloud"]));
    // Two halves of one table, one after the other, and once more: all of it just works.
    world.ok("let rows = provision plan; $rows | where provider == upcloud | provision apply | ignore; \
         $rows | where provider == aws | provision apply | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn rows_already_done_are_skipped() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    let again = world.json(
        "let rows = provision plan; $rows | where provider == hetzner | provision apply | ignore; \
         $rows | provision apply | where status in [skipped done] | select address status | sort-by address",
    );
    let skipped: Vec<&str> = again
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["status"] == "skipped")
        .map(|event| event["address"].as_str().unwrap())
        .collect();
    assert_eq!(skipped, ["fw", "key", "net", "web"]);
    assert_eq!(again.as_array().unwrap().len(), 12);
}

#[test]
fn updates_change_in_place_and_replacements_replace() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    world.ok("provision apply --yes | ignore");
    let before = world.json("provision state show web | get remote_id");
    let text = shop()
        .replace("tier = \"web\"", "tier = \"front\", team = \"shop\"")
        .replace("\"cx23\"", "\"cx33\"")
        .replace("size = 20", "size = 30")
        .replace("\"1xCPU-2GB\"", "\"2xCPU-4GB\"")
        .replace("port = \"443\"", "port = \"8443\"")
        .replace(
            "subnets = [",
            "subnets = [{ type = \"cloud\", network_zone = \"eu-central\", ip_range = \"10.0.2.0/24\" },",
        )
        .replace("from_port = 443, to_port = 443", "from_port = 8443, to_port = 8443")
        .replace("t3.micro", "t3.small");
    world.write("infra.ncl", &text);
    let rows = world.json("provision plan | select address action | sort-by address");
    assert_eq!(
        rows,
        json!([
            {"address": "db", "action": "update"}, {"address": "disk", "action": "update"},
            {"address": "edge", "action": "update"}, {"address": "fw", "action": "update"},
            {"address": "net", "action": "update"}, {"address": "sg", "action": "update"},
            {"address": "web", "action": "update"}
        ])
    );
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision state show web | get remote_id"), before);
    assert_eq!(world.json("provision state show web | get attributes.status"), json!("running"));

    world.write("infra.ncl", &text.replace("debian-12", "debian-13"));
    let row = world.json("provision plan | where address == web | first | select action reason");
    assert_eq!(row, json!({"action": "replace", "reason": "image cannot be changed in place"}));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    assert_ne!(world.json("provision state show web | get remote_id"), before);
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn a_decision_is_a_column_and_apply_asks_again() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    world.write(
        "policies/shop.cedar",
        "@id(\"all\")\npermit (principal, action, resource);\n@id(\"no-aws\")\nforbid (principal, action, resource in Provision::Provider::\"aws\");\n",
    );
    let decided =
        world.json("provision plan | policy authorize | select provider decision | uniq | sort-by provider decision");
    assert_eq!(
        decided,
        json!([
            {"provider": "aws", "decision": "deny"},
            {"provider": "hetzner", "decision": "allow"},
            {"provider": "upcloud", "decision": "allow"}
        ])
    );
    world.ok("provision plan | policy authorize | where decision == allow | provision apply | ignore");
    assert_eq!(world.json("provision state list | get provider | uniq | sort"), json!(["hetzner", "upcloud"]));
    // Dropping the column does not drop the check.
    world.fails("provision plan | provision apply").is("provision::apply::denied", "`no-aws`", "");
}

#[test]
fn a_forbidding_policy_stops_the_apply_before_the_first_call() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    world.write(
        "policies/deny.cedar",
        "permit (principal, action, resource);\n@id(\"no-firewalls\") @advice(\"Ask the network team.\")\nforbid (principal, action, resource is Hetzner::Firewall);\n",
    );
    world.fails("provision apply --yes").is(
        "provision::apply::denied",
        "`no-firewalls` forbids it (policies/deny.cedar:2)",
        "Ask the network team.",
    );
    assert_eq!(world.json("provision sandbox requests | where mutating | length"), json!(0));
    // The denial came as a row before it came as the error.
    let said = world.nu("provision apply --yes | each {|event| print $\"($event.address) ($event.status)\" }");
    assert!(said.stdout.contains("fw denied"), "{said:?}");
    assert!(!said.status.success());
}

#[test]
fn changed_policies_wait_for_acceptance() {
    let world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = 1 } }",
    );
    world.write("policies/a.cedar", "permit (principal, action, resource);");
    world.ok("provision apply --yes | ignore");
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = 2 } }",
    );
    world.write("policies/a.cedar", "permit (principal, action, resource); // wider");
    world.fails("provision apply --yes").is(
        "provision::apply::policy_changed",
        "have changed",
        "provision policy accept",
    );
    world.ok("provision policy accept | ignore; provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn protection_outlives_the_block_in_the_file() {
    let world = World::new();
    let text = |resource: &str| {
        format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resource} }} }}")
    };
    world.write("infra.ncl", &text("a = p.local.data & { input = 1, lifecycle.protect = true }"));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text(""));
    world.fails("provision plan").is("provision::plan::protected", "`a`", "provision state unprotect a");
    world.fails("provision destroy --yes").is("provision::plan::protected", "`a`", "provision state unprotect a");
    world.ok("provision state unprotect a | ignore; provision apply --yes | ignore");
    assert_eq!(world.json("provision state list"), json!([]));
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let mut world = World::new().with_sandbox();
    world.env("DB_PASSWORD", Some("canary-4711"));
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources = {\n\
         web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", user_data = \"literal-canary-4712\" },\n\
         db = p.upcloud.server & { zone = \"fi-hel1\", plan = \"1xCPU-1GB\", user_data = p.env \"DB_PASSWORD\" },\n\
         } }",
    );
    let plan = world.ok("provision plan | to json");
    let events = world.ok("provision plan | provision apply | to json");
    let state = world
        .ok("provision state list | to json; provision state show web | to json; provision state show db | to json");
    for text in [plan, events, state] {
        assert!(!text.contains("canary"), "{text}");
    }
    assert_eq!(world.json("provision plan"), json!([]));
    for file in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(world.project().join(".provision").join(file)).unwrap_or_default();
        assert!(!bytes.windows(11).any(|window| window == b"canary-4711" || window == b"canary-4712"), "{file}");
    }
}

#[test]
fn a_resource_deleted_behind_our_back_is_made_again() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    world.ok("provision apply --yes | ignore");
    let id = world.json("provision state show disk | get remote_id");
    let url = world.environment()["UPCLOUD_DEBUG_API_BASE_URL"].clone();
    let user = &world.environment()["UPCLOUD_USERNAME"];
    let password = &world.environment()["UPCLOUD_PASSWORD"];
    world.ok(&format!("http delete --user {user} --password {password} {url}/1.3/storage/{}", id.as_str().unwrap()));
    let rows = world.json("provision plan | select address action reason");
    assert_eq!(rows, json!([{"address": "disk", "action": "create", "reason": "gone from the cloud"}]));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn a_group_keeps_the_addresses_of_those_that_stay() {
    let world = World::new();
    let text = |keys: &str| {
        format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\", resources.pool = p.each {keys} (fun key => p.local.data & {{ input = key }}) }}"
        )
    };
    world.write("infra.ncl", &text("[\"blue\", \"green\", \"red\"]"));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text("[\"green\", \"red\"]"));
    let rows = world.json("provision plan | select address action");
    assert_eq!(rows, json!([{"address": "pool.blue", "action": "delete"}]));
}

#[test]
fn a_target_brings_what_it_needs_and_an_exclusion_what_needs_it() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &shop());
    assert_eq!(world.json("provision plan --target [subnet] | get address"), json!(["subnet", "vpc"]));
    let rest = world.json("provision plan --exclude [vpc] | where provider == aws | get address");
    assert_eq!(rest, json!(["pair"]));
    world.fails("provision plan --target [subnett]").is(
        "provision::plan::target",
        "`subnett`",
        "Did you mean `subnet`?",
    );
}

#[test]
fn another_account_has_its_own_resources_and_its_token_stays_secret() {
    let world = World::new().with_sandbox();
    let token = format!("{}-eu", world.environment()["HCLOUD_TOKEN"]);
    world.write(
        "infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\",\n\
             providers.hetzner_eu = p.hetzner.account & {{ token = \"{token}\" }},\n\
             resources.a = p.hetzner.ssh_key & {{ name = \"same\", public_key = \"{PUBLIC_KEY}\" }},\n\
             resources.b = p.hetzner.ssh_key & {{ \"$provider\" = \"hetzner_eu\", name = \"same\", public_key = \"{PUBLIC_KEY}\" }} }}"
        ),
    );
    let said = world.ok("provision plan | to json") + &world.ok("provision apply --yes | to json");
    assert!(!said.contains(&token));
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(
        world.json("provision state list | select address account"),
        json!([
            {"address": "a", "account": "hetzner"}, {"address": "b", "account": "hetzner_eu"}
        ])
    );
    for file in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(world.project().join(".provision").join(file)).unwrap_or_default();
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "{file}");
    }
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn policy_files_that_permit_nothing_deny_everything() {
    let world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = 1 } }",
    );
    world.write("policies/a.cedar", "// none yet\n");
    world.fails("provision apply --yes").is("provision::apply::no_policies", "in which there is no policy", "");
    world.write("policies/a.cedar", "permit(principal == Provision::User::\"nobody\", action, resource);\n");
    world.fails("provision apply --yes").is("provision::apply::denied", "no policy permits it", "");
    assert_eq!(world.json("provision state list"), json!([]));
}

#[test]
fn the_policies_in_force_decide_who_may_change_them() {
    let world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", policies = \"rules/\", resources.a = p.local.data & { input = 1 } }",
    );
    let locked = "permit (principal, action, resource);\n@id(\"locked\")\nforbid (principal, action == Provision::Action::\"change_policy\", resource == Provision::Project::\"s\");\n";
    world.write("rules/a.cedar", locked);
    world.ok("provision apply --yes | ignore");
    world.write("rules/a.cedar", "permit (principal, action, resource);");
    world.fails("provision policy accept").is("provision::apply::denied", "`locked`", "");
    world.fails("provision apply --yes").is(
        "provision::apply::policy_changed",
        "have changed",
        "provision policy accept",
    );
}

#[test]
fn a_secret_stays_secret_wherever_it_is_referred_to() {
    let world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources = {\n\
         a = p.local.data & { input = p.secret \"canary-81\" },\n\
         b = p.local.data & { input = p.join [\"pre-\", p.ref \"a\" \"output\"] },\n\
         }, outputs.b = p.ref \"b\" \"output\" }",
    );
    let said = world.ok("provision plan | to json")
        + &world.ok("provision apply --yes | to json")
        + &world.ok("provision state show a | to json; provision state show b | to json; provision output | to json");
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(world.json("provision plan"), json!([]));
    // Asked for by its name, it is given.
    assert_eq!(world.json("provision output b"), json!("pre-canary-81"));
    for file in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(world.project().join(".provision").join(file)).unwrap_or_default();
        assert!(!bytes.windows(9).any(|window| window == b"canary-81"), "{file}");
    }
}

#[test]
fn who_lets_go_goes_first() {
    let world = World::new().with_sandbox();
    let text = |resources: &str| {
        format!("let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resources} }} }}")
    };
    let server = "s = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\"";
    let network = "n = p.hetzner.network & { ip_range = \"10.0.0.0/16\", subnets = [{ type = \"cloud\", network_zone = \"eu-central\", ip_range = \"10.0.1.0/24\" }] },";
    world.write("infra.ncl", &text(&format!("{network} {server}, networks = [p.ref \"n\" \"id\"] }}")));
    world.ok("provision apply --yes | ignore");
    world.write("infra.ncl", &text(&format!("{server} }}")));
    let rows = world.json("provision plan | select address action depends_on | sort-by address");
    assert_eq!(rows[0], json!({"address": "n", "action": "delete", "depends_on": ["s"]}));
    world.fails("provision plan | where address == n | provision apply").is(
        "provision::plan::missing_dependency",
        "`n` needs `s`",
        "Add the row `s`",
    );
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn leaving_out_the_resources_does_not_delete_them() {
    let world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = 1 } }",
    );
    world.ok("provision apply --yes | ignore");
    world.fails("{name: s} | provision plan").is("provision::config::invalid", "needs `resources`", "resources = {");
    world.fails("{name: s, resources: {b: {\"$type\": local.data, input: {\"$ref\": a}}}} | provision plan").is(
        "provision::plan::unknown_reference",
        "`resources.b.input` is no reference",
        "p.ref",
    );
    world.fails("{name: s, resources: {b: {\"$type\": local.data, input: {\"$env\": NO_SUCH}}}} | provision plan").is(
        "provision::provider::credential",
        "NO_SUCH is not set",
        "$env.NO_SUCH",
    );
}
