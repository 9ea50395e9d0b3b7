//! Owns `cargo xtask test`: every check there is, in order, and one count of all of them.

use crate::{arrows, clients, docs, licences, mentions, nu, peers, process, snippets, tidy, wings, workspace};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The flags.
#[derive(Args)]
pub struct Test {
    /// Stop at the first check that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Run only the checks of these names, for example `--only documents`; says so at the end.
    #[arg(long)]
    only: Vec<String>,
}

/// The count so far.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    started: Option<Instant>,
}

impl Tally {
    fn heading(&mut self, name: &str) {
        self.started = Some(Instant::now());
        println!("\n== {name}");
    }

    /// Counts a check that consists of several: `passed` were as they should be, each of `wrong` was not.
    fn count(&mut self, name: &str, passed: usize, wrong: Vec<String>) {
        let took = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        println!("   {name}: {passed} passed, {} failed ({took:.1?})", wrong.len());
        for text in &wrong {
            println!("   FAILED {}", text.replace('\n', "\n   "));
        }
        self.passed += passed;
        self.failed
            .extend(wrong.into_iter().map(|text| format!("{name}: {}", text.lines().next().unwrap_or_default())));
    }

    /// Counts a check that holds or does not.
    fn one(&mut self, name: &str, done: Result<(), String>) {
        match done {
            Ok(()) => self.count(name, 1, Vec::new()),
            Err(message) => self.count(name, 0, vec![message]),
        }
    }

    /// Counts a check that lists what is wrong.
    fn list(&mut self, name: &str, wrong: Vec<String>) {
        self.count(name, usize::from(wrong.is_empty()), wrong);
    }
}

impl Test {
    /// Runs everything. With `CI=true` nothing may be left out.
    pub fn run(self) -> Result<(), String> {
        let started = Instant::now();
        let strict = std::env::var("CI").is_ok_and(|ci| ci == "true");
        println!("== setting up");
        let nu = nu::get()?;
        println!("   nu {} at {}", nu::VERSION, nu.display());
        let mut left_out = clients::ensure(workspace::root());
        left_out.extend(peers::nickel().err());
        left_out.extend(peers::cedar().err());
        left_out.extend(postgres().err());
        for what in &left_out {
            println!("   left out: {what}");
        }
        if strict && !left_out.is_empty() {
            return Err(format!("CI=true, so nothing may be left out: {}", left_out.join(", ")));
        }
        process::shown(workspace::cargo().args(["fetch", "--locked"]))?;

        let mut tally = Tally::default();
        let steps: [(&str, Step); 8] = [
            ("format", format),
            ("build", build),
            ("lint", lint),
            ("house rules", house),
            ("api documentation", api_docs),
            ("tests", tests),
            ("nu-lib", library),
            ("documents", documents),
        ];
        if let Some(unknown) = self.only.iter().find(|only| steps.iter().all(|(name, _)| name != only)) {
            let names = steps.map(|(name, _)| name);
            return Err(format!("there is no check `{unknown}`; there are {}", names.join(", ")));
        }
        for (name, step) in steps {
            if !self.only.is_empty() && !self.only.iter().any(|only| only == name) {
                continue;
            }
            tally.heading(name);
            if let Err(message) = step(&mut tally, &nu) {
                tally.count(name, 0, vec![message]);
            }
            // Nothing below could run without the binaries.
            if !tally.failed.is_empty() && (self.fail_fast || name == "build") {
                break;
            }
        }

        println!();
        for what in &left_out {
            println!("left out: {what}");
        }
        for failed in &tally.failed {
            println!("FAILED {failed}");
        }
        if !self.only.is_empty() {
            println!("only: {}", self.only.join(", "));
        }
        println!(
            "{} passed, {} failed, {} left out, in {:.0?}",
            tally.passed,
            tally.failed.len(),
            left_out.len(),
            started.elapsed()
        );
        if tally.failed.is_empty() { Ok(()) } else { Err(format!("{} checks failed", tally.failed.len())) }
    }
}

/// The suites of the state run on PostgreSQL too where Debian's package has put it.
fn postgres() -> Result<(), String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    match versions.map(|version| version.path().join("bin/postgres")).any(|server| server.is_file()) {
        true => Ok(()),
        false => Err("the state on PostgreSQL: install the package postgresql".to_owned()),
    }
}

type Step = fn(&mut Tally, &Path) -> Result<(), String>;

fn format(tally: &mut Tally, _: &Path) -> Result<(), String> {
    tally.one("cargo fmt", process::shown(workspace::cargo().args(["fmt", "--all", "--check"])));
    Ok(())
}

/// One compilation serves everything that runs afterwards.
fn build(tally: &mut Tally, _: &Path) -> Result<(), String> {
    tally.one(
        "cargo build",
        process::shown(workspace::cargo().args(["build", "--workspace", "--all-targets", "--locked"])),
    );
    Ok(())
}

/// Only metadata of the dependencies is made for it, which `cargo doc` uses too.
fn lint(tally: &mut Tally, _: &Path) -> Result<(), String> {
    let mut clippy = workspace::cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    tally.one("cargo clippy", process::shown(&mut clippy));
    Ok(())
}

fn house(tally: &mut Tally, _: &Path) -> Result<(), String> {
    let metadata = workspace::metadata()?;
    tally.list("dependency arrows", arrows::check(&metadata));
    tally.list("wings of the engine", wings::check()?);
    tally.list("tidy sources", tidy::check());
    for (packages, reason) in licences::exceptions() {
        println!("   by exception: {}: {reason}", packages.join(", "));
    }
    tally.list("licences", licences::check(&metadata));
    tally.list("names in documents", mentions::check(&metadata)?);
    Ok(())
}

fn api_docs(tally: &mut Tally, _: &Path) -> Result<(), String> {
    let mut doc = workspace::cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings");
    tally.one("cargo doc", process::shown(&mut doc));
    Ok(())
}

fn tests(tally: &mut Tally, nu: &Path) -> Result<(), String> {
    let scratch = process::scratch()?;
    let mut test = workspace::cargo();
    test.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    process::offline(&mut test).env("NU_BIN", nu).env("TMPDIR", scratch.path()).env("CARGO_NET_OFFLINE", "true");
    let (success, printed) = process::tee(&mut test)?;
    let (passed, failed) = counts(&printed);
    let mut wrong = failed;
    if passed == 0 {
        wrong.push("no test ran".to_owned());
    }
    if !success && wrong.is_empty() {
        wrong.push("cargo test failed without naming a test; see above".to_owned());
    }
    tally.count("cargo test", passed, wrong);
    Ok(())
}

/// How many tests passed, and the names of those that failed, in the output of `cargo test`.
fn counts(printed: &str) -> (usize, Vec<String>) {
    let mut passed = 0;
    let mut failed = Vec::new();
    for line in printed.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            let number = result.split_once(". ").and_then(|(_, rest)| rest.split(' ').next());
            passed += number.and_then(|number| number.parse::<usize>().ok()).unwrap_or_default();
        } else if let Some(test) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            failed.push(test.to_owned());
        }
    }
    (passed, failed)
}

/// The tests of nu-lib, in a real `nu` with the plugins.
fn library(tally: &mut Tally, nu: &Path) -> Result<(), String> {
    let home = process::scratch()?;
    let plugins = workspace::plugins("debug")?;
    let mut command = nu::with_plugins(nu, &plugins);
    command.arg(workspace::root().join("nu-lib/tests/run.nu")).current_dir(home.path());
    process::secluded(&mut command, home.path()).env("PROVISION_ACTOR", "env").env("USER", "ada").env("NO_COLOR", "1");
    pass_on(&mut command, nu, &plugins);
    let said = process::bounded(&mut command, Duration::from_secs(300))?;
    print!("{}", said.stdout);
    let of =
        |word: &'static str| said.stdout.lines().filter_map(move |line| line.strip_prefix(word)).map(str::to_owned);
    let passed = of("ok ").count();
    let mut wrong: Vec<String> = of("FAILED ").collect();
    if !said.success && wrong.is_empty() {
        wrong.push(format!("the runner failed\n{}", said.stderr));
    }
    if passed == 0 && wrong.is_empty() {
        wrong.push("no test ran".to_owned());
    }
    tally.count("nu-lib", passed, wrong);
    Ok(())
}

/// What the runner needs to start further processes like its own.
fn pass_on(command: &mut Command, nu: &Path, plugins: &[PathBuf]) {
    command.env("NU_BIN", nu).env("NU_PLUGINS", nu::list(plugins));
}

fn documents(tally: &mut Tally, nu: &Path) -> Result<(), String> {
    let plugins = workspace::plugins("debug")?;
    for (page, text) in docs::pages(nu, &plugins)? {
        let current = workspace::read(page).is_ok_and(|current| current == text);
        tally.one(page, if current { Ok(()) } else { Err(docs::stale(page)) });
    }
    for document in snippets::DOCUMENTS {
        let outcome = snippets::run(document, nu, &plugins)?;
        tally.count(&format!("blocks of {document}"), outcome.passed, outcome.wrong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_test_binaries_are_added() {
        let printed = "test a ... ok\ntest b ... FAILED\n\
                       test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
                       test result: ok. 41 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counts(printed), (42, vec!["b".to_owned()]));
    }
}
