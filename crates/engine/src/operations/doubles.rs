//! Owns that nothing is made which is there already and which the state lost.

use crate::observation::refresh::Place;
use crate::observation::strays::{Origin, marked, origins, own_strays};
use crate::planning::planned::PlannedRow;
use crate::planning::subset::Subset;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{Action, Address, LABEL_STATE};
use provision_state::Lease;
use std::collections::HashSet;

/// Refuses to make what is there already. `looks` also asks the clouds: the rows may be of a plan that did not.
pub(crate) fn refuse_doubles(on: &Workspace, lease: &Lease, subset: &mut Subset, looks: bool) -> Result<(), Failure> {
    let plan = &subset.plan;
    let makes = |at: &usize| matches!(plan.rows[*at].row.action, Action::Create | Action::Replace);
    let making: Vec<&PlannedRow> = subset.todo.iter().filter(|at| makes(at)).map(|at| &plan.rows[*at]).collect();
    let mut problems = Vec::new();
    let mut lost = false;
    let unplaced = plan.rows.iter().filter(|planned| planned.is_unplaced());
    for planned in unplaced.clone() {
        let twin = |it: &&&PlannedRow| it.row.kind == planned.row.kind && it.account == planned.account;
        if let Some(twin) = making.iter().find(twin) {
            let id = planned.remote_id.as_deref().unwrap_or_default();
            problems.push(unplaced_problem(&twin.row.address, &planned.row.kind, id));
        }
    }
    if looks && !making.is_empty() {
        let places: HashSet<Place> = making
            .iter()
            .map(|planned| planned.place(Action::Create))
            .map(|place| (place.account, place.kind, place.region))
            .collect();
        let mut found = Vec::new();
        for place in &places {
            found.extend(marked(on, &plan.accounts, place)?);
        }
        let strays = own_strays(on, found)?;
        let origins = origins(on, &strays, plan.rows.iter().map(|planned| &planned.row.address))?;
        for (stray, origin) in strays.iter().zip(origins) {
            let known = unplaced.clone().any(|it| it.remote_id.as_ref() == Some(&stray.remote.id));
            match origin {
                Origin::Lost(address, _) if making.iter().any(|planned| planned.row.address == address) => {
                    lost = true;
                    problems.push(lost_problem(&address, &stray.kind, &stray.remote.id));
                }
                Origin::Unknown if !known => {
                    let twin = |it: &&&PlannedRow| it.row.kind == stray.kind && it.account == stray.account;
                    if let Some(twin) = making.iter().find(twin) {
                        lost = true;
                        problems.push(unplaced_problem(&twin.row.address, &stray.kind, &stray.remote.id));
                    }
                }
                _ => {}
            }
        }
    }
    if lost {
        // From now on a plan looks for them wherever they may be.
        on.store.set_behind(lease)?;
    }
    Failure::check(problems)?;
    let unplaced = |at: &usize| subset.plan.rows[*at].is_unplaced();
    let (out, todo): (Vec<usize>, Vec<usize>) = subset.todo.iter().copied().partition(unplaced);
    subset.skipped.extend(out);
    subset.todo = todo;
    Ok(())
}

fn lost_problem(address: &Address, kind: &str, id: &str) -> Diagnostic {
    let message = format!("`{address}` exists already ({kind} {id}), but this state lost it: it is an older one");
    Diagnostic::error(Code::PlanStray, message).with_help("Run `provision plan` again: its row adopts it.")
}

fn unplaced_problem(address: &Address, kind: &str, id: &str) -> Diagnostic {
    let message = format!(
        "`{address}` is not created: the {kind} `{id}` carries this state's mark, and the state does not know for which address it was created"
    );
    Diagnostic::error(Code::PlanStray, message).with_help(format!(
        "Adopt it with `provision import ADDRESS {id} --type {kind}`, under `{address}` if that is what it is; or delete it, or remove its label {LABEL_STATE}, in the cloud."
    ))
}
