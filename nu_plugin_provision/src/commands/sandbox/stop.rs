//! Owns `provision sandbox stop`: stopping the embedded clouds.

use super::home;
use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::labeled;
use provision_sandbox::control;

pub struct SandboxStop;

impl PluginCommand for SandboxStop {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision sandbox stop"
    }

    fn description(&self) -> &str {
        "Stop the embedded clouds; what they hold is kept."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "simulate"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision sandbox stop"#, description: "Stop", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let _ = (plugin, input);
        let stopped =
            control::stop(&home(engine)?).map_err(|failure| labeled(&failure, call.head, "while stopping"))?;
        let record = nu_protocol::record! { "stopped" => Value::bool(stopped, call.head) };
        Ok(PipelineData::value(Value::record(record, call.head), None))
    }
}
