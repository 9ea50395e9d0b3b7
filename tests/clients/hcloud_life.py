"""A life at Hetzner with the vendor's own Python client: `make`, `see`, `change`, `delete`."""

import json
import os
import sys

from hcloud import Client
from hcloud.firewalls.domain import FirewallRule
from hcloud.images.domain import Image
from hcloud.load_balancer_types.domain import LoadBalancerType
from hcloud.load_balancers.domain import LoadBalancerAlgorithm, LoadBalancerService, LoadBalancerTarget
from hcloud.locations.domain import Location
from hcloud.networks.domain import NetworkSubnet
from hcloud.server_types.domain import ServerType

client = Client(os.environ["HCLOUD_TOKEN"], api_endpoint=os.environ["HCLOUD_ENDPOINT"], poll_interval=0.05)
KINDS = ["ssh_keys", "networks", "firewalls", "servers", "volumes", "load_balancers", "floating_ips"]


def rule(port):
    return FirewallRule(direction="in", protocol="tcp", port=port, source_ips=["0.0.0.0/0"])


def one(kind):
    return getattr(client, kind).get_all()[0]


def make(key):
    place = Location(name="hel1")
    pair = client.ssh_keys.create(name="me", public_key=key)
    subnet = NetworkSubnet(type="cloud", network_zone="eu-central", ip_range="10.0.1.0/24")
    net = client.networks.create(name="net", ip_range="10.0.0.0/16", subnets=[subnet])
    wall = client.firewalls.create(name="fw", rules=[rule("22")]).firewall
    made = client.servers.create(
        name="web", server_type=ServerType(name="cx23"), image=Image(name="debian-12"), location=place,
        ssh_keys=[pair], networks=[net], firewalls=[wall], labels={"env": "prod"},
    )
    for action in [made.action, *made.next_actions]:
        action.wait_until_finished()
    made.server.power_off().wait_until_finished()
    made.server.change_type(ServerType(name="cx33"), upgrade_disk=False).wait_until_finished()
    made.server.power_on().wait_until_finished()
    volume = client.volumes.create(name="data", size=10, server=made.server)
    for action in [volume.action, *volume.next_actions]:
        action.wait_until_finished()
    volume.volume.resize(20).wait_until_finished()
    balancer = client.load_balancers.create(
        name="lb", load_balancer_type=LoadBalancerType(name="lb11"), location=place,
        services=[LoadBalancerService(protocol="tcp", listen_port=80, destination_port=8080)],
    )
    balancer.action.wait_until_finished()
    target = LoadBalancerTarget(type="server", server=made.server, use_private_ip=False)
    balancer.load_balancer.add_target(target).wait_until_finished()
    address = client.floating_ips.create(type="ipv4", home_location=place, name="ip", description="x").floating_ip
    all = {"ip": address, "key": pair, "net": net, "fw": wall, "web": made.server, "data": volume.volume, "lb": balancer.load_balancer}
    return {address: str(thing.id) for address, thing in all.items()}


def see():
    seen = {kind: [it.name for it in getattr(client, kind).get_all()] for kind in KINDS}
    for server in client.servers.get_all():
        seen["server"] = [server.labels.get("env"), server.server_type.name, server.image.name, server.status]
        seen["nets"] = [net.network.name for net in server.private_net]
    for wall in client.firewalls.get_all():
        seen["rules"] = [[rule.port, rule.source_ips] for rule in wall.rules]
    for volume in client.volumes.get_all():
        seen["volume"] = [volume.size, volume.server.name]
    for balancer in client.load_balancers.get_all():
        seen["balancer"] = [balancer.algorithm.type, [service.listen_port for service in balancer.services]]
        seen["targets"] = [target.server.name for target in balancer.targets]
    return seen


def change():
    one("servers").update(labels={**one("servers").labels, "env": "theirs"})
    one("volumes").update(name="mine", labels=one("volumes").labels)
    one("networks").add_subnet(
        NetworkSubnet(type="cloud", network_zone="eu-central", ip_range="10.0.2.0/24")
    ).wait_until_finished()
    for action in one("firewalls").set_rules([rule("22"), rule("80")]):
        action.wait_until_finished()
    one("load_balancers").change_algorithm(LoadBalancerAlgorithm(type="least_connections")).wait_until_finished()


def delete():
    one("volumes").detach().wait_until_finished()
    client.volumes.delete(one("volumes"))
    client.load_balancers.delete(one("load_balancers"))
    client.servers.delete(one("servers")).wait_until_finished()
    for kind in ["floating_ips", "firewalls", "networks", "ssh_keys"]:
        getattr(client, kind).delete(one(kind))


print(json.dumps({"make": make, "see": see, "change": change, "delete": delete}[sys.argv[1]](*sys.argv[2:])))
