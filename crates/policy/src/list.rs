//! Owns listing the policies of a set: what each is about, and where it stands.

use crate::PolicySet;
use crate::value::uid_text;
use provision_diagnostic::{Code, Failure};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// What the scope asks of the principal, in Cedar syntax (`== User::"ada"`, `in Team::"web"`, `is User`); `None`
    /// for any.
    pub principal: Option<String>,
    pub action: Option<String>,
    pub resource: Option<String>,
    pub annotations: BTreeMap<String, String>,
    /// Whether it has slots to be filled by links.
    pub template: bool,
    pub file: String,
    /// From 1.
    pub line: usize,
    /// As written.
    pub text: String,
}

impl PolicySet {
    /// Every policy and template, in the order of the files.
    pub fn list(&self) -> Result<Vec<PolicyRow>, Failure> {
        let told = |error: &dyn std::fmt::Display| Failure::new(Code::PolicyParse, error.to_string());
        let mut rows = Vec::new();
        for policy in self.cedar.policies() {
            let json = policy.to_json().map_err(|error| told(&error))?;
            let at = policy.as_ref().loc().map(|at| at.span.offset()..at.span.offset() + at.span.len());
            rows.extend(self.row(policy.id().as_ref(), &json, false, at));
        }
        for template in self.cedar.templates() {
            let json = template.to_json().map_err(|error| told(&error))?;
            let at = template.as_ref().loc().map(|at| at.span.offset()..at.span.offset() + at.span.len());
            rows.extend(self.row(template.id().as_ref(), &json, true, at));
        }
        rows.sort_by_key(|(at, _)| *at);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn row(
        &self,
        id: &str,
        json: &Value,
        template: bool,
        at: Option<std::ops::Range<usize>>,
    ) -> Option<((usize, usize), PolicyRow)> {
        let info = self.info(id)?;
        let source = self.sources().get(info.source)?;
        let text = at.clone().and_then(|at| source.text.get(at)).unwrap_or_default().to_owned();
        let row = PolicyRow {
            id: id.to_owned(),
            effect: info.effect,
            principal: scope(&json["principal"]),
            action: scope(&json["action"]),
            resource: scope(&json["resource"]),
            annotations: info.annotations.clone(),
            template,
            file: info.file.clone(),
            line: info.line,
            text,
        };
        Some(((info.source, at.map_or(0, |at| at.start)), row))
    }
}

/// One part of a scope, of its JSON form (<https://docs.cedarpolicy.com/policies/json-format.html>).
fn scope(part: &Value) -> Option<String> {
    let one = |part: &Value| match part.get("entity") {
        Some(entity) => uid_text(entity),
        None => part["slot"].as_str().unwrap_or_default().to_owned(),
    };
    match part["op"].as_str()? {
        "==" => Some(format!("== {}", one(part))),
        "in" => Some(match part["entities"].as_array() {
            Some(all) => format!("in [{}]", all.iter().map(uid_text).collect::<Vec<_>>().join(", ")),
            None => format!("in {}", one(part)),
        }),
        "is" => {
            let kind = part["entity_type"].as_str().unwrap_or_default();
            match part.get("in") {
                Some(above) => Some(format!("is {kind} in {}", one(above))),
                None => Some(format!("is {kind}")),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{PolicySet, PolicySource};

    #[test]
    fn every_policy_has_its_scope_its_place_and_its_text() {
        let text = "@id(\"all\")\npermit(principal, action, resource);\n\nforbid(principal is A::User in Team::\"web\", action in [Action::\"x\", Action::\"y\"], resource == ?resource)\nwhen { context.now };\n";
        let set = PolicySet::parse(&[PolicySource { name: "a.cedar".into(), text: text.into() }]).unwrap();
        let rows = set.list().unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].id.as_str(), rows[0].effect, &rows[0].principal, rows[0].line),
            ("all", "permit", &None, 1)
        );
        assert_eq!(rows[1].principal.as_deref(), Some("is A::User in Team::\"web\""));
        assert_eq!(rows[1].action.as_deref(), Some("in [Action::\"x\", Action::\"y\"]"));
        assert_eq!((rows[1].resource.as_deref(), rows[1].template, rows[1].line), (Some("== ?resource"), true, 4));
        assert!(rows[1].text.starts_with("forbid(") && rows[1].text.ends_with("};"));
    }
}
