//! Owns `nickel eval`: Nickel in, data out.

use crate::NickelPlugin;
use crate::commands::completes_fields;
use crate::input::{Prepared, Sources, evaluation_flags, inexact_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Example, LabeledError, ListStream, PipelineData, PipelineMetadata, Record, Signature, Span, SyntaxShape, Type,
    Value, record,
};
use provision_nickel::{Evaluation, Source};
use provision_nu_bridge::from_json;
use std::sync::{Arc, PoisonError};

/// Lists longer than this are streamed; shorter ones arrive sooner as one value.
const LONG: usize = 100_000;
/// Converted results kept. A loop or a script calls from the same place again; at the prompt every line is a new one.
const KEPT: usize = 4;

pub struct Eval;

impl PluginCommand for Eval {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel eval"
    }

    fn description(&self) -> &str {
        "Evaluate Nickel files, or Nickel text, to data."
    }

    fn extra_description(&self) -> &str {
        "Several files are merged. All mistakes of a run are reported, each at its own place.\n\
        Integers stay integers; a number that has no exact decimal form is an error unless --inexact allows it.\n\
        Imports are looked up beside the file, along --import-path, in NICKEL_IMPORT_PATH, then among the built-in schemas.\n\
        While no file changes the result is given again without evaluating."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "configuration", "export", "load"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .rest("file", SyntaxShape::Filepath, "Nickel, JSON, YAML or TOML files to merge.")
            .input_output_types(vec![(Type::Nothing, Type::Any), (Type::String, Type::Any), (Type::Any, Type::Any)])
            .category(super::category());
        inexact_flag(evaluation_flags(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#""{ size = 2 * 21 }" | nickel eval"#,
                description: "Evaluate text",
                result: Some(Value::test_record(record! { "size" => Value::test_int(42) })),
            },
            Example {
                example: r#""{ a.b | default = 1 }" | nickel eval --field a.b --override {a: {b: 2}}"#,
                description: "Change a field and take only that",
                result: Some(Value::test_int(2)),
            },
            Example { example: "nickel eval base.ncl dev.ncl", description: "Merge two files", result: None },
        ]
    }

    fn run(
        &self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let sources = Sources::read(engine, call, input)?;
        evaluate(plugin, engine, call, &sources)
    }

    completes_fields!();
}

/// Evaluates the sources; the result carries where it came from as metadata.
pub fn evaluate(
    plugin: &NickelPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    sources: &Sources,
) -> Result<PipelineData, LabeledError> {
    let mut prepared = Prepared::new(plugin, engine, call, sources)?;
    let evaluated = prepared.run(plugin, engine, |request| plugin.evaluator.eval(request))?;
    let evaluation = evaluated.map_err(|failure| sources.error(&failure))?;
    let file = match sources.sources.first() {
        Some(Source::File(path)) => Value::string(path.to_string_lossy(), call.head),
        _ => Value::nothing(call.head),
    };
    let source = record! { "file" => file, "digest" => Value::string(&evaluation.digest, call.head) };
    let mut custom = Record::new();
    custom.insert("nickel_source", Value::record(source, call.head));
    let content_type = evaluation.value.is_string().then(|| "text/plain".to_owned());
    let metadata = PipelineMetadata { content_type, custom, ..PipelineMetadata::default() };
    let length = evaluation.value.as_array().map_or(0, Vec::len);
    if length > LONG {
        let rows = rows(evaluation, length, call.head);
        let stream = ListStream::new(rows, call.head, engine.signals().clone());
        return Ok(PipelineData::list_stream(stream, Some(metadata)));
    }
    Ok(PipelineData::value(converted(plugin, &evaluation, call.head), Some(metadata)))
}

/// The value as Nushell has it. Values know the place they came from, so a kept one serves only the same place.
fn converted(plugin: &NickelPlugin, evaluation: &Evaluation, span: Span) -> Value {
    let kept = || plugin.converted.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, value)) = kept().iter().find(|(digest, at, _)| *digest == evaluation.digest && *at == span) {
        return value.clone();
    }
    let value = from_json(&evaluation.value, span);
    let mut kept = kept();
    kept.retain(|(_, at, _)| *at != span);
    kept.push_back((evaluation.digest.clone(), span, value.clone()));
    if kept.len() > KEPT {
        kept.pop_front();
    }
    value
}

/// The elements of a long list, each made when it is asked for.
fn rows(evaluation: Arc<Evaluation>, length: usize, span: Span) -> impl Iterator<Item = Value> + Send {
    (0..length).map_while(move |at| Some(from_json(evaluation.value.get(at)?, span)))
}
