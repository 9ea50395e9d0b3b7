//! Owns what must hold in every world: decisions as Cedar's own authorizer takes them, queries as asking everybody
//! would answer them, flips that flip.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "worlds/mod.rs"]
mod worlds;

use provision_policy::{Authorizer, EntityRef, PolicySet, PolicySource, Query, Question, Schema, Verdict};
use serde_json::Value;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;
use worlds::{SCHEMA, World};

fn authorizer(world: &World, schema: bool) -> Authorizer {
    let set = PolicySet::parse(&[PolicySource { name: "p.cedar".into(), text: world.policies.clone() }]).unwrap();
    let schema = schema.then(|| Arc::new(Schema::parse("s", SCHEMA).unwrap()));
    Authorizer::new(Arc::new(set), schema, world.entities.as_array().unwrap()).unwrap()
}

fn question(row: &Value) -> Question {
    serde_json::from_value(row.clone()).unwrap()
}

/// What Cedar's own authorizer says, which tries every policy.
fn by_cedar(world: &World, row: &Value) -> (bool, BTreeSet<String>, BTreeSet<String>) {
    let plain = cedar_policy::PolicySet::from_str(&world.policies).unwrap();
    let mut policies = cedar_policy::PolicySet::new();
    for policy in plain.policies() {
        let id = policy.annotation("id").map_or(policy.id().clone(), cedar_policy::PolicyId::new);
        policies.add(policy.new_id(id)).unwrap();
    }
    let entities = cedar_policy::Entities::from_json_value(world.entities.clone(), None).unwrap();
    let uid = |part: &str| cedar_policy::EntityUid::from_str(row[part].as_str().unwrap()).unwrap();
    let context = cedar_policy::Context::from_json_value(row["context"].clone(), None).unwrap();
    let request = cedar_policy::Request::new(uid("principal"), uid("action"), uid("resource"), context, None).unwrap();
    let response = cedar_policy::Authorizer::new().is_authorized(&request, &policies, &entities);
    let reasons = response.diagnostics().reason().map(ToString::to_string).collect();
    let errors = response.diagnostics().errors().map(failed_policy).collect();
    (response.decision() == cedar_policy::Decision::Allow, reasons, errors)
}

fn failed_policy(error: &cedar_policy::AuthorizationError) -> String {
    let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
    error.policy_id().to_string()
}

#[test]
fn decisions_are_those_of_cedars_own_authorizer() {
    let mut allowed = 0;
    let mut errors = 0;
    for seed in 0..300 {
        let mut world = World::new(seed, 12, true);
        let authorizer = authorizer(&world, false);
        for _ in 0..10 {
            let row = world.question();
            let decision = authorizer.decide(&question(&row)).unwrap();
            let told = (
                decision.decision == Verdict::Allow,
                decision.reasons.iter().map(|reason| reason.policy.clone()).collect(),
                decision.errors.iter().map(|error| error.policy.clone()).collect(),
            );
            assert_eq!(told, by_cedar(&world, &row), "seed {seed}: {row}\n{}", world.policies);
            allowed += usize::from(told.0);
            errors += told.2.len();
        }
    }
    assert!((300..2700).contains(&allowed) && errors > 100, "the worlds are one-sided: {allowed} {errors}");
}

#[test]
fn a_query_is_what_asking_for_each_gives() {
    let mut found = 0;
    for seed in 0..1000 {
        let mut world = World::new(seed, 6, false);
        let row = world.question();
        let asked = question(&row);
        for typed in [true, false] {
            let authorizer = authorizer(&world, typed);
            let open = ["principal", "action", "resource"][usize::try_from(seed % 3).unwrap()];
            let part = |name: &str, given: &EntityRef| (name != open).then(|| given.clone());
            let query = Query {
                principal: part("principal", &asked.principal),
                action: part("action", &asked.action),
                resource: part("resource", &asked.resource),
                context: asked.context.clone(),
                entities: Vec::new(),
            };
            let candidates: Vec<String> = match open {
                "action" => ["view", "edit", "delete", "write"].map(|name| format!("Action::\"{name}\"")).to_vec(),
                _ => ["User", "Group", "Doc", "Folder"].iter().flat_map(|kind| world.uids(kind)).collect(),
            };
            let mut expected = BTreeSet::new();
            for candidate in candidates {
                let mut row = row.clone();
                row[open] = Value::from(candidate.clone());
                // What the schema does not allow is not asked.
                let Ok(decision) = authorizer.decide(&question(&row)) else { continue };
                if decision.decision == Verdict::Allow {
                    let ids: Vec<String> = decision.reasons.iter().map(|reason| reason.policy.clone()).collect();
                    expected.insert((candidate, ids));
                }
            }
            let told: BTreeSet<(String, Vec<String>)> = authorizer
                .query(&query)
                .unwrap()
                .into_iter()
                .map(|row| {
                    let end = match open {
                        "principal" => row.principal,
                        "action" => row.action,
                        _ => row.resource,
                    };
                    (end, row.policies)
                })
                .collect();
            if open == "action" && !typed {
                // Without a schema only the actions that policies name are known.
                assert!(told.is_subset(&expected), "seed {seed}: {row}\n{}", world.policies);
            } else {
                assert_eq!(told, expected, "seed {seed}, {open} of {row}, schema {typed}\n{}", world.policies);
            }
            found += told.len();
        }
    }
    assert!(found > 500, "the queries find hardly anything: {found}");
}

#[test]
fn a_flip_flips_and_is_told_with_all_it_changes() {
    let (mut flips, mut asked) = (0, 0);
    for seed in 0..300 {
        let typed = seed % 2 == 0;
        let mut world = World::new(seed, 5, !typed);
        let authorizer = authorizer(&world, typed);
        // The changed question brings its own entities.
        let set = authorizer_without_entities(&world, typed);
        let row = world.question();
        let explained = authorizer.explain(&question(&row)).unwrap();
        let decided = authorizer.decide(&question(&row)).unwrap();
        assert_eq!(explained.decision, decided.decision);
        assert_eq!(explained.reasons, decided.reasons);
        let determining: Vec<&str> = explained
            .policies
            .iter()
            .filter(|policy| policy.determining)
            .map(|policy| policy.policy.as_str())
            .collect();
        assert_eq!(determining, decided.reasons.iter().map(|reason| reason.policy.as_str()).collect::<Vec<_>>());
        for policy in &explained.policies {
            let holds = policy.in_scope && policy.clauses.iter().all(|clause| clause.holds);
            assert_eq!(policy.satisfied, holds, "seed {seed}: {policy:?}");
        }
        asked += 1;
        let Some(flip) = explained.flip else { continue };
        flips += 1;
        assert!((1..=3).contains(&flip.changes.len()));
        let turned = set.decide(&question(&flip.request)).unwrap();
        assert_ne!(turned.decision, decided.decision, "seed {seed}: {row} {flip:?}\n{}", world.policies);
        assert_eq!(turned.decision, flip.decision);
        for change in &flip.changes {
            assert_ne!(change.before, change.after);
        }
    }
    // Most of the others cannot be flipped: no policy in scope has a condition that matters.
    assert!(flips * 4 > asked, "too few flips: {flips} of {asked}");
}

fn authorizer_without_entities(world: &World, schema: bool) -> Authorizer {
    let set = PolicySet::parse(&[PolicySource { name: "p.cedar".into(), text: world.policies.clone() }]).unwrap();
    let schema = schema.then(|| Arc::new(Schema::parse("s", SCHEMA).unwrap()));
    Authorizer::new(Arc::new(set), schema, &[]).unwrap()
}
