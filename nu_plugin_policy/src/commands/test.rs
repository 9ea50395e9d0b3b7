//! Owns `policy test`: cases with the decision they expect, and what of the policies they reach.

use crate::PolicyPlugin;
use crate::asking::Answering;
use crate::given::policy_flags;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, Record, Signature, Spanned, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{from_serialize, labeled, to_json};
use provision_policy::{Case, CaseResult, Verdict, read_cases};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

pub struct Test;

impl PluginCommand for Test {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy test"
    }

    fn description(&self) -> &str {
        "Run cases that say how policies are to decide."
    }

    fn extra_description(&self) -> &str {
        "A case has `name`, `principal`, `action`, `resource`, maybe `context` and `entities`, and `decision` (allow or deny); it may\n\
        name the `policies` that decide, exactly, and how many fail (`errors`). A file is a list of cases, or a record with `cases`\n\
        and what they share. Nickel, JSON and YAML files are read, the official test format among them; cases can be piped in.\n\
        --coverage tells instead how often each policy and each condition in it was true, false or an error.\n\
        `status` is `passed`, `failed`, or `error` where the question could not be asked."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "cases", "expect", "coverage", "unit"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .rest("file", SyntaxShape::Filepath, "Files of cases; without one the cases on the pipeline.")
            .switch("coverage", "Give what of the policies the cases reach.", Some('c'))
            .switch("strict", "Raise an error if a case failed.", None)
            .named("entities", SyntaxShape::Any, "Entities for every case: a JSON file, or a table.", Some('e'))
            .input_output_types(vec![(Type::Nothing, Type::table()), (Type::Any, Type::table())])
            .category(super::category());
        policy_flags(signature)
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"[{ name: "ann views", principal: 'User::"ann"', action: 'Action::"view"', resource: 'Photo::"sea"', decision: allow }] | policy test --policies 'permit(principal, action, resource);' | reject elapsed"#,
                description: "One case, given as data",
                result: None,
            },
            Example {
                example: "policy test policies/tests.ncl --strict",
                description: "Fail in a script when a case does",
                result: None,
            },
            Example {
                example: "policy test policies/tests.ncl --coverage | where true == 0 or false == 0",
                description: "Conditions that no case sees both ways",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let answering = Answering::new(plugin, engine, call)?;
        let here = PathBuf::from(engine.get_current_dir()?);
        let files: Vec<Spanned<String>> = call.rest(0)?;
        let mut cases: Vec<(Option<String>, Case)> = Vec::new();
        for file in &files {
            let told = |failure: Failure| labeled(&failure, file.span, "in this file");
            let path = here.join(&file.item);
            let json = plugin.data(engine, &path)?.map_err(told)?;
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            let read = |name: &str| read_json(&folder.join(name));
            let read = read_cases(json, &read).map_err(told)?;
            cases.extend(read.into_iter().map(|case| (Some(file.item.clone()), case)));
        }
        if files.is_empty() {
            let span = input.span().unwrap_or(call.head);
            let value = input.into_value(span)?;
            if value.is_nothing() {
                return Err(labeled(
                    &Failure::new(Code::PolicyRequest, "there are no cases to run")
                        .with_help("Name a file of cases, or pipe cases in."),
                    call.head,
                    "needs cases",
                ));
            }
            let read = read_cases(to_json(&value)?, &|name| read_json(&here.join(name)))
                .map_err(|failure| labeled(&failure, span, "these cases"))?;
            cases.extend(read.into_iter().map(|case| (None, case)));
        }
        let strict = call.has_flag("strict")?;
        let whole = files.first().map_or(call.head, |file| file.span);
        if strict && cases.is_empty() {
            let failure = Failure::new(Code::PolicyTest, "there are no cases, so nothing was tested");
            return Err(labeled(&failure, whole, "while testing this"));
        }
        let mut results = Vec::with_capacity(cases.len());
        for (file, case) in &cases {
            results.push((file, answering.of(&case.question)?.test(case)));
        }
        let failed: Vec<&CaseResult> = results.iter().map(|(_, result)| result).filter(|one| !one.passed).collect();
        if strict && let Some(first) = failed.first() {
            let told = first.message.as_deref().unwrap_or_default();
            let message =
                format!("{} of {} cases failed; the first is `{}`: {told}", failed.len(), cases.len(), first.case);
            let help = "`policy explain` says why a question is decided as it is.";
            return Err(labeled(&Failure::new(Code::PolicyTest, message).with_help(help), whole, "while testing this"));
        }
        if call.has_flag("coverage")? {
            let mut asked = Vec::with_capacity(cases.len());
            for (_, case) in &cases {
                asked.push((answering.of(&case.question)?, case));
            }
            let rows = answering.plain().policies().coverage(&asked);
            let rows = rows.map_err(|failure| labeled(&failure, whole, "while testing this"))?;
            return Ok(PipelineData::value(from_serialize(&rows, call.head)?, None));
        }
        let rows = results.iter().map(|(file, result)| row(file.as_deref(), result, call)).collect();
        Ok(PipelineData::value(Value::list(rows, call.head), None))
    }
}

fn read_json(path: &Path) -> Result<Json, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|_| {
        Failure::new(Code::PolicyIo, format!("there is no file `{name}`"))
            .with_help("A case's `entities` are rows, or a JSON file beside the file of cases.")
    })?;
    provision_policy::read_json(&text)
        .map_err(|error| Failure::new(Code::PolicyEntity, format!("`{name}` cannot be read: {error}")))
}

/// What could not be asked is an error, not a failed expectation.
fn status(result: &CaseResult) -> &'static str {
    match (result.passed, result.actual) {
        (true, _) => "passed",
        (false, Some(_)) => "failed",
        (false, None) => "error",
    }
}

fn row(file: Option<&str>, result: &CaseResult, call: &EvaluatedCall) -> Value {
    let span = call.head;
    let word = |verdict: Verdict| Value::string(verdict.word(), span);
    let text = |text: Option<&str>| text.map_or_else(|| Value::nothing(span), |text| Value::string(text, span));
    let mut record = Record::new();
    record.push("case", Value::string(&result.case, span));
    record.push("status", Value::string(status(result), span));
    record.push("expected", word(result.expected));
    record.push("actual", result.actual.map_or_else(|| Value::nothing(span), word));
    let reasons = result.reasons.iter().map(|id| Value::string(id, span)).collect();
    record.push("reasons", Value::list(reasons, span));
    record.push("message", text(result.message.as_deref()));
    record.push("elapsed", Value::duration(i64::try_from(result.elapsed.as_nanos()).unwrap_or(i64::MAX), span));
    record.push("file", text(file));
    Value::record(record, span)
}
