//! Owns rows and flags → questions, and who answers them.

use crate::PolicyPlugin;
use crate::given::{entities, generated, policies, schema};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{LabeledError, ShellError, Signature, Span, Spanned, SyntaxShape, Value};
use provision_diagnostic::Failure;
use provision_nu_bridge::{labeled, shell, to_json};
use provision_policy::{Authorizer, PolicySet, Question};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

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
                    constants.insert(part.to_owned(), to_json(&constant)?);
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
            shell(&Failure::new("policy::request", message).with_help(help), span, "this row")
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
                parts.insert(part.to_owned(), to_json(value)?);
            }
        }
        for (part, closure) in &self.closures {
            let value = to_json(&self.engine.eval_closure(closure, vec![row.clone()], Some(row.clone()))?)?;
            parts.insert((*part).to_owned(), value);
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
    /// Broken manifests matter only to who asks about provisioning.
    typed: Option<Result<Arc<Authorizer>, LabeledError>>,
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
        let base = entities(plugin, engine, call)?;
        let made = |schema: Option<Arc<provision_policy::Schema>>| {
            plugin
                .authorizer(set, schema.as_ref(), &base.what)
                .map_err(|failure| labeled(&failure, base.span, "these entities"))
        };
        if let Some(own) = schema(plugin, engine, call)? {
            let schema = own.what.map_err(|failure| labeled(&failure, own.span, "in this schema"))?;
            return Ok(Self { plain: made(Some(schema))?, typed: None });
        }
        let typed = generated(plugin, engine, call.head).and_then(|generated| made(Some(generated.schema)));
        Ok(Self { plain: made(None)?, typed: Some(typed) })
    }

    /// Who answers a question about an action of this type.
    pub fn about(&self, action: &str) -> Result<&Authorizer, LabeledError> {
        match &self.typed {
            Some(typed) if action == PROVISION_ACTION => typed.as_deref().map_err(Clone::clone),
            _ => Ok(&self.plain),
        }
    }

    /// Who answers this question.
    pub fn of(&self, question: &Question) -> Result<&Authorizer, LabeledError> {
        self.about(&question.action.kind)
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
                .with_code("policy::request")
                .with_help("Take one row first, with `get 0` or `each {|row| …}`.")
                .with_label(format!("this is {}", other.get_type()), span))
        }
    }
}
