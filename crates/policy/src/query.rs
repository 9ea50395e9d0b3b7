//! Owns who may do something, what somebody may do, and on what: a question with one part left open.
//!
//! With a schema the policies are first evaluated as far as the known parts go (type-aware partial evaluation, RFC 95
//! of Cedar), so that each candidate costs only what hangs on it. Candidates are the entities given, each once.

use crate::authorize::{Authorizer, PolicyError, Verdict};
use crate::question::{EntityRef, Question};
use crate::set::Schema;
use crate::slice::Slices;
use crate::tell;
use cedar_policy::{
    Context, Entities, EntityTypeName, EntityUid, PartialEntities, PartialEntityUid, PartialRequest, PolicyId,
};
use cedar_policy_core::ast::Policy;
use provision_diagnostic::{Code, Failure};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A question with exactly one of principal, action and resource left open.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub principal: Option<EntityRef>,
    pub action: Option<EntityRef>,
    pub resource: Option<EntityRef>,
    pub context: Json,
    /// Beside those the authorizer was made with.
    pub entities: Vec<Json>,
}

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allowed {
    pub principal: String,
    pub action: String,
    pub resource: String,
    /// Always `allow`.
    pub decision: Verdict,
    /// The ids of the policies that allow it.
    pub policies: Vec<String>,
    /// The policies that could not be evaluated and so did not count; a `forbid` among them may have been meant for it.
    pub errors: Vec<PolicyError>,
}

impl Authorizer {
    /// Everything that is allowed, in the order of the uids.
    pub fn query(&self, query: &Query) -> Result<Vec<Allowed>, Failure> {
        crate::deep::on_deep_stack(|| self.query_here(query))
    }

    fn query_here(&self, query: &Query) -> Result<Vec<Allowed>, Failure> {
        let nobody = EntityRef::new("Nobody", "");
        let question = |principal: &EntityRef, action: &EntityRef, resource: &EntityRef| Question {
            principal: principal.clone(),
            action: action.clone(),
            resource: resource.clone(),
            context: query.context.clone(),
            entities: query.entities.clone(),
        };
        let base = self.entities(&question(&nobody, &nobody, &nobody))?;
        let mut found = match (&query.principal, &query.action, &query.resource) {
            (None, Some(action), Some(resource)) => {
                self.open_end(&base, query, action, Open::Principal, &resource.uid("resource")?)
            }
            (Some(principal), Some(action), None) => {
                self.open_end(&base, query, action, Open::Resource, &principal.uid("principal")?)
            }
            (Some(principal), None, Some(resource)) => {
                self.open_action(&base, query, &principal.uid("principal")?, &resource.uid("resource")?)
            }
            _ => Err(Failure::new(
                Code::PolicyRequest,
                "a query leaves out exactly one of principal, action and resource",
            )
            .with_help("Give the other two, for example `--principal 'User::\"ann\"' --action 'Action::\"view\"'`.")),
        }?;
        found.sort_by(|a, b| (&a.principal, &a.action, &a.resource).cmp(&(&b.principal, &b.action, &b.resource)));
        Ok(found)
    }

    fn open_end(
        &self,
        entities: &Entities,
        query: &Query,
        action: &EntityRef,
        open: Open,
        known: &EntityUid,
    ) -> Result<Vec<Allowed>, Failure> {
        let action = action.uid("action")?;
        let mut candidates: BTreeMap<EntityTypeName, Vec<EntityUid>> = BTreeMap::new();
        for entity in entities.iter() {
            let uid = entity.uid();
            if !uid.as_ref().is_action() {
                candidates.entry(uid.type_name().clone()).or_default().push(uid);
            }
        }
        let ask = |one: EntityUid| match open {
            Open::Principal => (one, action.clone(), known.clone()),
            Open::Resource => (known.clone(), action.clone(), one),
        };
        let mut found = Vec::new();
        let Some(schema) = self.schema.as_deref() else {
            // Somebody a scope names may be allowed without being among the entities.
            for policy in self.policies.in_order() {
                let ast: &Policy = policy.as_ref();
                let named = match open {
                    Open::Principal => ast.principal_constraint().as_inner().get_euid().cloned(),
                    Open::Resource => ast.resource_constraint().as_inner().get_euid().cloned(),
                };
                if let Some(uid) = named.map(|uid| EntityUid::from((*uid).clone())) {
                    let known = candidates.entry(uid.type_name().clone()).or_default();
                    if !known.contains(&uid) {
                        known.push(uid);
                    }
                }
            }
            let context = Context::from_json_value(query.context.clone(), None).map_err(|error| asked(&error))?;
            for one in candidates.into_values().flatten() {
                found.extend(self.allowed(&self.policies.slices, None, ask(one), &context, entities)?);
            }
            return Ok(found);
        };
        let types = self.open_types(schema, &action, open)?;
        let context = Context::from_json_value(query.context.clone(), Some((&schema.cedar, &action)))
            .map_err(|error| asked(&error))?;
        let known_entities = PartialEntities::from_concrete(entities.clone(), &schema.cedar)
            .map_err(|error| Failure::new(Code::PolicyEntity, tell::text(&error)))?;
        for kind in types {
            let part = PartialEntityUid::new(kind.clone(), None);
            let other = PartialEntityUid::from_concrete(known.clone());
            let (principal, resource) = match open {
                Open::Principal => (part, other),
                Open::Resource => (other, part),
            };
            let cedar = &schema.cedar;
            let request = PartialRequest::new(principal, action.clone(), resource, Some(context.clone()), cedar)
                .map_err(|error| asked(&error))?;
            let response = match self.policies.cedar.tpe(&request, &known_entities, cedar) {
                Ok(response) => response,
                Err(error) => return Err(self.unfit(schema, &error)),
            };
            if response.decision() == Some(cedar_policy::Decision::Deny) {
                continue;
            }
            let dead: HashSet<PolicyId> = response.false_permits().chain(response.false_forbids()).cloned().collect();
            let mut left: Vec<cedar_policy::Policy> =
                response.policies().filter(|policy| !dead.contains(policy.id())).collect();
            left.sort_by_key(|policy| self.policies.place_of(policy.id()));
            let ids: Vec<String> = left.iter().map(|policy| policy.id().to_string()).collect();
            let residual = Slices::new(left.iter().map(|policy| -> &Policy { policy.as_ref() }));
            for one in candidates.get(&kind).into_iter().flatten() {
                found.extend(self.allowed(&residual, Some(&ids), ask(one.clone()), &context, entities)?);
            }
        }
        Ok(found)
    }

    /// The types that may stand at the open end.
    fn open_types(&self, schema: &Schema, action: &EntityUid, open: Open) -> Result<BTreeSet<EntityTypeName>, Failure> {
        crate::authorize::known_action(schema, action)?;
        let types: Option<BTreeSet<EntityTypeName>> = match open {
            Open::Principal => schema.cedar.principals_for_action(action).map(|all| all.cloned().collect()),
            Open::Resource => schema.cedar.resources_for_action(action).map(|all| all.cloned().collect()),
        };
        Ok(types.unwrap_or_default())
    }

    fn open_action(
        &self,
        entities: &Entities,
        query: &Query,
        principal: &EntityUid,
        resource: &EntityUid,
    ) -> Result<Vec<Allowed>, Failure> {
        let actions: BTreeSet<EntityUid> = match self.schema.as_deref() {
            Some(schema) => schema
                .cedar
                .actions_for_principal_and_resource(principal.type_name(), resource.type_name())
                .cloned()
                .collect(),
            None => {
                let given = entities.iter().map(|entity| entity.uid()).filter(|uid| uid.as_ref().is_action());
                let named = self.policies.in_order().flat_map(|policy| {
                    let ast: &Policy = policy.as_ref();
                    ast.action_constraint().iter_euids().cloned().map(EntityUid::from).collect::<Vec<_>>()
                });
                given.chain(named).collect()
            }
        };
        let mut found = Vec::new();
        let mut unfit: Option<Failure> = None;
        let mut fits = false;
        for action in actions {
            let typed = self.schema.as_deref().map(|schema| (&schema.cedar, &action));
            // A context that an action does not take is no question about that action.
            let context = match Context::from_json_value(query.context.clone(), typed) {
                Ok(context) => context,
                Err(error) => {
                    unfit.get_or_insert_with(|| {
                        Failure::new(
                            Code::PolicyRequest,
                            format!("no action takes this context; {action}: {}", tell::text(&error)),
                        )
                        .with_help("Give the attributes with --context; only actions that take it are asked about.")
                    });
                    continue;
                }
            };
            let schema = self.schema.as_deref().map(|schema| &schema.cedar);
            let request = (principal.clone(), action.clone(), resource.clone());
            let checked =
                cedar_policy::Request::new(principal.clone(), action, resource.clone(), context.clone(), schema);
            if checked.is_ok() {
                fits = true;
                found.extend(self.allowed(&self.policies.slices, None, request, &context, entities)?);
            }
        }
        match unfit {
            Some(failure) if !fits => Err(failure),
            _ => Ok(found),
        }
    }

    fn allowed(
        &self,
        slices: &Slices,
        ids: Option<&[String]>,
        (principal, action, resource): (EntityUid, EntityUid, EntityUid),
        context: &Context,
        entities: &Entities,
    ) -> Result<Option<Allowed>, Failure> {
        let texts = [principal.to_string(), action.to_string(), resource.to_string()];
        let request = cedar_policy::Request::new(principal, action, resource, context.clone(), None)
            .map_err(|error| asked(&error))?;
        let (allowed, reasons, errors) = slices.evaluate(request.as_ref(), entities.as_ref()).decided();
        if !allowed {
            return Ok(None);
        }
        // What is left of the policies after the known parts has positions of its own.
        let place = |at: usize| match ids {
            Some(ids) => ids.get(at).and_then(|id| self.policies.place_of(&PolicyId::new(id))),
            None => Some(at),
        };
        let [principal, action, resource] = texts;
        let policies = reasons.into_iter().filter_map(place);
        let policies = policies.filter_map(|at| Some(self.policies.reasons.get(at)?.policy.clone())).collect();
        let errors = errors.iter().filter_map(|(at, error)| self.error(place(*at)?, error)).collect();
        Ok(Some(Allowed { principal, action, resource, decision: Verdict::Allow, policies, errors }))
    }

    /// Policies that do not fit the schema cannot be evaluated by it.
    fn unfit(&self, schema: &Schema, error: &dyn miette::Diagnostic) -> Failure {
        match self.policies.fits(schema) {
            Err(failure) => failure,
            Ok(()) => Failure::new(Code::PolicyValidate, tell::text(error)),
        }
    }
}

/// Which end of the question is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Principal,
    Resource,
}

fn asked(error: &dyn miette::Diagnostic) -> Failure {
    tell::diagnostic(Code::PolicyRequest, error, None).into()
}
