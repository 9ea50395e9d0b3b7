//! Owns `nickel doc`: the documentation of a file, as rows or Markdown.

use crate::NickelPlugin;
use crate::commands::completes_fields;
use crate::input::{Prepared, Sources, field_flag, import_path_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, PipelineMetadata, Signature, SyntaxShape, Type, Value};
use provision_nu_bridge::from_serialize;

pub struct Doc;

impl PluginCommand for Doc {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel doc"
    }

    fn description(&self) -> &str {
        "List every documented field of a file, or write its documentation as Markdown."
    }

    fn extra_description(&self) -> &str {
        "The Markdown is what the official command writes."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "documentation", "markdown", "reference"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("file", SyntaxShape::Filepath, "File to document.")
            .switch("markdown", "Write Markdown text instead of rows.", Some('m'))
            .input_output_types(vec![
                (Type::Nothing, Type::one_of([Type::table(), Type::String])),
                (Type::String, Type::one_of([Type::table(), Type::String])),
                (Type::Any, Type::one_of([Type::table(), Type::String])),
            ])
            .category(super::category());
        import_path_flag(field_flag(signature, "Document only the record at this dotted path."))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "nickel doc server.ncl | where optional",
                description: "The fields that may be left out",
                result: None,
            },
            Example {
                example: "nickel doc server.ncl --markdown | save SERVER.md",
                description: "Write a page about a file",
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
        let sources = Sources::one(engine, call, input)?;
        let mut prepared = Prepared::new(plugin, engine, call, &sources)?;
        if call.has_flag("markdown")? {
            let written = prepared.run(plugin, engine, |request| plugin.evaluator.doc_markdown(request))?;
            let text = written.map_err(|failure| sources.error(&failure))?;
            let content_type = Some("text/markdown".to_owned());
            let metadata = PipelineMetadata { content_type, ..PipelineMetadata::default() };
            return Ok(PipelineData::value(Value::string(text, call.head), Some(metadata)));
        }
        let listed = prepared.run(plugin, engine, |request| plugin.evaluator.doc(request))?;
        let rows = listed.map_err(|failure| sources.error(&failure))?;
        Ok(PipelineData::value(from_serialize(&rows, call.head)?, None))
    }

    completes_fields!();
}
