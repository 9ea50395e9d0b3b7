//! Owns the same promise with real processes: each ends by `kill -9` on itself at one commit of its journal, before or after
//! it, with a real database file and the clouds behind real sockets; then one plain apply finishes the job.
//!
//! Every instant of every operation of every type is tried with `KILLS=all`; a share of them otherwise, for most of the time
//! goes into waiting for the clouds to show what they have. `simulation` tries all of them every time.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use provision_engine::{Actor, ApplyOptions, Host, Input, Outside, PlanOptions, Project, Session};
use provision_nickel::Evaluator;
use provision_registry::Registry;
use provision_sandbox::{Background, Options};
use provision_state::{Database, DbError, Dialect, Row, Sqlite, Store, Val};
use provision_tests::contract::examples;
use provision_tests::control;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A database that kills its process at a commit.
struct Deadly {
    database: Sqlite,
    commits: usize,
    at: usize,
    before: bool,
}

impl Deadly {
    fn kill(&self) {
        let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
        // It is on its way.
        std::thread::sleep(Duration::from_secs(60));
    }
}

impl Database for Deadly {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn run(&mut self, sql: &str, values: &[Val]) -> Result<u64, DbError> {
        self.database.run(sql, values)
    }

    fn rows(&mut self, sql: &str, values: &[Val]) -> Result<Vec<Row>, DbError> {
        self.database.rows(sql, values)
    }

    fn script(&mut self, sql: &str) -> Result<(), DbError> {
        let here = sql == "commit" && {
            self.commits += 1;
            self.commits == self.at
        };
        if here && self.before {
            self.kill();
        }
        let done = self.database.script(sql);
        if here {
            self.kill();
        }
        if sql == "commit" {
            // For who counts them.
            eprintln!("commit {}", self.commits);
        }
        done
    }

    fn revive(&mut self) -> Result<(), DbError> {
        self.database.revive()
    }
}

fn session(folder: &Path, url: &str, store: Arc<Store>) -> Session {
    let variables = control::environment(url, "secret");
    let env = move |name: &str| variables.get(name).cloned();
    let registry = Arc::new(Registry::load(None, None, &Evaluator::default()).unwrap());
    let project = Project::new(folder.to_path_buf(), registry, Evaluator::default());
    // These clouds answer at once: what was sent by who was killed has arrived a second later.
    let outside = Outside { answer_timeout: Duration::from_secs(1), ..Outside::default() };
    let host = Host::over(Arc::new(env), outside);
    Session::over(store, project, host, Actor::vouched("ada", "cli"))
}

fn apply(session: &Session, config: &Value) -> Result<(), String> {
    let input = Input::Data { value: config.clone(), note: None };
    let options = ApplyOptions { parallel: 1, yes: true, input, ..ApplyOptions::default() };
    session
        .apply(None, &options, &|_| {})
        .map_err(|failure| failure.diagnostics().map(|one| one.message.clone()).collect::<Vec<_>>().join("; "))
}

/// Not a test of its own: what the processes do that are killed.
#[test]
fn child() {
    let Ok(order) = std::env::var("NUP_CHILD") else { return };
    let order: Value = serde_json::from_str(&order).unwrap();
    let folder = Path::new(order["folder"].as_str().unwrap());
    let database = Sqlite::open(&folder.join(".provision/state.db")).unwrap();
    let at = usize::try_from(order["at"].as_u64().unwrap()).unwrap();
    let deadly = Deadly { database, commits: 0, at, before: order["before"].as_bool().unwrap() };
    let store = Store::over(Box::new(deadly), folder.join(".provision"), None).unwrap();
    apply(&session(folder, order["url"].as_str().unwrap(), store), &order["config"]).unwrap();
}

struct Try {
    folder: tempfile::TempDir,
    clouds: Background,
}

impl Try {
    /// A project in which something is there already.
    fn new(before: &Value) -> Self {
        let options = Options { action_duration: Duration::from_millis(1), ..Options::default() };
        let world = Self { folder: tempfile::tempdir().unwrap(), clouds: Background::start(options).unwrap() };
        world.apply(before).unwrap();
        world
    }

    fn apply(&self, config: &Value) -> Result<(), String> {
        let store = Store::open(self.folder.path()).map_err(|failure| failure.to_string())?;
        apply(&session(self.folder.path(), &self.clouds.url, store), config)
    }

    /// A process that applies and kills itself at a commit; gives how many commits it made, and whether it was killed.
    fn child(&self, config: &Value, at: usize, before: bool) -> (usize, bool) {
        let order = json!({
            "folder": self.folder.path(), "url": self.clouds.url, "config": config, "at": at, "before": before,
        });
        let said = Command::new(std::env::current_exe().unwrap())
            .args(["killed::child", "--exact", "--nocapture"])
            .env("NUP_CHILD", order.to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let commits = String::from_utf8_lossy(&said.stderr).matches("commit ").count();
        (commits, said.status.signal() == Some(9))
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        let store = Store::open(self.folder.path()).map_err(|failure| failure.to_string())?;
        let known = store.resources().unwrap();
        let open = store.open_entries().unwrap();
        let valid = store.verify_audit(&[]).unwrap().valid;
        let session = session(self.folder.path(), &self.clouds.url, store);
        let plan = session.plan(&Input::Data { value: config.clone(), note: None }, &PlanOptions::default());
        let left: Vec<String> =
            plan.unwrap().rows().map(|row| format!("{} {}", row.action.name(), row.address)).collect();
        let found = session.recover(&|_| {}).unwrap();
        let strays: Vec<String> = found
            .rows
            .into_iter()
            .map(|row| row.message)
            .chain(found.problems.into_iter().map(|it| it.message))
            .collect();
        let declared = config["resources"].as_object().unwrap().len();
        if known.len() == declared && open.is_empty() && valid && left.is_empty() && strays.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} of {declared} known, open {open:?}, audit {valid}, to do {left:?}, strays {strays:?}",
            known.len()
        ))
    }
}

#[test]
fn killed_at_every_commit_of_every_operation_a_plain_apply_finishes_the_job() {
    if std::env::var("NUP_CHILD").is_ok() {
        return;
    }
    let all = std::env::var("KILLS").is_ok_and(|kills| kills == "all");
    let mut cases: Vec<(String, Value, Value, usize, bool)> = Vec::new();
    // Nobody answers it here; `simulation` kills it at every instant.
    for example in examples().into_iter().filter(|example| example.kind != "local.http") {
        for (way, before, after) in example.ways() {
            if !all && (way == "replace" || example.kind.starts_with("aws.")) {
                continue;
            }
            let world = Try::new(&before);
            let (commits, killed) = world.child(&after, usize::MAX, false);
            assert!(!killed && commits > 3, "{way} of {}: {commits} commits", example.kind);
            for at in 1..=commits {
                for early in [true, false] {
                    // Neighbours end alike: before a commit is after the one before it.
                    if all || (!early && at % 5 == 0) {
                        cases.push((format!("{way} of {}", example.kind), before.clone(), after.clone(), at, early));
                    }
                }
            }
        }
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some((what, before, after, at, early)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let what = format!("{what}, {} commit {at}", if *early { "before" } else { "after" });
                    let world = Try::new(before);
                    let (_, killed) = world.child(after, *at, *early);
                    assert!(killed, "{what}: it lived on");
                    world.apply(after).unwrap_or_else(|error| panic!("{what}: {error}"));
                    world.check(after).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
            });
        }
    });
    println!("{} kills", cases.len());
}
