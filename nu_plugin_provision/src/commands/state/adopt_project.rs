//! Owns `provision state adopt-project`: telling a state that its project has another name.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::labeled;

pub struct StateAdoptProject;

impl PluginCommand for StateAdoptProject {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state adopt-project"
    }

    fn description(&self) -> &str {
        "Make the state that of the project in infra.ncl, after the project was renamed."
    }

    fn extra_description(&self) -> &str {
        "A state belongs to the project it was first applied for, and every other one is refused: it would take what the state holds\n\
        for what it does not declare any more. Policies are asked: the action is `adopt_project`. The record is `before, after`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "rename", "name", "wrong", "belongs"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "provision state adopt-project",
            description: "The project has another `name` in infra.ncl now",
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
        let session = session(plugin, engine, call)?;
        let found =
            session.adopt_project().map_err(|failure| labeled(&failure, call.head, "while adopting the project"))?;
        Ok(PipelineData::value(super::value(&found, call.head, &[]), None))
    }
}
