//! Owns the journal's shapes and its one transition function: what may be recorded after what.

use crate::Silence;
use provision_model::{Action, Address, Identity, Json, Lifecycle, Map, Time};
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// How far an operation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Written down; a call may or may not have been sent.
    Begun,
    /// What it makes is there, and its id is known.
    Created,
    /// The outcome is in the resource rows.
    Ended,
    /// Given up without effect, or with an effect that the next plan sees.
    Closed,
}

/// Something to record about an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// With what the cloud shows only once, sealed.
    Created {
        remote_id: String,
        once: Map,
    },
    /// A step begins; its predecessors are done.
    Step {
        name: String,
        at: Time,
    },
    /// The step that is under way is done, with what it gave, sealed.
    Stepped {
        result: Map,
        at: Time,
    },
    /// Nobody sends anything for it any more: its process is gone, or gave up.
    Silent(Silence),
    Ended {
        at: Time,
    },
    Closed {
        reason: String,
        at: Time,
    },
}

impl Record {
    fn name(&self) -> &'static str {
        match self {
            Record::Created { .. } => "created",
            Record::Step { .. } => "step",
            Record::Stepped { .. } => "stepped",
            Record::Silent(_) => "silent",
            Record::Ended { .. } => "ended",
            Record::Closed { .. } => "closed",
        }
    }
}

/// A record that cannot follow what an operation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IllegalTransition {
    pub subject: String,
    pub phase: Phase,
    /// The name of the record.
    pub record: &'static str,
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {:?}, and cannot be {} after that", self.subject, self.phase, self.record)
    }
}

/// One step of an operation made of several calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub begun_at: Time,
    /// When it was done; it is done, too, when one after it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// What it gave, sealed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub result: Map,
    /// Counted from 1: the same step may be begun again by whoever goes on with it.
    #[serde(default = "first")]
    pub attempt: u32,
}

fn first() -> u32 {
    1
}

/// What an operation is about.
pub trait Body: Serialize + DeserializeOwned + Clone {
    /// Tells it from other bodies where it is stored.
    const KIND: &'static str;
    /// What it is done to.
    fn subject(&self) -> String;
    /// Whether it makes something, whose id must be written down before it can end.
    fn makes(&self) -> bool;
    /// Takes in the id of what was made.
    fn made(&mut self, id: &str, once: &Map);
}

/// An operation as the journal keeps it: what is the same whatever it is about, and what it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", bound = "B: Body")]
pub struct Operation<B> {
    /// Given by the store.
    #[serde(default)]
    pub id: i64,
    /// Tells a repeated write of the same operation from another one.
    pub uid: String,
    /// The uid of the operation that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The change of the history it is part of.
    pub serial: i64,
    /// Who wants it.
    pub actor: String,
    /// The policies that allowed it.
    pub allowed_by: Vec<String>,
    pub phase: Phase,
    pub steps: Vec<Step>,
    pub begun_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// How long after it was sent a request of it may still arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way_ms: Option<u64>,
    /// Since when nobody sends anything for it any more, where it was left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Silence>,
    /// Why it was closed.
    #[serde(default)]
    pub reason: Option<String>,
    pub body: B,
}

/// A change of one resource.
pub type Entry = Operation<ResourceChange>;

/// What is done to a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResourceChange {
    pub address: Address,
    /// `hetzner.server`.
    pub kind: String,
    pub account: String,
    pub region: Option<String>,
    pub action: Action,
    /// What is being sent, sensitive values sealed.
    pub inputs: Map,
    /// The fields as they were written, references unresolved, sensitive values sealed: what the history keeps.
    #[serde(default)]
    pub declared: Map,
    #[serde(default)]
    pub lifecycle: Lifecycle,
    pub identity: Identity,
    pub generation: u64,
    pub remote_id: Option<String>,
    /// The ids of what was there before, where nothing else tells what is new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub there: Vec<String>,
    /// Attributes the cloud showed once, sealed.
    #[serde(default)]
    pub once: Map,
    /// Attributes shown once that something refers to: losing one taints the resource.
    #[serde(default)]
    pub once_wanted: Vec<String>,
    /// Digest of the plan it carries out.
    #[serde(default)]
    pub plan: String,
    /// The vendor's word for the state before the first step.
    pub prior_status: Option<String>,
    pub depends_on: Vec<Address>,
    /// Those of `depends_on` that closed a cycle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<Address>,
    /// It makes the new one of a replacement while the old one, which has the address, is there still.
    #[serde(default)]
    pub makes_first: bool,
    /// Digest of the values of `replace_when`.
    #[serde(default)]
    pub triggers: Option<String>,
    pub protect: bool,
    pub retain: bool,
}

impl Body for ResourceChange {
    const KIND: &'static str = "resource";

    fn subject(&self) -> String {
        self.address.to_string()
    }

    fn makes(&self) -> bool {
        self.action == Action::Create
    }

    fn made(&mut self, id: &str, once: &Map) {
        self.remote_id = Some(id.to_owned());
        self.once = once.clone();
    }
}

impl<B: Body> Operation<B> {
    /// What becomes of it by a record; every record that cannot follow is refused, and changes nothing.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        let illegal = || IllegalTransition { subject: self.body.subject(), phase: self.phase, record: record.name() };
        if !self.is_open() {
            return Err(illegal());
        }
        match record {
            Record::Created { remote_id, once } => {
                if self.phase != Phase::Begun || !self.body.makes() {
                    return Err(illegal());
                }
                self.body.made(remote_id, once);
                self.phase = Phase::Created;
            }
            Record::Step { name, at } => {
                self.end_step(*at);
                let attempt = 1 + self.steps.iter().filter(|step| step.name == *name).count();
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                let step = Step { name: name.clone(), begun_at: *at, ended_at: None, result: Map::new(), attempt };
                self.steps.push(step);
            }
            Record::Stepped { result, at } => {
                let Some(step) = self.steps.last_mut().filter(|step| step.ended_at.is_none()) else {
                    return Err(illegal());
                };
                step.ended_at = Some(*at);
                step.result.clone_from(result);
            }
            Record::Silent(silence) => self.silent = Some(silence.clone()),
            Record::Ended { at } => {
                // What makes something ends only after its id was written down.
                if self.phase == Phase::Begun && self.body.makes() {
                    return Err(illegal());
                }
                self.end_step(*at);
                (self.phase, self.ended_at) = (Phase::Ended, Some(*at));
            }
            Record::Closed { reason, at } => {
                self.reason = Some(reason.clone());
                (self.phase, self.ended_at) = (Phase::Closed, Some(*at));
            }
        }
        Ok(())
    }

    fn end_step(&mut self, at: Time) {
        if let Some(step) = self.steps.last_mut().filter(|step| step.ended_at.is_none()) {
            step.ended_at = Some(at);
        }
    }

    /// Whether somebody still has to settle it.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Begun | Phase::Created)
    }
}

/// The version of the stored shape. The first had one record for all of it, and knew only resources.
const FORMAT: u32 = 2;

/// An operation as it is stored: what it is, before all that it has.
#[derive(Serialize)]
struct Stored<'a, B: Body> {
    format: u32,
    kind: &'static str,
    #[serde(flatten)]
    operation: Plain<'a, B>,
}

/// An operation by its fields alone.
struct Plain<'a, B>(&'a Operation<B>);

impl<B: Body> Serialize for Plain<'_, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Operation::serialize(self.0, serializer)
    }
}

impl<B: Body> Serialize for Operation<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored { format: FORMAT, kind: B::KIND, operation: Plain(self) }.serialize(serializer)
    }
}

impl<'de, B: Body> Deserialize<'de> for Operation<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        if !map.contains_key("format") {
            map = forward(map);
        }
        match map.get("kind").and_then(Json::as_str) {
            Some(kind) if kind == B::KIND => Operation::deserialize(Json::Object(map)).map_err(de::Error::custom),
            kind => Err(de::Error::custom(format!("it is of a {}, not of a {}", kind.unwrap_or("nothing"), B::KIND))),
        }
    }
}

/// Brings an operation of the first format forward.
fn forward(mut old: Map) -> Map {
    let mut new = Map::new();
    new.insert("format".to_owned(), Json::from(FORMAT));
    new.insert("kind".to_owned(), Json::from(ResourceChange::KIND));
    for (name, missing) in [
        ("id", Json::from(0)),
        ("uid", Json::from("")),
        ("serial", Json::from(0)),
        ("actor", Json::from("")),
        ("allowed_by", Json::Array(Vec::new())),
        ("phase", Json::Null),
        ("steps", Json::Array(Vec::new())),
        ("begun_at", Json::Null),
        ("under_way_ms", Json::Null),
        ("silent", Json::Null),
        ("reason", Json::Null),
    ] {
        new.insert(name.to_owned(), old.shift_remove(name).unwrap_or(missing));
    }
    new.insert("body".to_owned(), Json::Object(old));
    new
}

/// The policies a state was last applied under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyInForce {
    pub digest: String,
    /// File name and text.
    pub sources: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    const FIRST: &str = r#"{"id": 7, "uid": "u", "serial": 3, "actor": "ada", "allowed_by": ["p"], "address": "web",
        "kind": "hetzner.server", "account": "hetzner", "region": null, "action": "create", "phase": "created",
        "inputs": {"name": "web"}, "identity": {"state": "s", "op": "o"}, "generation": 2, "remote_id": "42",
        "prior_status": null, "depends_on": ["net"], "protect": false, "retain": true,
        "steps": [{"name": "on", "begun_at": "2026-01-01T00:00:00.000000Z"}], "begun_at": "2026-01-01T00:00:00.000000Z"}"#;

    fn time(second: i64) -> Time {
        Time::of_seconds(second).unwrap()
    }

    fn first() -> Entry {
        serde_json::from_str(FIRST).unwrap()
    }

    #[test]
    fn what_the_first_format_has_is_read_and_written_in_the_second() {
        let entry = first();
        assert_eq!((entry.id, entry.uid.as_str(), entry.serial, entry.phase), (7, "u", 3, Phase::Created));
        assert_eq!((entry.body.kind.as_str(), entry.body.remote_id.as_deref()), ("hetzner.server", Some("42")));
        assert_eq!((entry.steps[0].attempt, entry.steps[0].ended_at, entry.parent.as_ref()), (1, None, None));
        let written = serde_json::to_value(&entry).unwrap();
        assert_eq!((&written["format"], &written["kind"]), (&json!(2), &json!("resource")));
        assert_eq!(written["body"]["address"], "web");
        assert_eq!(serde_json::from_value::<Entry>(written.clone()).unwrap(), entry);
        let other = serde_json::from_value::<Entry>(Json::Object(
            written.as_object().unwrap().clone().into_iter().chain([("kind".to_owned(), json!("workflow"))]).collect(),
        ));
        assert!(other.unwrap_err().to_string().contains("of a workflow, not of a resource"));
    }

    /// Every record in every phase, of what makes something and of what does not: what it becomes, or that it is refused.
    #[test]
    fn every_transition_is_known() {
        let silence = Silence::ago(&mut crate::Sqlite::in_memory().unwrap(), Duration::ZERO).unwrap();
        let records = [
            Record::Created { remote_id: "9".into(), once: Map::new() },
            Record::Step { name: "on".into(), at: time(5) },
            Record::Stepped { result: Map::new(), at: time(6) },
            Record::Silent(silence),
            Record::Ended { at: time(7) },
            Record::Closed { reason: "no".into(), at: time(7) },
        ];
        let after = |phase: Phase, action: Action| {
            let one = |record: &Record| {
                let mut entry = first();
                (entry.phase, entry.body.action) = (phase, action);
                let before = entry.clone();
                match entry.apply(record) {
                    Ok(()) => format!("{:?}", entry.phase),
                    Err(illegal) => {
                        assert_eq!(entry, before, "a refused record changes nothing");
                        assert_eq!((illegal.phase, illegal.record), (phase, record.name()));
                        "-".to_owned()
                    }
                }
            };
            records.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        for action in [Action::Create, Action::Update, Action::Delete] {
            for phase in [Phase::Ended, Phase::Closed] {
                assert_eq!(after(phase, action), "- - - - - -");
            }
        }
        assert_eq!(after(Phase::Begun, Action::Create), "Created Begun Begun Begun - Closed");
        assert_eq!(after(Phase::Created, Action::Create), "- Created Created Created Ended Closed");
        assert_eq!(after(Phase::Begun, Action::Update), "- Begun Begun Begun Ended Closed");
        assert_eq!(after(Phase::Begun, Action::Delete), "- Begun Begun Begun Ended Closed");
    }

    #[test]
    fn a_step_ends_by_itself_when_another_begins_and_when_all_is_over() {
        let mut entry = first();
        let mut told: Map = Map::new();
        told.insert("password".into(), json!({"$sealed": "x"}));
        for record in [
            Record::Step { name: "off".into(), at: time(10) },
            Record::Stepped { result: told.clone(), at: time(12) },
            Record::Step { name: "on".into(), at: time(20) },
            Record::Ended { at: time(30) },
        ] {
            entry.apply(&record).unwrap();
        }
        let ends: Vec<_> = entry.steps.iter().map(|step| (step.name.as_str(), step.attempt, step.ended_at)).collect();
        assert_eq!(ends, [("on", 1, Some(time(10))), ("off", 1, Some(time(12))), ("on", 2, Some(time(30)))]);
        assert_eq!((&entry.steps[1].result, entry.ended_at), (&told, Some(time(30))));
        // A step that is done is not done again.
        let mut entry = first();
        entry.apply(&Record::Stepped { result: Map::new(), at: time(10) }).unwrap();
        assert!(entry.apply(&Record::Stepped { result: Map::new(), at: time(11) }).is_err());
    }
}
