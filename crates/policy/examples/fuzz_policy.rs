//! Feeds mutated policies, schemas, entities and requests to everything that takes them. A panic is a failure.
//!
//! `fuzz_policy SECONDS SEED`. The texts come from the random worlds of the tests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a program of the test suite")]

#[path = "../tests/worlds/mod.rs"]
mod worlds;

use provision_policy::{
    Authorizer, EntityRef, PolicySet, PolicySource, Query, Question, Schema, format, policies_from_json,
    policies_to_json, read_cases,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pieces that mean something to one of the readers.
const PIECES: &[&str] = &[
    "permit",
    "forbid",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ";",
    ",",
    "::",
    "==",
    "&&",
    "||",
    "!",
    "-",
    "?principal",
    "?resource",
    "when",
    "unless",
    "if",
    "then",
    "else",
    "has",
    "like",
    "is",
    "in",
    "@id(\"x\")",
    "\u{0}",
    "\r",
    "\u{e9}",
    "9223372036854775808",
    "-9223372036854775808",
    "1e400",
    "null",
    "__entity",
    "__extn",
    "__expr",
    "$unknown",
    "ip(\"::/0\")",
    "decimal(\"1.00001\")",
    "datetime(\"2026-02-30\")",
    "namespace A {",
    "entity User;",
    "appliesTo",
    "type",
    "tags",
    "//",
    "*",
];

fn mutated(rng: &mut StdRng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=chars.len());
        match rng.random_range(0..5) {
            0 => {
                let end = (at + rng.random_range(0..20)).min(chars.len());
                chars.drain(at.min(end)..end);
            }
            1 => {
                let piece: Vec<char> = PIECES.choose(rng).unwrap().chars().collect();
                chars.splice(at..at, piece);
            }
            2 if !chars.is_empty() => {
                let from = rng.random_range(0..chars.len());
                let end = (from + rng.random_range(0..40)).min(chars.len());
                let copy: Vec<char> = chars[from..end].to_vec();
                chars.splice(at..at, copy);
            }
            3 if at < chars.len() => chars[at] = char::from(rng.random_range(0_u8..128)),
            _ => {
                let deep = rng.random_range(1..200);
                let open = ["(", "[", "!", "-", "{a:"].choose(rng).unwrap();
                chars.splice(at..at, open.repeat(deep).chars());
            }
        }
    }
    chars.into_iter().collect()
}

fn one(rng: &mut StdRng, seed: u64) {
    let mut world = worlds::World::new(seed, 4, true);
    let row = world.question().to_string();
    let mut texts = [world.policies.clone(), worlds::SCHEMA.to_owned(), world.entities.to_string(), row];
    let which = rng.random_range(0..texts.len());
    texts[which] = mutated(rng, &texts[which]);
    let [policies, schema, entities, row] = texts;
    let _ = format("f", &policies);
    if let Ok(json) = policies_to_json("f", &policies) {
        let _ = policies_from_json(json);
    }
    let _ = serde_json::from_str(&policies).map(policies_from_json);
    let schema = Schema::parse("s", &schema).ok().map(Arc::new);
    let rows: Vec<Value> = serde_json::from_str(&entities).unwrap_or_default();
    let row: Option<Value> = serde_json::from_str(&row).ok();
    let _ = row.clone().map(|row| read_cases(Value::from(vec![row]), &|_| Ok(Value::Null)));
    let Ok(set) = PolicySet::parse(&[PolicySource { name: "f".into(), text: policies }]) else { return };
    let set = Arc::new(set);
    let _ = set.list();
    if let Some(schema) = &schema {
        let _ = set.validate(schema);
    }
    for schema in [None, schema] {
        let Ok(authorizer) = Authorizer::new(set.clone(), schema, &rows) else { continue };
        let Some(question) = row.clone().and_then(|row| serde_json::from_value::<Question>(row).ok()) else { continue };
        let _ = authorizer.decide(&question);
        let _ = authorizer.decide_partial(&question);
        let _ = authorizer.explain(&question);
        let open: [Option<EntityRef>; 3] =
            [Some(question.principal.clone()), Some(question.action.clone()), Some(question.resource.clone())];
        for left_out in 0..3 {
            let mut ends = open.clone();
            ends[left_out] = None;
            let [principal, action, resource] = ends;
            let context = question.context.clone();
            let _ = authorizer.query(&Query { principal, action, resource, context, entities: Vec::new() });
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("SECONDS SEED"));
    let seconds = Duration::from_secs(args.next().unwrap_or(10));
    let mut seed = args.next().unwrap_or(1);
    let start = Instant::now();
    let (mut count, mut panics, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    while start.elapsed() < seconds {
        seed += 1;
        let mut rng = StdRng::seed_from_u64(seed);
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| one(&mut rng, seed % 500))).is_err() {
            eprintln!("panic at seed {seed}");
            panics += 1;
        }
        slowest = slowest.max(begun.elapsed());
        count += 1;
    }
    println!(
        "{count} inputs in {:.0} s, slowest {:.2} s, {panics} panics",
        start.elapsed().as_secs_f64(),
        slowest.as_secs_f64()
    );
    assert_eq!(panics, 0, "a panic is a failure");
}
