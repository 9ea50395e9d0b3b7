//! Owns `cargo xtask bench`: how fast the suite does its work through the real `nu`.

mod engine;
mod nickel;
mod policy;
mod providers;
mod run;

use crate::{process, workspace};
use clap::Args;

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

const BENCHES: [(&str, &str); 4] = [
    ("engine", "plan and apply, beside Terraform; what is written; a no-op plan of a cloud; throughput"),
    ("nickel", "evaluating and validating, against the official command and a plugin that only echoes"),
    (
        "policy",
        "deciding many rows, against the library's own loop, the official command and a plugin that only echoes",
    ),
    (
        "providers",
        "calls for a refresh and for a server, and many creates, against the fewest and fastest there could be",
    ),
];

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
            Some("nickel") => self.nickel(),
            Some("policy") => self.policy(),
            Some("providers") => self.providers(),
            Some(other) => Err(format!("there is no bench `{other}`; `cargo xtask bench` lists them")),
        }
    }

    /// Builds what is measured and says in which profile.
    fn build(&self) -> Result<&'static str, String> {
        if !self.built {
            let mut build = workspace::cargo();
            build.args(["build", "--workspace", "--examples", "--bins", "--quiet"]);
            build.args(self.release.then_some("--release"));
            process::shown(&mut build)?;
        }
        Ok(if self.release { "release" } else { "debug" })
    }
}
