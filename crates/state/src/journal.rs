//! Owns the journal's shapes and its one transition function: what may be recorded after what.

use crate::Silence;
use provision_model::{Action, Address, Identity, Lifecycle, Map};
use serde::{Deserialize, Serialize};

/// How far an operation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Written down; a call may or may not have been sent.
    Begun,
    /// The remote id is known.
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
    Step(StepRecord),
    /// Nobody sends anything for it any more: its process is gone, or gave up.
    Silent(Silence),
    Ended,
    Closed {
        reason: String,
    },
}

/// One step of an operation made of several calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    pub name: String,
    /// RFC 3339.
    pub begun_at: String,
}

/// An operation as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Given by the store.
    #[serde(default)]
    pub id: i64,
    /// Tells a repeated write of the same entry from another entry.
    #[serde(default)]
    pub uid: String,
    /// The change of the history it is part of.
    #[serde(default)]
    pub serial: i64,
    /// Who wants it.
    #[serde(default)]
    pub actor: String,
    /// The policies that allowed it.
    #[serde(default)]
    pub allowed_by: Vec<String>,
    pub address: Address,
    /// `hetzner.server`.
    pub kind: String,
    pub account: String,
    pub region: Option<String>,
    pub action: Action,
    pub phase: Phase,
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
    pub steps: Vec<StepRecord>,
    /// RFC 3339.
    pub begun_at: String,
    /// How long after it was sent a request of it may still arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way_ms: Option<u64>,
    /// Since when nobody sends anything for it any more, where it was left open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Silence>,
    /// Why it was closed.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The policies a state was last applied under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyInForce {
    pub digest: String,
    /// File name and text.
    pub sources: Vec<(String, String)>,
}

impl Entry {
    /// The entry after a record; `Err` names the illegal transition.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        match (self.phase, record) {
            (Phase::Begun, Record::Created { remote_id, once }) if self.action == Action::Create => {
                self.remote_id = Some(remote_id.clone());
                self.once = once.clone();
                self.phase = Phase::Created;
            }
            (Phase::Begun | Phase::Created, Record::Step(step)) => self.steps.push(step.clone()),
            (Phase::Begun | Phase::Created, Record::Silent(silence)) => self.silent = Some(silence.clone()),
            // A create ends only after its id was written down.
            (Phase::Created, Record::Ended) => self.phase = Phase::Ended,
            (Phase::Begun, Record::Ended) if self.action != Action::Create => self.phase = Phase::Ended,
            (Phase::Begun | Phase::Created, Record::Closed { reason }) => {
                self.reason = Some(reason.clone());
                self.phase = Phase::Closed;
            }
            (phase, record) => {
                return Err(format!("{record:?} after {phase:?} of {} {}", self.action.name(), self.address));
            }
        }
        Ok(())
    }

    /// Whether somebody still has to settle it.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Begun | Phase::Created)
    }
}
