//! Owns `provision history show`: what one change did.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_nu_bridge::labeled;

pub struct HistoryShow;

impl PluginCommand for HistoryShow {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision history show"
    }

    fn description(&self) -> &str {
        "Show what one change did to which resource."
    }

    fn extra_description(&self) -> &str {
        "Rows are `address, type, action, changes`, changes as in a plan; what is sensitive is not shown."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::READS, "diff", "serial", "change"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("serial", SyntaxShape::Int, "Number of the change.")
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example { example: "provision history show 3", description: "What the third change did", result: None }]
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
        let found =
            session.change_rows(serial.item).map_err(|failure| labeled(&failure, serial.span, "this serial"))?;
        let rows = found.iter().map(|row| super::value(row, call.head, &[])).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}
