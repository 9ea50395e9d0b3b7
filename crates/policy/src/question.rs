//! Owns the question a policy set answers: who, what, on which, in which context, among which entities.

use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use provision_diagnostic::{Code, Failure};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::str::FromStr;

/// The uid of an entity. In data it is `Type::"id"` or `{type, id}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct EntityRef {
    /// The qualified type, `Provision::User`.
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
}

impl EntityRef {
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into() }
    }

    /// Cedar's own form of it.
    pub(crate) fn uid(&self, what: &str) -> Result<EntityUid, Failure> {
        match EntityTypeName::from_str(&self.kind) {
            Ok(kind) => Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(&self.id))),
            Err(_) => {
                Err(Failure::new(Code::PolicyRequest, format!("the {what}'s type `{}` is not a type name", self.kind))
                    .with_help("Give the entity as `Type::\"id\"` or `{type, id}`."))
            }
        }
    }
}

impl std::fmt::Display for EntityRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}::\"{}\"", self.kind, self.id.escape_debug())
    }
}

impl FromStr for EntityRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((kind, id)) = plain(text) {
            return Ok(Self::new(kind, id));
        }
        match EntityUid::from_str(text.trim()) {
            Ok(uid) => {
                let id: &str = uid.id().unescaped();
                Ok(Self::new(uid.type_name().to_string(), id))
            }
            Err(_) => Err(format!("`{text}` is not an entity; write it as `Type::\"id\"` or `{{type, id}}`")),
        }
    }
}

/// Type and id where neither needs a parser: plain names, and an id without escapes. The type is read later.
fn plain(text: &str) -> Option<(&str, &str)> {
    let (kind, id) = text.strip_suffix('"')?.split_once("::\"")?;
    let name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
    };
    (kind.split("::").all(name) && !id.contains(['"', '\\'])).then_some((kind, id))
}

impl<'de> Deserialize<'de> for EntityRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let pair = value.get("__entity").unwrap_or(&value);
        match (pair.get("type").and_then(Value::as_str), pair.get("id").and_then(Value::as_str), value.as_str()) {
            (_, _, Some(text)) => text.parse().map_err(serde::de::Error::custom),
            (Some(kind), Some(id), None) => Ok(Self::new(kind, id)),
            _ => Err(serde::de::Error::custom(format!(
                "{value} is not an entity; write it as `Type::\"id\"` or `{{type, id}}`"
            ))),
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub principal: EntityRef,
    pub action: EntityRef,
    pub resource: EntityRef,
    #[serde(default = "empty_record", deserialize_with = "record_or_null")]
    pub context: Value,
    /// Cedar JSON rows `{uid, attrs, parents}`, beside those the authorizer was made with.
    #[serde(default, deserialize_with = "list_or_null")]
    pub entities: Vec<Value>,
}

fn empty_record() -> Value {
    Value::Object(serde_json::Map::new())
}

fn record_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Ok(Option::<Value>::deserialize(deserializer)?.unwrap_or_else(empty_record))
}

fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(Option::<Vec<Value>>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_of_an_entity_mean_the_same() {
        let expected = EntityRef::new("Provision::User", "a \"b\"");
        assert_eq!(serde_json::from_value::<EntityRef>(json!("Provision::User::\"a \\\"b\\\"\"")).unwrap(), expected);
        assert_eq!(
            serde_json::from_value::<EntityRef>(json!({"type": "Provision::User", "id": "a \"b\""})).unwrap(),
            expected
        );
        assert_eq!(expected.to_string().parse::<EntityRef>().unwrap(), expected);
        assert!(serde_json::from_value::<EntityRef>(json!("alice")).unwrap_err().to_string().contains("`alice`"));
    }
}
