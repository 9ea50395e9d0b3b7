//! Owns `from ncl`, which makes `open FILE.ncl` give data.

use crate::NickelPlugin;
use crate::commands::eval::evaluate;
use crate::input::{Sources, evaluation_flags, inexact_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Category, Example, LabeledError, PipelineData, Signature, Type, Value, record};

pub struct FromNcl;

impl PluginCommand for FromNcl {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "from ncl"
    }

    fn description(&self) -> &str {
        "Evaluate Nickel text to data."
    }

    fn extra_description(&self) -> &str {
        "`open FILE.ncl` calls it by itself; imports are then looked up beside that file."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["nickel", "convert", "parse"]
    }

    fn signature(&self) -> Signature {
        let signature =
            Signature::build(self.name()).input_output_type(Type::String, Type::Any).category(Category::Formats);
        inexact_flag(evaluation_flags(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: r#""{ name = \"web\", port | default = 80 }" | from ncl"#,
            description: "Convert Nickel text to a record",
            result: Some(Value::test_record(
                record! { "name" => Value::test_string("web"), "port" => Value::test_int(80) },
            )),
        }]
    }

    fn run(
        &self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let sources = Sources::text(engine, call, input)?;
        evaluate(plugin, engine, call, &sources)
    }
}
