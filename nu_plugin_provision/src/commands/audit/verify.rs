//! Owns `provision audit verify`: proving that the log is whole.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_diagnostic::Failure;
use provision_nu_bridge::labeled;

pub struct AuditVerify;

impl PluginCommand for AuditVerify {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision audit verify"
    }

    fn description(&self) -> &str {
        "Prove that nothing in the audit log was altered, removed, put elsewhere or cut off."
    }

    fn extra_description(&self) -> &str {
        "The record is `valid, entries, checkpoints, head, problems, gaps`; problems are rows `seq, problem`. Gaps are what going\n\
        back to a backup cut off, as the log itself tells: `seq` of the entry that tells it, `from` and `until`, `hash` at the end."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "chain", "tamper", "integrity", "signature"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .switch("strict", "Raise an error when the log is not whole.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: "provision audit verify", description: "Look at the whole log", result: None },
            Example {
                example: "provision audit verify --strict",
                description: "The same in a script, which then stops",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let raised = |failure| labeled(&failure, call.head, "while verifying the audit log");
        let found = session.store.verify_audit().map_err(raised)?;
        if let (true, Some(first)) = (call.has_flag("strict")?, found.problems.first()) {
            let message = format!("the audit log is not whole: entry {}: {}", first.seq, first.problem);
            let help = "Compare it with an exported copy; the file audit.head has the newest signed entry.";
            return Err(raised(Failure::new("provision::audit::broken", message).with_help(help)));
        }
        Ok(PipelineData::value(super::value(&found, call.head, &[]), None))
    }
}
