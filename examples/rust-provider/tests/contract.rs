//! Owns running the provider contract suite on the provider of this example.

use provision_contract::{CheckRow, Suite, Target, Verdict};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[test]
fn notes_pass_the_contract_suite() {
    let evaluator = Evaluator::default();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("project");
    let suite = Suite {
        registry: Arc::new(Registry::load(Some(&project), None, &evaluator).unwrap()),
        rust: notes::providers(),
        evaluator,
        env: Arc::new(|_: &str| None),
        provider: "notes".to_owned(),
        types: Vec::new(),
        // Nothing is asked of the sandbox: the checks that need a wire do not apply.
        target: Target::Sandbox,
        record: None,
    };
    let mut rows: Vec<CheckRow> = Vec::new();
    suite.run(&AtomicBool::new(false), &mut |row| rows.push(row)).unwrap();
    let of = |result: Verdict| -> Vec<String> {
        let found = rows.iter().filter(|row| row.result == result);
        found
            .map(|row| format!("{}{}", row.check, row.message.iter().map(|it| format!(": {it}")).collect::<String>()))
            .collect()
    };
    assert_eq!(of(Verdict::Failed), Vec::<String>::new());
    let passed = of(Verdict::Passed);
    for check in [
        "create",
        "read-back",
        "list",
        "update text",
        "drift text",
        "drift labels",
        "replace author",
        "delete",
        "secrets",
    ] {
        assert!(passed.iter().any(|it| it == check), "{check} is not in {passed:?}");
    }
}
