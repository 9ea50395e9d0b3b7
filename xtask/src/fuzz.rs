//! Owns `cargo xtask fuzz`.

use crate::{process, workspace};
use clap::Args;

/// The flags.
#[derive(Args)]
pub struct Fuzz {
    /// What to feed: `nickel` or `policy`.
    name: String,
    /// How long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the random choices start.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Fuzz {
    /// Mutated programs of the corpus through check, eval and format; mutated policies, schemas, entities and requests
    /// through all that takes them.
    pub fn run(self) -> Result<(), String> {
        if !["nickel", "policy"].contains(&self.name.as_str()) {
            return Err(format!("there is nothing to fuzz called `{}`; there are nickel and policy", self.name));
        }
        process::shown(workspace::cargo().args(["build", "--workspace", "--examples", "--quiet"]))?;
        let programs = workspace::target().join("debug/examples");
        let mut fuzz =
            std::process::Command::new(programs.join(if self.name == "nickel" { "fuzz" } else { "fuzz_policy" }));
        fuzz.arg(self.seconds.to_string());
        if self.name == "nickel" {
            fuzz.arg(workspace::root().join("tests/corpus/nickel"));
        }
        fuzz.arg(self.seed.to_string());
        process::shown(process::offline(&mut fuzz))
    }
}
