//! Owns `cargo xtask bench policy`: many rows through `policy authorize`, against the bare library that tries every
//! policy, against one official `cedar authorize` per row, and against a plugin that only passes rows on.

use super::Bench;
use super::run::Run;
use crate::{nu, peers, process, workspace};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ENTITIES: usize = 10_000;

/// Policies as an organisation writes them: most are about one team, one folder or one action.
fn policies(count: usize) -> String {
    let mut out = String::new();
    for at in 0..count {
        let effect = if at % 10 == 9 { "forbid" } else { "permit" };
        let scope = match at % 4 {
            0 => format!("principal in Team::\"t{}\", action == Action::\"view\", resource", at % 500),
            1 => format!("principal, action, resource in Folder::\"f{}\"", at % 500),
            2 => format!(
                "principal == User::\"u{}\", action in [Action::\"edit\", Action::\"view\"], resource",
                at % 500
            ),
            _ => format!("principal in Team::\"t{}\", action, resource in Folder::\"f{}\"", at % 500, at % 100),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{effect}({scope}) when {{ context.level > {} && resource.size < {} }};",
            at % 3,
            900 + at % 100
        );
    }
    out
}

fn entities() -> Value {
    let uid = |kind: &str, id: String| json!({"type": kind, "id": id});
    let mut rows = Vec::new();
    for at in 0..500 {
        rows.push(json!({"uid": uid("Team", format!("t{at}")), "attrs": {}, "parents": []}));
        rows.push(json!({"uid": uid("Folder", format!("f{at}")), "attrs": {}, "parents": []}));
    }
    for at in 0..(ENTITIES - 1000) / 2 {
        let parents = [uid("Team", format!("t{}", at % 500))];
        rows.push(json!({"uid": uid("User", format!("u{at}")), "attrs": {"level": at % 5}, "parents": parents}));
        let parents = [uid("Folder", format!("f{}", at % 500))];
        rows.push(json!({"uid": uid("Doc", format!("d{at}")), "attrs": {"size": at % 1000}, "parents": parents}));
    }
    Value::Array(rows)
}

fn requests(count: usize) -> Value {
    let rows = (0..count).map(|at| {
        let action = if at % 3 == 0 { "edit" } else { "view" };
        json!({
            "principal": format!("User::\"u{}\"", at * 7 % 4500),
            "action": format!("Action::\"{action}\""),
            "resource": format!("Doc::\"d{}\"", at * 13 % 4500),
            "context": {"level": at % 5, "mfa": true},
        })
    });
    rows.collect()
}

impl Bench {
    pub(super) fn policy(&self) -> Result<(), String> {
        let nu = nu::get()?;
        let official = peers::cedar_released()?;
        let profile = self.build()?;
        let built = workspace::target().join(profile);
        let plugins = vec![built.join("nu_plugin_policy"), built.join("examples/nu_plugin_echo")];
        let home = process::scratch()?;
        let write = |name: &str, text: String| {
            std::fs::write(home.path().join(name), text).map_err(|error| format!("{name}: {error}"))
        };
        write("p200.cedar", policies(200))?;
        write("p2000.cedar", policies(2000))?;
        write("entities.json", entities().to_string())?;
        write("rows.json", requests(self.rows.max(100_000)).to_string())?;
        write("some.json", requests(2000).to_string())?;
        let run = Run { nu: &nu, plugins: &plugins, home: home.path(), path: "/usr/bin:/bin".to_owned() };
        println!("profile {profile}; times are medians in ms\n");
        self.rows_per_second(&run)?;
        first_row(&run)?;
        memory(&run)?;
        library(&run, &built.join("examples/every_policy"))?;
        one_process(&official, home.path())
    }

    fn rows_per_second(&self, run: &Run<'_>) -> Result<(), String> {
        let setup = "let rows = (open rows.json); let half = ($rows | first (($rows | length) // 2))";
        let ask = |rows: &str, policies: &str| {
            format!("${rows} | policy authorize --policies {policies} --entities entities.json | length")
        };
        let (all, half) = (ask("rows", "p200.cedar"), ask("half", "p200.cedar"));
        let many = ask("rows", "p2000.cedar");
        let pieces = [
            ("authorize", all.as_str()),
            ("echo", "$rows | bench pass | length"),
            ("half", half.as_str()),
            ("policies_2000", many.as_str()),
        ];
        let medians = run.medians(5, setup, &pieces)?;
        let at = |name: &str| medians.get(name).copied().unwrap_or(f64::NAN);
        let rows = self.rows.max(100_000) as f64;
        println!("{rows} rows, 200 policies, {ENTITIES} entities");
        println!("  policy authorize           {:8.1}  {:.2} us a row", at("authorize"), at("authorize") * 1e3 / rows);
        println!(
            "  the same rows echoed       {:8.1}  authorize takes {:.2} of it",
            at("echo"),
            at("authorize") / at("echo")
        );
        println!("  half of the rows           {:8.1}  all take {:.2} of it", at("half"), at("authorize") / at("half"));
        println!(
            "  2000 policies              {:8.1}  {:.2} of 200",
            at("policies_2000"),
            at("policies_2000") / at("authorize")
        );
        Ok(())
    }
}

/// How soon the first row is out once policies and entities were read before.
fn first_row(run: &Run<'_>) -> Result<(), String> {
    let ask = "$rows | policy authorize --policies p200.cedar --entities entities.json | first";
    let medians = run.medians(9, "let rows = (open some.json)", &[("first", ask)])?;
    println!("  first row out, warm        {:8.1}", medians.get("first").copied().unwrap_or(f64::NAN));
    Ok(())
}

/// The plugin's memory after ever more rows, in MiB.
fn memory(run: &Run<'_>) -> Result<(), String> {
    let script = "let some = (open some.json); [50 500] | each {|times| \
        0..<$times | each { $some } | flatten | policy authorize --policies p200.cedar --entities entities.json | length | ignore; \
        ps -l | where name =~ nu_plugin_pol | get 0.mem | into int } | to json --raw";
    let sizes = run.json(script)?;
    let mib = |at: usize| sizes[at].as_f64().unwrap_or(f64::NAN) / f64::from(1 << 20);
    println!("  memory after 100 000 rows  {:8.1}  MiB; after 1 000 000 rows {:.1} MiB", mib(0), mib(1));
    Ok(())
}

/// The library alone, without Nushell, trying every policy on every request built from data.
fn library(run: &Run<'_>, program: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    let files = ["p200.cedar", "entities.json", "some.json"];
    command.args(files.map(|file| run.home.join(file)));
    let said = process::bounded(&mut command, Duration::from_secs(300))?;
    let micros: f64 = said.stdout.trim().parse().map_err(|_| format!("{}{}", said.stdout, said.stderr))?;
    println!("  the library's loop         {micros:8.2}  us a request over all 200 policies, without Nushell");
    Ok(())
}

/// One process of the official command for one row.
fn one_process(official: &Path, home: &Path) -> Result<(), String> {
    let row = requests(1)[0].clone();
    std::fs::write(home.join("row.json"), row.to_string()).map_err(|error| error.to_string())?;
    let mut times = Vec::new();
    for _ in 0..7 {
        let mut command = Command::new(official);
        command.current_dir(home).args(["authorize", "--policies", "p200.cedar", "--entities", "entities.json"]);
        command.args(["--request-json", "row.json"]);
        let started = Instant::now();
        // It exits with 2 for a deny.
        process::bounded(&mut command, Duration::from_secs(60))?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("  one `cedar authorize`      {:8.1}  ms for one row", times[times.len() / 2]);
    Ok(())
}
