//! Owns what a user sees of `nickel eval`, `nickel check` and `from ncl` in the real `nu`.

use provision_tests::World;
use serde_json::json;

fn world() -> World {
    World::with_plugins(&["nu_plugin_nickel"])
}

#[test]
fn files_are_evaluated_relative_to_the_shells_folder_and_merged() {
    let world = world();
    world
        .write("conf/base.ncl", "{ port | default = 80, deep = import \"part.ncl\" }")
        .write("conf/part.ncl", "{ x = 1 }");
    world.write("dev.json", "{\"port\": 8080}");
    assert_eq!(world.json("nickel eval conf/base.ncl dev.json"), json!({"deep": {"x": 1}, "port": 8080}));
    assert_eq!(world.json("cd conf; nickel eval base.ncl --override {deep: {x: 2}} --field deep"), json!({"x": 2}));
    assert_eq!(world.json("open conf/base.ncl"), json!({"deep": {"x": 1}, "port": 80}));
    assert_eq!(world.json("open --raw conf/base.ncl | from ncl"), json!({"deep": {"x": 1}, "port": 80}));
    assert_eq!(world.json("'1 + 1' | nickel eval"), json!(2));
}

#[test]
fn a_changed_import_is_seen_by_the_warm_plugin() {
    let world = world();
    world.write("main.ncl", "import \"part.ncl\"").write("part.ncl", "1");
    let script = "let before = nickel eval main.ncl; '2' | save -f part.ncl; [$before (nickel eval main.ncl)]";
    assert_eq!(world.json(script), json!([1, 2]));
}

#[test]
fn values_have_nushells_types() {
    let world = world();
    world.write("t.ncl", "{ at = { \"$nu\" = \"datetime\", value = \"2026-01-02T03:04:05Z\" }, for = { \"$nu\" = \"duration\", value = 1500000000 }, size = { \"$nu\" = \"filesize\", value = 7 } }");
    assert_eq!(
        world.json("nickel eval t.ncl | items {|key value| $value | describe }"),
        json!(["datetime", "duration", "filesize"])
    );
}

#[test]
fn the_result_says_where_it_came_from() {
    let world = world();
    world.write("m.ncl", "{ x = 1 }");
    let source = world.json("nickel eval m.ncl | metadata | get nickel_source");
    assert!(source["file"].as_str().unwrap().ends_with("/project/m.ncl"), "{source}");
    assert_eq!(source["digest"].as_str().unwrap().len(), 64);
}

#[test]
fn the_built_in_schemas_are_there_in_any_folder() {
    let world = world();
    world.write("deep/down/x.ncl", "let p = import \"provision.ncl\" in std.record.has_field \"hetzner\" p");
    assert_eq!(world.json("nickel eval deep/down/x.ncl"), json!(true));
    world.write("deep/down/y.ncl", "let p = import \"provision.ncl\" in { web = p.hetzner.servr & {} }");
    world.fails("nickel eval deep/down/y.ncl").is("nickel::eval::missing_field", "deep/down/y.ncl:1:", "`server`");
}

#[test]
fn the_import_path_comes_from_flag_then_environment() {
    let mut world = world();
    world.write("m.ncl", "import \"lib.ncl\"").write("env/lib.ncl", "\"env\"").write("flag/lib.ncl", "\"flag\"");
    world.fails("nickel eval m.ncl").is("nickel::import", "m.ncl:1:1", "looked up beside the importing file");
    let folder = world.project().join("env").display().to_string();
    world.env("NICKEL_IMPORT_PATH", Some(&folder));
    assert_eq!(world.json("nickel eval m.ncl"), json!("env"));
    assert_eq!(world.json("nickel eval m.ncl --import-path flag"), json!("flag"));
    assert_eq!(world.json("nickel eval m.ncl --import-path [flag env]"), json!("flag"));
}

#[test]
fn each_mistake_has_code_position_and_next_step_and_all_come_in_one_run() {
    let world = world();
    world.write("bad.ncl", "{\n  a | String = 1,\n  b = c.nope,\n  c = { note = 2 },\n  d | Number,\n}");
    let caught = world.fails("nickel eval bad.ncl");
    let all = caught.all();
    assert_eq!(all.len(), 3, "{caught:#?}");
    all[0].is("nickel::eval::contract", "(bad.ncl:2:16)", "a | String = 1");
    all[1].is("nickel::eval::missing_field", "(bad.ncl:3:7)", "`note`");
    all[2].is("nickel::eval::missing_field", "(bad.ncl:5:3)", "Define the field");
    world.write("syntax.ncl", "{ x = }");
    world.fails("nickel eval syntax.ncl").is("nickel::parse", "(syntax.ncl:1:7)", "Mend the syntax");
    world.fails("nickel eval none.ncl").is("nickel::io", "none.ncl", "Check that the path exists");
    world.fails("'1 / 3' | nickel eval").is("nickel::eval::inexact", "1/3", "--inexact");
    assert_eq!(world.json("'1 / 4' | nickel eval"), json!(0.25));
    assert_eq!(world.json("'1 / 3' | nickel eval --inexact string"), json!("1/3"));
}

#[test]
fn an_error_shows_the_nickel_line_and_nothing_of_another_file() {
    let mut world = world();
    world.env("SECRET_TOKEN", Some("do-not-show"));
    world.write("bad.ncl", &format!("{{\n{}  x | String = 1,\n}}", "  # a long comment line\n".repeat(40)));
    let said = world.nu("nickel eval bad.ncl");
    assert!(!said.status.success());
    assert!(said.stderr.contains("bad.ncl:42:16") && said.stderr.contains("x | String = 1"), "{}", said.stderr);
    assert!(said.stderr.contains("while evaluating this file"), "{}", said.stderr);
    assert!(!said.stderr.contains("do-not-show"), "{}", said.stderr);
}

#[test]
fn check_gives_a_table_and_strict_raises() {
    let world = world();
    world
        .write("a.ncl", "let x : Number = \"a\" in x")
        .write("b.ncl", "{ x = 1 + \"late\" }")
        .write("c.ncl", "{ x = }");
    let table = world.json("nickel check a.ncl b.ncl c.ncl");
    let rows = table.as_array().unwrap();
    assert_eq!(rows.len(), 2, "{table}");
    assert_eq!(
        (&rows[0]["code"], &rows[0]["file"], &rows[0]["line"]),
        (&json!("nickel::typecheck"), &json!("a.ncl"), &json!(1))
    );
    assert_eq!((&rows[1]["code"], &rows[1]["start"]), (&json!("nickel::parse"), &json!(6)));
    assert_eq!(world.json("['a.ncl' 'c.ncl'] | nickel check | get severity"), json!(["error", "error"]));
    assert_eq!(world.json("'{}' | nickel check"), json!([]));
    world.fails("nickel check a.ncl --strict").is("nickel::typecheck", "(a.ncl:1:18)", "Number");
    assert!(world.ok("nickel").contains("nickel eval"));
}

#[test]
fn an_endless_evaluation_ends_with_the_shell() {
    let world = world();
    world.write("loop.ncl", "let rec f = fun n => f (n + 1) in f 0");
    let mut command = world.command();
    command.args(["-c", "nickel eval loop.ncl"]);
    let mut child = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        if std::time::Instant::now() > end {
            child.kill().unwrap();
            panic!("still running ten seconds after the interrupt");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
