//! Owns `provision heal`: the plan of drift alone.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{project_flag, session, stoppable};
use crate::progress::Busy;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_engine::PlanOptions;
use provision_nu_bridge::labeled;

pub struct Heal;

impl PluginCommand for Heal {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision heal"
    }

    fn description(&self) -> &str {
        "Plan to make everything as it was last applied, as rows that `provision apply` takes."
    }

    fn extra_description(&self) -> &str {
        "The rows are those of `provision plan`, but of drift alone: what is new in infra.ncl is not among them. Policies are\n\
        asked when they are applied, as for every plan. Nothing to heal is an empty table."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "drift", "repair", "reconcile", "undo"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named(
                "target",
                super::texts_shape(),
                "Only these, what they need and what must follow them; an empty list is none.",
                None,
            )
            .named("exclude", super::texts_shape(), "All but these addresses and what depends on them.", None)
            .switch("deep", "Also read each resource by id: sees fields that lists do not show.", None)
            .switch("all", "Keep the rows that change nothing.", Some('a'))
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(provider_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision heal | provision apply",
                description: "Undo everything that was changed by hand",
                result: None,
            },
            Example {
                example: "provision heal --target [web] | select address action reason",
                description: "See what it takes to mend one resource",
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
        let options = PlanOptions {
            target: super::texts(call, "target")?,
            exclude: super::texts(call, "exclude")?.unwrap_or_default(),
            deep: call.has_flag("deep")?,
            all: call.has_flag("all")?,
            ..PlanOptions::default()
        };
        let _busy = Busy::with("looking for drift");
        let plan = session.heal(&options).map_err(|failure| labeled(&failure, call.head, "while planning this"))?;
        Ok(super::plan::table(plan, &session, call.head, engine.signals()))
    }
}
