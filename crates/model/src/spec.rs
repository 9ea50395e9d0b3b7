//! Owns field specifications: what a resource type's field is, when it can be seen, and what changing it costs.

use crate::{Json, Normal, Problem, Step};
use indexmap::IndexMap;
use provision_diagnostic::Code;
use serde::{Deserialize, Serialize};

/// The type of a field. In a manifest: `"string"`, `{ list = "string" }`, `{ record = { port = { type = "int" } } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    String,
    Int,
    Number,
    Bool,
    /// Anything; left out of policies.
    Any,
    List(Box<FieldType>),
    /// Free keys, values of one type; string maps are labels or tags.
    Map(Box<FieldType>),
    Record(IndexMap<String, FieldSpec>),
}

/// How a cloud lets a field be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visible {
    /// In the answer of a list call.
    #[default]
    List,
    /// Only when the resource is read by id.
    Read,
    /// Never: what was last sent is all that is known.
    Never,
}

/// What changing a field does to a running resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    #[default]
    Update,
    Restart,
    Replace,
}

/// How a value is written on the wire where it is not plain JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encode {
    /// Numbers as text.
    Text,
    /// Booleans as `"yes"` and `"no"`.
    YesNo,
    /// Booleans as `"on"` and `"off"`.
    OnOff,
    /// A map as a list of `{key, value}`.
    KeyValue,
    /// Text as base64.
    Base64,
    /// A map as a list of texts, `key:value`.
    Tags,
}

/// How a type's resources are recognised after an answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityClass {
    /// The create carries our labels or tags; search by them.
    Tagged,
    /// The cloud allows one per key under a parent.
    Keyed,
    /// One call replaces the whole list.
    WholeSet,
    /// None of these: the ids before and after are compared.
    Anonymous,
}

/// One field of a resource type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    #[serde(rename = "type")]
    pub kind: FieldType,
    #[serde(default)]
    pub doc: String,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub default: Option<Json>,
    /// The default is the cloud name (`<project>-<address>`).
    #[serde(default)]
    pub default_name: bool,
    #[serde(default)]
    pub visible: Visible,
    /// Path in the answer that an import takes its value from, though it is never compared with what was sent.
    #[serde(default)]
    pub adopt: Option<String>,
    #[serde(default)]
    pub on_change: Disruption,
    #[serde(default)]
    pub sensitive: bool,
    /// Shown by the cloud once, in the answer to the create.
    #[serde(default)]
    pub returned_once: bool,
    /// Path in the request; the field's own name when absent. `a[].b` maps over a list. `""` is not sent.
    #[serde(default)]
    pub wire: Option<String>,
    /// Path in the answer; `wire` when absent.
    #[serde(default)]
    pub read: Option<String>,
    #[serde(default)]
    pub encode: Option<Encode>,
    /// The catalogue of the provider that lists the valid values.
    #[serde(default)]
    pub catalog: Option<String>,
    #[serde(default)]
    pub one_of: Vec<String>,
    /// The one form of a value that can be written in several.
    #[serde(default)]
    pub normalise: Option<Normal>,
    /// Other spellings of a text, each with the one that the cloud shows.
    #[serde(default)]
    pub spellings: IndexMap<String, String>,
    /// A list of records: an item is as many as these lists of it have members, one member each. The cloud puts together what
    /// agrees in the rest.
    #[serde(default)]
    pub split: Vec<String>,
    /// Taken out of the file, it keeps what the cloud has: the cloud has no word for none.
    #[serde(default)]
    pub keep: bool,
    /// A number that the cloud lets become more, never less.
    #[serde(default)]
    pub grows: bool,
    /// Taken out of the file, it is taken away in the cloud, which has a call for that: what a volume is attached to. Not
    /// written in a manifest, but found in the steps of its type.
    #[serde(skip)]
    pub detaches: bool,
    /// Set by a call of its own after the creation, and changed in place, so what it refers to may be created later. Not
    /// written in a manifest, but found in the steps of its type.
    #[serde(skip)]
    pub late: bool,
    /// What the cloud sets it to when it creates the resource.
    #[serde(default)]
    pub initial: Option<Json>,
    /// Other fields, each with the values it goes with: with any other value the cloud refuses this field and shows a
    /// number of its own.
    #[serde(default)]
    pub only_with: IndexMap<String, Vec<String>>,
    /// What an item of a list has that comes and goes without `on_change`. Not written in a manifest, but found in the
    /// steps of its type.
    #[serde(skip)]
    pub movable: crate::Map,
    /// The attribute that is another name of the same value: what is equal to it is equal.
    #[serde(default)]
    pub also: Option<String>,
    /// A list whose order means nothing.
    #[serde(default)]
    pub unordered: bool,
    /// The fields it is worked out from: when one of them changes, its value is known only after apply, unless its provider
    /// says what it will be.
    #[serde(default)]
    pub follows: Vec<String>,
    /// A value to try it with; `{"$ref": …}` points at one of the resources that the type `needs`.
    #[serde(default)]
    pub example: Option<Json>,
    /// Another one, to try a change with.
    #[serde(default)]
    pub other: Option<Json>,
}

impl FieldSpec {
    /// The other field whose value does not go with this one, among the fields of a resource.
    pub fn barred_by(&self, fields: &crate::Map) -> Option<&str> {
        let bars = |(other, allowed): &(&String, &Vec<String>)| match fields.get(*other) {
            Some(value) if is_later(value) || value.get("$unknown").is_some() => false,
            value => !value.and_then(Json::as_str).is_some_and(|text| allowed.iter().any(|one| one == text)),
        };
        self.only_with.iter().find(bars).map(|(other, _)| other.as_str())
    }
}

impl FieldType {
    /// Whether it holds any number of values rather than one.
    pub fn is_many(&self) -> bool {
        matches!(self, FieldType::List(_) | FieldType::Map(_))
    }

    /// The name users see in a message.
    pub fn name(&self) -> String {
        match self {
            FieldType::String => "a string".into(),
            FieldType::Int => "an integer".into(),
            FieldType::Number => "a number".into(),
            FieldType::Bool => "a boolean".into(),
            FieldType::Any => "anything".into(),
            FieldType::List(_) => "a list".into(),
            FieldType::Map(_) | FieldType::Record(_) => "a record".into(),
        }
    }

    /// Collects what is wrong with a value of this type. References (`$ref`, `$env`, …) stand for any value.
    pub fn check(&self, value: &Json, path: &mut Vec<Step>, problems: &mut Vec<Problem>) {
        if is_later(value) {
            return;
        }
        let fits = match (self, value) {
            // Null stands for absence; whether a field may be absent is said elsewhere.
            (FieldType::Any, _) | (_, Json::Null) => true,
            (FieldType::String, Json::String(_)) | (FieldType::Bool, Json::Bool(_)) => true,
            (FieldType::Int, Json::Number(number)) => number.is_i64() || number.is_u64(),
            (FieldType::Number, Json::Number(_)) => true,
            (FieldType::List(inner), Json::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    inner.check(item, path, problems);
                    path.pop();
                }
                true
            }
            (FieldType::Map(inner), Json::Object(map)) => {
                for (key, item) in map {
                    path.push(Step::Field(key.clone()));
                    inner.check(item, path, problems);
                    path.pop();
                }
                true
            }
            (FieldType::Record(fields), Json::Object(map)) => {
                check_fields(fields, map, &[], path, problems);
                true
            }
            _ => false,
        };
        if !fits {
            problems.push(
                Problem::value(
                    Code::PlanType,
                    format!("`{}` takes {}, not {}", crate::display_path(path), self.name(), kind_of(value)),
                    path,
                )
                .help(format!("Give `{}` {}.", last(path), self.name())),
            );
        }
    }

    /// The type at the rest of a path into a value of this type; `None` where there is none.
    pub fn at(&self, rest: &[&str]) -> Option<&FieldType> {
        let Some((first, rest)) = rest.split_first() else { return Some(self) };
        match self {
            FieldType::Any => Some(self),
            FieldType::List(inner) => first.parse::<usize>().ok().and_then(|_| inner.at(rest)),
            FieldType::Map(inner) => inner.at(rest),
            FieldType::Record(fields) => fields.get(*first)?.kind.at(rest),
            _ => None,
        }
    }

    /// Whether a value of `other` can stand where this type is asked for; scalars are converted into each other.
    pub fn accepts(&self, other: &FieldType) -> bool {
        use FieldType::{Any, Bool, Int, List, Map, Number, Record, String};
        match (self, other) {
            (Any, _) | (_, Any) => true,
            (String, Int | Number | String | Bool) | (Int, Int) | (Number, Int | Number) | (Bool, Bool) => true,
            (List(a), List(b)) | (Map(a), Map(b)) => a.accepts(b),
            (Map(_), Record(_)) | (Record(_), Map(_) | Record(_)) => true,
            _ => false,
        }
    }
}

/// Whether a value is known only later: a reference of some kind.
pub fn is_later(value: &Json) -> bool {
    value
        .as_object()
        .is_some_and(|map| ["$ref", "$env", "$secret", "$join", "$lookup"].iter().any(|key| map.contains_key(*key)))
}

/// Checks the fields of a record: unknown names (with the nearest), missing ones, wrong types, closed choices.
pub fn check_fields(
    fields: &IndexMap<String, FieldSpec>,
    map: &crate::Map,
    reserved: &[&str],
    path: &mut Vec<Step>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in map {
        if reserved.contains(&name.as_str()) {
            continue;
        }
        path.push(Step::Field(name.clone()));
        match fields.get(name) {
            None => {
                let help = provision_diagnostic::did_you_mean(name, fields.keys().map(String::as_str), || {
                    format!(
                        "The fields are {}.",
                        fields.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
                    )
                });
                problems.push(
                    Problem::key(
                        Code::PlanUnknownField,
                        format!("unknown field `{}`", crate::display_path(path)),
                        path,
                    )
                    .help(help),
                );
            }
            Some(_) if value.is_null() => {}
            Some(spec) => {
                spec.kind.check(value, path, problems);
                if let (false, Some(text)) = (spec.one_of.is_empty(), value.as_str())
                    && !spec.one_of.iter().any(|choice| choice == text)
                {
                    problems.push(
                        Problem::value(
                            Code::PlanUnknownValue,
                            format!("`{}` cannot be `{text}`", crate::display_path(path)),
                            path,
                        )
                        .help(provision_diagnostic::did_you_mean(
                            text,
                            spec.one_of.iter().map(String::as_str),
                            || format!("Use one of {}.", spec.one_of.join(", ")),
                        )),
                    );
                }
            }
        }
        path.pop();
    }
    for (name, spec) in fields {
        if spec.required && map.get(name).is_none_or(Json::is_null) {
            problems.push(
                Problem::value(
                    Code::PlanMissingField,
                    format!("`{}` lacks the required field `{name}`", crate::display_path(path)),
                    path,
                )
                .help(format!(
                    "Add `{name}`: {}",
                    if spec.doc.is_empty() { spec.kind.name() } else { spec.doc.clone() }
                )),
            );
        }
    }
}

fn last(path: &[Step]) -> String {
    crate::display_path(&path[path.len().saturating_sub(1)..])
}

fn kind_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "a record",
    }
}
