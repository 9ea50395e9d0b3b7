//! Owns `policy list`: the policies of a set, as rows.

use crate::PolicyPlugin;
use crate::given::{policies, policy_flag, text};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::{from_serialize, labeled};

pub struct List;

impl PluginCommand for List {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy list"
    }

    fn description(&self) -> &str {
        "List policies with their scope, annotations and place."
    }

    fn extra_description(&self) -> &str {
        "The policies are those of --policies, else the text on the pipeline, else the project's.\n\
        A part of the scope is null where it asks for nothing."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "rules", "scope", "annotations"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::String, Type::table()),
                (Type::record(), Type::table()),
            ])
            .category(super::category());
        policy_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#""forbid(principal, action, resource);" | policy list | get effect"#,
                description: "What some text does",
                result: None,
            },
            Example {
                example: "policy list | where effect == forbid | select id file line",
                description: "Where the project forbids something",
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
        let given = policies(plugin, engine, call, text(call, input)?)?;
        let raise = |failure| labeled(&failure, given.span, "in these policies");
        let rows = given.what.and_then(|set| set.list()).map_err(raise)?;
        Ok(PipelineData::value(from_serialize(&rows, call.head)?, None))
    }
}
