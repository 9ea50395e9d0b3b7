//! Owns what a user sees of `policy authorize`, `policy check` and `policy schema` in the real `nu`.

use provision_tests::World;
use serde_json::json;

const QUESTIONS: &str = r#"[[principal action resource]; ['User::"ann"' 'Action::"view"' 'Photo::"a"'] ['User::"bob"' 'Action::"view"' 'Photo::"b"']]"#;

fn world() -> World {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world.write(
        "p.cedar",
        "permit(principal, action, resource);\n@id(\"not-bob\")\n@advice(\"ask ann\")\nforbid(principal == User::\"bob\", action, resource);\n",
    );
    world
}

#[test]
fn rows_come_back_with_decision_reasons_and_errors() {
    let world = world();
    let rows = world.json(&format!("{QUESTIONS} | policy authorize --policies p.cedar"));
    assert_eq!(rows[0]["decision"], json!("allow"));
    assert_eq!(rows[0]["principal"], json!("User::\"ann\""));
    assert_eq!(
        rows[0]["reasons"],
        json!([{"policy": "policy0", "effect": "permit", "annotations": {}, "file": "p.cedar", "line": 1}])
    );
    assert_eq!(rows[1]["decision"], json!("deny"));
    assert_eq!((&rows[1]["reasons"][0]["policy"], &rows[1]["reasons"][0]["line"]), (&json!("not-bob"), &json!(2)));
    assert_eq!(rows[1]["errors"], json!([]));
}

#[test]
fn only_filters_strict_raises_and_a_record_stays_one() {
    let world = world();
    let ask = |rest: &str| format!("{QUESTIONS} | policy authorize -p p.cedar {rest}");
    assert_eq!(world.json(&ask("--only allow | length")), json!(1));
    world.fails(&ask("--strict")).is("policy::denied", "`not-bob` (p.cedar:2)", "ask ann");
    let one = world.json("{ name: x } | policy authorize -p p.cedar --principal 'User::\"ann\"' --action { type: Action, id: view } --resource {|row| { type: Photo, id: $row.name } }");
    assert_eq!((&one["name"], &one["decision"]), (&json!("x"), &json!("allow")));
    world.fails("[{ a: 1 }] | policy authorize -p p.cedar").is(
        "policy::request",
        "which principal",
        "`request` record",
    );
}

#[test]
fn an_endless_stream_is_decided_as_it_comes() {
    let world = world();
    let script = "generate {|n| { out: { principal: { type: User, id: ($n | into string) }, action: 'Action::\"view\"', resource: 'Photo::\"a\"' }, next: ($n + 1) } } 0 \
        | policy authorize -p p.cedar | first 3 | get decision";
    assert_eq!(world.json(script), json!(["allow", "allow", "allow"]));
}

#[test]
fn a_folder_names_its_policies_by_file_and_the_project_is_found_upwards() {
    let world = world();
    world
        .write("infra.ncl", "{}")
        .write("policies/team/a.cedar", "permit(principal, action, resource);")
        .write("sub/x", "");
    let rows = world.json(&format!("cd sub; {QUESTIONS} | policy authorize"));
    assert_eq!(rows[0]["reasons"][0]["policy"], json!("team/a.cedar:policy0"));
    std::fs::remove_file(world.project().join("infra.ncl")).unwrap();
    world.fails(&format!("{QUESTIONS} | policy authorize")).is(
        "provision::config::no_project",
        "infra.ncl",
        "--policies",
    );
    world.fails(&format!("{QUESTIONS} | policy authorize -p none.cedar")).is(
        "policy::io",
        "none.cedar",
        "Check the path",
    );
}

#[test]
fn check_finds_syntax_and_names_and_strict_raises() {
    let world = world();
    world.write("bad.cedar", "permit(principal, action, resource)\nwhen { };");
    let table = world.json("policy check -p bad.cedar");
    assert_eq!(
        (&table[0]["code"], &table[0]["file"], &table[0]["line"]),
        (&json!("policy::parse"), &json!("bad.cedar"), &json!(2))
    );
    world.fails("policy check -p bad.cedar --strict").is("policy::parse", "(bad.cedar:2:1)", "when");
    let typo = "permit(principal, action, resource is Hetzner::Server) when { resource.server_typ == \"cx22\" };";
    let table = world.json(&format!("'{typo}' | policy check"));
    assert_eq!(table[0]["code"], json!("policy::validate"));
    assert!(table[0]["help"].as_str().unwrap().contains("server_type"), "{table}");
    assert_eq!(world.json(&format!("'{}' | policy check", typo.replace("server_typ ", "server_type "))), json!([]));
}

#[test]
fn the_schema_is_text_or_data() {
    let world = world();
    assert!(world.ok("policy schema").contains("namespace Provision"));
    assert_eq!(world.json("policy schema --json | columns | 'Provision' in $in"), json!(true));
    assert!(world.ok("policy").contains("policy authorize"));
}

#[test]
fn policies_are_listed_formatted_and_converted() {
    let world = World::with_plugins(&["nu_plugin_policy"]);
    world.write(
        "p/a.cedar",
        "@id(\"web\")\npermit(principal in Team::\"web\", action == Action::\"x\", resource is A::B);\nforbid(principal,action,resource);\n",
    );
    assert_eq!(
        world.json("policy list --policies p | select id effect principal action resource file line template"),
        json!([
            {"id": "web", "effect": "permit", "principal": "in Team::\"web\"", "action": "== Action::\"x\"", "resource": "is A::B", "file": "a.cedar", "line": 1, "template": false},
            {"id": "a.cedar:policy1", "effect": "forbid", "principal": null, "action": null, "resource": null, "file": "a.cedar", "line": 3, "template": false},
        ])
    );
    assert_eq!(
        world.json("open --raw p/a.cedar | from cedar | get staticPolicies | columns | sort"),
        json!(["policy1", "web"])
    );
    assert_eq!(
        world.json("let json = open --raw p/a.cedar | from cedar; ($json | to cedar | from cedar) == $json"),
        json!(true)
    );
    assert_eq!(
        world.ok("'permit(principal,action,resource);' | policy format"),
        "permit (principal, action, resource);"
    );
    world.fails("'permit(principal,' | policy format").is("policy::parse", "<input>:1:", "");
    world.fails("{effect: allow} | to cedar").is("policy::parse", "", "from cedar");
    assert_eq!(
        world.json(
            "'entity User;' | from cedarschema | to cedarschema | from cedarschema | get ''.entityTypes | columns"
        ),
        json!(["User"])
    );
}
