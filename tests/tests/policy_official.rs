//! Owns the comparison with the official `cedar` command: decisions, determining policies and verdicts of validation.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_tests::{World, workspace};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "../../crates/policy/tests/worlds/mod.rs"]
mod worlds;

/// Worlds, and questions in each: over two thousand cases.
const WORLDS: u64 = 110;
const QUESTIONS: usize = 20;

fn official() -> Option<PathBuf> {
    let program = workspace().join("target/peers/bin/cedar");
    if program.is_file() {
        return Some(program);
    }
    // `cargo xtask test` brings it; `cargo test` alone leaves this comparison out, and says so.
    assert!(std::env::var("CI").is_err(), "the official cedar command is missing");
    eprintln!("left out: no official cedar command at {}", program.display());
    None
}

/// What the official command decides: allow or not, by which policies.
fn decided(cedar: &Path, folder: &Path, row: &Value, name: &str) -> (bool, BTreeSet<String>) {
    let file = format!("{name}.json");
    std::fs::write(folder.join(&file), row.to_string()).unwrap();
    let output = Command::new(cedar)
        .current_dir(folder)
        .args(["authorize", "--verbose", "--policies", "p.cedar", "--entities", "e.json", "--request-json", &file])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let word = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    assert!(["ALLOW", "DENY"].contains(&word), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let reasons = text
        .lines()
        .skip_while(|line| !line.contains("due to the following policies"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .map(|line| line.trim().to_owned())
        .collect();
    (word == "ALLOW", reasons)
}

fn is_valid(cedar: &Path, folder: &Path) -> bool {
    let args = ["validate", "--schema", "s.cedarschema", "--policies", "p.cedar"];
    let output = Command::new(cedar).current_dir(folder).args(args).output().unwrap();
    output.status.success()
}

#[test]
fn two_thousand_cases_are_decided_as_the_official_command_decides_them() {
    let Some(cedar) = official() else { return };
    let world = World::with_plugins(&["nu_plugin_policy"]);
    let next = AtomicUsize::new(0);
    let (allowed, compared, invalid) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut expected: Vec<Vec<(bool, BTreeSet<String>)>> = Vec::new();
    let mut verdicts = Vec::new();
    let mut all_rows = Vec::new();
    for seed in 0..WORLDS {
        let mut small = worlds::World::new(seed, 10, seed % 2 == 0);
        let rows: Vec<Value> = (0..QUESTIONS).map(|_| small.question()).collect();
        let folder = format!("w{seed}");
        world.write(&format!("{folder}/p.cedar"), &small.policies);
        world.write(&format!("{folder}/e.json"), &small.entities.to_string());
        world.write(&format!("{folder}/s.cedarschema"), worlds::SCHEMA);
        world.write(&format!("{folder}/rows.json"), &Value::from(rows.clone()).to_string());
        all_rows.push(rows);
        expected.push(Vec::new());
        verdicts.push(false);
    }
    let done: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(rows) = all_rows.get(at) else { return done };
                        let folder = world.project().join(format!("w{at}"));
                        let told: Vec<_> = rows.iter().map(|row| decided(&cedar, &folder, row, "row")).collect();
                        done.push((at, told, is_valid(&cedar, &folder)));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    for (at, told, valid) in done {
        expected[at] = told;
        verdicts[at] = valid;
    }
    let script = format!(
        "0..<{WORLDS} | each {{|at| {{ \
            rows: (open $'w($at)/rows.json' | policy authorize --policies $'w($at)/p.cedar' --entities $'w($at)/e.json' | \
                each {{|row| {{ allowed: ($row.decision == allow), policies: $row.reasons.policy }} }}), \
            errors: (policy check --policies $'w($at)/p.cedar' --schema $'w($at)/s.cedarschema' | where severity == error | length) \
        }} }}"
    );
    let ours = world.json(&script);
    for (at, told) in expected.iter().enumerate() {
        let wrong = ours[at]["errors"].as_u64().unwrap();
        assert_eq!(wrong == 0, verdicts[at], "validation of world {at}");
        invalid.fetch_add(usize::from(wrong > 0), Ordering::Relaxed);
        for (number, (decision, reasons)) in told.iter().enumerate() {
            let row = &ours[at]["rows"][number];
            let policies: BTreeSet<String> = serde_json::from_value(row["policies"].clone()).unwrap();
            assert_eq!(
                (&row["allowed"], &policies),
                (&json!(decision), reasons),
                "world {at}, row {number}: {}",
                all_rows[at][number]
            );
            allowed.fetch_add(usize::from(*decision), Ordering::Relaxed);
            compared.fetch_add(1, Ordering::Relaxed);
        }
    }
    let [allowed, compared, invalid] = [allowed, compared, invalid].map(AtomicUsize::into_inner);
    assert!(compared >= 2000 && allowed > 200 && allowed < compared - 200, "{allowed} of {compared} allowed");
    assert!(invalid > 10 && invalid < all_rows.len() - 10, "{invalid} worlds do not fit the schema");
    println!("{compared} cases alike, {allowed} allowed; {invalid} of {} sets invalid for both", all_rows.len());
}

/// Sample applications, each with policies, a schema, entities and cases in the official test format.
#[test]
fn the_sample_applications_pass_their_cases_here_and_there() {
    let cedar = official();
    let world = World::with_plugins(&["nu_plugin_policy"]);
    let samples = workspace().join("tests/corpus/policy");
    let mut count = 0;
    for sample in std::fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path()) {
        let name = sample.file_name().unwrap().to_str().unwrap().to_owned();
        for file in std::fs::read_dir(&sample).unwrap().map(|entry| entry.unwrap().path()) {
            let content = std::fs::read_to_string(&file).unwrap();
            world.write(&format!("{name}/{}", file.file_name().unwrap().to_str().unwrap()), &content);
        }
        let flags = "--policies policies.cedar --schema schema.cedarschema";
        let rows = world.json(&format!("cd {name}; policy test cases.json {flags}"));
        for row in rows.as_array().unwrap() {
            assert_eq!(row["status"], json!("passed"), "{name}: {row}");
            count += 1;
        }
        assert_eq!(world.json(&format!("cd {name}; policy check {flags}")), json!([]), "{name}");
        let never = format!(
            "cd {name}; policy test cases.json {flags} --coverage | where clause == null and decided == 0 | get policy"
        );
        assert_eq!(world.json(&never), json!([]), "{name}: policies that decide no case");
        if let Some(cedar) = &cedar {
            let args = [
                "run-tests",
                "--policies",
                "policies.cedar",
                "--schema",
                "schema.cedarschema",
                "--tests",
                "./cases.json",
            ];
            let output = Command::new(cedar).current_dir(world.project().join(&name)).args(args).output().unwrap();
            assert!(
                output.status.success(),
                "{name}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    assert!(count >= 30, "only {count} cases");
}
