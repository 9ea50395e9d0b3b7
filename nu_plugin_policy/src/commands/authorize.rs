//! Owns `policy authorize`: each row with its decision.

use crate::PolicyPlugin;
use crate::given::{entities, generated, policies, policy_flags, schema};
use nu_plugin::{EngineInterface, EvaluatedCall, PluginCommand};
use nu_protocol::{
    Completion, Example, Flag, LabeledError, PipelineData, ShellError, Signature, Span, Spanned, SyntaxShape, Type,
    Value, record,
};
use provision_diagnostic::Failure;
use provision_nu_bridge::{from_serialize, labeled, rows, shell, stream, to_json};
use provision_policy::{Authorizer, Decision, Partial, PolicyError, Question, Reason, Verdict};
use serde_json::{Map, Value as Json};

const PARTS: [&str; 5] = ["principal", "action", "resource", "context", "entities"];

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
        A deny is data; --strict raises `policy::denied` on the first. A deny without reasons means that no policy permits it.\n\
        A row of a plan whose decision hangs on a value known only after apply is `pending`; apply asks again then.\n\
        Questions about `Provision::Action`s are typed by the generated schema unless --schema gives another."
    }

    fn search_terms(&self) -> Vec<&str> {
        vec!["cedar", "allow", "deny", "permission", "decide", "gate"]
    }

    fn signature(&self) -> Signature {
        let signature = Signature::build(self.name())
            .named("principal", SyntaxShape::Any, "Who: `Type::\"id\"`, `{type, id}`, or a closure.", None)
            .named("action", SyntaxShape::Any, "What: `Action::\"id\"`, `{type, id}`, or a closure.", None)
            .named("resource", SyntaxShape::Any, "On which: `Type::\"id\"`, `{type, id}`, or a closure.", None)
            .named("context", SyntaxShape::Any, "In which context: a record, or a closure.", None)
            .named("entities", SyntaxShape::Any, "Entities: a JSON file, or a table `uid, attrs, parents`.", Some('e'))
            .param(
                Flag::new("only")
                    .arg(SyntaxShape::String)
                    .desc("Keep only the rows with this decision.")
                    .completion(Completion::new_list(&["allow", "deny"])),
            )
            .switch("strict", "Raise `policy::denied` on the first deny.", None)
            .input_output_types(vec![
                (Type::record(), Type::record()),
                (Type::table(), Type::table()),
                (Type::list(Type::record()), Type::list(Type::record())),
                (Type::Nothing, Type::record()),
            ])
            .category(super::category());
        policy_flags(signature)
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
        let mut stopped = false;
        // The first error ends the stream: what comes after it would be read as decided.
        let decided = rows(input, call.head)?
            .filter_map(move |row| work.row(row))
            .take_while(move |row| !std::mem::replace(&mut stopped, matches!(row, Value::Error { .. })));
        Ok(stream(decided, call.head, signals).set_metadata(metadata))
    }
}

/// Everything needed to decide a row.
struct Work {
    engine: EngineInterface,
    /// Decides questions about anything.
    plain: Authorizer,
    /// Decides questions about `Provision::Action`s; broken manifests matter only to who asks one.
    typed: Option<Result<Authorizer, LabeledError>>,
    parts: Vec<(&'static str, Value)>,
    only: Option<Verdict>,
    strict: bool,
    head: Span,
}

impl Work {
    fn new(plugin: &PolicyPlugin, engine: &EngineInterface, call: &EvaluatedCall) -> Result<Self, LabeledError> {
        let given = policies(engine, call, None)?;
        let set = given.what.map_err(|failure| labeled(&failure, given.span, "in these policies"))?;
        let set = std::sync::Arc::new(set);
        let base = entities(engine, call)?;
        let entity_span = call.get_flag_span("entities").unwrap_or(call.head);
        let authorizer = |schema| {
            Authorizer::new(set.clone(), schema, &base)
                .map_err(|failure| labeled(&failure, entity_span, "these entities"))
        };
        let (plain, typed) = match schema(engine, call)? {
            Some(own) => {
                let schema = own.what.map_err(|failure| labeled(&failure, own.span, "in this schema"))?;
                (authorizer(Some(schema))?, None)
            }
            None => {
                let typed = generated(plugin, engine, call.head).and_then(|made| authorizer(Some(made.schema)));
                (authorizer(None)?, Some(typed))
            }
        };
        let parts = PARTS.iter().take(4).filter_map(|part| Some((*part, call.get_flag_value(part)?))).collect();
        let given: Option<Spanned<String>> = call.get_flag("only")?;
        let only = match given.as_ref().map(|given| given.item.as_str()) {
            None => None,
            Some("allow") => Some(Verdict::Allow),
            Some("deny") => Some(Verdict::Deny),
            Some(other) => {
                let span = given.as_ref().map_or(call.head, |given| given.span);
                return Err(LabeledError::new(format!("`{other}` is not a decision"))
                    .with_label("expected allow or deny", span));
            }
        };
        Ok(Self {
            engine: engine.clone(),
            plain,
            typed,
            parts,
            only,
            strict: call.has_flag("strict")?,
            head: call.head,
        })
    }

    /// The row with its decision; `None` where `--only` leaves it out; an error value where it cannot be decided.
    fn row(&self, row: Value) -> Option<Value> {
        let span = row.span();
        match self.decide(&row) {
            Err(error) => Some(Value::error(error, span)),
            Ok((_, Partial::Pending)) if self.only.is_some() => None,
            Ok((_, Partial::Pending)) => {
                Some(self.with(row, "pending", &[], &[]).unwrap_or_else(|error| Value::error(error, span)))
            }
            Ok((question, Partial::Decided(decision))) => {
                if self.strict && decision.decision == Verdict::Deny {
                    let failure = denied(&question, &decision);
                    return Some(Value::error(shell(&failure, span, "this row is denied"), span));
                }
                if self.only.is_some_and(|only| only != decision.decision) {
                    return None;
                }
                let verdict = match decision.decision {
                    Verdict::Allow => "allow",
                    Verdict::Deny => "deny",
                };
                let decided = self.with(row, verdict, &decision.reasons, &decision.errors);
                Some(decided.unwrap_or_else(|error| Value::error(error, span)))
            }
        }
    }

    fn with(&self, row: Value, verdict: &str, reasons: &[Reason], errors: &[PolicyError]) -> Result<Value, ShellError> {
        let span = row.span();
        let mut record = row.into_record()?;
        record.insert("decision", Value::string(verdict, self.head));
        record.insert("reasons", from_serialize(&reasons, self.head)?);
        record.insert("errors", from_serialize(&errors, self.head)?);
        Ok(Value::record(record, span))
    }

    fn decide(&self, row: &Value) -> Result<(Question, Partial), ShellError> {
        if let Value::Error { error, .. } = row {
            return Err((**error).clone());
        }
        let span = row.span();
        let record = row.as_record()?;
        let mut parts = Map::new();
        let own = match record.get("request") {
            Some(Value::Record { val, .. }) => val,
            _ => record,
        };
        for part in PARTS {
            if let Some(value) = own.get(part) {
                parts.insert(part.to_owned(), to_json(value)?);
            }
        }
        for (part, given) in &self.parts {
            let value = match given {
                Value::Closure { val, internal_span, .. } => {
                    let closure = Spanned { item: (**val).clone(), span: *internal_span };
                    to_json(&self.engine.eval_closure(&closure, vec![row.clone()], Some(row.clone()))?)?
                }
                constant => to_json(constant)?,
            };
            parts.insert((*part).to_owned(), value);
        }
        let refused = |message: String| {
            let help = "Give the row a `request` record, columns `principal`, `action`, `resource`, or the flags of the same name.";
            shell(&Failure::new("policy::request", message).with_help(help), span, "this row")
        };
        let missing = PARTS.iter().take(3).find(|part| parts.get(**part).is_none_or(Json::is_null));
        if let Some(part) = missing {
            return Err(refused(format!("the row does not say which {part} is meant")));
        }
        let question: Question =
            serde_json::from_value(Json::Object(parts)).map_err(|error| refused(error.to_string()))?;
        let authorizer = match &self.typed {
            Some(typed) if question.action.kind == "Provision::Action" => typed.as_ref().map_err(Clone::clone)?,
            _ => &self.plain,
        };
        let decision = authorizer.decide_partial(&question).map_err(|failure| shell(&failure, span, "this row"))?;
        Ok((question, decision))
    }
}

fn denied(question: &Question, decision: &Decision) -> Failure {
    let asked = format!("{} may not {} {}", question.principal, question.action, question.resource);
    match decision.reasons.first() {
        Some(reason) => Failure::new(
            "policy::denied",
            format!("{asked}: forbidden by `{}` ({}:{})", reason.policy, reason.file, reason.line),
        )
        .with_help(match reason.annotations.get("advice") {
            Some(advice) => advice.clone(),
            None => "Change the request, or the policy named.".to_owned(),
        }),
        None => Failure::new("policy::denied", format!("{asked}: no policy permits it"))
            .with_help("Add a policy that permits it."),
    }
}
