//! Owns `to cedarschema`.

use crate::PolicyPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Category, Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nu_bridge::{labeled, to_json};
use provision_policy::schema_from_json;

pub struct ToCedarschema;

impl PluginCommand for ToCedarschema {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "to cedarschema"
    }

    fn description(&self) -> &str {
        "Convert a schema in its JSON form to Cedar schema syntax."
    }

    fn extra_description(&self) -> &str {
        "Takes what `from cedarschema` or `policy schema --json` gives."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["policy", "convert", "write"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name()).input_output_type(Type::record(), Type::String).category(Category::Formats)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#"policy schema --json | to cedarschema | save infra.cedarschema"#,
            description: "Write the generated schema for an editor",
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
        let value = input.into_value(call.head)?;
        let span = value.span();
        let text = schema_from_json(to_json(&value)?).map_err(|failure| labeled(&failure, span, "in this data"))?;
        Ok(PipelineData::value(Value::string(text, call.head), None))
    }
}
