//! Owns `nickel validate`: a contract applied to data, row by row.

use crate::NickelPlugin;
use crate::commands::completes_fields;
use crate::input::{Prepared, Sources, field_flag, import_path_flag, inexact_flag};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Example, LabeledError, ListStream, PipelineData, Record, ShellError, Signature, Span, Spanned, SyntaxShape, Type,
    Value, record,
};
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_nickel::{Request, RowVerdict, Validation};
use provision_nu_bridge::{diagnostics_table, from_json, labeled, to_json};
use serde_json::Value as Json;
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
        with --report every row comes out as `index, valid, errors, value` and nothing is raised; the value of a bad row is the row as it came.\n\
        Contracts of enums take tags, which data has as text: `std.enum.TagOrString` lets both through.\n\
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
                example: "open servers.csv | nickel validate server.ncl --field Server --report | where not valid",
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
                let rows = ahead(Rows::new(judge, stream.into_iter()));
                let stream = ListStream::new(rows, call.head, engine.signals().clone());
                Ok(PipelineData::list_stream(stream, metadata))
            }
            range @ PipelineData::Value(Value::Range { .. }, _) => {
                let rows = ahead(Rows::new(judge, range.into_iter()));
                let stream = ListStream::new(rows, call.head, engine.signals().clone());
                Ok(PipelineData::list_stream(stream, None))
            }
            PipelineData::Value(Value::List { vals, .. }, metadata) => {
                let rows = ahead(Rows::new(judge, vals.into_owned().into_iter()));
                let stream = ListStream::new(rows, call.head, engine.signals().clone());
                Ok(PipelineData::list_stream(stream, metadata))
            }
            PipelineData::Empty => {
                let failure = Failure::new(Code::NickelIo, "there is nothing on the pipeline to validate");
                Err(sources.error(&failure.with_help("Pipe in a value, a table or a stream.")))
            }
            other => {
                let value = other.into_value(call.head)?;
                let mut verdicts = judge.validation.judge(vec![to_json(&value)?]).map_err(|it| sources.error(&it))?;
                let verdict = verdicts.pop().ok_or_else(|| LabeledError::new("the value was not judged"))?;
                Ok(PipelineData::value(judge.one(None, verdict, &value)?, None))
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
    /// Judges a batch. Where it fails as a whole, by a limit for example, each row is judged alone, so that only the one
    /// at fault has the failure.
    fn all(&self, rows: Vec<(Value, Result<Json, Diagnostic>)>) -> Vec<(Value, RowVerdict)> {
        let data: Vec<Json> = rows.iter().filter_map(|(_, json)| json.as_ref().ok().cloned()).collect();
        let alone = |json: Json| match self.validation.judge(vec![json]).map(|mut all| all.pop()) {
            Ok(Some(verdict)) => verdict,
            Ok(None) => RowVerdict { value: Json::Null, errors: Vec::new() },
            Err(failure) => RowVerdict { value: Json::Null, errors: failure.into_diagnostics() },
        };
        let mut whole = match self.validation.judge(data) {
            Ok(verdicts) => verdicts.into_iter().map(Some).collect::<VecDeque<_>>(),
            Err(_) => VecDeque::new(),
        };
        rows.into_iter()
            .map(|(row, json)| {
                let verdict = match json {
                    Err(diagnostic) => RowVerdict { value: Json::Null, errors: vec![diagnostic] },
                    Ok(json) => whole.pop_front().flatten().unwrap_or_else(|| alone(json)),
                };
                (row, verdict)
            })
            .collect()
    }

    fn one(&self, index: Option<i64>, verdict: RowVerdict, row: &Value) -> Result<Value, ShellError> {
        let RowVerdict { value, errors } = verdict;
        let of = row.span();
        if self.report {
            let valid = errors.is_empty();
            let value = if valid { ordered(from_json(&value, of), row) } else { row.clone() };
            return Ok(Value::record(
                record! {
                    "index" => Value::int(index.unwrap_or(0), self.span),
                    "valid" => Value::bool(valid, self.span),
                    "errors" => diagnostics_table(&errors, self.span),
                    "value" => value,
                },
                self.span,
            ));
        }
        match Failure::check(errors) {
            Ok(()) => Ok(ordered(from_json(&value, of), row)),
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

/// The value with the fields of the row in the row's order, and what the contract added after them.
fn ordered(value: Value, row: &Value) -> Value {
    let (Value::Record { val: fields, internal_span, .. }, Value::Record { val: like, .. }) = (&value, row) else {
        return value;
    };
    let mut inner = Record::new();
    for (name, field) in like.iter() {
        if let Some(made) = fields.get(name) {
            inner.push(name.clone(), ordered(made.clone(), field));
        }
    }
    for (name, made) in fields.iter().filter(|(name, _)| !like.contains(name)) {
        inner.push(name.clone(), made.clone());
    }
    Value::record(inner, *internal_span)
}

/// What a row that cannot cross is told as.
fn no_data(error: &ShellError) -> Diagnostic {
    Diagnostic::error(Code::NickelEvalNotSerializable, error.to_string()).with_help(
        "Give text, numbers, booleans, dates, durations, sizes, binary, null, and lists and records of them.",
    )
}

/// The rows, judged on a thread of its own while those before them are taken. It ends with its source, or when nobody
/// takes them any more.
fn ahead(rows: impl Iterator<Item = Value> + Send + 'static) -> impl Iterator<Item = Value> + Send {
    let (sender, taken) = std::sync::mpsc::sync_channel(BATCH);
    std::thread::spawn(move || {
        for row in rows {
            if sender.send(row).is_err() {
                return;
            }
        }
    });
    taken.into_iter()
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
        let (mut rows, mut bad) = (Vec::with_capacity(self.batch), None);
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
                    Ok(json) => rows.push((row, Ok(json))),
                    // A row that is no data is judged as it is.
                    Err(error) => rows.push((row, Err(no_data(&error)))),
                },
            }
        }
        self.batch = if began.elapsed() < SLOW { (self.batch * 2).min(BATCH) } else { 1 };
        if !rows.is_empty() {
            for (row, verdict) in self.judge.all(rows) {
                let index = self.next;
                self.next += 1;
                match self.judge.one(Some(index), verdict, &row) {
                    Ok(value) => self.ready.push_back(value),
                    Err(error) => {
                        bad = Some(error);
                        break;
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
