//! Owns the Cedar questions of plan rows: who wants to do what to which resource, in which context. Pure.

use crate::actor::Actor;
use crate::planning::known::{holds_unknown, is_unknown};
use crate::planning::planned::{Plan, PlannedRow};
use crate::policy::people::{GROUP, People, USER};
use crate::workspace::Workspace;
use provision_model::{
    Action, Address, FieldSpec, FieldType, Json, Map, PackedQuestion, Question, Time, is_later, type_name, unknown,
};
use provision_registry::{Manifest, TypeSpec};
use serde_json::json;
use std::collections::HashMap;

/// The attribute with the fields as they are now, before the change. It is the resource's, not the context's, because only
/// there it has the type's own types.
const BEFORE: &str = "before";

/// Makes the questions of one plan.
pub struct Questions<'a> {
    on: &'a Workspace,
    by: &'a Actor,
    project: String,
    plan_totals: Json,
    subset_totals: Json,
    after: Json,
    time: Time,
    people: &'a People,
    /// Who wants it.
    asker: String,
}

/// How many rows do what.
pub fn totals<'a>(rows: impl Iterator<Item = &'a PlannedRow>) -> Json {
    let mut counts = [0i64; 4];
    for planned in rows {
        match planned.row.action {
            Action::Create => counts[0] += 1,
            Action::Update => counts[1] += 1,
            Action::Replace => counts[2] += 1,
            Action::Delete => counts[3] += 1,
            Action::Adopt | Action::Forget | Action::NoOp => {}
        }
    }
    let all: i64 = counts.iter().sum();
    json!({"create": counts[0], "update": counts[1], "replace": counts[2], "delete": counts[3], "resources": all})
}

impl<'a> Questions<'a> {
    /// For a whole plan, at the time it was made.
    pub fn new(on: &'a Workspace, by: &'a Actor, people: &'a People, plan: &Plan) -> Self {
        Self::of_subset(on, by, people, plan, &plan.rows.iter().collect::<Vec<_>>(), plan.created_at)
    }

    /// For some rows of a plan, at a time.
    pub fn of_subset(
        on: &'a Workspace,
        by: &'a Actor,
        people: &'a People,
        plan: &Plan,
        subset: &[&PlannedRow],
        time: Time,
    ) -> Self {
        let mut after = totals(plan.rows.iter());
        after["resources"] = Json::from(plan.resources_after);
        Self {
            on,
            by,
            project: plan.project.clone(),
            plan_totals: totals(plan.rows.iter()),
            subset_totals: totals(subset.iter().copied()),
            after,
            time,
            people,
            asker: by.id.clone(),
        }
    }

    /// The same, asked by somebody else.
    pub fn asked_by(self, user: &str) -> Self {
        Self { asker: user.to_owned(), ..self }
    }

    /// The questions about a row as it stands in a plan, asked by who applies it now: other people, another time. A
    /// replacement must also pass as what it does.
    pub fn again(&self, planned: &PlannedRow) -> Vec<(Action, Question)> {
        let mut question = planned.row.request.unpacked();
        question.context = self.of(planned, &Map::new(), planned.row.action).context;
        question.principal = json!({"type": USER, "id": self.asker});
        question.entities.retain(|row| ![USER, GROUP].contains(&row["uid"]["type"].as_str().unwrap_or_default()));
        question.entities.extend(self.people.of(&self.asker));
        let actions: &[Action] = match planned.row.action {
            Action::Replace if planned.lifecycle.retain => &[Action::Replace, Action::Forget, Action::Create],
            Action::Replace => &[Action::Replace, Action::Delete, Action::Create],
            _ => std::slice::from_ref(&planned.row.action),
        };
        let asked = |action: &Action| {
            // What goes may be of another type than what comes.
            if planned.place(*action).kind != planned.row.kind {
                return (*action, self.of(planned, &Map::new(), *action));
            }
            let named = json!({"type": "Provision::Action", "id": action.name()});
            (*action, Question { action: named, ..question.clone() })
        };
        actions.iter().map(asked).collect()
    }

    /// The question whether a row may do `action`, with these fields; what is not known yet or secret is marked unknown.
    /// The deletion of something of another type than what replaces it is asked with its own fields.
    pub fn of(&self, planned: &PlannedRow, fields: &Map, action: Action) -> Question {
        let row = &planned.row;
        let kind = planned.place(action).kind;
        let Ok((manifest, spec)) = self.on.project.registry.type_of(&kind) else { return Question::empty() };
        let type_name = type_name(&kind);
        let fields = if kind == row.kind { fields } else { &planned.prior_fields };
        let uid = |kind: &str, id: &str| json!({"type": kind, "id": id});
        let principal = uid(USER, &self.asker);
        let resource = uid(&cedar_type(manifest, type_name), row.address.as_str());
        let project = uid("Provision::Project", &self.project);
        let environment = uid("Provision::Environment", self.on.project.environment_name());
        let provider = uid("Provision::Provider", &manifest.name);
        let mut facts = Facts::of(spec, fields);
        facts.attributes.insert("address".into(), Json::from(row.address.as_str()));
        let of_this_type = planned.place(Action::Delete).kind == row.kind;
        if of_this_type && !planned.prior_fields.is_empty() && !spec.fields.contains_key(BEFORE) {
            let before = Facts::of(spec, &planned.prior_fields).attributes;
            facts.attributes.insert(BEFORE.into(), Json::Object(before));
        }
        let mut entity = json!({
            "uid": resource, "attrs": facts.attributes, "parents": [project, environment, provider],
        });
        if has_tags(spec) {
            entity["tags"] = if facts.unknown_tags { unknown() } else { Json::Object(facts.tags) };
        }
        let disruption = serde_json::to_value(planned.disruption).unwrap_or(Json::Null);
        let mut entities = vec![
            entity,
            json!({"uid": project, "attrs": {}, "parents": [environment]}),
            json!({"uid": environment, "attrs": {}, "parents": []}),
            json!({"uid": provider, "attrs": {}, "parents": []}),
        ];
        entities.extend(self.people.of(&self.asker));
        Question {
            principal,
            action: uid("Provision::Action", action.name()),
            resource,
            context: json!({
                "environment": self.on.project.environment_name(),
                "source": self.by.source,
                "time": {"__extn": {"fn": "datetime", "arg": self.time.to_millis()}},
                "approvals": [],
                "disruption": disruption,
                "protected": planned.lifecycle.protect,
                "plan": self.plan_totals,
                "subset": self.subset_totals,
                "after": self.after,
            }),
            entities,
        }
    }
}

/// Gives the rows of a plan their questions, as far as `desired` knows the fields of each.
pub(crate) fn attach(on: &Workspace, by: &Actor, people: &People, plan: &mut Plan, desired: &HashMap<Address, Map>) {
    let questions = Questions::new(on, by, people, plan);
    let asked = |planned: &PlannedRow| {
        let fields = desired.get(&planned.row.address).unwrap_or(&planned.inputs);
        PackedQuestion::from(questions.of(planned, fields, planned.row.action))
    };
    let requests: Vec<PackedQuestion> = plan.rows.iter().map(asked).collect();
    for (planned, request) in plan.rows.iter_mut().zip(requests) {
        planned.row.request = request;
    }
}

/// What Cedar is told of a resource's fields. Those that the type marks as sensitive are left out.
struct Facts {
    attributes: Map,
    tags: Map,
    unknown_tags: bool,
}

impl Facts {
    fn of(spec: &TypeSpec, fields: &Map) -> Self {
        let mut facts = Facts { attributes: Map::new(), tags: Map::new(), unknown_tags: false };
        for (name, rule) in &spec.fields {
            if rule.sensitive {
                continue;
            }
            let Some(value) = fields.get(name).filter(|value| !value.is_null()) else {
                // Every resource has it: of one that was taken in, the cloud does not show it.
                if rule.required && !matches!(rule.kind, FieldType::Map(_)) {
                    facts.attributes.insert(name.clone(), unknown());
                }
                continue;
            };
            // A secret that the type does not know as one is there all the same: a policy must not pass for want of it.
            match (&rule.kind, value) {
                (FieldType::Map(_), _) if is_later(value) || is_unknown(value) => facts.unknown_tags = true,
                (FieldType::Map(_), Json::Object(map)) => {
                    facts.tags.extend(map.iter().map(|(key, item)| (key.clone(), scalar(item))));
                }
                _ => {
                    if let Some(value) = attribute(rule, value) {
                        facts.attributes.insert(name.clone(), value);
                    }
                }
            }
        }
        facts
    }
}

fn has_tags(spec: &TypeSpec) -> bool {
    spec.fields.values().any(|field| matches!(field.kind, FieldType::Map(_)))
}

fn scalar(value: &Json) -> Json {
    match value {
        Json::String(_) => value.clone(),
        _ if is_later(value) || is_unknown(value) => unknown(),
        other => Json::from(other.to_string()),
    }
}

/// A field as a Cedar value; `None` for what the schema has no type for.
fn attribute(rule: &FieldSpec, value: &Json) -> Option<Json> {
    if holds_unknown(value) {
        return Some(unknown());
    }
    typed(&rule.kind, value)
}

fn typed(kind: &FieldType, value: &Json) -> Option<Json> {
    Some(match (kind, value) {
        (FieldType::Any | FieldType::Map(_), _) | (_, Json::Null) => return None,
        (FieldType::Number, Json::Number(number)) => {
            let text = number.to_string();
            let text = if text.contains('.') { text } else { format!("{text}.0") };
            json!({"__extn": {"fn": "decimal", "arg": text}})
        }
        (FieldType::Int, Json::String(text)) => Json::from(text.parse::<i64>().ok()?),
        (FieldType::String, Json::Number(number)) => Json::from(number.to_string()),
        (FieldType::List(inner), Json::Array(items)) => items.iter().filter_map(|item| typed(inner, item)).collect(),
        (FieldType::Record(fields), Json::Object(map)) => Json::Object(
            map.iter()
                .filter_map(|(name, item)| {
                    let rule = fields.get(name).filter(|rule| !rule.sensitive)?;
                    Some((name.clone(), typed(&rule.kind, item)?))
                })
                .collect(),
        ),
        _ => value.clone(),
    })
}

/// The manifest's own name for the resource in Cedar.
fn cedar_type(manifest: &Manifest, type_name: &str) -> String {
    format!("{}::{}", manifest.cedar_namespace(), provision_registry::pascal(type_name))
}
