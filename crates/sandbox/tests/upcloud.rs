//! Owns the life of each UpCloud type in the sandbox, its errors and its lists.

mod common;

use common::{Sandbox, sandbox, until};
use serde_json::{Value, json};

const NONE: Value = Value::Null;
const DEBIAN: &str = "01000000-0000-4000-8000-000020070100";

fn server_body(title: &str) -> Value {
    json!({"server": {"zone": "fi-hel1", "title": title, "hostname": "web.example.com", "plan": "1xCPU-1GB", "metadata": "yes",
        "storage_devices": {"storage_device": [{"action": "clone", "storage": DEBIAN, "title": "root"}]},
        "labels": {"label": [{"key": "env", "value": "prod"}]}}})
}

fn state(sandbox: &Sandbox, uuid: &str) -> Value {
    sandbox.upcloud("GET", &format!("/server/{uuid}"), NONE).is(200).json()["server"]["state"].clone()
}

#[test]
fn basic_and_bearer_reach_the_same_account_and_nothing_else_does() {
    let sandbox = sandbox();
    sandbox.send("GET", "/1.3/account", &[], None).unwrap().refused(401, "AUTHENTICATION_FAILED");
    let with = |value: &str| sandbox.send("GET", "/1.3/account", &[("authorization", value.to_owned())], None).unwrap();
    with("Bearer something").refused(401, "AUTHENTICATION_FAILED");
    // sandbox:secret
    assert_eq!(with("Basic c2FuZGJveDpzZWNyZXQ=").is(200).json()["account"]["username"], "sandbox");
    assert_eq!(with("Bearer ucat_sandbox").is(200).json()["account"]["username"], "sandbox");
}

#[test]
fn a_network_holds_on_while_a_server_is_in_it() {
    let sandbox = sandbox();
    let ip = json!({"ip_network": [{"address": "172.16.0.0/24", "dhcp": "yes", "family": "IPv4"}]});
    let body = json!({"network": {"name": "net", "zone": "fi-hel1", "ip_networks": ip, "labels": [{"key": "env", "value": "prod"}]}});
    let network = sandbox.upcloud("POST", "/network", body).is(201).json()["network"].clone();
    let uuid = network["uuid"].as_str().unwrap();
    assert_eq!(network["ip_networks"]["ip_network"][0]["gateway"], "172.16.0.1");
    let listed = sandbox.upcloud("GET", "/network?label=env%3Dprod", NONE).is(200).json();
    assert_eq!(listed["networks"]["network"].as_array().unwrap().len(), 1);
    let mut body = server_body("web");
    body["server"]["networking"] = json!({"interfaces": {"interface": [{"type": "private", "network": uuid, "ip_addresses": {"ip_address": [{"family": "IPv4"}]}}]}});
    body["server"]["zone"] = json!("de-fra1");
    sandbox.upcloud("POST", "/server", body.clone()).refused(409, "ZONE_MISMATCH");
    body["server"]["zone"] = json!("fi-hel1");
    let server = sandbox.upcloud("POST", "/server", body).is(202).json()["server"].clone();
    assert_eq!(
        server["networking"]["interfaces"]["interface"][0]["ip_addresses"]["ip_address"][0]["address"],
        "172.16.0.2"
    );
    let path = format!("/network/{uuid}");
    sandbox.upcloud("DELETE", &path, NONE).refused(409, "NETWORK_NOT_EMPTY");
    let id = server["uuid"].as_str().unwrap();
    until(|| state(&sandbox, id) == "started");
    sandbox.upcloud("POST", &format!("/server/{id}/stop"), NONE).is(200);
    until(|| state(&sandbox, id) == "stopped");
    sandbox.upcloud("DELETE", &format!("/server/{id}?storages=1"), NONE).is(204);
    let renamed = sandbox.upcloud("PUT", &path, json!({"network": {"name": "other", "labels": []}})).is(200).json();
    assert_eq!((&renamed["network"]["name"], &renamed["network"]["labels"]), (&json!("other"), &json!([])));
    sandbox.upcloud("DELETE", &path, NONE).is(204);
    sandbox.upcloud("GET", &path, NONE).refused(404, "NETWORK_NOT_FOUND");
}

#[test]
fn a_storage_grows_is_attached_and_is_deleted() {
    let sandbox = sandbox();
    let body = json!({"storage": {"zone": "fi-hel1", "title": "data", "size": "10", "tier": "maxiops", "labels": [{"key": "env", "value": "prod"}]}});
    let storage = sandbox.upcloud("POST", "/storage", body).is(201).json()["storage"].clone();
    let path = format!("/storage/{}", storage["uuid"].as_str().unwrap());
    assert_eq!((&storage["state"], &storage["size"]), (&json!("maintenance"), &json!(10)));
    sandbox.upcloud("DELETE", &path, NONE).refused(409, "STORAGE_STATE_ILLEGAL");
    until(|| sandbox.upcloud("GET", &path, NONE).json()["storage"]["state"] == "online");
    sandbox.upcloud("PUT", &path, json!({"storage": {"size": "5"}})).refused(400, "SIZE_INVALID");
    let grown = sandbox.upcloud("PUT", &path, json!({"storage": {"size": "20", "title": "more"}})).is(202).json();
    assert_eq!((&grown["storage"]["size"], &grown["storage"]["title"]), (&json!(20), &json!("more")));
    let server = sandbox.upcloud("POST", "/server", server_body("web")).is(202).json()["server"]["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    until(|| state(&sandbox, &server) == "started");
    let attach = json!({"storage_device": {"type": "disk", "address": "virtio", "storage": storage["uuid"]}});
    let attached = sandbox.upcloud("POST", &format!("/server/{server}/storage/attach"), attach.clone()).is(200).json();
    assert_eq!(attached["server"]["storage_devices"]["storage_device"][1]["address"], "virtio:1");
    sandbox.upcloud("POST", &format!("/server/{server}/storage/attach"), attach).refused(409, "STORAGE_ATTACHED");
    sandbox.upcloud("DELETE", &path, NONE).refused(409, "STORAGE_ATTACHED");
    sandbox
        .upcloud(
            "POST",
            &format!("/server/{server}/storage/detach"),
            json!({"storage_device": {"address": "virtio:1"}}),
        )
        .is(200);
    sandbox.upcloud("DELETE", &path, NONE).is(204);
    let normal = sandbox.upcloud("GET", "/storage/normal", NONE).json();
    assert_eq!(normal["storages"]["storage"].as_array().unwrap().len(), 1);
    let templates = sandbox.upcloud("GET", "/storage/template", NONE).json();
    assert!(templates["storages"]["storage"].as_array().unwrap().iter().all(|one| one["type"] == "template"));
}

#[test]
fn a_server_is_made_changed_when_stopped_and_keeps_its_disk_unless_told() {
    let sandbox = sandbox();
    let made = sandbox.upcloud("POST", "/server", server_body("web")).is(202).json()["server"].clone();
    let uuid = made["uuid"].as_str().unwrap();
    let path = format!("/server/{uuid}");
    assert_eq!(
        (&made["state"], &made["core_number"], &made["memory_amount"]),
        (&json!("maintenance"), &json!("1"), &json!("1024"))
    );
    assert_eq!(made["labels"], json!({"label": [{"key": "env", "value": "prod"}]}));
    assert_eq!(made["storage_devices"]["storage_device"][0]["storage_size"], 25);
    sandbox.upcloud("POST", &format!("{path}/stop"), NONE).refused(409, "SERVER_STATE_ILLEGAL");
    until(|| state(&sandbox, uuid) == "started");
    sandbox.upcloud("DELETE", &path, NONE).refused(409, "SERVER_STATE_ILLEGAL");
    let bigger = json!({"server": {"plan": "2xCPU-4GB"}});
    sandbox.upcloud("PUT", &path, bigger.clone()).refused(409, "SERVER_STATE_ILLEGAL");
    let renamed =
        sandbox.upcloud("PUT", &path, json!({"server": {"title": "db", "labels": {"label": []}}})).is(202).json();
    assert_eq!((&renamed["server"]["title"], &renamed["server"]["labels"]), (&json!("db"), &json!({"label": []})));
    sandbox.upcloud("POST", &format!("{path}/stop"), json!({"stop_server": {"stop_type": "hard"}})).is(200);
    until(|| state(&sandbox, uuid) == "stopped");
    assert_eq!(sandbox.upcloud("PUT", &path, bigger).is(202).json()["server"]["core_number"], "2");
    sandbox.upcloud("POST", &format!("{path}/start"), json!({"server": {}})).is(200);
    until(|| state(&sandbox, uuid) == "started");
    sandbox.upcloud("POST", &format!("{path}/stop"), NONE).is(200);
    until(|| state(&sandbox, uuid) == "stopped");
    sandbox.upcloud("DELETE", &path, NONE).is(204);
    assert_eq!((sandbox.count("upcloud", "server"), sandbox.count("upcloud", "storage")), (0, 1));
}

#[test]
fn names_are_not_unique_and_labels_find_them() {
    let sandbox = sandbox();
    for _ in 0..3 {
        sandbox.upcloud("POST", "/server", server_body("same")).is(202);
    }
    let mut other = server_body("same");
    other["server"]["labels"] = json!({"label": [{"key": "env", "value": "dev"}, {"key": "tier", "value": "web"}]});
    sandbox.upcloud("POST", "/server", other).is(202);
    let count = |query: &str| {
        sandbox.upcloud("GET", &format!("/server?{query}"), NONE).is(200).json()["servers"]["server"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        [
            count(""),
            count("label=env"),
            count("label=env%3Dprod"),
            count("label=env%3Ddev&label=tier"),
            count("limit=2&offset=3")
        ],
        [4, 4, 3, 1, 1]
    );
}

#[test]
fn a_server_that_cannot_be_is_refused() {
    let sandbox = sandbox();
    let cases = [
        ("zone", json!("xx-moon1"), 404, "ZONE_NOT_FOUND"),
        ("zone", NONE, 400, "ZONE_MISSING"),
        ("title", NONE, 400, "TITLE_MISSING"),
        ("hostname", json!("under score"), 400, "HOSTNAME_INVALID"),
        ("plan", json!("9xCPU-9GB"), 404, "PLAN_NOT_FOUND"),
        ("metadata", json!("no"), 409, "METADATA_DISABLED_ON_CLOUD-INIT"),
        ("storage_devices", NONE, 400, "STORAGE_DEVICES_MISSING"),
        ("labels", json!({"label": [{"key": "-", "value": ""}]}), 400, "LABEL_INVALID"),
    ];
    for (field, value, status, code) in cases {
        let mut body = server_body("web");
        body["server"][field] = value;
        sandbox.upcloud("POST", "/server", body).refused(status, code);
    }
    let mut body = server_body("web");
    body["server"]["storage_devices"]["storage_device"][0]["storage"] = json!("01000000-0000-4000-8000-999999999999");
    sandbox.upcloud("POST", "/server", body).refused(404, "STORAGE_NOT_FOUND");
    let headers = [("authorization", "Bearer ucat_sandbox".to_owned())];
    sandbox.send("POST", "/1.3/server", &headers, Some("{".to_owned())).unwrap().refused(400, "JSON_INVALID");
    assert_eq!((sandbox.count("upcloud", "server"), sandbox.count("upcloud", "storage")), (0, 0));
}

#[test]
fn the_catalogues_answer() {
    let sandbox = sandbox();
    for (path, plural, single) in [
        ("zone", "zones", "zone"),
        ("plan", "plans", "plan"),
        ("price", "prices", "zone"),
        ("timezone", "timezones", "timezone"),
        ("server_size", "server_sizes", "server_size"),
    ] {
        let list = sandbox.upcloud("GET", &format!("/{path}"), NONE).is(200).json();
        assert!(list[plural][single].as_array().is_some_and(|list| !list.is_empty()), "{path}");
    }
    for (path, plural, single) in [
        ("router", "routers", "router"),
        ("tag", "tags", "tag"),
        ("server-group", "server_groups", "server_group"),
        ("ip_address", "ip_addresses", "ip_address"),
    ] {
        assert_eq!(
            sandbox.upcloud("GET", &format!("/{path}"), NONE).is(200).json()[plural][single],
            json!([]),
            "{path}"
        );
    }
    sandbox.upcloud("GET", "/nothing", NONE).refused(404, "NOT_FOUND");
}

#[test]
fn a_router_holds_on_while_a_network_is_on_it_and_a_tag_is_known_by_its_name() {
    let sandbox = sandbox();
    let router = sandbox.upcloud("POST", "/router", json!({"router": {"name": "r"}})).is(201).json()["router"].clone();
    let path = format!("/router/{}", router["uuid"].as_str().unwrap());
    let ip = json!({"ip_network": [{"address": "172.16.0.0/24", "dhcp": "yes", "family": "IPv4"}]});
    let body = json!({"network": {"name": "net", "zone": "fi-hel1", "ip_networks": ip, "router": router["uuid"]}});
    let network = sandbox.upcloud("POST", "/network", body).is(201).json()["network"]["uuid"].clone();
    sandbox.upcloud("DELETE", &path, NONE).refused(409, "ROUTER_ATTACHED");
    let off = json!({"network": {"router": null}});
    sandbox.upcloud("PUT", &format!("/network/{}", network.as_str().unwrap()), off).is(200);
    sandbox.upcloud("DELETE", &path, NONE).is(204);
    let tag = json!({"tag": {"name": "prod", "description": "x"}});
    sandbox.upcloud("POST", "/tag", tag.clone()).is(201);
    sandbox.upcloud("POST", "/tag", tag).refused(409, "TAG_EXISTS");
    sandbox.upcloud("DELETE", "/tag/prod", NONE).is(204);
    sandbox.upcloud("DELETE", "/tag/prod", NONE).refused(404, "TAG_NOT_FOUND");
    let group = json!({"server_group": {"title": "g", "servers": {"server": ["nobody"]}}});
    sandbox.upcloud("POST", "/server-group", group).refused(404, "SERVER_NOT_FOUND");
}
