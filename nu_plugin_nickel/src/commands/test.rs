//! Owns `nickel test`: the examples in doc comments, run.

use crate::NickelPlugin;
use crate::input::{Prepared, Sources, import_path_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Record, Signature, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nickel::TestRow;

pub struct Test;

impl PluginCommand for Test {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel test"
    }

    fn description(&self) -> &str {
        "Run the examples in the doc comments of Nickel files."
    }

    fn extra_description(&self) -> &str {
        "An example is a code block marked `nickel`. It ends with a comment that says what it gives: `# => 42`,\n\
        `# => error`, or `# => error: a part of the message`; without one it only has to evaluate.\n\
        Marked `nickel multiline` each paragraph is an example; marked `nickel ignore` none is run."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "doctest", "examples", "check"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .rest("file", SyntaxShape::Filepath, "Files to test, with what they import.")
            .switch("strict", "Raise an error if an example failed.", Some('s'))
            .input_output_types(vec![
                (Type::Nothing, Type::table()),
                (Type::String, Type::table()),
                (Type::Any, Type::table()),
            ])
            .category(super::category());
        import_path_flag(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "nickel test lib.ncl | where status == failed",
                description: "The examples that do not give what they say",
                result: None,
            },
            Example { example: "nickel test lib.ncl --strict", description: "Fail in a script", result: None },
        ]
    }

    fn run(
        &self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let files: Vec<Spanned<String>> = call.rest(0)?;
        let sources = match files.is_empty() {
            true => vec![Sources::text(engine, call, input)?],
            false => {
                let each = files.iter().map(|file| Sources::files(engine, std::slice::from_ref(file)));
                each.collect::<Result<_, _>>()?
            }
        };
        let mut all: Vec<TestRow> = Vec::new();
        for sources in &sources {
            let mut prepared = Prepared::new(plugin, engine, call, sources)?;
            let tested = prepared.run(plugin, engine, |request| plugin.evaluator.test(request))?;
            all.extend(tested.map_err(|failure| sources.error(&failure))?);
        }
        let failed: Vec<&TestRow> = all.iter().filter(|row| !row.passed).collect();
        if call.has_flag("strict")?
            && let Some(first) = failed.first()
        {
            let message = format!("{} of {} examples failed; the first is {}", failed.len(), all.len(), first.test);
            let told = first.message.as_deref().unwrap_or_default();
            let failure =
                Failure::new(Code::NickelEvalContract, message).with_help(format!("In {}:\n{told}", first.file));
            let whole = sources.first().map_or(call.head, |sources| sources.span);
            return Err(provision_nu_bridge::labeled(&failure, whole, "while testing this"));
        }
        let rows = all.iter().map(|row| self.row(row, call)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}

impl Test {
    fn row(&self, row: &TestRow, call: &EvaluatedCall) -> Value {
        let span = call.head;
        let text = |text: &Option<String>| match text {
            Some(text) => Value::string(text, span),
            None => Value::nothing(span),
        };
        let mut record = Record::new();
        record.push("file", Value::string(&row.file, span));
        record.push("test", Value::string(&row.test, span));
        record.push("status", Value::string(if row.passed { "passed" } else { "failed" }, span));
        record.push("expected", text(&row.expected));
        record.push("actual", text(&row.actual));
        record.push("message", text(&row.message));
        record.push("elapsed", Value::duration(i64::try_from(row.elapsed.as_nanos()).unwrap_or(i64::MAX), span));
        Value::record(record, span)
    }
}
