//! Owns the execution graph of rows: what comes before what. Pure.

use crate::planning::planned::{Plan, PlannedRow};
use provision_model::{Action, Address};
use std::collections::{HashMap, HashSet};

/// One node of the execution graph: a row, or one of the operations that a row takes several of.
pub struct Node {
    pub row: usize,
    pub action: Action,
    pub part: Part,
    pub needs: Vec<usize>,
}

impl Node {
    /// The action that tells where it works: what is about to go is where the deletion is.
    pub fn place_action(&self) -> Action {
        if self.part == Part::Release { Action::Delete } else { self.action }
    }
}

/// Which part of a resource an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The creation of one whose `later` fields come afterwards.
    First,
    /// The update that sets them.
    Rest,
    /// The update of one that is about to go: it takes out what refers to others that go too, which could not go first.
    Release,
}

/// The execution graph of some rows. Dependencies outside the subset are settled: closure was checked. `created` are rows
/// of which this plan has made the first part already.
pub fn graph(plan: &Plan, todo: &[usize], created: &HashSet<usize>, state: &[provision_model::Resource]) -> Vec<Node> {
    let prior: HashMap<&str, &[Address]> =
        state.iter().map(|resource| (resource.address.as_str(), resource.depends_on.as_slice())).collect();
    let deferred: HashMap<&str, &[Address]> =
        state.iter().map(|resource| (resource.address.as_str(), resource.deferred.as_slice())).collect();
    let mut nodes: Vec<Node> = Vec::new();
    // The node that takes a row's resource away, and the one that leaves it as it should be.
    let mut taking: HashMap<&str, usize> = HashMap::new();
    let mut making: HashMap<&str, usize> = HashMap::new();
    let mut making_first: HashSet<&str> = HashSet::new();
    // The node that sets what a creation left, and the one that takes out what refers to others that go.
    let mut completing: HashMap<&str, usize> = HashMap::new();
    let mut releasing: HashMap<&str, usize> = HashMap::new();
    let node = |row: usize, action: Action, part: Part| Node { row, action, part, needs: Vec::new() };
    for &row in todo {
        let planned = &plan.rows[row].row;
        let address = planned.address.as_str();
        // A replacement whose deletion is done already is a creation.
        let takes = planned.action == Action::Delete
            || (planned.action == Action::Replace && !plan.rows[row].lifecycle.retain && !created.contains(&row));
        if takes && deferred.get(address).is_some_and(|it| !it.is_empty()) {
            releasing.insert(address, nodes.len());
            nodes.push(node(row, Action::Update, Part::Release));
        }
        if planned.action == Action::Replace && prior.contains_key(address) && !created.contains(&row) {
            taking.insert(address, nodes.len());
            let action = if plan.rows[row].lifecycle.retain { Action::Forget } else { Action::Delete };
            nodes.push(node(row, action, Part::Whole));
            if plan.rows[row].makes_first() {
                making_first.insert(address);
            }
        }
        let action = match planned.action {
            Action::Replace => Action::Create,
            action => action,
        };
        let parted = action == Action::Create && !plan.rows[row].later.fields.is_empty();
        if created.contains(&row) {
            making.insert(address, nodes.len());
            nodes.push(node(row, Action::Update, Part::Rest));
            continue;
        }
        match action {
            Action::Delete | Action::Forget => taking.insert(address, nodes.len()),
            _ => making.insert(address, nodes.len()),
        };
        nodes.push(node(row, action, if parted { Part::First } else { Part::Whole }));
        if parted {
            completing.insert(address, nodes.len());
            nodes.push(node(row, Action::Update, Part::Rest));
        }
    }
    let beyond = beyond(plan, todo, &completing);
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for &row in todo {
        let planned = &plan.rows[row];
        let address = planned.row.address.as_str();
        if let Some(&make) = making.get(address) {
            for need in &planned.needs {
                let Some(&first) = making.get(need.as_str()) else { continue };
                // What is there has its id: two that refer to each other need not wait for each other's update.
                if planned.later.on.contains(need) && nodes[first].action == Action::Update {
                    continue;
                }
                let complete = completing.get(need.as_str()).copied().unwrap_or(first);
                match completing.get(address) {
                    // What is left for later waits for the id of what it refers to, no more.
                    Some(&rest) if planned.later.on.contains(need) => edges.push((rest, first)),
                    // Nothing waits for what itself waits for it.
                    _ if beyond.get(need.as_str()).is_some_and(|it| it.contains(address)) => edges.push((make, first)),
                    _ if planned.later.on.contains(need) => edges.push((make, first)),
                    _ => edges.push((make, complete)),
                }
            }
            edges.extend(completing.get(address).map(|rest| (*rest, make)));
            if let Some(&take) = taking.get(address) {
                edges.push(if planned.makes_first() { (take, make) } else { (make, take) });
            }
        }
        // Who needed a thing lets go of it before it is taken away.
        let (release, own) = (releasing.get(address).copied(), taking.get(address).copied());
        edges.extend(release.zip(own).map(|(release, own)| (own, release)));
        for needed in prior.get(address).copied().unwrap_or_default() {
            let Some(&take) = taking.get(needed.as_str()) else { continue };
            let late = deferred.get(address).is_some_and(|it| it.contains(needed));
            match (own, making.get(address)) {
                (Some(_), _) if late => edges.extend(release.map(|release| (take, release))),
                (Some(own), _) => edges.push((take, own)),
                // Where the new one is there first, an update turns to it and the old one goes afterwards.
                (None, Some(&make)) if making_first.contains(needed.as_str()) => edges.push((take, make)),
                // An update waits for the new one where there is one; it cannot also come before the old one goes.
                (None, Some(&make)) if !making.contains_key(needed.as_str()) || !planned.needs.contains(needed) => {
                    edges.push((take, make));
                }
                _ => {}
            }
        }
    }
    // A node may be needed for several reasons; it is waited for once.
    edges.sort_unstable();
    edges.dedup();
    for (node, need) in edges {
        nodes[node].needs.push(need);
    }
    nodes
}

/// For each row in several parts, the rows that what its rest refers to needs: they cannot wait for that rest.
fn beyond<'a>(plan: &'a Plan, todo: &[usize], parted: &HashMap<&'a str, usize>) -> HashMap<&'a str, HashSet<&'a str>> {
    let rows: HashMap<&str, &PlannedRow> =
        todo.iter().map(|row| (plan.rows[*row].row.address.as_str(), &plan.rows[*row])).collect();
    parted
        .keys()
        .map(|&address| {
            let mut found = HashSet::new();
            let mut open: Vec<&str> =
                rows.get(address).into_iter().flat_map(|it| &it.later.on).map(|it| it.as_str()).collect();
            while let Some(next) = open.pop() {
                if found.insert(next) {
                    open.extend(rows.get(next).into_iter().flat_map(|it| &it.needs).map(|it| it.as_str()));
                }
            }
            (address, found)
        })
        .collect()
}
