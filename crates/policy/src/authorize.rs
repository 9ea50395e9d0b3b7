//! Owns decisions: yes or no, by which policies, and what went wrong in others.

use crate::question::{EntityRef, Question};
use crate::set::{PolicySet, Schema};
use crate::tell;
use cedar_policy::{AuthorizationError, Context, Entities, PolicyId};
use cedar_policy_core::ast::{Eid, EntityType, EntityUID, EntityUIDEntry, Request};
use cedar_policy_core::evaluator::EvaluationError;
use provision_diagnostic::{Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Allow,
    Deny,
}

impl Verdict {
    /// `allow` or `deny`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        }
    }
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
    /// In the order of the files.
    pub reasons: Vec<Arc<Reason>>,
    pub errors: Vec<PolicyError>,
}

impl Decision {
    /// The roles whose approval would let it through; empty where it is allowed, or where no approval helps.
    pub fn approvals(&self) -> BTreeSet<String> {
        let roles: Option<BTreeSet<String>> =
            self.reasons.iter().map(|reason| reason.approval().map(str::to_owned)).collect();
        match self.decision {
            Verdict::Deny if self.errors.is_empty() => roles.unwrap_or_default(),
            _ => BTreeSet::new(),
        }
    }
}

impl PolicyError {
    /// Whether what was left out could have forbidden it.
    pub fn hides_a_forbid(&self, policies: &PolicySet) -> bool {
        policies.info(&self.policy).is_none_or(|info| info.effect == "forbid")
    }
}

impl Reason {
    /// The role whose approval sets this policy aside: `@approval("role")` on a `forbid`.
    pub fn approval(&self) -> Option<&str> {
        let role = self.annotations.get("approval").map(String::as_str);
        role.filter(|role| self.effect == "forbid" && !role.is_empty())
    }
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
    pub(crate) policies: Arc<PolicySet>,
    pub(crate) schema: Option<Arc<Schema>>,
    pub(crate) base: Entities,
    kinds: Kinds,
}

impl Authorizer {
    /// `entities` are Cedar JSON rows that every question may refer to.
    pub fn new(policies: Arc<PolicySet>, schema: Option<Arc<Schema>>, entities: &[Value]) -> Result<Self, Failure> {
        let base = read_entities(&distinct(entities)?, schema.as_deref())?;
        Ok(Self { policies, schema, base, kinds: Kinds::default() })
    }

    /// The policies it asks.
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Decides a question all of whose attributes are known.
    pub fn decide(&self, question: &Question) -> Result<Decision, Failure> {
        self.decide_approved(question, &BTreeSet::new())
    }

    /// The same where some roles gave their approval: a `forbid` that asks for one of them is set aside.
    pub fn decide_approved(&self, question: &Question, granted: &BTreeSet<String>) -> Result<Decision, Failure> {
        let request = self.request(question)?;
        let entities = self.entities(question)?;
        let mut outcome = self.policies.slices.evaluate(&request, entities.as_ref().as_ref());
        outcome.forbids.retain(|at| !self.is_waived(*at, granted));
        let (allowed, reasons, errors) = outcome.decided();
        Ok(self.decision(allowed, &reasons, errors))
    }

    fn is_waived(&self, at: usize, granted: &BTreeSet<String>) -> bool {
        let reason = self.policies.reasons.get(at);
        reason.and_then(|reason| reason.approval()).is_some_and(|role| granted.contains(role))
    }

    /// Decides a question in which `{"$unknown": true}` stands for attributes not known yet, if it can be decided.
    pub fn decide_partial(&self, question: &Question) -> Result<Partial, Failure> {
        self.decide_partial_approved(question, &BTreeSet::new())
    }

    /// The same where some roles gave their approval.
    pub fn decide_partial_approved(&self, question: &Question, granted: &BTreeSet<String>) -> Result<Partial, Failure> {
        if !has_unknowns(&question.context) && !question.entities.iter().any(has_unknowns) {
            return self.decide_approved(question, granted).map(Partial::Decided);
        }
        let mut unknowns = 0;
        let context = with_unknowns(&question.context, &mut unknowns);
        let mut own: Vec<Value> = question.entities.clone();
        // Cedar has no unknown tags.
        let mut unknown_tags = false;
        for row in &mut own {
            unknown_tags |= settle_tags(row);
        }
        if unknown_tags && !has_unknowns(&question.context) && !own.iter().any(has_unknowns) {
            let known = Question { entities: own, ..question.clone() };
            let decision = self.decide_approved(&known, granted)?;
            return Ok(match self.hangs_on_tags(&decision) {
                true => Partial::Pending,
                false => Partial::Decided(decision),
            });
        }
        let rows: Vec<Value> = own.iter().map(|row| with_unknowns(row, &mut unknowns)).collect();
        // A schema types attributes, and an unknown has no type yet; the known ones are checked when all are known.
        let request = read_request(question, &context, None)?;
        let entities = self.with(read_entities(&distinct(&rows)?, None)?, None)?;
        let cedar = cedar_policy::Authorizer::new();
        let mut policies = Cow::Borrowed(&self.policies.cedar);
        for (at, reason) in self.policies.reasons.iter().enumerate() {
            if self.is_waived(at, granted) {
                // A static policy that is in the set can be removed from it; a link stays, and is counted.
                let _ = policies.to_mut().remove_static(PolicyId::new(&reason.policy));
            }
        }
        let response = cedar.is_authorized_partial(&request, &policies, &entities);
        if response.decision().is_none() {
            return Ok(Partial::Pending);
        }
        // Policies still open cannot change the decision, so they are neither reasons nor errors.
        let open: HashSet<PolicyId> = response.nontrivial_residuals().map(|policy| policy.id().clone()).collect();
        let response = response.concretize();
        let allowed = response.decision() == cedar_policy::Decision::Allow;
        let diagnostics = response.diagnostics();
        let mut reasons: Vec<usize> = diagnostics.reason().filter_map(|id| self.policies.place_of(id)).collect();
        reasons.sort_unstable();
        let errors = diagnostics.errors().map(|AuthorizationError::PolicyEvaluationError(error)| error);
        let mut errors: Vec<(usize, EvaluationError)> = errors
            .filter(|error| !open.contains(error.policy_id()))
            .filter_map(|error| Some((self.policies.place_of(error.policy_id())?, error.inner().clone())))
            .collect();
        errors.sort_by_key(|(at, _)| *at);
        let decision = self.decision(allowed, &reasons, errors);
        Ok(match unknown_tags && self.hangs_on_tags(&decision) {
            true => Partial::Pending,
            false => Partial::Decided(decision),
        })
    }

    /// Whether other tags could give another decision. Policies that do not look at tags decide for good.
    fn hangs_on_tags(&self, decision: &Decision) -> bool {
        let reads = |id: &str| self.policies.reads_tags(id);
        let decided_without = decision.reasons.iter().any(|reason| !reads(&reason.policy));
        let others = |effect: &str| self.policies.reasons.iter().any(|one| one.effect == effect && reads(&one.policy));
        match decision.decision {
            Verdict::Allow => others("forbid") || !decided_without,
            Verdict::Deny if decision.reasons.is_empty() => others("permit"),
            Verdict::Deny => !decided_without,
        }
    }

    /// The request of a question, checked against the schema where there is one.
    pub(crate) fn request(&self, question: &Question) -> Result<Request, Failure> {
        if let Some(schema) = self.schema.as_deref() {
            return Ok(read_request(question, &question.context, Some(schema))?.as_ref().clone());
        }
        match crate::value::record(&question.context) {
            Some(context) => Ok(Request::new_unchecked(
                EntityUIDEntry::known(self.kinds.uid(&question.principal, "principal")?, None),
                EntityUIDEntry::known(self.kinds.uid(&question.action, "action")?, None),
                EntityUIDEntry::known(self.kinds.uid(&question.resource, "resource")?, None),
                Some(cedar_policy_core::ast::Context::Value(Arc::new(context))),
            )),
            None => Ok(read_request(question, &question.context, None)?.as_ref().clone()),
        }
    }

    /// The entities of a question: those of the base, and its own in their stead.
    pub(crate) fn entities(&self, question: &Question) -> Result<Cow<'_, Entities>, Failure> {
        if question.entities.is_empty() {
            return Ok(Cow::Borrowed(&self.base));
        }
        let schema = self.schema.as_deref();
        self.with(read_entities(&distinct(&question.entities)?, schema)?, schema).map(Cow::Owned)
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

    pub(crate) fn decision(&self, allowed: bool, reasons: &[usize], errors: Vec<(usize, EvaluationError)>) -> Decision {
        Decision {
            decision: if allowed { Verdict::Allow } else { Verdict::Deny },
            reasons: reasons.iter().filter_map(|at| self.policies.reasons.get(*at).cloned()).collect(),
            errors: errors.into_iter().filter_map(|(at, error)| self.error(at, &error)).collect(),
        }
    }

    pub(crate) fn error(&self, at: usize, error: &EvaluationError) -> Option<PolicyError> {
        let Reason { policy, file, line, .. } = (**self.policies.reasons.get(at)?).clone();
        Some(PolicyError { policy, message: first_line(error), file, line })
    }
}

/// What went wrong, without the excerpt some errors carry.
pub(crate) fn first_line(error: &EvaluationError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Entity types already read, because reading one takes a parser.
#[derive(Debug, Default)]
struct Kinds(RwLock<HashMap<String, EntityType>>);

/// A stream could name types without end.
const KINDS_KEPT: usize = 4096;

impl Kinds {
    fn uid(&self, entity: &EntityRef, what: &str) -> Result<EntityUID, Failure> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&entity.kind).cloned();
        if let Some(kind) = known {
            return Ok(EntityUID::from_components(kind, Eid::new(entity.id.as_str()), None));
        }
        let uid: EntityUID = entity.uid(what)?.as_ref().clone();
        let mut kinds = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() < KINDS_KEPT {
            kinds.insert(entity.kind.clone(), uid.entity_type().clone());
        }
        Ok(uid)
    }
}

fn read_request(
    question: &Question,
    context: &Value,
    schema: Option<&Schema>,
) -> Result<cedar_policy::Request, Failure> {
    let principal = question.principal.uid("principal")?;
    let action = question.action.uid("action")?;
    let resource = question.resource.uid("resource")?;
    if let Some(schema) = schema {
        known_action(schema, &action)?;
        known_type(schema, "principal", principal.type_name())?;
        known_type(schema, "resource", resource.type_name())?;
    }
    let typed = schema.map(|schema| (&schema.cedar, &action));
    let context = Context::from_json_value(context.clone(), typed).map_err(|error| {
        Failure::from(tell::diagnostic(Code::PolicyRequest, &error, None))
            .with_help("Give what the schema asks for in the row's `context`, or with --context.")
    })?;
    cedar_policy::Request::new(principal, action, resource, context, schema.map(|schema| &schema.cedar))
        .map_err(|error| Failure::from(tell::diagnostic(Code::PolicyRequest, &error, None)))
}

/// Refuses an action that the schema does not have.
pub(crate) fn known_action(schema: &Schema, action: &cedar_policy::EntityUid) -> Result<(), Failure> {
    if schema.cedar.actions().any(|known| known == action) {
        return Ok(());
    }
    let known: Vec<String> = schema.cedar.actions().map(ToString::to_string).collect();
    Err(unknown(format!("the schema has no action `{action}`"), &action.to_string(), &known))
}

fn known_type(schema: &Schema, what: &str, kind: &cedar_policy::EntityTypeName) -> Result<(), Failure> {
    if schema.cedar.entity_types().any(|known| known == kind) {
        return Ok(());
    }
    let known: Vec<String> = schema.cedar.entity_types().map(ToString::to_string).collect();
    Err(unknown(format!("the {what}'s type `{kind}` is not in the schema"), &kind.to_string(), &known))
}

fn unknown(message: String, name: &str, known: &[String]) -> Failure {
    let help = match provision_diagnostic::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean `{near}`?"),
        None if known.len() <= 10 => format!("It has {}.", known.join(", ")),
        None => "`from cedarschema` shows what it has.".to_owned(),
    };
    Failure::new(Code::PolicyRequest, message).with_help(help)
}

pub(crate) fn read_entities(rows: &[Value], schema: Option<&Schema>) -> Result<Entities, Failure> {
    Entities::from_json_value(Value::Array(rows.to_vec()), schema.map(|schema| &schema.cedar))
        .map_err(|error| entity_failure(&error))
}

fn entity_failure(error: &dyn miette::Diagnostic) -> Failure {
    tell::diagnostic(Code::PolicyEntity, error, None).into()
}

/// The rows in Cedar's form, each uid once: rows of a plan repeat the project they belong to. Two that differ would be
/// decided by their order.
fn distinct(rows: &[Value]) -> Result<Vec<Value>, Failure> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut all: Vec<Value> = Vec::with_capacity(rows.len());
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
        let uid = row.get("uid").map(Value::to_string).unwrap_or_default();
        match seen.get(&uid) {
            Some(at) if all.get(*at) == Some(&row) => {}
            Some(_) => {
                let name = serde_json::from_value::<crate::EntityRef>(row["uid"].clone());
                let name = name.map_or(uid, |uid| uid.to_string());
                return Err(Failure::new(
                    Code::PolicyEntity,
                    format!("the entity `{name}` is there twice, and the two differ"),
                )
                .with_help("Give each entity one row with all its attributes and parents."));
            }
            None => {
                seen.insert(uid, all.len());
                all.push(row);
            }
        }
    }
    Ok(all)
}

/// Cedar's JSON wants `{type, id}`; users may write `Type::"id"`.
fn plain_uid(uid: &mut Value) {
    if let Ok(parsed) = serde_json::from_value::<crate::EntityRef>(uid.clone()) {
        *uid = json!({"type": parsed.kind, "id": parsed.id});
    }
}

fn has_unknowns(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.contains_key("$unknown") || map.values().any(has_unknowns),
        Value::Array(items) => items.iter().any(has_unknowns),
        _ => false,
    }
}

/// Puts some text in the place of tags not known yet; tells whether there were any.
fn settle_tags(row: &mut Value) -> bool {
    let Some(tags) = row.get_mut("tags") else { return false };
    if tags.get("$unknown").is_some() {
        *tags = json!({});
        return true;
    }
    let mut found = false;
    for tag in tags.as_object_mut().into_iter().flat_map(|tags| tags.values_mut()) {
        if has_unknowns(tag) {
            *tag = json!("");
            found = true;
        }
    }
    found
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
