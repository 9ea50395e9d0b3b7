//! Owns what a cloud would refuse of a resource's fields together: too many labels, fields that do not go with each other.

use crate::planning::verdict::Verdict;
use provision_diagnostic::Code;
use provision_model::{Action, Declaration, Json, Map, Problem, Remote};
use provision_registry::TypeSpec;

/// The labels that mark a resource as ours.
const OURS: usize = 2;

/// What is wrong with the fields of a resource that is to be created or changed.
pub fn limits(
    declaration: &Declaration,
    spec: &TypeSpec,
    verdict: &Verdict,
    desired: &Map,
    remote: Option<&Remote>,
) -> Vec<Problem> {
    let creates = matches!(verdict.action, Action::Create | Action::Replace);
    if !creates && verdict.action != Action::Update {
        return Vec::new();
    }
    let at = |field: &str| {
        let mut path = declaration.path.clone();
        path.push(field.into());
        path
    };
    let mut problems = Vec::new();
    if let (Some(field), Some(most)) = (&spec.labels, spec.labels_max)
        && (creates || verdict.changed.contains(field))
    {
        let written = desired.get(field).and_then(Json::as_object).map_or(0, Map::len);
        // One that was imported does not carry ours.
        let ours = if creates || remote.is_some_and(|remote| remote.identity.is_some()) { OURS } else { 0 };
        if written + ours > most {
            let message = format!(
                "`{}` would have {} {field}, and the cloud allows {most}: {written} of the file and {ours} that mark it as \
                 this project's",
                declaration.address,
                written + ours
            );
            let help = format!(
                "Write {} {field} or fewer{}.",
                most - ours,
                match &spec.name_label {
                    Some(name) => format!("; `{name}`, which is set by default, counts"),
                    None => String::new(),
                }
            );
            problems.push(Problem::value(Code::PlanValue, message, &at(field)).help(help));
        }
    }
    let mut shown = remote.map(|remote| remote.fields.clone()).unwrap_or_default();
    shown.extend(desired.clone());
    for name in declaration.fields.keys() {
        let Some(other) = spec.fields.get(name).and_then(|field| field.barred_by(&shown)) else { continue };
        if !creates && !verdict.changed.iter().any(|changed| changed == name || changed == other) {
            continue;
        }
        let allowed = spec.fields.get(name).and_then(|field| field.only_with.get(other)).cloned().unwrap_or_default();
        let message = format!("`{}.{name}` does not go with its `{other}`", declaration.address);
        let help = format!("Remove `{name}`, or give `{other}` one of {}.", allowed.join(", "));
        problems.push(Problem::value(Code::PlanValue, message, &at(name)).help(help));
    }
    problems
}
