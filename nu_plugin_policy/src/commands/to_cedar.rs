//! Owns `to cedar`.

use crate::PolicyPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Category, Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::{labeled, to_json};
use provision_policy::policies_from_json;

pub struct ToCedar;

impl PluginCommand for ToCedar {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "to cedar"
    }

    fn description(&self) -> &str {
        "Convert policies in their JSON form to Cedar text."
    }

    fn extra_description(&self) -> &str {
        "Takes a policy set as `from cedar` gives it, one policy, or a list of policies. Ids become `@id` annotations."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["policy", "convert", "write"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name()).input_output_type(Type::Any, Type::String).category(Category::Formats)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#""permit(principal, action, resource);" | from cedar | to cedar"#,
            description: "Convert there and back",
            result: Some(Value::test_string("permit (principal, action, resource);\n")),
        }]
    }

    fn run(
        &self,
        _plugin: &PolicyPlugin,
        _engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let value = input.into_value(call.head)?;
        let span = value.span();
        let text = policies_from_json(to_json(&value)?).map_err(|failure| labeled(&failure, span, "in this data"))?;
        Ok(PipelineData::value(Value::string(text, call.head), None))
    }
}
