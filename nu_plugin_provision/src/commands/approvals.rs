//! Owns `provision approvals`: what was approved, by whom, until when.

use crate::ProvisionPlugin;
use crate::open::{project_flag, session};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Span, SyntaxShape, Type, Value};
use provision_engine::Approval;
use provision_nu_bridge::{Kind, labeled};

pub struct Approvals;

impl PluginCommand for Approvals {
    type Plugin = ProvisionPlugin;

    fn name(&self) -> &str {
        "provision approvals"
    }

    fn description(&self) -> &str {
        "List approvals of plans, or take one back."
    }

    fn extra_description(&self) -> &str {
        "An approval counts while `used` is null, `until` lies ahead, and policies and groups are those it was given under.\n\
        `address` is null where it is for the whole plan. Who gave an approval may take it back, and who could give it."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec![crate::commands::ASKS, "approval", "review", "revoke", "four eyes"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named("plan", SyntaxShape::String, "Only those of this plan.", None)
            .named("revoke", SyntaxShape::String, "Take the approval with this id back, and give it.", None)
            .input_output_types(vec![(Type::Nothing, Type::table())])
            .category(super::category());
        project_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "provision approvals | where used == null and until > (date now)",
                description: "The approvals that still count",
                result: None,
            },
            Example {
                example: "provision approvals --revoke 5d2j3k7q4m6n2p8r",
                description: "Take one back",
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
        let raise = |failure| labeled(&failure, call.head, "while looking at approvals");
        let revoke: Option<String> = call.get_flag("revoke")?;
        let plan: Option<String> = call.get_flag("plan")?;
        let found = session.approvals(plan.as_deref(), revoke.as_deref()).map_err(raise)?;
        let rows = found.iter().map(|approval| shown(approval, call.head)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}

/// An approval as a row.
pub fn shown(approval: &Approval, span: Span) -> Value {
    super::value(approval, span, &[("at", Kind::Date), ("until", Kind::Date), ("used", Kind::Date)])
}
