//! Owns `cargo xtask fuzz`.

use crate::{process, workspace};
use clap::Args;

/// The flags.
#[derive(Args)]
pub struct Fuzz {
    /// What to feed; only `nickel` so far.
    name: String,
    /// How long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the random choices start.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Fuzz {
    /// Mutated programs of the corpus through check, eval and format.
    pub fn run(self) -> Result<(), String> {
        if self.name != "nickel" {
            return Err(format!("there is nothing to fuzz called `{}`; there is nickel", self.name));
        }
        process::shown(workspace::cargo().args(["build", "--workspace", "--examples", "--quiet"]))?;
        let corpus = workspace::root().join("tests/corpus/nickel");
        let mut fuzz = std::process::Command::new(workspace::target().join("debug/examples/fuzz"));
        fuzz.arg(self.seconds.to_string()).arg(corpus).arg(self.seed.to_string());
        process::shown(process::offline(&mut fuzz))
    }
}
