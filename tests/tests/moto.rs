//! Owns that AWS is spoken to as somebody else reads its description: the example for AWS is applied to moto, changed there
//! with boto3, found, healed and destroyed.

use provision_tests::clients::{Moto, python};
use provision_tests::{World, workspace};
use serde_json::{Value, json};

/// What boto3 finds of the example, by kind.
const SEEN: &str = r#"
import boto3, json
ec2 = boto3.client("ec2")
ours = [{"Name": "tag:project", "Values": ["site"]}]
alive = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
there = {
    "vpcs": ec2.describe_vpcs(Filters=ours)["Vpcs"],
    "subnets": ec2.describe_subnets(Filters=ours)["Subnets"],
    "gateways": ec2.describe_internet_gateways(Filters=ours)["InternetGateways"],
    "tables": ec2.describe_route_tables(Filters=ours)["RouteTables"],
    "groups": ec2.describe_security_groups(Filters=ours)["SecurityGroups"],
    "keys": ec2.describe_key_pairs(Filters=ours)["KeyPairs"],
    "instances": [i for r in ec2.describe_instances(Filters=ours + alive)["Reservations"] for i in r["Instances"]],
    "volumes": ec2.describe_volumes(Filters=ours)["Volumes"],
    "addresses": ec2.describe_addresses(Filters=ours)["Addresses"],
    "nats": [n for n in ec2.describe_nat_gateways(Filter=ours)["NatGateways"] if n["State"] != "deleted"],
    "interfaces": ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"],
}
print(json.dumps({kind: len(all) for kind, all in there.items()}))
"#;

/// What somebody does behind our back: tags, rules, a description, and a route that is gone.
const MEDDLE: &str = r#"
import boto3, sys
vpc, web, wall, backend, routes = sys.argv[1:]
ec2 = boto3.client("ec2")
ec2.create_tags(Resources=[web], Tags=[{"Key": "tier", "Value": "other"}])
ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "project"}])
ec2.authorize_security_group_ingress(GroupId=wall, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
ec2.modify_network_interface_attribute(NetworkInterfaceId=backend, Description={"Value": "somebody's"})
ec2.delete_route(RouteTableId=routes, DestinationCidrBlock="0.0.0.0/0")
"#;

#[test]
fn the_example_for_aws_lives_and_is_healed_at_moto() {
    let (Some(python), Some(moto)) = (python(), Moto::start()) else { return };
    let mut world = World::new();
    world.env("AWS_ENDPOINT_URL", Some(&moto.url));
    world.env("AWS_ACCESS_KEY_ID", Some("moto")).env("AWS_SECRET_ACCESS_KEY", Some("moto"));
    world.env("AWS_DEFAULT_REGION", Some("eu-north-1"));
    world.write("infra.ncl", &std::fs::read_to_string(workspace().join("examples/aws/infra.ncl")).unwrap());
    let seen = || -> Value { serde_json::from_str(&world.client(&python, &["-c", SEEN])).unwrap() };

    let made = world.json("provision apply --yes | where status == done | length");
    assert_eq!(made, world.json("provision state list | length"));
    assert_eq!(world.json("provision plan --deep"), json!([]));
    let there = json!({"vpcs": 1, "subnets": 2, "gateways": 1, "tables": 2, "groups": 1, "keys": 1, "instances": 1,
        "volumes": 1, "addresses": 2, "nats": 1, "interfaces": 1});
    assert_eq!(seen(), there);

    let ids =
        world.json("[vpc web wall backend private_routes] | each {|it| provision state show $it | get remote_id }");
    let ids: Vec<&str> = ids.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    world.client(&python, &[&["-c", MEDDLE], &ids[..]].concat());
    let drift = world.json("provision drift | each {|it| [$it.address $it.path] } | sort");
    let expected = json!([
        ["backend", "description"],
        ["private_way", null],
        ["vpc", "tags.project"],
        ["wall", "ingress"],
        ["web", "tags.tier"]
    ]);
    assert_eq!(drift, expected);
    world.ok("provision heal | provision apply | collect | ignore");
    assert_eq!(world.json("provision drift"), json!([]));
    assert_eq!(world.json("provision plan --deep"), json!([]));
    assert_eq!(seen(), there);

    world.ok("provision destroy --yes | collect | ignore");
    assert_eq!(world.json("provision state list"), json!([]));
    // EC2 deletes a key pair by its id too; moto 5.2.5 reads the name alone, says that it did, and keeps the pair.
    let left = json!({"vpcs": 0, "subnets": 0, "gateways": 0, "tables": 0, "groups": 0, "keys": 1, "instances": 0,
        "volumes": 0, "addresses": 0, "nats": 0, "interfaces": 0});
    assert_eq!(seen(), left);
}
