//! Owns `nickel export`: the official exporter's text.

use crate::NickelPlugin;
use crate::commands::completes_fields;
use crate::input::{Prepared, Sources, evaluation_flags, one_of};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, PipelineMetadata, Signature, SyntaxShape, Type, Value,
};
use provision_nickel::Format;

pub struct Export;

impl PluginCommand for Export {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel export"
    }

    fn description(&self) -> &str {
        "Export Nickel as JSON, YAML, TOML or text, byte for byte as the official command does."
    }

    fn extra_description(&self) -> &str {
        "The first mistake is the error, as the official command has it; `nickel eval` tells all of a run.\n\
        Numbers are rounded to what the format can hold, where `nickel eval` would refuse."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "json", "yaml", "toml", "convert", "save"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .rest("file", SyntaxShape::Filepath, "Nickel, JSON, YAML or TOML files to merge.")
            .param(
                Flag::new("format")
                    .short('F')
                    .arg(SyntaxShape::String)
                    .desc("Format of the text: json (the default), yaml, yaml-documents, toml or text.")
                    .completion(Completion::new_list(&Format::NAMES)),
            )
            .input_output_types(vec![
                (Type::Nothing, Type::String),
                (Type::String, Type::String),
                (Type::Any, Type::String),
            ])
            .category(super::category());
        evaluation_flags(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#""{ b = [1, 2], a = \"x\" }" | nickel export --format yaml"#,
                description: "Convert to YAML",
                result: Some(Value::test_string("a: x\nb:\n- 1\n- 2\n")),
            },
            Example {
                example: "nickel export app.ncl --format toml | save app.toml",
                description: "Write a file of another program",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let format = one_of(call, "format", &Format::ALL)?.unwrap_or(Format::Json);
        let sources = Sources::read(engine, call, input)?;
        let mut prepared = Prepared::new(plugin, engine, call, &sources)?;
        let exported = prepared.run(plugin, engine, |request| plugin.evaluator.export(request, format))?;
        let text = exported.map_err(|failure| sources.error(&failure))?;
        let content_type = match format {
            Format::Json => "application/json",
            Format::Yaml | Format::YamlDocuments => "application/yaml",
            Format::Toml => "application/toml",
            Format::Text => "text/plain",
        };
        let metadata = PipelineMetadata { content_type: Some(content_type.to_owned()), ..PipelineMetadata::default() };
        Ok(PipelineData::value(Value::string(text, call.head), Some(metadata)))
    }

    completes_fields!();
}
