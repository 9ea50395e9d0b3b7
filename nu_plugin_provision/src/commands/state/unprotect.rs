//! Owns `provision state unprotect`: taking protection off.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::Spanned;
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_nu_bridge::labeled;

pub struct StateUnprotect;

impl PluginCommand for StateUnprotect {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state unprotect"
    }

    fn description(&self) -> &str {
        "Take the protection off a resource, so that it can be deleted or replaced."
    }

    fn extra_description(&self) -> &str {
        "Policies are asked: the action is `unprotect`. Take `lifecycle.protect` out of infra.ncl too, or the next plan protects\n\
        it again."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "protect", "lifecycle"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("address", SyntaxShape::String, "Address of the resource.")
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: r#"provision state unprotect web"#, description: "Let `web` be deleted", result: None }]
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
        let found =
            session.unprotect(&address.item).map_err(|failure| labeled(&failure, address.span, "this address"))?;
        Ok(PipelineData::value(super::value(&found, call.head, super::COLUMNS), None))
    }
}
