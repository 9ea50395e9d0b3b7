//! Owns what a change leaves alone: what is attached to something and is a resource of its own, and what others put into a
//! resource.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::World;
use serde_json::{Value, json};

/// Calls the clouds as somebody else would.
const OUTSIDE: &str = r#"
def hetzner [verb: string, path: string, body?: any] {
  let headers = { Authorization: $"Bearer ($env.HCLOUD_TOKEN)" }
  match $verb {
    "get" => (http get --headers $headers $"($env.HCLOUD_ENDPOINT)($path)")
    _ => (http post --content-type application/json --headers $headers $"($env.HCLOUD_ENDPOINT)($path)" $body)
  }
}
def upcloud [verb: string, path: string, body?: any] {
  let url = $"($env.UPCLOUD_DEBUG_API_BASE_URL)/1.3($path)"
  match $verb {
    "get" => (http get --user $env.UPCLOUD_USERNAME --password $env.UPCLOUD_PASSWORD $url)
    _ => (http post --content-type application/json --user $env.UPCLOUD_USERNAME --password $env.UPCLOUD_PASSWORD $url $body)
  }
}
def id [address: string] { provision state show $address | get remote_id }
"#;

#[track_caller]
fn outside(world: &World, script: &str) -> Value {
    world.json(&format!("{OUTSIDE}\n{script}"))
}

#[track_caller]
fn storages(world: &World) -> Vec<String> {
    let found = outside(world, "upcloud get /storage/private | get storages.storage.uuid");
    serde_json::from_value(found).unwrap()
}

const DISK: &str =
    "data = p.upcloud.storage & { zone = \"fi-hel1\", size = 10, title = \"data\", lifecycle.protect = true },";

fn server(more: &str) -> String {
    format!(
        "{DISK}\napp = p.upcloud.server & {{ zone = \"fi-hel1\", plan = \"1xCPU-2GB\", storage_devices = [
  {{ action = \"clone\", storage = \"01000000-0000-4000-8000-000020070100\", title = \"root\", size = 20 }},
  {{ action = \"attach\", storage = p.ref \"data\" \"id\" }},
], {more} }},"
    )
}

#[test]
fn a_disk_of_its_own_outlives_the_server_it_is_attached_to() {
    let world = World::new().with_sandbox();
    world.declare(&server(""));
    world.settle();
    let data = world.json("provision state show data | get remote_id");
    let data = data.as_str().unwrap();
    // Somebody attaches a disk that nothing here knows.
    let script =
        "let made = upcloud post /storage { storage: { zone: fi-hel1, size: 10, title: theirs } } | get storage.uuid
sleep 200ms
upcloud post $\"/server/(id app)/storage/attach\" { storage_device: { storage: $made } } | ignore
$made";
    let theirs = outside(&world, script);
    let theirs = theirs.as_str().unwrap();
    world.declare(&server("user_data = \"#cloud-config\\n\","));
    assert_eq!(world.json("provision plan | select address action"), json!([{"address": "app", "action": "replace"}]));
    world.settle();
    let left = storages(&world);
    assert!(left.iter().any(|id| id == data) && left.iter().any(|id| id == theirs), "{left:?}");
    // Theirs, ours, and the disk that was made with the new server: that of the old one went with it.
    assert_eq!(left.len(), 3, "{left:?}");
    let devices =
        outside(&world, "upcloud get $\"/server/(id app)\" | get server.storage_devices.storage_device.storage");
    assert_eq!(devices[1], data);
    world.declare(DISK);
    world.settle();
    let left = storages(&world);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().any(|id| id == data) && left.iter().any(|id| id == theirs), "{left:?}");
}

#[test]
fn an_address_of_its_own_outlives_its_server_whatever_the_cloud_would_do() {
    let world = World::new().with_sandbox();
    let shop = |more: &str| {
        format!(
            "ip = p.hetzner.primary_ip & {{ type = \"ipv4\", location = \"hel1\", auto_delete = true }},
web = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", location = \"hel1\", public_net = {{ ipv4 = p.ref \"ip\" \"id\" }}, {more} }},"
        )
    };
    world.declare(&shop(""));
    world.settle();
    let ip = world.json("provision state show ip | get remote_id attributes.ip");
    world.declare(&shop("user_data = \"x\","));
    world.settle();
    assert_eq!(world.json("provision state show ip | get remote_id attributes.ip"), ip);
    assert_eq!(outside(&world, "hetzner get $\"/servers/(id web)\" | get server.public_net.ipv4.ip"), ip[1]);
    world.declare("ip = p.hetzner.primary_ip & { type = \"ipv4\", location = \"hel1\", auto_delete = true },");
    world.settle();
    assert_eq!(world.held(), 1);
}

#[test]
fn an_address_that_no_server_has_stays_as_it_is() {
    let world = World::new().with_sandbox();
    world.declare("ip = p.hetzner.primary_ip & { type = \"ipv4\", location = \"hel1\" },");
    world.settle();
    assert_eq!(outside(&world, "hetzner get /primary_ips | get primary_ips.0.assignee_type"), "unassigned");
    world.declare("ip = p.hetzner.primary_ip & { type = \"ipv4\", location = \"hel1\", assignee_type = \"server\" },");
    assert_eq!(world.json("provision plan --deep | select address action"), json!([]));
}

#[test]
fn labels_of_others_stay_where_none_are_declared() {
    let world = World::new().with_sandbox();
    let declared = |disk: &str, boxed: &str, dns: bool, labels: &str| {
        format!(
            "disk = p.hetzner.volume & {{ size = 10, location = \"hel1\", name = \"{disk}\", {labels} }},
box = p.upcloud.server & {{ zone = \"fi-hel1\", plan = \"1xCPU-2GB\", title = \"{boxed}\" }},
vpc = p.aws.vpc & {{ cidr_block = \"10.1.0.0/16\", enable_dns_support = {dns} }},"
        )
    };
    world.declare(&declared("one", "one", true, "labels.tier = \"db\""));
    world.settle();
    let mark = "
let labels = hetzner get $\"/volumes/(id disk)\" | get volume.labels
provision sandbox mutate (id disk) { labels: ($labels | upsert used-by controller) } | ignore
let labels = provision sandbox mutate (id box) | get resource.labels
provision sandbox mutate (id box) { labels: ($labels | append { key: used-by, value: controller }) } | ignore
let tags = provision sandbox mutate (id vpc) | get resource.tagSet
provision sandbox mutate (id vpc) { tagSet: ($tags | append [{ key: used-by, value: controller } { key: \"aws:cloudformation:stack-name\", value: x }]) } | ignore
1";
    outside(&world, mark);
    // Where labels are declared, another one is a change; without any, only what was ours goes.
    let drifted = world.json("provision drift | select address path");
    assert_eq!(drifted, json!([{"address": "disk", "path": "labels.used-by"}]));
    world.declare(&declared("two", "two", false, ""));
    let told = world.json("provision plan | each {|row| {address: $row.address, paths: ($row.changes.path | sort)} }");
    let expected = json!([{"address": "box", "paths": ["title"]}, {"address": "disk", "paths": ["labels.tier", "name"]},
        {"address": "vpc", "paths": ["enable_dns_support"]}]);
    assert_eq!(told, expected);
    world.settle();
    let labels = outside(
        &world,
        "hetzner get $\"/volumes/(id disk)\" | get volume.labels | reject nu-provision-op nu-provision-state",
    );
    assert_eq!(labels, json!({"used-by": "controller"}));
    let labels = outside(&world, "upcloud get $\"/server/(id box)\" | get server.labels.label.key | sort");
    assert_eq!(labels, json!(["nu-provision-op", "nu-provision-state", "used-by"]));
    let tags = outside(&world, "provision sandbox mutate (id vpc) | get resource.tagSet.key | sort");
    let kept = json!(["Name", "aws:cloudformation:stack-name", "nu-provision-op", "nu-provision-state", "used-by"]);
    assert_eq!(tags, kept);
}

#[test]
fn a_step_sends_what_changes_and_nothing_that_is_left_alone() {
    let world = World::new().with_sandbox();
    let declared = |name: &str| {
        format!(
            "net = p.hetzner.network & {{ name = \"{name}\", ip_range = \"10.0.0.0/16\", labels.tier = \"one\", lifecycle.ignore = [\"labels\"] }},
app = p.upcloud.server & {{ zone = \"fi-hel1\", plan = \"1xCPU-2GB\" }},
router = p.upcloud.router & {{
  name = \"{name}\", static_routes = [{{ name = \"mine\", route = \"10.100.0.0/24\", nexthop = \"172.16.0.2\" }}],
  lifecycle.ignore = [\"static_routes\"],
}},
group = p.upcloud.server_group & {{ title = \"{name}\", servers = [], lifecycle.ignore = [\"servers\"] }},"
        )
    };
    world.declare(&declared("one"));
    world.settle();
    let change = "
let labels = hetzner get $\"/networks/(id net)\" | get network.labels | upsert tier other | upsert owner ops
provision sandbox mutate (id net) { labels: $labels } | ignore
provision sandbox mutate (id router) { static_routes: [{ name: gateway, route: \"0.0.0.0/0\", nexthop: \"172.16.0.9\", type: user }] } | ignore
provision sandbox mutate (id group) { servers: [(id app)] } | ignore
1";
    outside(&world, change);
    world.declare(&declared("two"));
    let told = world.json("provision plan | select address reason");
    let expected = json!([{"address": "group", "reason": "title changed"}, {"address": "net", "reason": "name changed"},
        {"address": "router", "reason": "name changed"}]);
    assert_eq!(told, expected);
    world.settle();
    let labels = outside(&world, "hetzner get $\"/networks/(id net)\" | get network.labels | select tier owner");
    assert_eq!(labels, json!({"tier": "other", "owner": "ops"}));
    assert_eq!(
        outside(&world, "upcloud get $\"/router/(id router)\" | get router.static_routes.name"),
        json!(["gateway"])
    );
    let held =
        outside(&world, "(upcloud get $\"/server-group/(id group)\" | get server_group.servers.server) == [(id app)]");
    assert_eq!(held, json!(true));
}

#[test]
fn a_firewall_that_a_label_selector_applies_is_not_fought() {
    let world = World::new().with_sandbox();
    world.declare(
        "wall = p.hetzner.firewall & { rules = [] },
other = p.hetzner.firewall & { rules = [] },
third = p.hetzner.firewall & { rules = [] },
web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", labels.tier = \"web\", firewalls = [p.ref \"wall\" \"id\"] },",
    );
    world.settle();
    let apply = "hetzner post $\"/firewalls/(id other)/actions/apply_to_resources\" { apply_to: [{ type: label_selector, label_selector: { selector: \"tier=web\" } }] } | ignore; 1";
    outside(&world, apply);
    let applied = outside(&world, "hetzner get $\"/servers/(id web)\" | get server.public_net.firewalls | length");
    assert_eq!(applied, json!(2));
    assert_eq!(world.json("provision plan --deep | select address action"), json!([]));
    assert_eq!(world.json("provision drift --deep | select address path"), json!([]));
    // One that somebody applies to the server itself is a change.
    let apply = "hetzner post $\"/firewalls/(id third)/actions/apply_to_resources\" { apply_to: [{ type: server, server: { id: (id web | into int) } }] } | ignore; 1";
    outside(&world, apply);
    assert_eq!(world.json("provision plan | select address action"), json!([{"address": "web", "action": "update"}]));
    world.declare(
        "wall = p.hetzner.firewall & { rules = [] },
other = p.hetzner.firewall & { rules = [] },
third = p.hetzner.firewall & { rules = [] },
web = p.hetzner.server & { server_type = \"cx23\", image = \"debian-12\", labels.tier = \"web\" },",
    );
    world.settle();
    let applied = outside(&world, "hetzner get $\"/servers/(id web)\" | get server.public_net.firewalls.id");
    assert_eq!(applied, json!([outside(&world, "id other | into int")]));
}

#[test]
fn the_firewall_of_a_server_is_on_as_its_rules_expect() {
    let world = World::new().with_sandbox();
    let declared = |more: &str| {
        format!(
            "app = p.upcloud.server & {{ zone = \"fi-hel1\", plan = \"1xCPU-2GB\", {more} }},
rules = p.upcloud.firewall_rules & {{ server = p.ref \"app\" \"id\", rules = [{{ direction = \"in\", action = \"drop\" }}] }},"
        )
    };
    world.declare(&declared(""));
    world.settle();
    let force = || outside(&world, "upcloud get $\"/server/(id app)\" | get server.firewall");
    assert_eq!(force(), "on");
    world.declare(&declared("firewall = true"));
    assert_eq!(world.json("provision plan"), json!([]));
    outside(&world, "provision sandbox mutate (id app) { firewall: off } | ignore; 1");
    let drifted = world.json("provision drift --deep | select address path");
    assert_eq!(drifted, json!([{"address": "app", "path": "firewall"}]));
    let planned = world.json("provision plan --deep | select address action reason");
    assert_eq!(planned, json!([{"address": "app", "action": "update", "reason": "firewall changed"}]));
    world.ok("provision plan --deep | provision apply | ignore");
    assert_eq!(force(), "on");
    // Nobody who says nothing has one.
    let made = "upcloud post /server { server: { title: x, hostname: x, zone: fi-hel1, plan: \"1xCPU-1GB\", metadata: yes, storage_devices: { storage_device: [{ action: clone, storage: \"01000000-0000-4000-8000-000020070100\", title: r, size: 20 }] } } } | get server.firewall";
    assert_eq!(outside(&world, made), "off");
}

#[test]
fn an_attached_disk_grows_while_its_server_is_stopped_and_one_more_is_attached() {
    let world = World::new().with_sandbox();
    let declared = |plan: &str, size: u32, logs: bool| {
        let (disk, attach) = match logs {
            true => (
                "logs = p.upcloud.storage & { zone = \"fi-hel1\", size = 10, title = \"logs\" },",
                "{ action = \"attach\", storage = p.ref \"logs\" \"id\" },",
            ),
            false => ("", ""),
        };
        format!(
            "data = p.upcloud.storage & {{ zone = \"fi-hel1\", size = {size}, title = \"data\" }}, {disk}
app = p.upcloud.server & {{ zone = \"fi-hel1\", plan = \"{plan}\", storage_devices = [
  {{ action = \"clone\", storage = \"01000000-0000-4000-8000-000020070100\", title = \"root\", size = 20 }},
  {{ action = \"attach\", storage = p.ref \"data\" \"id\" }}, {attach}
] }},"
        )
    };
    let (small, large) = ("1xCPU-2GB", "2xCPU-4GB");
    world.declare(&declared(small, 10, false));
    world.settle();
    let state = || outside(&world, "upcloud get $\"/server/(id app)\" | get server | select plan state");
    let app = world.json("provision state show app | get remote_id");
    let calls = |script: &str| -> Vec<String> {
        let before = world.mutating().len();
        world.ok(script);
        let calls = world.mutating();
        let part = |part: &str| if part.len() == 36 { "ID".to_owned() } else { part.to_owned() };
        let path = |path: &str| path.split('/').map(part).collect::<Vec<_>>().join("/");
        let shown = |it: &provision_tests::Request| format!("{} {}", it.method, path(&it.path));
        calls[before..].iter().map(shown).collect()
    };
    // A server that somebody stopped stays stopped, whatever changes.
    outside(&world, "provision sandbox mutate (id app) { state: stopped } | ignore; 1");
    world.declare(&declared(large, 20, false));
    assert_eq!(calls("provision apply --yes | ignore"), ["PUT /1.3/storage/ID", "PUT /1.3/server/ID"]);
    assert_eq!(state(), json!({"plan": large, "state": "stopped"}));
    outside(&world, "provision sandbox mutate (id app) { state: started } | ignore; 1");
    world.declare(&declared(large, 30, false));
    let restarted = ["POST /1.3/server/ID/stop", "PUT /1.3/storage/ID", "POST /1.3/server/ID/start"];
    assert_eq!(calls("provision apply --yes | ignore"), restarted);
    assert_eq!(state(), json!({"plan": large, "state": "started"}));
    world.declare(&declared(large, 30, true));
    let planned = world.json("provision plan | select address action reason");
    let expected = json!([{"address": "app", "action": "update", "reason": "storage_devices changed"},
        {"address": "logs", "action": "create", "reason": "new"}]);
    assert_eq!(planned, expected);
    assert_eq!(calls("provision apply --yes | ignore"), ["POST /1.3/storage", "POST /1.3/server/ID/storage/attach"]);
    assert_eq!(world.json("provision plan --deep"), json!([]));
    // Taken out again, it is detached before it goes.
    world.declare(&declared(large, 30, false));
    let taken = ["POST /1.3/server/ID/storage/detach", "DELETE /1.3/storage/ID"];
    assert_eq!(calls("provision apply --yes | ignore"), taken);
    assert_eq!(world.json("provision state show app | get remote_id"), app);
}

#[test]
fn a_floating_address_moves_in_one_call() {
    let world = World::new().with_sandbox();
    let declared = |server: &str| {
        format!(
            "a = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", location = \"hel1\" }},
b = p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", location = \"hel1\" }},
ip = p.hetzner.floating_ip & {{ type = \"ipv4\", home_location = \"hel1\", server = p.ref \"{server}\" \"id\" }},"
        )
    };
    world.declare(&declared("a"));
    world.settle();
    world.declare(&declared("b"));
    let before = world.mutating().len();
    world.settle();
    let calls: Vec<String> =
        world.mutating()[before..].iter().filter_map(|it| it.path.rsplit('/').next().map(str::to_owned)).collect();
    assert_eq!(calls, ["assign"]);
}

#[test]
fn what_was_adopted_as_private_is_made_again_as_private() {
    let world = World::new().with_sandbox();
    world.declare("");
    let made = outside(
        &world,
        "let net = hetzner post /networks { name: n, ip_range: \"10.0.0.0/16\", subnets: [{ type: cloud, network_zone: eu-central, ip_range: \"10.0.1.0/24\" }] } | get network.id
let web = hetzner post /servers { name: web, server_type: cx23, image: debian-12, location: hel1, networks: [$net], public_net: { enable_ipv4: false, enable_ipv6: false } } | get server.id
let net = upcloud post /network/ { network: { name: n, zone: fi-hel1, ip_networks: { ip_network: [{ address: \"172.16.0.0/24\", family: IPv4, dhcp: yes }] } } } | get network.uuid
let app = upcloud post /server { server: { title: app, hostname: app, zone: fi-hel1, plan: \"1xCPU-2GB\", metadata: yes, firewall: on, networking: { interfaces: { interface: [{ type: private, network: $net, ip_addresses: { ip_address: [{ family: IPv4 }] } }] } }, storage_devices: { storage_device: [{ action: clone, storage: \"01000000-0000-4000-8000-000030240200\", title: r, size: 20 }] } } } | get server.uuid
sleep 300ms
[$web $app]",
    );
    let (web, app) = (&made[0], made[1].as_str().unwrap());
    let script = format!(
        "[(provision import web {web} --type hetzner.server) (provision import app {app} --type upcloud.server)] | flatten | get nickel"
    );
    let nickel: Vec<String> = serde_json::from_value(world.json(&script)).unwrap();
    world.declare(&nickel.concat());
    assert_eq!(world.json("provision plan --deep | select address action changes"), json!([]), "{nickel:?}");
    assert!(nickel[1].contains("# The cloud does not show `login_user`, `user_data`"), "{}", nickel[1]);
    let root =
        outside(&world, "upcloud get $\"/server/(id app)\" | get server.storage_devices.storage_device.0.storage");
    world.ok(
        "provision state replace web | ignore; provision state replace app | ignore; provision apply --yes | ignore",
    );
    assert_eq!(outside(&world, "hetzner get $\"/servers/(id web)\" | get server.public_net.ipv4"), Value::Null);
    let shown = outside(
        &world,
        "upcloud get $\"/server/(id app)\" | get server | {kinds: $in.networking.interfaces.interface.type, disk: $in.storage_devices.storage_device.0.storage}",
    );
    assert_eq!(shown, json!({"kinds": ["private"], "disk": root}));
}
