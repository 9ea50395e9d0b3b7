//! Owns taking rows back: looking up their plan, refusing what was edited, stale or not closed.

use crate::planning::planned::{Plan, PlannedRow, ground};
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{Action, Address, Json, PlanRow, Resource};
use std::collections::{HashMap, HashSet};

/// The columns of a plan row.
const COLUMNS: &[&str] =
    &["address", "provider", "type", "action", "changes", "depends_on", "reason", "request", "plan"];

/// Rows of one plan that were asked for.
pub struct Subset {
    pub plan: Plan,
    /// Indices into the plan's rows, still to be done.
    pub todo: Vec<usize>,
    /// Rows this plan has done already, or that settling found done.
    pub skipped: Vec<usize>,
    /// Of `todo`, those whose creation is done, and only what it left for later is not.
    pub created: HashSet<usize>,
}

/// Actions that take something away.
pub fn is_removal(action: Action) -> bool {
    matches!(action, Action::Delete | Action::Replace)
}

/// Finds the plan of some rows; rows edited by hand are refused.
pub(crate) fn load_rows(on: &Workspace, rows: &[Json]) -> Result<Option<(Plan, Vec<usize>)>, Failure> {
    let Some(first) = rows.first() else { return Ok(None) };
    let digest = first.get("plan").and_then(Json::as_str).ok_or_else(|| {
        Failure::new(Code::PlanUnknownPlan, "the rows have no `plan` column")
            .with_help("Give rows of `provision plan`; they need `address` and `plan`.")
    })?;
    let plan: Plan = on.store.plan(digest)?.ok_or_else(|| {
        Failure::new(Code::PlanUnknownPlan, format!("this project knows no plan {}", short(digest)))
            .with_help("Run `provision plan` in this project and give its rows.")
    })?;
    let index: HashMap<&str, usize> =
        plan.rows.iter().enumerate().map(|(at, planned)| (planned.row.address.as_str(), at)).collect();
    let mut chosen = Vec::new();
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for row in rows {
        let address = row.get("address").and_then(Json::as_str).unwrap_or_default();
        if row.get("plan").and_then(Json::as_str) != Some(digest) {
            problems.push(
                Diagnostic::error(Code::PlanUnknownPlan, format!("`{address}` is a row of another plan"))
                    .with_help("Give rows of one plan."),
            );
            continue;
        }
        let Some(&at) = index.get(address) else {
            problems.push(
                Diagnostic::error(Code::PlanTampered, format!("the plan has no row `{address}`"))
                    .with_help("Plan again and give its rows as they are."),
            );
            continue;
        };
        if let Some(column) = edited(&plan.rows[at].row, row) {
            problems.push(
                Diagnostic::error(
                    Code::PlanTampered,
                    format!("the column `{column}` of the row `{address}` was changed"),
                )
                .with_help("Change the configuration and plan again; rows are applied as they were planned."),
            );
            continue;
        }
        if seen.insert(at) {
            chosen.push(at);
        }
    }
    Failure::check(problems)?;
    Ok(Some((plan, chosen)))
}

/// Splits rows into what is to be done and what is done, refusing stale and open subsets. `settled` are the
/// addresses that settling found made in this very run.
pub(crate) fn check_rows(
    on: &Workspace,
    plan: Plan,
    chosen: Vec<usize>,
    settled: &HashSet<Address>,
) -> Result<Subset, Failure> {
    let state: HashMap<Address, Resource> =
        on.store.resources()?.into_iter().map(|resource| (resource.address.clone(), resource)).collect();
    let ended: HashSet<(Address, Action)> = on.store.ended_of(&plan.digest)?.into_iter().collect();
    let mut subset = Subset { plan, todo: Vec::new(), skipped: Vec::new(), created: HashSet::new() };
    let mut problems = Vec::new();
    for at in chosen {
        let planned = &subset.plan.rows[at];
        let row = &planned.row;
        // The provider may have been there for the plan alone.
        if !matches!(row.action, Action::NoOp | Action::Forget) {
            for action in [row.action, Action::Delete] {
                on.project.registry.type_of(&planned.place(action).kind)?;
            }
        }
        // Its own address may be that of another, which goes elsewhere.
        let now = state.get(planned.moved_from.as_ref().unwrap_or(&row.address));
        let done = |action: Action| ended.contains(&(row.address.clone(), action));
        let made = match row.action {
            Action::NoOp => true,
            Action::Replace | Action::Adopt => done(Action::Create),
            action => done(action),
        };
        let made_meanwhile = row.action == Action::Create && now.is_some() && settled.contains(&row.address);
        let finished = made || made_meanwhile;
        let creates = matches!(row.action, Action::Create | Action::Replace);
        // What goes may have let go of the others that go, which is a change of its row.
        let released = row.action == Action::Delete && done(Action::Update) && now.is_some();
        if finished && creates && !planned.later.fields.is_empty() && !done(Action::Update) && now.is_some() {
            subset.created.insert(at);
            subset.todo.push(at);
            continue;
        }
        let half_replaced = row.action == Action::Replace && now.is_none() && done(Action::Delete);
        if finished {
            subset.skipped.push(at);
        } else if half_replaced || released || now.map(ground) == planned.prior {
            subset.todo.push(at);
        } else {
            problems.push(
                Diagnostic::error(Code::PlanStale, format!("`{}` has changed since this plan was made", row.address))
                    .with_help("Run `provision plan` again."),
            );
        }
    }
    Failure::check(problems)?;
    Failure::check(open_ends(&subset, &ended, &state))?;
    Ok(subset)
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The first column that is not as it was planned. Columns that are not the plan's are nobody's business.
fn edited(row: &PlanRow, given: &Json) -> Option<&'static str> {
    let planned = serde_json::to_value(row).unwrap_or(Json::Null);
    COLUMNS.iter().copied().find(|column| given.get(*column).is_some_and(|value| !same(value, &planned[*column])))
}

/// Equal data; a whole float and an integer are the same number.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// Closure both ways: what a row needs, and what depends on a row that takes something away.
fn open_ends(
    subset: &Subset,
    ended: &HashSet<(Address, Action)>,
    state: &HashMap<Address, Resource>,
) -> Vec<Diagnostic> {
    let there: HashSet<&str> =
        subset.todo.iter().chain(&subset.skipped).map(|at| subset.plan.rows[*at].row.address.as_str()).collect();
    let pending = |planned: &PlannedRow| {
        let row = &planned.row;
        let action = match row.action {
            Action::Replace | Action::Adopt => Action::Create,
            action => action,
        };
        row.action != Action::NoOp
            && !there.contains(row.address.as_str())
            && !ended.contains(&(row.address.clone(), action))
    };
    let open: HashMap<&str, &PlannedRow> = subset
        .plan
        .rows
        .iter()
        .filter(|planned| pending(planned))
        .map(|planned| (planned.row.address.as_str(), planned))
        .collect();
    // Who holds on to what, now or in this plan.
    let mut held: HashMap<&str, Vec<&str>> = HashMap::new();
    if subset.todo.iter().any(|at| is_removal(subset.plan.rows[*at].row.action)) {
        for (&address, other) in &open {
            let before = state.get(address).map(|it| it.depends_on.as_slice()).unwrap_or_default();
            let needs: HashSet<&Address> = before.iter().chain(&other.needs).collect();
            for needed in needs {
                held.entry(needed.as_str()).or_default().push(address);
            }
        }
    }
    let mut out = Vec::new();
    let mut report = |missing: &str, row: &Address, why: &str| {
        out.push(
            Diagnostic::error(
                Code::PlanMissingDependency,
                format!("`{row}` needs `{missing}`, which is left out: {why}"),
            )
            .with_help(format!("Add the row `{missing}`, or leave out `{row}` too.")),
        );
    };
    for &at in &subset.todo {
        let planned = &subset.plan.rows[at];
        if planned.moved_from.is_some()
            && state.contains_key(&planned.row.address)
            && let Some(other) = open.values().find(|other| other.moved_from.as_ref() == Some(&planned.row.address))
        {
            report(other.row.address.as_str(), &planned.row.address, "it has to leave that address first");
        }
        for needed in &planned.row.depends_on {
            if let Some(missing) = open.get(needed.as_str()) {
                report(
                    needed.as_str(),
                    &planned.row.address,
                    &format!("its {} comes first", missing.row.action.name()),
                );
            }
        }
        if is_removal(planned.row.action) {
            // Also one that lets go of it in this plan must do so first.
            for address in held.get(planned.row.address.as_str()).into_iter().flatten() {
                if !planned.row.depends_on.iter().any(|needed| needed.as_str() == *address) {
                    report(
                        address,
                        &planned.row.address,
                        &format!("it depends on what is {}d", planned.row.action.name()),
                    );
                }
            }
        }
    }
    out.sort_by(|a, b| a.message.cmp(&b.message));
    out
}
