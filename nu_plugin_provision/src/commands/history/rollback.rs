//! Owns `provision rollback`: the way back to an earlier configuration.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session, stoppable};
use crate::progress::Busy;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type};
use provision_engine::PlanOptions;
use provision_nu_bridge::labeled;

pub struct Rollback;

impl PluginCommand for Rollback {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision rollback"
    }

    fn description(&self) -> &str {
        "Plan back to the configuration that an earlier change left, as rows that `provision apply` takes."
    }

    fn extra_description(&self) -> &str {
        "It is a plan like any other: nothing is done yet, and policies are asked. Configuration comes back, data does not: the\n\
        reasons say where something is lost. infra.ncl stays as it is, so bring it back too."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "undo", "revert", "restore"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("serial", SyntaxShape::Int, "Number of the change to go back to.")
            .switch("all", "Keep the rows that change nothing.", Some('a'))
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision rollback 3 | select address action reason",
                description: "See what going back would do",
                result: None,
            },
            Example {
                example: "provision rollback 3 | provision apply --reason 'back to 3'",
                description: "Go back",
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
        let serial: Spanned<i64> = call.req(0)?;
        let _guard = stoppable(engine, &session)?;
        let options = PlanOptions { all: call.has_flag("all")?, ..PlanOptions::default() };
        let _busy = Busy::with("planning");
        let plan = session
            .rollback(serial.item, &options)
            .map_err(|failure| labeled(&failure, serial.span, "while planning back to this"))?;
        Ok(crate::commands::plan::table(plan, &session, call.head, engine.signals()))
    }
}
