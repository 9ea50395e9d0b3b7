//! Owns `provision state restore`: going back to a backup.

use crate::ProvisionPlugin;
use crate::open::{actor, environment, project_flag, required_project, session, session_without_state, variables};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_engine::{location, restore};
use provision_nu_bridge::{labeled, resolve_path};
use std::path::Path;

pub struct StateRestore;

impl PluginCommand for StateRestore {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state restore"
    }

    fn description(&self) -> &str {
        "Go back to the newest good backup of the state, or to one that is named."
    }

    fn extra_description(&self) -> &str {
        "What is there now is put aside into `.provision/damaged-…`. What was made since the backup is\n\
        still in the clouds: rows of the next plan adopt it (action `adopt`), and `provision recover` lists it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "repair", "corrupt", "recover"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named("from", SyntaxShape::Filepath, "The backup; the newest good one by default.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "provision state restore",
            description: "Go back to the newest good backup",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let project = required_project(engine, call)?;
        let from = match call.get_flag::<String>("from")? {
            Some(file) => Some(resolve_path(engine, &file)?),
            None => None,
        };
        let raised = |failure| labeled(&failure, call.head, "while restoring");
        let variables = variables(engine)?;
        may_restore(plugin, engine, call, &project)?;
        let find = |name: &str| variables.get(name).cloned();
        let location = location(&find, environment(engine, call)?.as_deref()).map_err(raised)?;
        let found =
            restore(&project, &location, from.as_deref(), &actor(&variables).map_err(raised)?.id).map_err(raised)?;
        Ok(PipelineData::value(super::value(&found, call.head, &[]), None))
    }
}

/// Asks the policies. A state that cannot be opened has none in force: those of the project decide.
fn may_restore(
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    project: &Path,
) -> Result<(), LabeledError> {
    let raised = |failure| labeled(&failure, call.head, "while restoring");
    let session = match session(plugin, engine, call) {
        Ok(session) => session,
        Err(_) => session_without_state(plugin, engine, call.head, project, environment(engine, call)?)?,
    };
    session.may_restore().map_err(raised)
}
