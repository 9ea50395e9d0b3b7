//! Owns running the provider contract suite on every built-in type, as `provision provider test` does.
#![expect(clippy::unwrap_used, reason = "a test that fails should stop")]

use provision_contract::{CheckRow, Suite, Target, Verdict};
use provision_engine::RustProviders;
use provision_nickel::Evaluator;
use provision_registry::Registry;
use provision_tests::table_in;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The suite of one provider.
fn run(provider: &str, target: Target, record: Option<PathBuf>) -> Vec<CheckRow> {
    let evaluator = Evaluator::default();
    let suite = Suite {
        registry: Arc::new(Registry::load(None, None, &evaluator).unwrap()),
        rust: RustProviders::default(),
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
    let mut table = format!("| type | {} |\n|---|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for provider in ["local", "hetzner", "upcloud", "aws"] {
        let rows = run(provider, Target::Sandbox, None);
        if std::env::var("CONTRACT").is_ok() {
            for row in &rows {
                println!("{:?} {} {} {:?}", row.result, row.kind, row.check, row.message);
            }
        }
        wrong.extend(failed(&rows));
        let (looked_up, types): (Vec<CheckRow>, Vec<CheckRow>) =
            rows.into_iter().partition(|row| row.check == "look-up");
        assert_eq!(looked_up.is_empty(), provider == "local");
        table += &cells(&types);
    }
    assert_eq!(wrong, Vec::<String>::new());
    table_in("docs/contract.md", &table);
}

/// The columns of the table in the documents: checks by the first words of their names.
const COLUMNS: [&str; 13] = [
    "create",
    "read-back",
    "list",
    "update",
    "drift",
    "detach",
    "replace",
    "delete",
    "throttle",
    "quota",
    "lost answer",
    "malformed answers",
    "secrets",
];

/// How many checks of each column passed, a line for each type.
fn cells(rows: &[CheckRow]) -> String {
    let mut kinds: Vec<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
    kinds.dedup();
    let cell = |kind: &str, column: &str| {
        let passed =
            |row: &&CheckRow| row.kind == kind && row.check.starts_with(column) && row.result == Verdict::Passed;
        match rows.iter().filter(passed).count() {
            0 => "-".to_owned(),
            count => count.to_string(),
        }
    };
    let line = |kind: &&str| {
        let cells: Vec<String> = COLUMNS.iter().map(|column| cell(kind, column)).collect();
        format!("| `{kind}` | {} |\n", cells.join(" | "))
    };
    kinds.iter().map(line).collect()
}
