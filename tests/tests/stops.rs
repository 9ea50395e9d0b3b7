//! Owns stopping: through the real `nu`, nothing goes on behind a prompt that came back, and the exit code tells.

#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_tests::{Faults, World};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn networks(count: usize) -> String {
    let one = |at: usize| format!("n{at} = p.hetzner.network & {{ ip_range = \"10.{at}.0.0/16\" }}");
    let all: Vec<String> = (0..count).map(one).collect();
    format!(
        "let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{ {} }} }} | p.Infrastructure",
        all.join(", ")
    )
}

/// Starts a script; what it says is not waited for, so that its end is the end of the shell alone.
fn start(world: &World, script: &str) -> Child {
    let mut command = world.command();
    command.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn interrupt(shell: &Child) {
    Command::new("/bin/kill").args(["-INT", &shell.id().to_string()]).status().unwrap();
}

/// How long the shell takes to end, and whether it says that all went well.
fn end(shell: &mut Child) -> (Duration, bool) {
    let begun = Instant::now();
    soon("the end of the shell", || shell.try_wait().unwrap().is_some());
    (begun.elapsed(), shell.wait().unwrap().success())
}

#[test]
fn after_ctrl_c_nothing_goes_on_behind_the_prompt_and_the_exit_code_tells() {
    for script in ["provision apply --yes --parallel 4", "provision apply --yes --parallel 4 | ignore"] {
        let world = World::new().with_sandbox();
        world.write("infra.ncl", &networks(40));
        world.faults(Faults { latency_ms: 300, ..Faults::default() });
        let mut shell = start(&world, script);
        soon("a change", || world.mutating().len() >= 6);
        interrupt(&shell);
        let (_, well) = end(&mut shell);
        assert!(!well, "{script}: the exit code tells nothing");
        // Ctrl-C while a row was on its way ends the shell itself: then this one waits.
        world.ok("provision state list | ignore");
        let done = world.mutating().len();
        assert!(done < 40, "{script}: it did not stop");
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(world.mutating().len(), done, "{script}: something was changed behind the prompt");
        assert_eq!(world.json("provision recover | length"), 0, "{script}: something was left open");
    }
}

#[test]
fn after_a_reader_that_stops_early_the_next_command_waits_and_says_so() {
    let world = World::new().with_sandbox();
    world.write("infra.ncl", &networks(40));
    world.faults(Faults { latency_ms: 700, ..Faults::default() });
    let script = "provision apply --yes --parallel 4 | where status == done | first 1 | ignore";
    let mut shell = start(&world, script);
    end(&mut shell);
    let said = world.nu("provision state list | length");
    let done = world.mutating().len();
    assert!(said.stderr.contains("waiting for the command before this one"), "{}", said.stderr);
    assert!(done < 40, "it did not stop: {done}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.mutating().len(), done, "something was changed behind the prompt");
    assert_eq!(world.json("provision recover | length"), 0, "something was left open");
}

/// A hetzner cloud that has nothing, and says a space a second to whoever asks it for what is `slow`; whether it was asked.
fn slow_cloud(slow: &'static str) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicBool::new(false));
    let seen = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let seen = seen.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if !buffer[..length].starts_with(slow.as_bytes()) {
                        let body = r#"{"networks": [], "meta": {"pagination": {"next_page": null}}}"#;
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                        let _ = stream.write_all(format!("{head}{body}").as_bytes());
                        continue;
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
                    seen.store(true, Ordering::SeqCst);
                    while stream.write_all(b" ").is_ok() {
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
            });
        }
    });
    (url, asked)
}

#[test]
fn a_second_ctrl_c_leaves_what_is_in_flight_to_the_next_apply() {
    let mut world = World::new().with_sandbox();
    world.write("infra.ncl", &networks(2));
    let cloud = world.environment()["HCLOUD_ENDPOINT"].clone();
    let (url, asked) = slow_cloud("POST");
    world.env("HCLOUD_ENDPOINT", Some(&url));
    // Nothing is drawn: a Ctrl-C while the shell draws a row ends the shell itself, which docs/crash.md tells.
    let mut shell = start(&world, "provision apply --yes | ignore");
    soon("a change", || asked.load(Ordering::SeqCst));
    std::thread::sleep(Duration::from_millis(500));
    interrupt(&shell);
    std::thread::sleep(Duration::from_millis(500));
    assert!(shell.try_wait().unwrap().is_none(), "the first one did not wait for what is in flight");
    interrupt(&shell);
    let (took, well) = end(&mut shell);
    assert!(took < Duration::from_secs(5), "it waited for an answer: {took:?}");
    assert!(!well, "the exit code tells nothing");
    world.env("HCLOUD_ENDPOINT", Some(&cloud));
    world.ok("provision apply --yes | ignore");
    assert_eq!((world.held(), world.json("provision plan | length")), (2, 0.into()));
}

#[test]
fn a_slow_answer_is_interrupted_at_once() {
    let mut world = World::new().with_sandbox();
    world.write("infra.ncl", &networks(1));
    world.ok("provision apply --yes | ignore");
    let (url, asked) = slow_cloud("GET");
    world.env("HCLOUD_ENDPOINT", Some(&url));
    for script in ["provision plan | ignore", "provision recover | ignore"] {
        asked.store(false, Ordering::SeqCst);
        let mut shell = start(&world, script);
        soon("the call", || asked.load(Ordering::SeqCst));
        interrupt(&shell);
        let (took, well) = end(&mut shell);
        assert!(took < Duration::from_secs(3), "{script}: it waited for the answer: {took:?}");
        assert!(!well, "{script}: the exit code tells nothing");
    }
}
