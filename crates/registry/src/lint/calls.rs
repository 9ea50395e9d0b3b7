//! Owns the calls and steps of a manifest: what their templates name, what they wait for.

use super::meaning::field;
use super::{Findings, at};
use crate::{Call, Collection, Manifest, Protocol, StepSpec, TypeSpec};
use provision_diagnostic::{Code, did_you_mean};
use provision_model::{FieldType, Json, Step};
use std::collections::HashSet;

const PLACEHOLDER: Code = Code::ProviderPlaceholder;
const STATUS: Code = Code::ProviderUnknownStatus;
const LINT: Code = Code::ProviderLint;

/// Where a call stands, which decides what its templates may name.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    Create,
    Read,
    List,
    Step,
    Item(&'a Collection),
    /// A step that keeps something that a deletion takes along.
    Spare,
}

/// The calls and steps of a type.
pub fn check(manifest: &Manifest, spec: &TypeSpec, here: &[Step], findings: &mut Findings) {
    let calls = [
        ("create", &spec.create, Place::Create),
        ("read", &spec.read, Place::Read),
        ("list", &spec.list, Place::List),
        ("among", &spec.among, Place::Create),
    ];
    for (name, call, place) in calls {
        if let Some(call) = call {
            one(manifest, Some(spec), call, place, &at(here, name), findings);
        }
    }
    for (name, steps) in [("update", &spec.update), ("delete", &spec.delete)] {
        for (index, step) in steps.iter().enumerate() {
            check_step(manifest, spec, step, Place::Step, &at(&at(here, name), index), findings);
        }
    }
}

/// One step.
pub fn check_step(
    manifest: &Manifest,
    spec: &TypeSpec,
    step: &StepSpec,
    place: Place<'_>,
    here: &[Step],
    findings: &mut Findings,
) {
    for (index, name) in step.fields.iter().enumerate() {
        field(spec, name, &format!("the step `{}`", step.name), &at(&at(here, "fields"), index), findings);
    }
    for (key, words) in [("when_status", &step.when_status), ("until", &step.until)] {
        for (index, word) in words.iter().enumerate() {
            let place = at(&at(here, key), index);
            // A step of what is attached to something waits for that.
            let host = spec.host.as_ref().map_or(Some(spec), |host| manifest.types.get(&host.kind));
            let Some(status) = host.and_then(|host| host.status.as_ref()) else {
                findings.error(
                    STATUS,
                    format!("the step `{}` waits for the status `{word}`, but the type has no `status`", step.name),
                    &place,
                    "Add `status` with its path and words.",
                );
                continue;
            };
            let known = || status.ready.iter().chain(&status.failed).chain(&status.gone);
            if !known().any(|known| known == word) {
                let help = did_you_mean(word, known().map(String::as_str), || "Name it in `status`.".to_owned());
                findings.error(STATUS, format!("the status `{word}` is named nowhere in `status`"), &place, help);
            }
        }
    }
    match (&step.call, &step.collection) {
        (None, None) => findings.error(
            LINT,
            format!("the step `{}` does nothing", step.name),
            here,
            "Give it a `call` or a `collection`.",
        ),
        (call, collection) => {
            if let Some(call) = call {
                one(manifest, Some(spec), call, place, &at(here, "call"), findings);
            }
            if let Some(collection) = collection {
                let inside = at(here, "collection");
                field(spec, &collection.field, "the collection", &at(&inside, "field"), findings);
                let calls = [
                    ("add", Some(&collection.add)),
                    ("remove", Some(&collection.remove)),
                    ("change", collection.change.as_ref()),
                ];
                for (name, call) in calls {
                    if let Some(call) = call {
                        one(manifest, Some(spec), call, Place::Item(collection), &at(&inside, name), findings);
                    }
                }
                let many = spec.fields.get(&collection.field).is_some_and(|field| field.kind.is_many());
                if collection.change.is_some() && collection.key.is_none() && many {
                    findings.error(
                        LINT,
                        "items are said to be changed, but nothing tells which is which",
                        &at(&inside, "change"),
                        "Name the field that stays in `key`.",
                    );
                }
            }
        }
    }
}

/// One call.
pub fn one(
    manifest: &Manifest,
    spec: Option<&TypeSpec>,
    call: &Call,
    place: Place<'_>,
    here: &[Step],
    findings: &mut Findings,
) {
    match manifest.protocol {
        Protocol::RestJson if call.path.is_empty() => {
            findings.error(LINT, "a call without a `path`", here, "Give the path below the endpoint.");
        }
        Protocol::RestJson if !call.path.starts_with('/') || call.path.starts_with("//") => {
            findings.error(
                LINT,
                format!("the path `{}` does not begin with one `/`", call.path),
                &at(here, "path"),
                "Begin it with `/`.",
            );
        }
        Protocol::Ec2Query if call.action.is_none() => {
            findings.error(LINT, "a call without an `action`", here, "Give the `Action` of the query protocol.");
        }
        _ => {}
    }
    if let (Some(spec), Some(names)) = (spec, &call.fields) {
        for (index, name) in names.iter().enumerate() {
            field(spec, name, "a call", &at(&at(here, "fields"), index), findings);
        }
    }
    if !call.actions.is_empty() && manifest.actions.is_none() {
        findings.error(
            LINT,
            "a call names actions, but the manifest does not say how they are asked about",
            &at(here, "actions"),
            "Add `actions` to the manifest.",
        );
    }
    template(spec, &Json::from(call.path.as_str()), place, &at(here, "path"), findings);
    for (name, value) in &call.query {
        template(spec, value, place, &at(&at(here, "query"), name.as_str()), findings);
    }
    for (name, value) in &call.with {
        template(spec, value, place, &at(&at(here, "with"), name.as_str()), findings);
    }
    if let Some(body) = &call.body {
        template(spec, body, place, &at(here, "body"), findings);
    }
    for (name, text) in [("action", &call.action), ("id", &call.id), ("result", &call.result)] {
        if let Some(text) = text {
            template(spec, &Json::from(text.as_str()), place, &at(here, name), findings);
        }
    }
}

/// The names in the braces of a text.
fn placeholders(text: &str) -> Vec<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
}

fn template(spec: Option<&TypeSpec>, value: &Json, place: Place<'_>, here: &[Step], findings: &mut Findings) {
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                template(spec, item, place, &at(here, index), findings);
            }
        }
        Json::Object(map) => {
            for (key, item) in map {
                template(spec, item, place, &at(here, key.as_str()), findings);
            }
        }
        Json::String(text) => {
            for name in placeholders(text) {
                placeholder(spec, name, place, here, findings);
            }
        }
        _ => {}
    }
}

fn placeholder(spec: Option<&TypeSpec>, name: &str, place: Place<'_>, here: &[Step], findings: &mut Findings) {
    let may = match place {
        Place::Create => "`{field.x}`",
        Place::Read => "`{id}`",
        Place::List => "nothing",
        Place::Step => "`{id}` and `{field.x}`",
        Place::Item(_) => "`{id}`, `{item}`, `{item.x}` and `{field.x}`",
        Place::Spare => "`{id}` and `{item}`",
    };
    let here_is_nothing = |findings: &mut Findings| {
        findings.error(PLACEHOLDER, format!("`{{{name}}}` has no value here"), here, format!("Here can stand {may}."));
    };
    let stepping = matches!(place, Place::Step | Place::Item(_) | Place::Spare);
    if name == "id" || name.strip_prefix("id.").is_some_and(|part| part.parse::<usize>().is_ok()) {
        if !stepping && !matches!(place, Place::Read) {
            here_is_nothing(findings);
        }
        return;
    }
    if let Some(wanted) = name.strip_prefix("field.") {
        match spec {
            Some(spec) if stepping || matches!(place, Place::Create) => {
                field(spec, wanted, "a template", here, findings)
            }
            _ => here_is_nothing(findings),
        }
        return;
    }
    if name == "host" && stepping && spec.is_some_and(|spec| spec.host.is_some()) {
        return;
    }
    if name == "item" && matches!(place, Place::Spare) {
        return;
    }
    let Place::Item(collection) = place else {
        return here_is_nothing(findings);
    };
    if name == "item" {
        return;
    }
    let Some(wanted) = name.strip_prefix("item.") else {
        return here_is_nothing(findings);
    };
    let first = wanted.split('.').next().unwrap_or_default();
    let known: Vec<&str> = match spec.and_then(|spec| spec.fields.get(&collection.field)).map(|field| &field.kind) {
        Some(FieldType::Map(_)) => vec!["key", "value"],
        Some(FieldType::List(inner)) => match inner.as_ref() {
            FieldType::Record(fields) => fields.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        },
        Some(FieldType::Record(fields)) => fields.keys().map(String::as_str).collect(),
        Some(FieldType::Any) | None => return,
        Some(_) => Vec::new(),
    };
    if !known.contains(&first) {
        let help = did_you_mean(first, known.iter().copied(), || match known.is_empty() {
            true => "An item is a single value: write `{item}`.".to_owned(),
            false => format!("An item has {}.", known.join(", ")),
        });
        findings.error(
            Code::ProviderUnknownField,
            format!("a template names the unknown field `{wanted}` of an item"),
            here,
            help,
        );
    }
}

/// The fields that reach the cloud when one is made.
pub fn sent_on_create<'a>(spec: &'a TypeSpec, create: &'a Call) -> HashSet<&'a String> {
    let mut sent = HashSet::new();
    let goes = |name: &&String| spec.fields.get(*name).is_some_and(|field| field.wire.as_deref() != Some(""));
    match &create.fields {
        None => sent.extend(spec.fields.keys().filter(goes)),
        Some(names) => sent.extend(names.iter().filter(goes)),
    }
    for step in spec.update.iter().filter(|step| step.on_create) {
        if let Some(call) = &step.call {
            sent.extend(call.fields.as_ref().unwrap_or(&step.fields).iter().filter(goes));
            named(spec, call, &mut sent);
        }
        if let Some(collection) = &step.collection {
            sent.insert(&collection.field);
        }
    }
    named(spec, create, &mut sent);
    sent
}

/// The fields that the templates of a call name.
fn named<'a>(spec: &'a TypeSpec, call: &Call, sent: &mut HashSet<&'a String>) {
    let text = format!(
        "{} {} {} {}",
        call.path,
        call.action.as_deref().unwrap_or_default(),
        serde_json::to_string(&call.query).unwrap_or_default(),
        call.body.as_ref().map(Json::to_string).unwrap_or_default()
    );
    sent.extend(spec.fields.keys().filter(|name| text.contains(&format!("{{field.{name}}}"))));
}
