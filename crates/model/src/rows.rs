//! Owns the rows people see: plan rows, changes, events, recovery rows. Each is the one representation of its thing.

use crate::{Address, Json, Time, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shown in the place of a sensitive value.
pub const SENSITIVE: &str = "<sensitive>";
/// Shown in the place of a value not known until apply.
pub const UNKNOWN: &str = "<known after apply>";

/// What a plan row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Create,
    Update,
    Replace,
    Delete,
    Adopt,
    Forget,
    NoOp,
}

impl Action {
    /// The name in rows, events and Cedar (`Provision::Action::"create"`).
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Replace => "replace",
            Action::Delete => "delete",
            Action::Adopt => "adopt",
            Action::Forget => "forget",
            Action::NoOp => "no-op",
        }
    }
}

/// One changed value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Dotted path of the field.
    pub path: String,
    pub before: Json,
    pub after: Json,
    pub sensitive: bool,
    pub forces_replacement: bool,
}

impl Change {
    /// The change without its values.
    pub fn masked(&self) -> Change {
        let mask = |value: &Json| if value.is_null() { Json::Null } else { Json::from(SENSITIVE) };
        Change { before: mask(&self.before), after: mask(&self.after), sensitive: true, ..self.clone() }
    }
}

/// A Cedar question; entity uids are `{type, id}` records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    pub principal: Json,
    pub action: Json,
    pub resource: Json,
    pub context: Json,
    pub entities: Vec<Json>,
}

/// A question as text. A plan has one in each row, and as trees they would be most of its memory.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedQuestion(Box<str>);

impl PackedQuestion {
    /// The question itself.
    pub fn unpacked(&self) -> Question {
        serde_json::from_str(&self.0).unwrap_or_else(|_| Question::empty())
    }
}

impl From<Question> for PackedQuestion {
    fn from(question: Question) -> Self {
        Self(serde_json::to_string(&question).unwrap_or_default().into())
    }
}

impl JsonSchema for PackedQuestion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Question::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Question::json_schema(generator)
    }
}

impl Serialize for PackedQuestion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.unpacked().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PackedQuestion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Question::deserialize(deserializer).map(Self::from)
    }
}

impl Question {
    /// A question that asks nothing yet.
    pub fn empty() -> Self {
        let nothing = || Json::Null;
        Self { principal: nothing(), action: nothing(), resource: nothing(), context: nothing(), entities: Vec::new() }
    }
}

/// One row of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRow {
    pub address: Address,
    pub provider: String,
    /// `hetzner.server`.
    #[serde(rename = "type")]
    pub kind: String,
    pub action: Action,
    pub changes: Vec<Change>,
    pub depends_on: Vec<Address>,
    /// Why the row is there, one phrase.
    pub reason: String,
    pub request: PackedQuestion,
    /// Digest of the plan it belongs to.
    pub plan: String,
}

impl PlanRow {
    /// Whether it changes something, or says why it cannot.
    pub fn says_something(&self) -> bool {
        self.action != Action::NoOp || !self.changes.is_empty()
    }

    /// Digest of everything a hand could have changed.
    pub fn fingerprint(&self) -> String {
        digest(&serde_json::to_value(self).unwrap_or(Json::Null))
    }
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Settled,
    Authorized,
    Pending,
    Denied,
    Started,
    Waiting,
    Retrying,
    Done,
    Failed,
    InDoubt,
    Skipped,
    NotStarted,
}

/// Something that happened during an apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// RFC 3339.
    pub time: Time,
    pub address: Address,
    pub action: Action,
    pub status: Status,
    /// Counted from 1.
    pub attempt: u32,
    /// Since the operation started, in nanoseconds.
    pub elapsed: i64,
    pub remote_id: Option<String>,
    pub message: Option<String>,
}

/// What settling an open operation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was made; the resource is in the state now.
    Adopted,
    /// It took effect.
    Done,
    /// It took no effect, or only in part; the next plan decides.
    Closed,
    /// It cannot be told; a person must look.
    InDoubt,
    /// Carries our lineage and is in no state row.
    Stray,
}

/// One row of `provision recover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recovered {
    pub address: Option<Address>,
    #[serde(rename = "type")]
    pub kind: String,
    pub action: Option<Action>,
    pub outcome: Outcome,
    pub remote_id: Option<String>,
    pub message: String,
}
