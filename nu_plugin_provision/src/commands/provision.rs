//! Owns `provision`: its help.

use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};

pub struct Provision;

impl PluginCommand for Provision {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision"
    }

    fn description(&self) -> &str {
        "Plan and apply infrastructure on clouds, as tables."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "infrastructure", "cloud", "terraform"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::String)])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision"#, description: "Show the commands", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let _ = (plugin, input);
        Ok(PipelineData::value(Value::string(engine.get_help()?, call.head), None))
    }
}
