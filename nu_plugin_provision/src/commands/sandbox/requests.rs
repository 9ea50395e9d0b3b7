//! Owns `provision sandbox requests`: what the embedded clouds were asked.

use super::home;
use crate::ProvisionPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::{Kind, labeled};
use provision_sandbox::control;

pub struct SandboxRequests;

impl PluginCommand for SandboxRequests {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision sandbox requests"
    }

    fn description(&self) -> &str {
        "List the requests the embedded clouds got."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "log", "http"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category())
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#"provision sandbox requests | where mutating"#,
            description: "What was asked",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let _ = (plugin, input);
        let found =
            control::requests(&home(engine)?).map_err(|failure| labeled(&failure, call.head, "while asking"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, &[("time", Kind::Date)])).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
