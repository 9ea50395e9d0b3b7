//! Owns what a manifest says that a deletion takes along: that it says it where something may be attached, and how what was
//! not made with the resource is spared.

use super::calls::{self, Place, check_step};
use super::meaning::field;
use super::{Findings, at};
use crate::{Manifest, StepSpec, Takes, TypeSpec};
use provision_diagnostic::{Code, did_you_mean};
use provision_model::{FieldSpec, Step, references};

const LINT: Code = Code::ProviderLint;

/// What a type says of its deletion and of what it is attached to.
pub fn check(manifest: &Manifest, spec: &TypeSpec, name: &str, here: &[Step], findings: &mut Findings) {
    let there = at(here, "takes");
    match &spec.takes {
        None => {
            if let Some((other, attached)) = attached_to(manifest, name) {
                findings.error(
                    LINT,
                    format!("`{other}.{attached}` is attached to a `{name}`, which does not say what its deletion takes along"),
                    here,
                    "Write `takes = {}` where it takes nothing along, or name what it takes and how that is spared.",
                );
            }
        }
        Some(all) => {
            for (what, takes) in all {
                one(manifest, spec, takes, &at(&there, what.as_str()), findings);
            }
        }
    }
    for (name, foreign) in &spec.foreign {
        let there = at(&at(here, "foreign"), name.as_str());
        field(spec, name, "`foreign`", &there, findings);
        calls::one(manifest, None, &foreign.call, Place::List, &at(&there, "call"), findings);
    }
    let Some(host) = &spec.host else { return };
    if !manifest.types.contains_key(&host.kind) {
        let help = did_you_mean(&host.kind, manifest.types.keys().map(String::as_str), || {
            "Name a type of this manifest.".to_owned()
        });
        let place = at(&at(here, "host"), "type");
        findings.error(LINT, format!("there is no type `{}`", host.kind), &place, help);
    }
}

fn one(manifest: &Manifest, spec: &TypeSpec, takes: &Takes, here: &[Step], findings: &mut Findings) {
    if takes.at.is_empty() || spec.read.is_none() {
        let help = "Give `at` the paths of their ids in an item of `read`.";
        findings.error(LINT, "nothing tells what the deletion would take along", &at(here, "at"), help);
    }
    for (index, name) in takes.given.iter().enumerate() {
        field(spec, name, "`given`", &at(&at(here, "given"), index), findings);
    }
    let keeps = |step: &StepSpec| {
        step.call.as_ref().is_some_and(|call| serde_json::to_string(call).is_ok_and(|text| text.contains("{item}")))
    };
    if !takes.spare.iter().any(keeps) {
        let help = "Add a step with a `call` that names `{item}`.";
        findings.error(LINT, "no step spares what the deletion would take along", &at(here, "spare"), help);
    }
    for (index, step) in takes.spare.iter().enumerate() {
        check_step(manifest, spec, step, Place::Spare, &at(&at(here, "spare"), index), findings);
    }
}

/// A type and its field by which it is attached to a type, told by the example: the field may be taken out, and the
/// resource stays.
fn attached_to<'a>(manifest: &'a Manifest, host: &str) -> Option<(&'a str, &'a str)> {
    let kind = format!("{}.{host}", manifest.name);
    let refers = |spec: &TypeSpec, field: &FieldSpec| {
        let samples = [&field.example, &field.other].into_iter().flatten();
        let mut found = samples.flat_map(references);
        found.any(|it| spec.needs.get(it.address.as_str()).is_some_and(|need| need["$type"] == kind.as_str()))
    };
    manifest.types.iter().find_map(|(name, spec)| {
        let attached = spec.fields.iter().find(|(_, field)| field.detaches && refers(spec, field))?;
        Some((name.as_str(), attached.0.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use crate::lint::lint;
    use provision_nickel::{Evaluator, Source};

    const MANIFEST: &str = r#"{
  name = "things", version = "0.1.0", api = "1", doc = "Things", protocol = "rest-json",
  endpoint = { default = "https://things.example" },
  auth = [{ kind = "bearer", token = { setting = "token", env = ["THINGS_TOKEN"] } }],
  errors = { code = ["code"], message = ["message"], conflict = [], quota = [] },
  types =
    let named = { name = { type = "string", doc = "Name.", default_name = true, on_change = "replace" } } in
    let base = fun at => {
      doc = "A thing.", identity = "keyed", unique = ["name"],
      create = { method = "POST", path = "/%{at}" },
      read = { path = "/%{at}/{id}" },
      list = { path = "/%{at}", items = "all" },
      delete = [{ name = "delete", call = { method = "DELETE", path = "/%{at}/{id}" } }],
    }
    in
    {
      host = base "hosts" & { fields = named, TAKES },
      disk = base "disks" & {
        needs = { box = { "$type" = "things.host" } },
        fields = named & { host = { type = "string", doc = "Host.", example = { "$ref" = { address = "box", attribute = "id" } } } },
        update = [
          {
            name = "host", fields = ["host"],
            collection = {
              field = "host",
              add = { method = "POST", path = "/disks/{id}/attach", body = { host = "{item}" } },
              remove = { method = "POST", path = "/disks/{id}/detach" },
            },
          },
        ],
      },
    },
}"#;

    fn told(takes: &str) -> Vec<String> {
        let text = MANIFEST.replace("TAKES", takes);
        let source = Source::Text { name: "manifest.ncl".into(), folder: "/".into(), text };
        let linted = lint(source, &Evaluator::default(), None).unwrap();
        linted.diagnostics.into_iter().map(|one| one.message).collect()
    }

    #[test]
    fn a_type_that_something_is_attached_to_says_what_its_deletion_takes_along() {
        let said = "`disk.host` is attached to a `host`, which does not say what its deletion takes along";
        assert_eq!(told(""), [said]);
        assert_eq!(told("takes = {}"), [] as [String; 0]);
        let spare = |call: &str| {
            format!(
                "takes.disks = {{ at = [\"disks[].id\"], spare = [{{ name = \"keep\", call = {{ method = \"POST\", {call} }} }}] }}"
            )
        };
        assert_eq!(told(&spare("path = \"/disks/{item}/detach\"")), [] as [String; 0]);
        assert_eq!(told(&spare("path = \"/hosts/{id}/keep\"")), ["no step spares what the deletion would take along"]);
    }
}
