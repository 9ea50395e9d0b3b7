//! Owns finding what is wrong with a manifest: every mistake of one run, each at its place.
//!
//! First its shape, against `schemas/provider.ncl`; then what it means. A mistake of shape does not hide the others:
//! what is misplaced is taken out before the meaning is looked at.

mod calls;
mod lookups;
mod meaning;
mod takes;
mod values;

use crate::{Manifest, manifest_contract};
use indexmap::IndexMap;
use provision_diagnostic::Code;
use provision_diagnostic::{Diagnostic, Failure, Position, Severity, did_you_mean, nearest};
use provision_model::{FieldSpec, FieldType, Json, Map, Problem, Site, Step, check_fields, display_path};
use provision_nickel::{Evaluator, PathElement, Positions, Request, Source};
use serde::Deserialize;
use std::sync::OnceLock;

const CONTRACT: &str = include_str!("../../../schemas/provider.ncl");
/// The types without parts.
pub const SCALARS: [&str; 5] = ["string", "int", "number", "bool", "any"];

type Fields = IndexMap<String, FieldSpec>;

/// What a manifest can say, read from `schemas/provider.ncl`.
#[derive(Debug, Clone, Deserialize)]
pub struct Contract {
    pub manifest: Fields,
    pub auth: IndexMap<String, Fields>,
    pub pagination: IndexMap<String, Fields>,
    pub listing: Fields,
    pub setting: Fields,
    pub lookup: Fields,
    pub filter: Fields,
    #[serde(rename = "type")]
    pub kind: Fields,
    pub field: Fields,
}

impl Contract {
    /// The contract, read once.
    pub fn get(evaluator: &Evaluator) -> Result<&'static Contract, Failure> {
        static READ: OnceLock<Contract> = OnceLock::new();
        if let Some(read) = READ.get() {
            return Ok(read);
        }
        let source = Source::Text { name: "provider.ncl".into(), folder: "/".into(), text: CONTRACT.into() };
        let evaluated = evaluator.eval(&Request { sources: vec![source], ..Request::default() })?;
        let read = serde_json::from_value(evaluated.value.clone()).map_err(|error| {
            Failure::new(Code::ProviderManifest, format!("schemas/provider.ncl cannot be read: {error}"))
        })?;
        Ok(READ.get_or_init(|| read))
    }
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct Finding {
    pub severity: Severity,
    pub problem: Problem,
}

/// Collects findings.
#[derive(Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    fn error(&mut self, code: Code, message: impl Into<String>, path: &[Step], help: impl Into<String>) {
        self.add(Severity::Error, Problem::value(code, message, path).help(help));
    }

    fn warning(&mut self, code: Code, message: impl Into<String>, path: &[Step], help: impl Into<String>) {
        self.add(Severity::Warning, Problem::value(code, message, path).help(help));
    }

    fn add(&mut self, severity: Severity, problem: Problem) {
        self.0.push(Finding { severity, problem });
    }
}

/// A manifest that was looked at.
pub struct Linted {
    /// `None` when its shape does not allow to read it.
    pub manifest: Option<Manifest>,
    /// Everything found, in the order of the text where that is known.
    pub diagnostics: Vec<Diagnostic>,
}

impl Linted {
    /// The manifest where nothing is wrong with it; `None` where it cannot be read all the same.
    pub fn sound(self) -> Result<Option<Manifest>, Failure> {
        Failure::check(self.diagnostics.into_iter().filter(|one| one.severity == Severity::Error).collect())?;
        Ok(self.manifest)
    }
}

/// Reads and checks a manifest. A failure means that it cannot be evaluated at all.
pub fn lint(source: Source, evaluator: &Evaluator, shown_from: Option<std::path::PathBuf>) -> Result<Linted, Failure> {
    let contract = Contract::get(evaluator)?;
    let library = Some(manifest_contract::library());
    // A manifest is all of its folder and no more: that is what its digest is of.
    let confine = match &source {
        Source::File(file) => file.parent().map(|folder| vec![crate::real(folder)]),
        Source::Text { .. } => None,
    };
    let request =
        Request { sources: vec![source], positions: true, shown_from, library, confine, ..Request::default() };
    let (evaluated, diagnostics) = evaluator.eval_partial(&request)?;
    Ok(looked_at(contract, evaluated.value.clone(), &evaluated.positions, diagnostics))
}

/// The same for one that is data already and has no text.
pub(crate) fn lint_value(value: Json, evaluator: &Evaluator) -> Result<Linted, Failure> {
    Ok(looked_at(Contract::get(evaluator)?, value, &Positions::default(), Vec::new()))
}

fn looked_at(contract: &Contract, value: Json, positions: &Positions, mut diagnostics: Vec<Diagnostic>) -> Linted {
    let mut findings = Findings::default();
    let manifest = Manifest::read(&value);
    shape(contract, &value, &mut findings);
    let readable = readable(contract, &value, &findings);
    match (&readable, &manifest) {
        (Some(readable), _) => meaning::check(readable, &value, &mut findings),
        // Whatever the contract does not know is still told.
        (None, Err(error)) if findings.0.is_empty() && diagnostics.is_empty() => findings.error(
            Code::ProviderManifest,
            format!("the manifest cannot be read: {error}"),
            &[],
            "See docs/manifest.md for the shape of a manifest.",
        ),
        _ => {}
    }
    let holes = !diagnostics.is_empty();
    for Finding { severity, problem } in findings.0 {
        // What Nickel could not evaluate is null here; its own message says why.
        if holes && (is_missing(&problem) || value_at(&value, &problem.path).is_none_or(Json::is_null)) {
            continue;
        }
        diagnostics.push(Diagnostic { severity, ..located(&[positions], problem, |_| true) });
    }
    let place = |one: &Diagnostic| one.position.as_ref().map_or((usize::MAX, 0), |at| (at.line, at.column));
    diagnostics.sort_by_key(place);
    Linted { manifest: manifest.ok(), diagnostics }
}

/// The diagnostic of a problem, at its place in the source where there is one: the first of `positions` that has one which
/// may be shown.
pub fn located(positions: &[&Positions], problem: Problem, may_be_shown: impl Fn(&Position) -> bool) -> Diagnostic {
    let mut found = Diagnostic::error(problem.code, problem.message);
    found.help = problem.help;
    // A missing field has no place of its own: the nearest enclosing record has.
    for length in (0..=problem.path.len()).rev() {
        let path = elements(&problem.path[..length]);
        let whole = length == problem.path.len();
        let place = |positions: &&Positions| match problem.site {
            Site::Key if whole => positions.key(&path).or_else(|| positions.value(&path)),
            _ => positions.value(&path).or_else(|| positions.key(&path)),
        };
        let at = positions.iter().filter_map(place).find(|at| may_be_shown(&at.position));
        if at.is_some() {
            return found.with_excerpt(at);
        }
    }
    let path = display_path(&problem.path);
    if !path.is_empty() && !found.message.contains(&path) {
        found.message = format!("{} at `{path}`", found.message);
    }
    found
}

/// A path as Nickel's positions have it.
pub fn elements(path: &[Step]) -> Vec<PathElement> {
    path.iter()
        .map(|step| match step {
            Step::Field(name) => PathElement::Field(name.clone()),
            Step::Index(index) => PathElement::Index(*index),
        })
        .collect()
}

/// A path, one longer.
pub(crate) fn at(path: &[Step], step: impl Into<Step>) -> Vec<Step> {
    let mut longer = path.to_vec();
    longer.push(step.into());
    longer
}

/// The manifest without what stands in the wrong place, so that the rest can be read.
fn readable(contract: &Contract, value: &Json, findings: &Findings) -> Option<Manifest> {
    let mut copy = value.clone();
    for Finding { problem, .. } in findings.0.iter().filter(|one| !is_missing(&one.problem)) {
        prune(&mut copy, &problem.path);
    }
    let mut left = Findings::default();
    shape(contract, &copy, &mut left);
    for Finding { problem, .. } in left.0.iter().filter(|one| is_missing(&one.problem)) {
        let mut target = Some(&mut copy);
        for step in &problem.path {
            target = target.and_then(|target| child(target, step));
        }
        if let Some(Json::Object(map)) = target {
            let name = problem.message.rsplit('`').nth(1).unwrap_or_default();
            map.insert(name.to_owned(), stand_in(name));
        }
    }
    Manifest::read(&copy).ok()
}

fn prune(value: &mut Json, path: &[Step]) {
    // A way to authenticate or to page is read as a whole or not at all.
    let whole = matches!(path.first(), Some(Step::Field(name)) if name == "auth" || name == "pagination");
    let Some((last, parents)) = (if whole { &path[..1] } else { path }).split_last() else { return };
    let mut parent = Some(value);
    for step in parents {
        parent = parent.and_then(|parent| child(parent, step));
    }
    match (parent, last) {
        (Some(Json::Object(map)), Step::Field(name)) => {
            map.shift_remove(name);
        }
        (Some(Json::Array(items)), Step::Index(index)) if *index < items.len() => {
            items.remove(*index);
        }
        _ => {}
    }
}

fn child<'a>(value: &'a mut Json, step: &Step) -> Option<&'a mut Json> {
    match (value, step) {
        (Json::Object(map), Step::Field(name)) => map.get_mut(name),
        (Json::Array(items), Step::Index(index)) => items.get_mut(*index),
        _ => None,
    }
}

fn value_at<'a>(value: &'a Json, path: &[Step]) -> Option<&'a Json> {
    path.iter().try_fold(value, |at, step| match step {
        Step::Field(name) => at.get(name),
        Step::Index(index) => at.get(*index),
    })
}

fn is_missing(problem: &Problem) -> bool {
    problem.message.contains("lacks the required field")
}

/// Stands in for what is missing, which was told.
fn stand_in(name: &str) -> Json {
    match name {
        "protocol" => "rest-json".into(),
        "identity" => "anonymous".into(),
        "type" => "any".into(),
        "batch" | "max" => 1.into(),
        "ready" | "running" | "failed" => Json::Array(vec!["".into()]),
        "types" | "fields" | "columns" | "call" | "add" | "remove" => Json::Object(Map::new()),
        _ => "".into(),
    }
}

/// Holds a record against fields of the contract.
fn against(fields: &Fields, map: &Map, path: &[Step], findings: &mut Findings) {
    let mut problems = Vec::new();
    check_fields(fields, map, &[], &mut path.to_vec(), &mut problems);
    for mut problem in problems {
        problem.code = match problem.code {
            Code::PlanUnknownField => Code::ProviderUnknownKey,
            _ => Code::ProviderManifest,
        };
        if problem.message.starts_with("`` lacks") {
            problem.message = problem.message.replacen("`` lacks", "the manifest lacks", 1);
        }
        findings.add(Severity::Error, problem);
    }
}

fn shape(contract: &Contract, value: &Json, findings: &mut Findings) {
    let wrong = Code::ProviderManifest;
    let Json::Object(map) = value else {
        findings.error(wrong, "the manifest is no record", &[], "Write `{ name = …, types = { … } }`.");
        return;
    };
    against(&contract.manifest, map, &[], findings);
    let root: Vec<Step> = Vec::new();
    for (index, auth) in map.get("auth").and_then(Json::as_array).into_iter().flatten().enumerate() {
        kinded(&contract.auth, auth, &at(&at(&root, "auth"), index), "way to authenticate", findings);
    }
    if let Some(pagination) = map.get("pagination").filter(|value| !value.is_null()) {
        kinded(&contract.pagination, pagination, &at(&root, "pagination"), "pagination", findings);
    }
    for (name, listing) in map.get("listings").and_then(Json::as_object).into_iter().flatten() {
        let path = at(&at(&root, "listings"), name.as_str());
        let Json::Object(listing) = listing else {
            findings.error(
                wrong,
                format!("`{}` is no record", display_path(&path)),
                &path,
                "Give a `call` and `columns`.",
            );
            continue;
        };
        against(&contract.listing, listing, &path, findings);
        fields(contract, listing.get("columns"), &at(&path, "columns"), findings);
    }
    lookups::shape(contract, map, findings);
    for (name, setting) in map.get("settings").and_then(Json::as_object).into_iter().flatten() {
        let path = at(&at(&root, "settings"), name.as_str());
        match setting {
            Json::Object(setting) => against(&contract.setting, setting, &path, findings),
            _ => findings.error(
                wrong,
                format!("the setting `{name}` is no record"),
                &path,
                "Give it a `doc`, and what else it takes.",
            ),
        }
    }
    for (name, spec) in map.get("types").and_then(Json::as_object).into_iter().flatten() {
        let path = at(&at(&root, "types"), name.as_str());
        let Json::Object(spec) = spec else {
            findings.error(
                wrong,
                format!("the type `{name}` is no record"),
                &path,
                "Give it `doc`, `identity`, `fields`.",
            );
            continue;
        };
        against(&contract.kind, spec, &path, findings);
        fields(contract, spec.get("fields"), &at(&path, "fields"), findings);
        fields(contract, spec.get("attributes"), &at(&path, "attributes"), findings);
    }
}

/// A record whose `kind` says which fields it has.
fn kinded(kinds: &IndexMap<String, Fields>, value: &Json, path: &[Step], what: &str, findings: &mut Findings) {
    let wrong = Code::ProviderManifest;
    let names = || kinds.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let kind = value.get("kind").and_then(Json::as_str);
    let (Json::Object(map), Some(kind)) = (value, kind) else {
        findings.error(
            wrong,
            format!("`{}` lacks its `kind`", display_path(path)),
            path,
            format!("There are {}.", names()),
        );
        return;
    };
    let Some(fields) = kinds.get(kind) else {
        let help = did_you_mean(kind, kinds.keys().map(String::as_str), || format!("There are {}.", names()));
        findings.error(wrong, format!("there is no {what} of the kind `{kind}`"), &at(path, "kind"), help);
        return;
    };
    let mut rest = map.clone();
    rest.shift_remove("kind");
    against(fields, &rest, path, findings);
}

/// Field specifications, and those inside their types.
fn fields(contract: &Contract, value: Option<&Json>, path: &[Step], findings: &mut Findings) {
    for (name, spec) in value.and_then(Json::as_object).into_iter().flatten() {
        let path = at(path, name.as_str());
        match spec {
            Json::Object(spec) => {
                against(&contract.field, spec, &path, findings);
                if let Some(kind) = spec.get("type") {
                    field_type(contract, kind, &at(&path, "type"), findings);
                }
            }
            _ => findings.error(
                Code::ProviderManifest,
                format!("the field `{}` is no record", display_path(&path)),
                &path,
                "Give it a `type` and a `doc`.",
            ),
        }
    }
}

fn field_type(contract: &Contract, value: &Json, path: &[Step], findings: &mut Findings) {
    let wrong = Code::ProviderManifest;
    let forms = "A type is `\"string\"`, `\"int\"`, `\"number\"`, `\"bool\"`, `\"any\"`, `{ list = … }`, `{ map = … }` or \
                 `{ record = { … } }`.";
    match value {
        Json::String(name) if SCALARS.contains(&name.as_str()) => {}
        Json::String(name) => {
            let near = nearest(name, SCALARS).map(|near| format!("Did you mean `{near}`? "));
            findings.error(
                wrong,
                format!("there is no type `{name}`"),
                path,
                format!("{}{forms}", near.unwrap_or_default()),
            );
        }
        Json::Object(map) if map.len() == 1 => match map.iter().next() {
            Some((key, inner)) if key == "list" || key == "map" => {
                field_type(contract, inner, &at(path, key.as_str()), findings);
            }
            Some((key, inner)) if key == "record" => fields(contract, Some(inner), &at(path, "record"), findings),
            _ => findings.error(wrong, format!("`{}` is no type", display_path(path)), path, forms),
        },
        _ => findings.error(wrong, format!("`{}` is no type", display_path(path)), path, forms),
    }
}

/// The type of a sample where a field's values are looked at, without those known only later.
fn fits(kind: &FieldType, value: &Json, path: &[Step]) -> Vec<Problem> {
    let mut problems = Vec::new();
    kind.check(value, &mut path.to_vec(), &mut problems);
    problems
}
