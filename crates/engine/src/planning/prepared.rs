//! Owns what a provider says of a resource's fields before anything is done: what cannot be, what follows from the others, and
//! what is due.

use crate::planning::planner::Planner;
use crate::planning::verdict::Verdict;
use provision_diagnostic::{Code, Failure};
use provision_model::{
    Action, Address, Declaration, Disruption, FieldType, IdentityClass, Json, Map, Problem, Resource, unknown,
};
use provision_providers::{Account, Objection};
use provision_registry::TypeSpec;
use std::collections::HashSet;

const CODE: Code = Code::PlanValue;

/// A resource's fields while it is planned.
pub struct Fields<'a> {
    /// As written, defaults filled in; what the plan keeps.
    pub inputs: &'a mut Map,
    /// Resolved as far as they are known.
    pub desired: &'a mut Map,
    /// What policies and conditions may see.
    pub shown: &'a mut Map,
    pub secrets: &'a mut HashSet<String>,
}

impl Fields<'_> {
    /// Has the provider look at the fields, and takes in what follows from them.
    pub fn prepare(self, account: &Account, declaration: &Declaration, problems: &mut Vec<Problem>) {
        match account.provider.prepare(declaration.type_name(), self.desired, self.secrets) {
            Ok(derived) => {
                for (name, value) in derived {
                    let (plain, secret) = as_secret(&value);
                    let plain = plain.clone();
                    if secret {
                        self.secrets.insert(name.clone());
                    }
                    self.shown.insert(name.clone(), if secret { unknown() } else { plain.clone() });
                    // What is not known yet is worked out when it is made.
                    if plain != unknown() {
                        self.inputs.insert(name.clone(), value);
                    }
                    self.desired.insert(name, plain);
                }
            }
            Err(objections) => problems.extend(objections.into_iter().map(|objection| {
                let mut path = declaration.path.clone();
                path.push(objection.field.as_str().into());
                let message = told(&declaration.address, &objection);
                Problem::value(CODE, message, &path).help(objection.help)
            })),
        }
    }
}

/// A secret as its field takes it: contracts do not see what is in it. `Err` says what is wrong, and never what it is.
pub fn fitted(spec: &TypeSpec, address: &Address, field: &str, value: Json) -> Result<Json, Failure> {
    let said = |code: Code, what: String, help: String| {
        Err(Failure::new(code, format!("`{address}.{field}` is a secret, and {what}")).with_help(help))
    };
    if spec.identity == IdentityClass::Keyed && spec.keys().any(|names| names.contains(&field)) {
        let help = "Give it a name that is no secret: it is the resource's id, which is told and kept in clear.";
        return said(Code::PlanSecretKey, "the resource is known by it".to_owned(), help.to_owned());
    }
    let Some(rule) = spec.fields.get(field) else { return Ok(value) };
    // What secrets are kept in has texts only.
    let value = match (&rule.kind, value.as_str()) {
        (FieldType::Int | FieldType::Number | FieldType::Bool, Some(text)) => {
            serde_json::from_str(text.trim()).unwrap_or(value)
        }
        _ => value,
    };
    let mut problems = Vec::new();
    rule.kind.check(&value, &mut Vec::new(), &mut problems);
    if !problems.is_empty() {
        let kind = rule.kind.name();
        return said(Code::PlanType, format!("it is not {kind}"), format!("Give `{field}` {kind}."));
    }
    let is_choice = rule.one_of.is_empty() || value.as_str().is_none_or(|text| rule.one_of.iter().any(|it| it == text));
    match is_choice {
        true => Ok(value),
        false => said(
            Code::PlanUnknownValue,
            "it is none of the values that there are".to_owned(),
            format!("Use one of {}.", rule.one_of.join(", ")),
        ),
    }
}

/// The same for fields that are all known, just before they are sent.
pub fn complete(
    account: &Account,
    type_name: &str,
    address: &Address,
    inputs: &mut Map,
    secrets: &mut HashSet<String>,
) -> Result<(), Failure> {
    let derived = account.provider.prepare(type_name, inputs, secrets).map_err(|objections| {
        let message = objections.iter().map(|it| told(address, it)).collect::<Vec<_>>().join("; ");
        let help = objections.first().map(|it| it.help.clone()).unwrap_or_default();
        Failure::new(CODE, message).with_help(help)
    })?;
    for (name, value) in derived {
        let (plain, secret) = as_secret(&value);
        if secret {
            secrets.insert(name.clone());
        }
        inputs.insert(name, plain.clone());
    }
    Ok(())
}

impl Planner<'_> {
    /// Makes a resource anew that is as it should be and about to expire.
    pub fn due(&self, verdict: &mut Verdict, account: &Account, kind: &str, desired: &Map, resource: &Resource) {
        if !matches!(verdict.action, Action::NoOp | Action::Update) {
            return;
        }
        let now = self.on.host.outside.clock.wall();
        let type_name = provision_model::type_name(kind);
        if let Some(reason) = account.provider.due(type_name, desired, &resource.attributes, now) {
            verdict.action = Action::Replace;
            verdict.reason = reason;
            verdict.disruption = Disruption::Replace;
        }
    }
}

/// Takes out what is known only after apply: attributes that follow from what changes.
pub fn forget_followers(spec: &TypeSpec, changed: &[String], attributes: &mut Map) {
    for (name, rule) in &spec.attributes {
        if rule.follows.iter().any(|field| changed.contains(field)) {
            attributes.shift_remove(name);
        }
    }
}

/// The value and whether it is to be kept as a secret by its provider's word.
pub fn as_secret(value: &Json) -> (&Json, bool) {
    match value.get("$secret") {
        Some(inner) => (inner, true),
        None => (value, false),
    }
}

fn told(address: &Address, objection: &Objection) -> String {
    format!("`{address}.{}` {}", objection.field, objection.message)
}
