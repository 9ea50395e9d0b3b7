//! Owns a team's state: in PostgreSQL, through the real `nu`, with the server going away in the middle.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_state::Postgres;
use provision_tests::contract::examples;
use provision_tests::postgres::{Server, drop_schema, fresh};
use provision_tests::simulated::{Death, Simulated};
use provision_tests::{Faults, PUBLIC_KEY, World};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn infra(servers: usize) -> String {
    format!(
        "let p = import \"provision.ncl\" in {{ name = \"s\", resources = {{\n\
         key = p.hetzner.ssh_key & {{ public_key = \"{PUBLIC_KEY}\" }},\n\
         web = p.each (std.array.generate (fun n => \"n%{{std.to_string n}}\") {servers}) (fun key => p.hetzner.server & {{ server_type = \"cx23\", image = \"debian-12\", ssh_keys = [p.ref \"key\" \"name\"] }}),\n\
         secret = p.local.data & {{ input = p.secret \"canary-pg\" }} }} }}"
    )
}

fn on(world: &mut World, url: &str) {
    world.env("PROVISION_STATE", Some(url));
}

#[test]
fn a_team_shares_a_state_and_its_key() {
    let Some(url) = fresh("team") else { return };
    let mut world = World::new().with_sandbox();
    on(&mut world, &url);
    world.write("infra.ncl", &infra(2));
    world.ok("provision plan | provision apply --reason team | ignore");
    assert!(!world.project().join(".provision/state.db").exists());
    assert_eq!(world.json("provision plan"), json!([]));
    assert_eq!(world.json("provision history | get reason"), json!(["team"]));
    assert_eq!(world.json("provision audit verify | get valid"), json!(true));
    // Somebody else, elsewhere, without the key and then with it.
    world.ok("mkdir elsewhere; cp infra.ncl elsewhere");
    world.fails("provision plan --project elsewhere").is(
        "provision::state::io",
        "the key of the state is gone",
        "Put the key back",
    );
    let key = world.ok("open .provision/identity.txt | lines | last");
    world.env("PROVISION_STATE_KEY", Some(&key));
    assert_eq!(world.json("provision plan --project elsewhere"), json!([]));
    world.env("PROVISION_STATE_KEY", Some("AGE-SECRET-KEY-WRONG"));
    let caught = world.fails("provision plan --project elsewhere");
    caught.is("provision::state::io", "no age identity", "AGE-SECRET-KEY-");
    assert!(!caught.msg.contains("WRONG"));
    world.env("PROVISION_STATE_KEY", None);
    world.fails("provision state backup").is("provision::state::no_backup", "its own backups", "");
    world.fails("provision state restore").is("provision::state::no_backup", "its own backups", "");
    // An environment has a schema of its own.
    assert_eq!(world.json("provision state list | length"), json!(4));
    world.ok("provision destroy --yes | ignore");
    assert_eq!(world.held(), 0);
}

#[test]
fn a_state_moves_from_a_file_into_a_database() {
    let Some(url) = fresh("moved") else { return };
    let mut world = World::new().with_sandbox();
    world.write("infra.ncl", &infra(1));
    world.ok("provision apply --yes | ignore");
    let lineage =
        world.json("provision state export | get tables.meta.rows | where {|row| $row.0 == lineage } | first | get 1");
    let script =
        format!("provision state export | with-env {{PROVISION_STATE: '{url}'}} {{ $in | provision state import }}");
    assert_eq!(world.json(&format!("{script} | get lineage")), lineage);
    on(&mut world, &url);
    assert_eq!(world.json("provision plan"), json!([]));
}

#[test]
fn a_server_that_restarts_in_mid_apply_is_waited_for() {
    let Some(mut server) = Server::own() else { return };
    let mut world = World::new().with_sandbox();
    let url = format!("{}?schema=shop&sslmode=disable", server.url);
    on(&mut world, &url);
    world.write("infra.ncl", &infra(12));
    world.faults(Faults { latency_ms: 40, ..Faults::default() });
    let mut command = world.command();
    command.args(["-c", "provision apply --yes --parallel 3 | where status == done | length"]);
    let nu = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while world.mutating().len() < 4 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.restart(Duration::from_secs(2));
    let said = nu.wait_with_output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{out}\n{error}");
    assert_eq!(out.trim(), "14");
    assert_eq!((world.held(), world.json("provision plan")), (13, json!([])));
    assert_eq!(world.json("provision audit verify | get valid"), json!(true));
    assert_eq!(world.json("provision recover"), json!([]));
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do_and_without_the_password() {
    let mut world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = 1 } }",
    );
    on(&mut world, "postgresql://ops:canary-pw@127.0.0.1:9/infra?sslmode=disable");
    let caught = world.fails("provision plan");
    caught.is("provision::state::unreachable", "cannot open the state", "reachable");
    assert!(!format!("{caught:?}").contains("canary-pw"));
    on(&mut world, "mysql://x");
    world.fails("provision plan").is("provision::config::invalid", "not a PostgreSQL URL", "postgresql://");
    on(&mut world, "postgresql://h/d?schema=Bad;drop");
    world.fails("provision plan").is("provision::config::invalid", "schema", "lower-case");
}

/// A server in between that says it cannot encrypt, and asks for the password in clear text; gives what it was told.
fn eavesdropper() -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut told = Vec::new();
            let mut buffer = [0; 1024];
            // Whoever asks for TLS is refused it; whoever goes on is asked for a cleartext password.
            for answer in [&b"N"[..], &[b'R', 0, 0, 0, 8, 0, 0, 0, 3], b""] {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => told.extend(&buffer[..length]),
                }
                let _ = stream.write_all(answer);
            }
            let _ = sender.send(told);
        }
    });
    (port, heard)
}

#[test]
fn nobody_in_between_gets_the_password_by_refusing_encryption() {
    let mut world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = 1 } }",
    );
    let (port, heard) = eavesdropper();
    for query in ["", "?schema=shop", "?sslmode=require", "?sslmode=verify-full"] {
        on(&mut world, &format!("postgresql://ops:canary-pw@127.0.0.1:{port}/infra{query}"));
        world.fails("provision plan").is("provision::state::insecure", "TLS", "sslmode=disable");
        let told = heard.recv_timeout(Duration::from_secs(10)).unwrap();
        // Eight bytes that ask for TLS, and nothing else: no user, no password.
        assert_eq!(told.len(), 8, "{}", String::from_utf8_lossy(&told));
    }
    on(&mut world, &format!("postgresql://ops:canary-pw@127.0.0.1:{port}/infra?sslmode=prefer"));
    world.fails("provision plan").is("provision::config::invalid", "sslmode=prefer", "verify-full");
}

#[test]
fn a_server_is_believed_when_a_trusted_certificate_vouches_for_its_name() {
    let Some((server, certificate)) = Server::with_tls() else { return };
    let mut world = World::new();
    world.write(
        "infra.ncl",
        "let p = import \"provision.ncl\" in { name = \"s\", resources.a = p.local.data & { input = 1 } }",
    );
    let trusted = format!("sslrootcert={}", certificate.display());
    on(&mut world, &format!("{}?schema=safe&{trusted}", server.url));
    world.ok("provision apply --yes | ignore");
    on(&mut world, &format!("{}?schema=safe&sslmode=verify-full&{trusted}", server.url));
    assert_eq!(world.json("provision state list | length"), json!(1));
    // The machine does not know it, and its certificate is for another name.
    on(&mut world, &format!("{}?schema=safe", server.url));
    world.fails("provision plan").is("provision::state::insecure", "certificate", "sslrootcert");
    on(&mut world, &format!("{}?schema=safe&{trusted}", server.url.replace("127.0.0.1", "localhost")));
    world.fails("provision plan").is("provision::state::insecure", "certificate", "sslrootcert");
}

/// What `tests/tests/simulation.rs` tries at every instant in memory, with the state on a server, at some of them;
/// `INSTANTS=all` tries them all.
#[test]
fn dead_at_any_instant_a_plain_apply_finishes_the_job_here_too() {
    if fresh("simulated").is_none() {
        return;
    }
    let every = if std::env::var("INSTANTS").is_ok_and(|it| it == "all") { 1 } else { 41 };
    let mut instants = 0;
    for example in examples() {
        for (way, before, after) in example.ways() {
            let what = format!("{way} of {}", example.kind);
            let memory = Simulated::new();
            memory.apply(&before, 1, None).1.unwrap_or_else(|error| panic!("{what}: {error}"));
            let (whole, done) = memory.apply(&after, 1, None);
            done.unwrap_or_else(|error| panic!("{what}: {error}"));
            let commits = (1..=whole.commits).flat_map(|at| [Death::BeforeCommit(at), Death::AfterCommit(at)]);
            let calls = (1..=whole.calls).flat_map(|at| [Death::BeforeCall(at), Death::AfterCall(at)]);
            for death in commits.chain(calls) {
                instants += 1;
                if instants % every != 0 {
                    continue;
                }
                let url = fresh(&format!("simulated{instants}")).unwrap();
                let world = Simulated::on(Box::new(Postgres::connect(&url, None, None).unwrap()));
                world.apply(&before, 1, None).1.unwrap();
                let (lived, _) = world.apply(&after, 1, Some(death));
                assert!(lived.died, "{what}, {death:?}: it lived on");
                let (_, done) = world.apply(&after, 2, None);
                done.unwrap_or_else(|error| panic!("{what}, {death:?}: {error}"));
                world.check(&after).unwrap_or_else(|error| panic!("{what}, {death:?}: {error}"));
                drop(world);
                drop_schema(&url);
            }
        }
    }
    assert!(instants > 1000, "{instants}");
}
