//! Owns decisions: yes or no, by which policies, and what went wrong in others.

use crate::question::Question;
use crate::set::{PolicySet, Schema};
use crate::tell;
use cedar_policy::{AuthorizationError, Context, Entities, PolicyId, Request};
use provision_diagnostic::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Allow,
    Deny,
}

/// One policy that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub policy: String,
    pub effect: String,
    pub annotations: BTreeMap<String, String>,
    pub file: String,
    pub line: usize,
}

/// One policy that could not be evaluated, and so did not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyError {
    pub policy: String,
    pub message: String,
    pub file: String,
    pub line: usize,
}

/// The answer to a question. A deny without reasons is the default: no policy permits it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub decision: Verdict,
    pub reasons: Vec<Reason>,
    pub errors: Vec<PolicyError>,
}

/// The answer to a question some of whose attributes are not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partial {
    /// Whatever the unknown turns out to be.
    Decided(Decision),
    /// It depends on the unknown.
    Pending,
}

/// Answers questions with one policy set, schema and base of entities.
#[derive(Debug)]
pub struct Authorizer {
    policies: Arc<PolicySet>,
    schema: Option<Arc<Schema>>,
    base: Entities,
    cedar: cedar_policy::Authorizer,
}

impl Authorizer {
    /// `entities` are Cedar JSON rows that every question may refer to.
    pub fn new(policies: Arc<PolicySet>, schema: Option<Arc<Schema>>, entities: &[Value]) -> Result<Self, Failure> {
        let base = read_entities(&distinct(entities), schema.as_deref())?;
        Ok(Self { policies, schema, base, cedar: cedar_policy::Authorizer::new() })
    }

    /// The policies it asks.
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Decides a question all of whose attributes are known.
    pub fn decide(&self, question: &Question) -> Result<Decision, Failure> {
        let schema = self.schema.as_deref();
        let request = read_request(question, &question.context, schema)?;
        let own;
        let entities = if question.entities.is_empty() {
            &self.base
        } else {
            own = self.with(read_entities(&distinct(&question.entities), schema)?, schema)?;
            &own
        };
        Ok(self.decision(&self.cedar.is_authorized(&request, &self.policies.cedar, entities)))
    }

    /// Decides a question in which `{"$unknown": true}` stands for attributes not known yet, if it can be decided.
    pub fn decide_partial(&self, question: &Question) -> Result<Partial, Failure> {
        let mut unknowns = 0;
        let context = with_unknowns(&question.context, &mut unknowns);
        let rows: Vec<Value> = question.entities.iter().map(|row| with_unknowns(row, &mut unknowns)).collect();
        if unknowns == 0 {
            return self.decide(question).map(Partial::Decided);
        }
        // A schema types attributes, and an unknown has no type yet; the known ones are checked when all are known.
        let request = read_request(question, &context, None)?;
        let entities = self.with(read_entities(&distinct(&rows), None)?, None)?;
        let response = self.cedar.is_authorized_partial(&request, &self.policies.cedar, &entities);
        if response.decision().is_none() {
            return Ok(Partial::Pending);
        }
        // Policies still open cannot change the decision, so they are neither reasons nor errors.
        let open: HashSet<PolicyId> = response.nontrivial_residuals().map(|policy| policy.id().clone()).collect();
        let mut decision = self.decision(&response.concretize());
        decision.errors.retain(|error| !open.contains(&PolicyId::new(&error.policy)));
        Ok(Partial::Decided(decision))
    }

    fn with(&self, own: Entities, schema: Option<&Schema>) -> Result<Entities, Failure> {
        if self.base.is_empty() {
            return Ok(own);
        }
        let rows: Vec<_> = own.iter().cloned().collect();
        self.base
            .clone()
            .upsert_entities(rows, schema.map(|schema| &schema.cedar))
            .map_err(|error| entity_failure(&error))
    }

    fn decision(&self, response: &cedar_policy::Response) -> Decision {
        let decision = match response.decision() {
            cedar_policy::Decision::Allow => Verdict::Allow,
            cedar_policy::Decision::Deny => Verdict::Deny,
        };
        let mut reasons: Vec<Reason> = response.diagnostics().reason().map(|id| self.reason(id)).collect();
        reasons.sort_by(|a, b| (&a.file, a.line, &a.policy).cmp(&(&b.file, b.line, &b.policy)));
        let mut errors: Vec<PolicyError> = response.diagnostics().errors().map(|error| self.error(error)).collect();
        errors.sort_by(|a, b| (&a.file, a.line, &a.policy).cmp(&(&b.file, b.line, &b.policy)));
        Decision { decision, reasons, errors }
    }

    fn reason(&self, id: &PolicyId) -> Reason {
        let policy = id.to_string();
        match self.policies.info(&policy) {
            Some(info) => Reason {
                effect: info.effect.to_owned(),
                annotations: info.annotations.clone(),
                file: info.file.clone(),
                line: info.line,
                policy,
            },
            None => {
                Reason { policy, effect: String::new(), annotations: BTreeMap::new(), file: String::new(), line: 0 }
            }
        }
    }

    fn error(&self, error: &AuthorizationError) -> PolicyError {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        let Reason { policy, file, line, .. } = self.reason(error.policy_id());
        let text = error.inner().to_string();
        PolicyError { policy, message: text.lines().next().unwrap_or_default().to_owned(), file, line }
    }
}

fn read_request(question: &Question, context: &Value, schema: Option<&Schema>) -> Result<Request, Failure> {
    let principal = question.principal.uid("principal")?;
    let action = question.action.uid("action")?;
    let resource = question.resource.uid("resource")?;
    let typed = schema.map(|schema| (&schema.cedar, &action));
    let context = Context::from_json_value(context.clone(), typed)
        .map_err(|error| Failure::from(tell::diagnostic("policy::request", &error, None)))?;
    Request::new(principal, action, resource, context, schema.map(|schema| &schema.cedar))
        .map_err(|error| Failure::from(tell::diagnostic("policy::request", &error, None)))
}

fn read_entities(rows: &[Value], schema: Option<&Schema>) -> Result<Entities, Failure> {
    Entities::from_json_value(Value::Array(rows.to_vec()), schema.map(|schema| &schema.cedar))
        .map_err(|error| entity_failure(&error))
}

fn entity_failure(error: &dyn miette::Diagnostic) -> Failure {
    tell::diagnostic("policy::entity", error, None).into()
}

/// The rows in Cedar's form, each uid once: rows of a plan repeat the project they belong to.
fn distinct(rows: &[Value]) -> Vec<Value> {
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let mut row = row.clone();
        if let Some(map) = row.as_object_mut() {
            if let Some(uid) = map.get_mut("uid") {
                plain_uid(uid);
            }
            if let Some(Value::Array(parents)) = map.get_mut("parents") {
                parents.iter_mut().for_each(plain_uid);
            }
            for (name, empty) in [("attrs", json!({})), ("parents", json!([]))] {
                if map.get(name).is_none_or(Value::is_null) {
                    map.insert(name.to_owned(), empty);
                }
            }
        }
        if seen.insert(row.get("uid").map(Value::to_string)) {
            all.push(row);
        }
    }
    all
}

/// Cedar's JSON wants `{type, id}`; users may write `Type::"id"`.
fn plain_uid(uid: &mut Value) {
    if let Ok(parsed) = serde_json::from_value::<crate::EntityRef>(uid.clone()) {
        *uid = json!({"type": parsed.kind, "id": parsed.id});
    }
}

fn with_unknowns(value: &Value, count: &mut usize) -> Value {
    match value {
        Value::Object(map) if map.len() == 1 && map.get("$unknown") == Some(&Value::Bool(true)) => {
            *count += 1;
            json!({"__extn": {"fn": "unknown", "arg": format!("unknown{count}")}})
        }
        Value::Object(map) => {
            Value::Object(map.iter().map(|(name, inner)| (name.clone(), with_unknowns(inner, count))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| with_unknowns(item, count)).collect()),
        other => other.clone(),
    }
}
