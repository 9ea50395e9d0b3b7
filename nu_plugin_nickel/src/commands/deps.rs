//! Owns `nickel deps`: what a file imports, transitively.

use crate::NickelPlugin;
use crate::input::{Prepared, Sources, import_path_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type};
use provision_nu_bridge::from_serialize;

pub struct Deps;

impl PluginCommand for Deps {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel deps"
    }

    fn description(&self) -> &str {
        "List what a Nickel file imports, and what that imports."
    }

    fn extra_description(&self) -> &str {
        "A file that several import has a row for each of them. The digest is the SHA-256 of its content.\n\
        Nothing is evaluated: imports of branches that are never taken are listed too."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "import", "dependencies", "files", "watch"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .rest("file", SyntaxShape::Filepath, "Files to start from.")
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::String, Type::table()),
                (Type::Any, Type::table()),
            ])
            .category(super::category());
        import_path_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![Example {
            example: "nickel deps app.ncl | get file | uniq",
            description: "Every file an evaluation of it imports",
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
        let sources = Sources::read(engine, call, input)?;
        let mut prepared = Prepared::new(plugin, engine, call, &sources)?;
        let listed = prepared.run(plugin, engine, |request| plugin.evaluator.deps(request))?;
        let rows = listed.map_err(|failure| sources.error(&failure))?;
        Ok(PipelineData::value(from_serialize(&rows, call.head)?, None))
    }
}
