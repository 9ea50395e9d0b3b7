//! Owns why a question is decided as it is: every policy, every clause, every expression, and what would flip it.

use crate::authorize::{Authorizer, PolicyError, Reason, Verdict, first_line};
use crate::clause::{Looking, Part, clauses};
use crate::flip::Flip;
use crate::question::Question;
use crate::slice::is_true;
use cedar_policy_core::ast::{Effect, Expr, Policy, PrincipalOrResource, Request};
use cedar_policy_core::entities::{Dereference, Entities};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use provision_diagnostic::Failure;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a question is decided as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    pub decision: Verdict,
    /// The determining policies.
    pub reasons: Vec<Arc<Reason>>,
    pub errors: Vec<PolicyError>,
    /// Every policy of the set, in the order of the files.
    pub policies: Vec<ExplainedPolicy>,
    /// The entities that were looked at, as Cedar JSON rows `{uid, attrs, parents}`.
    pub entities: Vec<Json>,
    /// The smallest change found that turns the decision.
    pub flip: Option<Flip>,
}

/// What one policy says of the question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedPolicy {
    pub policy: String,
    pub effect: String,
    /// Whether it is one of those that decided.
    pub determining: bool,
    pub in_scope: bool,
    /// Whether scope and clauses hold; an error counts as not.
    pub satisfied: bool,
    pub error: Option<String>,
    pub scope: ScopeMatch,
    pub clauses: Vec<ExplainedClause>,
    pub annotations: BTreeMap<String, String>,
    pub file: String,
    pub line: usize,
}

/// Which parts of a scope hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScopeMatch {
    pub principal: bool,
    pub action: bool,
    pub resource: bool,
}

impl ScopeMatch {
    /// Of a policy for the request of an evaluator.
    pub(crate) fn of(policy: &Policy, evaluator: &Evaluator<'_>) -> Self {
        let holds = |expr: &Expr| evaluator.interpret(expr, policy.env()).is_ok_and(|value| is_true(&value));
        ScopeMatch {
            principal: holds(&policy.principal_constraint().as_inner().as_expr(PrincipalOrResource::Principal)),
            action: holds(&policy.action_constraint().as_expr()),
            resource: holds(&policy.resource_constraint().as_inner().as_expr(PrincipalOrResource::Resource)),
        }
    }

    /// Whether all of them hold.
    pub(crate) fn holds(self) -> bool {
        self.principal && self.action && self.resource
    }
}

/// One `when` or `unless` clause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedClause {
    /// `when` or `unless`.
    pub kind: &'static str,
    pub text: String,
    /// Of what stands between the braces; null where there is an error.
    pub value: Json,
    pub error: Option<String>,
    /// Whether the policy may go on: a true `when`, a false `unless`.
    pub holds: bool,
    /// Whether Cedar evaluates it for this request; what stands behind a clause that does not hold is not.
    pub reached: bool,
    /// The expressions in it.
    pub parts: Vec<Part>,
    pub file: String,
    /// Null where the policy was not written as Cedar text.
    pub line: Option<usize>,
    pub column: Option<usize>,
}

impl Authorizer {
    /// Explains the decision of a question.
    pub fn explain(&self, question: &Question) -> Result<Explanation, Failure> {
        crate::deep::on_deep_stack(|| self.explain_here(question))
    }

    fn explain_here(&self, question: &Question) -> Result<Explanation, Failure> {
        let request = self.request(question)?;
        let entities = self.entities(question)?;
        let entities: &Entities = entities.as_ref().as_ref();
        let (allowed, determining, errors) = self.policies.slices.evaluate(&request, entities).decided();
        let decision = self.decision(allowed, &determining, errors);
        let mut used = Vec::new();
        for entry in [request.principal(), request.action(), request.resource()] {
            used.extend(entry.uid().cloned());
        }
        let mut policies = Vec::new();
        for (at, policy) in self.policies.in_order().enumerate() {
            policies.push(self.explain_policy(policy, determining.contains(&at), &request, entities, &mut used));
        }
        let mut rows = Vec::new();
        for uid in used {
            if let Dereference::Data(entity) = entities.entity(&uid) {
                rows.extend(entity.to_json_value().ok());
            }
        }
        let flip = self.flip(&request, entities, allowed);
        Ok(Explanation {
            decision: decision.decision,
            reasons: decision.reasons,
            errors: decision.errors,
            policies,
            entities: rows,
            flip,
        })
    }

    fn explain_policy(
        &self,
        policy: &cedar_policy::Policy,
        determining: bool,
        request: &Request,
        entities: &Entities,
        used: &mut Vec<cedar_policy_core::ast::EntityUID>,
    ) -> ExplainedPolicy {
        let id = policy.id().to_string();
        let ast: &Policy = policy.as_ref();
        let evaluator = Evaluator::new(request.clone(), entities, Extensions::all_available());
        let mut looking = Looking::new(&evaluator, ast.env());
        let scope = ScopeMatch::of(ast, &evaluator);
        let in_scope = scope.holds();
        let mut reached = in_scope;
        let mut told = Vec::new();
        for clause in clauses(policy) {
            let value = looking.value(&clause.body);
            let holds = match (&value, clause.kind) {
                (Ok(value), "unless") => !is_true(value),
                (Ok(value), _) => is_true(value),
                (Err(_), _) => false,
            };
            // The first part is the clause itself.
            let mut parts = looking.parts(&clause.body, reached);
            if parts.first().is_some_and(|part| part.text == clause.text()) {
                parts.remove(0);
            }
            let position = clause.position(&self.policies, &id);
            let (value, error) = match value {
                Ok(value) => (crate::value::to_shown_json(&value), None),
                Err(error) => (Json::Null, Some(error)),
            };
            told.push(ExplainedClause {
                kind: clause.kind,
                text: clause.text(),
                value,
                error,
                holds,
                reached,
                parts,
                file: self.policies.info(&id).map_or_else(String::new, |info| info.file.clone()),
                line: position.as_ref().map(|at| at.line),
                column: position.as_ref().map(|at| at.column),
            });
            reached = reached && holds;
        }
        for uid in std::mem::take(&mut looking.used) {
            if !used.contains(&uid) {
                used.push(uid);
            }
        }
        let outcome = evaluator.interpret(&ast.condition(), ast.env());
        let info = self.policies.info(&id);
        ExplainedPolicy {
            effect: if ast.effect() == Effect::Permit { "permit" } else { "forbid" }.to_owned(),
            determining,
            in_scope,
            satisfied: outcome.as_ref().is_ok_and(is_true),
            error: outcome.err().map(|error| first_line(&error)),
            scope,
            clauses: told,
            annotations: info.map(|info| info.annotations.clone()).unwrap_or_default(),
            file: info.map_or_else(String::new, |info| info.file.clone()),
            line: info.map_or(0, |info| info.line),
            policy: id,
        }
    }
}
