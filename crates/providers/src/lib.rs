//! Owns the `Provider` trait, the runtime that makes a provider of a manifest, wire protocols and rate budgets.
//!
//! Knows manifests and the model; must not know state, policy, Nickel or Nushell. Everything is blocking: the engine
//! brings the threads.

mod account;
mod auth;
mod destination;
mod error;
mod foreign;
mod guarded;
mod http;
mod listing;
mod local;
mod mixed;
mod module;
mod network;
mod outside;
mod runtime;
mod rust;
mod steps;
mod waiting;
mod wire;
mod xml;

pub use account::{Account, Environment, Opening};
pub use destination::Consents;
pub use error::{CallError, Class};
pub use guarded::{Guarded, Mask};
pub use local::Local;
pub use network::{network, network_in};
pub use outside::{ANSWER_TIMEOUT, Clock, Outside, SystemClock, Wire, WireAnswer, WireError, WireRequest};
pub use runtime::ManifestProvider;
pub use rust::{Opened, RustProviders};

use provision_diagnostic::Masker;
use provision_model::{Action, Address, Identity, Json, Map, Remote, secret_texts};
use provision_registry::{Call, Manifest, TypeSpec};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// What a caller of a provider brings: a way to stop, the right to send, and an ear for retries.
pub struct Control<'a> {
    pub interrupt: &'a AtomicBool,
    /// Set when nothing new is to begin: what was refused without effect is not sent again.
    pub winding_down: &'a AtomicBool,
    /// Asked right before each call that may change something, repetitions too: false when the caller may not be the
    /// writer any more.
    pub may_change: &'a (dyn Fn() -> bool + Sync),
    pub clock: &'a dyn Clock,
    /// Told before each repetition; false where there is nothing left to repeat it for.
    pub retrying: &'a (dyn Fn(u32, &CallError) -> bool + Sync),
}

impl Control<'_> {
    /// Sleeps, waking early when interrupted; false when it was.
    pub fn sleep(&self, time: Duration) -> bool {
        let end = self.clock.now() + time;
        loop {
            if self.interrupt.load(Ordering::Relaxed) {
                return false;
            }
            let left = end.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                return true;
            }
            self.clock.wait(left);
        }
    }
}

/// One change of one resource, with everything its calls need. Inputs are plain: never log one.
#[derive(Clone)]
pub struct Operation {
    pub address: Address,
    /// `server`, without the provider.
    pub type_name: String,
    pub action: Action,
    pub remote_id: Option<String>,
    /// Desired fields, resolved.
    pub inputs: Map,
    /// Fields whose values are secret.
    pub secrets: HashSet<String>,
    /// Current fields.
    pub prior: Map,
    /// The vendor's word for the state before the operation.
    pub prior_status: Option<String>,
    /// The vendor's word for its state now, where a step hangs on it.
    pub status: Option<String>,
    /// The state that an earlier, interrupted update was to bring it back to.
    pub restore: Option<String>,
    /// The id of what it is attached to, where a step hangs on it.
    pub host: Option<String>,
    /// Top-level fields that differ.
    pub changed: Vec<String>,
    pub identity: Identity,
    /// Which creation of its address it is, counted from 1.
    pub generation: u64,
    pub region: Option<String>,
    /// The default cloud name.
    pub name: String,
}

impl Operation {
    /// Finds the secrets in what it sends and in what was there before: they are never shown.
    pub fn masker(&self, spec: &TypeSpec) -> Masker {
        let is_secret =
            |name: &String| self.secrets.contains(name) || spec.fields.get(name).is_some_and(|rule| rule.sensitive);
        let secret = self.inputs.iter().chain(&self.prior).filter(|(name, _)| is_secret(name));
        Masker::new(secret.flat_map(|(_, value)| secret_texts(value)))
    }
}

/// What a step is to the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    Create,
    Change,
    Delete,
}

/// One call of an operation; journaled on its own.
#[derive(Debug, Clone)]
pub struct CallStep {
    /// `create`, `poweroff`, `subnets + 10.0.1.0/24`.
    pub name: String,
    pub kind: StepKind,
    pub call: Call,
    /// Fields sent; `None` means all.
    pub fields: Option<Vec<String>>,
    /// The item of a collection step, in the user's shape.
    pub item: Option<(String, Json)>,
    pub until: Vec<String>,
}

impl CallStep {
    /// Whether a resource with these fields shows the item of this step; `None` where it has no item, or the field is not
    /// shown.
    pub fn shows_item(&self, fields: &Map) -> Option<bool> {
        let (field, item) = self.item.as_ref()?;
        fields.get(field).map(|shown| steps::holds(shown, item))
    }

    /// Whether the item of this step is to be there in the end; `None` where it has none.
    pub fn wants_item(&self, operation: &Operation) -> Option<bool> {
        let (field, item) = self.item.as_ref()?;
        let wanted = operation.inputs.get(field).filter(|_| operation.action != Action::Delete);
        Some(wanted.is_some_and(|wanted| steps::holds(wanted, item)))
    }

    /// Whether it gives the resource values, rather than bringing it into another state alone.
    pub fn sends_values(&self) -> bool {
        let names_value = |value: &Json| {
            let text = value.to_string();
            text.contains("{field.") || text.contains("{item")
        };
        self.item.is_some()
            || self.fields.as_ref().is_none_or(|fields| !fields.is_empty())
            || self.call.body.as_ref().is_some_and(names_value)
            || self.call.query.values().any(names_value)
            || names_value(&Json::from(self.call.path.as_str()))
    }

    /// The steps of an operation that is done at one go: one named after what it does, none where nothing is done.
    pub fn at_once(operation: &Operation) -> Vec<CallStep> {
        let kind = match operation.action {
            Action::Create | Action::Replace => StepKind::Create,
            Action::Update => StepKind::Change,
            Action::Delete => StepKind::Delete,
            Action::Adopt | Action::Forget | Action::NoOp => return Vec::new(),
        };
        let name = kind.command().to_owned();
        vec![CallStep { name, kind, call: Call::default(), fields: None, item: None, until: Vec::new() }]
    }
}

impl StepKind {
    /// What it does, in one word; the command of a module that does it.
    pub fn command(self) -> &'static str {
        match self {
            StepKind::Create => "create",
            StepKind::Change => "update",
            StepKind::Delete => "delete",
        }
    }
}

/// A long-running action the cloud works on.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    pub id: String,
}

/// What a call gave.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub remote_id: Option<String>,
    pub pending: Vec<Pending>,
    /// Attributes the cloud shows only now. One given as `{"$secret": value}` is kept as a secret, whatever its manifest says.
    pub once: Map,
    /// What a create made, where its answer shows all that a reading would, and nothing is left to wait for.
    pub shown: Option<Remote>,
}

/// Why a field cannot have the value it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    pub field: String,
    /// What is wrong, without the field's name and without its value where that is secret.
    pub message: String,
    /// The next step.
    pub help: String,
}

impl Objection {
    pub fn new(field: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into(), help: help.into() }
    }
}

/// A cloud account: everything the engine asks of it. One implementation is the manifest runtime, another `local`;
/// `docs/rust-provider.md` says what each method owes.
pub trait Provider: Send + Sync {
    fn manifest(&self) -> &Manifest;
    /// The calls of an operation, in order. Pure.
    fn steps(&self, operation: &Operation) -> Vec<CallStep>;
    /// The calls that keep one of the things that the deletion of a resource takes along, by the name that the manifest's
    /// `takes` gives it. Pure.
    fn spare(&self, operation: &Operation, name: &str, id: &str) -> Vec<CallStep>;
    /// Sends one step. Repeats only what certainly had no effect; [`Class::InDoubt`] is for the caller to settle.
    fn send(&self, operation: &Operation, step: &CallStep, control: &Control<'_>) -> Result<Sent, CallError>;
    /// Waits until what a step began is over.
    fn wait(
        &self,
        operation: &Operation,
        step: &CallStep,
        id: &str,
        sent: &Sent,
        control: &Control<'_>,
    ) -> Result<(), CallError>;
    /// One resource by id; `None` when it is gone.
    fn read(
        &self,
        type_name: &str,
        region: Option<&str>,
        id: &str,
        control: &Control<'_>,
    ) -> Result<Option<Remote>, CallError>;
    /// All resources of a type, or those with a label; `None` when the type cannot be listed.
    fn list(
        &self,
        type_name: &str,
        region: Option<&str>,
        label: Option<(&str, &str)>,
        control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError>;
    /// Asked before a resource is planned, and again before it is made or changed: what of its fields cannot be, and the values
    /// of fields that `follow` from others. Fields that are not known yet are `{"$unknown": true}`; those in `secrets` are
    /// secret, and what gives one away comes back as `{"$secret": value}`. It looks at this machine at most.
    fn prepare(&self, _type_name: &str, _fields: &Map, _secrets: &HashSet<String>) -> Result<Map, Vec<Objection>> {
        Ok(Map::new())
    }
    /// Why a resource that is as it should be is to be made anew all the same: it is about to expire. Pure.
    fn due(&self, _type_name: &str, _fields: &Map, _attributes: &Map, _now: SystemTime) -> Option<String> {
        None
    }
    /// What is there under the key that a new resource would have, whoever made it; `None` where the type's list tells.
    /// For types that users name themselves and that nothing lists: a file by its path.
    fn find(
        &self,
        _type_name: &str,
        _region: Option<&str>,
        _fields: &Map,
        _control: &Control<'_>,
    ) -> Result<Option<Vec<Remote>>, CallError> {
        Ok(None)
    }
    /// What the account offers in a catalogue that the manifest lists, a row each.
    fn catalog(&self, _name: &str, _region: Option<&str>, _control: &Control<'_>) -> Result<Vec<Map>, CallError> {
        Ok(Vec::new())
    }
    /// What is as a filter says among what the manifest lets look up, a row each.
    fn look_up(
        &self,
        _name: &str,
        _region: Option<&str>,
        _filter: &Map,
        _control: &Control<'_>,
    ) -> Result<Vec<Map>, CallError> {
        Ok(Vec::new())
    }
}
