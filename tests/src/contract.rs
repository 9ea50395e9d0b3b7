//! Owns an example of each resource type that a provider ships: how it is made, changed in place and replaced.

use serde_json::{Map, Value, json};

/// One type with what it takes to try it.
pub struct Example {
    pub kind: &'static str,
    /// What must be there for it.
    pub needs: Vec<(&'static str, Value)>,
    /// Its fields at first.
    pub first: Value,
    /// Fields that are changed in place.
    pub changed: Option<Value>,
    /// Fields that make another one.
    pub replaced: Option<Value>,
}

const KEY: &str = crate::PUBLIC_KEY;
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC other";

fn reference(address: &str, attribute: &str) -> Value {
    json!({"$ref": {"address": address, "attribute": attribute}})
}

/// A record with more in it.
fn with(record: &Value, more: Value) -> Value {
    let mut all = record.as_object().cloned().unwrap_or_default();
    all.extend(more.as_object().cloned().unwrap_or_default());
    Value::Object(all)
}

fn subnets(ranges: &[&str]) -> Value {
    ranges.iter().map(|range| json!({"type": "cloud", "network_zone": "eu-central", "ip_range": range})).collect()
}

fn ingress(port: u16) -> Value {
    json!([{"ip_protocol": "tcp", "from_port": port, "to_port": port, "cidr_ips": ["10.0.0.0/8"]}])
}

/// Every type of the three clouds, and data that lives in the state alone.
pub fn examples() -> Vec<Example> {
    let net = json!({"$type": "hetzner.network", "ip_range": "10.0.0.0/16", "subnets": subnets(&["10.0.1.0/24"])});
    let vpc = json!({"$type": "aws.vpc", "cidr_block": "10.9.0.0/16"});
    let subnet = json!({"$type": "aws.subnet", "vpc_id": reference("vpc", "id"), "cidr_block": "10.9.1.0/24"});
    let host = json!({"$type": "hetzner.server", "server_type": "cx22", "image": "debian-12", "location": "fsn1"});
    let guest = json!({"$type": "upcloud.server", "zone": "fi-hel1", "plan": "1xCPU-2GB"});
    let other_vpc = json!({"$type": "aws.vpc", "cidr_block": "10.8.0.0/16"});
    let table = json!({"$type": "aws.route_table", "vpc_id": reference("vpc", "id")});
    let way = json!({"$type": "aws.internet_gateway", "vpc_id": reference("vpc", "id")});
    let eni = json!({"$type": "aws.network_interface", "subnet_id": reference("subnet", "id")});
    let address = json!({"$type": "aws.elastic_ip"});
    let machine = json!({"$type": "aws.instance", "instance_type": "t3.micro", "ami": "ami-0abcdef1234567890",
        "subnet_id": reference("subnet", "id")});
    let plain = |kind, first, changed, replaced| Example { kind, needs: Vec::new(), first, changed, replaced };
    vec![
        plain("local.data", json!({"input": 1}), Some(json!({"input": 2})), None),
        plain(
            "hetzner.ssh_key",
            json!({"public_key": KEY}),
            Some(json!({"labels": {"team": "shop"}})),
            Some(json!({"public_key": OTHER})),
        ),
        plain(
            "hetzner.network",
            json!({"ip_range": "10.0.0.0/16", "subnets": subnets(&["10.0.1.0/24"])}),
            Some(json!({"subnets": subnets(&["10.0.2.0/24", "10.0.3.0/24"]), "labels": {"team": "shop"}})),
            None,
        ),
        plain(
            "hetzner.firewall",
            json!({"rules": [{"direction": "in", "protocol": "tcp", "port": "80", "source_ips": ["0.0.0.0/0"]}]}),
            Some(
                json!({"rules": [{"direction": "in", "protocol": "tcp", "port": "443", "source_ips": ["0.0.0.0/0"]}]}),
            ),
            None,
        ),
        Example {
            kind: "hetzner.server",
            needs: vec![("net", net.clone())],
            first: json!({"server_type": "cx22", "image": "debian-12", "networks": [reference("net", "id")]}),
            changed: Some(json!({"server_type": "cx32", "labels": {"team": "shop"}})),
            replaced: Some(json!({"image": "debian-13"})),
        },
        Example {
            kind: "hetzner.volume",
            needs: vec![("host", host.clone())],
            first: json!({"size": 10, "server": reference("host", "id")}),
            changed: Some(json!({"size": 20, "server": null, "labels": {"team": "shop"}})),
            replaced: Some(json!({"format": "xfs"})),
        },
        Example {
            kind: "hetzner.floating_ip",
            needs: vec![("host", host.clone())],
            first: json!({"type": "ipv4", "home_location": "fsn1"}),
            changed: Some(json!({"server": reference("host", "id"), "description": "x"})),
            replaced: Some(json!({"type": "ipv6"})),
        },
        plain(
            "hetzner.primary_ip",
            json!({"type": "ipv4", "location": "fsn1"}),
            Some(json!({"auto_delete": true, "labels": {"team": "shop"}})),
            Some(json!({"location": "hel1"})),
        ),
        Example {
            kind: "hetzner.snapshot",
            needs: vec![("host", host.clone())],
            first: json!({"server": reference("host", "id"), "description": "one"}),
            changed: Some(json!({"description": "other", "labels": {"team": "shop"}})),
            replaced: None,
        },
        plain("hetzner.placement_group", json!({}), Some(json!({"labels": {"team": "shop"}})), None),
        plain(
            "hetzner.certificate",
            json!({"certificate": "-----BEGIN CERTIFICATE-----\nMIIBAA==\n-----END CERTIFICATE-----\n", "private_key": {"$secret": "key"}}),
            Some(json!({"labels": {"team": "shop"}})),
            Some(json!({"certificate": "-----BEGIN CERTIFICATE-----\nMIIBAQ==\n-----END CERTIFICATE-----\n"})),
        ),
        Example {
            kind: "hetzner.load_balancer",
            needs: vec![("net", net.clone()), ("host", host)],
            first: json!({"load_balancer_type": "lb11", "location": "fsn1",
                "services": [{"protocol": "tcp", "listen_port": 80, "destination_port": 8080}]}),
            changed: Some(json!({"load_balancer_type": "lb21", "network": reference("net", "id"),
                "services": [{"protocol": "http", "listen_port": 81, "destination_port": 8080}],
                "targets": [{"type": "server", "server": reference("host", "id")}]})),
            replaced: Some(json!({"location": "hel1"})),
        },
        Example {
            kind: "upcloud.network",
            needs: vec![("gate", json!({"$type": "upcloud.router"}))],
            first: json!({"zone": "fi-hel1", "router": reference("gate", "id"),
                "ip_networks": [{"address": "172.16.0.0/24", "family": "IPv4", "dhcp": true}]}),
            changed: Some(json!({"router": null, "labels": {"team": "shop"}})),
            replaced: Some(json!({"zone": "de-fra1"})),
        },
        plain(
            "upcloud.router",
            json!({}),
            Some(json!({"static_routes": [{"route": "10.100.0.0/24", "nexthop": "172.16.0.2"}]})),
            None,
        ),
        Example {
            kind: "upcloud.server_group",
            needs: vec![("guest", guest.clone())],
            first: json!({"anti_affinity": "yes"}),
            changed: Some(json!({"servers": [reference("guest", "id")], "labels": {"team": "shop"}})),
            replaced: None,
        },
        Example {
            kind: "upcloud.tag",
            needs: vec![("guest", guest)],
            first: json!({"name": "one"}),
            changed: Some(json!({"servers": [reference("guest", "id")], "description": "x"})),
            replaced: Some(json!({"name": "two"})),
        },
        plain(
            "upcloud.storage",
            json!({"zone": "fi-hel1", "size": 10, "tier": "maxiops"}),
            Some(json!({"size": 20})),
            Some(json!({"zone": "de-fra1"})),
        ),
        plain(
            "upcloud.server",
            json!({"zone": "fi-hel1", "plan": "1xCPU-2GB"}),
            Some(json!({"plan": "2xCPU-4GB", "labels": {"team": "shop"}})),
            Some(json!({"zone": "de-fra1"})),
        ),
        plain(
            "aws.vpc",
            json!({"cidr_block": "10.9.0.0/16"}),
            Some(json!({"tags": {"team": "shop"}})),
            Some(json!({"cidr_block": "10.8.0.0/16"})),
        ),
        Example {
            kind: "aws.subnet",
            needs: vec![("vpc", vpc.clone())],
            first: json!({"vpc_id": reference("vpc", "id"), "cidr_block": "10.9.5.0/24"}),
            changed: Some(json!({"map_public_ip_on_launch": true, "tags": {"team": "shop"}})),
            replaced: Some(json!({"cidr_block": "10.9.6.0/24"})),
        },
        Example {
            kind: "aws.security_group",
            needs: vec![("vpc", vpc.clone())],
            first: json!({"vpc_id": reference("vpc", "id"), "ingress": ingress(22)}),
            changed: Some(json!({"ingress": ingress(443), "tags": {"team": "shop"}})),
            replaced: Some(json!({"group_description": "another"})),
        },
        plain(
            "aws.key_pair",
            json!({"public_key_material": KEY}),
            Some(json!({"tags": {"team": "shop"}})),
            Some(json!({"public_key_material": OTHER})),
        ),
        Example {
            kind: "aws.internet_gateway",
            needs: vec![("vpc3", vpc.clone()), ("vpc2", other_vpc.clone())],
            first: json!({"vpc_id": reference("vpc3", "id")}),
            changed: Some(json!({"vpc_id": reference("vpc2", "id"), "tags": {"team": "shop"}})),
            replaced: None,
        },
        Example {
            kind: "aws.route_table",
            needs: vec![("vpc", vpc.clone()), ("vpc2", other_vpc)],
            first: json!({"vpc_id": reference("vpc", "id")}),
            changed: Some(json!({"tags": {"team": "shop"}})),
            replaced: Some(json!({"vpc_id": reference("vpc2", "id")})),
        },
        Example {
            kind: "aws.route_table_association",
            needs: vec![
                ("vpc", vpc.clone()),
                ("subnet", subnet.clone()),
                ("table", table.clone()),
                ("table2", table.clone()),
            ],
            first: json!({"route_table_id": reference("table", "id"), "subnet_id": reference("subnet", "id")}),
            changed: None,
            replaced: Some(json!({"route_table_id": reference("table2", "id")})),
        },
        Example {
            kind: "aws.route",
            needs: vec![
                ("vpc", vpc.clone()),
                ("table", table),
                ("way", way.clone()),
                ("subnet", subnet.clone()),
                ("eni", eni.clone()),
            ],
            first: json!({"route_table_id": reference("table", "id"), "destination_cidr_block": "0.0.0.0/0",
                "gateway_id": reference("way", "id")}),
            changed: Some(json!({"gateway_id": null, "network_interface_id": reference("eni", "id")})),
            replaced: Some(json!({"destination_cidr_block": "192.0.2.0/24"})),
        },
        plain(
            "aws.volume",
            json!({"availability_zone": "eu-north-1a", "size": 10, "volume_type": "gp3"}),
            Some(json!({"size": 20, "iops": 4000, "tags": {"team": "shop"}})),
            Some(json!({"availability_zone": "eu-north-1b"})),
        ),
        Example {
            kind: "aws.volume_attachment",
            needs: vec![
                ("vpc", vpc.clone()),
                ("subnet", subnet.clone()),
                ("machine", machine),
                ("disk", json!({"$type": "aws.volume", "availability_zone": "eu-north-1a", "size": 1})),
            ],
            first: json!({"volume_id": reference("disk", "id"), "instance_id": reference("machine", "id"),
                "device": "/dev/sdf"}),
            changed: None,
            replaced: Some(json!({"device": "/dev/sdg"})),
        },
        plain("aws.elastic_ip", json!({}), Some(json!({"tags": {"team": "shop"}})), None),
        Example {
            kind: "aws.elastic_ip_association",
            needs: vec![
                ("vpc", vpc.clone()),
                ("way", way.clone()),
                ("subnet", subnet.clone()),
                ("eni-public", with(&eni, json!({"depends_on": ["way"]}))),
                ("address", address.clone()),
                ("address2", address.clone()),
            ],
            first: json!({"allocation_id": reference("address", "id"),
                "network_interface_id": reference("eni-public", "id")}),
            changed: None,
            replaced: Some(json!({"allocation_id": reference("address2", "id")})),
        },
        Example {
            kind: "aws.nat_gateway",
            needs: vec![
                ("vpc", vpc.clone()),
                ("way", way),
                (
                    "subnet-nat",
                    json!({"$type": "aws.subnet", "vpc_id": reference("vpc", "id"),
                    "cidr_block": "10.9.8.0/24", "depends_on": ["way"]}),
                ),
                ("address3", address.clone()),
                ("address4", address),
            ],
            first: json!({"subnet_id": reference("subnet-nat", "id"), "allocation_id": reference("address3", "id")}),
            changed: Some(json!({"tags": {"team": "shop"}})),
            replaced: Some(json!({"allocation_id": reference("address4", "id")})),
        },
        Example {
            kind: "aws.network_interface",
            needs: vec![("vpc", vpc.clone()), ("subnet", subnet.clone())],
            first: json!({"subnet_id": reference("subnet", "id"), "description": "one"}),
            changed: Some(json!({"description": "other", "source_dest_check": false, "tags": {"team": "shop"}})),
            replaced: Some(json!({"private_ip_address": "10.9.1.77"})),
        },
        Example {
            kind: "aws.instance",
            needs: vec![("vpc", vpc), ("subnet", subnet)],
            first: json!({"instance_type": "t3.micro", "ami": "ami-0abcdef1234567890", "subnet_id": reference("subnet", "id")}),
            changed: Some(json!({"instance_type": "t3.small", "tags": {"team": "shop"}})),
            replaced: Some(json!({"ami": "ami-0123456789abcdef0"})),
        },
    ]
}

impl Example {
    /// The resource under test with these fields on top of the first ones.
    pub fn resource(&self, with: Option<&Value>) -> Value {
        let mut all = self.first.as_object().cloned().unwrap_or_default();
        all.extend(with.and_then(Value::as_object).cloned().unwrap_or_default());
        all.insert("$type".into(), json!(self.kind));
        Value::Object(all)
    }

    /// A project with what it needs and, when given, the resource itself under `it`.
    pub fn project(&self, it: Option<Value>) -> Value {
        let mut resources: Map<String, Value> =
            self.needs.iter().map(|(address, value)| ((*address).to_owned(), value.clone())).collect();
        resources.extend(it.map(|it| ("it".to_owned(), it)));
        json!({"name": "s", "resources": resources})
    }

    /// What can be done to it, each from one configuration to another.
    pub fn ways(&self) -> Vec<(&'static str, Value, Value)> {
        let with = |fields: Option<&Value>| self.project(Some(self.resource(fields)));
        let (none, first) = (self.project(None), with(None));
        let mut ways = vec![("create", none.clone(), first.clone()), ("delete", first.clone(), none)];
        ways.extend(self.changed.as_ref().map(|changed| ("update", first.clone(), with(Some(changed)))));
        ways.extend(self.replaced.as_ref().map(|replaced| ("replace", first, with(Some(replaced)))));
        ways
    }
}
