//! Owns the promise that a project that was just begun works.

use provision_tests::World;
use serde_json::json;

#[test]
fn a_new_project_plans_applies_and_passes_its_own_checks() {
    let world = World::new();
    let begun = world.json("provision init shop | select name files next");
    assert_eq!(begun["name"], "shop");
    assert_eq!(begun["next"], "provision plan | provision apply");
    assert_eq!(begun["files"].as_array().unwrap().len(), 7, "{begun}");
    for file in begun["files"].as_array().unwrap() {
        assert!(!world.read(&format!("shop/{}", file.as_str().unwrap())).contains("PROJECT"), "{file}");
    }
    assert!(world.read("shop/.provision/schemas/provision.ncl").contains("Infrastructure"));
    let said = world.ok("source shop/check.nu; cd shop; main");
    assert!(said.contains("greeting"), "{said}");
    world.ok("cd shop; provision plan | provision apply | ignore");
    assert_eq!(world.json("cd shop; provision output greeting"), json!("hello from shop"));
    assert_eq!(world.json("cd shop; provision plan"), json!([]));
    // What the policies of a new project forbid.
    world.ok("cd shop; provision plan --environment production | provision apply | ignore");
    world.fails("cd shop; provision destroy --yes --environment production").is(
        "provision::apply::approval",
        "waits for the approval of `owner`",
        "provision approve",
    );
    world.fails("provision init shop").is("provision::config::exists", "already", "another name");
    world.fails("provision init ../Shop").is("provision::config::invalid", "`../Shop`", "provision init shop");
    // In a folder that is there, without a word of what is in it.
    world.write("web_site/.gitignore", "mine\n");
    let begun = world.json("cd web_site; provision init | select name files");
    assert_eq!((&begun["name"], begun["files"].as_array().unwrap().len()), (&json!("web_site"), 6), "{begun}");
    assert_eq!(world.read("web_site/.gitignore"), "mine\n");
}

#[test]
fn the_first_commands_of_a_project_can_run_at_once() {
    for round in 0..3 {
        let world = provision_tests::World::new();
        world.write(
            "infra.ncl",
            "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = \"x\" } } | p.Infrastructure",
        );
        let script = "1..3 | par-each --threads 3 {|n| try { null | provision apply --yes --quiet | ignore; 'none' } catch {|e| $e.details.code? | default $e.msg } } | uniq";
        let codes = world.json(script);
        let allowed = ["none", "provision::lease::held", "provision::plan::stale"];
        let fine = codes.as_array().unwrap().iter().all(|code| allowed.contains(&code.as_str().unwrap()));
        assert!(fine, "round {round}: {codes}");
        assert_eq!(world.json("provision plan | length"), serde_json::json!(0), "round {round}");
        assert_eq!(world.json("provision history | where done > 0 | length"), serde_json::json!(1), "round {round}");
    }
}
