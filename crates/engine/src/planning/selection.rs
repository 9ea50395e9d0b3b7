//! Owns which rows of a plan go together: what a removal waits for, and what a target brings along. Pure.

use crate::planning::options::PlanOptions;
use crate::planning::planned::PlannedRow;
use provision_diagnostic::{Code, Failure};
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

/// Refuses addresses that neither the configuration nor the state has.
pub fn known<'a>(wanted: impl Iterator<Item = &'a String>, names: &HashSet<&str>) -> Result<(), Failure> {
    for wanted in wanted {
        if !names.contains(wanted.as_str()) {
            return Err(Failure::new(Code::PlanTarget, format!("there is no resource `{wanted}` to plan")).with_help(
                provision_diagnostic::did_you_mean(wanted, names.iter().copied(), || {
                    "See `provision plan --all` for the addresses.".to_owned()
                }),
            ));
        }
    }
    Ok(())
}

/// The rows that were asked for, with those that cannot be left out then.
pub fn select(
    rows: Vec<PlannedRow>,
    options: &PlanOptions,
    state: &HashMap<&str, &Resource>,
) -> Result<Vec<PlannedRow>, Failure> {
    let mut keep: HashSet<String> = rows.iter().map(|planned| planned.row.address.to_string()).collect();
    {
        let names: HashSet<&str> = keep.iter().map(String::as_str).collect();
        known(options.target.iter().flatten().chain(&options.exclude), &names)?;
    }
    let ties = ties(&rows, state);
    if let Some(target) = &options.target {
        keep = target.iter().cloned().collect();
        spread(&ties, &mut keep, true);
    }
    if !options.exclude.is_empty() {
        let mut out: HashSet<String> = options.exclude.iter().cloned().collect();
        spread(&ties, &mut out, false);
        keep.retain(|address| !out.contains(address));
    }
    Ok(rows.into_iter().filter(|planned| keep.contains(planned.row.address.as_str())).collect())
}

/// Which row cannot go without which other: one that waits without what it waits for, and one that replaces something
/// without those that must turn to the new one.
fn ties(rows: &[PlannedRow], state: &HashMap<&str, &Resource>) -> Vec<(String, String)> {
    let replaced: HashSet<&str> = rows
        .iter()
        .filter(|planned| planned.row.action == Action::Replace)
        .map(|planned| planned.row.address.as_str())
        .collect();
    let mut ties = Vec::new();
    for planned in rows {
        let own = &planned.row.address;
        for needed in &planned.row.depends_on {
            ties.push((own.to_string(), needed.to_string()));
        }
        if planned.row.action == Action::NoOp {
            continue;
        }
        let before = state.get(own.as_str()).map(|resource| resource.depends_on.as_slice()).unwrap_or_default();
        for needed in planned.needs.iter().chain(before).filter(|needed| replaced.contains(needed.as_str())) {
            ties.push((needed.to_string(), own.to_string()));
        }
    }
    ties
}

/// Closes a set over what its rows cannot go without (`towards`), or over what cannot go without them.
fn spread(ties: &[(String, String)], set: &mut HashSet<String>, towards: bool) {
    let mut next: HashMap<&str, Vec<&str>> = HashMap::new();
    for (row, needed) in ties {
        let (from, to) = if towards { (row, needed) } else { (needed, row) };
        next.entry(from).or_default().push(to);
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
