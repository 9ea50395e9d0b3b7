//! Owns `provision state backups`: listing the backups.

use crate::ProvisionPlugin;
use crate::open::{project_flag, state_folder};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_engine::backups;

pub struct StateBackups;

impl PluginCommand for StateBackups {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state backups"
    }

    fn description(&self) -> &str {
        "List the backups of the state, the newest first."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "restore", "snapshots"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: "provision state backups", description: "What there is to go back to", result: None }]
    }

    fn run(
        &self,
        _plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let folder = state_folder(engine, call)?;
        let rows = backups(&folder).iter().map(|row| super::value(row, call.head, super::BACKUP)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
