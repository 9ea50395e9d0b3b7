//! Owns the life of each EC2 type in the sandbox, its errors, its deduplication and its pages.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use base64::Engine;
use common::{Sandbox, public_key, sandbox, until};

/// A VPC with one subnet and one security group.
fn ground(sandbox: &Sandbox) -> (String, String, String) {
    let vpc = sandbox.aws("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).is(200).tag("vpcId");
    let subnet = sandbox.aws("CreateSubnet", &[("VpcId", &vpc), ("CidrBlock", "10.0.1.0/24")]).is(200).tag("subnetId");
    let group = [("GroupName", "web"), ("GroupDescription", "web"), ("VpcId", vpc.as_str())];
    let group = sandbox.aws("CreateSecurityGroup", &group).is(200).tag("groupId");
    (vpc, subnet, group)
}

const RUN: [(&str, &str); 4] =
    [("ImageId", "ami-0abcdef1234567890"), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];

fn state(sandbox: &Sandbox, id: &str) -> String {
    let answer = sandbox.aws("DescribeInstances", &[("InstanceId.1", id)]).is(200);
    answer.tag("instanceState").split("<name>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

#[test]
fn only_a_true_signature_is_let_in() {
    let mut sandbox = sandbox();
    sandbox
        .send("POST", "/", &[], Some("Action=DescribeVpcs".to_owned()))
        .unwrap()
        .aws_refused(403, "MissingAuthenticationToken");
    let half = [("authorization", "AWS4-HMAC-SHA256 Credential=sandbox/x".to_owned())];
    sandbox.send("POST", "/", &half, Some(String::new())).unwrap().aws_refused(400, "IncompleteSignature");
    sandbox.aws("DescribeVpcs", &[]).is(200);
    sandbox.aws("LaunchRockets", &[]).aws_refused(400, "InvalidAction");
    sandbox.secret = "guess".to_owned();
    sandbox.aws("DescribeVpcs", &[]).aws_refused(403, "SignatureDoesNotMatch");
}

#[test]
fn a_region_sees_only_its_own() {
    let mut sandbox = sandbox();
    let (vpc, ..) = ground(&sandbox);
    sandbox.region = "us-east-1".to_owned();
    sandbox.aws("DescribeVpcs", &[("VpcId.1", &vpc)]).aws_refused(400, "InvalidVpcID.NotFound");
    assert!(sandbox.aws("DescribeVpcs", &[]).is(200).tags("vpcId").is_empty());
}

#[test]
fn a_key_pair_is_unique_by_name() {
    let sandbox = sandbox();
    let material = base64::engine::general_purpose::STANDARD.encode(public_key(1));
    let parameters = [
        ("KeyName", "me"),
        ("PublicKeyMaterial", material.as_str()),
        ("TagSpecification.1.ResourceType", "key-pair"),
        ("TagSpecification.1.Tag.1.Key", "op"),
        ("TagSpecification.1.Tag.1.Value", "x"),
    ];
    let made = sandbox.aws("ImportKeyPair", &parameters).is(200);
    assert!(made.tag("keyPairId").starts_with("key-0"));
    sandbox.aws("ImportKeyPair", &parameters).aws_refused(400, "InvalidKeyPair.Duplicate");
    let found = sandbox.aws("DescribeKeyPairs", &[("Filter.1.Name", "tag:op"), ("Filter.1.Value.1", "x")]).is(200);
    assert_eq!(found.tags("keyName"), ["me"]);
    sandbox.aws("DescribeKeyPairs", &[("KeyName.1", "you")]).aws_refused(400, "InvalidKeyPair.NotFound");
    assert!(sandbox.aws("CreateKeyPair", &[("KeyName", "you")]).is(200).tag("keyMaterial").contains("PRIVATE KEY"));
    sandbox
        .aws("ImportKeyPair", &[("KeyName", "bad"), ("PublicKeyMaterial", "AAAA")])
        .aws_refused(400, "InvalidKey.Format");
    for name in ["me", "you", "nobody"] {
        sandbox.aws("DeleteKeyPair", &[("KeyName", name)]).is(200);
    }
    assert_eq!(sandbox.count("aws", "key_pair"), 0);
}

#[test]
fn what_others_need_is_not_deleted() {
    let sandbox = sandbox();
    let (vpc, subnet, group) = ground(&sandbox);
    sandbox
        .aws("CreateSubnet", &[("VpcId", &vpc), ("CidrBlock", "10.0.1.128/25")])
        .aws_refused(400, "InvalidSubnet.Conflict");
    sandbox
        .aws("CreateSubnet", &[("VpcId", &vpc), ("CidrBlock", "10.9.0.0/24")])
        .aws_refused(400, "InvalidSubnet.Range");
    let again = [("GroupName", "web"), ("GroupDescription", "web"), ("VpcId", vpc.as_str())];
    sandbox.aws("CreateSecurityGroup", &again).aws_refused(400, "InvalidGroup.Duplicate");
    sandbox.aws("DeleteVpc", &[("VpcId", &vpc)]).aws_refused(400, "DependencyViolation");
    let mut run = RUN.to_vec();
    run.extend([("SubnetId", subnet.as_str()), ("SecurityGroupId.1", group.as_str())]);
    let instance = sandbox.aws("RunInstances", &run).is(200).tag("instanceId");
    sandbox.aws("DeleteSubnet", &[("SubnetId", &subnet)]).aws_refused(400, "DependencyViolation");
    sandbox.aws("DeleteSecurityGroup", &[("GroupId", &group)]).aws_refused(400, "DependencyViolation");
    sandbox.aws("TerminateInstances", &[("InstanceId.1", &instance)]).is(200);
    until(|| state(&sandbox, &instance) == "terminated");
    sandbox.aws("DeleteSubnet", &[("SubnetId", &subnet)]).is(200);
    sandbox.aws("DeleteSecurityGroup", &[("GroupId", &group)]).is(200);
    sandbox.aws("DeleteVpc", &[("VpcId", &vpc)]).is(200);
    sandbox.aws("DeleteVpc", &[("VpcId", &vpc)]).aws_refused(400, "InvalidVpcID.NotFound");
    for kind in ["vpc", "subnet", "security_group", "instance"] {
        assert_eq!(sandbox.count("aws", kind), 0, "{kind}");
    }
}

#[test]
fn attributes_of_vpc_and_subnet_can_be_set_and_read() {
    let sandbox = sandbox();
    let (vpc, subnet, _) = ground(&sandbox);
    let read = || {
        sandbox
            .aws("DescribeVpcAttribute", &[("VpcId", &vpc), ("Attribute", "enableDnsHostnames")])
            .is(200)
            .tag("value")
    };
    assert_eq!(read(), "false");
    sandbox.aws("ModifyVpcAttribute", &[("VpcId", &vpc), ("EnableDnsHostnames.Value", "true")]).is(200);
    assert_eq!(read(), "true");
    sandbox.aws("ModifySubnetAttribute", &[("SubnetId", &subnet), ("MapPublicIpOnLaunch.Value", "true")]).is(200);
    let shown = sandbox.aws("DescribeSubnets", &[("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &vpc)]).is(200);
    assert_eq!(
        (shown.tag("mapPublicIpOnLaunch").as_str(), shown.tag("availableIpAddressCount").as_str()),
        ("true", "251")
    );
    let mut run = RUN.to_vec();
    run.push(("SubnetId", &subnet));
    let id = sandbox.aws("RunInstances", &run).is(200).tag("instanceId");
    until(|| state(&sandbox, &id) == "running");
    let shown = sandbox.aws("DescribeInstances", &[("InstanceId.1", &id)]);
    assert!(shown.tag("ipAddress").starts_with("198.19."));
    assert_eq!(shown.tag("privateIpAddress"), "10.0.1.4");
}

#[test]
fn rules_are_added_found_and_revoked_one_by_one() {
    let sandbox = sandbox();
    let (.., group) = ground(&sandbox);
    let rule = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.1.2.3/8"),
        ("IpPermissions.1.IpRanges.1.Description", "tls"),
    ];
    let made = sandbox.aws("AuthorizeSecurityGroupIngress", &rule).is(200);
    assert_eq!(made.tag("cidrIpv4"), "10.0.0.0/8");
    sandbox.aws("AuthorizeSecurityGroupIngress", &rule).aws_refused(400, "InvalidPermission.Duplicate");
    let shown = sandbox.aws("DescribeSecurityGroups", &[("GroupId.1", &group)]).is(200);
    assert_eq!(shown.tag("fromPort"), "443");
    assert!(shown.tag("ipPermissionsEgress").contains("0.0.0.0/0"));
    let rules = sandbox
        .aws("DescribeSecurityGroupRules", &[("Filter.1.Name", "group-id"), ("Filter.1.Value.1", &group)])
        .is(200);
    assert_eq!(rules.tags("securityGroupRuleId").len(), 2);
    sandbox
        .aws(
            "RevokeSecurityGroupIngress",
            &[("GroupId", &group), ("SecurityGroupRuleId.1", &made.tag("securityGroupRuleId"))],
        )
        .is(200);
    sandbox.aws("RevokeSecurityGroupIngress", &rule).aws_refused(400, "InvalidPermission.NotFound");
    let everything = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    sandbox.aws("RevokeSecurityGroupEgress", &everything).is(200);
    let bad = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    sandbox.aws("AuthorizeSecurityGroupEgress", &bad).aws_refused(400, "InvalidParameterValue");
}

#[test]
fn a_client_token_makes_a_retry_the_same_and_a_changed_one_an_error() {
    let sandbox = sandbox();
    let (_, subnet, _) = ground(&sandbox);
    let mut run = RUN.to_vec();
    run.extend([
        ("SubnetId", subnet.as_str()),
        ("ClientToken", "op-1"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "web"),
    ]);
    let first = sandbox.aws("RunInstances", &run).is(200);
    let second = sandbox.aws("RunInstances", &run).is(200);
    assert_eq!(
        (first.tag("instanceId"), first.tag("reservationId")),
        (second.tag("instanceId"), second.tag("reservationId"))
    );
    let mut changed = run.clone();
    changed[1] = ("InstanceType", "t3.small");
    sandbox.aws("RunInstances", &changed).aws_refused(400, "IdempotentParameterMismatch");
    let found = sandbox.aws(
        "DescribeInstances",
        &[
            ("Filter.1.Name", "client-token"),
            ("Filter.1.Value.1", "op-1"),
            ("Filter.2.Name", "tag:Name"),
            ("Filter.2.Value.1", "w*"),
        ],
    );
    assert_eq!(found.is(200).tags("instanceId"), [first.tag("instanceId")]);
    run[5].1 = "op-2";
    assert_ne!(sandbox.aws("RunInstances", &run).is(200).tag("instanceId"), first.tag("instanceId"));
    assert_eq!(sandbox.count("aws", "instance"), 2);
}

#[test]
fn an_instance_is_stopped_changed_started_protected_and_terminated() {
    let sandbox = sandbox();
    let (_, subnet, group) = ground(&sandbox);
    let mut run = RUN.to_vec();
    run.extend([("SubnetId", subnet.as_str()), ("UserData", "aGVsbG8=")]);
    let id = sandbox.aws("RunInstances", &run).is(200).tag("instanceId");
    assert_eq!((id.len(), &id[..3]), (19, "i-0"));
    let one = [("InstanceId.1", id.as_str())];
    until(|| state(&sandbox, &id) == "running");
    let modify =
        |name: &str, value: &str| sandbox.aws("ModifyInstanceAttribute", &[("InstanceId", &id), (name, value)]);
    modify("InstanceType.Value", "t3.large").aws_refused(400, "IncorrectInstanceState");
    sandbox.aws("StopInstances", &one).is(200);
    sandbox.aws("StartInstances", &one).aws_refused(400, "IncorrectInstanceState");
    until(|| state(&sandbox, &id) == "stopped");
    modify("InstanceType.Value", "t9.huge").aws_refused(400, "InvalidInstanceAttributeValue");
    modify("InstanceType.Value", "t3.large").is(200);
    modify("GroupId.1", &group).is(200);
    modify("DisableApiTermination.Value", "true").is(200);
    sandbox.aws("StartInstances", &one).is(200);
    until(|| state(&sandbox, &id) == "running");
    let shown = sandbox.aws("DescribeInstances", &one);
    assert_eq!(shown.tag("instanceType"), "t3.large");
    assert!(shown.tag("groupSet").is_empty() && shown.text.contains(&group));
    let attribute = |name: &str| {
        sandbox.aws("DescribeInstanceAttribute", &[("InstanceId", &id), ("Attribute", name)]).is(200).tag("value")
    };
    assert_eq!((attribute("userData").as_str(), attribute("disableApiTermination").as_str()), ("aGVsbG8=", "true"));
    sandbox.aws("TerminateInstances", &one).aws_refused(400, "OperationNotPermitted");
    modify("DisableApiTermination.Value", "false").is(200);
    sandbox.aws("TerminateInstances", &one).is(200);
    until(|| state(&sandbox, &id) == "terminated");
    sandbox.aws("TerminateInstances", &one).is(200);
    assert_eq!(sandbox.count("aws", "instance"), 0);
}

#[test]
fn an_instance_that_cannot_be_is_refused() {
    let sandbox = sandbox();
    let (_, subnet, _) = ground(&sandbox);
    let mut good = RUN.to_vec();
    good.push(("SubnetId", &subnet));
    let cases = [
        (0, ("ImageId", "ami-XYZ"), "InvalidAMIID.Malformed"),
        (1, ("InstanceType", "t9.huge"), "InvalidParameterValue"),
        (2, ("KeyName", "nobody"), "MissingParameter"),
        (4, ("SubnetId", "subnet-0123456789abcdef0"), "InvalidSubnetID.NotFound"),
        (4, ("SubnetId", "net"), "InvalidSubnetID.Malformed"),
    ];
    for (at, pair, code) in cases {
        let mut run = good.clone();
        run[at] = pair;
        sandbox.aws("RunInstances", &run).aws_refused(400, code);
    }
    good.push(("KeyName", "nobody"));
    sandbox.aws("RunInstances", &good).aws_refused(400, "InvalidKeyPair.NotFound");
    good.push(("DryRun", "true"));
    sandbox.aws("RunInstances", &good).aws_refused(412, "DryRunOperation");
    assert_eq!(sandbox.count("aws", "instance"), 0);
}

#[test]
fn lists_come_in_pages_and_tags_can_be_changed() {
    let sandbox = sandbox();
    let (vpc, subnet, _) = ground(&sandbox);
    let mut run = RUN.to_vec();
    run.push(("SubnetId", &subnet));
    (run[2].1, run[3].1) = ("12", "12");
    let ids = sandbox.aws("RunInstances", &run).is(200).tags("instanceId");
    assert_eq!(ids.len(), 12);
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let mut page = vec![("MaxResults", "5")];
        if !token.is_empty() {
            page.push(("NextToken", &token));
        }
        let answer = sandbox.aws("DescribeInstances", &page).is(200);
        seen.extend(answer.tags("instanceId"));
        match answer.tags("nextToken").pop() {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(seen, ids);
    sandbox.aws("DescribeInstances", &[("MaxResults", "4")]).aws_refused(400, "InvalidParameterValue");
    sandbox
        .aws("DescribeInstances", &[("MaxResults", "5"), ("InstanceId.1", &ids[0])])
        .aws_refused(400, "InvalidParameterCombination");
    sandbox.aws("DescribeInstances", &[("NextToken", "zzz")]).aws_refused(400, "InvalidPaginationToken");
    sandbox
        .aws(
            "CreateTags",
            &[("ResourceId.1", &vpc), ("ResourceId.2", &ids[0]), ("Tag.1.Key", "env"), ("Tag.1.Value", "prod")],
        )
        .is(200);
    let found = sandbox.aws("DescribeTags", &[("Filter.1.Name", "key"), ("Filter.1.Value.1", "env")]).is(200);
    assert_eq!(found.tags("resourceType"), ["vpc", "instance"]);
    sandbox.aws("DeleteTags", &[("ResourceId.1", &vpc), ("Tag.1.Key", "env"), ("Tag.1.Value", "other")]).is(200);
    sandbox.aws("DeleteTags", &[("ResourceId.1", &ids[0]), ("Tag.1.Key", "env")]).is(200);
    assert_eq!(sandbox.aws("DescribeTags", &[]).tags("resourceId"), [vpc]);
    sandbox
        .aws("CreateTags", &[("ResourceId.1", &ids[0]), ("Tag.1.Key", "aws:x")])
        .aws_refused(400, "InvalidParameterValue");
}

#[test]
fn the_catalogues_answer() {
    let sandbox = sandbox();
    let images = sandbox.aws(
        "DescribeImages",
        &[("Owner.1", "amazon"), ("Filter.1.Name", "architecture"), ("Filter.1.Value.1", "arm64")],
    );
    assert_eq!(images.is(200).tags("imageId").len(), 1);
    assert!(sandbox.aws("DescribeRegions", &[]).is(200).tags("regionName").contains(&"eu-north-1".to_owned()));
    assert_eq!(sandbox.aws("DescribeAvailabilityZones", &[]).is(200).tags("zoneName").len(), 3);
    assert_eq!(
        sandbox.aws("DescribeInstanceTypes", &[("InstanceType.1", "t3.micro")]).is(200).tag("defaultVCpus"),
        "2"
    );
    assert!(
        sandbox.aws("DescribeAccountAttributes", &[]).is(200).tags("attributeName").contains(&"default-vpc".to_owned())
    );
}

#[test]
fn a_vpc_holds_on_while_gateways_tables_and_addresses_are_in_it() {
    let sandbox = sandbox();
    let (vpc, subnet, _) = ground(&sandbox);
    let gateway = sandbox.aws("CreateInternetGateway", &[]).is(200).tag("internetGatewayId");
    let attach = [("InternetGatewayId", gateway.as_str()), ("VpcId", vpc.as_str())];
    sandbox.aws("DetachInternetGateway", &attach).aws_refused(400, "Gateway.NotAttached");
    sandbox.aws("AttachInternetGateway", &attach).is(200);
    sandbox.aws("AttachInternetGateway", &attach).aws_refused(400, "Resource.AlreadyAssociated");
    sandbox.aws("DeleteInternetGateway", &attach[..1]).aws_refused(400, "DependencyViolation");
    let table = sandbox.aws("CreateRouteTable", &[("VpcId", &vpc)]).is(200).tag("routeTableId");
    let out = [("RouteTableId", table.as_str()), ("DestinationCidrBlock", "0.0.0.0/0"), ("GatewayId", &gateway)];
    sandbox.aws("ReplaceRoute", &out).aws_refused(400, "InvalidParameterValue");
    sandbox.aws("CreateRoute", &out).is(200);
    sandbox.aws("CreateRoute", &out).aws_refused(400, "RouteAlreadyExists");
    let used = [("RouteTableId", table.as_str()), ("SubnetId", subnet.as_str())];
    let own = sandbox.aws("AssociateRouteTable", &used).is(200).tag("associationId");
    sandbox.aws("AssociateRouteTable", &used).aws_refused(400, "Resource.AlreadyAssociated");
    sandbox.aws("DeleteRouteTable", &used[..1]).aws_refused(400, "DependencyViolation");
    let found = [("Filter.1.Name", "association.route-table-association-id"), ("Filter.1.Value.1", own.as_str())];
    assert_eq!(sandbox.aws("DescribeRouteTables", &found).tags("routeTableId")[0], table);
    // An address in use keeps its gateway, and is kept by what it points to.
    let interface = sandbox.aws("CreateNetworkInterface", &[("SubnetId", &subnet)]).tag("networkInterfaceId");
    let address = sandbox.aws("AllocateAddress", &[]).is(200).tag("allocationId");
    let point = [("AllocationId", address.as_str()), ("NetworkInterfaceId", interface.as_str())];
    let first = sandbox.aws("AssociateAddress", &point).is(200).tag("associationId");
    assert_eq!(sandbox.aws("AssociateAddress", &point).is(200).tag("associationId"), first);
    sandbox.aws("DetachInternetGateway", &attach).aws_refused(400, "DependencyViolation");
    sandbox.aws("ReleaseAddress", &point[..1]).aws_refused(400, "InvalidIPAddress.InUse");
    sandbox.aws("DeleteSubnet", &[("SubnetId", &subnet)]).aws_refused(400, "DependencyViolation");
    sandbox.aws("DisassociateAddress", &[("AssociationId", &first)]).is(200);
    sandbox.aws("DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]).is(200);
    sandbox.aws("DeleteVpc", &[("VpcId", &vpc)]).aws_refused(400, "DependencyViolation");
    // Its association goes with the subnet.
    sandbox.aws("DeleteSubnet", &[("SubnetId", &subnet)]).is(200);
    sandbox.aws("DeleteRouteTable", &[("RouteTableId", &table)]).is(200);
    // Without a gateway a public NAT gateway comes to nothing.
    sandbox.aws("DetachInternetGateway", &attach).is(200);
    let subnet = sandbox.aws("CreateSubnet", &[("VpcId", &vpc), ("CidrBlock", "10.0.2.0/24")]).tag("subnetId");
    let nat = sandbox.aws("CreateNatGateway", &[("SubnetId", &subnet), ("AllocationId", &address)]).tag("natGatewayId");
    let shown = || sandbox.aws("DescribeNatGateways", &[("NatGatewayId.1", &nat)]).is(200);
    until(|| shown().tag("state") == "failed");
    assert_eq!(shown().tag("failureCode"), "Gateway.NotAttached");
}

#[test]
fn a_volume_is_attached_once_and_is_free_when_its_instance_is_gone() {
    let sandbox = sandbox();
    let (_, subnet, _) = ground(&sandbox);
    let volume = [("AvailabilityZone", "eu-north-1a"), ("Size", "10"), ("VolumeType", "gp3"), ("ClientToken", "t")];
    let id = sandbox.aws("CreateVolume", &volume).is(200).tag("volumeId");
    assert_eq!(sandbox.aws("CreateVolume", &volume).is(200).tag("volumeId"), id);
    let other = [("AvailabilityZone", "eu-north-1a"), ("Size", "11"), ("VolumeType", "gp3"), ("ClientToken", "t")];
    sandbox.aws("CreateVolume", &other).aws_refused(400, "IdempotentParameterMismatch");
    sandbox.aws("CreateVolume", &[("AvailabilityZone", "x"), ("Size", "1")]).aws_refused(400, "InvalidZone.NotFound");
    let small = [("VolumeId", id.as_str()), ("Size", "5")];
    sandbox.aws("ModifyVolume", &small).aws_refused(400, "InvalidParameterValue");
    let instance = sandbox.aws("RunInstances", &[&RUN[..], &[("SubnetId", &subnet)]].concat()).tag("instanceId");
    until(|| state(&sandbox, &instance) == "running");
    let attach = [("VolumeId", id.as_str()), ("InstanceId", instance.as_str()), ("Device", "/dev/sdf")];
    until(|| sandbox.aws("DescribeVolumes", &[]).tag("status") == "available");
    sandbox.aws("AttachVolume", &attach).is(200);
    sandbox.aws("AttachVolume", &attach).aws_refused(400, "VolumeInUse");
    sandbox.aws("DeleteVolume", &attach[..1]).aws_refused(400, "VolumeInUse");
    sandbox.aws("TerminateInstances", &[("InstanceId.1", &instance)]).is(200);
    until(|| sandbox.aws("DescribeVolumes", &[]).tag("status") == "available");
    sandbox.aws("DetachVolume", &attach[..1]).aws_refused(400, "IncorrectState");
    sandbox.aws("DeleteVolume", &attach[..1]).is(200);
    until(|| sandbox.aws("DescribeVolumes", &[]).tags("volumeId").is_empty());
}

#[test]
fn the_root_volume_comes_and_goes_with_its_instance() {
    let sandbox = sandbox();
    let (_, subnet, _) = ground(&sandbox);
    let run = sandbox.aws("RunInstances", &[&RUN[..], &[("SubnetId", &subnet)]].concat());
    let instance = run.tag("instanceId");
    assert_eq!(run.tags("volumeId"), [] as [String; 0], "it is shown once it runs");
    until(|| state(&sandbox, &instance) == "running");
    let shown = sandbox.aws("DescribeInstances", &[]);
    let root = shown.tag("volumeId");
    assert_eq!(shown.tag("deviceName"), "/dev/xvda");
    assert_eq!(shown.tags("deleteOnTermination").last().unwrap(), "true");
    assert_eq!(sandbox.aws("DescribeVolumes", &[]).tag("status"), "in-use");
    let named = [("VolumeId", root.as_str())];
    sandbox.aws("DetachVolume", &named).aws_refused(400, "OperationNotPermitted");
    sandbox.aws("StopInstances", &[("InstanceId.1", &instance)]).is(200);
    until(|| state(&sandbox, &instance) == "stopped");
    sandbox.aws("DetachVolume", &named).is(200);
    until(|| sandbox.aws("DescribeVolumes", &[]).tag("status") == "available");
    sandbox.aws("StartInstances", &[("InstanceId.1", &instance)]).aws_refused(400, "IncorrectInstanceState");
    let attach = [("VolumeId", root.as_str()), ("InstanceId", instance.as_str()), ("Device", "/dev/xvda")];
    sandbox.aws("AttachVolume", &attach).is(200);
    until(|| sandbox.aws("DescribeInstances", &[]).tags("status").contains(&"attached".to_owned()));
    // Attached by hand, it stays when the instance goes, until that is said.
    let flags = sandbox.aws("DescribeInstances", &[]).tags("deleteOnTermination");
    assert_eq!(flags.last().unwrap(), "false");
    let keep = [
        ("InstanceId", instance.as_str()),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
    ];
    sandbox.aws("ModifyInstanceAttribute", &keep).is(200);
    sandbox.aws("TerminateInstances", &[("InstanceId.1", &instance)]).is(200);
    until(|| sandbox.aws("DescribeVolumes", &[]).tags("volumeId").is_empty());
}
