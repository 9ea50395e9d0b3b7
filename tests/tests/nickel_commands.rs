//! Owns what a user sees of the Nickel commands beside `eval` and `check` in the real `nu`.

use provision_tests::{World, workspace};
use serde_json::json;
use std::time::{Duration, Instant};

fn world() -> World {
    World::with_plugins(&["nu_plugin_nickel"])
}

#[test]
fn export_writes_each_format_and_its_content_type() {
    let world = world();
    world
        .write("a.ncl", "{ b = [1, 0.5], a = \"x\", hidden | not_exported = fun x => x }")
        .write("b.json", "{\"c\": null}");
    assert_eq!(world.ok("nickel export a.ncl"), "{\n  \"a\": \"x\",\n  \"b\": [\n    1,\n    0.5\n  ]\n}");
    assert_eq!(world.ok("nickel export a.ncl b.json --format yaml"), "a: x\nb:\n- 1\n- 0.5\nc: null");
    assert_eq!(world.ok("nickel export a.ncl --format toml"), "a = \"x\"\nb = [\n    1,\n    0.5,\n]");
    assert_eq!(world.ok("nickel export a.ncl --format text --field a"), "x");
    assert_eq!(world.ok("nickel export a.ncl --format yaml-documents --field b"), "---\n1\n---\n0.5");
    assert_eq!(
        world.json("nickel export a.ncl --format toml | metadata | get content_type"),
        json!("application/toml")
    );
    assert_eq!(world.ok("nickel export a.ncl --format yaml | from yaml | get b.1"), "0.5");
    world.fails("nickel export b.json --format toml").is("nickel::eval::not_serializable", "null", "");
    world.fails("nickel export a.ncl --format xml").is("nickel::config", "xml", "json, yaml");
}

#[test]
fn a_stack_overflow_is_an_error_and_the_plugin_lives_on() {
    let world = world();
    let script = "
        let deep = try { ('[' * 60000) ++ '1' ++ (']' * 60000) | nickel eval } catch {|error| $error.details.code }
        let endless = try { 'let rec f = fun n => 1 + f (n + 1) in f 0' | nickel eval } catch {|error| $error.details.code }
        [$deep $endless ('1 + 1' | nickel eval)]";
    let script = format!("$env.config.plugins.nickel = {{memory_limit: 600MB}}; {script}");
    let script = script.replace(
        "('[' * 60000) ++ '1' ++ (']' * 60000)",
        "$\"('' | fill -c '[' -w 60000)1('' | fill -c ']' -w 60000)\"",
    );
    assert_eq!(world.json(&script), json!(["nickel::eval::limit", "nickel::eval::limit", 2]));
}

#[test]
fn settings_bound_time_and_memory_and_wrong_ones_are_named() {
    let world = world();
    let endless = "'let rec f = fun n => f (n + 1) in f 0' | nickel eval";
    let began = Instant::now();
    world.fails(&format!("$env.config.plugins.nickel = {{time_limit: 300ms}}; {endless}")).is(
        "nickel::eval::limit",
        "too long",
        "time_limit",
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    world
        .fails("$env.config.plugins.nickel = {memory_limit: 300MB}; 'std.array.generate (fun i => std.string.join \"\" [std.to_string i, \"x\"]) 100000000' | nickel eval")
        .is("nickel::eval::limit", "too much memory", "memory_limit");
    world.fails("$env.config.plugins.nickel = {memory_limt: 1GB}; '1' | nickel eval").is(
        "nickel::config",
        "memory_limt",
        "memory_limit",
    );
    world.fails("$env.config.plugins.nickel = {time_limit: 3}; '1' | nickel eval").is(
        "nickel::config",
        "time_limit",
        "docs/nickel.md",
    );
}

#[test]
fn overrides_take_dates_and_durations_as_they_are() {
    let world = world();
    assert_eq!(
        world.json("('{ a = 1, b.c = 2 }' | nickel eval --override {a: 5min, b: {c: 2kb}}) == {a: 5min, b: {c: 2kb}}"),
        json!(true)
    );
    world.fails("mkdir folder; nickel eval folder").is("nickel::io", "is a folder", "path");
    world.fails("nickel eval /dev/null").is("nickel::io", "not a regular file", "Pipe");
}

#[test]
fn nothing_is_left_running_when_the_shell_is_killed() {
    let world = world();
    world.write("loop.ncl", "let rec f = fun n => f (n + 1) in f 0");
    let mut command = world.command();
    command.args(["-c", "nickel eval loop.ncl"]);
    let mut child = command.spawn().unwrap();
    let plugins = || {
        let mut found = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            let home = format!("HOME={}", world.home().display());
            if environment.windows(home.len()).any(|part| part == home.as_bytes()) {
                found.push(process.file_name());
            }
        }
        found
    };
    let end = Instant::now() + Duration::from_secs(60);
    while plugins().len() < 3 {
        assert!(Instant::now() < end, "nu, the plugin and its evaluator: {:?}", plugins());
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !plugins().is_empty() {
        assert!(Instant::now() < end, "still running: {:?}", plugins());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn calls_in_parallel_do_not_disturb_each_other() {
    let world = world();
    for n in 0..8 {
        world.write(&format!("f{n}.ncl"), &format!("{{ n = import \"n.json\", own = {n} }}"));
    }
    world.write("n.json", "7");
    let script =
        "0..199 | par-each --keep-order {|at| nickel eval $'f($at mod 8).ncl' | get own } | each {|n| $n } | math sum";
    assert_eq!(world.json(script), json!((0..200).map(|at| at % 8).sum::<i32>()));
}

#[test]
fn validate_fills_in_defaults_and_names_row_field_and_contract() {
    let world = world();
    world.write("open.ncl", "{ name | String, port | default = 80, .. }");
    world.write(
        "c.ncl",
        "{\n  Port = std.contract.from_predicate (fun p => p < 100),\n  Row = { name | String, port | Port | default = 80 },\n  Said = std.contract.custom (fun label value =>\n    if value == \"no\" then 'Error { message = \"it says no\", notes = [\"say yes\"] } else 'Ok value),\n}",
    );
    assert_eq!(
        world.json("[{name: a} {name: b, port: 8}] | nickel validate c.ncl --field Row"),
        json!([{"name": "a", "port": 80}, {"name": "b", "port": 8}])
    );
    assert_eq!(world.json("{name: a} | nickel validate c.ncl --field Row"), json!({"name": "a", "port": 80}));
    world.fails("[{name: a} {name: b, port: 800}] | nickel validate c.ncl --field Row").is(
        "nickel::eval::contract",
        "row 1, `port`: contract broken (c.ncl:3:",
        "meets the contract at the marked place",
    );
    world.fails("[{name: 3}] | nickel validate c.ncl --field Row").is("nickel::eval::contract", "row 0, `name`", "");
    world.fails("{} | nickel validate c.ncl --field Row").is("nickel::eval::missing_field", "`name`", "");
    world.fails("[yes no] | nickel validate c.ncl --field Said").is("nickel::eval::contract", "it says no", "say yes");
    world.fails("[1] | nickel validate c.ncl --field Nothing").is("nickel::eval::missing_field", "Nothing", "Port");
    assert_eq!(world.json("[[z name]; [1 a]] | nickel validate open.ncl | columns"), json!(["z", "name", "port"]));
    world.fails("nickel validate c.ncl --field Row").is("nickel::io", "nothing on the pipeline", "Pipe in");
    let rows = "[1 {|| 2 } 300] | nickel validate c.ncl --field Port --report";
    assert_eq!(world.json(&format!("{rows} | get valid")), json!([true, false, false]));
    assert_eq!(world.json(&format!("{rows} | last | get value")), json!(300));
    let report = world.json("[{name: a} {name: 1, port: 800}] | nickel validate c.ncl --field Row --report");
    assert_eq!((&report[0]["index"], &report[0]["valid"], &report[0]["errors"]), (&json!(0), &json!(true), &json!([])));
    assert_eq!((&report[1]["valid"], report[1]["errors"].as_array().unwrap().len()), (&json!(false), 2));
    assert_eq!(report[1]["errors"][0]["file"], json!("c.ncl"));
    assert_eq!(report[0]["value"], json!({"name": "a", "port": 80}));
    assert_eq!(report[1]["value"], json!({"name": 1, "port": 800}));
    assert!(report[1]["errors"][0]["line"].is_number(), "{report}");
}

#[test]
fn validate_streams() {
    let world = world();
    world.write("c.ncl", "{ n | Number, twice | Number | default = 2 }");
    // An endless source is read no further than asked for.
    assert_eq!(
        world.json("generate {|n| {out: {n: $n}, next: ($n + 1)} } 0 | nickel validate c.ncl | first 3 | get n"),
        json!([0, 1, 2])
    );
    assert_eq!(
        world.json("1..5000 | each {|n| {n: $n} } | nickel validate c.ncl | where n > 4998 | get twice"),
        json!([2, 2])
    );
    world.fails("1..9 | each {|n| {n: (if $n == 7 { 'x' } else { $n })} } | nickel validate c.ncl").is(
        "nickel::eval::contract",
        "row 6, `n`",
        "",
    );
}

#[test]
fn call_applies_a_function_to_the_pipeline_and_further_arguments() {
    let world = world();
    world.write(
        "f.ncl",
        "{ add = fun a b => a + b, all = std.array.fold_left (+) 0, twice | Number -> Number = fun n => n * 2 }",
    );
    assert_eq!(world.json("1 | nickel call f.ncl --field add 41"), json!(42));
    assert_eq!(world.json("nickel call f.ncl --field add 1 2"), json!(3));
    assert_eq!(world.json("1..4 | nickel call f.ncl --field all"), json!(10));
    world.write("nothing.ncl", "fun x => x == null");
    assert_eq!(world.json("null | nickel call nothing.ncl"), json!(true));
    world.fails("'x' | nickel call f.ncl --field twice").is("nickel::eval::contract", "f.ncl:1:", "");
    world.fails("1 | nickel call f.ncl --field add").is("nickel::eval::not_serializable", "function", "Apply");
}

#[test]
fn query_describes_a_field_without_needing_the_rest() {
    let world = world();
    world.write(
        "q.ncl",
        "{\n  needed | String,\n  port | std.number.Nat | doc \"Where it listens.\" | default = 80,\n  deep.f | optional | not_exported | String,\n  typed : Number = 1 + 1,\n}",
    );
    let port = world.json("nickel query q.ncl --field port");
    assert_eq!(
        port,
        json!({
            "path": "port", "type": null, "contracts": ["std.number.Nat"], "doc": "Where it listens.", "default": 80, "value": 80,
            "optional": false, "not_exported": false, "priority": "default",
            "position": {"file": "q.ncl", "line": 3, "column": 3, "end_line": 3, "end_column": 7, "start": 23, "end": 27}, "fields": null
        })
    );
    let deep = world.json("nickel query q.ncl --field deep.f");
    assert_eq!((&deep["optional"], &deep["not_exported"], &deep["value"]), (&json!(true), &json!(true), &json!(null)));
    assert_eq!(
        world.json("nickel query q.ncl --field typed | select type value"),
        json!({"type": "Number", "value": 2})
    );
    assert_eq!(world.json("nickel query q.ncl | get fields"), json!(["deep", "needed", "port", "typed"]));
    world.fails("nickel query q.ncl --field prt").is("nickel::eval::missing_field", "prt", "port");
}

#[test]
fn doc_gives_rows_and_the_official_markdown() {
    let world = world();
    world.write(
        "d.ncl",
        "{\n  b | String | doc \"The **b**.\" | optional,\n  a\n    | doc m%\"\n      # Part\n\n      Of a.\n    \"%\n    = { inner | Number | doc \"Inner.\" | default = 3 },\n  plain = 1,\n}",
    );
    assert_eq!(
        world.json("nickel doc d.ncl"),
        json!([
            {"path": "a", "type": null, "contracts": [], "default": null, "optional": false, "doc": "# Part\n\nOf a."},
            {"path": "a.inner", "type": null, "contracts": ["Number"], "default": 3, "optional": false, "doc": "Inner."},
            {"path": "b", "type": null, "contracts": ["String"], "default": null, "optional": true, "doc": "The **b**."},
        ])
    );
    let markdown = world.ok("nickel doc d.ncl --markdown");
    assert!(markdown.starts_with("# `a`\n\n## Part\n\nOf a.") && markdown.contains("## `inner`"), "{markdown}");
    let official = workspace().join("target/peers/bin/nickel");
    if official.exists() {
        let said = world.ok(&format!("^'{}' doc d.ncl --stdout", official.display()));
        assert_eq!(markdown, said);
    }
    world.fails("'{ a | doc \"x\" = 1 + \"y\" }' | nickel doc --markdown").is(
        "nickel::eval::type",
        "<input>:1:",
        "String",
    );
    world.fails("'1' | nickel doc --markdown").is("nickel::eval::type", "not a record", "--field");
}

#[test]
fn test_runs_the_examples_in_doc_comments() {
    let world = world();
    world.write(
        "t.ncl",
        r##"{
  double
    | doc m%"
      ```nickel
      double 2
      # => 4
      ```

      ```nickel
      double 2
      # => 5
      ```

      ```nickel
      double "x"
      # => error: Number
      ```

      ```nickel ignore
      nonsense (
      ```

      ```nickel multiline
      double 1
      # => 2

      helper 3
      ```
    "%
    = fun n => n * 2,
  helper = fun n => n,
  deep.er | doc "
```nickel
1
```
" = 1,
  part = import "part.ncl",
}"##,
    );
    world.write("part.ncl", "{ one | doc \"\n```nickel\none + 1\n# => 2\n```\n\" = 1 }");
    let rows = world.json("nickel test t.ncl | select test status expected file");
    assert_eq!(
        rows,
        json!([
            {"test": "double/0", "status": "passed", "expected": "4", "file": "t.ncl"},
            {"test": "double/1", "status": "failed", "expected": "5", "file": "t.ncl"},
            {"test": "double/2", "status": "passed", "expected": "error: Number", "file": "t.ncl"},
            {"test": "double/3", "status": "passed", "expected": "2", "file": "t.ncl"},
            {"test": "double/4", "status": "passed", "expected": null, "file": "t.ncl"},
            {"test": "deep.er/0", "status": "passed", "expected": null, "file": "t.ncl"},
            {"test": "part.one/0", "status": "passed", "expected": "2", "file": "part.ncl"},
        ])
    );
    let failed = world.json("nickel test t.ncl | where status == failed | select actual message");
    assert_eq!(failed, json!([{"actual": "4", "message": "it gives 4, not 5"}]));
    assert_eq!(world.json("nickel test t.ncl | get elapsed | describe"), json!("list<duration>"));
    world.fails("nickel test t.ncl --strict").is("nickel::eval::contract", "1 of 7 examples failed", "t.ncl");
    assert_eq!(world.json("nickel test part.ncl --strict | get status"), json!(["passed"]));
}

#[test]
fn format_gives_text_checks_and_writes() {
    let world = world();
    world.write("bad.ncl", "{a=1,b = [1,2]}").write("good.ncl", "{ a = 1 }\n").write("broken.ncl", "{ a = ");
    assert_eq!(world.ok("nickel format bad.ncl"), "{ a = 1, b = [1, 2] }");
    assert_eq!(world.ok("open --raw bad.ncl | nickel format"), "{ a = 1, b = [1, 2] }");
    world.fails("nickel format --check good.ncl bad.ncl").is("nickel::format", "not formatted: bad.ncl", "--in-place");
    assert_eq!(
        world.json("nickel format --in-place good.ncl bad.ncl"),
        json!([{"file": "good.ncl", "changed": false}, {"file": "bad.ncl", "changed": true}])
    );
    assert_eq!(world.read("bad.ncl"), "{ a = 1, b = [1, 2] }\n");
    assert_eq!(world.json("nickel format --check good.ncl bad.ncl | get changed"), json!([false, false]));
    world.fails("nickel format broken.ncl").is("nickel::parse", "broken.ncl:1:", "syntax");
    world.fails("nickel format good.ncl bad.ncl").is("nickel::config", "several files", "--in-place");
}

#[test]
fn deps_lists_every_import_once_for_each_importer() {
    let world = world();
    world
        .write("main.ncl", "{ a = import \"lib/a.ncl\", t = import \"notes.md\" as 'Text, b = if false then import \"lib/b.ncl\" else 1 }")
        .write("lib/a.ncl", "import \"data.json\"")
        .write("lib/b.ncl", "import \"data.json\"")
        .write("lib/data.json", "1")
        .write("notes.md", "text");
    assert_eq!(
        world.json("nickel deps main.ncl | select file imported_by format"),
        json!([
            {"file": "lib/a.ncl", "imported_by": "main.ncl", "format": "nickel"},
            {"file": "notes.md", "imported_by": "main.ncl", "format": "text"},
            {"file": "lib/b.ncl", "imported_by": "main.ncl", "format": "nickel"},
            {"file": "lib/data.json", "imported_by": "lib/a.ncl", "format": "json"},
            {"file": "lib/data.json", "imported_by": "lib/b.ncl", "format": "json"},
        ])
    );
    assert_eq!(world.json("nickel deps main.ncl | get 0.digest"), world.json("open --raw lib/a.ncl | hash sha256"),);
    world.write("main.ncl", "import \"none.ncl\"");
    world.fails("nickel deps main.ncl").is("nickel::import", "none.ncl", "looked up");
}

#[test]
fn to_ncl_and_back_is_the_identity() {
    let world = world();
    let script = "let value = {date: 2026-01-02T03:04:05+01:00, wait: 1hr, size: 3kb, raw: 0x[01 ff], text: \"a\\n%{b}\\\"\", 'odd key': [null true -1 0.25], empty: {}, '$nu': duration};
        ($value | to ncl | from ncl) == $value";
    assert_eq!(world.json(script), json!(true));
    assert_eq!(world.ok("{b: 1, a: [x]} | to ncl"), "{\n  b = 1,\n  a = [\n    \"x\",\n  ],\n}");
    world.fails("{f: {|| 1 }} | to ncl").is("nickel::eval::not_serializable", "`f` is a closure", "Give text");
    assert_eq!(world.json("1..300 | each {|n| {n: $n} } | to ncl | from ncl | length"), json!(300));
}

#[test]
fn a_long_list_streams_and_a_million_elements_arrive() {
    let world = world();
    world.write("big.ncl", "std.array.generate (fun i => i) 1000000");
    assert_eq!(world.json("nickel eval big.ncl | describe"), json!("list<int> (stream)"));
    assert_eq!(world.json("nickel eval big.ncl | last"), json!(999_999));
    assert_eq!(world.json("nickel eval big.ncl | first 2"), json!([0, 1]));
}

#[test]
fn the_help_of_every_command_reads_like_a_built_in() {
    let world = world();
    for command in ["call", "check", "deps", "doc", "eval", "export", "format", "query", "test", "validate"] {
        let help = world.ok(&format!("help nickel {command}"));
        for part in ["Usage:", "Examples:", "Search terms:", "Input/output types:"] {
            assert!(help.contains(part), "no `{part}` in the help of nickel {command}:\n{help}");
        }
    }
    let listed = world.ok("nickel");
    assert!(listed.contains("nickel validate") && listed.contains("nickel export"), "{listed}");
}

/// The examples of `help` that need files run beside these.
#[test]
fn every_example_of_every_command_runs() {
    let world = world();
    world
        .write("base.ncl", "{ port | default = 80, name = \"web\" }")
        .write("dev.ncl", "{ port = 8080 }")
        .write("app.ncl", "{ server = import \"base.ncl\" }")
        .write("server.ncl", "{ port | Number | doc \"Where it listens.\" | default = 80, Server = { name | String, port | Dyn | default = 80 } }")
        .write("servers.csv", "name,port\nweb,80\ndb,5432\n")
        .write("stats.ncl", "{ scale = fun list factor => std.array.map (fun n => n * factor) list }")
        .write("lib.ncl", "{ one | doc \"\n```nickel\none\n# => 1\n```\n\" = 1 }");
    let listed = world.json(
        "scope commands | where type == plugin | select name examples | each {|it| $it.examples | each {|one| [$it.name $one.example] } } | flatten",
    );
    let examples = listed.as_array().unwrap();
    assert!(examples.len() >= 20, "{examples:#?}");
    for example in examples {
        let (command, line) = (example[0].as_str().unwrap(), example[1].as_str().unwrap());
        assert!(line.contains(command), "the example of {command} does not show it: {line}");
        world.ok(&format!("{line} | ignore"));
    }
}
