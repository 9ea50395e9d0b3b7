//! Owns the proof that the vendors' own clients and ours share one cloud: each lists what `provision apply` made; what each
//! makes is imported, what it changes is found and healed, what it deletes is made again from what import wrote.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::clients::{aws, hcloud, python};
use provision_tests::{PUBLIC_KEY, World, workspace};
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn every_client_lists_what_apply_made() {
    let (Some(hcloud), Some(aws), Some(python)) = (hcloud(), aws(), python()) else { return };
    let world = World::new().with_sandbox();
    let shop = workspace().join("examples/shop");
    for file in ["infra.ncl", "policies/shop.cedar"] {
        world.write(file, &std::fs::read_to_string(shop.join(file)).unwrap());
    }
    world.ok("provision apply --yes | collect | ignore");
    // What the state says of the resources, by their addresses.
    let state = |address: &str, path: &str| {
        world.ok(&format!("provision state show {address} | get attributes.\"{path}\" | to text")).trim().to_owned()
    };

    let hetzner = |arguments: &[&str]| world.client(&hcloud, arguments);
    let servers = hetzner(&["server", "list", "-o", "noheader", "-o", "columns=id,ipv4,status"]);
    let mut expected = Vec::new();
    for address in ["web.blue", "web.green"] {
        expected.push(format!("{} {} running", state(address, "id"), state(address, "public_net.ipv4.ip")));
    }
    let mut found: Vec<String> =
        servers.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for (kind, address) in [("ssh-key", "key"), ("network", "net"), ("firewall", "wall")] {
        assert_eq!(hetzner(&[kind, "list", "-o", "noheader", "-o", "columns=id"]), state(address, "id"), "{kind}");
    }

    let ec2 = |command: &str, query: &str| {
        let endpoint = ["--endpoint-url", world.environment()["AWS_ENDPOINT_URL"].as_str(), "--output", "text", "ec2"];
        world.client(&aws, &[&endpoint[..], &[command, "--query", query]].concat())
    };
    for (command, query, address) in [
        ("describe-vpcs", "Vpcs[].VpcId", "vpc"),
        ("describe-subnets", "Subnets[].SubnetId", "edge_net"),
        ("describe-key-pairs", "KeyPairs[].KeyPairId", "edge_key"),
        ("describe-instances", "Reservations[].Instances[].InstanceId", "edge"),
        ("describe-security-groups", "SecurityGroups[?GroupName!='default'].GroupId", "edge_wall"),
    ] {
        assert_eq!(ec2(command, query), state(address, "id"), "{command}");
    }

    let script = r#"
import os
from upcloud_api import CloudManager
manager = CloudManager(os.environ["UPCLOUD_USERNAME"], os.environ["UPCLOUD_PASSWORD"])
manager.api.api_root = os.environ["UPCLOUD_API_URL"]
print(*[s.uuid for s in manager.get_servers()])
print(*[n.uuid for n in manager.get_networks() if n.type == "private"])
print(*sorted(s.uuid for s in manager.get_storages(storage_type="normal")))
"#;
    let listed = world.client(&python, &["-c", script]);
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(listed[..2], [state("db", "id"), state("db_net", "id")]);
    // The other storage is the server's own disk, made by the cloud.
    let storages: Vec<&str> = listed[2].split(' ').collect();
    assert!(storages.len() == 2 && storages.contains(&state("db_disk", "id").as_str()), "{storages:?}");
}

/// What is done with a client: `make` gives addresses and ids, `see` what there is, `change` changes by hand what can be
/// changed back, `delete` takes everything away.
type Client<'a> = dyn Fn(&str) -> Value + 'a;

fn declare(world: &World, resources: &str) {
    let text =
        format!("let p = import \"provision.ncl\" in\n{{\n  name = \"s\",\n  resources = {{\n{resources}\n  }},\n}}\n");
    world.write("infra.ncl", &text);
}

/// A whole life: `kinds` are the types by address, `changed` the addresses that `change` changes.
#[track_caller]
fn life(world: &World, client: &Client<'_>, kinds: &[(&str, &str)], changed: &[&str]) {
    let nothing = client("see");
    world.write("all.cedar", "permit(principal, action, resource);\n");
    let made = client("make");
    // What they make, import adopts, and nothing is to be done then.
    declare(world, "");
    let mut nickel = String::new();
    for (address, kind) in kinds {
        let id = made[address].as_str().unwrap();
        let rows = world.json(&format!("provision import {address} '{id}' --type {kind}"));
        nickel += rows[0]["nickel"].as_str().unwrap();
    }
    // Nor does it show which address of a server is a resource of its own: that one is taken out of the server.
    let twice =
        "type = \"utility\" },\n        { ip_addresses = [{ family = \"IPv4\" }], type = \"public\" },\n      ],";
    let once = "type = \"utility\" },\n      ],\n      lifecycle.ignore = [\"interfaces\"],";
    nickel = nickel.replace(twice, once);
    // The key that a cloud does not show is written where import says so.
    let unseen = "public_key_material = \"unknown\"";
    declare(world, &nickel.replace(unseen, &format!("public_key_material = \"{PUBLIC_KEY}\"")));
    assert_eq!(world.json("provision plan --deep"), json!([]), "{nickel}");

    // What the cloud does not show of it, policies need not know to decide about it.
    assert_eq!(
        world.json("provision plan --destroy | policy authorize --policies all.cedar | get decision | uniq"),
        json!(["allow"])
    );

    // What they change, drift finds; what is healed, they see.
    let seen = client("see");
    client("change");
    assert_ne!(client("see"), seen);
    let drift = world.json("provision drift --deep | get address | uniq | sort");
    assert_eq!(drift, json!(changed));
    world.ok("provision heal --deep | provision apply | collect | ignore");
    assert_eq!(client("see"), seen);
    assert_eq!(world.json("provision plan --deep"), json!([]));

    // What they delete is to be made again; what we make, they see.
    client("delete");
    assert_eq!(client("see"), nothing);
    let planned = world.json("provision plan | where action == create | get address | sort");
    let mut all: Vec<&str> = kinds.iter().map(|(address, _)| *address).collect();
    all.sort_unstable();
    assert_eq!(planned, json!(all));
    world.ok("provision apply --yes | collect | ignore");
    assert_eq!(client("see"), seen);
    assert_eq!(world.json("provision plan --deep"), json!([]));
    world.ok("provision destroy --yes | collect | ignore");
    assert_eq!(client("see"), nothing);
}

/// A client in Python, whose script knows what to do.
fn scripted(world: &World, python: &Path, script: &str, what: &str) -> Value {
    let mut arguments = vec!["-c", script, what];
    arguments.extend((what == "make").then_some(PUBLIC_KEY));
    serde_json::from_str(&world.client(python, &arguments)).unwrap()
}

const HETZNER: [(&str, &str); 7] = [
    ("key", "hetzner.ssh_key"),
    ("net", "hetzner.network"),
    ("fw", "hetzner.firewall"),
    ("web", "hetzner.server"),
    ("data", "hetzner.volume"),
    ("lb", "hetzner.load_balancer"),
    ("ip", "hetzner.floating_ip"),
];

#[test]
fn the_python_client_of_hetzner_lives_a_whole_life() {
    let Some(python) = python() else { return };
    let world = World::new().with_sandbox();
    let client = |what: &str| scripted(&world, &python, include_str!("../clients/hcloud_life.py"), what);
    life(&world, &client, &HETZNER, &["data", "fw", "lb", "net", "web"]);
}

#[test]
fn the_python_client_of_upcloud_lives_a_whole_life() {
    let Some(python) = python() else { return };
    let world = World::new().with_sandbox();
    let client = |what: &str| scripted(&world, &python, include_str!("../clients/upcloud_life.py"), what);
    let kinds = [
        ("net", "upcloud.network"),
        ("data", "upcloud.storage"),
        ("web", "upcloud.server"),
        ("rules", "upcloud.firewall_rules"),
        ("tag", "upcloud.tag"),
        ("more", "upcloud.ip_address"),
        ("moving", "upcloud.floating_ip"),
    ];
    life(&world, &client, &kinds, &["data", "moving", "net", "rules", "tag", "web"]);
}

#[test]
fn boto3_lives_a_whole_life() {
    let Some(python) = python() else { return };
    let world = World::new().with_sandbox();
    let client = |what: &str| scripted(&world, &python, include_str!("../clients/boto3_life.py"), what);
    let kinds = [
        ("vpc", "aws.vpc"),
        ("subnet", "aws.subnet"),
        ("wall", "aws.security_group"),
        ("key", "aws.key_pair"),
        ("web", "aws.instance"),
        ("data", "aws.volume"),
        ("use", "aws.volume_attachment"),
    ];
    life(&world, &client, &kinds, &["data", "vpc", "wall", "web"]);
}

/// What lines of a command line do, in order.
fn run(world: &World, program: &Path, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> =
            line.split_whitespace().map(|word| if word == "KEY" { PUBLIC_KEY } else { word }).collect();
        world.client(program, &words);
    }
}

#[test]
fn hcloud_lives_a_whole_life() {
    let Some(hcloud) = hcloud() else { return };
    let world = World::new().with_sandbox();
    let json = |line: &str| -> Value {
        let words: Vec<&str> = line.split(' ').collect();
        serde_json::from_str(&world.client(&hcloud, &words)).unwrap()
    };
    let list = |kind: &str| json(&format!("{kind} list -o json")).as_array().cloned().unwrap_or_default();
    let each = |kind: &str, shown: &dyn Fn(&Value) -> Value| -> Value { list(kind).iter().map(shown).collect() };
    let client = |what: &str| match what {
        "make" => {
            run(
                &world,
                &hcloud,
                "ssh-key create --name me --public-key KEY
                network create --name net --ip-range 10.0.0.0/16
                network add-subnet net --type cloud --network-zone eu-central --ip-range 10.0.1.0/24
                firewall create --name fw
                firewall add-rule fw --direction in --protocol tcp --port 22 --source-ips 0.0.0.0/0
                server create --name web --type cx23 --image debian-12 --location hel1 --ssh-key me --network net --firewall fw --label env=prod
                server poweroff web
                server change-type --keep-disk web cx33
                server poweron web
                volume create --name data --size 10 --server web --label env=prod
                volume resize data --size 20
                load-balancer create --name lb --type lb11 --location hel1
                load-balancer add-service lb --protocol http --listen-port 8080 --destination-port 80
                load-balancer add-target lb --server web
                load-balancer change-algorithm lb --algorithm-type least_connections
                floating-ip create --type ipv4 --home-location hel1 --name ip --description x",
            );
            let id = |kind: &str, name: &str| json(&format!("{kind} describe {name} -o json"))["id"].to_string();
            json!({"key": id("ssh-key", "me"), "net": id("network", "net"), "fw": id("firewall", "fw"),
                "web": id("server", "web"), "data": id("volume", "data"), "lb": id("load-balancer", "lb"), "ip": id("floating-ip", "ip")})
        }
        "see" => json!({
            "keys": each("ssh-key", &|it| it["name"].clone()),
            "networks": each("network", &|it| json!([it["name"], it["ip_range"], it["subnets"][0]["ip_range"]])),
            "firewalls": each("firewall", &|it| {
                json!([it["name"], it["rules"].as_array().map(|all| all.iter().map(|rule| &rule["port"]).collect::<Vec<_>>())])
            }),
            "servers": each("server", &|it| {
                json!([it["name"], it["status"], it["server_type"]["name"], it["labels"]["env"], it["private_net"][0]["ip"]])
            }),
            "volumes": each("volume", &|it| json!([it["name"], it["size"], it["server"].is_null(), it["labels"]["env"]])),
            "addresses": each("floating-ip", &|it| json!([it["name"], it["description"], it["home_location"]["name"]])),
            "balancers": each("load-balancer", &|it| {
                json!([it["name"], it["algorithm"]["type"], it["services"][0]["health_check"]["http"]["path"], it["targets"][0]["type"]])
            }),
        }),
        "change" => {
            run(
                &world,
                &hcloud,
                "server add-label --overwrite web env=theirs
                server poweroff web
                server change-type --keep-disk web cx23
                server poweron web
                volume add-label --overwrite data env=theirs
                network update net --name theirs
                firewall add-rule fw --direction in --protocol tcp --port 80 --source-ips 0.0.0.0/0
                load-balancer change-algorithm lb --algorithm-type round_robin",
            );
            Value::Null
        }
        _ => {
            run(
                &world,
                &hcloud,
                "volume detach data
                volume delete data
                load-balancer delete lb
                server delete web
                firewall delete fw
                network delete net
                floating-ip delete ip
                ssh-key delete me",
            );
            Value::Null
        }
    };
    life(&world, &client, &HETZNER, &["data", "fw", "lb", "net", "web"]);
}

#[test]
fn the_aws_cli_lives_a_whole_life() {
    let Some(aws) = aws() else { return };
    let world = World::new().with_sandbox();
    // Debian's version knows no AWS_ENDPOINT_URL and would call the real cloud without the flag.
    let url = world.environment()["AWS_ENDPOINT_URL"].clone();
    let ec2 = |line: &str| {
        let words = ["--endpoint-url", url.as_str(), "--output", "json", "ec2"];
        let own: Vec<&str> =
            line.split_whitespace().map(|word| if word == "KEY" { "fileb://key.pub" } else { word }).collect();
        world.client(&aws, &[&words[..], &own].concat())
    };
    let json = |line: &str| -> Value { serde_json::from_str(&ec2(line)).unwrap() };
    let id = |line: &str| json(line).as_str().unwrap().to_owned();
    world.write("key.pub", PUBLIC_KEY);
    let client = |what: &str| match what {
        "make" => {
            let vpc = id(
                "create-vpc --cidr-block 10.0.0.0/16 --tag-specifications ResourceType=vpc,Tags=[{Key=Name,Value=net},{Key=env,Value=prod}] --query Vpc.VpcId",
            );
            let gateway = id("create-internet-gateway --query InternetGateway.InternetGatewayId");
            ec2(&format!("attach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}"));
            let subnet = id(&format!(
                "create-subnet --vpc-id {vpc} --cidr-block 10.0.1.0/24 --availability-zone eu-north-1a --query Subnet.SubnetId"
            ));
            let table = id(&format!("create-route-table --vpc-id {vpc} --query RouteTable.RouteTableId"));
            ec2(&format!(
                "create-route --route-table-id {table} --destination-cidr-block 0.0.0.0/0 --gateway-id {gateway}"
            ));
            let used = id(&format!(
                "associate-route-table --route-table-id {table} --subnet-id {subnet} --query AssociationId"
            ));
            let wall =
                id(&format!("create-security-group --group-name web --description web --vpc-id {vpc} --query GroupId"));
            ec2(&format!(
                "authorize-security-group-ingress --group-id {wall} --protocol tcp --port 22 --cidr 0.0.0.0/0"
            ));
            let key = id("import-key-pair --key-name me --public-key-material KEY --query KeyPairId");
            let web = id(&format!(
                "run-instances --image-id ami-0abcdef1234567890 --instance-type t3.micro --count 1 --key-name me --subnet-id {subnet} --security-group-ids {wall} --tag-specifications ResourceType=instance,Tags=[{{Key=Name,Value=web}},{{Key=env,Value=prod}}] --query Instances[0].InstanceId"
            ));
            ec2(&format!("wait instance-running --instance-ids {web}"));
            let data = id(
                "create-volume --availability-zone eu-north-1a --size 10 --volume-type gp3 --tag-specifications ResourceType=volume,Tags=[{Key=Name,Value=data},{Key=env,Value=prod}] --query VolumeId",
            );
            ec2(&format!("wait volume-available --volume-ids {data}"));
            ec2(&format!("attach-volume --volume-id {data} --instance-id {web} --device /dev/sdf"));
            json!({"vpc": vpc, "gateway": gateway, "subnet": subnet, "table": table, "route": format!("{table},0.0.0.0/0"),
                "used": used, "wall": wall, "key": key, "web": web, "data": data, "use": format!("{data},{web},/dev/sdf")})
        }
        "see" => json!({
            "groups": json("describe-security-groups --query SecurityGroups[].[GroupName,IpPermissions[].FromPort]"),
            "instances": json("describe-instances --filters Name=instance-state-name,Values=running --query Reservations[].Instances[].[InstanceType,PrivateIpAddress,Tags[?Key=='env'].Value]"),
            "volumes": json("describe-volumes --filters Name=size,Values=10 --query Volumes[].[Size,VolumeType,Attachments[].Device,Tags[?Key=='env'].Value]"),
        }),
        "change" => {
            let one = |query: &str| id(query);
            let web = one("describe-instances --query Reservations[0].Instances[0].InstanceId");
            let data = one("describe-volumes --filters Name=size,Values=10 --query Volumes[0].VolumeId");
            let vpc = one("describe-vpcs --query Vpcs[0].VpcId");
            ec2(&format!(
                "create-tags --resources {web} {data} {vpc} --tags Key=env,Value=theirs Key=Name,Value=theirs"
            ));
            let wall =
                one("describe-security-groups --filters Name=group-name,Values=web --query SecurityGroups[0].GroupId");
            ec2(&format!(
                "authorize-security-group-ingress --group-id {wall} --protocol tcp --port 80 --cidr 0.0.0.0/0"
            ));
            let table = one(
                "describe-route-tables --filters Name=route.destination-cidr-block,Values=0.0.0.0/0 --query RouteTables[0].RouteTableId",
            );
            ec2(&format!("delete-route --route-table-id {table} --destination-cidr-block 0.0.0.0/0"));
            Value::Null
        }
        _ => {
            let one = |query: &str| id(query);
            let web = one("describe-instances --query Reservations[0].Instances[0].InstanceId");
            ec2(&format!("terminate-instances --instance-ids {web}"));
            ec2(&format!("wait instance-terminated --instance-ids {web}"));
            ec2(&format!(
                "delete-volume --volume-id {}",
                one("describe-volumes --filters Name=size,Values=10 --query Volumes[0].VolumeId")
            ));
            ec2("delete-key-pair --key-name me");
            let wall =
                one("describe-security-groups --filters Name=group-name,Values=web --query SecurityGroups[0].GroupId");
            ec2(&format!("delete-security-group --group-id {wall}"));
            ec2(&format!("delete-subnet --subnet-id {}", one("describe-subnets --query Subnets[0].SubnetId")));
            let vpc = one("describe-vpcs --query Vpcs[0].VpcId");
            let gateway = one("describe-internet-gateways --query InternetGateways[0].InternetGatewayId");
            ec2(&format!("detach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}"));
            ec2(&format!("delete-internet-gateway --internet-gateway-id {gateway}"));
            let table = one(
                "describe-route-tables --filters Name=route.destination-cidr-block,Values=0.0.0.0/0 --query RouteTables[0].RouteTableId",
            );
            ec2(&format!("delete-route-table --route-table-id {table}"));
            ec2(&format!("delete-vpc --vpc-id {vpc}"));
            Value::Null
        }
    };
    let kinds = [
        ("vpc", "aws.vpc"),
        ("gateway", "aws.internet_gateway"),
        ("subnet", "aws.subnet"),
        ("table", "aws.route_table"),
        ("route", "aws.route"),
        ("used", "aws.route_table_association"),
        ("wall", "aws.security_group"),
        ("key", "aws.key_pair"),
        ("web", "aws.instance"),
        ("data", "aws.volume"),
        ("use", "aws.volume_attachment"),
    ];
    life(&world, &client, &kinds, &["data", "route", "vpc", "wall", "web"]);
}

#[test]
fn a_root_volume_that_was_taken_in_outlives_its_instance() {
    let Some(python) = python() else { return };
    let world = World::new().with_sandbox();
    let volumes = || -> Value {
        let script = "
import boto3, json, os
ec2 = boto3.resource('ec2', endpoint_url=os.environ['AWS_ENDPOINT_URL'])
print(json.dumps({it.id: [[use['InstanceId'], use['DeleteOnTermination']] for use in it.attachments] for it in ec2.volumes.all()}))";
        serde_json::from_str(&world.client(&python, &["-c", script])).unwrap()
    };
    let net = "vpc = p.aws.vpc & { cidr_block = \"10.0.0.0/16\" },
        net = p.aws.subnet & { vpc_id = p.ref \"vpc\" \"id\", cidr_block = \"10.0.1.0/24\" },";
    let web = |data: &str| {
        format!(
            "web = p.aws.instance & {{ ami = \"ami-0abcdef1234567890\", instance_type = \"t3.micro\", subnet_id = p.ref \"net\" \"id\", user_data = \"{data}\" }},"
        )
    };
    declare(&world, &format!("{net}{}", web("1")));
    world.ok("provision apply --yes | ignore");
    let made = volumes();
    let (root, instance) =
        (made.as_object().unwrap().keys().next().unwrap(), &made.as_object().unwrap().values().next().unwrap()[0][0]);
    assert_eq!(made, json!({ root: [[instance, true]] }));
    // Made again, the instance takes along the volume that was made with it.
    declare(&world, &format!("{net}{}", web("2")));
    world.ok("provision apply --yes | ignore");
    let made = volumes();
    assert_eq!(made.as_object().unwrap().len(), 1, "{made}");
    let now = made.as_object().unwrap().keys().next().unwrap();
    assert_ne!(now, root);
    // One that is a resource of its own stays.
    let nickel = world.json(&format!("provision import root {now} --type aws.volume | get 0.nickel"));
    let disk = nickel.as_str().unwrap();
    declare(&world, &format!("{net}{}{disk}", web("2")));
    assert_eq!(world.json("provision plan --deep"), json!([]), "{disk}");
    declare(&world, &format!("{net}{}{disk}", web("3")));
    world.ok("provision apply --yes | ignore");
    let left = volumes();
    assert_eq!((left.as_object().unwrap().len(), &left[now]), (2, &json!([])), "{left}");
    declare(&world, "");
    world.ok("provision apply --yes | ignore");
    assert_eq!(volumes(), json!({}));
}
