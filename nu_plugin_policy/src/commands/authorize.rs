//! Owns `policy authorize`: each row with its decision.

use crate::PolicyPlugin;
use crate::asking::{Answering, Asking, request_flags};
use crate::given::policy_flags;
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, ShellError, Signature, Span, Spanned, SyntaxShape, Type,
    Value, record,
};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{from_serialize, in_parallel, rows, shell, stream, until_error};
use provision_policy::{Decision, Partial, PolicyError, Question, Reason, Verdict};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

pub struct Authorize;

impl PluginCommand for Authorize {
    type Plugin = PolicyPlugin;

    fn name(&self) -> &str {
        "policy authorize"
    }

    fn description(&self) -> &str {
        "Decide each row with Cedar policies, adding `decision`, `reasons` and `errors`."
    }

    fn extra_description(&self) -> &str {
        "A row's `request` record is the question (rows of `provision plan` have one), else its columns `principal`, `action`, \
        `resource`, `context` and `entities`; flags of these names take a constant, or a closure over the row.\n\
        A deny is data; --strict raises `policy::denied` on the first, before any row goes on, and `policy::evaluate` where a `forbid` could not be evaluated. A deny without reasons means that no policy permits it.\n\
        A row of a plan whose decision hangs on a value known only after apply is `pending`; apply asks again then.\n\
        Questions about `Provision::Action`s are typed by the generated schema unless --schema gives another."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "allow", "deny", "permission", "decide", "gate"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .param(
                Flag::new("only")
                    .arg(SyntaxShape::String)
                    .desc("Keep only the rows with this decision.")
                    .completion(Completion::new_list(&["allow", "deny", "pending"])),
            )
            .switch("strict", "Raise an error on the first deny, and where a `forbid` could not be evaluated.", None)
            .input_output_types(vec![
                (Type::record(), Type::record()),
                (Type::table(), Type::table()),
                (Type::list(Type::record()), Type::list(Type::record())),
                (Type::list(Type::Any), Type::list(Type::Any)),
                (Type::Nothing, Type::record()),
            ])
            .category(super::category());
        policy_flags(request_flags(signature))
    }

    fn examples(&self) -> Vec<Example<'_>> {
        let reason = |policy: &str, effect: &str| {
            Value::test_record(record! {
                "policy" => Value::test_string(policy), "effect" => Value::test_string(effect),
                "annotations" => Value::test_record(record! {}),
                "file" => Value::test_string("<policies>"), "line" => Value::test_int(1),
            })
        };
        vec![
            Example {
                example: r#"[[principal, action, resource]; ['User::"ann"', 'Action::"view"', 'Photo::"sea"']] | policy authorize --policies 'permit(principal == User::"ann", action, resource);'"#,
                description: "Decide a table of questions",
                result: Some(Value::test_list(vec![Value::test_record(record! {
                    "principal" => Value::test_string("User::\"ann\""), "action" => Value::test_string("Action::\"view\""),
                    "resource" => Value::test_string("Photo::\"sea\""), "decision" => Value::test_string("allow"),
                    "reasons" => Value::test_list(vec![reason("policy0", "permit")]), "errors" => Value::test_list(vec![]),
                })])),
            },
            Example {
                example: r#"{ name: "sea" } | policy authorize --principal 'User::"bob"' --action 'Action::"view"' --resource {|row| { type: "Photo", id: $row.name } } --policies 'forbid(principal, action, resource);'"#,
                description: "Take the parts of the question from flags",
                result: Some(Value::test_record(record! {
                    "name" => Value::test_string("sea"), "decision" => Value::test_string("deny"),
                    "reasons" => Value::test_list(vec![reason("policy0", "forbid")]), "errors" => Value::test_list(vec![]),
                })),
            },
            Example {
                example: "provision plan | policy authorize --only allow | provision apply",
                description: "Apply what the project's policies allow",
                result: None,
            },
        ]
    }

    fn run(
        &self,
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        mut input: PipelineData,
    ) -> Result<PipelineData, LabeledError> {
        let work = Work::new(plugin, engine, call)?;
        let metadata = input.take_metadata();
        if let PipelineData::Empty | PipelineData::Value(Value::Nothing { .. } | Value::Record { .. }, _) = input {
            let row = match input {
                PipelineData::Value(record @ Value::Record { .. }, _) => record,
                _ => Value::record(record! {}, call.head),
            };
            let decided = work.row(row).map_or(Value::nothing(call.head), |row| row);
            return match decided {
                Value::Error { error, .. } => Err((*error).into()),
                value => Ok(PipelineData::value(value, metadata)),
            };
        }
        let signals = engine.signals().clone();
        let strict = work.strict;
        let source = rows(input, call.head)?;
        // A closure is called for the rows that are taken, one after the other; without one all cores work ahead.
        let decided: Box<dyn Iterator<Item = Value> + Send> = match work.asking.is_constant() {
            true => Box::new(in_parallel(source, move |row| work.row(row))),
            false => Box::new(source.filter_map(move |row| work.row(row))),
        };
        if strict {
            // A gate must hold whatever comes after it: `| length` would count an error as a row.
            let mut all = Vec::new();
            for row in decided {
                signals.check(&call.head)?;
                match row {
                    Value::Error { error, .. } => return Err((*error).into()),
                    row => all.push(row),
                }
            }
            return Ok(PipelineData::value(Value::list(all, call.head), metadata));
        }
        Ok(stream(until_error(decided), call.head, signals).set_metadata(metadata))
    }
}

/// Everything needed to decide a row.
struct Work {
    asking: Asking,
    answering: Answering,
    /// `Some(None)` is pending.
    only: Option<Option<Verdict>>,
    strict: bool,
    head: Span,
    /// The rows of `reasons` made before: the same few policies decide most rows.
    told: RwLock<HashMap<usize, (Arc<Reason>, Value)>>,
}

impl Work {
    fn new(plugin: &PolicyPlugin, engine: &EngineInterface, call: &EvaluatedCall) -> Result<Self, LabeledError> {
        let given: Option<Spanned<String>> = call.get_flag("only")?;
        let only = match given.as_ref().map(|given| given.item.as_str()) {
            None => None,
            Some("allow") => Some(Some(Verdict::Allow)),
            Some("deny") => Some(Some(Verdict::Deny)),
            Some("pending") => Some(None),
            Some(other) => {
                let span = given.as_ref().map_or(call.head, |given| given.span);
                return Err(LabeledError::new(format!("`{other}` is not a decision"))
                    .with_code(Code::PolicyRequest)
                    .with_help("Give --only allow, --only deny, or --only pending.")
                    .with_label("expected allow, deny or pending", span));
            }
        };
        Ok(Self {
            asking: Asking::new(engine, call)?,
            answering: Answering::new(plugin, engine, call)?,
            only,
            strict: call.has_flag("strict")?,
            head: call.head,
            told: RwLock::default(),
        })
    }

    /// The row with its decision; `None` where `--only` leaves it out; an error value where it cannot be decided.
    fn row(&self, row: Value) -> Option<Value> {
        let span = row.span();
        let failed = |error: ShellError| Value::error(error, span);
        match self.decide(&row) {
            Err(error) => Some(failed(error)),
            Ok((_, Partial::Pending)) if self.only.is_some_and(|only| only.is_some()) => None,
            Ok((_, Partial::Pending)) => Some(self.with(row, "pending", &[], &[]).unwrap_or_else(failed)),
            Ok((question, Partial::Decided(decision))) => {
                if self.strict && decision.decision == Verdict::Deny {
                    let failure = denied(&question, &decision);
                    return Some(failed(shell(&failure, span, "this row is denied")));
                }
                if self.strict
                    && let Some(failure) = self.unsure(&question, &decision)
                {
                    return Some(failed(shell(&failure, span, "this row is not decided for certain")));
                }
                if self.only.is_some_and(|only| only != Some(decision.decision)) {
                    return None;
                }
                Some(
                    self.with(row, decision.decision.word(), &decision.reasons, &decision.errors)
                        .unwrap_or_else(failed),
                )
            }
        }
    }

    fn with(
        &self,
        row: Value,
        verdict: &str,
        reasons: &[Arc<Reason>],
        errors: &[PolicyError],
    ) -> Result<Value, ShellError> {
        let span = row.span();
        let mut record = row.into_record()?;
        let reasons = reasons.iter().map(|reason| self.reason(reason)).collect::<Result<_, _>>()?;
        record.insert("decision", Value::string(verdict, self.head));
        record.insert("reasons", Value::list(reasons, self.head));
        record.insert("errors", from_serialize(&errors, self.head)?);
        Ok(Value::record(record, span))
    }

    fn reason(&self, reason: &Arc<Reason>) -> Result<Value, ShellError> {
        let key = Arc::as_ptr(reason) as usize;
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        // The reason is kept with its row, so that its address stays its own.
        if let Some((_, value)) = told.get(&key) {
            return Ok(value.clone());
        }
        drop(told);
        let value = from_serialize(&**reason, self.head)?;
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        told.insert(key, (reason.clone(), value.clone()));
        Ok(value)
    }

    /// The error where a `forbid` that could not be evaluated may have been meant for the row: a gate must not fail open.
    fn unsure(&self, question: &Question, decision: &Decision) -> Option<Failure> {
        let policies = self.answering.of(question).ok()?.policies();
        let error = decision.errors.iter().find(|error| error.hides_a_forbid(policies))?;
        let PolicyError { policy, message, file, line } = error;
        let asked = format!("{} may {} {}", question.principal, question.action, question.resource);
        let message =
            format!("whether {asked} is not certain: `{policy}` cannot be evaluated: {message} ({file}:{line})");
        Some(
            Failure::new(Code::PolicyEvaluate, message)
                .with_help("Guard the attribute with `has`, or give the request the attribute."),
        )
    }

    fn decide(&self, row: &Value) -> Result<(Question, Partial), ShellError> {
        let question = self.asking.question(row)?;
        let decision = self.answering.decide(&question)?.map_err(|failure| shell(&failure, row.span(), "this row"))?;
        Ok((question, decision))
    }
}

fn denied(question: &Question, decision: &Decision) -> Failure {
    let asked = format!("{} may not {} {}", question.principal, question.action, question.resource);
    match decision.reasons.first() {
        Some(reason) => Failure::new(
            Code::PolicyDenied,
            format!("{asked}: forbidden by `{}` ({}:{})", reason.policy, reason.file, reason.line),
        )
        .with_help(match reason.annotations.get("advice") {
            Some(advice) => advice.clone(),
            None => "Change the request, or the policy named.".to_owned(),
        }),
        None => Failure::new(Code::PolicyDenied, format!("{asked}: no policy permits it"))
            .with_help("Add a policy that permits it."),
    }
}
