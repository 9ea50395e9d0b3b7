//! Owns look-ups: what a configuration knows things by is asked when a plan is made, and every way to be wrong has its place.

use provision_tests::{World, control};
use serde_json::{Value, json};

fn declare(world: &World, body: &str) {
    world.write(
        "infra.ncl",
        &format!("let p = import \"provision.ncl\" in {{\n  name = \"s\",\n{body}\n}} | p.Infrastructure\n"),
    );
}

const AMI: &str = "p.lookup \"aws.ami\" { owner = \"amazon\", name = \"al2023-ami-2023.*-x86_64\", newest = \"creation_date\" } \"id\"";

/// How often the clouds were asked with an action or at a path.
fn asked(world: &World, what: &str) -> usize {
    let requests = control::requests(world.sandbox()).unwrap_or_default();
    requests.iter().filter(|it| it.action.as_deref() == Some(what) || it.path.contains(what)).count()
}

#[test]
fn what_is_looked_up_is_planned_applied_and_found_again() {
    let world = World::new().with_sandbox();
    declare(
        &world,
        &format!(
            "  resources = {{
    web = p.hetzner.server & {{
      server_type = p.lookup \"hetzner.server_type\" {{ name = \"cx23\" }} \"name\",
      image = p.lookup \"hetzner.image\" {{ name = \"debian-12\", architecture = \"x86\" }} \"id\",
      location = p.lookup \"hetzner.location\" {{ city = \"Helsinki\" }} \"name\",
      labels.from = p.join [\"image-\", p.lookup \"hetzner.image\" {{ name = \"debian-12\", architecture = \"x86\" }} \"id\"],
    }},
    db = p.upcloud.server & {{
      zone = p.lookup \"upcloud.zone\" {{ description = \"Helsinki #1\" }} \"name\",
      plan = p.lookup \"upcloud.plan\" {{ cores = 2, memory_mb = 4096 }} \"name\",
      storage_devices = [{{
        action = \"clone\", size = 20,
        storage = p.lookup \"upcloud.template\" {{ title = \"Debian GNU/Linux 13 (Trixie)\" }} \"id\",
      }}],
    }},
    vpc = p.aws.vpc & {{ cidr_block = \"10.0.0.0/16\" }},
    net = p.aws.subnet & {{ vpc_id = p.ref \"vpc\" \"id\", cidr_block = \"10.0.1.0/24\" }},
    edge = p.each [\"a\", \"b\"] (fun key =>
      p.aws.instance & {{ instance_type = \"t3.micro\", subnet_id = p.ref \"net\" \"id\", ami = {AMI} }}),
  }},
  outputs.image = {AMI},"
        ),
    );
    // As data it goes through a pipeline.
    let data = world.json("nickel eval infra.ncl | get resources.web.image");
    assert_eq!(data["$lookup"]["type"], "hetzner.image");
    let plan = world.json("nickel eval infra.ncl | provision plan");
    let after = |address: &str, path: &str| -> Value {
        let rows = plan.as_array().cloned().unwrap_or_default();
        let row = rows.iter().find(|row| row["address"] == address).cloned().unwrap_or_default();
        let changes = row["changes"].as_array().cloned().unwrap_or_default();
        changes.iter().find(|change| change["path"] == path).map(|change| change["after"].clone()).unwrap_or_default()
    };
    assert_eq!(after("web", "image"), 114_690_387);
    assert_eq!(after("web", "location"), "hel1");
    assert_eq!(after("web", "labels"), json!({"from": "image-114690387"}));
    assert_eq!((after("db", "zone"), after("db", "plan")), (json!("fi-hel1"), json!("2xCPU-4GB")));
    assert_eq!(after("edge.a", "ami"), "ami-0abcdef1234567890");
    // Once for each plan, whoever asks for what.
    assert_eq!((asked(&world, "DescribeImages"), asked(&world, "/storage/template")), (1, 1));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(world.json("provision plan --deep"), json!([]));
    assert_eq!(world.json("provision drift --deep"), json!([]));
    assert_eq!(world.json("provision output | get image"), "ami-0abcdef1234567890");
    // What was found is applied, whatever a look-up would find by then.
    let deleted = world.json("provision destroy --yes | where status == done | length");
    assert_eq!(deleted, json!(6));
}

#[test]
fn every_mistake_is_told_before_any_call() {
    let world = World::new().with_sandbox();
    let web = |image: &str| format!("p.hetzner.server & {{ server_type = \"cx23\", image = {image} }}");
    declare(
        &world,
        &format!(
            "  providers.hetzner.token = p.lookup \"hetzner.image\" {{}} \"name\",
  resources = {{
    a = {},
    b = {},
    c = {},
    d = {},
    e = p.aws.vpc & {{ cidr_block = p.lookup \"aws.ami\" {{ name = \"x\" }} \"id\" }},
    f = p.hetzner.volume & {{ size = p.lookup \"hetzner.image\" {{ name = \"x\" }} \"name\" }},
    g = {},
  }},",
            web("p.lookup \"hetzner.imag\" { name = \"debian-12\" } \"id\""),
            web("p.lookup \"hetzner.image\" { nam = \"debian-12\" } \"id\""),
            web("p.lookup \"hetzner.image\" { name = \"debian-12\", newest = \"create\" } \"idd\""),
            web("p.lookup \"hetzner\" \"debian-12\" \"id\""),
            web("p.lookup \"nobody.image\" { name = \"x\" } \"id\""),
        ),
    );
    let caught = world.fails("provision plan");
    let all = caught.all();
    let told = |code: &str, words: &str, help: &str| {
        let found = all.iter().any(|it| {
            it.code.as_deref() == Some(code)
                && it.msg.contains(words)
                && it.help.as_deref().unwrap_or_default().contains(help)
                && it.msg.contains("infra.ncl:")
        });
        assert!(found, "{code} {words} {help} in {all:#?}");
    };
    told("provision::plan::lookup", "called `imag`", "`image`");
    told("provision::plan::lookup", "not known by `nam`", "`name`");
    told("provision::plan::lookup", "has no `create`", "`created`");
    told("provision::plan::lookup", "has no `idd`", "`id`");
    told("provision::plan::lookup", "look-up", "p.lookup");
    told("provision::plan::lookup", "without `owner`", "owner");
    told("provision::plan::type", "is a string", "an integer");
    told("provision::plan::lookup", "no provider `nobody`", "");
    told("provision::plan::lookup", "says where to look", "p.env");
    assert_eq!(control::requests(world.sandbox()).unwrap_or_default().len(), 0);
}

#[test]
fn none_and_several_are_told_with_their_places() {
    let world = World::new().with_sandbox();
    let web = |image: &str| format!("p.hetzner.server & {{ server_type = \"cx23\", image = {image} }}");
    declare(
        &world,
        &format!(
            "  resources = {{\n    a = {},\n    b = {},\n  }},",
            web("p.lookup \"hetzner.image\" { name = \"debian-99\" } \"name\""),
            web("p.lookup \"hetzner.image\" { name = \"debian-12\" } \"name\""),
        ),
    );
    let caught = world.fails("provision plan");
    caught.is("provision::plan::lookup_none", "no hetzner.image with name = \"debian-99\"", "Say less");
    assert!(caught.msg.contains("infra.ncl:4"), "{}", caught.msg);
    let several = caught.inner.iter().find(|it| it.code.as_deref() == Some("provision::plan::lookup_several"));
    let several = several.cloned().unwrap_or(caught.clone());
    several.is("provision::plan::lookup_several", "2 hetzner.image with name = \"debian-12\" are there", "newest");
    assert!(several.msg.contains("infra.ncl:5"), "{}", several.msg);
    // With a target, nobody asks for what it leaves out.
    declare(
        &world,
        &format!(
            "  resources = {{\n    a = {},\n    n = p.hetzner.network & {{ ip_range = \"10.0.0.0/16\" }},\n  }},",
            web("p.lookup \"hetzner.image\" { name = \"debian-99\" } \"name\""),
        ),
    );
    assert_eq!(world.json("provision plan --target [n] | get address"), json!(["n"]));
}

#[test]
fn it_is_asked_where_the_resource_is() {
    let world = World::new().with_sandbox();
    let zone = "p.lookup \"aws.availability_zone\" { id = \"euc1-az1\" } \"name\"";
    declare(
        &world,
        &format!(
            "  resources = {{
    a = p.aws.volume & {{ region = \"eu-central-1\", size = 1, availability_zone = {zone} }},
    b = p.aws.volume & {{ size = 1, availability_zone = p.lookup \"aws.availability_zone\" {{ name = \"eu-north-1b\" }} \"name\" }},
  }},
  outputs.zone = p.lookup \"aws.availability_zone\" {{ id = \"euc1-az1\", region = \"eu-central-1\" }} \"name\","
        ),
    );
    world.ok("provision apply --yes | collect | ignore");
    let zone = |address: &str| world.json(&format!("provision state show {address} | get inputs.availability_zone"));
    assert_eq!((zone("a"), zone("b")), (json!("eu-central-1a"), json!("eu-north-1b")));
    assert_eq!(world.json("provision output | get zone"), "eu-central-1a");
    assert_eq!(world.json("provision plan"), json!([]));
}
