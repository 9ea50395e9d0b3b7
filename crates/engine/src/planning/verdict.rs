//! Owns what a plan decides about one resource: nothing, a change in place, a replacement, and why.

use crate::configuration::desired::{Triggers, left_alone, needs};
use crate::observation::others::leave_out;
use crate::observation::refresh::current_fields;
use crate::planning::planner::Planner;
use provision_diagnostic::Code;
use provision_model::{
    Action, Address, Change, Comparison, Declaration, Disruption, FieldSpec, Json, Map, Problem, Resource, compare,
};
use provision_registry::TypeSpec;
use serde_json::json;
use std::collections::BTreeSet;

pub struct Verdict {
    pub action: Action,
    pub reason: String,
    pub changes: Vec<Change>,
    pub changed: Vec<String>,
    pub disruption: Disruption,
    /// Fields that are more in the cloud than they should be and cannot become less: they stay as they are.
    pub grown: Vec<String>,
}

impl Verdict {
    /// Replaces a resource whose `replace_when` came to something else, or to what is not known yet.
    pub fn trigger(&mut self, found: Option<Triggers>, resource: &Resource) {
        if !matches!(self.action, Action::NoOp | Action::Update) {
            return;
        }
        let reason = match (found, &resource.triggers) {
            (Some(Triggers::Later), _) => "a value of `replace_when` is known only after apply",
            (Some(Triggers::Known(now)), Some(before)) if now != *before => "a value of `replace_when` changed",
            // It is noted from now on; that it was written is no reason to replace what is there.
            (Some(Triggers::Known(_)), None) if self.action == Action::NoOp => {
                self.action = Action::Update;
                self.reason = "`replace_when` is noted".to_owned();
                return;
            }
            _ => return,
        };
        self.action = Action::Replace;
        self.reason = reason.to_owned();
        self.disruption = Disruption::Replace;
    }

    /// What can only grow and is to become less, each at its place.
    pub fn shrinking<'a>(
        &'a self,
        declaration: &'a Declaration,
        spec: &'a TypeSpec,
    ) -> impl Iterator<Item = Problem> + 'a {
        let shrinks = move |change: &&Change| {
            self.action == Action::Update
                && spec.fields.get(&change.path).is_some_and(|field| field.grows)
                && !self.grown.contains(&change.path)
                && is_less(&change.after, Some(&change.before))
        };
        self.changes.iter().filter(shrinks).map(|change| {
            let (field, before) = (&change.path, &change.before);
            let mut path = declaration.path.clone();
            path.push(field.as_str().into());
            let message = format!("`{}` has a {field} of {before}, which can only grow", declaration.address);
            Problem::value(Code::PlanShrinks, message, &path).help(format!(
                "Write {before} or more, or make a new one: `provision state replace {}`.",
                declaration.address
            ))
        })
    }

    /// Says what has grown and stays so; one that is replaced has the size of the file again.
    fn with_grown(mut self, grown: Vec<String>, current: &Map, desired: &Map) -> Self {
        if self.action == Action::Replace {
            return self;
        }
        for field in &grown {
            let value = |map: &Map| map.get(field).cloned().unwrap_or(Json::Null);
            let (before, after) = (value(current), value(desired));
            let told = format!(
                "{field} is {before} and can only grow: write {before} instead of {after}, or mark the resource for replacement"
            );
            self.reason = match self.action {
                Action::NoOp if self.changes.is_empty() => told,
                _ => format!("{}; {told}", self.reason),
            };
            let path = field.clone();
            self.changes.push(Change { path, before, after, sensitive: false, forces_replacement: false });
        }
        Self { grown, ..self }
    }

    /// A replacement because of what a resource is, or whose.
    fn elsewhere(path: &str, before: &str, after: &str, reason: &str) -> Self {
        let (before, after) = (Json::from(before), Json::from(after));
        let change = Change { path: path.to_owned(), before, after, sensitive: false, forces_replacement: true };
        Self { changes: vec![change], disruption: Disruption::Replace, ..Self::new(Action::Replace, reason) }
    }

    pub fn new(action: Action, reason: &str) -> Self {
        Self {
            action,
            reason: reason.to_owned(),
            changes: Vec::new(),
            changed: Vec::new(),
            disruption: Disruption::Update,
            grown: Vec::new(),
        }
    }
}

impl Planner<'_> {
    pub fn verdict(
        &self,
        declaration: &Declaration,
        spec: &TypeSpec,
        desired: &Map,
        resource: Option<&Resource>,
    ) -> Verdict {
        let Some(resource) = resource else { return Verdict::new(Action::Create, "new") };
        let remote = match self.world.resources.get(&resource.address) {
            Some(None) => return Verdict::new(Action::Create, "gone from the cloud"),
            Some(Some(remote)) => Some(remote),
            None => None,
        };
        if resource.kind != declaration.kind {
            return Verdict::elsewhere("$type", &resource.kind, &declaration.kind, "its type changed");
        }
        if resource.account != declaration.account {
            return Verdict::elsewhere("$provider", &resource.account, &declaration.account, "its account changed");
        }
        if resource.marked && !self.healing {
            return Verdict::new(Action::Replace, "its replacement was asked for (`provision state replace`)");
        }
        if resource.tainted {
            return Verdict::new(Action::Replace, "tainted: a secret it needs was lost");
        }
        let mut current = current_fields(resource, remote);
        current.extend(remote.map(|remote| remote.said_as(&spec.fields, desired)).unwrap_or_default());
        // What was never ours to set is not drift.
        current.retain(|field, _| desired.contains_key(field) || resource.inputs.contains_key(field));
        leave_out(spec, &mut current, desired, &resource.inputs);
        let sealed_equal = |plain: &Json, sealed: &Json| self.on.store.sealer().is_same(plain, sealed);
        let mut ignore = left_alone(spec, &declaration.lifecycle.ignore);
        // Whoever let a disk grow cannot be answered by making it smaller, and nothing else must wait for that. What the
        // file itself makes less is a mistake in it.
        let grown = |(name, field): &(&String, &FieldSpec)| {
            let applied = resource.inputs.get(*name);
            field.grows
                && !ignore.contains(name)
                && is_less(desired.get(*name).unwrap_or(&Json::Null), current.get(*name))
                && applied.is_none_or(|applied| is_less(applied, current.get(*name)))
        };
        let grown: Vec<String> = spec.fields.iter().filter(grown).map(|(name, _)| name.clone()).collect();
        ignore.extend(grown.iter().cloned());
        let Comparison { mut changes, disruption, fields } =
            compare(&spec.fields, desired, &current, &ignore, &sealed_equal);
        // Protection is only ever added by the configuration; `provision state unprotect` takes it away.
        let flags = [
            ("lifecycle.protect", resource.protect, declaration.lifecycle.protect || resource.protect),
            ("lifecycle.retain", resource.retain, declaration.lifecycle.retain),
        ];
        let mut add = |path: &str, before: Json, after: Json| {
            changes.push(Change { path: path.to_owned(), before, after, sensitive: false, forces_replacement: false });
        };
        for (path, before, after) in flags.into_iter().filter(|(_, before, after)| before != after) {
            add(path, Json::from(before), Json::from(after));
        }
        if resource.address != declaration.address {
            add("address", Json::from(resource.address.as_str()), Json::from(declaration.address.as_str()));
        }
        if let Some(status) = &resource.restore {
            let now = remote.and_then(|remote| spec.word(remote)).map(String::as_str);
            add("status", now.map_or(Json::Null, Json::from), Json::from(status.as_str()));
        }
        // What it needs decides when it may go, long after this; where more changes, it is written down anyway.
        let needed: BTreeSet<String> = needs(declaration).iter().map(|it| self.known_as(it).to_string()).collect();
        let before: BTreeSet<String> = resource.depends_on.iter().map(Address::to_string).collect();
        if changes.is_empty() && needed != before {
            let (before, after) = (json!(before), json!(needs(declaration)));
            let path = "depends_on".to_owned();
            changes.push(Change { path, before, after, sensitive: false, forces_replacement: false });
        }
        if changes.is_empty() {
            return Verdict::new(Action::NoOp, "as it should be").with_grown(grown, &current, desired);
        }
        let names: Vec<&str> = match fields.is_empty() {
            true if resource.restore.is_some() => vec!["status"],
            true if resource.address != declaration.address => vec!["address"],
            true if changes.iter().all(|change| change.path == "depends_on") => vec!["depends_on"],
            true => vec!["lifecycle"],
            false => fields.iter().map(String::as_str).collect(),
        };
        let (action, reason) = match disruption {
            Disruption::Replace => {
                let forcing: Vec<&str> =
                    changes.iter().filter(|it| it.forces_replacement).map(|it| it.path.as_str()).collect();
                (Action::Replace, format!("{} cannot be changed in place", forcing.join(", ")))
            }
            Disruption::Restart => (Action::Update, format!("{} changed; needs a restart", names.join(", "))),
            Disruption::Update => (Action::Update, format!("{} changed", names.join(", "))),
        };
        let verdict = Verdict { changes, disruption, changed: fields, ..Verdict::new(action, &reason) };
        verdict.with_grown(grown, &current, desired)
    }
}

/// Whether a number is less than another.
fn is_less(after: &Json, before: Option<&Json>) -> bool {
    let number = |value: &Json| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number(after).zip(before.and_then(number)).is_some_and(|(after, before)| after < before)
}
