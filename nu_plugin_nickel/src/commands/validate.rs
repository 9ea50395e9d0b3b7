//! Owns `nickel validate`: a contract applied to data, row by row.

use crate::NickelPlugin;
use crate::commands::completes_fields;
use crate::input::{Prepared, Sources, field_flag, import_path_flag, inexact_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Example, LabeledError, ListStream, PipelineData, ShellError, Signature, Span, Spanned, SyntaxShape, Type, Value,
    record,
};
use provision_diagnostic::Failure;
use provision_nickel::{Request, RowVerdict, Validation};
use provision_nu_bridge::{diagnostics_table, from_json, labeled, to_json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rows judged at once, at most.
const BATCH: usize = 512;
/// A batch that takes longer to gather comes from a slow source, whose rows should not wait for each other.
const SLOW: Duration = Duration::from_millis(5);

pub struct Validate;

impl PluginCommand for Validate {
    type Plugin = NickelPlugin;

    fn name(&self) -> &str {
        "nickel validate"
    }

    fn description(&self) -> &str {
        "Apply a Nickel contract to a value, or to each row of a table or stream."
    }

    fn extra_description(&self) -> &str {
        "What comes out has the contract's defaults. The first row that breaks it is the error, with its number and the field;\n\
        with --report every row comes out as `index, valid, errors, value` and nothing is raised.\n\
        The contract is compiled once, and a stream is never held whole."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["ncl", "contract", "schema", "check", "default"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("contract", SyntaxShape::Filepath, "File that evaluates to the contract, or to a record with it.")
            .switch("report", "Give a verdict on every row instead of raising an error.", Some('r'))
            .input_output_types(vec![(Type::Any, Type::Any)])
            .category(super::category());
        let signature = field_flag(signature, "The contract at this dotted path of the file.");
        inexact_flag(import_path_flag(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: "open servers.csv | nickel validate server.ncl --field Server",
                description: "Check a table and fill in what it leaves out",
                result: None,
            },
            Example {
                example: "open servers.csv | nickel validate server.ncl --report | where not valid",
                description: "List the rows that break the contract",
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
        let file: Spanned<String> = call.req(0)?;
        let sources = Sources::files(engine, &[file])?;
        let mut prepared = Prepared::new(plugin, engine, call, &sources)?;
        // Compiled before the first row, so that a broken contract is told as such and nothing is read for it.
        let compile = |request: &Request| {
            let validation = Validation::new(plugin.evaluator.clone(), Request::clone(request));
            validation.judge(Vec::new()).map(|_| validation)
        };
        let compiled = prepared.run(plugin, engine, compile)?;
        let validation = compiled.map_err(|failure| sources.error(&failure))?;
        let report = call.has_flag("report")?;
        let judge = Judge { validation, report, span: call.head, _prepared: prepared };
        match input {
            PipelineData::ListStream(stream, metadata) => {
                let rows = Rows::new(judge, stream.into_iter());
                let stream = ListStream::new(rows, call.head, engine.signals().clone());
                Ok(PipelineData::list_stream(stream, metadata))
            }
            range @ PipelineData::Value(Value::Range { .. }, _) => {
                let rows = Rows::new(judge, range.into_iter());
                let stream = ListStream::new(rows, call.head, engine.signals().clone());
                Ok(PipelineData::list_stream(stream, None))
            }
            PipelineData::Value(Value::List { vals, .. }, metadata) => {
                let rows = Rows::new(judge, vals.into_owned().into_iter());
                let stream = ListStream::new(rows, call.head, engine.signals().clone());
                Ok(PipelineData::list_stream(stream, metadata))
            }
            other => {
                let value = other.into_value(call.head)?;
                let mut verdicts = judge.validation.judge(vec![to_json(&value)?]).map_err(|it| sources.error(&it))?;
                let verdict = verdicts.pop().ok_or_else(|| LabeledError::new("the value was not judged"))?;
                Ok(PipelineData::value(judge.one(None, verdict, value.span())?, None))
            }
        }
    }

    completes_fields!();
}

/// Turns verdicts into what comes out.
struct Judge {
    validation: Validation,
    report: bool,
    span: Span,
    /// Keeps the interrupt registered while rows come.
    _prepared: Prepared,
}

impl Judge {
    fn one(&self, index: Option<i64>, verdict: RowVerdict, of: Span) -> Result<Value, ShellError> {
        let RowVerdict { value, errors } = verdict;
        if self.report {
            let valid = errors.is_empty();
            return Ok(Value::record(
                record! {
                    "index" => Value::int(index.unwrap_or(0), self.span),
                    "valid" => Value::bool(valid, self.span),
                    "errors" => diagnostics_table(&errors, self.span),
                    "value" => from_json(&value, of),
                },
                self.span,
            ));
        }
        match Failure::check(errors) {
            Ok(()) => Ok(from_json(&value, of)),
            Err(mut failure) => {
                let label = match index {
                    None => "this value breaks the contract",
                    Some(index) => {
                        let others = failure.others.iter_mut();
                        for one in std::iter::once(&mut *failure.first).chain(others) {
                            let comma = if one.message.starts_with('`') { ", " } else { ": " };
                            one.message = format!("row {index}{comma}{}", one.message);
                        }
                        "this row breaks the contract"
                    }
                };
                Err(labeled(&failure, of, label).into())
            }
        }
    }
}

/// A stream of judged rows.
struct Rows<I> {
    judge: Judge,
    input: I,
    ready: VecDeque<Value>,
    next: i64,
    batch: usize,
    over: bool,
}

impl<I: Iterator<Item = Value>> Rows<I> {
    fn new(judge: Judge, input: I) -> Self {
        Self { judge, input, ready: VecDeque::new(), next: 0, batch: 1, over: false }
    }

    /// Gathers and judges the next batch. What is raised ends the stream, after the rows before it.
    fn fill(&mut self) {
        let began = Instant::now();
        let (mut rows, mut spans, mut bad) = (Vec::with_capacity(self.batch), Vec::new(), None);
        while rows.len() < self.batch {
            match self.input.next() {
                None => {
                    self.over = true;
                    break;
                }
                Some(Value::Error { error, .. }) => {
                    bad = Some(*error);
                    break;
                }
                Some(row) => match to_json(&row) {
                    Ok(json) => {
                        spans.push(row.span());
                        rows.push(json);
                    }
                    Err(error) => {
                        bad = Some(error);
                        break;
                    }
                },
            }
        }
        self.batch = if began.elapsed() < SLOW { (self.batch * 2).min(BATCH) } else { 1 };
        if !rows.is_empty() {
            match self.judge.validation.judge(rows) {
                Err(failure) => bad = Some(labeled(&failure, self.judge.span, "while validating").into()),
                Ok(verdicts) => {
                    for (verdict, span) in verdicts.into_iter().zip(spans) {
                        let index = self.next;
                        self.next += 1;
                        match self.judge.one(Some(index), verdict, span) {
                            Ok(value) => self.ready.push_back(value),
                            Err(error) => {
                                bad = Some(error);
                                break;
                            }
                        }
                    }
                }
            }
        }
        if let Some(error) = bad {
            self.over = true;
            self.ready.push_back(Value::error(error, self.judge.span));
        }
    }
}

impl<I: Iterator<Item = Value>> Iterator for Rows<I> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        while self.ready.is_empty() && !self.over {
            self.fill();
        }
        self.ready.pop_front()
    }
}
