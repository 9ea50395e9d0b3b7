//! Owns `cargo xtask bench`: how fast the suite does its work through the real `nu`.

use crate::{nu, process, workspace};
use clap::Args;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The flags.
#[derive(Args)]
pub struct Bench {
    /// What to measure; the list of all when left out.
    name: Option<String>,
    /// How many resources.
    #[arg(long, default_value_t = 1000)]
    rows: usize,
    /// Measure a release build instead of the development one.
    #[arg(long)]
    release: bool,
    /// Use what is built already.
    #[arg(long)]
    built: bool,
}

const BENCHES: [(&str, &str); 1] = [("engine", "plan, apply and destroy of resources that live in the state alone")];

impl Bench {
    /// Measures one, or lists all.
    pub fn run(self) -> Result<(), String> {
        match self.name.as_deref() {
            None => {
                for (name, what) in BENCHES {
                    println!("{name:10} {what}");
                }
                Ok(())
            }
            Some("engine") => self.engine(),
            Some(other) => Err(format!("there is no bench `{other}`; `cargo xtask bench` lists them")),
        }
    }

    /// A chain of groups of ten: half of the resources refer to another.
    fn engine(&self) -> Result<(), String> {
        let nu = nu::get()?;
        if !self.built {
            let mut build = workspace::cargo();
            build.args(["build", "--workspace", "--quiet"]).args(self.release.then_some("--release"));
            process::shown(&mut build)?;
        }
        let plugins = workspace::plugins(if self.release { "release" } else { "debug" })?;
        let home = process::scratch()?;
        let mut infra = String::from("let p = import \"provision.ncl\" in\n{\n  name = \"bench\",\n  resources = {\n");
        for at in 0..self.rows {
            let input = match at % 2 {
                1 => format!("p.ref \"r{}\" \"id\"", at - 1),
                _ => at.to_string(),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(infra, "    r{at} = p.local.data & {{ input = {input} }},");
        }
        infra.push_str("  },\n} | p.Infrastructure\n");
        std::fs::write(home.path().join("infra.ncl"), infra).map_err(|error| error.to_string())?;
        let steps = [
            ("nothing", "ignore"),
            ("plan", "provision plan | length"),
            ("apply", "provision apply --yes --quiet | where status == done | length"),
            ("plan again", "provision plan --all | length"),
            ("destroy", "provision destroy --yes | where status == done | length"),
        ];
        println!("{} resources, each step in a new process", self.rows);
        let mut idle = Duration::ZERO;
        for (name, script) in steps {
            let mut command = nu::with_plugins(&nu, &plugins);
            command.args(["--no-std-lib", "-c", script]).current_dir(home.path());
            let start = Instant::now();
            let said = process::bounded(process::secluded(&mut command, home.path()), Duration::from_secs(600))?;
            let took = start.elapsed();
            if !said.success {
                return Err(format!("{name} failed\n{}", said.stderr));
            }
            if name == "nothing" {
                idle = took;
                println!("{:12} {took:>10.2?}  (start of nu and the plugins, taken off below)", "start");
                continue;
            }
            let seen = said.stdout.trim();
            if seen != self.rows.to_string() {
                return Err(format!("{name} gave {seen} rows, not {}", self.rows));
            }
            let work = took.saturating_sub(idle).max(Duration::from_millis(1));
            let rate = self.rows as f64 / work.as_secs_f64();
            println!("{name:12} {work:>10.2?}  {rate:>10.0} rows/s");
        }
        Ok(())
    }
}
