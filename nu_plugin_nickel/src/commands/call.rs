//! Owns `nickel call`: a function written in Nickel, applied to Nushell's data.

use crate::NickelPlugin;
use crate::commands::completes_fields;
use crate::input::{Prepared, Sources, field_flag, import_path_flag, inexact_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, Spanned, SyntaxShape, Type, Value};
use provision_nu_bridge::{from_json, to_json};

pub struct Call;

impl PluginCommand for Call {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel call"
    }

    fn description(&self) -> &str {
        "Call a function written in Nickel with the pipeline's value and further arguments."
    }

    fn extra_description(&self) -> &str {
        "Without anything on the pipeline the arguments alone are given; a null is an argument. A stream is collected: it is one argument."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "function", "apply", "invoke"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("file", SyntaxShape::Filepath, "File that evaluates to the function, or to a record with it.")
            .rest("argument", SyntaxShape::Any, "Further arguments.")
            .input_output_types(vec![(Type::Any, Type::Any)])
            .category(super::category());
        let signature = field_flag(signature, "Call the function at this dotted path.");
        inexact_flag(import_path_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "[1 2 3] | nickel call stats.ncl --field scale 10",
            description: "Scale a list by a function of a file",
            result: None,
        }]
    }

    fn run(
        &self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let file: Spanned<String> = call.req(0)?;
        let sources = Sources::files(engine, &[file])?;
        let mut arguments = match input {
            PipelineData::Empty => Vec::new(),
            other => vec![to_json(&other.into_value(call.head)?)?],
        };
        for argument in call.rest::<Value>(1)? {
            arguments.push(to_json(&argument)?);
        }
        let mut prepared = Prepared::new(plugin, engine, call, &sources)?;
        let called = prepared.run(plugin, engine, |request| plugin.evaluator.call(request, arguments.clone()))?;
        let value = called.map_err(|failure| sources.error(&failure))?;
        Ok(PipelineData::value(from_json(&value, call.head), None))
    }

    completes_fields!();
}
