//! Owns the proof that the vendors' own clients work against the sandbox: each lists what `provision apply` made, and
//! creates, lists and deletes something itself.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]

use provision_tests::{World, control, workspace};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `provisiond sandbox` on a port of its own, stopped when dropped, or the sandbox of a [`World`].
struct Sandbox {
    child: Option<Child>,
    url: String,
}

impl Sandbox {
    fn start() -> Self {
        let mut child = Command::new(provisiond())
            .args(["sandbox", "--action-duration", "50ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("provisiond starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child: Some(child), url: said["url"].as_str().unwrap().to_owned() }
    }

    /// The sandbox of a world, which stops it.
    fn of(world: &World) -> Self {
        let url = control::status(world.sandbox()).unwrap().url.expect("the world's sandbox runs");
        Self { child: None, url }
    }

    /// A program in an environment that knows the sandbox, dummy credentials, and no file of the user's.
    fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home.path())
            .env("LANG", "C.UTF-8")
            .env("NO_PROXY", "127.0.0.1")
            .env("SANDBOX_URL", &self.url)
            .env("HCLOUD_ENDPOINT", format!("{}/v1", self.url))
            .env("HCLOUD_TOKEN", "sandbox")
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_ACCESS_KEY_ID", "sandbox")
            .env("AWS_SECRET_ACCESS_KEY", "sandbox-secret")
            .env("AWS_DEFAULT_REGION", "eu-north-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        finish(child, program)
    }

    /// The same, and it must succeed; what it printed.
    #[track_caller]
    fn ok(&self, program: &Path, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {arguments:?}: {}\n{out}\n{err}", program.display(), output.status);
        out.trim().to_owned()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for at most two minutes, reading both outputs meanwhile.
fn finish(mut child: Child, program: &Path) -> Output {
    use std::io::Read;
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = from.read_to_end(&mut all);
            all
        })
    };
    let stdout = read(Box::new(child.stdout.take().unwrap()));
    let stderr = read(Box::new(child.stderr.take().unwrap()));
    let end = Instant::now() + Duration::from_secs(120);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{} did not end within two minutes", program.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// The service binary that was built beside this test: `<target>/<profile>/provisiond`.
fn provisiond() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("provisiond");
    assert!(binary.exists(), "{} is not built; run `cargo build --workspace` first", binary.display());
    binary
}

/// The client when it is installed. Where everything must run (`CI=true`) its absence is a failure.
fn client(path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is not installed", path.display());
    println!("left out: {} is not installed", path.display());
    None
}

fn python() -> Option<PathBuf> {
    client(workspace().join("target/clients/bin/python"))
}

/// A public key that opens nothing.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB vendor-clients";

#[test]
fn every_client_lists_what_apply_made() {
    let aws = client(PathBuf::from("/usr/bin/aws"));
    let (Some(hcloud), Some(aws), Some(python)) = (client(PathBuf::from("/usr/bin/hcloud")), aws, python()) else {
        return;
    };
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
    let sandbox = Sandbox::of(&world);

    let hetzner = |arguments: &[&str]| sandbox.ok(&hcloud, arguments);
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
        let endpoint = ["--endpoint-url", sandbox.url.as_str(), "--output", "text", "ec2"];
        sandbox.ok(&aws, &[&endpoint[..], &[command, "--query", query]].concat())
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
manager = CloudManager("sandbox", "sandbox-secret")
manager.api.api_root = os.environ["SANDBOX_URL"] + "/1.3"
print(*[s.uuid for s in manager.get_servers()])
print(*[n.uuid for n in manager.get_networks() if n.type == "private"])
print(*sorted(s.uuid for s in manager.get_storages(storage_type="normal")))
"#;
    let listed = sandbox.ok(&python, &["-c", script]);
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(listed[..2], [state("db", "id"), state("db_net", "id")]);
    // The other storage is the server's own disk, made by the cloud.
    let storages: Vec<&str> = listed[2].split(' ').collect();
    assert!(storages.len() == 2 && storages.contains(&state("db_disk", "id").as_str()), "{storages:?}");
}

#[test]
fn hcloud_makes_and_deletes_a_server_with_all_it_needs() {
    let Some(hcloud) = client(PathBuf::from("/usr/bin/hcloud")) else { return };
    let sandbox = Sandbox::start();
    let hcloud = |arguments: &[&str]| sandbox.ok(&hcloud, arguments);
    hcloud(&["ssh-key", "create", "--name", "me", "--public-key", KEY]);
    hcloud(&["network", "create", "--name", "net", "--ip-range", "10.0.0.0/16"]);
    hcloud(&[
        "network",
        "add-subnet",
        "net",
        "--type",
        "cloud",
        "--network-zone",
        "eu-central",
        "--ip-range",
        "10.0.1.0/24",
    ]);
    hcloud(&["firewall", "create", "--name", "fw"]);
    hcloud(&[
        "firewall",
        "add-rule",
        "fw",
        "--direction",
        "in",
        "--protocol",
        "tcp",
        "--port",
        "22",
        "--source-ips",
        "0.0.0.0/0",
    ]);
    let create = ["server", "create", "--name", "web", "--type", "cx22", "--image", "debian-12", "--location", "hel1"];
    hcloud(
        &[&create[..], &["--ssh-key", "me", "--network", "net", "--firewall", "fw", "--label", "env=prod"]].concat(),
    );
    let listed = hcloud(&["server", "list", "--selector", "env=prod", "-o", "columns=name,status,private_net,type"]);
    assert!(listed.contains("web") && listed.contains("running") && listed.contains("10.0.1.2"), "{listed}");
    hcloud(&["server", "poweroff", "web"]);
    hcloud(&["server", "change-type", "--keep-disk", "web", "cx32"]);
    hcloud(&["server", "poweron", "web"]);
    let server: Value = serde_json::from_str(&hcloud(&["server", "describe", "web", "-o", "json"])).unwrap();
    assert_eq!(
        (&server["server_type"]["name"], &server["primary_disk_size"]),
        (&Value::from("cx32"), &Value::from(40))
    );
    for (kind, name) in [("server", "web"), ("firewall", "fw"), ("network", "net"), ("ssh-key", "me")] {
        hcloud(&[kind, "delete", name]);
        assert!(!hcloud(&[kind, "list", "-o", "noheader"]).contains(name), "{kind} {name} is still there");
    }
}

#[test]
fn the_aws_cli_runs_and_terminates_an_instance() {
    let Some(aws) = client(PathBuf::from("/usr/bin/aws")) else { return };
    let sandbox = Sandbox::start();
    // Debian's version knows no AWS_ENDPOINT_URL and would call the real cloud without the flag.
    let ec2 = |arguments: &[&str]| {
        sandbox.ok(&aws, &[&["--endpoint-url", sandbox.url.as_str(), "--output", "text", "ec2"], arguments].concat())
    };
    let tags = "ResourceType=vpc,Tags=[{Key=env,Value=prod}]";
    let vpc = ec2(&["create-vpc", "--cidr-block", "10.0.0.0/16", "--tag-specifications", tags, "--query", "Vpc.VpcId"]);
    let subnet = ec2(&["create-subnet", "--vpc-id", &vpc, "--cidr-block", "10.0.1.0/24", "--query", "Subnet.SubnetId"]);
    let group = ec2(&[
        "create-security-group",
        "--group-name",
        "web",
        "--description",
        "web",
        "--vpc-id",
        &vpc,
        "--query",
        "GroupId",
    ]);
    ec2(&[
        "authorize-security-group-ingress",
        "--group-id",
        &group,
        "--protocol",
        "tcp",
        "--port",
        "22",
        "--cidr",
        "0.0.0.0/0",
    ]);
    let image = ["--image-id", "ami-0abcdef1234567890", "--instance-type", "t3.micro", "--count", "1"];
    let place = ["--subnet-id", &subnet, "--security-group-ids", &group, "--query", "Instances[0].InstanceId"];
    let instance = ec2(&[&["run-instances"], &image[..], &place[..]].concat());
    ec2(&["wait", "instance-running", "--instance-ids", &instance]);
    let listed =
        ec2(&["describe-instances", "--query", "Reservations[].Instances[].[InstanceId,State.Name,PrivateIpAddress]"]);
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), [instance.as_str(), "running", "10.0.1.4"]);
    let found = ec2(&["describe-vpcs", "--filters", "Name=tag:env,Values=prod", "--query", "Vpcs[].VpcId"]);
    assert_eq!(found, vpc);
    ec2(&["terminate-instances", "--instance-ids", &instance]);
    std::thread::sleep(Duration::from_millis(100));
    ec2(&["delete-security-group", "--group-id", &group]);
    ec2(&["delete-subnet", "--subnet-id", &subnet]);
    ec2(&["delete-vpc", "--vpc-id", &vpc]);
    assert_eq!(ec2(&["describe-vpcs", "--query", "Vpcs[].VpcId"]), "");
}

#[test]
fn boto3_runs_and_terminates_instances() {
    let Some(python) = python() else { return };
    let sandbox = Sandbox::start();
    let script = r#"
import boto3, time
ec2 = boto3.resource("ec2")
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")
vpc.wait_until_available()
subnet = vpc.create_subnet(CidrBlock="10.0.1.0/24")
tags = [{"ResourceType": "instance", "Tags": [{"Key": "env", "Value": "prod"}]}]
made = ec2.create_instances(ImageId="ami-0abcdef1234567890", InstanceType="t3.micro", MinCount=2, MaxCount=2,
    SubnetId=subnet.id, TagSpecifications=tags, UserData="hello")
found = list(ec2.instances.filter(Filters=[{"Name": "tag:env", "Values": ["prod"]}]))
assert {i.id for i in found} == {i.id for i in made}, found
assert made[0].describe_attribute(Attribute="userData")["UserData"]["Value"] == "aGVsbG8="
for instance in made:
    instance.terminate()
deadline = time.time() + 10
while any(i.state["Name"] != "terminated" for i in ec2.instances.all()):
    assert time.time() < deadline
    time.sleep(0.05)
subnet.delete()
vpc.delete()
assert list(ec2.vpcs.all()) == []
print("done")
"#;
    assert_eq!(sandbox.ok(&python, &["-c", script]), "done");
}

#[test]
fn upcloud_api_makes_and_deletes_a_server_a_network_and_a_storage() {
    let Some(python) = python() else { return };
    let sandbox = Sandbox::start();
    let script = r#"
import os, time
from upcloud_api import CloudManager, Server, Storage, login_user_block
manager = CloudManager("sandbox", "sandbox-secret")
manager.api.api_root = os.environ["SANDBOX_URL"] + "/1.3"
assert manager.get_account()["account"]["username"] == "sandbox"
assert any(zone["id"] == "fi-hel1" for zone in manager.get_zones()["zones"]["zone"])
network = manager.create_network(name="net", zone="fi-hel1", address="172.16.0.0/22", dhcp="yes", family="IPv4")
data = manager.create_storage(zone="fi-hel1", size=10, title="data", tier="maxiops")
login = login_user_block(username="me", ssh_keys=["ssh-ed25519 AAAA x"], create_password=False)
server = manager.create_server(Server(plan="1xCPU-1GB", hostname="web.example.com", zone="fi-hel1", title="web", metadata=True,
    login_user=login, storage_devices=[Storage(os="01000000-0000-4000-8000-000020070100", size=25)]))

def wait(state):
    deadline = time.time() + 10
    while True:
        server.populate()
        if server.state == state:
            return
        assert time.time() < deadline, server.state
        time.sleep(0.05)

wait("started")
assert [s.title for s in manager.get_servers()] == ["web"]
server.add_storage(data, type="disk", address="virtio")
assert sorted(s.title for s in manager.get_storages(storage_type="normal"))[0] == "data"
server.shutdown(hard=True)
wait("stopped")
manager.delete_server(server.uuid, delete_storages=True)
manager.delete_network(network.uuid)
assert manager.get_servers() == [] and manager.get_storages(storage_type="normal") == []
assert not any(n.type == "private" for n in manager.get_networks())
print("done")
"#;
    assert_eq!(sandbox.ok(&python, &["-c", script]), "done");
}
