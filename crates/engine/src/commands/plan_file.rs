//! Owns plans as files: signed, for another job to apply.

use crate::commands::Session;
use crate::planning::planned::Plan;
use provision_diagnostic::{Code, Failure};
use provision_model::{Json, canonical};
use serde_json::json;
use std::path::Path;

/// What a plan file says it is.
const FORMAT: &str = "nu-provision plan";

/// The version of its shape.
const VERSION: u64 = 1;

/// Whether data is a plan file.
pub fn is_plan_file(value: &Json) -> bool {
    value["format"] == FORMAT
}

impl Session {
    /// Writes a plan to a file, whole or not at all.
    pub fn write_plan(&self, plan: &Plan, file: &Path) -> Result<(), Failure> {
        let body = serde_json::to_value(plan).map_err(|error| unreadable(&error))?;
        let text = json!({
            "format": FORMAT,
            "version": VERSION,
            "lineage": self.workspace.store.lineage(),
            "digest": plan.digest,
            "signature": self.workspace.store.sealer().sign(&canonical(&body)),
            "plan": body,
        });
        let failed = |error: std::io::Error| {
            Failure::new(Code::PlanFile, format!("cannot write the plan to {}: {error}", file.display()))
                .with_help("Choose a folder that is there and writable.")
        };
        provision_state::write_whole(file, &text.to_string()).map_err(failed)
    }

    /// Takes a plan file over into the state, and gives its rows; refuses one that this state's key did not sign.
    pub fn take_plan(&self, value: &Json) -> Result<Vec<Json>, Failure> {
        let wrong = |what: &str, help: &str| Failure::new(Code::PlanFile, what).with_help(help);
        if !is_plan_file(value) {
            return Err(wrong("this is no plan file", "Give a file that `provision plan --out` wrote."));
        }
        match value["version"].as_u64() {
            Some(version) if version <= VERSION => {}
            version => {
                let version = version.unwrap_or_default();
                return Err(wrong(
                    &format!("the plan file has version {version}, this build knows versions up to {VERSION}"),
                    "Update nu-provision to a version that knows this file.",
                ));
            }
        }
        if value["lineage"] != self.workspace.store.lineage() {
            return Err(wrong(
                "the plan file was made for another state",
                "Apply it where it was planned, or plan again here.",
            ));
        }
        let signature = value["signature"].as_str().unwrap_or_default();
        if !self.workspace.store.sealer().is_signed(&canonical(&value["plan"]), signature) {
            return Err(Failure::new(Code::PlanTampered, "the plan file is not as it was signed")
                .with_help("Plan again; a plan is applied as it was made."));
        }
        let mut plan: Plan = serde_json::from_value(value["plan"].clone()).map_err(|error| unreadable(&error))?;
        if plan.own_digest() != plan.digest {
            return Err(Failure::new(Code::PlanTampered, "the plan file is not what its digest says")
                .with_help("Plan again; a plan is applied as it was made."));
        }
        self.workspace.store.put_plan(&plan.digest, value["plan"].to_string())?;
        plan.rows().map(|row| serde_json::to_value(row).map_err(|error| unreadable(&error))).collect()
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::PlanFile, format!("the plan file cannot be read: {error}"))
        .with_help("Plan again with this version of nu-provision.")
}
