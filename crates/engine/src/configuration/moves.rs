//! Owns renames: which resource of the state a declaration is, where `moved_from` says so. Pure.

use provision_diagnostic::Code;
use provision_model::{Address, Config, Declaration, Problem, Resource, Step};
use std::collections::{HashMap, HashSet};

type Declared<'a> = HashMap<&'a str, &'a Declaration>;

/// The address that the state has a declaration under, by the one it has now. A chain is followed: what has the old address
/// in the configuration must itself come from elsewhere, or it stays and nothing takes its place.
pub fn moves<'a>(config: &'a Config, state: &HashMap<&str, &Resource>) -> HashMap<&'a str, &'a Address> {
    let declared = by_address(config);
    let mut moves = HashMap::new();
    for declaration in config.resources.iter().filter(|it| !state.contains_key(it.address.as_str())) {
        let mut chain = Vec::new();
        if leads_somewhere(declaration, &declared, state, &mut chain) {
            for (new, old) in chain {
                moves.entry(new).or_insert(old);
            }
        }
    }
    moves
}

/// Renames that cannot be: two resources that were one, and two that each were the other.
pub fn check(config: &Config, problems: &mut Vec<Problem>) {
    let declared = by_address(config);
    let mut claims: HashMap<&str, &Declaration> = HashMap::new();
    let mut told = HashSet::new();
    for declaration in &config.resources {
        let at = || -> Vec<Step> {
            let end: [Step; 2] = ["lifecycle".into(), "moved_from".into()];
            declaration.path.iter().cloned().chain(end).collect()
        };
        for old in &declaration.lifecycle.moved_from {
            if let Some(first) = claims.insert(old.as_str(), declaration)
                && first.address != declaration.address
            {
                let message = format!("`{}` and `{}` are both moved from `{old}`", first.address, declaration.address);
                problems.push(
                    Problem::value(Code::ConfigInvalid, message, &at())
                        .help("One of them is what it was; take `moved_from` out of the other."),
                );
            }
        }
        let mut way = Vec::new();
        if !told.contains(declaration.address.as_str()) && comes_back(declaration, &declared, &mut way) {
            told.extend(way.iter().copied());
            let message = format!("`{}` is moved from itself, by way of {}", declaration.address, names(&way));
            problems.push(
                Problem::value(Code::ConfigInvalid, message, &at()).help(
                    "After such an exchange nobody can tell whether it was made. Use `provision state move` with a third address in between.",
                ),
            );
        }
    }
}

fn by_address(config: &Config) -> Declared<'_> {
    config.resources.iter().map(|it| (it.address.as_str(), it)).collect()
}

fn leads_somewhere<'a>(
    declaration: &'a Declaration,
    declared: &Declared<'a>,
    state: &HashMap<&str, &Resource>,
    chain: &mut Vec<(&'a str, &'a Address)>,
) -> bool {
    if chain.iter().any(|(new, _)| *new == declaration.address.as_str()) {
        return false;
    }
    let there = declaration.lifecycle.moved_from.iter().filter(|old| state.contains_key(old.as_str()));
    for old in there {
        chain.push((declaration.address.as_str(), old));
        match declared.get(old.as_str()) {
            None => return true,
            Some(next) if leads_somewhere(next, declared, state, chain) => return true,
            Some(_) => chain.pop(),
        };
    }
    false
}

fn names(way: &[&str]) -> String {
    way.iter().map(|address| format!("`{address}`")).collect::<Vec<_>>().join(", ")
}

/// Whether following `moved_from` from a declaration leads to it again; `way` has what it passes.
fn comes_back<'a>(start: &'a Declaration, declared: &Declared<'a>, way: &mut Vec<&'a str>) -> bool {
    let mut seen = HashSet::new();
    let mut todo: Vec<&Declaration> = vec![start];
    while let Some(declaration) = todo.pop() {
        for old in &declaration.lifecycle.moved_from {
            if *old == start.address {
                way.push(declaration.address.as_str());
                return true;
            }
            if let Some(next) = declared.get(old.as_str())
                && seen.insert(next.address.as_str())
            {
                todo.push(next);
            }
        }
    }
    false
}
