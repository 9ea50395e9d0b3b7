//! Owns `provision state backup`: making a backup of the state.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::labeled;

pub struct StateBackup;

impl PluginCommand for StateBackup {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state backup"
    }

    fn description(&self) -> &str {
        "Make a backup of the state now."
    }

    fn extra_description(&self) -> &str {
        "Every apply makes one of a small state, the first of a day of a large one; the newest five are kept."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::OWN, "copy", "snapshot"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: "provision state backup", description: "Make a backup", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let raised = |failure| labeled(&failure, call.head, "while backing up");
        let row = session.workspace.store.backup().map_err(raised)?.ok_or_else(|| {
            let message = "the state is kept in a database, which has its own backups";
            raised(
                Failure::new(Code::StateNoBackup, message)
                    .with_help("Use the database's own tools, or `provision state export`."),
            )
        })?;
        Ok(PipelineData::value(super::value(&row, call.head, super::BACKUP), None))
    }
}
