//! Owns `provision refresh`: writing down what the clouds show now.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{project_flag, session, stoppable};
use crate::progress::Busy;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::labeled;

pub struct Refresh;

impl PluginCommand for Refresh {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision refresh"
    }

    fn description(&self) -> &str {
        "Look at the clouds and bring the attributes in the state up to date."
    }

    fn extra_description(&self) -> &str {
        "Outputs and `provision state show` give the new values then. What was applied stays as it was, so that drift still shows.\n\
        `outcome` is unchanged, changed, gone (it stays in the state; the next plan makes it again), or stray: it carries this\n\
        state's mark and is in no row of the state. Nothing is changed in the clouds."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "sync", "attributes", "stray", "gone"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .switch("deep", "Also read each resource by id: sees fields that lists do not show.", None)
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(provider_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision refresh | where outcome != unchanged",
                description: "Bring the state up to date and see what was not",
                result: None,
            },
            Example {
                example: "provision refresh --deep | where outcome == stray",
                description: "Find what this project made and no longer knows",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        drop(input);
        let session = with_given(session(plugin, engine, call)?, plugin, engine, call)?;
        let _guard = stoppable(engine, &session)?;
        let _busy = Busy::with("looking at the clouds");
        let (found, problems) = session
            .refresh_state(call.has_flag("deep")?)
            .map_err(|failure| labeled(&failure, call.head, "while looking at the clouds"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, &[])).collect();
        super::table(rows, problems, call.head, "while looking at the clouds")
    }
}
