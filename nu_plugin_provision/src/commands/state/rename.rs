//! Owns `provision state move`: giving a resource another address.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use provision_diagnostic::Code;
use provision_nu_bridge::labeled;

pub struct StateMove;

impl PluginCommand for StateMove {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision state move"
    }

    fn description(&self) -> &str {
        "Give a resource another address without touching it in the cloud."
    }

    fn extra_description(&self) -> &str {
        "What depends on it follows. In the configuration, `lifecycle.moved_from` does the same as part of a plan.\n\
        Policies are asked about both addresses: the action is `move`."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "rename", "mv", "refactor"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("from", SyntaxShape::String, "Address it has.")
            .required("to", SyntaxShape::String, "Address it gets.")
            .input_output_types(vec![(Type::Nothing, Type::record())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "provision state move web front",
            description: "What was `web` is `front` from now on",
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
        let from: Spanned<String> = call.req(0)?;
        let to: Spanned<String> = call.req(1)?;
        let found = session.rename(&from.item, &to.item).map_err(|failure| {
            // What is wrong with the new address is shown there.
            let at_new = [Code::PlanAddress, Code::ImportAddressTaken].contains(&failure.code());
            labeled(&failure, if at_new { to.span } else { from.span }, "this address")
        })?;
        Ok(PipelineData::value(super::value(&found, call.head, super::COLUMNS), None))
    }
}
