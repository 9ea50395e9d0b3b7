//! Owns `provision history`: what was changed when.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::labeled;

pub struct History;

impl PluginCommand for History {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision history"
    }

    fn description(&self) -> &str {
        "List every change that was applied, the newest first: who, why, from which revision."
    }

    fn extra_description(&self) -> &str {
        "Each has a `serial`. `revision` is the commit the project stood on, where it is in a git repository. A change without\n\
        `ended_at` runs now, or was interrupted and settled by the next one."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "log", "changes", "serial"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision history | where by == ada and kind == apply",
                description: "What somebody applied",
                result: None,
            },
            Example { example: "provision history | first", description: "The last change", result: None },
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
        let found = session
            .workspace
            .store
            .history()
            .map_err(|failure| labeled(&failure, call.head, "while reading the history"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, super::COLUMNS)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
