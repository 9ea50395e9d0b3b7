//! Owns `provision sandbox status`: what the embedded clouds hold.

use super::home;
use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::labeled;
use provision_sandbox::control;

pub struct SandboxStatus;

impl PluginCommand for SandboxStatus {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision sandbox status"
    }

    fn description(&self) -> &str {
        "Show whether the embedded clouds run and what they hold."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "simulate", "inventory"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision sandbox status"#, description: "What is there", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let _ = (plugin, input);
        let status = control::status(&home(engine)?).map_err(|failure| labeled(&failure, call.head, "while asking"))?;
        Ok(PipelineData::value(super::value(&status, call.head, &[]), None))
    }
}
