"""A life at AWS with boto3: `make`, `see`, `change`, `delete`."""

import base64
import json
import sys

import boto3

client = boto3.client("ec2")
ec2 = boto3.resource("ec2")
ALIVE = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]


def tags(kind, **tags):
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def wait(what, **ids):
    client.get_waiter(what).wait(**ids, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})


def make(key):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags("vpc", Name="net", env="prod"))
    vpc.wait_until_available()
    subnet = vpc.create_subnet(CidrBlock="10.0.1.0/24", AvailabilityZone="eu-north-1a",
                               TagSpecifications=tags("subnet", Name="net"))
    group = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc.id)
    group.authorize_ingress(IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0")
    pair = client.import_key_pair(KeyName="me", PublicKeyMaterial=key.encode())
    instance = ec2.create_instances(
        ImageId="ami-0abcdef1234567890", InstanceType="t3.micro", MinCount=1, MaxCount=1, KeyName="me",
        SubnetId=subnet.id, SecurityGroupIds=[group.id], UserData="hello",
        TagSpecifications=tags("instance", Name="web", env="prod"),
    )[0]
    wait("instance_running", InstanceIds=[instance.id])
    assert instance.describe_attribute(Attribute="userData")["UserData"]["Value"] == base64.b64encode(b"hello").decode()
    instance.stop()
    wait("instance_stopped", InstanceIds=[instance.id])
    instance.modify_attribute(InstanceType={"Value": "t3.small"})
    instance.start()
    wait("instance_running", InstanceIds=[instance.id])
    volume = ec2.create_volume(AvailabilityZone="eu-north-1a", Size=10, VolumeType="gp3",
                               TagSpecifications=tags("volume", Name="data"))
    wait("volume_available", VolumeIds=[volume.id])
    client.modify_volume(VolumeId=volume.id, Size=20)
    volume.attach_to_instance(InstanceId=instance.id, Device="/dev/sdf")
    wait("volume_in_use", VolumeIds=[volume.id])
    return {"vpc": vpc.id, "subnet": subnet.id, "wall": group.id, "key": pair["KeyPairId"], "web": instance.id,
            "data": volume.id, "use": f"{volume.id},{instance.id},/dev/sdf"}


def of(thing, key="Name"):
    return next((tag["Value"] for tag in thing.tags or [] if tag["Key"] == key), None)


def see():
    return {
        "vpcs": [[vpc.cidr_block, of(vpc, "env")] for vpc in ec2.vpcs.all()],
        "subnets": [[subnet.cidr_block, of(subnet)] for subnet in ec2.subnets.all()],
        "groups": [[group.group_name, [rule["FromPort"] for rule in group.ip_permissions]]
                   for group in ec2.security_groups.all() if group.group_name != "default"],
        "keys": [pair.key_name for pair in ec2.key_pairs.all()],
        "instances": [[of(it), of(it, "env"), it.instance_type, it.state["Name"], it.key_name,
                       [group["GroupName"] for group in it.security_groups]] for it in ec2.instances.filter(Filters=ALIVE)],
        "volumes": [[of(it), it.size, it.volume_type, [use["Device"] for use in it.attachments]] for it in data()],
    }


def data():
    """The volumes that are no part of an instance."""
    return [it for it in ec2.volumes.all() if not any(use["DeleteOnTermination"] for use in it.attachments)]


def change():
    instance = next(iter(ec2.instances.filter(Filters=ALIVE)))
    group = next(group for group in ec2.security_groups.all() if group.group_name == "web")
    group.authorize_ingress(IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    vpc, volume = next(iter(ec2.vpcs.all())), next(iter(data()))
    ec2.create_tags(Resources=[instance.id, vpc.id], Tags=[{"Key": "env", "Value": "theirs"}])
    ec2.create_tags(Resources=[volume.id], Tags=[{"Key": "Name", "Value": "theirs"}])


def delete():
    for instance in ec2.instances.filter(Filters=ALIVE):
        instance.terminate()
        wait("instance_terminated", InstanceIds=[instance.id])
    for volume in data():
        wait("volume_available", VolumeIds=[volume.id])
        volume.delete()
        wait("volume_deleted", VolumeIds=[volume.id])
    for pair in ec2.key_pairs.all():
        pair.delete()
    for group in ec2.security_groups.all():
        if group.group_name != "default":
            group.delete()
    for subnet in ec2.subnets.all():
        subnet.delete()
    for vpc in ec2.vpcs.all():
        vpc.delete()


print(json.dumps({"make": make, "see": see, "change": change, "delete": delete}[sys.argv[1]](*sys.argv[2:])))
