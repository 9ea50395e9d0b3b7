//! Owns rows and flags → questions, and who answers them.

use crate::PolicyPlugin;
use crate::given::{Given, entities, entity_rows, generated, in_cedar, policies, schema};
use crate::keep::{Keep, key};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{LabeledError, ShellError, Signature, Span, Spanned, SyntaxShape, Value};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{labeled, shell, to_json};
use provision_policy::{Authorizer, EntityRef, Partial, PolicySet, Question, Schema, Verdict};
use serde_json::{Map, Value as Json};
use std::sync::{Arc, OnceLock};

/// The parts of a question.
const PARTS: [&str; 5] = ["principal", "action", "resource", "context", "entities"];

/// The actions of this suite, whose questions the generated schema types.
const PROVISION_ACTION: &str = "Provision::Action";

/// The flags for the parts of a question.
pub fn request_flags(signature: Signature) -> Signature {
    signature
        .named("principal", SyntaxShape::Any, "Who: `Type::\"id\"`, `{type, id}`, or a closure over the row.", None)
        .named("action", SyntaxShape::Any, "What: `Action::\"id\"`, `{type, id}`, or a closure over the row.", None)
        .named("resource", SyntaxShape::Any, "On which: `Type::\"id\"`, `{type, id}`, or a closure over the row.", None)
        .named("context", SyntaxShape::Any, "In which context: a record, or a closure over the row.", None)
        .named(
            "entities",
            SyntaxShape::Any,
            "Entities: a JSON file, a table `uid, attrs, parents`, or a closure that gives those of the row.",
            Some('e'),
        )
}

/// Data nested deeper is refused: its readers recurse.
const DEPTH: usize = 100;

/// A part of a question as Cedar's JSON.
fn read_part(part: &str, value: &Value) -> Result<Json, ShellError> {
    if is_deep(value) {
        let failure = Failure::new(Code::PolicyRequest, format!("`{part}` is nested deeper than {DEPTH} levels"));
        return Err(shell(
            &failure.with_help("Give what the policies ask about, and no more."),
            value.span(),
            "this is",
        ));
    }
    Ok(in_cedar(to_json(value)?))
}

fn is_deep(value: &Value) -> bool {
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > DEPTH {
            return true;
        }
        match value {
            Value::Record { val, .. } => open.extend(val.values().map(|inner| (inner, depth + 1))),
            Value::List { vals, .. } => open.extend(vals.iter().map(|inner| (inner, depth + 1))),
            _ => {}
        }
    }
    false
}

/// Makes questions of rows.
pub struct Asking {
    engine: EngineInterface,
    /// Parts given by flags: constants as they are, closures to be called.
    constants: Map<String, Json>,
    closures: Vec<(&'static str, Spanned<nu_protocol::engine::Closure>)>,
}

impl Asking {
    /// Reads the flags of the parts.
    pub fn new(engine: &EngineInterface, call: &EvaluatedCall) -> Result<Self, LabeledError> {
        let mut constants = Map::new();
        let mut closures = Vec::new();
        for part in PARTS {
            match call.get_flag_value(part) {
                None => {}
                Some(Value::Closure { val, internal_span, .. }) => {
                    closures.push((part, Spanned { item: *val, span: internal_span }));
                }
                // Constant entities belong to the authorizer, which reads them once.
                Some(_) if part == "entities" => {}
                Some(constant) => {
                    constants.insert(part.to_owned(), read_part(part, &constant)?);
                }
            }
        }
        Ok(Self { engine: engine.clone(), constants, closures })
    }

    /// Whether rows can be asked about without calling back into the shell.
    pub fn is_constant(&self) -> bool {
        self.closures.is_empty()
    }

    /// The parts that flags gave as constants.
    pub fn constant(&self, part: &str) -> Option<&Json> {
        self.constants.get(part).filter(|value| !value.is_null())
    }

    /// The question of a row: its `request` record, else its columns, with what flags give in their stead.
    pub fn question(&self, row: &Value) -> Result<Question, ShellError> {
        let span = row.span();
        let refused = |message: String| {
            let help = "Give the row a `request` record, columns `principal`, `action`, `resource`, or the flags of the same name.";
            shell(&Failure::new(Code::PolicyRequest, message).with_help(help), span, "this row")
        };
        let record = match row {
            Value::Record { val, .. } => val,
            Value::Error { error, .. } => return Err((**error).clone()),
            other => return Err(refused(format!("a row is a record, and this is {}", other.get_type()))),
        };
        let own = match record.get("request") {
            Some(Value::Record { val, .. }) => val,
            _ => record,
        };
        let mut parts = Map::new();
        for part in PARTS {
            if let Some(constant) = self.constants.get(part) {
                parts.insert(part.to_owned(), constant.clone());
            } else if let Some(value) = own.get(part) {
                parts.insert(part.to_owned(), read_part(part, value)?);
            }
        }
        for (part, closure) in &self.closures {
            let value = self.engine.eval_closure(closure, vec![row.clone()], Some(row.clone()))?;
            parts.insert((*part).to_owned(), read_part(part, &value)?);
        }
        if let Some(part) = PARTS.iter().take(3).find(|part| parts.get(**part).is_none_or(Json::is_null)) {
            return Err(refused(format!("the row does not say which {part} is meant")));
        }
        serde_json::from_value(Json::Object(parts)).map_err(|error| refused(error.to_string()))
    }
}

/// Who answers questions: with the schema given, else questions about `Provision::Action`s with the generated one and
/// all others without.
pub struct Answering {
    plain: Arc<Authorizer>,
    typed: Option<Typed>,
}

/// Who answers about provisioning, made at the first question: to others neither broken manifests nor entities that the
/// generated schema does not know matter.
struct Typed {
    keep: Arc<Keep<Authorizer>>,
    policies: Arc<PolicySet>,
    schema: Result<Arc<Schema>, LabeledError>,
    entities: Given<String>,
    made: OnceLock<Result<Arc<Authorizer>, LabeledError>>,
}

impl Typed {
    fn authorizer(&self) -> Result<&Authorizer, LabeledError> {
        let made = self.made.get_or_init(|| {
            let schema = self.schema.as_ref().map_err(Clone::clone)?;
            authorizer(&self.keep, &self.policies, Some(schema), &self.entities)
        });
        made.as_deref().map_err(Clone::clone)
    }
}

/// An authorizer with entities given as JSON text, made once for as long as everything is the same.
fn authorizer(
    keep: &Keep<Authorizer>,
    policies: &Arc<PolicySet>,
    schema: Option<&Arc<Schema>>,
    entities: &Given<String>,
) -> Result<Arc<Authorizer>, LabeledError> {
    let digest = schema.map_or("", |schema| schema.digest());
    let made = keep.get(key([policies.digest(), policies.shown(), digest, &entities.what]), || {
        Authorizer::new(policies.clone(), schema.cloned(), &entity_rows(&entities.what)?)
    });
    made.map_err(|failure| labeled(&failure, entities.span, "these entities"))
}

impl Answering {
    /// With the policies, schema and entities of the flags.
    pub fn new(plugin: &PolicyPlugin, engine: &EngineInterface, call: &EvaluatedCall) -> Result<Self, LabeledError> {
        let given = policies(plugin, engine, call, None)?;
        let set = given.what.map_err(|failure| labeled(&failure, given.span, "in these policies"))?;
        Self::with(plugin, engine, call, &set)
    }

    /// The same with other policies than those of the flag.
    pub fn with(
        plugin: &PolicyPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        set: &Arc<PolicySet>,
    ) -> Result<Self, LabeledError> {
        let entities = entities(plugin, engine, call)?;
        let keep = plugin.authorizers();
        if let Some(own) = schema(plugin, engine, call)? {
            let schema = own.what.map_err(|failure| labeled(&failure, own.span, "in this schema"))?;
            return Ok(Self { plain: authorizer(keep, set, Some(&schema), &entities)?, typed: None });
        }
        let plain = authorizer(keep, set, None, &entities)?;
        let typed = Typed {
            keep: keep.clone(),
            policies: set.clone(),
            schema: generated(plugin, engine, call.head).map(|generated| generated.schema),
            entities,
            made: OnceLock::new(),
        };
        Ok(Self { plain, typed: Some(typed) })
    }

    /// Who answers a question about an action of this type.
    pub fn about(&self, action: &str) -> Result<&Authorizer, LabeledError> {
        match &self.typed {
            Some(typed) if action == PROVISION_ACTION => typed.authorizer(),
            _ => Ok(&self.plain),
        }
    }

    /// Who answers this question.
    pub fn of(&self, question: &Question) -> Result<&Authorizer, LabeledError> {
        self.about(&question.action.kind)
    }

    /// The answer, as `provision apply` takes it: replacing something must also pass as deleting and creating it.
    pub fn decide(&self, question: &Question) -> Result<Result<Partial, Failure>, LabeledError> {
        let authorizer = self.of(question)?;
        let asked = authorizer.decide_partial(question);
        if question.action.kind != PROVISION_ACTION || question.action.id != "replace" {
            return Ok(asked);
        }
        let mut answer = match asked {
            Ok(answer) => answer,
            failed => return Ok(failed),
        };
        for also in ["delete", "create"] {
            if matches!(&answer, Partial::Decided(decision) if decision.decision == Verdict::Deny) {
                break;
            }
            let action = EntityRef::new(PROVISION_ACTION, also);
            let other = match authorizer.decide_partial(&Question { action, ..question.clone() }) {
                Ok(other) => other,
                failed => return Ok(failed),
            };
            answer = match (answer, other) {
                (_, Partial::Decided(denied)) if denied.decision == Verdict::Deny => Partial::Decided(denied),
                (Partial::Decided(allowed), Partial::Decided(_)) => Partial::Decided(allowed),
                _ => Partial::Pending,
            };
        }
        Ok(Ok(answer))
    }

    /// Who answers where nothing is known of the question.
    pub fn plain(&self) -> &Authorizer {
        &self.plain
    }
}

/// The one row of what is on the pipeline: a record, or nothing where flags say it all.
pub fn one_row(input: nu_protocol::PipelineData, head: Span) -> Result<Value, LabeledError> {
    match input {
        nu_protocol::PipelineData::Value(record @ Value::Record { .. }, _) => Ok(record),
        nu_protocol::PipelineData::Value(Value::Error { error, .. }, _) => Err((*error).into()),
        nu_protocol::PipelineData::Empty | nu_protocol::PipelineData::Value(Value::Nothing { .. }, _) => {
            Ok(Value::record(nu_protocol::Record::new(), head))
        }
        other => {
            let span = other.span().unwrap_or(head);
            Err(LabeledError::new("one question is a record")
                .with_code(Code::PolicyRequest)
                .with_help("Take one row first, with `get 0` or `each {|row| …}`.")
                .with_label(format!("this is {}", other.get_type()), span))
        }
    }
}
