//! Owns providers that are Nushell modules, and those that are closures of a session, as people use them.

#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_tests::ocean::{ACME, Ocean};
use provision_tests::{World, workspace};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A project with the provider `shelf` and these resources.
fn shelf(resources: &str) -> World {
    let world = World::new();
    let module = std::fs::read_to_string(workspace().join("tests/corpus/nushell/shelf/mod.nu")).unwrap();
    world.write("extensions/providers/shelf/mod.nu", &module);
    declare(&world, resources);
    world
}

fn declare(world: &World, resources: &str) {
    world.write(
        "infra.ncl",
        &format!(
            "let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {resources} }} }} | p.Infrastructure\n"
        ),
    );
}

const BOX: &str = r#"box = p.shelf.thing & { title = "box", size = 3, code = p.secret "canary-77" },"#;

/// What is on the shelf, by title.
fn things(world: &World) -> Vec<Value> {
    let folder = world.project().join("shelf");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<Value> = entries
        .map(|entry| serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap())
        .collect();
    all.sort_by_key(|thing| thing["title"].as_str().unwrap_or_default().to_owned());
    all
}

/// How often a command was called.
fn calls(world: &World, command: &str) -> usize {
    let noted = std::fs::read_to_string(world.project().join("calls")).unwrap_or_default();
    noted.lines().filter(|line| *line == command).count()
}

/// Whether a process runs.
fn runs(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A module is a provider wherever one is: in Nickel, in the lists, in policies; and its resources live as any other's.
#[test]
fn a_module_is_a_provider_through_the_whole_life_of_a_resource() {
    let world = shelf(&format!(
        r#"{BOX} pair = p.shelf.thing & {{ title = p.join ["like ", p.ref "box" "loud"], tags = {{ team = "a" }} }},"#
    ));
    let row = world.json("provision provider list | where name == shelf | get 0");
    assert_eq!(
        (&row["origin"], &row["version"], &row["types"]),
        (&json!("project"), &json!("1.0.0"), &json!(["shelf.thing"]))
    );
    let fields = world.json("provision provider schema shelf.thing | get fields | select field on_change");
    assert!(fields.as_array().unwrap().contains(&json!({"field": "kind", "on_change": "replace"})), "{fields}");
    assert_eq!(world.json("nickel eval infra.ncl | get resources.box | get '$type'"), "shelf.thing");
    assert!(world.ok("policy schema").contains("namespace Shelf"), "no namespace");
    assert_eq!(world.json("provision provider check shelf"), json!([]));

    let rows = world.json("provision plan | select address provider type action");
    assert_eq!(rows[0], json!({"address": "box", "provider": "shelf", "type": "shelf.thing", "action": "create"}));
    world.ok("provision plan | provision apply | ignore");
    let all = things(&world);
    assert_eq!((&all[0]["title"], &all[0]["size"], &all[0]["code"]), (&json!("box"), &json!(3), &json!("canary-77")));
    assert_eq!(all[1]["title"], "like BOX");
    assert_eq!(world.json("provision plan"), json!([]));
    let said =
        world.ok("provision state list | to json; provision state show box | to json; provision history | to json");
    assert!(!said.contains("canary"), "{said}");

    // Somebody else changes one.
    let file = world.project().join("shelf").join(format!("{}.json", all[0]["id"].as_str().unwrap()));
    let mut thing = all[0].clone();
    thing["size"] = json!(9);
    std::fs::write(&file, thing.to_string()).unwrap();
    let drift = world.json("provision drift | select address path expected actual");
    assert_eq!(drift, json!([{"address": "box", "path": "size", "expected": 3, "actual": 9}]));
    world.ok("provision heal | provision apply | ignore");
    assert_eq!(things(&world)[0]["size"], 3);

    // Changed, replaced, gone behind our back, deleted.
    declare(&world, r#"box = p.shelf.thing & { title = "bin", size = 4, kind = "round" },"#);
    let actions = world.json("provision plan | get action");
    assert_eq!(actions, json!(["replace", "delete"]));
    world.ok("provision plan | provision apply | ignore");
    let all = things(&world);
    assert_eq!((all.len(), &all[0]["title"], &all[0]["kind"]), (1, &json!("bin"), &json!("round")));
    std::fs::remove_file(world.project().join("shelf").join(format!("{}.json", all[0]["id"].as_str().unwrap())))
        .unwrap();
    assert_eq!(world.json("provision plan | get action"), json!(["create"]));
    world.ok("provision apply --yes | ignore");
    world.ok("provision destroy --yes | ignore");
    assert_eq!(things(&world), Vec::<Value>::new());
}

/// What is there already is taken in, and what carries our mark and is in no row is a stray.
#[test]
fn what_is_on_the_shelf_is_imported_and_strays_are_seen() {
    let world = shelf(BOX);
    world.write("shelf/old.json", r#"{"title": "old", "size": 5, "kind": "plain", "id": "old"}"#);
    let row = world.json("provision import attic old --type shelf.thing");
    assert_eq!(row["address"].as_str().or(row[0]["address"].as_str()), Some("attic"), "{row}");
    assert!(row.to_string().contains("p.shelf.thing"), "{row}");
    declare(&world, &format!(r#"{BOX} attic = p.shelf.thing & {{ title = "old", size = 5 }},"#));
    assert_eq!(world.json("provision plan | select address action"), json!([{"address": "box", "action": "create"}]));
    world.ok("provision apply --yes | ignore");
    let mark = things(&world)[0]["mark"].as_str().unwrap().to_owned();
    let lineage = mark.split('/').next().unwrap();
    world.write(
        "shelf/stray.json",
        &format!(r#"{{"title": "stray", "size": 1, "kind": "plain", "id": "stray", "mark": "{lineage}/other"}}"#),
    );
    world.write(
        "shelf/theirs.json",
        r#"{"title": "theirs", "size": 1, "kind": "plain", "id": "theirs", "mark": "else/other"}"#,
    );
    let rows = world.json("provision recover | select remote_id outcome");
    assert_eq!(rows, json!([{"remote_id": "stray", "outcome": "stray"}]));
}

/// A worker that is killed in the middle of a change: what became of it is looked for, and nothing is made twice.
#[test]
fn a_worker_that_dies_in_a_change_is_settled_by_looking() {
    for (order, creates) in [("create after die", 1), ("create before die", 2), ("create after exit", 1)] {
        let world = shelf(BOX);
        world.write("trouble", order);
        let events = world.json("provision apply --yes | select status message");
        let text = events.to_string();
        assert!(text.contains("asking the cloud whether it was done"), "{order}: {text}");
        assert!(text.contains("\"done\""), "{order}: {text}");
        assert_eq!((things(&world).len(), calls(&world, "create")), (1, creates), "{order}");
        assert_eq!(world.json("provision plan"), json!([]), "{order}");
        if order.ends_with("die") {
            let child = world.read("child.pid");
            soon("the end of what it started", || !runs(&child));
        }
    }
    let world = shelf(BOX);
    world.ok("provision apply --yes | ignore");
    for (order, title) in [("update after die", "two"), ("update before die", "three")] {
        world.write("trouble", order);
        declare(&world, &BOX.replace("\"box\"", &format!("\"{title}\"")));
        world.ok("provision apply --yes | ignore");
        assert_eq!(things(&world)[0]["title"], title, "{order}");
        assert_eq!(world.json("provision plan"), json!([]), "{order}");
    }
    world.write("trouble", "list before die");
    assert_eq!(world.json("provision plan"), json!([]));
    world.write("trouble", "delete after die");
    world.ok("provision destroy --yes | ignore");
    assert_eq!((things(&world).len(), calls(&world, "delete")), (0, 1));
}

/// One that hangs is stopped when its time is over, with everything it started.
#[test]
fn a_worker_that_hangs_is_stopped_and_settled() {
    let world = shelf(BOX);
    world.write("trouble", "create after hang");
    let text = world.json("provision apply --yes | get message").to_string();
    assert!(text.contains("did not end within 2 s"), "{text}");
    assert_eq!((things(&world).len(), calls(&world, "create")), (1, 1));
    let pid = world.read("worker.pid");
    soon("the end of the worker", || !runs(&pid));
    world.write("trouble", "list before hang always");
    world.fails("provision plan").is("provision::provider::unavailable", "`list` did not end within 2 s", "again");
}

/// Killed with the shell and the plugin in the middle of a create, nothing is left running, and the next apply settles it.
#[test]
fn a_kill_of_everything_leaves_no_worker_and_no_duplicate() {
    let world = shelf(BOX);
    // Long enough that only the kill ends it.
    let module = world.read("extensions/providers/shelf/mod.nu").replace("timeout: \"2s\"", "timeout: \"5m\"");
    world.write("extensions/providers/shelf/mod.nu", &module);
    world.write("trouble", "create after hang");
    let mut command = world.command();
    command.args(["-c", "provision apply --yes | ignore"]);
    let mut shell = command.spawn().unwrap();
    let pid_file = world.project().join("worker.pid");
    soon("the call", || std::fs::read_to_string(&pid_file).is_ok_and(|pid| !pid.is_empty()));
    let pid = world.read("worker.pid");
    assert!(runs(&pid));
    // The plugin is the worker's parent: it goes without a chance to clean up.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
    let plugin = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
    let kill = |pid: &str| std::process::Command::new("/bin/kill").args(["-9", pid]).status().unwrap();
    assert!(kill(&plugin).success());
    let _ = shell.kill();
    shell.wait().unwrap();
    soon("the end of the worker", || !runs(&pid));
    world.ok("provision apply --yes | ignore");
    assert_eq!((things(&world).len(), calls(&world, "create")), (1, 1));
    assert_eq!(world.json("provision plan"), json!([]));
}

/// What a module prints is shown as a note without what is secret, and disturbs no answer.
#[test]
fn what_a_module_prints_is_a_note() {
    let mut world = shelf(BOX);
    world.env("SHELF_KEY", Some("canary-key"));
    world.write("trouble", "create after say");
    let said = world.nu("provision apply --yes | where status == done | get address | to json --raw");
    assert!(said.status.success(), "{said:?}");
    assert_eq!(said.stdout.trim(), "[\"box\"]");
    for note in [
        "shelf: a word on the way",
        "shelf: an aside",
        "shelf: from a tool",
        "the code is <sensitive> and the key <sensitive>",
    ] {
        assert!(said.stderr.contains(note), "no `{note}` in {}", said.stderr);
    }
    assert!(!said.stderr.contains("canary"), "{}", said.stderr);
}

/// An error of a module: its own words with its place; what its code says is believed, and without one it is looked.
#[test]
fn errors_of_a_module_are_told_with_their_place() {
    let raised = |order: &str| {
        let world = shelf(BOX);
        world.write("trouble", order);
        let told = world.json(
            "let told = try { provision apply --yes | collect; [] } catch {|error| $error.details }; $told | select msg code inner",
        );
        (told.to_string(), things(&world).len(), calls(&world, "create"))
    };
    let (text, held, creates) = raised("create before raise");
    assert!(
        text.contains("no room for <sensitive>") && text.contains("shelf/mod.nu:") && text.contains("make room"),
        "{text}"
    );
    assert!(text.contains("provision::provider::module") && !text.contains("canary"), "{text}");
    assert_eq!((held, creates), (0, 1));
    let (text, held, creates) = raised("create before break");
    assert!(text.contains("shelf/mod.nu:"), "{text}");
    assert_eq!((held, creates), (0, 1));
    let (text, _, _) = raised("create before quota");
    assert!(text.contains("provision::provider::quota") && text.contains("the shelf is full"), "{text}");
    let (text, _, creates) = raised("create before conflict");
    assert!(text.contains("provision::plan::someone_elses"), "{text}");
    assert_eq!(creates, 1);
    // It had an effect, and raised something afterwards: it is there, and nothing is made twice.
    let (text, held, creates) = raised("create after raise");
    assert_eq!((text.as_str(), held, creates), ("[]", 1, 1));
    // Busy is asked again.
    let (text, held, creates) = raised("create before busy");
    assert_eq!((text.as_str(), held, creates), ("[]", 1, 2));
}

/// What it answers is held against what its schema says.
#[test]
fn an_answer_that_is_not_what_the_schema_says_is_refused() {
    let world = shelf(BOX);
    world.ok("provision apply --yes | ignore");
    let module = world.read("extensions/providers/shelf/mod.nu");
    let shows = "$thing | reject --optional code | insert loud ($thing.title | str uppercase)";
    for (instead, said) in [
        ("{title: x}", "`list` gives has no `id`"),
        ("{id: 7, size: \"three\"}", "`size` takes an integer, not a string"),
        ("{id: {a: 1}}", "has no `id`"),
        ("$thing | reject --optional code | insert tags [1]", "`tags` takes a record, not a list"),
        ("{id: same}", ""),
    ] {
        world.write("extensions/providers/shelf/mod.nu", &module.replace(shows, instead));
        if said.is_empty() {
            // Asked for one by its id, and another one comes.
            world.fails("provision plan").is("provision::provider::malformed", "has the id `same`, asked was for", "");
        } else {
            world.fails("provision plan").is("provision::provider::malformed", said, "schema");
        }
    }
    let lists = "ls (shelf $request) | get name | each {|file| show (open $file) }";
    for (instead, said) in [
        ("null", "`list` gives is no table"),
        ("[3]", "`list` gives is no record"),
        ("[{id: a} {id: a}]", "has the id `a` twice"),
        ("[{id: a, title: {|| 1}}]", "list"),
    ] {
        let text = module.replace(lists, instead).replace(
            "export def list [request: record]: nothing -> table",
            "export def list [request: record]: nothing -> any",
        );
        world.write("extensions/providers/shelf/mod.nu", &text);
        let caught = world.fails("provision plan");
        assert!(caught.msg.contains(said), "{instead}: {caught:?}");
        let code = caught.code.as_deref().unwrap();
        assert!(["provision::provider::malformed", "provision::provider::module"].contains(&code), "{caught:?}");
    }
}

/// A module that cannot be used says where, before anything is done.
#[test]
fn a_module_that_cannot_be_used_says_why_and_where() {
    let world = shelf(BOX);
    let file = "extensions/providers/shelf/mod.nu";
    let module = world.read(file);
    let says = |from: &str, to: &str, message: &str, help: &str| {
        world.write(file, &module.replacen(from, to, 1));
        world.fails("provision plan").is("provision::provider::module", message, help);
        let rows = world.json("provision provider check shelf");
        let said = rows[0]["message"].as_str().unwrap();
        assert!(message.starts_with("mod.nu:") || said.contains(message), "{said}");
        rows
    };
    let rows = says("export def schema []", "export def schema [", "cannot be loaded", "");
    assert!(rows[0]["line"].is_number(), "{rows}");
    says("let id = (random uuid)", "let id = 1 + true", "mod.nu:36:", "");
    says("export def schema []", "def schema []", "does not export `schema`", "export def schema []");
    says("export def list [", "export def lister [", "does not export `list`", "lister");
    says(
        "export def create [request: record]",
        "export def create [request: record, more: int]",
        "`create` takes 2 parameters",
        "export def create [request: record]",
    );
    says(
        "export def read [request: record]: nothing",
        "export def read [request: record]: string",
        "`read` takes its input from the pipeline",
        "",
    );
    let rows =
        says("version: \"1.0.0\"", "version: (error make {msg: \"no version\"})", "`schema` failed: no version", "");
    assert_eq!(rows[0]["line"], 6, "{rows}");
    world.write(file, &module.replacen("identity: tagged", "identity: taged", 1));
    world.fails("provision plan").is("provision::provider::manifest", "cannot be `taged`", "Did you mean `tagged`?");
    world.write(file, &module.replacen("identity: tagged", "identity: tagged\n        create: {method: POST}", 1));
    let rows = world.json("provision provider check shelf");
    assert!(rows.to_string().contains("`create` says how a cloud is called"), "{rows}");
    world.write(file, &module.replacen("[request: record]: nothing -> any", "[request]", 1));
    let rows = world.json("provision provider check shelf | select severity message line");
    assert_eq!(rows[0]["severity"], "warning", "{rows}");
    assert_eq!(world.json("provision plan | get action"), json!(["create"]));
}

/// It comes from a folder or an archive, is pinned, refused when it changed, upgraded and removed, as a manifest is.
#[test]
fn a_module_is_added_pinned_and_removed() {
    let world = World::new();
    world.write("infra.ncl", "{ name = \"s\" }");
    let module = std::fs::read_to_string(workspace().join("tests/corpus/nushell/shelf/mod.nu")).unwrap();
    world.write("away/shelf-1.0.0/mod.nu", &module);
    world.ok("^tar -czf away/shelf-1.0.0.tar.gz -C away shelf-1.0.0");
    let added = world.json("provision provider add away/shelf-1.0.0.tar.gz");
    assert_eq!((&added["name"], &added["types"]), (&json!("shelf"), &json!(["shelf.thing"])));
    assert_eq!(world.json("provision provider list | where name == shelf | get 0.pinned"), json!(true));
    let file = "extensions/providers/shelf/mod.nu";
    world.write(file, &module.replace("1.0.0", "1.0.1"));
    world.fails("provision plan").is("provision::provider::changed", "shelf", "provision provider upgrade shelf");
    world.ok("provision provider upgrade shelf");
    declare(&world, BOX);
    world.ok("provision apply --yes | ignore");
    world.fails("provision provider remove shelf").is("provision::provider::in_use", "box", "");
    world.ok("provision destroy --yes | ignore");
    declare(&world, "");
    world.ok("provision provider remove shelf");
    assert_eq!(world.json("provision provider list | where name == shelf"), json!([]));
    world.write("broken/mod.nu", "export def schema [");
    world.fails("provision provider add broken").is("provision::provider::module", "cannot be loaded", "");
}

/// The examples that come with it: their infrastructures live, and each type passes the contract suite.
#[test]
fn the_examples_live_and_pass_the_contract_suite() {
    for (name, provider) in [("zonefile", "zonefile"), ("alternatives", "alternatives")] {
        let world = World::new();
        let from = workspace().join("examples").join(name);
        for file in ["infra.ncl", &format!("extensions/providers/{provider}/mod.nu")] {
            world.write(file, &std::fs::read_to_string(from.join(file)).unwrap());
        }
        assert_eq!(world.json(&format!("provision provider check {provider}")), json!([]));
        world.ok("provision apply --yes | ignore");
        assert_eq!(world.json("provision plan"), json!([]), "{name}");
        match name {
            "zonefile" => {
                let zone = world.read("example.org.zone");
                assert!(zone.contains("www 300 IN A 192.0.2.11\n") && zone.contains("@ 3600 IN MX 10 mx"), "{zone}");
                world.write("example.org.zone", &zone.replace("192.0.2.11", "192.0.2.99"));
                assert_eq!(world.json("provision drift | get address | uniq"), json!(["www"]));
                world.ok("provision heal | provision apply | ignore");
                assert_eq!(world.read("example.org.zone").lines().count(), zone.lines().count());
            }
            _ => {
                let real = std::fs::canonicalize(world.project().join("bin/pager")).unwrap();
                assert!(real.ends_with("more"), "{real:?}");
                world.ok("^update-alternatives --quiet --log /dev/null --altdir etc --admindir database --remove pager /bin/more");
                assert_eq!(
                    world.json("provision plan | select address action"),
                    json!([{"address": "more", "action": "create"}])
                );
            }
        }
        let rows = world.json(&format!("provision provider test {provider}"));
        let rows = rows.as_array().unwrap();
        let failed: Vec<&Value> = rows.iter().filter(|row| row["result"] == "failed").collect();
        assert!(failed.is_empty(), "{failed:#?}");
        for check in ["create", "list", "delete of the gone", "lost answer", "quota", "throttle", "malformed answers"] {
            assert!(rows.iter().any(|row| row["check"] == check && row["result"] == "passed"), "{check} in {rows:#?}");
        }
        world.ok("provision destroy --yes | ignore");
        let left = std::fs::read_dir(world.project().parent().unwrap().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "{name} leaves something in the temporary folder");
    }
}

/// What the calls of a manifest cannot say about one type, a module beside it does; the other types stay calls.
#[test]
fn one_type_of_a_manifest_is_implemented_by_a_module() {
    let ocean = Ocean::start("canary-t0k3n");
    let mut world = World::new();
    world.env("ACME_TOKEN", Some("canary-t0k3n")).env("ACME_URL", Some(&ocean.url));
    let note = r#"types.note = {
    doc = "A note about a key.",
    identity = "keyed",
    unique = ["name"],
    fields = {
      name = { type = "string", doc = "Name.", required = true, on_change = "replace" },
      text = { type = "string", doc = "Text.", required = true },
    },
    implemented_by = "mod.nu",
  },
  types.key = {"#;
    world.write("extensions/providers/acme/manifest.ncl", &ACME.replace("types.key = {", note));
    let module = r#"
export def create [request: record]: nothing -> record {
  print $"($request.account.endpoint) with ($request.account.token)"
  $request.fields.text | save (file $request.fields.name)
  {id: $request.fields.name}
}
export def read [request: record]: nothing -> any { list $request | where id == $request.id | get 0? }
export def list [request: record]: nothing -> table {
  glob (file "*") | each {|it| let name = $it | path parse | get stem; {id: $name, name: $name, text: (open --raw $it)} }
}
export def update [request: record]: nothing -> any { $request.fields.text | save --force (file $request.id) }
export def delete [request: record]: nothing -> any { rm (file $request.id) }
def file [name: string]: nothing -> path { $env.PROVISION_PROJECT | path join $"($name).note" }
"#;
    world.write("extensions/providers/acme/mod.nu", module);
    declare(
        &world,
        r#"k = p.acme.key & { name = "k", public_key = "k" }, n = p.acme.note & { name = "n", text = p.join ["key ", p.ref "k" "id"] },"#,
    );
    assert_eq!(world.json("provision provider check acme"), json!([]));
    let said = world.nu("provision apply --yes | where status == done | get address | to json --raw");
    assert_eq!(said.stdout.trim(), "[\"k\",\"n\"]", "{said:?}");
    assert!(said.stderr.contains(&format!("acme: {} with <sensitive>", ocean.url)), "{}", said.stderr);
    assert!(world.read("n.note").starts_with("key "), "{}", world.read("n.note"));
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("provision destroy --yes | ignore");
    assert!(!world.project().join("n.note").exists());
    assert_eq!(ocean.held(), 0);

    world.write("extensions/providers/acme/mod.nu", &module.replace("export def list", "def list"));
    world.fails("provision plan").is("provision::provider::module", "does not export `list`", "");
    let rows = world.json("provision provider check acme");
    assert!(rows.to_string().contains("does not export `list`"), "{rows}");
    std::fs::remove_file(world.project().join("extensions/providers/acme/mod.nu")).unwrap();
    world.fails("provision plan").is("provision::provider::module", "is implemented by mod.nu, which is not in", "");
}

/// Many operations of one account at a time: one worker has them one after the other.
#[test]
fn many_operations_share_one_worker() {
    let all: String = (0..24).map(|at| format!("t{at} = p.shelf.thing & {{ title = \"t{at}\" }},\n")).collect();
    let world = shelf(&all);
    world.ok("provision apply --yes --parallel 8 | ignore");
    assert_eq!((things(&world).len(), calls(&world, "create")), (24, 24));
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("provision destroy --yes --parallel 8 | ignore");
    assert_eq!(things(&world).len(), 0);
}

/// Ctrl-C is heard while a command is waited for.
#[test]
fn ctrl_c_ends_a_worker_that_only_reads() {
    let world = shelf(BOX);
    world.ok("provision apply --yes | ignore");
    let module = world.read("extensions/providers/shelf/mod.nu").replace("timeout: \"2s\"", "timeout: \"5m\"");
    world.write("extensions/providers/shelf/mod.nu", &module);
    world.write("trouble", "list before hang");
    let mut command = world.command();
    command.args(["-c", "provision plan | ignore"]);
    let mut shell = command.spawn().unwrap();
    let pid_file = world.project().join("worker.pid");
    soon("the call", || std::fs::read_to_string(&pid_file).is_ok_and(|pid| !pid.is_empty()));
    std::process::Command::new("/bin/kill").args(["-INT", &shell.id().to_string()]).status().unwrap();
    soon("the end of the shell", || shell.try_wait().unwrap().is_some());
    let pid = world.read("worker.pid");
    soon("the end of the worker", || !runs(&pid));
}
