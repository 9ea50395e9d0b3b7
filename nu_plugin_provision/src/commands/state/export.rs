//! Owns `provision state export`: giving the whole state as data.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::{from_json, labeled};

pub struct StateExport;

impl PluginCommand for StateExport {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state export"
    }

    fn description(&self) -> &str {
        "Give the whole state as data, to be imported elsewhere."
    }

    fn extra_description(&self) -> &str {
        "Sealed values stay sealed: the state's key, `.provision/identity.txt`, goes its own way."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "backup", "migrate", "dump"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .switch("text", "Give JSON text instead of a record.", None)
            .input_output_types(vec![(Type::Nothing, Type::record()), (Type::Nothing, Type::String)])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision state export | save state.json",
                description: "Keep the state in a file",
                result: None,
            },
            Example {
                example: "provision state export | do { $env.PROVISION_STATE = $url; $in | provision state import }",
                description: "Move the state into a database",
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
        let state =
            session.workspace.store.export().map_err(|failure| labeled(&failure, call.head, "while exporting"))?;
        let value = match call.has_flag("text")? {
            true => Value::string(state.to_string(), call.head),
            false => from_json(&state, call.head),
        };
        Ok(PipelineData::value(value, None))
    }
}
