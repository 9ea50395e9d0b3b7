//! Owns `nickel query`: what is known of a field, as a record.

use crate::NickelPlugin;
use crate::commands::completes_fields;
use crate::input::{Prepared, Sources, field_flag, import_path_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_nu_bridge::from_serialize;

pub struct Query;

impl PluginCommand for Query {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel query"
    }

    fn description(&self) -> &str {
        "Tell what is known of a field: its type, contracts, documentation, default and value."
    }

    fn extra_description(&self) -> &str {
        "Nothing else need be complete: fields that lack a definition, and values that are no data, are described too."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "metadata", "inspect", "documentation", "contract"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .optional("file", SyntaxShape::Filepath, "File to look into.")
            .input_output_types(vec![
                (Type::Nothing, Type::record()),
                (Type::String, Type::record()),
                (Type::Any, Type::record()),
            ])
            .category(super::category());
        import_path_flag(field_flag(signature, "The field at this dotted path; without, the whole value."))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "nickel query server.ncl --field Server.port",
                description: "What a server's port may be",
                result: None,
            },
            Example {
                example: r#""{ port | Number | doc \"Where it listens\" | default = 80 }" | nickel query --field port | get doc"#,
                description: "The documentation of a field of some text",
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
        let asked = prepared.run(plugin, engine, |request| plugin.evaluator.query(request))?;
        let info = asked.map_err(|failure| sources.error(&failure))?;
        Ok(PipelineData::value(from_serialize(&info, call.head)?, None))
    }

    completes_fields!();
}
