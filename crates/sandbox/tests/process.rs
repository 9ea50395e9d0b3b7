//! Owns the proof that a sandbox is a process of its own: started, asked, killed, started again, stopped.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

use clap::Parser;
use provision_sandbox::cli::{SandboxArgs, run};
use provision_sandbox::control::{self, Home, StartOptions};
use provision_sandbox::{Cloud, Faults};

#[derive(Parser)]
enum Service {
    Sandbox(SandboxArgs),
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("sandbox") => {
            let Service::Sandbox(args) = Service::parse();
            run(args).unwrap();
        }
        Some("--list") => println!("life_of_a_process: test"),
        _ => {
            life_of_a_process();
            println!("test life_of_a_process ... ok");
        }
    }
}

fn life_of_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home(folder.path().join("sandbox"));
    let binary = std::env::current_exe().unwrap();
    // Whatever goes wrong below, the process does not outlive this one.
    let options = StartOptions { exit_with_parent: Some(std::process::id()), ..StartOptions::default() };

    assert!(!control::status(&home).unwrap().running);
    assert_eq!(control::requests(&home).unwrap_err().code(), "provision::sandbox::not_running");
    assert!(!control::stop(&home).unwrap());
    let absent = control::start(&home, &folder.path().join("none"), &options).unwrap_err();
    assert_eq!(absent.code(), "provision::sandbox::failed");
    assert!(absent.first.help.is_some());

    let started = control::start(&home, &binary, &options).expect("starts");
    assert_eq!(started.env["HCLOUD_ENDPOINT"], format!("{}/v1", started.url));
    assert_eq!(started.env["AWS_ENDPOINT_URL"], started.url);
    assert_eq!(control::start(&home, &binary, &options).unwrap(), started, "a second start finds the first");

    make_network(&started.url);
    let status = control::status(&home).unwrap();
    let counts: Vec<_> =
        status.resources.iter().map(|one| (one.cloud.as_str(), one.kind.as_str(), one.count)).collect();
    assert_eq!(counts, [("hetzner", "network", 1)]);
    let requests = control::requests(&home).unwrap();
    assert_eq!((requests.len(), requests[0].cloud, requests[0].mutating), (1, Cloud::Hetzner, true));

    let wanted = Faults { latency_ms: 5, ..Faults::default() };
    assert_eq!(control::faults(&home, Some(wanted.clone())).unwrap(), wanted);
    assert_eq!(control::faults(&home, None).unwrap(), wanted);
    let refused = control::faults(&home, Some(Faults { error_rate: 7.0, ..Faults::default() })).unwrap_err();
    assert!(refused.first.message.contains("error_rate"));

    let pid = rustix::process::Pid::from_raw(i32::try_from(started.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while control::status(&home).unwrap().running {
        assert!(std::time::Instant::now() < end, "still running after kill -9");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let again = control::start(&home, &binary, &options).expect("starts after kill -9");
    assert_ne!(again.pid, started.pid);
    assert_eq!(control::status(&home).unwrap().resources, status.resources, "what was answered is there");
    control::reset(&home).unwrap();
    assert!(control::status(&home).unwrap().resources.is_empty());
    assert!(control::stop(&home).unwrap());
    assert!(!control::status(&home).unwrap().running);
}

fn make_network(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = r#"{"name": "a", "ip_range": "10.0.0.0/16"}"#;
    let request = client.post(format!("{url}/v1/networks")).header("authorization", "Bearer one");
    let answer = runtime.block_on(request.header("content-type", "application/json").body(body).send()).unwrap();
    assert_eq!(answer.status(), 201);
}
