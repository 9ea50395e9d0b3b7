//! Owns `cargo xtask bench nickel`: the plugin against the official command, as a user calls either from Nushell, and
//! against a plugin that only echoes. Every figure is a ratio of medians taken in turns in one run.

use super::Bench;
use super::run::{LIMIT, Run};
use crate::{nu, peers, process, workspace};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Records of the kind infrastructure is made of, each checked by a contract or plain.
fn program(records: usize, checked: bool) -> String {
    let (tag, contract) = (0, if checked { " | Server" } else { "" });
    let mut out =
        format!("let Server = {{ name | String, size | Number, zone | String, tags | Array String }} in\n# {tag}\n[\n");
    for at in 0..records {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  {{ name = \"node-{at}\", size = {}, zone = \"hel1\", tags = [\"a\", \"b{tag}\"] }}{contract},",
            at % 7
        );
    }
    out.push_str("]\n");
    out
}

fn kind(checked: bool) -> &'static str {
    if checked { "with contract" } else { "plain records" }
}

impl Bench {
    pub(super) fn nickel(&self) -> Result<(), String> {
        let nu = nu::get()?;
        let official = peers::nickel_released()?;
        let profile = self.build()?;
        let built = workspace::target().join(profile);
        let plugins = vec![built.join("nu_plugin_nickel"), built.join("examples/nu_plugin_echo")];
        let home = process::scratch()?;
        let folder = official.parent().map(Path::to_path_buf).unwrap_or_default();
        let path = format!("{}:/usr/bin:/bin", folder.display());
        let run = Run { nu: &nu, plugins: &plugins, home: home.path(), path };
        println!("profile {profile}; times are medians in ms\n");
        self.unchanged(&run)?;
        self.changed(&run)?;
        self.validate(&run)?;
        self.start(&run)
    }

    fn unchanged(&self, run: &Run<'_>) -> Result<(), String> {
        println!("unchanged file      official    plugin      echo   official/plugin   plugin/echo");
        let sizes = [(100, false, 60), (100, true, 60), (5000, false, 15), (5000, true, 15), (20_000, false, 7)];
        for (records, checked, rounds) in sizes {
            std::fs::write(run.home.join("f.ncl"), program(records, checked)).map_err(|error| error.to_string())?;
            let setup = "^nickel export f.ncl | save -f f.json";
            let file = run.home.join("f.json");
            let echo = format!("bench echo '{}'", file.display());
            let pieces =
                [("official", "^nickel export f.ncl | from json"), ("plugin", "nickel eval f.ncl"), ("echo", &echo)];
            run.json(&format!("{setup}; 'null'"))?;
            let medians = run.medians(rounds, "null", &pieces)?;
            let (official, plugin, echo) = (medians["official"], medians["plugin"], medians["echo"]);
            println!(
                "{records:>6} {}{official:>9.2} {plugin:>9.2} {echo:>9.2}   {:>14.1}x   {:>5.2} ({:+.2} ms over 1.3x)",
                kind(checked),
                official / plugin,
                plugin / echo,
                plugin - 1.3 * echo
            );
        }
        println!();
        Ok(())
    }

    fn changed(&self, run: &Run<'_>) -> Result<(), String> {
        println!("changed file        official    plugin   official/plugin");
        for (records, checked, rounds) in
            [(1, true, 40), (100, false, 40), (100, true, 40), (5000, false, 9), (5000, true, 9)]
        {
            let (before, after) = program(records, checked)
                .split_once("# 0")
                .map_or_else(Default::default, |(a, b)| (a.to_owned(), b.to_owned()));
            std::fs::write(run.home.join("before"), before).map_err(|error| error.to_string())?;
            std::fs::write(run.home.join("after"), after).map_err(|error| error.to_string())?;
            let setup = "$\"(open --raw before)# (random int)(open --raw after)\" | save -f c.ncl";
            let pieces = [("official", "^nickel export c.ncl | from json"), ("plugin", "nickel eval c.ncl")];
            let medians = run.medians(rounds, setup, &pieces)?;
            let (official, plugin) = (medians["official"], medians["plugin"]);
            println!("{records:>6} {}{official:>9.2} {plugin:>9.2}   {:>14.1}x", kind(checked), official / plugin);
        }
        println!();
        Ok(())
    }

    fn validate(&self, run: &Run<'_>) -> Result<(), String> {
        let contract = "{ name | String, size | Number, zone | String | default = \"hel1\", tags | Array String }";
        std::fs::write(run.home.join("contract.ncl"), contract).map_err(|error| error.to_string())?;
        let rows = |count: usize| format!("1..{count} | each {{|n| {{name: $'node-($n)', size: $n, tags: [a]}} }}");
        let whole =
            format!("timeit {{ {} | nickel validate contract.ncl | length }} | $in / 1ns | to json", rows(100_000));
        let one = "timeit { 1..200 | each {|n| $\"{name = \\\"node-($n)\\\", size = ($n), tags = [\\\"a\\\"]} | \\(import \\\"contract.ncl\\\")\" | nickel eval } | length } | $in / 1ns | to json";
        let whole = run.json(&whole)?.as_f64().unwrap_or_default() / 1e9;
        let one = run.json(one)?.as_f64().unwrap_or_default() / 1e9;
        let (fast, slow) = (100_000.0 / whole, 200.0 / one);
        println!(
            "nickel validate     {fast:>9.0} rows/s   one evaluation per row {slow:>7.0} rows/s   {:.0}x",
            fast / slow
        );
        for count in [10_000, 100_000, 1_000_000] {
            let script = format!("{} | nickel validate contract.ncl | length", rows(count));
            let peak = peak_memory(&mut run.command(run.plugins, &script))?;
            println!("  {count:>9} rows   peak memory of the plugin and its evaluator {:>7.1} MB", peak as f64 / 1e6);
        }
        println!();
        Ok(())
    }

    /// What a registered plugin costs where it is not used, and what its first call costs.
    fn start(&self, run: &Run<'_>) -> Result<(), String> {
        let time = |plugins: &[PathBuf], script: &str| -> Result<f64, String> {
            let mut times = Vec::new();
            for _ in 0..30 {
                let mut command = run.command(plugins, script);
                let began = Instant::now();
                process::bounded(&mut command, LIMIT)?;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            Ok(times[times.len() / 2])
        };
        // Registered as a user has it: through a file, which does not spawn the plugin.
        let registry = run.home.join("plugins.msgpackz");
        let mut add = std::process::Command::new(run.nu);
        let register = format!("plugin add --plugin-config '{0}' '{1}'", registry.display(), run.plugins[0].display());
        add.args(["-n", "--no-std-lib", "-c", &register]).current_dir(run.home);
        process::output(process::secluded(&mut add, run.home))?;
        let with = |script: &str| -> Result<f64, String> {
            let mut times = Vec::new();
            for _ in 0..30 {
                let mut command = std::process::Command::new(run.nu);
                command.args(["-n", "--no-std-lib", "--plugin-config"]).arg(&registry).args(["-c", script]);
                command.current_dir(run.home);
                process::secluded(&mut command, run.home).env("PATH", &run.path);
                let began = Instant::now();
                let said = process::bounded(&mut command, LIMIT)?;
                if !said.success {
                    return Err(said.stderr);
                }
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            Ok(times[times.len() / 2])
        };
        std::fs::write(run.home.join("f.ncl"), program(100, true)).map_err(|error| error.to_string())?;
        let (without, registered) = (time(&[], "ignore")?, with("ignore")?);
        println!(
            "start of nu         without {without:.1}   registered {registered:.1}   {:+.1} ms",
            registered - without
        );
        let first = with("nickel eval f.ncl | ignore")? - registered;
        let official = time(&[], "^nickel export f.ncl | from json | ignore")? - without;
        println!("first call          plugin {first:.1}   official {official:.1}   {:.2}x", first / official);
        Ok(())
    }
}

/// The largest resident memory that the plugin and its evaluating process had together while a command ran, in bytes.
fn peak_memory(command: &mut std::process::Command) -> Result<u64, String> {
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut peak = 0;
    let began = Instant::now();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        peak = peak.max(memory_of("nu_plugin_nickel"));
        std::thread::sleep(Duration::from_millis(50));
        if began.elapsed() > LIMIT {
            let _ = child.kill();
            return Err("the rows did not end".to_owned());
        }
    }
    Ok(peak)
}

fn memory_of(program: &str) -> u64 {
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let mut sum = 0;
    for process in processes.flatten() {
        let runs = std::fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe.ends_with(program));
        if runs {
            let status = std::fs::read_to_string(process.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
            sum += line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024;
        }
    }
    sum
}
