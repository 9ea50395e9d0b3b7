//! Owns `to ncl`: data as Nickel text.

use crate::NickelPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Category, Example, LabeledError, PipelineData, Signature, Type, Value};
use provision_nickel::to_ncl;
use provision_nu_bridge::to_json;

pub struct ToNcl;

impl PluginCommand for ToNcl {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "to ncl"
    }

    fn description(&self) -> &str {
        "Convert data to Nickel text."
    }

    fn extra_description(&self) -> &str {
        "`from ncl` gives the same data again. Dates, durations, sizes and binary are written as records with a `$nu` field.\n\
        Closures, ranges, infinities and what else is no data are errors that name the path."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["nickel", "convert", "serialize", "write"]
    }

    fn signature(&self) -> Signature {
        Signature::build(self.name()).input_output_type(Type::Any, Type::String).category(Category::Formats)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"{name: web, "on port": [80 443]} | to ncl"#,
                description: "Convert a record",
                result: Some(Value::test_string(
                    "{\n  name = \"web\",\n  \"on port\" = [\n    80,\n    443,\n  ],\n}\n",
                )),
            },
            Example {
                example: "open servers.csv | to ncl | save servers.ncl",
                description: "Write a table as Nickel",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        _plugin: &NickelPlugin,
        _engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let data = to_json(&input.into_value(call.head)?)?;
        Ok(PipelineData::value(Value::string(to_ncl(&data), call.head), None))
    }
}
