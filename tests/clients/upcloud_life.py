"""A life at UpCloud with the vendor's own Python client: `make`, `see`, `change`, `delete`."""

import json
import os
import sys
import time

from upcloud_api import CloudManager, FirewallRule, Server, Storage, login_user_block

manager = CloudManager(os.environ["UPCLOUD_USERNAME"], os.environ["UPCLOUD_PASSWORD"])
manager.api.api_root = os.environ["UPCLOUD_API_URL"]
DEBIAN = "01000000-0000-4000-8000-000020070100"


def wait(server, state):
    deadline = time.time() + 20
    while server.populate().state != state:
        assert time.time() < deadline, server.state
        time.sleep(0.05)


def networks():
    return [net for net in manager.get_networks() if net.type == "private"]


def floating():
    addresses = manager.api.get_request("/ip_address")["ip_addresses"]["ip_address"]
    return [one for one in addresses if one["floating"] == "yes"]


def rule(port):
    return FirewallRule(action="accept", direction="in", family="IPv4", protocol="tcp",
                        destination_port_start=port, destination_port_end=port)


def make(key):
    assert any(zone["id"] == "fi-hel1" for zone in manager.get_zones()["zones"]["zone"])
    net = manager.create_network(name="net", zone="fi-hel1", address="172.16.0.0/22", dhcp="yes", family="IPv4")
    data = manager.create_storage(zone="fi-hel1", size=10, title="data", tier="maxiops")
    deadline = time.time() + 20
    while manager.get_storage(data.uuid).state != "online":
        assert time.time() < deadline
        time.sleep(0.05)
    data = manager.modify_storage(data.uuid, 20, "data")
    login = login_user_block(username="me", ssh_keys=[key], create_password=False)
    server = manager.create_server(Server(
        plan="1xCPU-1GB", hostname="web.example.com", zone="fi-hel1", title="web", metadata=True, login_user=login,
        storage_devices=[Storage(os=DEBIAN, size=25)],
    ))
    wait(server, "started")
    server.add_firewall_rule(rule("22"))
    server.add_firewall_rule(rule("443"))
    server.configure_firewall([FirewallRule(action="drop", direction="in", family="IPv4")])
    manager.create_tag("prod", "in use", [server])
    address = server.add_ip()
    mac = manager.api.get_request(f"/server/{server.uuid}/networking")["networking"]["interfaces"]["interface"][0]["mac"]
    moving = manager.create_floating_ip("fi-hel1", mac)
    return {"net": net.uuid, "data": data.uuid, "web": server.uuid, "rules": server.uuid, "tag": "prod",
            "more": address.address, "moving": moving.address}


def see():
    servers = manager.get_servers(populate=True)
    seen = {"servers": [s.title for s in servers], "networks": [n.name for n in networks()],
            "tags": [tag.name for tag in manager.get_tags()]}
    for server in servers:
        seen["server"] = [server.hostname, server.plan, server.state]
        seen["addresses"] = sorted(f"{ip.access} {ip.family}" for ip in server.ip_addresses)
        seen["rules"] = [[r.position, r.action, r.destination_port_start] for r in server.get_firewall_rules()]
    seen["storages"] = [[s.title, s.size, s.tier] for s in manager.get_storages(storage_type="normal") if s.title == "data"]
    seen["floating"] = [[one["zone"], "server" in one, "mac" in one] for one in floating()]
    seen["tagged"] = [[tag.description, len(tag.servers)] for tag in manager.get_tags()]
    return seen


def change():
    server = manager.get_servers(populate=True)[0]
    manager.modify_server(server.uuid, title="theirs")
    manager.modify_network(networks()[0].uuid, dhcp="yes", family="IPv4", name="theirs")
    manager.modify_storage(next(s for s in manager.get_storages(storage_type="normal") if s.title == "data").uuid, 20, "theirs")
    server.get_firewall_rules()[0].destroy()
    manager.api.patch_request("/ip_address/" + floating()[0]["address"], {"ip_address": {"mac": None}})
    # Its modify_tag trips over the answer that its own request unwraps.
    tag = manager.get_tag("prod")
    tag.description = "theirs"
    tag.save()


def delete():
    for server in manager.get_servers(populate=True):
        server.shutdown(hard=True)
        wait(server, "stopped")
        # Its own disk stays: what import wrote attaches it again.
        manager.delete_server(server.uuid)
    for one in floating():
        manager.release_ip(one["address"])
    for storage in manager.get_storages(storage_type="normal"):
        if storage.title == "data":
            manager.delete_storage(storage.uuid)
    for net in networks():
        manager.delete_network(net.uuid)
    for tag in manager.get_tags():
        manager.delete_tag(tag.name)


print(json.dumps({"make": make, "see": see, "change": change, "delete": delete}[sys.argv[1]](*sys.argv[2:])))
