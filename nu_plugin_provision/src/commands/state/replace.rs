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

    fn search_terms(&self) -> Vec<&str> {
        vec!["taint", "recreate"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("address", SyntaxShape::String, "Address of the resource.")
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "provision state replace web; provision plan | provision apply",
            description: "Make `web` anew",
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
        let address: Spanned<String> = call.req(0)?;
        let found = session.taint(&address.item).map_err(|failure| labeled(&failure, address.span, "this address"))?;
        Ok(PipelineData::value(super::value(&found, call.head, super::COLUMNS), None))
    }
}
