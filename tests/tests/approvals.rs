//! Owns enforcement in apply: approvals, groups, and that no command gets past the policies.

use provision_tests::World;
use serde_json::json;

const INFRA: &str = "let p = import \"provision.ncl\" in\n{ name = \"t\", resources = {\n  a = p.local.data & { input = 1 },\n  b = p.local.data & { input = 2 },\n} } | p.Infrastructure\n";

/// Everybody may change things, but deleting and what is called `a` wait for approval; leads approve, never their own.
const POLICIES: &str = r#"
@id("all") permit(principal, action, resource);
@id("a-waits") @approval("team-lead") forbid(principal, action == Provision::Action::"create", resource == Local::Data::"a");
@id("delete-waits") @approval("owner") forbid(principal, action == Provision::Action::"delete", resource);
@id("leads-approve") forbid(principal, action == Provision::Action::"approve", resource)
unless { (context.role == "team-lead" && principal in Provision::Group::"leads") || context.role == "owner" };
@id("not-ones-own") @advice("ask somebody else")
forbid(principal, action == Provision::Action::"approve", resource) when { principal == context.author };
"#;

const PEOPLE: &str = r#"[{"uid": "Provision::User::\"lea\"", "parents": ["Provision::Group::\"leads\""]},
    {"uid": "Provision::User::\"ada\"", "parents": ["Provision::Group::\"leads\""]}]"#;

fn world() -> World {
    let world = World::new();
    world.write("infra.ncl", INFRA).write("policies/p.cedar", POLICIES).write("policies/entities.json", PEOPLE);
    world
}

#[test]
fn a_row_waits_for_its_role_and_passes_once_with_it() {
    let mut world = world();
    world.ok("provision plan | to nuon | save plan.nuon");
    let apply = "open plan.nuon | provision apply";
    world.fails(apply).is(
        "provision::apply::approval",
        "`a` waits for the approval of `team-lead`",
        "provision approve",
    );
    assert_eq!(world.json("provision state list"), json!([]));
    let approve = "provision approve (open plan.nuon | get 0.plan)";
    // The author does not approve, whatever group she is in; a stranger is no lead.
    world.fails(approve).is("provision::apply::denied", "not-ones-own", "ask somebody else");
    world.env("USER", Some("bob"));
    world.fails(approve).is("provision::apply::denied", "leads-approve", "");
    world.env("USER", Some("lea"));
    let given = world.json(&format!("{approve} | select address role by used"));
    assert_eq!(given, json!([{"address": null, "role": "team-lead", "by": "lea", "used": null}]));
    world.env("USER", Some("ada"));
    let events = world.json(&format!(
        "{apply} | where status in [authorized done] | select address status message | sort-by address status"
    ));
    assert_eq!(events[0], json!({"address": "a", "status": "authorized", "message": "approved by lea as team-lead"}));
    assert_eq!(events.as_array().unwrap().iter().filter(|event| event["status"] == "done").count(), 2);
    let listed = world.json("provision approvals | get 0 | { used: ($in.used | describe), until: ($in.until - $in.at | format duration hr) }");
    assert_eq!(listed, json!({"used": "datetime", "until": "24 hr"}));
    // Taken down and planned again it is another plan, which nobody approved.
    world.write(
        "policies/p.cedar",
        &POLICIES.replace("delete-waits\") @approval(\"owner\")", "delete-waits\")").replace(
            "action == Provision::Action::\"delete\", resource)",
            "action == Provision::Action::\"delete\", resource == Local::Data::\"none\")",
        ),
    );
    world.fails("provision destroy --yes").is("provision::apply::policy_changed", "", "policy accept");
    world.ok("provision policy accept");
    world.ok("provision destroy --yes | ignore");
    world.fails("provision plan | provision apply").is("provision::apply::approval", "`a` waits", "");
}

#[test]
fn approvals_are_for_rows_for_a_time_and_can_be_taken_back() {
    let mut world = world();
    world.ok("provision plan | to nuon | save plan.nuon");
    let digest = world.ok("open plan.nuon | get 0.plan");
    world.env("USER", Some("lea"));
    world.fails("provision approve nothing").is("provision::plan::unknown_plan", "nothing", "`plan` column");
    world.fails(&format!("provision approve {digest} --address [c]")).is(
        "provision::apply::approval",
        "no row `c`",
        "",
    );
    world.fails(&format!("provision approve {digest} --for 0sec")).is("provision::apply::approval", "some time", "8hr");
    let id = world.ok(&format!("provision approve {digest} --role team-lead --address [b] | get 0.id"));
    world.env("USER", Some("ada"));
    let apply = "open plan.nuon | provision apply";
    world.fails(apply).is("provision::apply::approval", "`a` waits", "");
    world.fails(&format!("{apply} --approval nonsense")).is(
        "provision::apply::approval",
        "`nonsense` is no approval",
        "provision approvals",
    );
    // Whoever could not give it cannot take it back.
    world.fails(&format!("provision approvals --revoke {id}")).is("provision::apply::denied", "not-ones-own", "");
    world.env("USER", Some("lea"));
    assert_eq!(world.json(&format!("provision approvals --revoke {id} | get id")), json!([id]));
    assert_eq!(world.json("provision approvals"), json!([]));
    world.fails(&format!("provision approvals --revoke {id}")).is("provision::apply::approval", "no approval", "");
    world.env("USER", Some("lea"));
    world.ok(&format!("provision approve {digest} --for 1ms | ignore"));
    world.env("USER", Some("ada"));
    world.fails(apply).is("provision::apply::approval", "`a` waits", "");
    world.env("USER", Some("lea"));
    let id = world.ok(&format!("provision approve {digest} --address [a] | get 0.id"));
    world.env("USER", Some("ada"));
    assert_eq!(world.json(&format!("{apply} --approval {id} | where status == done | length")), json!(2));
    world.env("USER", Some("lea"));
    world.fails(&format!("provision approvals --revoke {id}")).is("provision::apply::approval", "was used already", "");
}

#[test]
fn who_applies_is_asked_about_not_who_planned() {
    let mut world = World::new();
    world.write("infra.ncl", INFRA);
    world.write("policies/p.cedar", "permit(principal == Provision::User::\"ada\", action, resource);");
    world.ok("provision plan | to nuon | save plan.nuon");
    world.env("USER", Some("eve"));
    world.fails("open plan.nuon | provision apply").is("provision::apply::denied", "no policy permits it", "");
    world.env("USER", Some("ada"));
    world.ok("open plan.nuon | provision apply | ignore");
}

#[test]
fn a_change_of_groups_is_a_change_of_policies() {
    let world = world();
    world.write("policies/p.cedar", "permit(principal in Provision::Group::\"leads\", action, resource);");
    world.ok("provision plan | provision apply | ignore");
    world.write("policies/entities.json", "[]");
    world.write("infra.ncl", &INFRA.replace("input = 1", "input = 3"));
    world.fails("provision plan | provision apply").is("provision::apply::policy_changed", "have changed", "");
    world.write("policies/entities.json", "[{\"uid\": \"Hetzner::Server::\\\"a\\\"\"}]");
    world.fails("provision plan").is("policy::entity", "policies/entities.json", "Provision::User");
}

#[test]
fn a_replacement_is_asked_as_what_it_does_before_and_at_apply() {
    let world = World::new().with_sandbox();
    let infra = |location: &str| {
        format!(
            "let p = import \"provision.ncl\" in\n{{ name = \"t\", resources = {{\n  web = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", location = \"{location}\" }},\n}} }} | p.Infrastructure\n"
        )
    };
    world.write("infra.ncl", &infra("hel1"));
    world.write(
        "policies/p.cedar",
        "permit(principal, action, resource);\n@id(\"stays\") forbid(principal, action == Provision::Action::\"delete\", resource);\n",
    );
    world.ok("provision plan | provision apply | ignore");
    world.write("infra.ncl", &infra("fsn1"));
    let asked = world.json("provision plan | policy authorize | select action decision reasons.policy");
    assert_eq!(asked, json!([{"action": "replace", "decision": "deny", "reasons.policy": ["stays"]}]));
    world.fails("provision plan | provision apply").is("provision::apply::denied", "`stays`", "");
}

/// Scripts in which a command that asks the policies is refused by ones that forbid everything, in a project that is new.
/// `PLAN` is the digest of its plan.
const REFUSED_AT_FIRST: &[(&str, &str)] = &[
    ("provision apply", "provision plan | provision apply"),
    ("provision apply", "provision apply --yes"),
    ("provision apply", "nickel eval infra.ncl | provision plan | where address == b | provision apply"),
    ("provision apply", "provision plan | policy authorize | reject decision | provision apply"),
    ("provision approve", "provision approve PLAN --role anybody"),
    ("provision provider test", "provision provider test hetzner --type ssh_key --endpoint $env.HCLOUD_ENDPOINT"),
];

/// The same where something is there already. `APPROVAL` is an approval that somebody else gave.
const REFUSED_LATER: &[(&str, &str)] = &[
    ("provision apply", "provision plan --destroy | provision apply"),
    ("provision approvals", "provision approvals --revoke APPROVAL"),
    ("provision destroy", "provision destroy --yes"),
    (
        "provision import",
        "http post --headers {Authorization: $'Bearer ($env.HCLOUD_TOKEN)'} --content-type application/json $'($env.HCLOUD_ENDPOINT)/networks' {name: theirs, ip_range: 10.9.0.0/16} | provision import theirs $in.network.id --type hetzner.network",
    ),
    ("provision state adopt-project", "provision state adopt-project"),
    ("provision state forget", "provision state forget b"),
    ("provision state import", "provision state export | provision state import"),
    ("provision state move", "provision state move b c"),
    ("provision state rekey", "provision state rekey"),
    ("provision state replace", "provision state replace b"),
    ("provision state restore", "provision state restore"),
    ("provision state unprotect", "provision state unprotect b"),
    // Last: it is about other policies than those in force.
    (
        "provision policy accept",
        "'permit(principal, action, resource);' | save --force policies/p.cedar; provision policy accept",
    ),
];

/// What commands that only read are called with, where they need something.
const GIVEN: &[(&str, &str)] = &[
    ("provision history show", "1"),
    ("provision provider catalog", "hetzner"),
    ("provision provider check", "."),
    ("provision provider schema", "hetzner.server"),
    ("provision rollback", "1"),
    ("provision secret decrypt", "none"),
    ("provision state show", "b"),
];

/// Every command says of itself, among its search terms, whether it reads, asks the policies, or changes only what is the
/// caller's own. One that asks has a script above in which it is refused; one that reads is run here, and changes nothing.
#[test]
fn no_command_gets_past_a_policy_that_forbids_everything() {
    let (all, nothing) =
        ("permit(principal, action, resource);", "@id(\"nothing\") forbid(principal, action, resource);");
    let key = "  key = p.hetzner.ssh_key & { public_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1 x\" },\n  b =";
    let infra = INFRA.replace("  b =", key);
    let refused = |world: &World, script: &str| {
        world.fails(script).is("provision::apply::denied", "nothing", "");
    };

    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra).write("policies/p.cedar", nothing);
    let digest = world.ok("provision plan | get 0.plan");
    REFUSED_AT_FIRST.iter().for_each(|(_, script)| refused(&world, &script.replace("PLAN", &digest)));
    assert_eq!(world.mutating(), []);
    assert_eq!(world.json("provision state list"), json!([]));

    let mut world = World::new().with_sandbox();
    world.write("infra.ncl", &infra).write("policies/p.cedar", all);
    world.env("USER", Some("lea"));
    let approval = world.ok("provision approve (provision plan | get 0.plan) --role anybody | get 0.id");
    world.env("USER", Some("ada"));
    world.ok("provision apply --yes | ignore");
    world.write("policies/p.cedar", nothing);
    world.ok("provision policy accept");
    let before = (world.mutating().len(), world.json("provision state list"));
    let commands = world.json(
        "scope commands | where type == plugin and name =~ '^provision'
         | each {|it| { name: $it.name, terms: $it.search_terms, needs: ($it.signatures | values | first | where parameter_type == positional and is_optional == false | length) } }",
    );
    let mut reading = String::new();
    for command in commands.as_array().unwrap() {
        let (name, terms) = (command["name"].as_str().unwrap(), command["terms"].as_str().unwrap());
        let is = |term: &str| terms.split(", ").any(|one| one == term);
        let asks = REFUSED_AT_FIRST.iter().chain(REFUSED_LATER).any(|(tried, script)| {
            assert!(script.contains(tried), "{script} is no script of `{tried}`");
            *tried == name
        });
        let given = GIVEN.iter().find(|(known, _)| *known == name).map_or("", |(_, given)| given);
        match (is("reads only"), is("asks the policies"), is("changes its own")) {
            (true, false, false) => {
                assert!(!asks, "`{name}` says that it only reads");
                assert!(command["needs"] == json!(0) || !given.is_empty(), "say in GIVEN what `{name}` is called with");
                reading += &format!("try {{ {name} {given} | ignore }}\n");
            }
            (false, true, false) => assert!(asks, "write a script above in which `{name}` is refused"),
            (false, false, true) => assert!(!asks, "`{name}` says that it asks nobody"),
            _ => panic!("`{name}` says of itself: {terms}; give it one of READS, ASKS and OWN"),
        }
    }
    world.ok(&reading);
    assert_eq!((world.mutating().len(), world.json("provision state list")), before);
    REFUSED_LATER.iter().for_each(|(_, script)| refused(&world, &script.replace("APPROVAL", &approval)));
    std::fs::remove_dir_all(world.project().join("policies")).unwrap();
    world.fails("provision apply --yes").is(
        "provision::apply::no_policies",
        "there are none in `policies`",
        "Put them back",
    );
    // The network was made by hand.
    assert_eq!((world.mutating().len(), world.json("provision state list")), (before.0 + 1, before.1));
}

#[test]
fn what_the_state_says_of_a_resource_has_actions_of_its_own() {
    let world = World::new();
    world.write("infra.ncl", INFRA);
    let policies = |verb: &str| {
        format!(
            "permit(principal, action, resource);\n@id(\"held\") forbid(principal, action == Provision::Action::\"{verb}\", resource) when {{ resource.address == \"a\" }};\n"
        )
    };
    world.write("policies/p.cedar", "permit(principal, action, resource);");
    world.ok("provision apply --yes | ignore");
    for (verb, script) in
        [("move", "state move b a; provision state move"), ("mark", "state replace"), ("unprotect", "state unprotect")]
    {
        world.write("policies/p.cedar", &policies(verb));
        assert_eq!(world.json("policy check"), json!([]));
        world.ok("provision policy accept");
        let script = script.rsplit("; provision ").next().unwrap();
        let to = if verb == "move" { " z" } else { "" };
        world.fails(&format!("provision {script} a{to}")).is("provision::apply::denied", "`held`", "");
        world.ok(&format!(
            "provision {script} b{} | ignore",
            if verb == "move" { " c; provision state move c b" } else { "" }
        ));
    }
    // The address that it would get counts too.
    world.write("policies/p.cedar", &policies("move").replace("\"a\"", "\"q\""));
    world.ok("provision policy accept");
    world.fails("provision state move b q").is("provision::apply::denied", "`held`", "");
    // Who was refused what is in the log.
    let refused = world.json("provision audit | where event =~ deny | select event subject");
    let rows = [("move.deny", "a"), ("mark.deny", "a"), ("unprotect.deny", "a"), ("move.deny", "b")];
    assert_eq!(refused, json!(rows.map(|(event, subject)| json!({"event": event, "subject": subject}))));
}

#[test]
fn an_approval_a_policy_reads_for_itself_is_used_once_and_dies_with_the_policies() {
    let world = World::new();
    world.write("infra.ncl", INFRA);
    let policies = "@id(\"approved\") permit(principal, action == Provision::Action::\"create\", resource) when { context.approvals.contains(\"lead\") };\n\
        permit(principal, action in [Provision::Action::\"approve\", Provision::Action::\"change_policy\"], resource);\n";
    world.write("policies/p.cedar", policies);
    world.ok("provision plan | to nuon | save plan.nuon");
    let approve = "provision approve (open plan.nuon | get 0.plan) --role lead | ignore";
    world.ok(approve);
    world.ok("open plan.nuon | where address == a | provision apply | ignore");
    assert_eq!(world.json("provision approvals | where used == null | length"), json!(0));
    world.fails("open plan.nuon | where address == b | provision apply").is(
        "provision::apply::denied",
        "no policy permits it",
        "",
    );
    world.ok(approve);
    world.write("policies/more.cedar", "forbid(principal, action == Provision::Action::\"delete\", resource);");
    world.ok("provision policy accept");
    world.fails("open plan.nuon | where address == b | provision apply").is(
        "provision::apply::denied",
        "no policy permits it",
        "",
    );
}

#[test]
fn only_what_an_approval_helps_waits_for_it_and_a_linked_folder_counts() {
    let world = World::new();
    world.write("infra.ncl", INFRA);
    world.write("policies/p.cedar", "@id(\"w\") @approval(\"lead\") forbid(principal, action, resource);\npermit(principal, action == Provision::Action::\"approve\", resource);");
    world.fails("provision plan | provision apply").is("provision::apply::denied", "no policy permits it", "");
    // The policies that were asked are in force: others are another project's.
    let world = World::new();
    world.write("infra.ncl", INFRA);
    world.write("policies/p.cedar", "permit(principal, action, resource);");
    world.write("rules/no.cedar", "@id(\"linked\") forbid(principal, action, resource);");
    std::os::unix::fs::symlink("../rules", world.project().join("policies/more")).unwrap();
    world.fails("provision plan | provision apply").is("provision::apply::denied", "`linked`", "");
    assert_eq!(world.json("provision state list"), json!([]));
}

#[test]
fn a_tag_known_after_apply_is_decided_then() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in\n{ name = \"t\", resources = {\n  a = p.local.data & { input = 1 },\n  \
         web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", labels.team = p.ref \"a\" \"id\" },\n} } | p.Infrastructure\n",
    );
    world.write("policies/p.cedar", "permit(principal, action, resource);\n@id(\"tagged\") forbid(principal, action, resource) when { resource.hasTag(\"team\") && resource.getTag(\"team\") like \"*\" };");
    let decisions = world.json("provision plan | policy authorize | select address decision | sort-by address");
    assert_eq!(decisions, json!([{"address": "a", "decision": "allow"}, {"address": "web", "decision": "pending"}]));
    assert_eq!(world.json("provision plan | policy authorize --only pending | get address"), json!(["web"]));
    world.fails("provision plan | provision apply").is("provision::apply::incomplete", "1 done, 1 failed", "");
    assert_eq!(world.mutating(), []);
    // Policies that look at no tag need not wait.
    world.write("policies/p.cedar", "permit(principal, action, resource);");
    world.ok("provision policy accept");
    assert_eq!(world.json("provision plan | policy authorize | get decision | uniq"), json!(["allow"]));
}

#[test]
fn a_policy_can_speak_of_what_was_there_before() {
    let world = World::new().with_sandbox();
    let infra = |kind: &str, label: &str| {
        format!(
            "let p = import \"provision.ncl\" in\n{{ name = \"t\", resources = {{\n  web = p.hetzner.server & {{ server_type = \"{kind}\", image = \"debian-12\", labels.tier = \"{label}\" }},\n}} }} | p.Infrastructure\n"
        )
    };
    world.write("infra.ncl", &infra("cx23", "a"));
    world.write(
        "policies/p.cedar",
        "permit(principal, action, resource);\n@id(\"keeps-its-size\") forbid(principal, action, resource is Hetzner::Server)\n\
         when { resource has before && resource.before has server_type && resource.before.server_type != resource.server_type };\n",
    );
    assert_eq!(world.json("policy check"), json!([]));
    world.ok("provision plan | provision apply | ignore");
    world.write("infra.ncl", &infra("cx23", "b"));
    world.ok("provision plan | provision apply | ignore");
    world.write("infra.ncl", &infra("cx33", "b"));
    assert_eq!(world.json("provision plan | policy authorize | get decision"), json!(["deny"]));
    world.fails("provision plan | provision apply").is("provision::apply::denied", "`keeps-its-size`", "");
}
