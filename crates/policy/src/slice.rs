//! Owns finding the policies whose scope can hold for a request, so that a decision does not try every policy.
//!
//! Sound because a scope that does not hold makes the policy false without evaluating anything that could fail
//! ("Cedar: A New Language for Expressive, Fast, Safe, and Analyzable Authorization", OOPSLA 2024, policy slicing).

use cedar_policy_core::ast::{
    ActionConstraint, Effect, EntityReference, EntityType, EntityUID, EntityUIDEntry, Expr, Literal, Policy,
    PrincipalOrResourceConstraint, Request, SlotEnv, Value, ValueKind,
};
use cedar_policy_core::entities::{Dereference, Entities};
use cedar_policy_core::evaluator::{EvaluationError, Evaluator};
use cedar_policy_core::extensions::Extensions;
use std::collections::{BTreeSet, HashMap};

/// A name or type that some scope asks for; [`ANY`] where the scope asks for nothing.
type Key = u32;

const ANY: Key = 0;

/// The policies of a set, found by scope.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slices {
    policies: Vec<Compiled>,
    names: HashMap<EntityUID, Key>,
    types: HashMap<EntityType, Key>,
    /// By principal, then action, then resource.
    tree: HashMap<Key, HashMap<Key, HashMap<Key, Vec<u32>>>>,
}

/// A policy whose condition, scope included, is made once.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub effect: Effect,
    pub condition: Expr,
    pub slots: SlotEnv,
}

/// What the policies said of one request; policies are told by their position.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub permits: Vec<usize>,
    pub forbids: Vec<usize>,
    pub errors: Vec<(usize, EvaluationError)>,
}

impl Outcome {
    /// Whether it is allowed, and by which policies that was decided.
    pub fn decided(self) -> (bool, Vec<usize>, Vec<(usize, EvaluationError)>) {
        match (self.forbids.is_empty(), self.permits.is_empty()) {
            (false, _) => (false, self.forbids, self.errors),
            (true, false) => (true, self.permits, self.errors),
            (true, true) => (false, Vec::new(), self.errors),
        }
    }
}

impl Slices {
    /// Policies keep the position they are given in.
    pub fn new<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut slices = Slices::default();
        for (at, policy) in policies.enumerate() {
            let principal = slices.scope_key(policy.principal_constraint().as_inner());
            let resource = slices.scope_key(policy.resource_constraint().as_inner());
            let actions: BTreeSet<Key> = match policy.action_constraint() {
                ActionConstraint::Any => BTreeSet::from([ANY]),
                ActionConstraint::In(all) => all.iter().map(|action| slices.name_key(action)).collect(),
                ActionConstraint::Eq(one) => BTreeSet::from([slices.name_key(one)]),
            };
            let by_action = slices.tree.entry(principal).or_default();
            for action in actions {
                // A set has far fewer than 2^32 policies: each takes over a hundred bytes.
                by_action.entry(action).or_default().entry(resource).or_default().push(at as u32);
            }
            slices.policies.push(Compiled {
                effect: policy.effect(),
                condition: policy.condition(),
                slots: policy.env().clone(),
            });
        }
        slices
    }

    fn next_key(&self) -> Key {
        (self.names.len() + self.types.len() + 1) as Key
    }

    fn name_key(&mut self, uid: &EntityUID) -> Key {
        let next = self.next_key();
        *self.names.entry(uid.clone()).or_insert(next)
    }

    fn type_key(&mut self, kind: &EntityType) -> Key {
        let next = self.next_key();
        *self.types.entry(kind.clone()).or_insert(next)
    }

    fn scope_key(&mut self, part: &PrincipalOrResourceConstraint) -> Key {
        match part {
            PrincipalOrResourceConstraint::Any => ANY,
            PrincipalOrResourceConstraint::Is(kind) => self.type_key(kind),
            PrincipalOrResourceConstraint::In(EntityReference::EUID(uid))
            | PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid))
            | PrincipalOrResourceConstraint::IsIn(_, EntityReference::EUID(uid)) => self.name_key(uid),
            // A slot that is not filled holds for nothing; policies that are evaluated have none.
            _ => ANY,
        }
    }

    /// What scopes may ask for that this entity is.
    fn keys(&self, entry: &EntityUIDEntry, entities: &Entities) -> Vec<Key> {
        let mut keys = vec![ANY];
        let Some(uid) = entry.uid() else { return keys };
        keys.extend(self.names.get(uid));
        keys.extend(self.types.get(uid.entity_type()));
        if let Dereference::Data(entity) = entities.entity(uid) {
            keys.extend(entity.ancestors().filter_map(|above| self.names.get(above)));
        }
        keys
    }

    /// The positions of the policies that can apply, in order.
    pub fn candidates(&self, request: &Request, entities: &Entities) -> Vec<u32> {
        let principals = self.keys(request.principal(), entities);
        let actions = self.keys(request.action(), entities);
        let resources = self.keys(request.resource(), entities);
        let mut found = Vec::new();
        for by_action in principals.iter().filter_map(|key| self.tree.get(key)) {
            for by_resource in actions.iter().filter_map(|key| by_action.get(key)) {
                for some in resources.iter().filter_map(|key| by_resource.get(key)) {
                    found.extend_from_slice(some);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Evaluates the policies that can apply.
    pub fn evaluate(&self, request: &Request, entities: &Entities) -> Outcome {
        let candidates = self.candidates(request, entities);
        crate::deep::on_deep_stack(|| self.evaluate_some(&candidates, request, entities))
    }

    /// Evaluates some policies, those of [`Slices::candidates`] for instance.
    pub fn evaluate_some(&self, candidates: &[u32], request: &Request, entities: &Entities) -> Outcome {
        let evaluator = Evaluator::new(request.clone(), entities, Extensions::all_available());
        let mut outcome = Outcome::default();
        for at in candidates.iter().map(|at| *at as usize) {
            let Some(policy) = self.policies.get(at) else { continue };
            match evaluator.interpret(&policy.condition, &policy.slots) {
                Ok(value) if is_true(&value) => match policy.effect {
                    Effect::Permit => outcome.permits.push(at),
                    Effect::Forbid => outcome.forbids.push(at),
                },
                // A condition is a conjunction, so its value is a boolean.
                Ok(_) => {}
                Err(error) => outcome.errors.push((at, error)),
            }
        }
        outcome
    }
}

/// Whether a value is the boolean `true`.
pub(crate) fn is_true(value: &Value) -> bool {
    matches!(value.value_kind(), ValueKind::Lit(Literal::Bool(true)))
}
