//! Owns `cargo xtask bench providers`: how many calls the clouds get, against the fewest there could be.

use super::Bench;
use super::engine::{Creates, project};
use super::run::Run;
use crate::{nu, process, workspace};
use std::fmt::Write;
use std::time::Duration;

/// A type, the fields of one, and how many of it a page of the vendor's list holds (docs of each list call).
const LISTED: [(&str, &str, usize); 3] = [
    ("hetzner.network", "ip_range = \"10.0.0.0/16\"", 50),
    ("upcloud.storage", "zone = \"fi-hel1\", size = 10", usize::MAX),
    ("aws.vpc", "cidr_block = \"10.0.0.0/16\"", 1000),
];
const SERVERS: [(&str, &str); 3] = [
    ("hetzner.server", "server_type = \"cx23\", image = \"debian-12\", location = \"hel1\""),
    ("upcloud.server", "zone = \"fi-hel1\", plan = \"1xCPU-1GB\""),
    ("aws.instance", "instance_type = \"t3.micro\", ami = \"ami-0abcdef1234567890\", subnet_id = p.ref \"sub\" \"id\""),
];

impl Bench {
    pub(super) fn providers(&self) -> Result<(), String> {
        let nu = nu::get()?;
        let plugins = workspace::plugins(self.build()?)?;
        let home = process::scratch()?;
        let run = Run { nu: &nu, plugins: &plugins, home: home.path(), path: "/usr/sbin:/usr/bin:/sbin:/bin".into() };
        for (kind, fields, page) in LISTED {
            let calls = in_sandbox(&run, kind, fields, 230, "provision plan | ignore")?;
            let bound = 230_usize.div_ceil(page);
            println!(
                "refresh of 230 {kind}: {} calls, the fewest are {bound}: {:.2}",
                calls.asked,
                ratio(calls.asked, bound)
            );
        }
        for (kind, fields) in SERVERS {
            let calls = in_sandbox(&run, kind, fields, 50, "")?;
            println!(
                "50 {kind}: {} calls to make them, {:.2} for each (3.00 at most)",
                calls.making,
                ratio(calls.making, 50)
            );
        }
        creates(&run)
    }
}

/// Calls that a cloud got.
struct Calls {
    /// While everything was made.
    making: usize,
    /// While the piece ran.
    asked: usize,
}

/// Makes so many of a type in a new sandbox, then runs a piece of Nushell.
fn in_sandbox(run: &Run<'_>, kind: &str, fields: &str, count: usize, piece: &str) -> Result<Calls, String> {
    let folder = project(run, &format!("{kind}-{count}"), &infra(kind, fields, count))?;
    let script = format!(
        "cd {folder}; load-env (provision sandbox start --hetzner-rate-limit 1000000 | get env); $env.AWS_REGION = \"eu-north-1\"; provision apply --yes --quiet --parallel 32 | ignore; let making = provision sandbox requests | length; {piece}; let all = provision sandbox requests | length; provision sandbox stop | ignore; {{making: $making, asked: ($all - $making)}} | to json --raw"
    );
    let found = run.json(&script)?;
    let number = |name: &str| found[name].as_u64().map_or(0, |number| number as usize);
    Ok(Calls { making: number("making"), asked: number("asked") })
}

/// How near many creates come to what latency and parallelism allow.
fn creates(run: &Run<'_>) -> Result<(), String> {
    const COUNT: usize = 500;
    const PARALLEL: usize = 32;
    const LATENCY: Duration = Duration::from_millis(200);
    let infra = infra("upcloud.router", "", COUNT);
    let Creates { took, calls } = super::engine::creates(run, "creates", &infra, PARALLEL, LATENCY)?;
    // The last round of calls is not full.
    let bound = COUNT.div_ceil(PARALLEL) as f64 * LATENCY.as_secs_f64();
    println!(
        "{COUNT} creates at 200 ms, {PARALLEL} in parallel: {took:.2} s and {calls} calls, the bound is {bound:.2} s: {:.2} of it",
        took / bound
    );
    Ok(())
}

/// So many of a type, and what it stands in.
fn infra(kind: &str, fields: &str, count: usize) -> String {
    let mut text = String::from("let p = import \"provision.ncl\" in {\n  name = \"bench\",\n  resources = {\n");
    if fields.contains("\"sub\"") {
        text.push_str("    net = p.aws.vpc & { cidr_block = \"10.0.0.0/16\" },\n");
        text.push_str("    sub = p.aws.subnet & { vpc_id = p.ref \"net\" \"id\", cidr_block = \"10.0.0.0/20\" },\n");
    }
    for at in 0..count {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    r{at} = p.{kind} & {{ {fields} }},");
    }
    text + "  },\n} | p.Infrastructure\n"
}

fn ratio(count: usize, bound: usize) -> f64 {
    count as f64 / bound.max(1) as f64
}
