//! Owns running the provider contract suite on every built-in type, as `provision provider test` does.
#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_contract::{CheckRow, Suite, Target, Verdict};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The suite of one provider.
fn run(provider: &str, target: Target, record: Option<PathBuf>) -> Vec<CheckRow> {
    let evaluator = Evaluator::default();
    let suite = Suite {
        registry: Arc::new(Registry::load(None, None, &evaluator).unwrap()),
        evaluator,
        env: Arc::new(|_: &str| None),
        provider: provider.to_owned(),
        types: Vec::new(),
        target,
        record,
    };
    let mut rows = Vec::new();
    suite.run(&AtomicBool::new(false), &mut |row| rows.push(row)).unwrap();
    rows
}

fn failed(rows: &[CheckRow]) -> Vec<String> {
    let row = |row: &CheckRow| format!("{} {}: {}", row.kind, row.check, row.message.as_deref().unwrap_or_default());
    rows.iter().filter(|row| row.result == Verdict::Failed).map(row).collect()
}

#[test]
fn every_type_of_every_provider_passes_the_contract_suite() {
    let mut wrong = Vec::new();
    for provider in ["local", "hetzner", "upcloud", "aws"] {
        let rows = run(provider, Target::Sandbox, None);
        if std::env::var("CONTRACT").is_ok() {
            for row in &rows {
                println!("{:?} {} {} {:?}", row.result, row.kind, row.check, row.message);
            }
        }
        wrong.extend(failed(&rows));
    }
    assert_eq!(wrong, Vec::<String>::new());
}
