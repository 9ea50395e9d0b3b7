//! Owns Cedar text ⇄ its JSON form, and the official formatting.

use crate::{PolicySet, PolicySource, tell};
use cedar_policy::{Policy, PolicyId, Template};
use cedar_policy_formatter::{Config, policies_str_to_pretty};
use provision_diagnostic::{Code, Failure, Source};
use serde_json::{Value, json};
use std::ops::Range;

/// The parts of a policy set in JSON form that hold policies under their ids.
const GROUPS: [&str; 2] = ["staticPolicies", "templates"];

/// Policies as the JSON form of a policy set
/// (<https://docs.cedarpolicy.com/policies/json-format.html#policy-set-format>), under their own ids.
pub fn policies_to_json(name: &str, text: &str) -> Result<Value, Failure> {
    crate::deep::on_deep_stack(|| to_json_here(name, text))
}

fn to_json_here(name: &str, text: &str) -> Result<Value, Failure> {
    let set = PolicySet::parse(&[PolicySource { name: name.to_owned(), text: text.to_owned() }])?;
    let shown = Some(Source { name, text });
    let mut json = set
        .cedar
        .clone()
        .to_json()
        .map_err(|error| Failure::from(tell::diagnostic(Code::PolicyParse, &error, shown)))?;
    // In the order of the text, because ids by position depend on it.
    let order: Vec<String> = set.list()?.into_iter().map(|row| row.id).collect();
    for group in GROUPS {
        if let Some(policies) = json.get_mut(group).and_then(Value::as_object_mut) {
            let place = |id: &String| order.iter().position(|other| other == id);
            let mut all: Vec<(String, Value)> = std::mem::take(policies).into_iter().collect();
            all.sort_by_key(|(id, _)| place(id));
            policies.extend(all);
        }
    }
    Ok(json)
}

/// Cedar text of a policy set in JSON form, of one policy in JSON form, or of a list of them. Ids become `@id`
/// annotations where there is none, so that they survive; linked policies become policies of their own.
pub fn policies_from_json(json: Value) -> Result<String, Failure> {
    let json = with_ids(whole(json));
    let told = |message: String| {
        Failure::new(Code::PolicyParse, message).with_help(
            "Give what `from cedar` gives: a policy set, one policy, or a list of policies in Cedar's JSON form.",
        )
    };
    let set = cedar_policy::PolicySet::from_json_value(json.clone()).map_err(|error| told(error.to_string()))?;
    let mut text = String::new();
    for (id, policy) in json[GROUPS[0]].as_object().into_iter().flatten() {
        let policy = Policy::from_json(Some(PolicyId::new(id)), policy.clone());
        text += &policy.map_err(|error| told(error.to_string()))?.to_cedar().unwrap_or_default();
        text += "\n\n";
    }
    for (id, template) in json[GROUPS[1]].as_object().into_iter().flatten() {
        let template = Template::from_json(Some(PolicyId::new(id)), template.clone());
        text += &template.map_err(|error| told(error.to_string()))?.to_cedar();
        text += "\n\n";
    }
    let mut linked: Vec<&Policy> = set.policies().filter(|policy| !policy.is_static()).collect();
    linked.sort_by_key(|policy| policy.id().to_string());
    for policy in linked {
        let mut json = policy.to_json().map_err(|error| told(error.to_string()))?;
        json["annotations"]["id"] = Value::from(policy.id().to_string());
        let filled = Policy::from_json(None, json).map_err(|error| told(error.to_string()))?;
        text += &filled.to_cedar().unwrap_or_default();
        text += "\n\n";
    }
    format("<json>", &text)
}

/// A policy set of its JSON form as text, or what is wrong and where.
pub(crate) fn read_json(text: &str) -> Result<cedar_policy::PolicySet, (String, Option<Range<usize>>)> {
    let json = crate::once::read_json(text).map_err(|error| {
        let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (before + error.column().saturating_sub(1)).min(text.len());
        (format!("the policies cannot be read as JSON: {error}"), Some(at..at))
    })?;
    cedar_policy::PolicySet::from_json_value(whole(json)).map_err(|error| (error.to_string(), None))
}

/// A whole set, where one policy or a list of policies was given.
fn whole(json: Value) -> Value {
    match json {
        Value::Array(all) => {
            let policies = all.into_iter().enumerate().map(|(at, policy)| (format!("policy{at}"), policy)).collect();
            set_of(policies)
        }
        Value::Object(one) if one.contains_key("effect") => {
            set_of([("policy0".to_owned(), Value::Object(one))].into_iter().collect())
        }
        Value::Object(mut set) => {
            for (name, empty) in [(GROUPS[0], json!({})), (GROUPS[1], json!({})), ("templateLinks", json!([]))] {
                set.entry(name).or_insert(empty);
            }
            Value::Object(set)
        }
        other => other,
    }
}

/// The set with each name that is not one by position written into the policy.
fn with_ids(mut json: Value) -> Value {
    for group in GROUPS {
        for (id, policy) in json.get_mut(group).and_then(Value::as_object_mut).into_iter().flatten() {
            let by_position = id.strip_prefix("policy").is_some_and(|rest| rest.parse::<usize>().is_ok());
            if let Some(policy) = policy.as_object_mut().filter(|_| !by_position) {
                let annotations = policy.entry("annotations").or_insert_with(|| json!({}));
                if let Some(annotations) = annotations.as_object_mut() {
                    annotations.entry("id").or_insert_with(|| Value::from(id.as_str()));
                }
            }
        }
    }
    json
}

fn set_of(policies: serde_json::Map<String, Value>) -> Value {
    json!({"staticPolicies": policies, "templates": {}, "templateLinks": []})
}

/// The official formatting, of 80 columns and two spaces.
pub fn format(name: &str, text: &str) -> Result<String, Failure> {
    // The formatter's own errors say less.
    PolicySet::parse(&[PolicySource { name: name.to_owned(), text: text.to_owned() }])?;
    let formatted = crate::deep::on_deep_stack(|| policies_str_to_pretty(text, &Config::default()));
    formatted.map_err(|error| Failure::new(Code::PolicyParse, format!("{name} cannot be formatted: {error}")))
}

/// Cedar schema syntax of a schema in JSON form.
pub fn schema_from_json(json: Value) -> Result<String, Failure> {
    let told = |error: &dyn miette::Diagnostic| Failure::from(tell::diagnostic(Code::PolicySchema, error, None));
    let fragment = cedar_policy::SchemaFragment::from_json_value(json).map_err(|error| told(&error))?;
    fragment.to_cedarschema().map_err(|error| told(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: &str = "@id(\"a\") permit(principal in Team::\"web\", action, resource) when { context.n == 3 };";

    #[test]
    fn policies_cross_to_json_and_back() {
        let json = policies_to_json("a.cedar", POLICIES).unwrap();
        assert_eq!(json["staticPolicies"]["a"]["effect"], "permit");
        let text = policies_from_json(json.clone()).unwrap();
        assert_eq!(policies_to_json("b", &text).unwrap(), json);
        let one = policies_from_json(json["staticPolicies"]["a"].clone()).unwrap();
        assert_eq!(one, text);
        assert!(policies_from_json(json!({"effect": "allow"})).is_err());
    }

    #[test]
    fn formatting_is_stable_and_errors_have_a_place() {
        let once = format("a", POLICIES).unwrap();
        assert_eq!(format("a", &once).unwrap(), once);
        let failure = format("a.cedar", "permit(principal,").unwrap_err();
        assert!(failure.first.position.is_some(), "{failure:?}");
    }

    #[test]
    fn schemas_cross_to_json_and_back() {
        let text = "entity User; action view appliesTo { principal: User, resource: User };";
        let json = crate::schema_json("s", text).unwrap();
        assert_eq!(crate::schema_json("s", &schema_from_json(json.clone()).unwrap()).unwrap(), json);
    }
}
