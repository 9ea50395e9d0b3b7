//! Owns `provision state list`: what the state holds.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::labeled;

pub struct StateList;

impl PluginCommand for StateList {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state list"
    }

    fn description(&self) -> &str {
        "List the resources the state holds."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "resources", "inventory"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example { example: r#"provision state list"#, description: "Everything that is managed", result: None },
            Example {
                example: r#"provision state list | where provider == aws"#,
                description: "What is on one cloud",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let session = session(plugin, engine, call)?;
        let found = session.list().map_err(|failure| labeled(&failure, call.head, "while reading the state"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, super::COLUMNS)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
