//! Owns `nickel check`: what is wrong in Nickel, as a table.

use crate::NickelPlugin;
use crate::input::{Prepared, Sources, import_path_flag, misses_import};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Signature, SyntaxShape, Type, Value};
use provision_diagnostic::{Diagnostic, Failure, Severity};
use provision_nickel::Source;
use provision_nu_bridge::diagnostics_table;
use std::path::PathBuf;

pub struct Check;

impl PluginCommand for Check {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel check"
    }

    fn description(&self) -> &str {
        "Parse and typecheck Nickel, giving what is wrong as a table."
    }

    fn extra_description(&self) -> &str {
        "The table is empty when nothing is wrong. Nothing is evaluated, so contracts are not checked: `nickel eval` does that.\n\
        The sources are the files named, the text on the pipeline, or the files of a list on the pipeline."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "lint", "typecheck", "diagnostics", "validate"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .rest("file", SyntaxShape::Filepath, "Files to check.")
            .switch("strict", "Raise the first error instead of returning it.", Some('s'))
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::String, Type::table()),
                (Type::List(Box::new(Type::String)), Type::table()),
                (Type::Any, Type::table()),
            ])
            .category(super::category());
        import_path_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#""{ x = 1 }" | nickel check"#,
                description: "Check text that is right",
                result: Some(Value::test_list(vec![])),
            },
            Example {
                example: "glob **/*.ncl | nickel check",
                description: "Check all files of a folder",
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
        let sources = match input {
            PipelineData::ListStream(..) | PipelineData::Value(Value::List { .. }, _) => listed(engine, call, input)?,
            other => Sources::read(engine, call, other)?,
        };
        let mut prepared = Prepared::new(plugin, engine, call, &sources)?;
        let misses = |found: &Vec<Diagnostic>| found.iter().any(misses_import);
        let checked = prepared.run_unless(plugin, engine, |request| plugin.evaluator.check(request), misses)?;
        let found = checked.map_err(|failure| sources.error(&failure))?;
        if call.has_flag("strict")? {
            let errors = found.iter().filter(|one| one.severity == Severity::Error).cloned().collect();
            Failure::check(errors).map_err(|failure| sources.error(&failure))?;
        }
        Ok(PipelineData::value(diagnostics_table(&found, call.head), None))
    }
}

fn listed(engine: &EngineInterface, call: &EvaluatedCall, input: PipelineData) -> Result<Sources, LabeledError> {
    let span = input.span().unwrap_or(call.head);
    let here = PathBuf::from(engine.get_current_dir()?);
    let mut sources = Vec::new();
    for file in input {
        sources.push(Source::File(here.join(file.as_str()?)));
    }
    Ok(Sources { sources, span, label: "while checking these files", here })
}
