//! Owns the provider contract suite: what every resource type must do, enumerated from its manifest so that no type and no
//! field is forgotten. `provision provider test` and the project's own tests run the same checks.

mod bench;
mod checks;
mod cloud;
mod lookups;
mod neighbours;
mod record;
mod samples;
mod tamper;

pub use cloud::{Target, sandbox_environment};
pub use samples::{CANARY, Samples, Way};

use bench::Bench;
use provision_diagnostic::Code;
use provision_diagnostic::{Failure, did_you_mean};
use provision_engine::{Environment, RustProviders};
use provision_nickel::Evaluator;
use provision_registry::{Protocol, Registry};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    /// It does not apply, or there is nothing to try it with; the message says which.
    Skipped,
}

/// One check of one type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckRow {
    #[serde(rename = "type")]
    pub kind: String,
    /// `create`, `update labels`, `drift labels`, …
    pub check: String,
    pub result: Verdict,
    pub message: Option<String>,
    /// In nanoseconds.
    pub duration: i64,
}

/// What to test, and against what.
pub struct Suite {
    pub registry: Arc<Registry>,
    /// The providers that are written in Rust.
    pub rust: RustProviders,
    pub evaluator: Evaluator,
    /// The caller's environment: credentials come from it, but for the sandbox.
    pub env: Environment,
    pub provider: String,
    /// Only these types; all when empty.
    pub types: Vec<String>,
    pub target: Target,
    pub record: Option<PathBuf>,
}

/// The providers that the sandbox has.
const IN_SANDBOX: [&str; 3] = ["hetzner", "upcloud", "aws"];

impl Suite {
    /// Runs the suite, telling each row as it is known.
    pub fn run(&self, stop: &AtomicBool, tell: &mut dyn FnMut(CheckRow)) -> Result<(), Failure> {
        let Some(manifest) = self.registry.manifest(&self.provider).cloned() else {
            return match self.registry.type_of(&self.provider) {
                Err(failure) => Err(failure),
                Ok(_) => Ok(()),
            };
        };
        let on_this_machine = matches!(manifest.protocol, Protocol::Rust | Protocol::Nushell);
        if manifest.protocol == Protocol::Nushell && (self.target != Target::Sandbox || self.record.is_some()) {
            let message = format!("{} is a Nushell module: it has no address and nothing to record", self.provider);
            return Err(
                Failure::new(Code::ProviderNoCloud, message).with_help("Leave out --endpoint, --record and --replay.")
            );
        }
        if self.target == Target::Sandbox && !on_this_machine && !IN_SANDBOX.contains(&self.provider.as_str()) {
            return Err(Failure::new(Code::ProviderNoCloud, format!("the sandbox has no cloud `{}`", self.provider))
                .with_help("Give the address of one with --endpoint URL, or a recording with --replay DIR."));
        }
        let mut kinds: Vec<&String> = Vec::new();
        for wanted in &self.types {
            let name = wanted.strip_prefix(&format!("{}.", self.provider)).unwrap_or(wanted);
            let Some((known, _)) = manifest.types.get_key_value(name) else {
                let all = || manifest.types.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(Failure::new(Code::PlanUnknownType, format!("{} has no type `{name}`", self.provider))
                    .with_help(did_you_mean(name, manifest.types.keys().map(String::as_str), || {
                        format!("Its types are {}.", all())
                    })));
            };
            kinds.push(known);
        }
        if kinds.is_empty() {
            kinds = manifest.types.keys().collect();
        }
        for (at, name) in kinds.into_iter().enumerate() {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let Some(spec) = manifest.types.get(name) else { continue };
            let samples = Samples::new(&manifest, name, spec);
            let bench = Bench::new(self, &manifest, samples)?;
            checks::all(&bench, stop, tell);
            if at == 0 && self.types.is_empty() {
                lookups::all(&bench, stop, tell);
            }
            bench.finish()?;
        }
        Ok(())
    }
}
