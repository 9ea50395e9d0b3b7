//! Owns apply: settling what is open, checking the rows, asking the policies, then walking the plan in parallel.

use crate::Session;
use crate::execute::{Done, Executor};
use crate::gate::{Answer, Gate, because, denial};
use crate::plan::{Plan, PlanOptions, PlannedRow};
use crate::project::Input;
use crate::question::Questions;
use crate::schedule::{Node, Schedule, graph};
use crate::subset::Subset;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{Action, Address, Event, Json, Outcome, Question, Recovered, Status};
use provision_state::{Approval, Counts, Lease, NewChange};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How to apply.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Operations at a time; one place is left for each account that has something to do.
    pub parallel: usize,
    /// Consent to apply what the project says now.
    pub yes: bool,
    /// Plan the removal of everything.
    pub destroy: bool,
    /// The ids of the approvals that count; `None` for all of the plan.
    pub approvals: Option<Vec<String>>,
    /// Why, for the history.
    pub reason: Option<String>,
    /// The configuration that is planned when no rows are given.
    pub input: Input,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { parallel: 16, yes: false, destroy: false, approvals: None, reason: None, input: Input::Project }
    }
}

/// Takes events as they happen.
pub type Sink<'a> = &'a (dyn Fn(Event) + Sync);

/// What asking about the rows of a plan gave, by row.
#[derive(Debug, Default)]
pub struct Asked {
    /// Questions to be asked again when more is known.
    pub pending: HashMap<usize, Vec<Question>>,
    /// The policies that allow it.
    pub allowed_by: HashMap<usize, Vec<String>>,
    denials: Vec<Diagnostic>,
    waiting: Vec<Diagnostic>,
    /// The approvals without which a row would not pass.
    used: BTreeSet<String>,
}

impl Session {
    /// Applies rows of a plan, or with consent what the project says. Everything that can be refused is refused before
    /// the first call that changes something.
    pub fn apply(&self, rows: Option<&[Json]>, options: &ApplyOptions, sink: Sink<'_>) -> Result<(), Failure> {
        if rows.is_none() && !options.yes {
            let what = if options.destroy { "provision destroy" } else { "provision apply" };
            return Err(Failure::new(
                "provision::apply::consent",
                format!("{what} was given no plan rows and no consent"),
            )
            .with_help(match options.destroy {
                true => {
                    "Run `provision destroy --yes`, or pipe rows of `provision plan --destroy` into `provision apply`."
                }
                false => "Pipe in rows of `provision plan`, or run `provision apply --yes`.",
            }));
        }
        // What cannot be applied at all needs no lease.
        let loaded = match rows {
            Some(rows) => match self.load_rows(rows)? {
                Some(loaded) => Some(loaded),
                None => return Ok(()),
            },
            None => None,
        };
        let lease = self.writer()?;
        for address in self.store.mend(&lease)? {
            let what = "its damaged row was written again from the history";
            sink(event(address, Action::NoOp, Status::Settled, Some(what.to_owned())));
        }
        let settled = self.settle(&lease, sink)?;
        for row in settled.rows.iter().filter(|row| row.outcome != Outcome::InDoubt) {
            sink(settled_event(row));
        }
        Failure::check(settled.problems)?;
        let made: HashSet<Address> = settled
            .rows
            .iter()
            .filter(|row| matches!(row.outcome, Outcome::Adopted | Outcome::Done))
            .filter_map(|row| row.address.clone())
            .collect();
        let (plan, chosen) = match loaded {
            Some(loaded) => loaded,
            None => {
                let how = PlanOptions { destroy: options.destroy, certain: true, ..PlanOptions::default() };
                let plan = self.plan(&options.input, &how)?;
                let all = (0..plan.rows.len()).collect();
                (plan, all)
            }
        };
        self.refuse_other_project(&plan.project)?;
        let mut subset = self.check_rows(plan, chosen, &made)?;
        self.refuse_doubles(&lease, &mut subset, rows.is_some())?;
        let subset = subset;
        let gate = self.gate(subset.plan.policies.as_deref(), Some(&lease))?;
        let asked = match self.authorize(&gate, &subset, options.approvals.as_deref(), sink) {
            Ok(asked) => asked,
            Err(failure) => {
                let noted = self.audit_denial(&lease, &subset.plan, &failure);
                return both(Err(failure), noted);
            }
        };
        for &at in &subset.skipped {
            let row = &subset.plan.rows[at].row;
            if row.action != Action::NoOp {
                sink(event(
                    row.address.clone(),
                    row.action,
                    Status::Skipped,
                    Some("this plan has done it already".into()),
                ));
            }
        }
        self.store.put_outputs(&lease, &subset.plan.outputs)?;
        self.store.put_accounts(&lease, &serde_json::json!(subset.plan.accounts))?;
        self.store.pin_project(&lease, &subset.plan.project)?;
        if subset.todo.is_empty() {
            if rows.is_none() {
                self.store.clear_behind(&lease)?;
            }
            return Ok(());
        }
        let approvals: Vec<String> = asked.used.iter().cloned().collect();
        // Nothing is sent before the head beside the state is that of the log: an older one shows from here on.
        self.store.anchor()?;
        let serial = self.store.open_change(&lease, &self.new_change(&subset, options)?, &approvals)?;
        let (counts, done) = self.run(&lease, serial, &gate, &subset, &asked, options, sink)?;
        let done = done.map_err(|mut failure| {
            failure.first.help = Some(self.next_step(rows.is_some(), options));
            failure
        });
        // What became of the operations is told whatever happens to its record.
        let closed = self.store.close_change(&lease, serial, counts);
        let closed = closed.and_then(|()| match rows.is_none() && done.is_ok() {
            true => self.store.clear_behind(&lease),
            false => Ok(()),
        });
        let closed = closed.and_then(|()| self.store.checkpoint());
        drop(lease);
        if closed.is_err() {
            return both(done, closed);
        }
        // The work is done and written down; a backup that cannot be made must not make it look undone.
        if let Err(failure) = self.store.backup_when_due() {
            let message = format!("no backup was made: {}", failure.first.message);
            sink(event(Address::new("backup"), Action::NoOp, Status::Failed, Some(message)));
        }
        done
    }

    /// What goes on with an apply that is incomplete: the very thing that was begun, and no other.
    fn next_step(&self, of_rows: bool, options: &ApplyOptions) -> String {
        let environment = self.environment.as_ref().map(|name| format!(" --environment {name}")).unwrap_or_default();
        let again = match (of_rows, options.destroy) {
            (true, _) => format!(
                "Make the same plan again and apply the same of its rows, or all that the project says with \
                 `provision apply --yes{environment}`"
            ),
            (false, true) => format!("Run `provision destroy --yes{environment}` to go on"),
            (false, false) => format!("Run `provision apply --yes{environment}` to go on"),
        };
        format!("{again}: what is done stays done, what is in doubt is settled first.")
    }

    fn new_change(&self, subset: &Subset, options: &ApplyOptions) -> Result<NewChange, Failure> {
        let plan = &subset.plan;
        let mut detail = provision_model::Map::new();
        detail.insert("rows".into(), Json::from(subset.todo.len()));
        Ok(NewChange {
            reason: options.reason.clone(),
            revision: provision_state::revision(&self.project)?,
            plan: Some(plan.digest.clone()),
            project: Some(plan.project.clone()),
            policies: plan.policies.clone(),
            outputs: plan.outputs.clone(),
            detail,
            ..NewChange::new(&plan.purpose, &self.source)
        })
    }

    /// Writes down who was denied what.
    fn audit_denial(&self, lease: &Lease, plan: &Plan, failure: &Failure) -> Result<(), Failure> {
        let mut detail = provision_model::Map::new();
        let told: Vec<&str> = failure.diagnostics().map(|one| one.message.as_str()).take(100).collect();
        detail.insert("plan".into(), Json::from(plan.digest.as_str()));
        detail.insert("denials".into(), serde_json::json!(told));
        self.store.audit(lease, "apply.deny", None, detail)?;
        self.store.checkpoint()
    }

    /// Asks about every row; denials come as rows and then as the error, before the first call.
    fn authorize(
        &self,
        gate: &Gate,
        subset: &Subset,
        ids: Option<&[String]>,
        sink: Sink<'_>,
    ) -> Result<Asked, Failure> {
        let chosen: Vec<&PlannedRow> = subset.todo.iter().map(|at| &subset.plan.rows[*at]).collect();
        let now = provision_state::now();
        let questions = Questions::of_subset(self, &gate.people, &subset.plan, &chosen, now.clone());
        let given = self.given_approvals(gate, &subset.plan.digest, ids)?;
        let mut asked = Asked::default();
        for (&at, planned) in subset.todo.iter().zip(&chosen) {
            let address = &planned.row.address;
            let holding: Vec<&Approval> =
                given.iter().filter(|one| one.holds(&subset.plan.digest, address, &now)).collect();
            self.authorize_row(gate, &questions, at, planned, &holding, &mut asked, sink)?;
        }
        // What no approval helps is told first.
        let mut denials = std::mem::take(&mut asked.denials);
        denials.append(&mut asked.waiting);
        Failure::check(denials)?;
        Ok(asked)
    }

    #[expect(clippy::too_many_arguments, reason = "one row of the loop above, which would be too long with it")]
    fn authorize_row(
        &self,
        gate: &Gate,
        questions: &Questions<'_>,
        at: usize,
        planned: &PlannedRow,
        approvals: &[&Approval],
        asked: &mut Asked,
        sink: Sink<'_>,
    ) -> Result<(), Failure> {
        let row = &planned.row;
        let roles: BTreeSet<&str> = approvals.iter().map(|approval| approval.role.as_str()).collect();
        let mut status = Status::Authorized;
        let mut message = None;
        for (action, mut question) in questions.again(planned) {
            question.context["approvals"] = serde_json::json!(roles);
            match gate.ask(&question)? {
                Answer::Allowed(decision) => {
                    let Some(decision) = decision else { continue };
                    let needed = needed_roles(gate, &question, &roles)?;
                    for approval in approvals.iter().filter(|approval| needed.contains(approval.role.as_str())) {
                        asked.used.insert(approval.id.clone());
                        message = Some(format!("approved by {} as {}", approval.by, approval.role));
                    }
                    if let Some(reason) = decision.reasons.first() {
                        message = message.or(Some(format!("permitted by `{}`", reason.policy)));
                    }
                    let policies = decision.reasons.iter().map(|reason| reason.policy.clone());
                    asked.allowed_by.entry(at).or_default().extend(policies);
                }
                Answer::Pending => {
                    if status == Status::Authorized {
                        status = Status::Pending;
                    }
                    message = Some("decided once its values are known".to_owned());
                    asked.pending.entry(at).or_default().push(question.clone());
                    // What may decide it then is taken now: an approval is not used twice.
                    asked.used.extend(approvals.iter().map(|approval| approval.id.clone()));
                }
                Answer::Waiting(decision) => {
                    status = Status::Waiting;
                    let told = *denial(&decision, action.name(), &format!("`{}`", row.address)).first;
                    message = Some(told.message.clone());
                    let help = told.help.as_ref().map(|help| help.replace("PLAN", &row.plan)).unwrap_or_default();
                    asked.waiting.push(told.with_help(help));
                    break;
                }
                Answer::Denied(decision) | Answer::Error(decision) => {
                    status = Status::Denied;
                    message = Some(because(&decision));
                    asked.denials.push(*denial(&decision, action.name(), &format!("`{}`", row.address)).first);
                    break;
                }
            }
        }
        sink(event(row.address.clone(), row.action, status, message));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what an apply has found out so far; one call site")]
    fn run(
        &self,
        lease: &Lease,
        serial: i64,
        gate: &Gate,
        subset: &Subset,
        asked: &Asked,
        options: &ApplyOptions,
        sink: Sink<'_>,
    ) -> Result<(Counts, Result<(), Failure>), Failure> {
        self.move_rows(lease, serial, subset)?;
        let state = self.store.resources()?;
        let nodes = graph(&subset.plan, &subset.todo, &subset.created, &state);
        let executor = Executor::new(self, lease, serial, gate, &subset.plan, asked, &state, sink);
        let account = |node: &Node| subset.plan.rows[node.row].place(node.place_action()).account;
        let schedule = Schedule::new(&nodes, options.parallel, account);
        std::thread::scope(|scope| {
            for _ in 0..schedule.width() {
                scope.spawn(|| {
                    schedule.work(self, |at| {
                        let node = &nodes[at];
                        executor.run(&subset.plan.rows[node.row], node)
                    });
                });
            }
            scope.spawn(|| schedule.watch(self));
        });
        Ok(self.report(&nodes, subset, schedule, sink))
    }

    /// Gives resources that were renamed in the configuration their new addresses, all at once, before anything else.
    fn move_rows(&self, lease: &Lease, serial: i64, subset: &Subset) -> Result<(), Failure> {
        let rows = subset.todo.iter().map(|at| &subset.plan.rows[*at]);
        let moves: HashMap<Address, Address> =
            rows.filter_map(|planned| Some((planned.moved_from.clone()?, planned.row.address.clone()))).collect();
        if moves.is_empty() {
            return Ok(());
        }
        self.store.edit_in(lease, serial, &crate::inventory::moved(self.store.resources()?, &moves))
    }

    fn report(
        &self,
        nodes: &[Node],
        subset: &Subset,
        schedule: Schedule<'_>,
        sink: Sink<'_>,
    ) -> (Counts, Result<(), Failure>) {
        let outcomes = schedule.into_outcomes();
        let mut failures: Vec<Diagnostic> = Vec::new();
        let mut counts = Counts::default();
        let mut told = HashSet::new();
        for (node, outcome) in nodes.iter().zip(outcomes) {
            let row = &subset.plan.rows[node.row].row;
            match outcome {
                Some(Done::Well) => counts.done += 1,
                Some(Done::Failed(failure)) => {
                    counts.failed += 1;
                    failures.extend(failure.into_diagnostics());
                }
                Some(Done::InDoubt(failure)) => {
                    counts.in_doubt += 1;
                    failures.extend(failure.into_diagnostics());
                }
                Some(Done::Skipped) => {
                    counts.not_started += 1;
                    if told.insert(node.row) {
                        sink(event(
                            row.address.clone(),
                            row.action,
                            Status::Skipped,
                            Some("something it needs failed".into()),
                        ));
                    }
                }
                None => {
                    counts.not_started += 1;
                    if told.insert(node.row) {
                        sink(event(
                            row.address.clone(),
                            row.action,
                            Status::NotStarted,
                            Some("stopped before it began".into()),
                        ));
                    }
                }
            }
        }
        if counts.failed + counts.in_doubt + counts.not_started == 0 {
            return (counts, Ok(()));
        }
        let summary = Diagnostic::error(
            "provision::apply::incomplete",
            format!(
                "the apply is incomplete: {} done, {} failed, {} in doubt, {} not started",
                counts.done, counts.failed, counts.in_doubt, counts.not_started
            ),
        );
        (counts, Err(Failure { first: Box::new(summary), others: failures }))
    }
}

/// The roles without which a question would not be answered with yes; all of them where any one would do.
fn needed_roles(gate: &Gate, question: &Question, roles: &BTreeSet<&str>) -> Result<BTreeSet<String>, Failure> {
    let passes = |roles: &BTreeSet<&str>| -> Result<bool, Failure> {
        let mut question = question.clone();
        question.context["approvals"] = serde_json::json!(roles);
        Ok(matches!(gate.ask(&question)?, Answer::Allowed(_)))
    };
    let owned = |roles: &BTreeSet<&str>| roles.iter().map(|role| (*role).to_owned()).collect();
    if roles.is_empty() || passes(&BTreeSet::new())? {
        return Ok(BTreeSet::new());
    }
    let mut needed = BTreeSet::new();
    for role in roles {
        let mut others = roles.clone();
        others.remove(role);
        if !passes(&others)? {
            needed.insert(*role);
        }
    }
    Ok(owned(if needed.is_empty() { roles } else { &needed }))
}

/// What came of one thing and then of another: no failure hides the other one.
pub(crate) fn both(first: Result<(), Failure>, then: Result<(), Failure>) -> Result<(), Failure> {
    match (first, then) {
        (Err(mut first), Err(then)) => {
            first.others.extend(then.into_diagnostics());
            Err(first)
        }
        (first, then) => first.and(then),
    }
}

pub(crate) fn event(address: Address, action: Action, status: Status, message: Option<String>) -> Event {
    Event { time: provision_state::now(), address, action, status, attempt: 1, elapsed: 0, remote_id: None, message }
}

fn settled_event(row: &Recovered) -> Event {
    let address = row.address.clone().unwrap_or_else(|| Address::new(row.kind.clone()));
    Event {
        remote_id: row.remote_id.clone(),
        ..event(address, row.action.unwrap_or(Action::NoOp), Status::Settled, Some(row.message.clone()))
    }
}
