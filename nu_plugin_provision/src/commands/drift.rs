//! Owns `provision drift`: what is not as it was last applied.

use crate::ProvisionPlugin;
use crate::closures::{provider_flag, with_given};
use crate::open::{project_flag, session, stoppable};
use crate::progress::Busy;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::{Kind, labeled};

pub struct Drift;

impl PluginCommand for Drift {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision drift"
    }

    fn description(&self) -> &str {
        "Show what is not as it was last applied, field by field."
    }

    fn extra_description(&self) -> &str {
        "The clouds are compared with what was last applied, not with infra.ncl: what is new in the file is no drift.\n\
        `since` is when it was first seen so. `path` is null for a resource that is gone (`actual` is null too), and `address` for\n\
        a stray: something that carries this state's mark and is in no row of the state. Fields that `lifecycle.ignore` names are\n\
        left out. Nothing is changed, and no lease is needed; `provision heal` undoes it. What cannot be looked at is an error after\n\
        the rows: of it nothing is known."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "difference", "diff", "changed", "stray", "compliance"]
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
                example: "provision drift | select address path expected actual since",
                description: "What somebody changed by hand",
                result: None,
            },
            Example {
                example: "provision drift | where since < (date now) - 1day",
                description: "What has been otherwise for more than a day",
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
        let _busy = Busy::with("looking for drift");
        let (found, problems) = session
            .drift(call.has_flag("deep")?)
            .map_err(|failure| labeled(&failure, call.head, "while looking at the clouds"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, &[("since", Kind::Date)])).collect();
        super::table(rows, problems, call.head, "while looking at the clouds")
    }
}
