//! Owns `provision state show`: one resource in full.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::Spanned;
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_nu_bridge::labeled;

pub struct StateShow;

impl PluginCommand for StateShow {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state show"
    }

    fn description(&self) -> &str {
        "Show one resource of the state with its inputs and attributes."
    }

    fn extra_description(&self) -> &str {
        "Sensitive values are shown as <sensitive>."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "resource", "attributes"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("address", SyntaxShape::String, "Address of the resource.")
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision state show web"#, description: "One resource", result: None }]
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
        let address: Spanned<String> = call.req(0)?;
        let found = session.show(&address.item).map_err(|failure| labeled(&failure, address.span, "this address"))?;
        Ok(PipelineData::value(super::value(&found, call.head, super::COLUMNS), None))
    }
}
