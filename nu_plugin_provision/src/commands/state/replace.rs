//! Owns `provision state replace`: having a resource replaced.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use provision_nu_bridge::labeled;

pub struct StateReplace;

impl PluginCommand for StateReplace {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state replace"
    }

    fn description(&self) -> &str {
        "Mark a resource, so that the next plan replaces it."
    }

    fn extra_description(&self) -> &str {
        "It stays marked until it was replaced, or until --undo. A protected one is not marked. `provision heal`, which undoes\n\
        drift alone, leaves it as it is. Policies are asked: the action is `mark`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "taint", "recreate"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("address", SyntaxShape::String, "Address of the resource.")
            .switch("undo", "Take the mark off again.", None)
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision state replace web; provision plan | provision apply",
                description: "Make `web` anew",
                result: None,
            },
            Example {
                example: "provision state replace web --undo",
                description: "Leave `web` as it is after all",
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
        let address: Spanned<String> = call.req(0)?;
        let undo = call.has_flag("undo")?;
        let found =
            session.mark(&address.item, undo).map_err(|failure| labeled(&failure, address.span, "this address"))?;
        Ok(PipelineData::value(super::value(&found, call.head, super::COLUMNS), None))
    }
}
