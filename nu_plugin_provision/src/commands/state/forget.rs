//! Owns `provision state forget`: letting go of a resource.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use provision_nu_bridge::labeled;

pub struct StateForget;

impl PluginCommand for StateForget {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state forget"
    }

    fn description(&self) -> &str {
        "Take a resource out of the state and leave it in the cloud."
    }

    fn extra_description(&self) -> &str {
        "It is nobody's afterwards; `provision import` takes it back. A protected one is not forgotten."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "remove", "rm", "orphan"]
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
            example: "provision state forget web",
            description: "Let go of `web`; it stays in the cloud",
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
        let found = session.forget(&address.item).map_err(|failure| labeled(&failure, address.span, "this address"))?;
        Ok(PipelineData::value(super::value(&found, call.head, super::COLUMNS), None))
    }
}
