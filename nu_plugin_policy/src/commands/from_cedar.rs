//! Owns `from cedar`.

use crate::PolicyPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Category, Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::{from_json, labeled};
use provision_policy::policies_to_json;

pub struct FromCedar;

impl PluginCommand for FromCedar {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "from cedar"
    }

    fn description(&self) -> &str {
        "Convert Cedar policies to their JSON form, as a record."
    }

    fn extra_description(&self) -> &str {
        "Each policy stands under its id, the `@id` annotation where there is one."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["policy", "convert", "parse", "json"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name()).input_output_type(Type::String, Type::record()).category(Category::Formats)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#""permit(principal, action, resource);" | from cedar | get staticPolicies.policy0.effect"#,
            description: "Look into a policy",
            result: None,
        }]
    }

    fn run(
        &self,
        _plugin: &PolicyPlugin,
        _engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let span = input.span().unwrap_or(call.head);
        let text = input.collect_string_strict(span)?.0;
        let json = policies_to_json("<input>", &text).map_err(|failure| labeled(&failure, span, "in this text"))?;
        Ok(PipelineData::value(from_json(&json, call.head), None))
    }
}
