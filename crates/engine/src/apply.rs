//! Owns apply: settling what is open, checking the rows, asking the policies, then walking the plan in parallel.

use crate::Session;
use crate::execute::{Done, Executor};
use crate::gate::{Answer, Gate, because, denial};
use crate::plan::{Plan, PlanOptions, PlannedRow};
use crate::project::Input;
use crate::question::Questions;
use crate::subset::Subset;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{Action, Address, Event, Json, Outcome, Question, Recovered, Status};
use provision_state::{Approval, Lease};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// How long what is in flight may take after a stop was asked for, before it is parked.
const GRACE: Duration = Duration::from_secs(60);

/// How to apply.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Operations at a time.
    pub parallel: usize,
    /// Consent to apply what the project says now.
    pub yes: bool,
    /// Plan the removal of everything.
    pub destroy: bool,
    /// The ids of the approvals that count; `None` for all of the plan.
    pub approvals: Option<Vec<String>>,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { parallel: 16, yes: false, destroy: false, approvals: None }
    }
}

/// Takes events as they happen.
pub type Sink<'a> = &'a (dyn Fn(Event) + Sync);

/// Questions to be asked again when more is known, by row of the plan.
pub type Pending = HashMap<usize, Vec<Question>>;

/// One node of the execution graph: a row, or one of the two halves of a replacement.
struct Node {
    row: usize,
    action: Action,
    needs: Vec<usize>,
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
            .with_help(format!("Pipe in rows of `provision plan`, or run `{what} --yes`.")));
        }
        // What cannot be applied at all needs no lease.
        let loaded = match rows {
            Some(rows) => match self.load_rows(rows)? {
                Some(loaded) => Some(loaded),
                None => return Ok(()),
            },
            None => None,
        };
        let lease = Lease::acquire(&self.store, &self.user)?;
        let settled = self.settle(&lease)?;
        for row in &settled {
            sink(settled_event(row));
        }
        doubtful(&settled)?;
        let made: HashSet<Address> = settled
            .iter()
            .filter(|row| matches!(row.outcome, Outcome::Adopted | Outcome::Done))
            .filter_map(|row| row.address.clone())
            .collect();
        let (plan, chosen) = match loaded {
            Some(loaded) => loaded,
            None => {
                let plan =
                    self.plan(&Input::Project, &PlanOptions { destroy: options.destroy, ..PlanOptions::default() })?;
                let all = (0..plan.rows.len()).collect();
                (plan, all)
            }
        };
        let subset = self.check_rows(plan, chosen, &made)?;
        let gate = self.gate(subset.plan.policies.as_deref())?;
        let (questions, approvals) = self.authorize(&gate, &subset, options.approvals.as_deref(), sink)?;
        self.store.put_policies(&lease, &gate.policies)?;
        self.store.use_approvals(&lease, &approvals)?;
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
        self.run(&lease, &gate, &subset, &questions, options, sink)
    }

    /// Asks about every row; denials come as rows and then as the error, before the first call. Gives the questions to
    /// ask again, and the approvals that were needed.
    fn authorize(
        &self,
        gate: &Gate,
        subset: &Subset,
        ids: Option<&[String]>,
        sink: Sink<'_>,
    ) -> Result<(Pending, Vec<String>), Failure> {
        let chosen: Vec<&PlannedRow> = subset.todo.iter().map(|at| &subset.plan.rows[*at]).collect();
        let now = provision_state::now();
        let questions = Questions::of_subset(self, &subset.plan, &chosen, now.clone())?;
        let given = self.given_approvals(gate, &subset.plan.digest, ids)?;
        let mut asked = Asked::default();
        for (&at, planned) in subset.todo.iter().zip(&chosen) {
            let address = &planned.row.address;
            let holding: Vec<&Approval> =
                given.iter().filter(|one| one.holds(&subset.plan.digest, address, &now)).collect();
            self.authorize_row(gate, &questions, at, planned, &holding, &mut asked, sink)?;
        }
        // What no approval helps is told first.
        asked.denials.extend(asked.waiting);
        Failure::check(asked.denials)?;
        Ok((asked.pending, asked.used.into_iter().collect()))
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

    fn run(
        &self,
        lease: &Lease,
        gate: &Gate,
        subset: &Subset,
        pending: &Pending,
        options: &ApplyOptions,
        sink: Sink<'_>,
    ) -> Result<(), Failure> {
        let state = self.store.resources()?;
        let nodes = graph(&subset.plan, &subset.todo, &state);
        let executor = Executor::new(self, lease, gate, &subset.plan, pending, &state, sink);
        let schedule = Schedule::new(&nodes);
        let workers = options.parallel.clamp(1, 256).min(nodes.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(at) = schedule.next(&self.stop.flag()) {
                        let node = &nodes[at];
                        let outcome = executor.run(&subset.plan.rows[node.row], node.row, node.action);
                        schedule.finish(at, outcome);
                    }
                });
            }
            scope.spawn(|| schedule.watch(self));
        });
        self.report(&nodes, subset, schedule, sink)
    }

    fn report(&self, nodes: &[Node], subset: &Subset, schedule: Schedule<'_>, sink: Sink<'_>) -> Result<(), Failure> {
        let outcomes = schedule.into_outcomes();
        let mut failures: Vec<Diagnostic> = Vec::new();
        let mut counts = [0usize; 4];
        let mut told = HashSet::new();
        for (node, outcome) in nodes.iter().zip(outcomes) {
            let row = &subset.plan.rows[node.row].row;
            match outcome {
                Some(Done::Well) => counts[0] += 1,
                Some(Done::Failed(failure)) => {
                    counts[1] += 1;
                    failures.extend(failure.into_diagnostics());
                }
                Some(Done::InDoubt(failure)) => {
                    counts[2] += 1;
                    failures.extend(failure.into_diagnostics());
                }
                Some(Done::Skipped) => {
                    counts[3] += 1;
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
                    counts[3] += 1;
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
        if counts[1] + counts[2] + counts[3] == 0 {
            return Ok(());
        }
        let summary = Diagnostic::error(
            "provision::apply::incomplete",
            format!(
                "the apply is incomplete: {} done, {} failed, {} in doubt, {} not started",
                counts[0], counts[1], counts[2], counts[3]
            ),
        )
        .with_help("Run `provision apply --yes` to go on: what is done stays done, what is in doubt is settled first.");
        Err(Failure { first: Box::new(summary), others: failures })
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

/// What came of asking about all rows.
#[derive(Default)]
struct Asked {
    /// To be asked again when more is known, by row.
    pending: Pending,
    denials: Vec<Diagnostic>,
    waiting: Vec<Diagnostic>,
    /// The approvals without which a row would not pass.
    used: BTreeSet<String>,
}

fn doubtful(settled: &[Recovered]) -> Result<(), Failure> {
    let found = settled
        .iter()
        .filter(|row| row.outcome == Outcome::InDoubt)
        .map(|row| {
            let what = row.address.as_ref().map_or_else(|| row.kind.clone(), |address| format!("`{address}`"));
            Diagnostic::error("provision::apply::incomplete", format!("{what} cannot be settled: {}", row.message))
                .with_help("Look at the resources in the cloud's console; keep one, then run `provision recover`.")
        })
        .collect();
    Failure::check(found)
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

/// The execution graph of some rows. Dependencies outside the subset are settled: closure was checked.
fn graph(plan: &Plan, todo: &[usize], state: &[provision_model::Resource]) -> Vec<Node> {
    let prior: HashMap<&str, &[Address]> =
        state.iter().map(|resource| (resource.address.as_str(), resource.depends_on.as_slice())).collect();
    let mut nodes: Vec<Node> = Vec::new();
    // The node that takes a row's resource away, and the one that leaves it as it should be.
    let mut taking: HashMap<&str, usize> = HashMap::new();
    let mut making: HashMap<&str, usize> = HashMap::new();
    for &row in todo {
        let planned = &plan.rows[row].row;
        let address = planned.address.as_str();
        // A replacement whose deletion is done already is a creation.
        if planned.action == Action::Replace && prior.contains_key(address) {
            taking.insert(address, nodes.len());
            nodes.push(Node { row, action: Action::Delete, needs: Vec::new() });
        }
        let action = match planned.action {
            Action::Replace => Action::Create,
            action => action,
        };
        match action {
            Action::Delete | Action::Forget => taking.insert(address, nodes.len()),
            _ => making.insert(address, nodes.len()),
        };
        nodes.push(Node { row, action, needs: Vec::new() });
    }
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for &row in todo {
        let planned = &plan.rows[row];
        let address = planned.row.address.as_str();
        if let Some(&make) = making.get(address) {
            edges.extend(planned.needs.iter().filter_map(|need| making.get(need.as_str())).map(|need| (make, *need)));
            if let Some(&take) = taking.get(address) {
                edges.push((make, take));
            }
        }
        // Who needed a thing lets go of it before it is taken away.
        for needed in prior.get(address).copied().unwrap_or_default() {
            let Some(&take) = taking.get(needed.as_str()) else { continue };
            match (taking.get(address), making.get(address)) {
                (Some(&own), _) => edges.push((take, own)),
                // An update waits for the new one where there is one; it cannot also come before the old one goes.
                (None, Some(&make)) if !making.contains_key(needed.as_str()) || !planned.needs.contains(needed) => {
                    edges.push((take, make));
                }
                _ => {}
            }
        }
    }
    for (node, need) in edges {
        if !nodes[node].needs.contains(&need) {
            nodes[node].needs.push(need);
        }
    }
    nodes
}

/// Who may run next. Each finished node frees those that waited for it; nothing is scanned twice.
struct Schedule<'a> {
    nodes: &'a [Node],
    needed_by: Vec<Vec<usize>>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    ready: VecDeque<usize>,
    waiting_for: Vec<usize>,
    outcomes: Vec<Option<Done>>,
    running: usize,
}

impl<'a> Schedule<'a> {
    fn new(nodes: &'a [Node]) -> Self {
        let mut needed_by = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            for &need in &node.needs {
                needed_by[need].push(at);
            }
        }
        let waiting_for: Vec<usize> = nodes.iter().map(|node| node.needs.len()).collect();
        let ready = (0..nodes.len()).filter(|at| waiting_for[*at] == 0).collect();
        let outcomes = nodes.iter().map(|_| None).collect();
        let inner = Mutex::new(Inner { ready, waiting_for, outcomes, running: 0 });
        Self { nodes, needed_by, inner, changed: Condvar::new() }
    }

    /// The next node, or `None` when there is no more for anybody.
    fn next(&self, stop: &std::sync::atomic::AtomicBool) -> Option<usize> {
        let mut inner = self.inner.lock().ok()?;
        loop {
            if stop.load(std::sync::atomic::Ordering::SeqCst) {
                return None;
            }
            if let Some(at) = inner.ready.pop_front() {
                inner.running += 1;
                return Some(at);
            }
            if inner.running == 0 {
                self.changed.notify_all();
                return None;
            }
            inner = self.changed.wait_timeout(inner, Duration::from_millis(100)).ok()?.0;
        }
    }

    fn finish(&self, at: usize, outcome: Done) {
        let Ok(mut inner) = self.inner.lock() else { return };
        inner.running -= 1;
        let well = matches!(outcome, Done::Well);
        inner.outcomes[at] = Some(outcome);
        if well {
            for &next in &self.needed_by[at] {
                inner.waiting_for[next] -= 1;
                if inner.waiting_for[next] == 0 {
                    inner.ready.push_back(next);
                }
            }
        } else {
            let mut skip: Vec<usize> = self.needed_by[at].clone();
            while let Some(next) = skip.pop() {
                if inner.outcomes[next].is_none() {
                    inner.outcomes[next] = Some(Done::Skipped);
                    skip.extend(&self.needed_by[next]);
                }
            }
        }
        self.changed.notify_all();
    }

    /// Parks what is still in flight some time after a stop was asked for.
    fn watch(&self, session: &Session) {
        let mut stopped_at = None;
        loop {
            let Ok(inner) = self.inner.lock() else { return };
            if inner.running == 0 && (inner.ready.is_empty() || session.stop.is_requested()) {
                return;
            }
            let Ok((inner, _)) = self.changed.wait_timeout(inner, Duration::from_millis(100)) else { return };
            drop(inner);
            if session.stop.is_requested() {
                let since: &mut std::time::Instant = stopped_at.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > GRACE {
                    session.stop.park();
                }
            }
        }
    }

    fn into_outcomes(self) -> Vec<Option<Done>> {
        debug_assert_eq!(self.nodes.len(), self.needed_by.len());
        self.inner.into_inner().map(|inner| inner.outcomes).unwrap_or_default()
    }
}
