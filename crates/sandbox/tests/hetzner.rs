//! Owns the life of each Hetzner type in the sandbox, its errors and its pages.

mod common;

use common::{public_key, sandbox, until, with};
use provision_sandbox::Options;
use serde_json::{Value, json};

const NONE: Value = Value::Null;

#[test]
fn without_a_token_nothing_is_answered_and_each_token_is_a_project_of_its_own() {
    let mut sandbox = sandbox();
    sandbox.send("GET", "/v1/servers", &[], None).unwrap().refused(401, "unauthorized");
    sandbox.server("a", json!({}));
    sandbox.token = "two".to_owned();
    assert_eq!(sandbox.hetzner("GET", "/servers", NONE).json()["servers"], json!([]));
    sandbox.server("a", json!({}));
}

#[test]
fn an_ssh_key_lives_and_is_unique_by_name_and_fingerprint() {
    let sandbox = sandbox();
    let body = json!({"name": "me", "public_key": public_key(1), "labels": {"env": "dev"}});
    let key = sandbox.hetzner("POST", "/ssh_keys", body.clone()).is(201).json()["ssh_key"].clone();
    assert_eq!(key["fingerprint"].as_str().unwrap().split(':').count(), 16);
    sandbox.hetzner("POST", "/ssh_keys", body).refused(409, "uniqueness_error");
    let other = json!({"name": "you", "public_key": public_key(1)});
    let refused = sandbox.hetzner("POST", "/ssh_keys", other).refused(409, "uniqueness_error").json();
    assert_eq!(refused["error"]["details"]["fields"][0]["name"], "public_key");
    sandbox.hetzner("POST", "/ssh_keys", json!({"name": "x", "public_key": "nonsense"})).refused(422, "invalid_input");
    let path = format!("/ssh_keys/{}", key["id"]);
    let renamed = sandbox.hetzner("PUT", &path, json!({"name": "mine", "labels": {}})).is(200).json();
    assert_eq!((&renamed["ssh_key"]["name"], &renamed["ssh_key"]["labels"]), (&json!("mine"), &json!({})));
    assert_eq!(sandbox.hetzner("GET", "/ssh_keys?name=me", NONE).json()["ssh_keys"], json!([]));
    assert_eq!(sandbox.hetzner("GET", "/ssh_keys?name=mine", NONE).json()["ssh_keys"].as_array().unwrap().len(), 1);
    sandbox.hetzner("DELETE", &path, NONE).is(204);
    sandbox.hetzner("DELETE", &path, NONE).refused(404, "not_found");
}

#[test]
fn a_network_takes_subnets_and_routes_and_refuses_what_does_not_fit() {
    let sandbox = sandbox();
    let subnet = json!({"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"});
    let body = json!({"name": "net", "ip_range": "10.0.0.0/16", "subnets": [subnet]});
    let network = sandbox.hetzner("POST", "/networks", body.clone()).is(201).json()["network"].clone();
    assert_eq!(network["subnets"][0]["gateway"], "10.0.0.1");
    sandbox.hetzner("POST", "/networks", body).refused(409, "uniqueness_error");
    sandbox.hetzner("POST", "/networks", json!({"name": "x", "ip_range": "8.8.8.0/24"})).refused(422, "invalid_input");
    let act = |action: &str, body: Value| {
        sandbox.hetzner("POST", &format!("/networks/{}/actions/{action}", network["id"]), body)
    };
    act("add_subnet", subnet.clone()).refused(422, "invalid_input");
    // The form of an old client: no range wanted, an empty gateway.
    let action =
        act("add_subnet", json!({"type": "server", "network_zone": "eu-central", "ip_range": "", "gateway": ""}))
            .is(201);
    assert_eq!(action.json()["action"]["command"], "add_subnet");
    act("add_route", json!({"destination": "10.100.1.0/24", "gateway": "10.0.1.1"})).is(201);
    act("delete_subnet", json!({"ip_range": "10.0.1.0/24"})).is(201);
    act("delete_subnet", json!({"ip_range": "10.0.1.0/24"})).refused(404, "not_found");
    act("change_ip_range", json!({"ip_range": "10.0.0.0/12"})).is(201);
    let now = sandbox.hetzner("GET", &format!("/networks/{}", network["id"]), NONE).json()["network"].clone();
    assert_eq!(now["ip_range"], "10.0.0.0/12");
    assert_eq!(now["subnets"].as_array().unwrap().len(), 1);
    assert_eq!(now["routes"], json!([{"destination": "10.100.1.0/24", "gateway": "10.0.1.1"}]));
    act("change_protection", json!({"delete": true})).is(201);
    let path = format!("/networks/{}", network["id"]);
    sandbox.hetzner("DELETE", &path, NONE).refused(423, "protected");
    act("change_protection", json!({"delete": false})).is(201);
    sandbox.hetzner("DELETE", &path, NONE).is(204);
}

#[test]
fn a_firewall_is_in_use_while_it_is_applied() {
    let sandbox = sandbox();
    let rule = json!({"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]});
    let body = json!({"name": "ssh", "rules": [rule]});
    let firewall = sandbox.hetzner("POST", "/firewalls", body).is(201).json()["firewall"].clone();
    let id = firewall["id"].as_u64().unwrap();
    let server = sandbox.server("web", json!({"firewalls": [{"firewall": id}], "labels": {"tier": "web"}}));
    let path = format!("/firewalls/{id}");
    let shown = sandbox.hetzner("GET", &path, NONE).json()["firewall"].clone();
    assert_eq!(shown["applied_to"], json!([{"type": "server", "server": {"id": server}}]));
    sandbox.hetzner("DELETE", &path, NONE).refused(422, "resource_in_use");
    let target = json!({"type": "server", "server": {"id": server}});
    sandbox.hetzner("POST", &format!("{path}/actions/remove_from_resources"), json!({"remove_from": [target]})).is(201);
    let bad = json!({"rules": [{"direction": "in", "protocol": "tcp", "source_ips": ["0.0.0.0/0"]}]});
    sandbox.hetzner("POST", &format!("{path}/actions/set_rules"), bad).refused(422, "invalid_input");
    sandbox.hetzner("POST", &format!("{path}/actions/set_rules"), json!({"rules": []})).is(201);
    let selector = json!({"apply_to": [{"type": "label_selector", "label_selector": {"selector": "tier=web"}}]});
    sandbox.hetzner("POST", &format!("{path}/actions/apply_to_resources"), selector).is(201);
    let shown = sandbox.hetzner("GET", &path, NONE).json()["firewall"].clone();
    assert_eq!(shown["rules"], json!([]));
    assert_eq!(shown["applied_to"][0]["applied_to_resources"][0]["server"]["id"], server);
    let remove = json!({"remove_from": [{"type": "label_selector", "label_selector": {"selector": "tier=web"}}]});
    sandbox.hetzner("POST", &format!("{path}/actions/remove_from_resources"), remove).is(201);
    sandbox.hetzner("DELETE", &path, NONE).is(204);
}

#[test]
fn a_server_is_made_started_changed_and_deleted() {
    let sandbox = sandbox();
    let subnet = json!({"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"});
    let network =
        sandbox.hetzner("POST", "/networks", json!({"name": "net", "ip_range": "10.0.0.0/16", "subnets": [subnet]}));
    let network = network.is(201).json()["network"]["id"].as_u64().unwrap();
    let body = json!({"name": "web", "server_type": "cx23", "image": "debian-12", "location": "hel1", "networks": [network], "labels": {"a": "b"}});
    let made = sandbox.hetzner("POST", "/servers", body.clone()).is(201).json();
    assert_eq!(made["server"]["status"], "initializing");
    assert_eq!(made["action"]["status"], "running");
    assert_eq!(made["root_password"].as_str().unwrap().len(), 20);
    let commands: Vec<&Value> =
        made["next_actions"].as_array().unwrap().iter().map(|action| &action["command"]).collect();
    assert_eq!(commands, ["attach_to_network", "start_server"]);
    assert_eq!(made["server"]["private_net"][0]["ip"], "10.0.1.2");
    let id = made["server"]["id"].as_u64().unwrap();
    sandbox.hetzner("POST", "/servers", body).refused(409, "uniqueness_error");
    sandbox.settled(id, "running");
    let polled = sandbox.hetzner(
        "GET",
        &format!("/actions?id={}&id={}&sort=status&sort=id", made["action"]["id"], made["next_actions"][1]["id"]),
        NONE,
    );
    assert!(
        polled.json()["actions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|action| action["status"] == "success" && action["progress"] == 100)
    );

    let act = |action: &str, body: Value| sandbox.hetzner("POST", &format!("/servers/{id}/actions/{action}"), body);
    act("change_type", json!({"server_type": "cx33", "upgrade_disk": false})).refused(422, "server_not_stopped");
    act("poweroff", NONE).is(201);
    act("poweron", NONE).refused(423, "locked");
    sandbox.settled(id, "off");
    act("change_type", json!({"server_type": "cax11", "upgrade_disk": false})).refused(422, "invalid_server_type");
    act("change_type", json!({"server_type": "cx33", "upgrade_disk": false})).is(201);
    sandbox.settled(id, "off");
    act("detach_from_network", json!({"network": network})).is(201);
    sandbox.settled(id, "off");
    act("attach_to_network", json!({"network": network, "ip": "10.0.1.7"})).is(201);
    sandbox.settled(id, "off");
    act("poweron", NONE).is(201);
    sandbox.settled(id, "running");
    let shown = sandbox.hetzner("GET", &format!("/servers/{id}"), NONE).json()["server"].clone();
    assert_eq!((&shown["server_type"]["name"], &shown["primary_disk_size"]), (&json!("cx33"), &json!(40)));
    assert_eq!(shown["private_net"][0]["ip"], "10.0.1.7");
    act("change_protection", json!({"delete": true, "rebuild": true})).is(201);
    sandbox.hetzner("DELETE", &format!("/servers/{id}"), NONE).refused(423, "protected");
    act("change_protection", json!({"delete": false, "rebuild": false})).is(201);
    let gone = sandbox.hetzner("DELETE", &format!("/servers/{id}"), NONE).is(200).json();
    assert_eq!(gone["action"]["command"], "delete_server");
    until(|| {
        sandbox.hetzner("GET", &format!("/actions/{}", gone["action"]["id"]), NONE).json()["action"]["status"]
            == "success"
    });
    sandbox.hetzner("GET", &format!("/servers/{id}"), NONE).refused(404, "not_found");
}

#[test]
fn a_server_that_cannot_be_is_refused_by_field() {
    let sandbox = sandbox();
    let good = json!({"name": "web", "server_type": "cx23", "image": "debian-12", "location": "hel1"});
    let cases = [
        ("name", json!("under_score")),
        ("server_type", json!("cx999")),
        ("image", json!("debian-1")),
        ("location", json!("moon1")),
        ("labels", json!({"a b": "c"})),
        ("user_data", json!("x".repeat(32 * 1024 + 1))),
    ];
    for (field, value) in cases {
        let mut body = good.clone();
        body[field] = value;
        let refused = sandbox.hetzner("POST", "/servers", body).refused(422, "invalid_input").json();
        assert_eq!(refused["error"]["details"]["fields"][0]["name"], field);
    }
    for (field, value) in
        [("networks", json!([1])), ("firewalls", json!([{"firewall": 1}])), ("ssh_keys", json!(["nobody"]))]
    {
        let mut body = good.clone();
        body[field] = value;
        sandbox.hetzner("POST", "/servers", body).refused(404, "not_found");
    }
    let headers = [("authorization", "Bearer one".to_owned())];
    sandbox.send("POST", "/v1/servers", &headers, Some("{".to_owned())).unwrap().refused(400, "json_error");
    assert_eq!(sandbox.count("hetzner", "server"), 0);
}

#[test]
fn lists_come_in_pages_and_can_be_filtered_and_sorted() {
    let sandbox = sandbox();
    for n in 0..60 {
        sandbox.server(&format!("web-{n:02}"), json!({"labels": {"even": (n % 2 == 0).to_string()}}));
    }
    let first = sandbox.hetzner("GET", "/servers", NONE).is(200);
    assert!(first.header("link").unwrap().contains("rel=next"));
    let first = first.json();
    assert_eq!(first["servers"].as_array().unwrap().len(), 25);
    assert_eq!(
        first["meta"]["pagination"],
        json!({"page": 1, "per_page": 25, "previous_page": null, "next_page": 2, "last_page": 3, "total_entries": 60})
    );
    let last = sandbox.hetzner("GET", "/servers?page=2&per_page=50", NONE).json();
    assert_eq!((last["servers"].as_array().unwrap().len(), &last["meta"]["pagination"]["next_page"]), (10, &NONE));
    sandbox.hetzner("GET", "/servers?per_page=51", NONE).refused(422, "invalid_input");
    let even = sandbox.hetzner("GET", "/servers?label_selector=even%3Dtrue&per_page=50&sort=name:desc", NONE).json();
    assert_eq!((even["servers"].as_array().unwrap().len(), &even["servers"][0]["name"]), (30, &json!("web-58")));
    sandbox.hetzner("GET", "/servers?label_selector=a%20b", NONE).refused(422, "invalid_input");
}

#[test]
fn the_hourly_limit_is_a_bucket_per_project() {
    let mut sandbox = with(Options { hetzner_rate_limit: 3, ..Options::default() });
    for left in ["2", "1", "0"] {
        let answer = sandbox.hetzner("GET", "/locations", NONE).is(200);
        assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), (Some("3"), Some(left)));
    }
    let refused = sandbox.hetzner("GET", "/locations", NONE).refused(429, "rate_limit_exceeded");
    assert!(refused.header("ratelimit-reset").unwrap().parse::<i64>().unwrap() > chrono::Utc::now().timestamp());
    sandbox.token = "two".to_owned();
    sandbox.hetzner("GET", "/locations", NONE).is(200);
}

#[test]
fn the_catalogues_answer_by_name_and_number() {
    let sandbox = sandbox();
    let images = sandbox.hetzner("GET", "/images?name=debian-12&architecture=arm&type=system", NONE).json();
    assert_eq!(images["images"].as_array().unwrap().len(), 1);
    let image = sandbox.hetzner("GET", &format!("/images/{}", images["images"][0]["id"]), NONE).is(200).json();
    assert_eq!(image["image"]["architecture"], "arm");
    for kind in [
        "locations",
        "datacenters",
        "server_types",
        "isos",
        "volumes",
        "load_balancers",
        "floating_ips",
        "primary_ips",
        "placement_groups",
    ] {
        assert!(sandbox.hetzner("GET", &format!("/{kind}"), NONE).is(200).json()[kind].is_array(), "{kind}");
    }
    assert_eq!(sandbox.hetzner("GET", "/pricing", NONE).json()["pricing"]["currency"], "EUR");
    sandbox.hetzner("GET", "/nothing", NONE).refused(404, "not_found");
}

#[test]
fn volumes_and_addresses_are_held_by_a_server_and_free_without_it() {
    let sandbox = sandbox();
    let server = sandbox.server("s", json!({"location": "hel1"}));
    sandbox.settled(server, "running");
    let volume = json!({"name": "v", "size": 10, "server": server});
    let volume = sandbox.hetzner("POST", "/volumes", volume).is(201).json()["volume"].clone();
    assert_eq!(volume["location"]["name"], "hel1");
    let path = format!("/volumes/{}", volume["id"]);
    sandbox.hetzner("DELETE", &path, NONE).refused(422, "resource_in_use");
    let again = json!({ "server": server });
    sandbox.hetzner("POST", &format!("{path}/actions/attach"), again).refused(409, "volume_already_attached");
    sandbox.hetzner("POST", &format!("{path}/actions/resize"), json!({"size": 5})).refused(422, "invalid_input");
    let address = json!({"type": "ipv4", "server": server, "name": "f"});
    let address = sandbox.hetzner("POST", "/floating_ips", address).is(201).json()["floating_ip"].clone();
    assert_eq!((&address["server"], &address["home_location"]["name"]), (&json!(server), &json!("hel1")));
    let primary = json!({"name": "p", "type": "ipv4", "assignee_type": "server", "assignee_id": server});
    sandbox.hetzner("POST", "/primary_ips", primary).refused(422, "server_not_stopped");
    let primary = json!({"name": "p", "type": "ipv4", "assignee_type": "server", "location": "hel1"});
    let primary = sandbox.hetzner("POST", "/primary_ips", primary).is(201).json()["primary_ip"].clone();
    let holder = sandbox.server("t", json!({"location": "hel1", "public_net": {"ipv4": primary["id"]}}));
    let shown = sandbox.hetzner("GET", &format!("/servers/{holder}"), NONE).json();
    assert_eq!(shown["server"]["public_net"]["ipv4"]["ip"], primary["ip"]);
    sandbox.hetzner("DELETE", &format!("/primary_ips/{}", primary["id"]), NONE).refused(422, "resource_in_use");
    sandbox.hetzner("DELETE", &format!("/servers/{server}"), NONE).is(200);
    assert_eq!(sandbox.hetzner("GET", &path, NONE).json()["volume"]["server"], NONE);
    sandbox.hetzner("DELETE", &path, NONE).is(204);
}

#[test]
fn a_load_balancer_refuses_what_does_not_go_together() {
    let sandbox = sandbox();
    let server = sandbox.server("s", json!({"location": "fsn1"}));
    let service = json!({"protocol": "http", "listen_port": 80, "destination_port": 8080});
    let body = json!({"name": "lb", "load_balancer_type": "lb11", "location": "fsn1", "services": [service]});
    let made = sandbox.hetzner("POST", "/load_balancers", body.clone()).is(201).json();
    assert_eq!(made["load_balancer"]["services"][0]["health_check"]["http"]["path"], "/");
    sandbox.hetzner("POST", "/load_balancers", body).refused(409, "uniqueness_error");
    let act = |verb: &str, body: Value| {
        sandbox.hetzner("POST", &format!("/load_balancers/{}/actions/{verb}", made["load_balancer"]["id"]), body)
    };
    act("add_service", service).refused(409, "source_port_already_used");
    act("delete_service", json!({"listen_port": 1})).refused(404, "not_found");
    act("change_type", json!({"load_balancer_type": "lb11"})).refused(422, "invalid_load_balancer_type");
    let private = json!({"type": "server", "server": {"id": server}, "use_private_ip": true});
    act("add_target", private).refused(422, "load_balancer_not_attached_to_network");
    let target = json!({"type": "server", "server": {"id": server}});
    act("add_target", target.clone()).is(201);
    act("add_target", target).refused(409, "target_already_defined");
    sandbox.settled(server, "running");
    sandbox.hetzner("DELETE", &format!("/servers/{server}"), NONE).is(200);
    let left = sandbox.hetzner("GET", "/load_balancers?name=lb", NONE).json();
    assert_eq!(left["load_balancers"][0]["targets"], json!([]));
}
