//! Owns `from cedarschema`.

use crate::PolicyPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Category, Example, LabeledError, PipelineData, Signature, Type};
use provision_nu_bridge::{from_json, labeled};
use provision_policy::schema_json;

pub struct FromCedarschema;

impl PluginCommand for FromCedarschema {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "from cedarschema"
    }

    fn description(&self) -> &str {
        "Convert a Cedar schema to its JSON form, as a record."
    }

    fn extra_description(&self) -> &str {
        "The record has a field for each namespace."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["policy", "convert", "parse", "json"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name()).input_output_type(Type::String, Type::record()).category(Category::Formats)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#""entity User;" | from cedarschema | columns"#,
            description: "The namespaces of a schema",
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
        let json = schema_json("<input>", &text).map_err(|failure| labeled(&failure, span, "in this text"))?;
        Ok(PipelineData::value(from_json(&json, call.head), None))
    }
}
