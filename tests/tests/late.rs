//! Owns requests that are still on their way when their process is dead: behind a proxy that holds them back, an apply right
//! after a `kill -9` makes nothing a second time.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::World;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long the proxy holds back what creates something.
const HELD: Duration = Duration::from_secs(9);
const RESOURCES: usize = 16;

/// One request, whole; `None` when the connection ends before it.
fn request(from: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let head = seen.windows(4).position(|four: &[u8]| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if seen.len() >= head + length.unwrap_or(0) {
                return Some(seen);
            }
        }
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(length) => seen.extend(&buffer[..length]),
        }
    }
}

/// A proxy that carries out everything it was sent, creates late, whoever still waits for the answer; it counts the creates.
fn proxy(cloud: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cloud = cloud.trim_start_matches("http://").to_owned();
    let creates = Arc::new(AtomicUsize::new(0));
    let count = creates.clone();
    std::thread::spawn(move || {
        for mut asking in listener.incoming().map_while(Result::ok) {
            let (cloud, count) = (cloud.clone(), count.clone());
            std::thread::spawn(move || {
                let sent = request(&mut asking)?;
                if sent.starts_with(b"POST ") {
                    count.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(HELD);
                }
                // One request for each connection, so that both sides know where it ends.
                let line = sent.windows(2).position(|two| two == b"\r\n")? + 2;
                let mut answering = TcpStream::connect(&cloud).ok()?;
                let sent = [&sent[..line], b"Connection: close\r\n", &sent[line..]].concat();
                answering.write_all(&sent).ok()?;
                let mut answer = Vec::new();
                answering.read_to_end(&mut answer).ok()?;
                let line = answer.windows(2).position(|two| two == b"\r\n")? + 2;
                asking.write_all(&[&answer[..line], b"connection: close\r\n", &answer[line..]].concat()).ok()
            });
        }
    });
    (url, creates)
}

/// A project of things whose names are free to repeat, behind the proxy.
fn behind_a_proxy() -> (World, Arc<AtomicUsize>) {
    let mut world = World::new().with_sandbox();
    let cloud = world.environment()["UPCLOUD_API_URL"].trim_end_matches("/1.3").to_owned();
    let (url, creates) = proxy(&cloud);
    world.env("UPCLOUD_API_URL", Some(&format!("{url}/1.3")));
    world.env("UPCLOUD_DEBUG_API_BASE_URL", Some(&url));
    // Longer than anything is held back.
    world.env("PROVISION_REQUEST_TIMEOUT", Some("12s"));
    world.declare(&format!(
        "db = p.each (std.array.generate (fun n => \"n%{{std.to_string n}}\") {RESOURCES}) \
         (fun key => p.upcloud.storage & {{ zone = \"fi-hel1\", size = 10, tier = \"maxiops\" }}),"
    ));
    (world, creates)
}

fn started(world: &World) -> Child {
    world.command().args(["-c", "provision apply --yes | ignore"]).spawn().unwrap()
}

fn kill(mut nu: Child, signal: &str) {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", nu.id())).unwrap();
    let is_ours = |pid: &&str| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("nu_plugin_provi"))
    };
    let plugin = children.split_whitespace().find(is_ours).unwrap();
    assert!(Command::new("kill").args([signal, plugin]).status().unwrap().success());
    let _ = nu.kill();
    let _ = nu.wait();
}

fn wait_for(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn exactly_what_is_declared(world: &World) {
    assert_eq!(world.held(), RESOURCES as u64);
    assert_eq!(world.json("provision plan | select address action"), json!([]));
    assert_eq!(world.json("provision recover"), json!([]));
}

#[test]
fn what_a_killed_process_sent_is_waited_for_and_made_once() {
    let (world, creates) = behind_a_proxy();
    let nu = started(&world);
    wait_for(|| creates.load(Ordering::SeqCst) >= RESOURCES);
    kill(nu, "-9");
    let waited = world.json("provision apply --yes | where status == waiting | get message | uniq");
    assert!(waited.to_string().contains("may arrive for another"), "{waited}");
    exactly_what_is_declared(&world);
}

#[test]
fn one_cloud_that_cannot_be_asked_hides_nothing_of_what_the_others_say() {
    let (mut world, creates) = behind_a_proxy();
    let infra = world.read("infra.ncl").replacen("resources = {", "resources = { net = p.hetzner.network & { ip_range = \"10.0.0.0/16\" },", 1);
    world.write("infra.ncl", &infra);
    // Its own proxy, so that it is open when the process dies.
    let cloud = world.environment()["HCLOUD_ENDPOINT"].trim_end_matches("/v1").to_owned();
    let (url, networks) = proxy(&cloud);
    world.env("HCLOUD_ENDPOINT", Some(&format!("{url}/v1")));
    let nu = started(&world);
    wait_for(|| creates.load(Ordering::SeqCst) + networks.load(Ordering::SeqCst) > 8 && networks.load(Ordering::SeqCst) > 0);
    kill(nu, "-9");
    let token = world.environment()["HCLOUD_TOKEN"].clone();
    world.env("HCLOUD_TOKEN", None);
    let said = world.nu("provision recover | each {|row| print $\"($row.address) ($row.outcome)\" } | ignore");
    assert!(said.stdout.contains("adopted") && said.stdout.contains("net in_doubt"), "{said:?}");
    assert!(!said.status.success() && said.stderr.contains("HCLOUD_TOKEN"), "{said:?}");
    world.env("HCLOUD_TOKEN", Some(&token));
    world.ok("provision apply --yes | ignore");
    assert_eq!(world.held(), RESOURCES as u64 + 1);
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn an_apply_that_is_stopped_while_it_waits_for_that_leaves_it_open() {
    let (world, creates) = behind_a_proxy();
    let nu = started(&world);
    wait_for(|| creates.load(Ordering::SeqCst) >= RESOURCES);
    kill(nu, "-9");
    // Ctrl-C while it is settled what became of them.
    let mut nu = started(&world);
    std::thread::sleep(Duration::from_secs(2));
    Command::new("kill").args(["-INT", &nu.id().to_string()]).status().unwrap();
    nu.wait().unwrap();
    wait_for(|| world.json("provision lock show") == json!([]));
    world.ok("provision apply --yes | ignore");
    exactly_what_is_declared(&world);
}
