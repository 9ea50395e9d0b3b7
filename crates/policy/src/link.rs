//! Owns linking templates: each slot filled, the result an ordinary policy.

use crate::question::EntityRef;
use crate::set::{PolicySet, PolicySource};
use cedar_policy::{PolicyId, SlotId};
use provision_diagnostic::{Code, Failure, nearest};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What to put into the slots of a template.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Link {
    pub template: String,
    /// The id of the new policy.
    pub id: String,
    #[serde(default)]
    pub principal: Option<EntityRef>,
    #[serde(default)]
    pub resource: Option<EntityRef>,
}

/// A template whose slots are filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkedPolicy {
    pub id: String,
    pub template: String,
    pub effect: String,
    pub principal: Option<String>,
    pub resource: Option<String>,
    /// Where the template stands.
    pub file: String,
    pub line: usize,
    /// The policy as Cedar text with its `@id`, which `--policies` takes.
    pub text: String,
}

impl PolicySet {
    /// Fills the slots of a template of this set.
    pub fn link(&self, link: &Link) -> Result<LinkedPolicy, Failure> {
        let template = self.cedar.template(&PolicyId::new(&link.template)).ok_or_else(|| {
            let known: Vec<String> = self.cedar.templates().map(|template| template.id().to_string()).collect();
            let help = match nearest(&link.template, known.iter().map(String::as_str)) {
                Some(near) => format!("Did you mean `{near}`?"),
                None if known.is_empty() => {
                    "These policies have no template: no policy with `?principal` or `?resource`.".to_owned()
                }
                None => format!("The templates are {}.", known.join(", ")),
            };
            Failure::new(Code::PolicyParse, format!("there is no template `{}`", link.template)).with_help(help)
        })?;
        let mut values = HashMap::new();
        for (slot, given, name) in
            [(SlotId::principal(), &link.principal, "principal"), (SlotId::resource(), &link.resource, "resource")]
        {
            let wanted = template.slots().any(|other| *other == slot);
            match (wanted, given) {
                (true, Some(entity)) => {
                    values.insert(slot, entity.uid(name)?);
                }
                (false, None) => {}
                (true, None) => {
                    return Err(Failure::new(Code::PolicyRequest, format!("`{}` needs a {name}", link.template))
                        .with_help(format!("Give the row a column `{name}`.")));
                }
                (false, Some(_)) => {
                    return Err(Failure::new(
                        Code::PolicyRequest,
                        format!("`{}` has no slot `?{name}`", link.template),
                    )
                    .with_help(format!("Leave `{name}` out, or null.")));
                }
            }
        }
        let told = |error: &dyn std::fmt::Display| Failure::new(Code::PolicyParse, error.to_string());
        let mut set = cedar_policy::PolicySet::new();
        set.add_template(template.clone()).map_err(|error| told(&error))?;
        set.link(template.id().clone(), PolicyId::new(&link.id), values).map_err(|error| told(&error))?;
        let linked = set.policy(&PolicyId::new(&link.id)).ok_or_else(|| told(&"a linked policy is missing"))?;
        let mut json = linked.to_json().map_err(|error| told(&error))?;
        if let Some(policy) = json.as_object_mut() {
            let annotations = policy.entry("annotations").or_insert_with(|| serde_json::json!({}));
            annotations["id"] = serde_json::Value::from(link.id.as_str());
        }
        let text = crate::policies_from_json(json)?;
        // The text means what the link means: it is read again.
        PolicySet::parse(&[PolicySource { name: link.id.clone(), text: text.clone() }])?;
        let info = self.info(&link.template);
        Ok(LinkedPolicy {
            id: link.id.clone(),
            template: link.template.clone(),
            effect: info.map_or_else(String::new, |info| info.effect.to_owned()),
            principal: link.principal.as_ref().map(ToString::to_string),
            resource: link.resource.as_ref().map(ToString::to_string),
            file: info.map_or_else(String::new, |info| info.file.clone()),
            line: info.map_or(0, |info| info.line),
            text,
        })
    }
}
