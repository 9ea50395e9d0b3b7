//! Owns `cargo xtask bench engine`.

use super::Bench;
use crate::{nu, process, workspace};
use std::fmt::Write;
use std::time::{Duration, Instant};

impl Bench {
    /// A chain of groups of ten: half of the resources refer to another.
    pub(super) fn engine(&self) -> Result<(), String> {
        let nu = nu::get()?;
        let plugins = workspace::plugins(self.build()?)?;
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
