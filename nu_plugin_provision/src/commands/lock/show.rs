//! Owns `provision lock show`: telling who holds the lease.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::labeled;

pub struct LockShow;

impl PluginCommand for LockShow {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision lock show"
    }

    fn description(&self) -> &str {
        "Show who is changing the infrastructure now; an empty table when nobody is."
    }

    fn extra_description(&self) -> &str {
        "`status` is `held`, `stale` when its owner does not renew it any more, or `broken` when it was taken from an owner that is\n\
        alive and what that one sent may still arrive."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "lease", "locked", "writer"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: "provision lock show", description: "Who holds the lease", result: None }]
    }

    fn run(
        &self,
        plugin: &ProvisionPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        _input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let session = session(plugin, engine, call)?;
        let row = session
            .workspace
            .store
            .lease_row()
            .map_err(|failure| labeled(&failure, call.head, "while looking at the lease"))?;
        let rows = row.iter().map(|row| super::value(row, call.head, super::COLUMNS)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
