//! Owns which rows of a plan go together: what a removal waits for, and what a target brings along. Pure.

use crate::plan::{PlanOptions, PlannedRow};
use provision_diagnostic::Failure;
use provision_model::{Action, Address, Resource};
use std::collections::{HashMap, HashSet};

/// A removal waits for the rows of what still needs the thing: they let go of it first.
pub fn link(rows: &mut [PlannedRow], state: &HashMap<&str, &Resource>) {
    let mut waits: HashMap<Address, Vec<Address>> = HashMap::new();
    for planned in rows.iter().filter(|planned| planned.row.action != Action::NoOp) {
        // What it needed before: the state's dependencies, kept as `needs` of a removal and in the state for the others.
        let before = state.get(planned.row.address.as_str()).map(|resource| resource.depends_on.as_slice());
        let needed: HashSet<&Address> = planned.needs.iter().chain(before.unwrap_or_default()).collect();
        for needed in needed {
            waits.entry(needed.clone()).or_default().push(planned.row.address.clone());
        }
    }
    for planned in rows.iter_mut() {
        if matches!(planned.row.action, Action::Delete | Action::Forget) {
            planned.row.depends_on = waits.remove(&planned.row.address).unwrap_or_default();
        }
    }
}

pub fn select(rows: Vec<PlannedRow>, options: &PlanOptions) -> Result<Vec<PlannedRow>, Failure> {
    let names: HashSet<String> = rows.iter().map(|planned| planned.row.address.to_string()).collect();
    for wanted in options.target.iter().chain(&options.exclude) {
        if !names.contains(wanted) {
            let near = provision_diagnostic::nearest(wanted, names.iter().map(String::as_str));
            return Err(Failure::new("provision::plan::target", format!("there is no resource `{wanted}` to plan"))
                .with_help(near.map_or_else(
                    || "See `provision plan --all` for the addresses.".to_owned(),
                    |near| format!("Did you mean `{near}`?"),
                )));
        }
    }
    let mut keep = names;
    if !options.target.is_empty() {
        keep = options.target.iter().cloned().collect();
        spread(&rows, &mut keep, true);
    }
    if !options.exclude.is_empty() {
        let mut out: HashSet<String> = options.exclude.iter().cloned().collect();
        spread(&rows, &mut out, false);
        keep.retain(|address| !out.contains(address));
    }
    Ok(rows.into_iter().filter(|planned| keep.contains(planned.row.address.as_str())).collect())
}

/// Closes a set over what its rows wait for (`towards`), or over what waits for them.
fn spread(rows: &[PlannedRow], set: &mut HashSet<String>, towards: bool) {
    let mut next: HashMap<&str, Vec<&str>> = HashMap::new();
    for planned in rows {
        for needed in &planned.row.depends_on {
            let (from, to) = match towards {
                true => (planned.row.address.as_str(), needed.as_str()),
                false => (needed.as_str(), planned.row.address.as_str()),
            };
            next.entry(from).or_default().push(to);
        }
    }
    let mut open: Vec<String> = set.iter().cloned().collect();
    while let Some(address) = open.pop() {
        for other in next.get(address.as_str()).into_iter().flatten() {
            if set.insert((*other).to_owned()) {
                open.push((*other).to_owned());
            }
        }
    }
}
