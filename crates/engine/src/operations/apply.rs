//! Owns carrying out the rows of an apply: all at once what is renamed, then the graph in parallel, then what came of it.

use crate::actor::Actor;
use crate::operations::authorize::Asked;
use crate::operations::events::{Sink, event};
use crate::operations::execute::Executor;
use crate::operations::moved::moved;
use crate::operations::runner::{Done, Runner, Unit};
use crate::planning::graph::{Node, graph};
use crate::planning::planned::PlannedRow;
use crate::planning::subset::Subset;
use crate::policy::gate::Gate;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{Address, Status};
use provision_state::{Counts, Lease};
use std::collections::{HashMap, HashSet};

/// A change of the history on its way: what it is about, and what was found out before it began.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub on: &'a Workspace,
    pub by: &'a Actor,
    pub lease: &'a Lease,
    /// Its number in the history.
    pub serial: i64,
    pub gate: &'a Gate,
    pub subset: &'a Subset,
    pub asked: &'a Asked,
    pub sink: Sink<'a>,
}

/// One operation of a row, as the runner has it.
struct Step<'a> {
    executor: &'a Executor<'a>,
    planned: &'a PlannedRow,
    node: &'a Node,
    /// A cloud that is slow or throttled must not keep all of another one waiting.
    account: String,
    sink: Sink<'a>,
}

impl Unit for Step<'_> {
    fn needs(&self) -> &[usize] {
        &self.node.needs
    }

    fn queue(&self) -> &str {
        &self.account
    }

    fn name(&self) -> String {
        format!("{} of `{}`", self.node.action.name(), self.planned.row.address)
    }

    fn run(&self) -> Done {
        self.executor.run(self.planned, self.node)
    }

    fn panicked(&self, failure: &Failure) {
        let row = &self.planned.row;
        (self.sink)(event(
            self.executor.on,
            row.address.clone(),
            row.action,
            Status::InDoubt,
            Some(failure.first.headline()),
        ));
    }
}

/// Carries out the rows, `parallel` operations at a time; how many ended how, and what went wrong.
pub(crate) fn carry_out(change: &Change<'_>, parallel: usize) -> Result<(Counts, Result<(), Failure>), Failure> {
    let Change { on, lease, serial, subset, sink, .. } = *change;
    move_rows(on, lease, serial, subset)?;
    let state = on.store.resources()?;
    let nodes = graph(&subset.plan, &subset.todo, &subset.created, &state);
    let executor = Executor::new(change, &state);
    let mut steps = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let planned = &subset.plan.rows[node.row];
        let account = planned.place(node.place_action()).account;
        steps.push(Step { executor: &executor, planned, node, account, sink });
    }
    let outcomes = Runner::new(&steps, parallel, &on.host).run();
    Ok(report(on, &nodes, outcomes, subset, sink))
}

/// Gives resources that were renamed in the configuration their new addresses, all at once, before anything else.
fn move_rows(on: &Workspace, lease: &Lease, serial: i64, subset: &Subset) -> Result<(), Failure> {
    let rows = subset.todo.iter().map(|at| &subset.plan.rows[*at]);
    let moves: HashMap<Address, Address> =
        rows.filter_map(|planned| Some((planned.moved_from.clone()?, planned.row.address.clone()))).collect();
    if moves.is_empty() {
        return Ok(());
    }
    on.store.edit_in(lease, serial, &moved(on.store.resources()?, &moves))
}

fn report(
    on: &Workspace,
    nodes: &[Node],
    outcomes: Vec<Option<Done>>,
    subset: &Subset,
    sink: Sink<'_>,
) -> (Counts, Result<(), Failure>) {
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
            // None of it was begun.
            not_begun => {
                counts.not_started += 1;
                let (status, why) = match not_begun {
                    Some(_) => (Status::Skipped, "something it needs failed"),
                    None => (Status::NotStarted, "stopped before it began"),
                };
                if told.insert(node.row) {
                    sink(event(on, row.address.clone(), row.action, status, Some(why.into())));
                }
            }
        }
    }
    if counts.failed + counts.in_doubt + counts.not_started == 0 {
        return (counts, Ok(()));
    }
    let summary = Diagnostic::error(
        Code::ApplyIncomplete,
        format!(
            "the apply is incomplete: {} done, {} failed, {} in doubt, {} not started",
            counts.done, counts.failed, counts.in_doubt, counts.not_started
        ),
    );
    (counts, Err(Failure { first: Box::new(summary), others: failures }))
}
