//! Owns that a project that has policies never runs without them, and that everybody is asked about as who they are.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::World;
use serde_json::json;

const ALL: &str = "@id(\"all\") permit(principal, action, resource);";
const NOTHING: &str = "@id(\"nothing\") forbid(principal, action, resource);";

/// A configuration with something else at its top.
fn infra(more: &str) -> String {
    format!(
        "let p = import \"provision.ncl\" in\n{{ name = \"t\", {more} resources.a = p.local.data & {{ input = 1 }} }} | p.Infrastructure\n"
    )
}

fn link(world: &World, to: &str, at: &str) {
    std::os::unix::fs::symlink(to, world.project().join(at)).unwrap();
}

#[test]
fn a_name_of_policies_that_leads_nowhere_lets_nothing_through() {
    let world = World::new();
    let refused = |why: &str| {
        for script in ["provision plan", "provision apply --yes", "provision destroy --yes", "provision policy accept"]
        {
            world.fails(script).is("provision::apply::no_policies", why, "infra.ncl");
        }
        assert_eq!(world.json("provision state list"), json!([]));
    };
    world.write("infra.ncl", &infra("policies = \"polices\","));
    world.write("policies/p.cedar", NOTHING);
    refused("`polices`, which does not exist");
    link(&world, "nowhere", "polices");
    refused("`polices`, which does not exist");
    // Neither does one that the project has without naming it.
    world.write("infra.ncl", &infra(""));
    world.fails("provision apply --yes").is("provision::apply::denied", "nothing", "");
    let world = World::new();
    world.write("infra.ncl", &infra("")).write("policies/p.cedar.txt", NOTHING);
    world.fails("provision apply --yes").is("provision::apply::no_policies", "no `.cedar` file", "");
    // In force, a set without a policy would deny the one that mends it.
    world.write("policies/p.cedar", "// Later.\n");
    world.fails("provision apply --yes").is("provision::apply::no_policies", "in which there is no policy", "");
    std::fs::remove_dir_all(world.project().join("policies")).unwrap();
    link(&world, "nowhere", "policies");
    world.fails("provision apply --yes").is("provision::apply::no_policies", "does not exist", "");
    std::fs::remove_file(world.project().join("policies")).unwrap();
    // A part of them that is gone may have been a `forbid`, and people who are gone may have been in a group.
    world.write("policies/p.cedar", ALL);
    link(&world, "nowhere", "policies/more");
    world.fails("provision apply --yes").is("policy::io", "more", "");
    std::fs::remove_file(world.project().join("policies/more")).unwrap();
    link(&world, "nowhere", "policies/entities.json");
    world.fails("provision apply --yes").is("policy::io", "entities.json", "");
    assert_eq!(world.json("provision state list"), json!([]));
    std::fs::remove_file(world.project().join("policies/entities.json")).unwrap();
    world.ok("provision apply --yes | ignore");
    // One file does for a folder.
    let world = World::new();
    world.write("infra.ncl", &infra("policies = \"rules.cedar\",")).write("rules.cedar", NOTHING);
    world.fails("provision apply --yes").is("provision::apply::denied", "nothing` forbids it (rules.cedar:1)", "");
}

#[test]
fn the_first_policies_are_in_force_from_their_first_question() {
    let world = World::new();
    world.write("infra.ncl", &infra("")).write("policies/p.cedar", NOTHING);
    world.fails("provision apply --yes").is("provision::apply::denied", "nothing", "");
    world.write("policies/p.cedar", ALL);
    world.fails("provision apply --yes").is("provision::apply::policy_changed", "have changed", "policy accept");
    world.fails("provision policy accept").is("provision::apply::denied", "change_policy", "");
    std::fs::remove_dir_all(world.project().join("policies")).unwrap();
    world.fails("provision apply --yes").is(
        "provision::apply::no_policies",
        "there are none in `policies`",
        "Put them back",
    );
    // Nor can having none be accepted, even where those in force allow every change of them.
    world.fails("provision policy accept").is(
        "provision::apply::no_policies",
        "there are none in `policies`",
        "Put them back",
    );
    let lax = World::new();
    lax.write("infra.ncl", &infra("")).write("policies/p.cedar", ALL);
    lax.ok("provision apply --yes | ignore; mv policies polices");
    for script in ["provision destroy --yes", "provision policy accept"] {
        lax.fails(script).is("provision::apply::no_policies", "there are none in `policies`", "infra.ncl");
    }
    assert_eq!(world.json("provision state list"), json!([]));
    // Whatever asks first.
    let world = World::new();
    world.write("infra.ncl", &infra("")).write("policies/p.cedar", NOTHING);
    let digest = world.ok("provision plan | get 0.plan");
    world.fails(&format!("provision approve {digest} --role lead")).is("provision::apply::denied", "nothing", "");
    world.write("policies/p.cedar", ALL);
    world.fails("provision apply --yes").is("provision::apply::policy_changed", "have changed", "");
}

#[test]
fn only_the_project_says_where_its_policies_are() {
    let world = World::new();
    world.write("infra.ncl", &infra("policies = \"rules\",")).write("rules/p.cedar", NOTHING);
    world.write("lax/p.cedar", ALL).write("other.ncl", &infra("policies = \"lax\","));
    for script in ["provision plan other.ncl", "nickel eval other.ncl | provision plan"] {
        world.fails(script).is("provision::config::invalid", "`lax` here, and the project's are in `rules`", "Leave");
    }
    // Who says nothing of them has the project's.
    world.write("other.ncl", &infra(""));
    for script in ["provision plan other.ncl", "nickel eval other.ncl | provision plan"] {
        world.fails(&format!("{script} | provision apply")).is("provision::apply::denied", "nothing", "");
    }
    // A plan that was made before the project named them is applied under them.
    let world = World::new();
    world.write("infra.ncl", &infra(""));
    world.ok("provision plan | to nuon | save plan.nuon");
    world.write("infra.ncl", &infra("policies = \"rules\",")).write("rules/p.cedar", NOTHING);
    world.fails("open plan.nuon | provision apply").is("provision::apply::denied", "nothing", "");
    assert_eq!(world.json("provision state list"), json!([]));
}

#[test]
fn a_new_environment_begins_under_the_policies_that_the_project_has() {
    let world = World::new();
    world.write("infra.ncl", &infra("environments = { dev = {}, prod = {} },"));
    let strict = "permit(principal, action, resource);\n@id(\"held\") forbid(principal, action == Provision::Action::\"change_policy\", resource);";
    world.write("policies/p.cedar", strict);
    world.ok("provision apply --yes | ignore");
    world.write("policies/p.cedar", ALL);
    let apply = "provision apply --yes --environment dev";
    world.fails(apply).is("provision::apply::policy_changed", "have changed", "");
    world.fails("provision policy accept --environment dev").is("provision::apply::denied", "`held`", "");
    std::fs::remove_dir_all(world.project().join("policies")).unwrap();
    world.fails(apply).is("provision::apply::no_policies", "there are none in `policies`", "Put them back");
    assert_eq!(world.json("provision state list --environment dev"), json!([]));
    world.write("policies/p.cedar", strict);
    world.ok(&format!("{apply} | ignore"));
    // From then on it has them itself.
    std::fs::remove_dir_all(world.project().join("policies")).unwrap();
    world.fails("provision destroy --yes --environment dev").is(
        "provision::apply::no_policies",
        "there are none in `policies`",
        "Put them back",
    );
}

#[test]
fn groups_are_those_that_were_read_with_the_policies() {
    let world = World::new();
    let lead = "[{\"uid\": \"Provision::User::\\\"ada\\\"\", \"parents\": [\"Provision::Group::\\\"leads\\\"\"]}]";
    // What the policies hang on is known once the first file is there, and the first file is who belongs to what.
    world.write(
        "infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in\n{{ name = \"t\", resources = {{\n  a = p.local.file & {{ path = \"policies/entities.json\", content = {} }},\n  \
             b = p.local.file & {{ path = \"b.txt\", content = p.ref \"a\" \"id\" }},\n}} }} | p.Infrastructure\n",
            serde_json::Value::from(lead)
        ),
    );
    world.write(
        "policies/p.cedar",
        "permit(principal, action in [Provision::Action::\"create\", Provision::Action::\"update\", Provision::Action::\"adopt\"], resource == Local::File::\"a\");\n\
         permit(principal in Provision::Group::\"leads\", action, resource);\n\
         @id(\"later\") permit(principal, action, resource == Local::File::\"b\") when { resource has content && resource.content like \"no such thing*\" };\n",
    );
    let caught = world.fails("provision apply --yes");
    assert!(world.read("policies/entities.json").contains("leads"), "{caught:#?}");
    assert!(caught.all().iter().any(|one| one.msg.contains("no policy permits it")), "{caught:#?}");
    assert!(!world.project().join("b.txt").exists(), "{caught:#?}");
}

#[test]
fn nothing_vouches_for_a_second_factor_so_no_policy_can_take_it_for_granted() {
    let world = World::new();
    world.write("infra.ncl", &infra(""));
    for policy in [
        "permit(principal, action, resource) when { !context.mfa };",
        "permit(principal, action, resource) unless { context.mfa };",
    ] {
        world.write("policies/p.cedar", policy);
        world.fails("provision apply --yes").is("policy::validate", "mfa", "");
    }
    world.write(
        "policies/p.cedar",
        &format!(
            "{ALL}\n@id(\"asks\") forbid(principal, action, resource) unless {{ context has mfa && context.mfa }};"
        ),
    );
    world.fails("provision apply --yes").is("provision::apply::denied", "`asks`", "");
    assert_eq!(world.json("provision state list"), json!([]));
}

#[test]
fn the_actor_is_the_operating_systems_user_unless_the_environment_is_told_to_name_one() {
    let mut world = World::new();
    let id = std::process::Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(id.stdout).unwrap().trim().to_owned();
    world.write("infra.ncl", &infra(""));
    world.write("policies/p.cedar", "permit(principal == Provision::User::\"boss\", action, resource);");
    world.env("PROVISION_ACTOR", None).env("USER", Some("boss"));
    world.fails("provision apply --yes").is("provision::apply::denied", "no policy permits it", "");
    world.fails("with-env {LOGNAME: boss, USERNAME: boss} { provision apply --yes }").is(
        "provision::apply::denied",
        "",
        "",
    );
    let log = "provision audit | where event =~ '(begin|change|deny)$' | select event actor detail.actor_from?";
    let of = |event: &str, actor: &str, from: serde_json::Value| json!({"event": event, "actor": actor, "detail.actor_from": from});
    let told = world.json(log);
    assert!(told.as_array().unwrap().contains(&of("apply.deny", &me, json!(null))), "{told}");
    world.env("PROVISION_ACTOR", Some("env"));
    world.ok("provision apply --yes | ignore");
    let told = world.json(log);
    assert!(told.as_array().unwrap().contains(&of("apply.begin", "boss", json!("env"))), "{told}");
    assert_eq!(world.json("provision history | get by"), json!(["boss"]));
    world.env("PROVISION_ACTOR", Some("ldap"));
    world.fails("provision plan").is("provision::config::setting", "PROVISION_ACTOR is `ldap`", "`env`");
}

#[test]
fn a_cloud_is_not_tested_past_the_policies_of_the_project() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("")).write("policies/p.cedar", NOTHING);
    let test = "provision provider test hetzner --type ssh_key --endpoint $env.HCLOUD_ENDPOINT";
    world.fails(test).is("provision::apply::denied", "test_provider of `hetzner`", "");
    assert_eq!(world.mutating(), []);
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra("")).write("policies/p.cedar", ALL);
    world.ok(&format!("{test} | ignore"));
    assert!(!world.mutating().is_empty());
    let told = world.json("provision audit | where event == test_provider | select actor detail.provider detail.types");
    assert_eq!(told, json!([{"actor": "ada", "detail.provider": "hetzner", "detail.types": ["ssh_key"]}]));
}

#[test]
fn what_a_project_imports_is_its_own() {
    let mut world = World::new();
    let importing = |what: &str| {
        format!(
            "let p = import \"provision.ncl\" in\n{{ name = \"t\", resources.a = p.local.data & {{ input = import {what} }} }} | p.Infrastructure\n"
        )
    };
    world.write("inside.json", "{\"a\": 1}");
    let secret = world.home().join("secret.json");
    std::fs::write(&secret, "{\"token\": \"sesame\"}").unwrap();
    link(&world, secret.to_str().unwrap(), "linked.json");
    world.write("infra.ncl", &importing("\"inside.json\""));
    world.ok("provision plan | ignore");
    let outside = [
        "\"/proc/self/environ\" as 'Text".to_owned(),
        "\"/etc/passwd\" as 'Text".to_owned(),
        "\"../home/secret.json\"".to_owned(),
        "\"linked.json\"".to_owned(),
        format!("\"{}\"", secret.display()),
    ];
    for what in &outside {
        world.write("infra.ncl", &importing(what));
        for script in ["provision plan", "provision apply --yes"] {
            world.fails(script).is("nickel::import", "of infra.ncl leads out of the project", "copy the file");
        }
        // The official commands have the official rules.
        world.ok("nickel eval infra.ncl | ignore");
    }
    // Through a file of the project's own, too.
    world.write("part.ncl", "import \"linked.json\"").write("infra.ncl", &importing("\"part.ncl\""));
    world.fails("provision plan").is("nickel::import", "of part.ncl leads out", "");
    // Where the caller says so, it is the caller's word.
    let home = world.home().to_string_lossy().into_owned();
    world.write("infra.ncl", &importing("\"secret.json\""));
    world.env("NICKEL_IMPORT_PATH", Some(&home));
    world.ok("provision plan | ignore");
}
