//! Owns `provision sandbox reset`: emptying the embedded clouds.

use super::home;
use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::labeled;
use provision_sandbox::control;

pub struct SandboxReset;

impl PluginCommand for SandboxReset {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision sandbox reset"
    }

    fn description(&self) -> &str {
        "Empty the embedded clouds: resources, requests and faults."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "simulate", "clear"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::Nothing)])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision sandbox reset"#, description: "Start afresh", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let _ = (plugin, input);
        control::reset(&home(engine)?).map_err(|failure| labeled(&failure, call.head, "while resetting"))?;
        Ok(PipelineData::empty())
    }
}
