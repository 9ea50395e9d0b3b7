//! Owns the promise about the world outside: what somebody changed by hand is seen and undone, what exists is taken in.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::World;
use serde_json::{Value, json};

/// Calls the clouds from outside, as somebody at another prompt would.
const OUTSIDE: &str = r#"
def hetzner [verb: string, path: string, body?: any] {
    let url = $"($env.HCLOUD_ENDPOINT)/($path)"
    let headers = {Authorization: $"Bearer ($env.HCLOUD_TOKEN)"}
    match $verb {
        get => (http get --headers $headers $url)
        put => (http put --headers $headers --content-type application/json $url $body)
        post => (http post --headers $headers --content-type application/json $url $body)
        delete => (http delete --headers $headers $url)
    }
}

def upcloud [path: string, body: any] {
    let url = $"($env.UPCLOUD_DEBUG_API_BASE_URL)/1.3/($path)"
    http post --user $env.UPCLOUD_USERNAME --password $env.UPCLOUD_PASSWORD --content-type application/json $url $body
}

def hmac [key: binary, text: string]: nothing -> binary {
    let fill = {|byte: binary, count: int| seq 1 $count | each { $byte } | bytes collect }
    let key = [$key (do $fill 0x[00] 64)] | bytes collect | bytes at 0..<64
    let inner = [($key | bits xor (do $fill 0x[36] 64)) ($text | into binary)] | bytes collect | hash sha256 --binary
    [($key | bits xor (do $fill 0x[5c] 64)) $inner] | bytes collect | hash sha256 --binary
}

# One EC2 call, signed; the text of the first element of a name in its answer.
def ec2 [element: string, query: record] {
    let time = date now | date to-timezone utc | format date "%Y%m%dT%H%M%SZ"
    let day = $time | str substring 0..<8
    let scope = $"($day)/($env.AWS_DEFAULT_REGION)/ec2/aws4_request"
    let pairs = $query | insert Version "2016-11-15" | transpose key value | sort-by key
    let query = $pairs | each {|it| $"($it.key | url encode --all)=($it.value | url encode --all)" } | str join "&"
    let host = $env.AWS_ENDPOINT_URL | str replace "http://" ""
    let canonical = $"POST\n/\n($query)\nhost:($host)\nx-amz-date:($time)\n\nhost;x-amz-date\n('' | hash sha256)"
    let text = $"AWS4-HMAC-SHA256\n($time)\n($scope)\n($canonical | hash sha256)"
    let first = $"AWS4($env.AWS_SECRET_ACCESS_KEY)" | into binary
    let key = $scope | split row "/" | reduce --fold $first {|part, key| hmac $key $part }
    let signed = $"Credential=($env.AWS_ACCESS_KEY_ID)/($scope), SignedHeaders=host;x-amz-date"
    let headers = {
        Authorization: $"AWS4-HMAC-SHA256 ($signed), Signature=(hmac $key $text | encode hex --lower)"
        X-Amz-Date: $time
    }
    let answer = http post --raw --headers $headers $"($env.AWS_ENDPOINT_URL)/?($query)" ""
    $answer | parse --regex $"<($element)>\(?<found>[^<]+\)</" | get found.0
}
"#;

/// A script with the calls from outside at hand, and its value.
#[track_caller]
fn outside(world: &World, script: &str) -> Value {
    world.json(&format!("{OUTSIDE}\n{script}"))
}

fn infra(resources: &str) -> String {
    format!(
        "let p = import \"provision.ncl\" in\n{{\n  name = \"s\",\n  resources = {{\n{resources}\n  }},\n  \
         outputs = {{ tier = p.ref \"web\" \"labels.tier\" }},\n}} | p.Infrastructure\n"
    )
}

/// The same without outputs, for what was imported.
fn declared(resources: &str) -> String {
    infra(resources).replace("outputs = { tier = p.ref \"web\" \"labels.tier\" },", "")
}

const SHOP: &str = r#"
    net = p.hetzner.network & {
      ip_range = "10.0.0.0/16",
      subnets = [{ type = "cloud", network_zone = "eu-central", ip_range = "10.0.1.0/24" }],
    },
    web = p.hetzner.server & {
      server_type = "cx23", image = "debian-12", location = "hel1",
      networks = [p.ref "net" "id"], labels = { tier = "web" },
    },
    db = p.upcloud.storage & { zone = "fi-hel1", size = 10, tier = "maxiops", labels.caller = p.ref "web" "public_net.ipv4.ip" },
    note = p.local.data & { input = p.secret "canary-55" },"#;

/// A world with the shop applied, and the id of its server.
#[track_caller]
fn shop() -> (World, String) {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &infra(SHOP));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision drift"), json!([]));
    assert_eq!(world.json("provision heal"), json!([]));
    let id = world.json("provision state show web | get remote_id");
    (world, id.as_str().unwrap().to_owned())
}

/// Changes a label of the server behind the project's back; the others stay.
#[track_caller]
fn relabel(world: &World, id: &str, tier: &str) {
    outside(
        world,
        &format!(
            "let labels = hetzner get servers/{id} | get server.labels | upsert tier {tier}; \
             hetzner put servers/{id} {{labels: $labels}} | get server.labels.tier"
        ),
    );
}

#[test]
fn what_was_changed_by_hand_is_seen_since_then_and_healed() {
    let (world, id) = shop();
    relabel(&world, &id, "other");
    let row = json!({"address": "web", "type": "hetzner.server", "path": "labels.tier", "expected": "web",
        "actual": "other", "remote_id": id});
    assert_eq!(world.json("provision drift | reject since"), json!([row]));
    assert_eq!(
        world.json("provision drift | columns"),
        json!(["address", "type", "path", "expected", "actual", "since", "remote_id"])
    );
    assert_eq!(world.ok("provision drift | get since.0 | describe"), "datetime");
    let same =
        "let first = provision drift | get since.0; sleep 20ms; $first == (provision drift --deep | get since.0)";
    assert_eq!(world.json(same), json!(true));
    let first = world.json("provision drift | get since.0 | into int");
    relabel(&world, &id, "third");
    let second = world.json("provision drift | get since.0 | into int");
    assert!(second.as_i64() > first.as_i64(), "{first} {second}");

    // What is new in the file is planned, but it is neither drift nor healed.
    let more = SHOP.replace("size = 10", "size = 20") + "\n    fw = p.hetzner.firewall & { rules = [] },";
    world.write("infra.ncl", &infra(&more));
    assert_eq!(
        world.json("provision plan | select address action | sort-by address"),
        json!([
            {"address": "db", "action": "update"}, {"address": "fw", "action": "create"},
            {"address": "web", "action": "update"}
        ])
    );
    assert_eq!(world.json("provision drift | get address"), json!(["web"]));
    assert_eq!(
        world.json("provision heal | select address action reason"),
        json!([{"address": "web", "action": "update", "reason": "labels changed"}])
    );
    assert_eq!(world.json("(provision heal | columns) == (provision plan | columns)"), json!(true));
    let done = "provision heal | provision apply | where status == done | select address action";
    assert_eq!(world.json(done), json!([{"address": "web", "action": "update"}]));
    assert_eq!(world.json("provision drift"), json!([]));
    let tier = outside(&world, &format!("hetzner get servers/{id} | get server.labels.tier"));
    assert_eq!(tier, json!("web"));
    assert_eq!(world.json("provision plan | get address | sort"), json!(["db", "fw"]));
}

#[test]
fn a_field_that_is_left_alone_is_no_drift() {
    let world = World::new().with_sandbox();
    world.write(
        "infra.ncl",
        &infra(&SHOP.replace("tier = \"web\" },", "tier = \"web\" }, lifecycle.ignore = [\"labels\"],")),
    );
    world.ok("provision apply --yes | ignore");
    let id = world.json("provision state show web | get remote_id");
    relabel(&world, id.as_str().unwrap(), "other");
    assert_eq!(world.json("provision drift"), json!([]));
    assert_eq!(world.json("provision heal"), json!([]));
    // A file that cannot be read hides nothing, and heals nothing.
    world.write("infra.ncl", "{ name = ");
    assert_eq!(world.json("provision drift | get path"), json!(["labels.tier"]));
    world.fails("provision heal").is("nickel::parse", "infra.ncl:1:", "");
}

#[test]
fn what_is_gone_is_told_and_made_again_with_what_refers_to_it() {
    let (world, id) = shop();
    outside(&world, &format!("hetzner delete servers/{id} | get action.command"));
    let row = json!({"address": "web", "type": "hetzner.server", "path": null, "expected": id, "actual": null,
        "remote_id": id});
    assert_eq!(world.json("provision drift | reject since"), json!([row]));
    assert_eq!(
        world.json("provision heal | select address action reason | sort-by address"),
        json!([
            {"address": "db", "action": "update", "reason": "labels changed"},
            {"address": "web", "action": "create", "reason": "gone from the cloud"}
        ])
    );
    assert_eq!(
        world.json("provision refresh | where outcome != unchanged | select address outcome"),
        json!([{"address": "web", "outcome": "gone"}])
    );
    assert_eq!(world.json("provision state list | get address"), json!(["db", "net", "note", "web"]));
    world.ok("provision heal | provision apply | ignore");
    assert_eq!(world.json("provision drift"), json!([]));
    assert_eq!(world.json("provision plan"), json!([]));
    assert_ne!(world.json("provision state show web | get remote_id"), json!(id));
}

#[test]
fn a_stray_is_told_and_can_be_taken_in() {
    let (world, id) = shop();
    let stray = outside(
        &world,
        &format!(
            "let labels = hetzner get servers/{id} | get server.labels | upsert nu-provision-op other; \
             hetzner post servers {{name: extra, server_type: cx23, image: debian-12, location: hel1, labels: $labels}} \
             | get server.id | into string"
        ),
    );
    let row = json!({"address": null, "type": "hetzner.server", "path": null, "expected": null, "actual": stray,
        "remote_id": stray});
    assert_eq!(world.json("provision drift | reject since"), json!([row]));
    assert_eq!(
        world.json("provision refresh | where outcome == stray"),
        json!([{"address": null, "type": "hetzner.server", "remote_id": stray, "outcome": "stray"}])
    );
    // It is ours: it needs no --adopt.
    let nickel =
        world.json(&format!("provision import extra {} --type hetzner.server | get 0.nickel", stray.as_str().unwrap()));
    assert!(!nickel.as_str().unwrap().contains("nu-provision"), "{nickel}");
    assert_eq!(world.json("provision drift"), json!([]));
    world.write("infra.ncl", &infra(&format!("{SHOP}\n{}", nickel.as_str().unwrap())));
    assert_eq!(world.json("provision plan"), json!([]));
    // A kind that the state holds no more is looked for as well, whether it is declared or was there once.
    let mut both = vec![id.clone(), stray.as_str().unwrap().to_owned()];
    both.sort();
    world.ok("provision state forget extra | ignore; provision state forget web | ignore");
    let strays = "provision drift | where address == null | get remote_id | sort";
    assert_eq!(world.json(strays), json!(both));
    world.write("infra.ncl", &infra(""));
    assert_eq!(world.json(strays), json!(both));
    let seen = "provision refresh | where outcome == stray | get remote_id | sort";
    assert_eq!(world.json(seen), json!(both));
}

#[test]
fn what_is_made_again_is_what_it_was_in_every_respect() {
    let world = World::new().with_sandbox();
    let text = declared(
        "n = p.hetzner.network & { ip_range = \"10.0.0.0/16\", lifecycle = { replace_when = [1], precondition = \"fun self => self.ip_range != \\\"\\\"\" } },",
    );
    world.write("infra.ncl", &text);
    world.ok("provision apply --yes | ignore");
    let id = world.ok("provision state show n | get remote_id");
    outside(&world, &format!("hetzner delete networks/{id}"));
    world.ok("provision heal | provision apply | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    world.write("infra.ncl", &text.replace("[1]", "[2]"));
    let row = world.json("provision plan | get 0 | select action reason");
    assert_eq!(row["action"], "replace", "{row}");
}

#[test]
fn a_refresh_brings_attributes_and_outputs_up_to_date_and_drift_stays() {
    let (world, id) = shop();
    world.ok("provision refresh | ignore");
    assert_eq!(world.json("provision refresh | get outcome | uniq"), json!(["unchanged"]));
    relabel(&world, &id, "other");
    assert_eq!(world.json("provision output tier"), json!("web"));
    let outcomes = world.json("provision refresh | select address outcome");
    assert_eq!(
        outcomes,
        json!([
            {"address": "db", "outcome": "unchanged"}, {"address": "net", "outcome": "unchanged"},
            {"address": "note", "outcome": "unchanged"}, {"address": "web", "outcome": "changed"}
        ])
    );
    assert_eq!(world.json("provision refresh | columns"), json!(["address", "type", "remote_id", "outcome"]));
    let labels = "provision state show web | [$in.attributes.labels.tier $in.inputs.labels.tier]";
    assert_eq!(world.json(labels), json!(["other", "web"]));
    assert_eq!(world.json("provision output tier"), json!("other"));
    assert_eq!(world.json("provision refresh --deep | get outcome | uniq"), json!(["unchanged"]));
    // One that is gone is in no output any more.
    outside(
        &world,
        &format!(
            "let labels = hetzner get servers/{id} | get server.labels | reject tier; hetzner put servers/{id} {{labels: $labels}} | get server.name"
        ),
    );
    world.ok("provision refresh | ignore");
    assert_eq!(world.json("provision output | get tier"), json!(null));
    relabel(&world, &id, "other");
    world.ok("provision refresh | ignore");
    assert_eq!(world.json("provision drift | get path"), json!(["labels.tier"]));
    let before = world.mutating().len();
    world.ok("provision refresh | ignore; provision drift | ignore; provision heal | ignore");
    assert_eq!(world.mutating().len(), before);
}

/// Imports, asserts that nothing was changed in the clouds, and gives the Nickel.
#[track_caller]
fn import(world: &World, arguments: &str) -> String {
    let before = world.mutating().len();
    let rows = world.json(&format!("provision import {arguments}"));
    assert_eq!(world.mutating().len(), before);
    let rows = rows.as_array().unwrap();
    assert!(rows.iter().all(|row| row.as_object().unwrap().keys().eq(["address", "type", "remote_id", "nickel"])));
    rows.iter().map(|row| row["nickel"].as_str().unwrap()).collect()
}

/// What was imported, pasted into the file, is as it should be: whichever way it is looked at.
#[track_caller]
fn nothing_to_do(world: &World, nickel: &str) {
    world.write("infra.ncl", &declared(nickel));
    for look in ["plan", "plan --deep", "drift", "drift --deep", "heal"] {
        assert_eq!(world.json(&format!("provision {look}")), json!([]), "{look}\n{nickel}");
    }
}

#[test]
fn servers_of_all_three_clouds_are_taken_in_with_what_they_refer_to() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &declared(""));
    let net = outside(
        &world,
        "hetzner post networks {name: old-net, ip_range: \"10.4.0.0/16\", subnets: [{type: cloud, network_zone: eu-central, ip_range: \"10.4.1.0/24\"}]} | get network.id",
    );
    let web = outside(
        &world,
        &format!(
            "hetzner post servers {{name: old-web, server_type: cx23, image: debian-12, location: hel1, networks: [{net}], \
             labels: {{team: \"shop\"}}}} | get server.id"
        ),
    );
    let db = outside(
        &world,
        "upcloud server {server: {title: \"old \\\"db\\\" %{x}\", hostname: old-db, zone: fi-hel1, plan: \"1xCPU-1GB\", metadata: yes, \
         storage_devices: {storage_device: [{action: clone, storage: \"01000000-0000-4000-8000-000020070100\", title: root, size: 20}]}, \
         labels: {label: [{key: team, value: shop}]}}} | get server.uuid",
    );
    let vpc = outside(&world, "ec2 vpcId {Action: CreateVpc, CidrBlock: \"10.8.0.0/16\"}");
    let subnet =
        outside(&world, &format!("ec2 subnetId {{Action: CreateSubnet, VpcId: {vpc}, CidrBlock: \"10.8.1.0/24\"}}"));
    let edge = outside(
        &world,
        &format!(
            "ec2 instanceId {{Action: RunInstances, ImageId: ami-0abcdef1234567890, InstanceType: t3.micro, MinCount: \"1\", \
             MaxCount: \"1\", SubnetId: {subnet}, \"TagSpecification.1.ResourceType\": instance, \
             \"TagSpecification.1.Tag.1.Key\": Name, \"TagSpecification.1.Tag.1.Value\": old-edge}}"
        ),
    );
    let mut nickel = String::new();
    for (address, id, kind) in [
        ("net", &net, "hetzner.network"),
        ("web", &web, "hetzner.server"),
        ("db", &db, "upcloud.server"),
        ("vpc", &vpc, "aws.vpc"),
        ("subnet", &subnet, "aws.subnet"),
        ("edge", &edge, "aws.instance"),
    ] {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        nickel += &import(&world, &format!("{address} {id} --type {kind}"));
    }
    for part in [
        "    web = p.hetzner.server & {\n      image = \"debian-12\",\n",
        "networks = [p.ref \"net\" \"id\"],\n",
        "title = \"old \\\"db\\\" \\%{x}\",\n",
        "vpc_id = p.ref \"vpc\" \"id\",\n",
        "subnet_id = p.ref \"subnet\" \"id\",\n",
        "      lifecycle.ignore = [\"tags\"],\n",
    ] {
        assert!(nickel.contains(part), "no `{part}` in\n{nickel}");
    }
    assert!(nickel.contains("storage_devices = [{ action = \"attach\", storage = \""), "{nickel}");
    assert!(
        !nickel.contains("public_net") && !nickel.contains("interfaces") && !nickel.contains("firewalls"),
        "{nickel}"
    );
    nothing_to_do(&world, &nickel);
    let needs = "provision state list | where address in [web subnet edge] | select address depends_on";
    assert_eq!(
        world.json(needs),
        json!([
            {"address": "edge", "depends_on": ["subnet"]}, {"address": "subnet", "depends_on": ["vpc"]},
            {"address": "web", "depends_on": ["net"]}
        ])
    );
    // From here on it is managed like everything else.
    world.write("infra.ncl", &declared(&nickel.replace("team = \"shop\"", "team = \"web\"")));
    assert_eq!(world.json("provision plan | get action | uniq"), json!(["update"]));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.json("provision plan"), json!([]));
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.json("provision state list"), json!([]));
}

#[test]
fn everything_with_a_label_is_taken_in_at_once() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &declared("    data-2 = p.local.data & { input = 1 },"));
    world.ok("provision apply --yes | ignore");
    let storage = "upcloud storage {storage: {title: Data, zone: fi-hel1, size: \"10\", labels: [{key: team, value: shop}]}} | get storage.uuid";
    for _ in 0..2 {
        outside(&world, storage);
    }
    let net = outside(
        &world,
        "hetzner post networks {name: shop-net, ip_range: \"10.4.0.0/16\", labels: {team: shop}, subnets: [{type: cloud, network_zone: eu-central, ip_range: \"10.4.1.0/24\"}]} | get network.id",
    );
    let server = |name: &str, team: &str| {
        outside(
            &world,
            &format!(
                "hetzner post servers {{name: {name}, server_type: cx23, image: debian-12, networks: [{net}], \
                 labels: {{team: {team}}}}} | get server.id"
            ),
        )
    };
    server("shop-web", "shop");
    server("other-web", "other");
    let nickel = import(&world, "--label team=shop --type [hetzner.server hetzner.network]");
    assert!(nickel.contains("networks = [p.ref \"shop-net\" \"id\"],"), "{nickel}");
    let nickel = nickel + &import(&world, "--label team=shop");
    assert_eq!(
        world.json("provision state list | select address type"),
        json!([
            {"address": "data", "type": "upcloud.storage"}, {"address": "data-2", "type": "local.data"},
            {"address": "data-3", "type": "upcloud.storage"}, {"address": "shop-net", "type": "hetzner.network"},
            {"address": "shop-web", "type": "hetzner.server"}
        ])
    );
    assert_eq!(world.json("provision import --label team=shop"), json!([]));
    assert_eq!(world.json("provision import --label team=nobody --provider aws"), json!([]));
    nothing_to_do(&world, &format!("    data-2 = p.local.data & {{ input = 1 }},\n{nickel}"));
}

#[test]
fn a_cloud_without_credentials_is_left_out_unless_it_is_named() {
    let mut world = World::new().with_sandbox();
    world.write("infra.ncl", &declared(""));
    for name in ["UPCLOUD_USERNAME", "UPCLOUD_PASSWORD", "UPCLOUD_TOKEN", "AWS_ACCESS_KEY_ID"] {
        world.env(name, None);
    }
    outside(
        &world,
        "hetzner post servers {name: web, server_type: cx23, image: debian-12, labels: {team: shop}} | get server.id",
    );
    world.fails("provision import --label team=shop --provider upcloud").is(
        "provision::provider::credential",
        "UPCLOUD_",
        "Set it",
    );
    assert_eq!(world.json("provision import --label team=shop | get address"), json!(["web"]));
    world.env("HCLOUD_TOKEN", None);
    world.fails("provision import --label team=shop").is("provision::provider::credential", "is not set", "Set it");
}

#[test]
fn what_cannot_be_imported_is_refused_with_the_next_step() {
    let (world, id) = shop();
    let foreign = outside(
        &world,
        "hetzner post servers {name: foreign, server_type: cx23, image: debian-12, \
         labels: {nu-provision-state: another, nu-provision-op: abc}} | get server.id",
    );
    let fails = |arguments: &str| world.fails(&format!("provision import {arguments}"));
    let import = "provision::import";
    fails(&format!("web {foreign} --type hetzner.server")).is(
        &format!("{import}::address_taken"),
        "`web` is in the state already",
        "provision state list",
    );
    fails(&format!("again {id} --type hetzner.server")).is(
        &format!("{import}::already_ours"),
        "already, as `web`",
        "provision state show web",
    );
    fails(&format!("other {foreign} --type hetzner.server")).is(
        &format!("{import}::someone_elses"),
        "the mark of another state",
        "--adopt",
    );
    fails("other 1 --type hetzner.server").is(&format!("{import}::not_found"), "with the id `1`", "Check the id");
    fails("other i-nothing --type aws.instance").is(&format!("{import}::not_found"), "`i-nothing`", "--region");
    fails("other 1 --type local.data").is(&format!("{import}::not_importable"), "local.data", "infra.ncl");
    fails("--label team=shop --type local.data").is(&format!("{import}::not_importable"), "local.data", "by its id");
    fails("other 1 --type hetzner.servr").is("provision::plan::unknown_type", "`servr`", "`hetzner.server`");
    fails("other 1 --type hetzer.server").is("provision::provider::unknown", "`hetzer`", "`hetzner`");
    fails("--label team=shop --provider hetzer").is("provision::provider::unknown", "`hetzer`", "`hetzner`");
    fails("Other 1 --type hetzner.server").is("provision::plan::address", "`Other`", "lower-case");
    fails("a.b.c 1 --type hetzner.server").is("provision::plan::address", "`a.b.c`", "`pool.blue`");
    fails("other 1 --type hetzner.server --account hetzner_eu").is(
        "provision::config::invalid",
        "`hetzner_eu`",
        "`hetzner`?",
    );
    fails("other 1 --type hetzner.server --region hel1").is("provision::plan::unknown_field", "no regions", "--region");
    for (arguments, what) in [
        ("", "is not said"),
        ("other", "the id of the resource"),
        ("other 1", "the type of the resource"),
        ("other 1 --type [hetzner.server aws.vpc]", "one type"),
        ("other 1 --type hetzner.server --label a=b", "exclude each other"),
        ("other 1 --type hetzner.server --provider aws", "--label"),
        ("--label team", "KEY=VALUE"),
        ("--label a=b --type hetzner.server --provider aws", "no type of aws"),
    ] {
        fails(arguments).is(&format!("{import}::arguments"), what, "");
    }
    // Nothing came of all that; with the consent it names, the last word is the user's.
    assert_eq!(world.json("provision state list | length"), json!(4));
    assert_eq!(
        world.json(&format!("provision import other {foreign} --type hetzner.server --adopt | get address")),
        json!(["other"])
    );
}

#[test]
fn a_region_asked_for_is_written_down_and_a_group_takes_members() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &declared(""));
    let script = "$env.AWS_DEFAULT_REGION = \"us-east-1\"; ec2 vpcId {Action: CreateVpc, CidrBlock: \"10.8.0.0/16\"}";
    let vpc = outside(&world, script);
    let vpc = vpc.as_str().unwrap();
    world.fails(&format!("provision import pool.blue {vpc} --type aws.vpc")).is(
        "provision::import::not_found",
        vpc,
        "--region",
    );
    let nickel = import(&world, &format!("pool.blue {vpc} --type aws.vpc --region us-east-1"));
    assert!(nickel.contains("pool = [") && nickel.contains("region = \"us-east-1\","), "{nickel}");
    nothing_to_do(&world, &nickel);
}

#[test]
fn the_policies_are_asked_before_anything_is_taken_in() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &declared(""));
    world.write(
        "policies/a.cedar",
        "permit (principal, action, resource);\n@id(\"no-old-images\") @advice(\"Rebuild it first.\")\n\
         forbid (principal, action == Provision::Action::\"adopt\", resource is Hetzner::Server) when { resource.image == \"debian-11\" };\n",
    );
    let server = |name: &str, image: &str| {
        outside(
            &world,
            &format!(
                "hetzner post servers {{name: {name}, server_type: cx23, image: {image}, labels: {{a: b}}}} | get server.id"
            ),
        )
    };
    let (old, new) = (server("old", "debian-11"), server("new", "debian-12"));
    world.fails(&format!("provision import old {old} --type hetzner.server")).is(
        "provision::apply::denied",
        "adopt of `old` is denied: the policy `no-old-images` forbids it (policies/a.cedar:2)",
        "Rebuild it first.",
    );
    world.fails("provision import --label a=b").is("provision::apply::denied", "`old`", "");
    assert_eq!(world.json("provision audit | where event == import.deny | get subject"), json!(["old", null]));
    assert_eq!(world.json("provision state list"), json!([]));
    import(&world, &format!("new {new} --type hetzner.server"));
    // They are in force now: changed ones have to be accepted first.
    world.write("policies/a.cedar", "permit (principal, action, resource);");
    world.fails(&format!("provision import old {old} --type hetzner.server")).is(
        "provision::apply::policy_changed",
        "have changed",
        "provision policy accept",
    );
}

#[test]
fn the_graph_is_drawn_in_three_ways() {
    let (world, _) = shop();
    // Declared and not there yet, and there and declared no more.
    let text = SHOP.replace("note =", "memo =");
    world.write("infra.ncl", &infra(&text));
    let dot = world.ok("provision graph");
    assert!(dot.starts_with("digraph \"s\" {\n") && dot.ends_with('}'), "{dot}");
    for line in [
        "  \"web\" [label = \"web\\nhetzner.server\"];",
        "  \"web\" -> \"net\";",
        "  \"db\" -> \"web\";",
        "  \"memo\" [",
        "  \"note\" [",
    ] {
        assert!(dot.contains(line), "no `{line}` in\n{dot}");
    }
    let mermaid = world.ok("provision graph --format mermaid");
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert_eq!((mermaid.matches("<br/>").count(), mermaid.matches(" --> ").count()), (5, 2));
    let svg = world.ok("provision graph --format svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
    let shapes =
        "provision graph -F svg | from xml | get content.tag | where $it in [rect path] | uniq --count | sort-by value";
    assert_eq!(world.json(shapes), json!([{"value": "path", "count": 2}, {"value": "rect", "count": 5}]));
    world.fails("provision graph --format png").is("provision::graph::format", "`png`", "dot, mermaid, svg");
    world.fails("provision graph --format svgg").is("provision::graph::format", "`svgg`", "Did you mean `svg`?");
    world.write("infra.ncl", "{ name = 1 + }");
    world.fails("provision graph").is("nickel::parse", "infra.ncl:1:", "");
}
