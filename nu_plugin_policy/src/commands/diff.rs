//! Owns `policy diff`: the questions that two policy sets decide differently.

use crate::PolicyPlugin;
use crate::asking::{Answering, Asking, request_flags};
use crate::given::{policies_of, solver, solver_flags};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{Example, LabeledError, PipelineData, ShellError, Signature, Span, SyntaxShape, Type, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{from_json, from_serialize, labeled, rows, shell, stream, until_error};
use provision_policy::{Difference, PolicySet, Question, Verdict, difference};
use std::sync::Arc;

pub struct Diff;

impl PluginCommand for Diff {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy diff"
    }

    fn description(&self) -> &str {
        "Find the questions that two policy sets decide differently."
    }

    fn extra_description(&self) -> &str {
        "Rows are questions as for `policy authorize`; those whose decision changes come out with `before`, `after` and `policies`,\n\
        the policies that decided in each set.\n\
        --all looks among all possible questions of the schema instead, with the solver cvc5: one row for each action and direction\n\
        in which the sets differ, with a question that shows it. No row is a proof that they decide alike."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "compare", "replay", "change", "regression"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .required("old", SyntaxShape::Any, "The policies before: a file, a folder, Cedar text, or a table.")
            .required("new", SyntaxShape::Any, "The policies after.")
            .switch("all", "Look among all possible questions, by proof.", Some('a'))
            .input_output_types(vec![
                (Type::table(), Type::table()),
                (Type::list(Type::record()), Type::table()),
                (Type::record(), Type::table()),
                (Type::Nothing, Type::table()),
            ])
            .category(super::category());
        request_flags(solver_flags(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        vec![
            Example {
                example: r#"[[principal, action, resource]; ['User::"ann"', 'Action::"view"', 'Photo::"sea"']] | policy diff 'permit(principal, action, resource);' 'forbid(principal, action, resource);' | select before after"#,
                description: "Replay questions against a stricter set",
                result: None,
            },
            Example {
                example: "open requests.json | policy diff policies new-policies | where after == allow",
                description: "What becomes possible",
                result: None,
            },
            Example {
                example: "policy diff policies new-policies --all",
                description: "A question for every way in which they differ, or proof that there is none",
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
        let set = |at: usize| -> Result<Arc<PolicySet>, LabeledError> {
            let given = policies_of(plugin, engine, &call.req(at)?)?;
            given.what.map_err(|failure| labeled(&failure, given.span, "in these policies"))
        };
        let (old, new) = (set(0)?, set(1)?);
        let head = call.head;
        let before = Answering::with(plugin, engine, call, &old)?;
        let after = Answering::with(plugin, engine, call, &new)?;
        if call.has_flag("all")? {
            let solver = solver(plugin, engine, call)?;
            let found = solver
                .prover()
                .and_then(|mut prover| prover.differing(&old, &new))
                .map_err(|failure| labeled(&failure, head, "while proving"))?;
            let mut all = Vec::new();
            for json in found {
                let question: Question = serde_json::from_value(json.clone()).map_err(|error| {
                    LabeledError::new(format!("a counterexample cannot be read: {error}")).with_label("here", head)
                })?;
                let (before, after) = (before.of(&question)?, after.of(&question)?);
                let told = difference(before, after, &question).map_err(|failure| labeled(&failure, head, "here"))?;
                if let Some(told) = told {
                    all.push(with(from_json(&json, head), &told, head)?);
                }
            }
            return Ok(PipelineData::value(Value::list(all, head), None));
        }
        if matches!(input, PipelineData::Empty | PipelineData::Value(Value::Nothing { .. }, _)) {
            let failure = Failure::new(Code::PolicyRequest, "no question was asked of the two sets")
                .with_help("Pipe questions in, or give --all to look among all there can be.");
            return Err(labeled(&failure, head, "needs questions"));
        }
        let asking = Asking::new(engine, call)?;
        let signals = engine.signals().clone();
        let changed = rows(input, head)?.filter_map(move |row| {
            let span = row.span();
            let told = || -> Result<Option<Value>, ShellError> {
                let question = asking.question(&row)?;
                let found = difference(before.of(&question)?, after.of(&question)?, &question)
                    .map_err(|failure| shell(&failure, span, "this row"))?;
                found.map(|found| with(row.clone(), &found, head)).transpose()
            };
            told().unwrap_or_else(|error| Some(Value::error(error, span)))
        });
        Ok(stream(until_error(changed), head, signals))
    }
}

fn with(row: Value, found: &Difference, head: Span) -> Result<Value, ShellError> {
    let span = row.span();
    let mut record = row.into_record()?;
    let word = |verdict: Verdict| Value::string(verdict.word(), head);
    record.insert("before", word(found.before.decision));
    record.insert("after", word(found.after.decision));
    record.insert("policies", from_serialize(&found.policies(), head)?);
    Ok(Value::record(record, span))
}
