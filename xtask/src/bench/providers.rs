//! Owns `cargo xtask bench providers`: how many calls the clouds get, against the fewest there could be.

use super::Bench;
use super::run::Run;
use crate::{nu, process, workspace};
use serde_json::Value;
use std::fmt::Write;

/// A type, the fields of one, and how many of it a page of the vendor's list holds (docs of each list call).
const LISTED: [(&str, &str, usize); 3] = [
    ("hetzner.network", "ip_range = \"10.0.0.0/16\"", 50),
    ("upcloud.storage", "zone = \"fi-hel1\", size = 10", usize::MAX),
    ("aws.vpc", "cidr_block = \"10.0.0.0/16\"", 1000),
];
const SERVERS: [(&str, &str); 3] = [
    ("hetzner.server", "server_type = \"cx22\", image = \"debian-12\", location = \"hel1\""),
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
    let folder = format!("{kind}-{count}");
    project(run, &folder, kind, fields, count)?;
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
    const LATENCY: f64 = 0.2;
    project(run, "creates", "upcloud.router", "", COUNT)?;
    let script = format!(
        "cd creates; load-env (provision sandbox start | get env); let rows = provision plan; let before = provision sandbox requests | length; provision sandbox faults --latency 200ms | ignore; let took = timeit {{ $rows | provision apply --quiet --parallel {PARALLEL} | ignore }}; provision sandbox faults --latency 0ms | ignore; let calls = (provision sandbox requests | length) - $before; provision sandbox stop | ignore; {{took: ($took / 1sec), calls: $calls}} | to json --raw"
    );
    let found: Value = run.json(&script)?;
    let (took, calls) = (found["took"].as_f64().unwrap_or(f64::NAN), found["calls"].as_f64().unwrap_or(f64::NAN));
    // The last round of calls is not full.
    let bound = (COUNT as f64 / PARALLEL as f64).ceil() * LATENCY;
    println!(
        "{COUNT} creates at 200 ms, {PARALLEL} in parallel: {took:.2} s and {calls} calls, the bound is {bound:.2} s: {:.2} of it",
        took / bound
    );
    Ok(())
}

fn project(run: &Run<'_>, folder: &str, kind: &str, fields: &str, count: usize) -> Result<(), String> {
    let mut text = String::from("let p = import \"provision.ncl\" in {\n  name = \"bench\",\n  resources = {\n");
    if fields.contains("\"sub\"") {
        text.push_str("    net = p.aws.vpc & { cidr_block = \"10.0.0.0/16\" },\n");
        text.push_str("    sub = p.aws.subnet & { vpc_id = p.ref \"net\" \"id\", cidr_block = \"10.0.0.0/20\" },\n");
    }
    for at in 0..count {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    r{at} = p.{kind} & {{ {fields} }},");
    }
    text.push_str("  },\n} | p.Infrastructure\n");
    let folder = run.home.join(folder);
    std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("infra.ncl"), text).map_err(|error| error.to_string())
}

fn ratio(count: usize, bound: usize) -> f64 {
    count as f64 / bound.max(1) as f64
}
