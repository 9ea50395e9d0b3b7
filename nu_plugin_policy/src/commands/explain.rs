//! Owns `policy explain`: why one question is decided as it is.

use crate::PolicyPlugin;
use crate::asking::{Answering, Asking, one_row, request_flags};
use crate::given::policy_flags;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::{from_serialize, labeled};

pub struct Explain;

impl PluginCommand for Explain {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy explain"
    }

    fn description(&self) -> &str {
        "Say why a question is decided as it is, clause by clause, and what would flip it."
    }

    fn extra_description(&self) -> &str {
        "The question is a record as for `policy authorize`, or comes from the flags.\n\
        `policies` has every policy: whether its scope holds (`scope` says which part does not), whether it is satisfied, and each\n\
        `when` and `unless` clause with its value or error; `parts` are the expressions in it. What Cedar does not get to for this\n\
        question has `reached` false.\n\
        `flip` is the smallest change of context or attributes found that turns the decision: `changes`, and `request`, the changed\n\
        question, which `policy authorize` takes. It was tried. Null: no change of up to three values that the policies speak of does."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "why", "debug", "trace", "reason", "deny"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![(Type::record(), Type::record()), (Type::Nothing, Type::record())])
            .category(super::category());
        policy_flags(request_flags(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"policy explain --principal 'User::"ann"' --action 'Action::"view"' --resource 'Photo::"sea"' --context {mfa: false} --policies 'permit(principal, action, resource) when { context.mfa };'"#,
                description: "See which clause stands in the way",
                result: None,
            },
            Example {
                example: "provision plan | policy authorize --only deny | first | policy explain | get flip",
                description: "What would have to change for the first denied change to be allowed",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let answering = Answering::new(plugin, engine, call)?;
        let row = one_row(input, call.head)?;
        let question = Asking::new(engine, call)?.question(&row)?;
        let explained = answering
            .of(&question)?
            .explain(&question)
            .map_err(|failure| labeled(&failure, row.span(), "this question"))?;
        Ok(PipelineData::value(from_serialize(&explained, call.head)?, None))
    }
}
