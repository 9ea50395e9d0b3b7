//! Owns `cargo xtask bench engine`: what a plan and an apply cost, beside Terraform where it is installed.

use super::Bench;
use super::run::{LIMIT, Run};
use crate::{nu, process, workspace};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Processor time in seconds and memory in MiB of this plugin, read where Nushell runs.
const USED: &str = "def used [] { let pid = plugin list | where name == provision | get 0.pid; let stat = open --raw $'/proc/($pid)/stat' | split row ') ' | last | split row ' '; {cpu: ((($stat.11 | into int) + ($stat.12 | into int)) / 100), peak: (open --raw $'/proc/($pid)/status' | lines | where $it =~ VmHWM | first | parse -r '(\\d+)' | first | get capture0 | into int | $in / 1024), written: (open --raw $'/proc/($pid)/io' | lines | where $it =~ '^write_bytes' | first | parse -r '(\\d+)' | get capture0.0 | into int)} }";

impl Bench {
    /// Half of the resources refer to another, in groups of ten.
    pub(super) fn engine(&self) -> Result<(), String> {
        let nu = nu::get()?;
        let plugins = workspace::plugins(self.build()?)?;
        let home = process::scratch()?;
        let run = Run { nu: &nu, plugins: &plugins, home: home.path(), path: "/usr/sbin:/usr/bin:/sbin:/bin".into() };
        self.beside_terraform(&run)?;
        durability(&run)?;
        one_among_many(&run, self.rows * 20)?;
        clouds(&run, self.rows * 2)?;
        throughput(&run)
    }

    /// Data that lives in the state alone, against Terraform's own.
    fn beside_terraform(&self, run: &Run<'_>) -> Result<(), String> {
        write(run.home, &local(self.rows))?;
        let script = format!(
            "{USED}; provision plan --target [r0] | ignore; let start = used; let plan = timeit {{ provision plan | length }}; let apply = timeit {{ provision apply --yes --quiet | length }}; let cold = used; let noop = timeit {{ provision plan | length }}; let end = used; {{plan: ($plan / 1sec), apply: ($apply / 1sec), noop: ($noop / 1sec), cpu: ($end.cpu - $cold.cpu), peak: $end.peak}} | to json --raw"
        );
        let ours = run.json(&script)?;
        println!("{} local.data: {}", self.rows, shown(&ours, &["plan", "apply", "noop", "cpu", "peak"]));
        let folder = run.home.join("terraform");
        std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let mut text = String::new();
        for at in 0..self.rows {
            let input = if at % 10 == 0 { at.to_string() } else { format!("terraform_data.r{}.id", at - 1) };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "resource \"terraform_data\" \"r{at}\" {{\n  input = {input}\n}}");
        }
        std::fs::write(folder.join("main.tf"), text).map_err(|error| error.to_string())?;
        let terraform = |arguments: &[&str]| -> Option<f64> {
            let mut command = Command::new("terraform");
            command.args(arguments).current_dir(&folder).env("CHECKPOINT_DISABLE", "1").env("HOME", run.home);
            let begun = Instant::now();
            let said = process::bounded(&mut command, LIMIT).ok()?;
            said.success.then(|| begun.elapsed().as_secs_f64())
        };
        if terraform(&["init", "-no-color"]).is_none() {
            println!("  terraform is not installed; without it there is no ratio");
            return Ok(());
        }
        let apply = terraform(&["apply", "-auto-approve", "-no-color"]);
        let noop = terraform(&["plan", "-no-color"]);
        if let (Some(apply), Some(noop)) = (apply, noop) {
            println!(
                "  terraform: apply {apply:.2} s ({:.1}x ours), no-op plan {noop:.2} s ({:.1}x ours)",
                apply / number(&ours["apply"]),
                noop / number(&ours["noop"]),
            );
        }
        Ok(())
    }
}

/// Waits for the disk, counted by strace where it is installed.
fn durability(run: &Run<'_>) -> Result<(), String> {
    let mut counts = Vec::new();
    for (name, count, parallel) in [("one", 1, 1), ("eleven", 11, 1), ("many", 320, 16)] {
        let folder = project(run, name, &local(count))?;
        let script = format!(
            "cd {folder}; provision plan | ignore; provision apply --yes --quiet --parallel {parallel} | ignore"
        );
        let inner = run.command(run.plugins, &script);
        let log = run.home.join(format!("{name}.log"));
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"]).arg(&log);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(run.home);
        process::secluded(&mut command, run.home).env("PATH", &run.path);
        match process::bounded(&mut command, LIMIT) {
            Ok(said) if said.success => {}
            _ => {
                println!("strace is not installed; the waits for the disk are not counted");
                return Ok(());
            }
        }
        let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        counts.push(text.lines().filter(|line| line.contains("sync(")).count() as f64);
    }
    println!(
        "waits for the disk: {:.1} for each operation alone, {:.2} for each at 16 in parallel; {:.0} for all the rest of an apply",
        (counts[1] - counts[0]) / 10.0,
        (counts[2] - counts[0]) / 319.0,
        counts[0] - (counts[1] - counts[0]) / 10.0,
    );
    Ok(())
}

/// What changing one resource writes, among a hundred and among many.
fn one_among_many(run: &Run<'_>, many: usize) -> Result<(), String> {
    let mut written = Vec::new();
    for count in [100, many] {
        let folder = project(run, &format!("among{count}"), &local(count))?;
        let script = format!(
            "{USED}; cd {folder}; provision apply --yes --quiet | length; let text = open --raw infra.ncl | str replace 'input = 0 ' 'input = -1 '; $text | save -f infra.ncl; let rows = provision plan --target [r0]; let start = used; let took = timeit {{ $rows | provision apply --quiet | ignore }}; {{written: ((used).written - $start.written), took: ($took / 1sec)}} | to json --raw"
        );
        let found = run.json(&script)?;
        println!("one change among {count}: {}", shown(&found, &["written", "took"]));
        written.push(number(&found["written"]));
    }
    println!("  bytes among many / among 100: {:.2}", written[1] / written[0].max(1.0));
    Ok(())
}

/// A plan that finds nothing to do, its list of the cloud included.
fn clouds(run: &Run<'_>, count: usize) -> Result<(), String> {
    let mut text = String::from("let p = import \"provision.ncl\" in {\n  name = \"bench\",\n  resources = {\n");
    for at in 0..count {
        let _ = writeln!(text, "    d{at} = p.upcloud.storage & {{ zone = \"fi-hel1\", size = 10 }},");
    }
    text.push_str("  },\n} | p.Infrastructure\n");
    let folder = project(run, "clouds", &text)?;
    let script = format!(
        "{USED}; cd {folder}; load-env (provision sandbox start | get env); let apply = timeit {{ provision apply --yes --quiet --parallel 32 | ignore }}; let start = used; let noop = timeit {{ provision plan | length }}; let end = used; let stop = provision sandbox stop; {{apply: ($apply / 1sec), noop: ($noop / 1sec), cpu: ($end.cpu - $start.cpu), peak: $end.peak}} | to json --raw"
    );
    let found = run.json(&script)?;
    println!("{count} storages in the sandbox: {}", shown(&found, &["apply", "noop", "cpu", "peak"]));
    Ok(())
}

/// How near an apply comes to what latency and parallelism allow.
fn throughput(run: &Run<'_>) -> Result<(), String> {
    const COUNT: usize = 320;
    const PARALLEL: usize = 16;
    const LATENCY: Duration = Duration::from_millis(200);
    let mut text = String::from("let p = import \"provision.ncl\" in {\n  name = \"bench\",\n  resources = {\n");
    for at in 0..COUNT {
        let _ = writeln!(
            text,
            "    v{at} = p.upcloud.network & {{ zone = \"fi-hel1\", ip_networks = [{{ address = \"10.{}.{}.0/24\", family = \"IPv4\", dhcp = true }}] }},",
            at / 250,
            at % 250
        );
    }
    text.push_str("  },\n} | p.Infrastructure\n");
    let Creates { took, calls } = creates(run, "through", &text, PARALLEL, LATENCY)?;
    let bound = calls / PARALLEL as f64 * LATENCY.as_secs_f64();
    println!(
        "{COUNT} creates at 200 ms, {PARALLEL} in parallel: {took:.2} s for {calls} calls, the bound is {bound:.2} s: {:.2} of it",
        bound / took,
    );
    Ok(())
}

/// What many creates took, in seconds, and how many calls they made.
pub(super) struct Creates {
    pub took: f64,
    pub calls: f64,
}

/// Makes what a project declares in a new sandbox that answers after so long.
pub(super) fn creates(
    run: &Run<'_>,
    name: &str,
    infra: &str,
    parallel: usize,
    latency: Duration,
) -> Result<Creates, String> {
    let folder = project(run, name, infra)?;
    let latency = latency.as_millis();
    let script = format!(
        "cd {folder}; load-env (provision sandbox start | get env); let rows = provision plan; let before = provision sandbox requests | length; provision sandbox faults --latency {latency}ms | ignore; let took = timeit {{ $rows | provision apply --quiet --parallel {parallel} | ignore }}; provision sandbox faults --latency 0ms | ignore; let calls = (provision sandbox requests | length) - $before; provision sandbox stop | ignore; {{took: ($took / 1sec), calls: $calls}} | to json --raw"
    );
    let found = run.json(&script)?;
    Ok(Creates { took: number(&found["took"]), calls: number(&found["calls"]) })
}

fn local(count: usize) -> String {
    let mut text = String::from("let p = import \"provision.ncl\" in\n{\n  name = \"bench\",\n  resources = {\n");
    for at in 0..count {
        let input = if at % 10 == 0 { at.to_string() } else { format!("p.ref \"r{}\" \"id\"", at - 1) };
        let _ = writeln!(text, "    r{at} = p.local.data & {{ input = {input} }},");
    }
    text.push_str("  },\n} | p.Infrastructure\n");
    text
}

pub(super) fn project(run: &Run<'_>, name: &str, infra: &str) -> Result<String, String> {
    let folder = run.home.join(name);
    std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
    write(&folder, infra)?;
    Ok(name.to_owned())
}

fn write(folder: &Path, infra: &str) -> Result<(), String> {
    std::fs::write(folder.join("infra.ncl"), infra).map_err(|error| error.to_string())
}

pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn shown(found: &Value, names: &[&str]) -> String {
    let parts = names.iter().map(|name| match *name {
        "peak" => format!("peak {:.0} MiB", number(&found["peak"])),
        "written" => format!("{:.0} bytes written", number(&found["written"])),
        name => format!("{name} {:.2} s", number(&found[name])),
    });
    parts.collect::<Vec<_>>().join(", ")
}
