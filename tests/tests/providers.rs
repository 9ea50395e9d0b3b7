//! Owns providers as people handle them: the guide "Add a cloud" as it is written, and the commands about extensions.

#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_tests::ocean::{ACME, Ocean};
use provision_tests::{World, workspace};
use serde_json::json;

/// A fenced block of a document: the comment before it, the words after the fence, the text.
struct Block {
    note: Option<String>,
    info: String,
    text: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut note, mut open) = (None, false);
    for (at, line) in text.lines().enumerate() {
        match (open, line.strip_prefix("```")) {
            (true, Some(_)) => open = false,
            (true, None) => found.last_mut().unwrap().text += &format!("{line}\n"),
            (false, Some(info)) => {
                open = true;
                found.push(Block { note: note.take(), info: info.to_owned(), text: String::new(), line: at + 2 });
            }
            (false, None) => {
                let comment = line.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
                if !line.trim().is_empty() {
                    note = comment.map(|comment| comment.trim().to_owned());
                }
            }
        }
    }
    found
}

/// What an output says, however wide its table is.
fn words(text: &str) -> Vec<String> {
    let plain = text.replace(|c: char| "│╭╮╰╯├┤┬┴┼─━".contains(c), " ");
    plain.split_whitespace().map(str::to_owned).collect()
}

/// The page is followed line by line in the real `nu`: each file is written, each command run, each shown output compared.
#[test]
fn the_guide_to_a_fourth_cloud_holds_as_it_is_written() {
    let ocean = Ocean::start("canary-dop_v1_4711");
    let mut world = World::new();
    world.env("DIGITALOCEAN_TOKEN", Some("canary-dop_v1_4711")).env("DIGITALOCEAN_API_URL", Some(&ocean.url));
    let page = std::fs::read_to_string(workspace().join("docs/add-a-cloud.md")).unwrap();
    let blocks = blocks(&page);
    let (mut wrong, mut written) = (Vec::new(), page.clone());
    for (at, block) in blocks.iter().enumerate() {
        if let Some(file) = block.note.as_deref().and_then(|note| note.strip_prefix("file:")) {
            world.write(file.trim(), &block.text);
            if file.trim() == "digitalocean/manifest.ncl" {
                assert!(
                    block.text.lines().count() < 150,
                    "the page of a cloud is {} lines",
                    block.text.lines().count()
                );
            }
            continue;
        }
        let mut info = block.info.split_whitespace();
        if info.next() != Some("nu") {
            continue;
        }
        let fails = info.next() == Some("fails");
        let said = world.nu(&block.text);
        assert_eq!(
            said.status.success(),
            !fails,
            "line {}\n{}\n{}{}",
            block.line,
            block.text,
            said.stdout,
            said.stderr
        );
        let shown = blocks.get(at + 1).filter(|next| next.info == "text");
        if let Some(shown) = shown.filter(|shown| words(&shown.text) != words(&said.stdout)) {
            wrong.push(format!("line {} shows\n{}and it is\n{}", shown.line, shown.text, said.stdout));
            let old = format!("{}```\n\n```text\n{}```", block.text, shown.text);
            let output: Vec<&str> = said.stdout.trim().lines().map(str::trim_end).collect();
            written = written.replace(&old, &format!("{}```\n\n```text\n{}\n```", block.text, output.join("\n")));
        }
    }
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(workspace().join("docs/add-a-cloud.md"), written).unwrap();
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    assert_eq!(ocean.held(), 0);
    let recorded = std::fs::read_dir(world.project().join("recorded")).unwrap();
    for file in recorded {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("droplet") || text.contains("volume") || text.contains("ssh_key"), "{text}");
        assert!(!text.contains("canary-"), "{text}");
    }
}

const INFRA: &str = "let p = import \"provision.ncl\" in { name = \"s\", resources.pool = p.each [\"a\", \"b\", \"c\", \"d\", \"e\"] (fun it => p.acme.key & { name = it, public_key = it }) } | p.Infrastructure\n";

/// A provider comes from a folder or an archive, is pinned, refused when it changed, upgraded, and kept while it is used.
#[test]
fn a_provider_is_added_pinned_upgraded_and_kept_while_it_is_used() {
    let ocean = Ocean::start("t");
    let mut world = World::new();
    world.env("ACME_TOKEN", Some("t")).env("ACME_URL", Some(&ocean.url));
    world.write("infra.ncl", "{ name = \"s\" }").write("acme/manifest.ncl", ACME);
    world.ok("^tar -czf acme-1.0.0.tar.gz acme");
    world.fails("provision provider add acme-1.0.0.tar.gz --digest sha256:00ff").is(
        "provision::provider::digest",
        "sha256:",
        "before you know why",
    );
    world.write("bad/manifest.ncl", &ACME.replace("\"keyed\",", "\"keyed\", windo = \"5s\","));
    let bad = world.fails("provision provider add bad");
    bad.is("provision::provider::unknown_key", "`types.key.windo` (manifest.ncl:12:", "Did you mean `window`?");
    world.write("no/x.ncl", "{}").fails("provision provider add no").is(
        "provision::provider::archive",
        "neither a manifest.ncl nor a mod.nu",
        "tar.gz",
    );
    let digest = "open --raw acme-1.0.0.tar.gz | hash sha256";
    let added = world
        .json(&format!("provision provider add acme-1.0.0.tar.gz --digest ({digest}) | select name version types"));
    assert_eq!(added, json!({"name": "acme", "version": "1.0.0", "types": ["acme.key"]}));
    let listed =
        world.json("provision provider list | where name == acme | select origin pinned version types | first");
    assert_eq!(listed, json!({"origin": "project", "pinned": true, "version": "1.0.0", "types": ["acme.key"]}));
    // It is `p.acme` at once, and lists of several pages are whole.
    world.write("infra.ncl", INFRA);
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.json("provision plan"), ocean.held()), (json!([]), 5));
    assert!(ocean.requests().iter().any(|request| request.contains("page=3")), "{:?}", ocean.requests());
    world.fails("provision provider remove acme").is(
        "provision::provider::in_use",
        "pool.a, pool.b",
        "provision destroy",
    );

    // Changed behind the lock.
    let file = "extensions/providers/acme/manifest.ncl";
    world.write(file, &ACME.replace("A key.", "Another key."));
    let changed = world.fails("provision plan");
    changed.is(
        "provision::provider::changed",
        "`acme` is not the one that provision.lock pins",
        "provider upgrade acme",
    );
    assert_eq!(world.json("provision provider upgrade acme | get previous"), json!("1.0.0"));
    assert_eq!(world.json("provision plan"), json!([]));
    world.write("next/manifest.ncl", &ACME.replace("1.0.0", "2.0.0").replace("types.key =", "types.keypair ="));
    world.fails("provision provider add next").is(
        "provision::provider::in_use",
        "version 1.0.0",
        "provider upgrade next",
    );
    let lost = world.fails("provision provider upgrade next");
    lost.is(
        "provision::provider::in_use",
        "version 2.0.0 of `acme` lacks types of: pool.a (acme.key)",
        "keep the version",
    );
    world.write("next/manifest.ncl", &ACME.replace("api = \"1\"", "api = \">=2, <3\""));
    world.fails("provision provider upgrade next").is(
        "provision::provider::api",
        "needs engine API >=2, <3, this engine has 1",
        "Update",
    );
    world.write("next/manifest.ncl", &ACME.replace("1.0.0", "1.1.0"));
    let upgraded = world.json("provision provider upgrade next | select name version previous");
    assert_eq!(upgraded, json!({"name": "acme", "version": "1.1.0", "previous": "1.0.0"}));

    // A renamed field is renamed in the state by what the manifest says, and nothing else changes.
    let renamed =
        ACME.replace("1.0.0", "1.2.0").replace("public_key = { type", "material = { wire = \"public_key\", type");
    let renamed = renamed.replace("[\"public_key\"]", "[\"material\"]");
    let renamed = renamed.replace("identity =", "renamed.public_key = \"material\",\n    identity =");
    world.write("next/manifest.ncl", &renamed).write("infra.ncl", &INFRA.replace("public_key =", "material ="));
    let moved = world.json("provision provider upgrade next | get migrated");
    assert_eq!(moved, json!(["pool.a", "pool.b", "pool.c", "pool.d", "pool.e"]));
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision state show pool.a | get inputs.material"), json!("a"));
    assert_eq!(world.json("provision audit verify | get valid"), json!(true));

    // Gone although it is pinned, put back, and taken out when nothing of it is left.
    world.ok("mv extensions/providers/acme away");
    world.fails("provision plan").is("provision::provider::changed", "is not in extensions/providers", "provider add");
    world.ok("mv away extensions/providers/acme; provision destroy --yes | ignore");
    assert_eq!(world.json("provision provider remove acme | get version"), json!("1.2.0"));
    assert_eq!(world.json("open provision.lock --raw | from json | get providers"), json!({}));
    world.fails("provision provider remove hetzner").is(
        "provision::provider::unknown",
        "no provider `hetzner`",
        "Built-in",
    );
}

/// What is asked about a provider is data: mistakes, types, fields, offers.
#[test]
fn a_provider_is_checked_described_and_asked_for_its_offers() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", "{ name = \"s\" }").write("acme/manifest.ncl", ACME);
    assert_eq!(
        world.json(
            "[hetzner upcloud aws local ./acme acme/manifest.ncl] | each { provision provider check $in } | flatten"
        ),
        json!([])
    );
    assert!(world.read(".provision/schemas/provision.ncl").contains("hetzner"));
    let text = ACME
        .replace("max = 2", "max = 0")
        .replace("identity", "idenity")
        .replace("{id}\" } }],\n    del", "{field.nam}\" } }],\n    del");
    world.write("acme/manifest.ncl", &text);
    let found = world.json("provision provider check acme | select code file line | sort-by line");
    let row = |code: &str, line: u64| json!({"code": format!("provision::provider::{code}"), "file": "acme/manifest.ncl", "line": line});
    assert_eq!(
        found,
        json!([row("endless", 9), row("manifest", 10), row("unknown_key", 12), row("unknown_field", 21)])
    );
    world.fails("provision provider check acme --strict").is(
        "provision::provider::endless",
        "(acme/manifest.ncl:9:",
        "largest page",
    );
    world.fails("provision provider check nothing").is("provision::provider::unknown", "`nothing`", "provider list");
    // The lock is not needed to look: a broken manifest in the project is checked by its name.
    world.write("extensions/providers/acme/manifest.ncl", "{ name = ");
    assert_eq!(world.json("provision provider check acme | get 0.code"), json!("nickel::parse"));
    world.fails("provision plan").is("provision::provider::manifest", "acme/manifest.ncl:", "");
    world.ok("rm -r extensions");

    let fields = world.json("provision provider schema hetzner.server | get fields | where field in [name server_type user_data networks] | select field type required default on_change sensitive");
    assert_eq!(
        fields,
        json!([
            {"field": "name", "type": "string", "required": false, "default": "<project>-<address>", "on_change": "update", "sensitive": false},
            {"field": "networks", "type": "list<int>", "required": false, "default": null, "on_change": "update", "sensitive": false},
            {"field": "server_type", "type": "string", "required": true, "default": null, "on_change": "restart", "sensitive": false},
            {"field": "user_data", "type": "string", "required": false, "default": null, "on_change": "replace", "sensitive": true},
        ])
    );
    assert_eq!(world.json("'aws.instance' in (provision provider schema aws | get type)"), json!(true));
    world.fails("provision provider schema aws vpcs").is("provision::plan::unknown_type", "`vpcs`", "`vpc`");
    world.fails("provision provider schema awz").is("provision::provider::unknown", "`awz`", "`aws`");

    let cheapest = world.json("provision provider catalog hetzner server_types | sort-by price_monthly | first | select catalog name cores memory_gb price_monthly");
    assert_eq!(
        cheapest,
        json!({"catalog": "server_types", "name": "cx23", "cores": 2, "memory_gb": 4.0, "price_monthly": 2.99})
    );
    let zones = world.json("[(provision provider catalog upcloud zones | length) (provision provider catalog aws regions | where name == eu-north-1 | length)]");
    assert_eq!(zones, json!([15, 1]));
    assert_eq!(
        world.json("provision provider catalog upcloud | get catalog | uniq"),
        json!(["plans", "prices", "zones"])
    );
    world.fails("provision provider catalog hetzner sizes").is(
        "provision::provider::no_catalog",
        "`sizes`",
        "server_types",
    );
    world.fails("provision provider catalog local").is("provision::provider::no_catalog", "local", "listings");

    let rows = world.json("provision provider test upcloud --type network | select type check result");
    assert_eq!(rows[0], json!({"type": "upcloud.network", "check": "create", "result": "passed"}));
    assert!(!rows.to_string().contains("failed"), "{rows}");
    assert_eq!(world.json("provision provider test local | get 0.duration | describe"), json!("duration"));
    world.write("extensions/providers/acme/manifest.ncl", ACME);
    world.fails("provision provider test acme").is("provision::provider::no_cloud", "`acme`", "--endpoint");
    world.fails("provision provider test aws --type vpx").is("provision::plan::unknown_type", "`vpx`", "`vpc`");
}

/// A cloud that answers as if it had changed something, and has not, is told of: the event says so, and the next plan.
#[test]
fn what_is_read_back_otherwise_than_it_was_sent_is_told() {
    let ocean = Ocean::start("t");
    let mut world = World::new();
    world.env("ACME_TOKEN", Some("t")).env("ACME_URL", Some(&ocean.url));
    world.write("infra.ncl", "{ name = \"s\" }").write("acme/manifest.ncl", ACME);
    world.ok("provision provider add acme | ignore");
    world.declare("key = p.acme.key & { name = \"a\", public_key = \"k\" },");
    world.settle();
    let renamed = |name: &str| {
        world.declare(&format!("key = p.acme.key & {{ name = \"{name}\", public_key = \"k\" }},"));
        world.json("provision apply --yes | where status == done | get message")
    };
    assert_eq!(renamed("b"), json!([null]));
    let told = renamed("a-name-that-is-longer-than-the-cloud-takes");
    let said = told[0].as_str().unwrap_or_default();
    assert!(said.contains("the cloud still shows another value of `name` than was sent"), "{told}");
    let left = world.json("provision plan | get 0.changes.0 | select path before");
    assert_eq!(left, json!({"path": "name", "before": "b"}));
}

/// A type that can only be listed is looked for in the list: a deletion that never arrived is not taken for done.
#[test]
fn what_can_only_be_listed_is_not_taken_for_gone() {
    let ocean = Ocean::start("t");
    let mut world = World::new();
    world.env("ACME_TOKEN", Some("t")).env("ACME_URL", Some(&ocean.url)).env("PROVISION_REQUEST_TIMEOUT", Some("2s"));
    world.write("infra.ncl", "{ name = \"s\" }").write("acme/manifest.ncl", ACME);
    world.ok("provision provider add acme | ignore");
    world.declare("key = p.acme.key & { name = \"a\", public_key = \"k\" },");
    world.settle();
    ocean.lose("PUT");
    world.declare("key = p.acme.key & { name = \"b\", public_key = \"k\" },");
    world.settle();
    ocean.lose("DELETE");
    world.ok("provision destroy --yes | ignore");
    assert_eq!((ocean.held(), world.json("provision state list | length")), (0, json!(0)));
}
