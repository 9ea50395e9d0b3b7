//! Owns stopping: through the real `nu`, nothing goes on behind a prompt that came back, and the exit code tells.

#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_tests::{Faults, World};
use std::process::{Child, Command, Stdio};
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
fn after_ctrl_c_the_shell_comes_back_when_everything_is_settled_and_with_an_error() {
    for script in ["provision apply --yes --parallel 4", "provision apply --yes --parallel 4 | ignore"] {
        let world = World::new().with_sandbox();
        world.write("infra.ncl", &networks(40));
        world.faults(Faults { latency_ms: 300, ..Faults::default() });
        let mut shell = start(&world, script);
        soon("a change", || world.mutating().len() >= 6);
        interrupt(&shell);
        let (_, well) = end(&mut shell);
        let done = world.mutating().len();
        assert!(!well, "{script}: the exit code tells nothing");
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
