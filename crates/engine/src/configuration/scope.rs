//! Owns what a target reaches: which resources are planned with it, and whose mistakes are left out with them.

use crate::configuration::desired::needs;
use crate::configuration::reading::Located;
use provision_diagnostic::{Code, Diagnostic};
use provision_model::{Address, Declaration, Problem, Resource, Step};
use std::collections::{HashMap, HashSet};

/// What is not planned, because nothing that was asked for has to do with it.
#[derive(Default)]
pub struct LeftOut {
    /// Addresses that the configuration or the state has.
    pub addresses: HashSet<String>,
    /// What is declared and cannot be planned, with what is wrong with it.
    pub(crate) broken: Vec<(Declaration, Vec<Diagnostic>)>,
}

impl LeftOut {
    pub fn has(&self, address: &Address) -> bool {
        self.addresses.contains(address.as_str())
    }
}

/// Narrows a configuration down to what targets can reach, and gives what is wrong with that. A cycle, and what is wrong
/// with no resource in particular, concerns every selection.
pub fn narrow(
    located: &mut Located,
    state: &[Resource],
    target: &[String],
    found: Vec<Diagnostic>,
    problems: Vec<Problem>,
) -> (Vec<Diagnostic>, Vec<Problem>) {
    let declared = &located.config.resources;
    let mut towards: HashMap<&str, Vec<Address>> = HashMap::new();
    let mut around: HashMap<String, Vec<String>> = HashMap::new();
    let mut link = |from: &str, to: &str| {
        around.entry(from.to_owned()).or_default().push(to.to_owned());
        around.entry(to.to_owned()).or_default().push(from.to_owned());
    };
    for declaration in declared {
        let needed = needs(declaration);
        for other in needed.iter().chain(&declaration.lifecycle.moved_from) {
            link(declaration.address.as_str(), other.as_str());
        }
        towards.insert(declaration.address.as_str(), needed);
    }
    for resource in state {
        // The old half of a replacement goes with the new one.
        let own = resource.address.as_str().split('~').next().unwrap_or_default();
        link(resource.address.as_str(), own);
        for other in &resource.depends_on {
            link(resource.address.as_str(), other.as_str());
        }
    }
    let needed = reach(target, |at| towards.get(at).into_iter().flatten().map(|it| it.as_str().to_owned()).collect());
    let near = reach(target, |at| around.get(at).cloned().unwrap_or_default());
    // Whose mistakes are told, and whose only if they are in the way.
    let mut broken: HashMap<String, Vec<Problem>> = HashMap::new();
    let mut kept = Vec::new();
    for problem in problems {
        match owner(declared, &problem.path) {
            Some(owner) if problem.code != Code::PlanCycle && !concerns(&owner, &needed) => {
                broken.entry(owner).or_default().push(problem);
            }
            _ => kept.push(problem),
        }
    }
    // What Nickel found is told by where it stands.
    let mut faults: HashMap<String, Vec<Diagnostic>> = HashMap::new();
    let mut told = Vec::new();
    for fault in found {
        let inside = |it: &&Declaration| fault.position.as_ref().is_some_and(|at| located.holds(&it.path, at));
        match declared.iter().find(inside).map(|it| it.address.to_string()) {
            Some(owner) if !concerns(&owner, &needed) => {
                broken.entry(owner.clone()).or_default();
                faults.entry(owner).or_default().push(fault);
            }
            _ => told.push(fault),
        }
    }
    let known = state.iter().map(|resource| resource.address.as_str());
    let known = known.chain(declared.iter().map(|declaration| declaration.address.as_str()));
    let mut out = LeftOut {
        addresses: known
            .filter(|it| !near.contains(*it) || broken.contains_key(*it))
            .chain(broken.keys().map(String::as_str))
            .map(str::to_owned)
            .collect(),
        broken: Vec::new(),
    };
    let all = std::mem::take(&mut located.config.resources);
    let (gone, stays): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| out.addresses.contains(it.address.as_str()));
    located.config.resources = stays;
    for declaration in gone {
        // What it was called before is not to be taken for one that nobody declares.
        out.addresses.extend(declaration.lifecycle.moved_from.iter().map(ToString::to_string));
        if let Some(problems) = broken.remove(declaration.address.as_str()) {
            let mut all = faults.remove(declaration.address.as_str()).unwrap_or_default();
            all.extend(problems.into_iter().map(|problem| located.diagnostic(problem)));
            out.broken.push((declaration, all));
        }
    }
    located.left_out = out;
    (told, kept)
}

/// Whether an address, or a member of the group it names, is in a set.
pub(crate) fn concerns(owner: &str, set: &HashSet<String>) -> bool {
    set.contains(owner) || set.iter().any(|it| it.strip_prefix(owner).is_some_and(|rest| rest.starts_with('.')))
}

/// The resource that a place in the configuration belongs to; one that could not be read is told by its name there.
pub(crate) fn owner(declared: &[Declaration], path: &[Step]) -> Option<String> {
    let own = declared.iter().filter(|it| !it.path.is_empty() && path.starts_with(&it.path));
    match (own.max_by_key(|it| it.path.len()), path) {
        (Some(declaration), _) => Some(declaration.address.to_string()),
        (None, [Step::Field(top), Step::Field(name), ..]) if top == "resources" => Some(name.clone()),
        _ => None,
    }
}

fn reach(from: &[String], next: impl Fn(&str) -> Vec<String>) -> HashSet<String> {
    let mut found: HashSet<String> = from.iter().cloned().collect();
    let mut open: Vec<String> = from.to_vec();
    while let Some(address) = open.pop() {
        for other in next(&address) {
            if found.insert(other.clone()) {
                open.push(other);
            }
        }
    }
    found
}
