//! Owns preconditions and postconditions: Nickel functions of a resource that must give `true`.

use crate::configuration::reading::request_of;
use crate::planning::planned::PlannedRow;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::{Condition, Json, Map};
use provision_nickel::{Request, Source};
use provision_registry::TypeSpec;
use serde_json::json;

/// When a condition is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything is done.
    Before,
    /// When it is done.
    After,
}

/// Asks the conditions of a moment; the first that does not hold is the error. The function gets a record with
/// `address`, `type`, the fields and, afterwards, the attributes; sensitive ones are left out.
pub(crate) fn conditions_hold(
    on: &Workspace,
    planned: &PlannedRow,
    spec: &TypeSpec,
    moment: Moment,
    fields: &Map,
    attributes: &Map,
) -> Result<(), Failure> {
    let (conditions, name, code) = match moment {
        Moment::Before => (&planned.lifecycle.precondition, "precondition", Code::PlanPrecondition),
        Moment::After => (&planned.lifecycle.postcondition, "postcondition", Code::ApplyPostcondition),
    };
    if conditions.is_empty() {
        return Ok(());
    }
    let open = |(name, value): (&String, &Json)| {
        let rule = spec.fields.get(name).or_else(|| spec.attributes.get(name));
        let secret = rule.is_some_and(|rule| rule.sensitive) || provision_model::is_sealed(value);
        (!secret).then(|| (name.clone(), value.clone()))
    };
    let mut own: Map = fields.iter().filter_map(open).collect();
    for (name, value) in attributes.iter().filter_map(open) {
        put(&mut own, &name, value);
    }
    own.insert("address".into(), json!(planned.row.address));
    own.insert("type".into(), json!(planned.row.kind));
    for condition in conditions {
        let what = format!("the {name} of `{}`", planned.row.address);
        let answer = ask_condition(on, condition, &own).map_err(|failure| {
            // A text that is no function at all is told as that, not by what happens when it is called.
            if failure.first.message.starts_with("not a function")
                && failure.first.position.as_ref().is_some_and(|at| at.start == 0)
            {
                let message = format!("{what} is no function: {}", condition.condition);
                return Failure::new(code, message).with_help(form());
            }
            let help = failure.first.help.clone().unwrap_or_else(|| form().to_owned());
            Failure::new(code, format!("{what} cannot be evaluated: {}", failure.first.headline())).with_help(help)
        })?;
        let said = match answer {
            Json::Bool(true) => continue,
            Json::Bool(false) => condition.message.clone().unwrap_or_else(|| condition.condition.clone()),
            Json::String(said) => said,
            _ => return Err(Failure::new(code, format!("{what} gives no boolean")).with_help(form())),
        };
        let help = match moment {
            Moment::Before => "Nothing was done to it. Mend the configuration so that the condition holds.",
            Moment::After => {
                "It was done and is in the state. Mend what the condition speaks of, then run `provision apply` again."
            }
        };
        return Err(Failure::new(code, format!("{what} does not hold: {said}")).with_help(help));
    }
    Ok(())
}

fn form() -> &'static str {
    "Write it as a function of the resource, for example `fun self => self.status == \"running\"`."
}

/// Puts an attribute with a dotted name where a function finds it.
fn put(map: &mut Map, name: &str, value: Json) {
    match name.split_once('.') {
        None => {
            map.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = map.entry(first.to_owned()).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn ask_condition(on: &Workspace, condition: &Condition, own: &Map) -> Result<Json, Failure> {
    let source = Source::Text {
        name: "condition".to_owned(),
        folder: on.project.folder.clone(),
        text: condition.condition.clone(),
    };
    let request = Request { positions: false, ..request_of(on, vec![source]) };
    on.project.evaluator.call(&request, vec![Json::Object(own.clone())])
}
