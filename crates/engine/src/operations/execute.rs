//! Owns carrying out one operation by the journal protocol: written down, sent, recorded, waited for, ended.

use crate::actor::Actor;
use crate::configuration::accounts::open_account;
use crate::configuration::desired::attribute_of;
use crate::observation::made::made_with;
use crate::observation::overlay::{overlay, unrestored};
use crate::operations::apply::Change;
use crate::operations::authorize::Asked;
use crate::operations::events::Sink;
use crate::operations::runner::Done;
use crate::operations::search::adopted_resource;
use crate::planning::conditions::{Moment, conditions_hold};
use crate::planning::graph::{Node, Part};
use crate::planning::planned::{Place, Plan, PlannedRow};
use crate::planning::prepared::as_secret;
use crate::policy::gate::Gate;
use crate::workspace::Workspace;
use provision_diagnostic::{Failure, locked, printable};
use provision_model::{Action, Address, Event, IdentityClass, Json, Map, Remote, Resource, Status};
use provision_providers::{Account, CallError, CallStep, Class, Operation, StepKind};
use provision_registry::{StepSpec, TypeSpec};
use provision_state::{Entry, Lease, Record};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

/// What all operations of one apply share.
pub struct Executor<'a> {
    pub(crate) on: &'a Workspace,
    pub(crate) by: &'a Actor,
    pub(crate) lease: &'a Lease,
    /// The change of the history that all of it is.
    pub(crate) serial: i64,
    pub(crate) gate: &'a Gate,
    pub(crate) plan: &'a Plan,
    pub(crate) asked: &'a Asked,
    /// Attributes and inputs as they become known.
    live: Mutex<HashMap<Address, (Map, Map)>>,
    /// Held by the one that is being made of those that nothing tells apart.
    pub(crate) anonymous: Mutex<()>,
    /// Held by the one that stops what it is attached to: another would take that for its state, and not start it again.
    hosts: Mutex<()>,
    /// The state is an older one: what it lost may be there without a mark.
    pub(crate) is_behind: bool,
    sink: Sink<'a>,
}

/// One operation on its way.
pub(crate) struct Run<'a> {
    pub(crate) planned: &'a PlannedRow,
    pub(crate) action: Action,
    pub(crate) part: Part,
    pub(crate) place: Place,
    pub(crate) spec: &'a TypeSpec,
    pub(crate) account: Account,
    pub(crate) begun: Instant,
    pub(crate) attempt: AtomicU32,
    /// Something was sent and not answered: it may still arrive.
    pub(crate) unanswered: AtomicBool,
    /// What is said of it when it is done.
    pub(crate) note: OnceLock<String>,
}

/// Why an operation did not end.
pub(crate) enum Stopped {
    Failed(Failure),
    InDoubt(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failed(failure)
    }
}

impl<'a> Executor<'a> {
    pub fn new(change: &Change<'a>, state: &[Resource]) -> Self {
        let Change { on, by, lease, serial, gate, subset, asked, sink } = *change;
        let plan = &subset.plan;
        let live = state
            .iter()
            .map(|resource| (resource.address.clone(), (resource.attributes.clone(), resource.inputs.clone())))
            .collect();
        let lost = plan.rows.iter().any(|planned| planned.row.action == Action::Adopt);
        let is_behind = lost || on.store.is_behind().unwrap_or(true);
        let (live, anonymous, hosts) = (Mutex::new(live), Mutex::default(), Mutex::default());
        Self { on, by, lease, serial, gate, plan, asked, live, anonymous, hosts, is_behind, sink }
    }

    /// Carries out one node of the graph, telling what happens.
    pub(crate) fn run(&self, planned: &PlannedRow, node: &Node) -> Done {
        let (index, action, part) = (node.row, node.action, node.part);
        let place = planned.place(node.place_action());
        let opened = self.on.project.registry.type_of(&place.kind).and_then(|(_, spec)| {
            let config = self.plan.accounts.get(&place.account);
            Ok((spec, open_account(self.on, &place.account, &place.kind, config)?))
        });
        let (spec, account) = match opened {
            Ok(opened) => opened,
            Err(failure) => return Done::Failed(failure),
        };
        let run = Run {
            planned,
            action,
            part,
            place,
            spec,
            account,
            begun: self.on.host.outside.clock.now(),
            attempt: AtomicU32::new(1),
            unanswered: AtomicBool::new(false),
            note: OnceLock::new(),
        };
        self.tell(&run, Status::Started, planned.remote_id.clone(), None);
        match self.carry_out(&run, index) {
            Ok(id) => {
                self.tell(&run, Status::Done, id, run.note.get().cloned());
                Done::Well
            }
            Err(Stopped::Failed(failure)) => {
                self.tell(&run, Status::Failed, None, Some(failure.first.headline()));
                Done::Failed(failure)
            }
            Err(Stopped::InDoubt(failure)) => {
                self.tell(&run, Status::InDoubt, None, Some(failure.first.headline()));
                Done::InDoubt(failure)
            }
        }
    }

    pub(crate) fn tell(&self, run: &Run<'_>, status: Status, remote_id: Option<String>, message: Option<String>) {
        (self.sink)(Event {
            time: self.on.host.now(),
            address: run.planned.row.address.clone(),
            action: run.planned.row.action,
            status,
            attempt: run.attempt.load(Ordering::Relaxed),
            elapsed: i64::try_from(self.on.host.outside.clock.now().saturating_duration_since(run.begun).as_nanos())
                .unwrap_or(i64::MAX),
            remote_id,
            message: message.map(|message| printable(&message).into_owned()),
        });
    }

    fn carry_out(&self, run: &Run<'_>, index: usize) -> Result<Option<String>, Stopped> {
        let address = &run.planned.row.address;
        match run.action {
            Action::Forget => {
                self.ask_pending(run, index, &self.opened(&run.planned.inputs)?)?;
                self.on.store.forget(self.lease, self.serial, &Self::address(run))?;
                return Ok(None);
            }
            Action::Adopt => return self.adopt(run, index),
            Action::NoOp => return Ok(None),
            _ => {}
        }
        let mut operation = match run.part {
            Part::Whole | Part::First => self.operation(run)?,
            Part::Rest | Part::Release => match self.part_operation(run)? {
                Some(operation) => operation,
                None => return Ok(None),
            },
        };
        // Which steps are needed hangs on the state it is in now, not on the one it was in when it was planned.
        let steps = if run.action == Action::Delete { &run.spec.delete } else { &run.spec.update };
        let changed = |step: &StepSpec| step.fields.iter().any(|field| operation.changed.contains(field));
        let stops_host = run.spec.host.is_some() && steps.iter().any(|step| !step.until.is_empty() && changed(step));
        let _host = stops_host.then(|| self.alone(&self.hosts)).transpose()?;
        if run.action != Action::Create && steps.iter().any(|step| !step.when_status.is_empty()) {
            let now = self.settled(run, &operation)?;
            operation.status = now.as_ref().and_then(|remote| run.spec.word(remote)).cloned();
            if operation.restore.is_none() {
                operation.prior_status.clone_from(&operation.status);
            }
            operation.host = now.and_then(|remote| remote.host).map(|host| host.id);
        }
        let allowed_by = match (run.action, run.planned.row.action) {
            // A replacement takes the old one away first, so all of it is asked before that; what still cannot be decided
            // then is not allowed.
            (Action::Delete, Action::Replace) => self.ask_pending(run, index, &self.inputs_known(run)?)?,
            (Action::Delete, _) => self.ask_pending(run, index, &self.opened(&run.planned.inputs)?)?,
            // It is allowed with its deletion, before anything of it is sent.
            _ if run.part == Part::Release => self.ask_pending(run, index, &self.inputs_known(run)?)?,
            _ if run.part == Part::First => self.ask_first(run, index, &self.inputs_known(run)?, &operation.inputs)?,
            _ => self.ask_pending(run, index, &operation.inputs)?,
        };
        if run.action != Action::Delete && run.part != Part::Release {
            let open = without(&operation.inputs, &operation.secrets);
            conditions_hold(self.on, run.planned, run.spec, Moment::Before, &open, &Map::new())?;
        }
        let mut entry = self.part_entry(run, self.entry(run, &operation, allowed_by)?)?;
        if run.action == Action::Create
            && let Some(id) = self.adopt_twin(run, &operation, &entry)?
        {
            return Ok(Some(id));
        }
        let mut _alone = None;
        if run.action == Action::Create && run.spec.identity == IdentityClass::Anonymous {
            // Two that look alike are told apart by what was there before each: they are made one after the other.
            _alone = Some(self.alone(&self.anonymous)?);
            entry.body.there = self.there(run, &entry)?;
        } else if run.action == Action::Create {
            self.is_free(run, &entry)?;
        }
        let mut entry = self.on.store.begin(self.lease, entry)?;
        let inputs = without(&operation.inputs, &operation.secrets);
        let done = match run.action {
            Action::Create => self.create(run, operation, &mut entry).map(Some),
            Action::Update => self.update(run, &operation, &mut entry).map(Some),
            _ => self.delete(run, &operation, &mut entry),
        };
        if run.action != Action::Delete && matches!(run.part, Part::Whole | Part::Rest) && done.is_ok() {
            let live = locked(&self.live).get(address).map(|(attributes, _)| attributes.clone());
            conditions_hold(self.on, run.planned, run.spec, Moment::After, &inputs, &live.unwrap_or_default())?;
        }
        if entry.is_open() {
            // Whoever settles it need not wait for what nobody sends any more. Where it cannot be written, it is waited for.
            let answered = !run.unanswered.load(Ordering::Relaxed);
            let _ = self.on.store.silence(self.lease, &mut entry, answered);
        }
        match done {
            // What could not be written down is not over: settling finds out what became of it.
            Err(Stopped::Failed(failure)) if entry.is_open() => Err(Stopped::InDoubt(failure)),
            done => done,
        }
    }

    /// An attribute of another resource, if it is known, and whether it is sensitive.
    pub(crate) fn attribute(&self, target: &Address, name: &str) -> Result<Option<(Json, bool)>, Failure> {
        let live = locked(&self.live);
        let Some((attributes, inputs)) = live.get(target) else { return Ok(None) };
        let sealer = self.on.store.sealer();
        attribute_of(attributes, inputs, name).map(|value| sealer.reveal(&value)).transpose()
    }

    fn create(&self, run: &Run<'_>, mut operation: Operation, entry: &mut Entry) -> Result<String, Stopped> {
        let steps = run.account.provider.steps(&operation);
        let mut once = Map::new();
        let mut shown = None;
        for (at, step) in steps.iter().enumerate() {
            if at > 0 {
                self.begin_step(entry, step)?;
            }
            let sent = match step.kind {
                StepKind::Create => {
                    let sent = self.send_create(run, &operation, step, entry)?;
                    operation.remote_id.clone_from(&sent.remote_id);
                    once = self.seal_once(run, &operation, &sent.once)?;
                    let remote_id = sent.remote_id.clone().unwrap_or_default();
                    let record = Record::Created { remote_id, once: once.clone() };
                    self.on.store.record(self.lease, entry, &record)?;
                    sent
                }
                _ => self.send_change(run, &operation, step, entry)?,
            };
            // What a later step changes is not as the create showed it.
            shown = sent.shown.clone().filter(|_| steps.len() == 1);
            if shown.is_none() {
                self.await_step(run, &operation, step, &sent, entry)?;
            }
        }
        let id = operation.remote_id.clone().unwrap_or_default();
        let remote = match shown {
            Some(remote) => Some(remote),
            None => self.known(run, &operation, &id, true).map_err(Stopped::InDoubt)?,
        };
        let resource = self.resource(run, entry, &operation, &id, remote.as_ref(), once)?;
        self.on.store.end_with(self.lease, entry, &resource)?;
        self.publish(resource);
        Ok(id)
    }

    fn update(&self, run: &Run<'_>, operation: &Operation, entry: &mut Entry) -> Result<String, Stopped> {
        let id = operation.remote_id.clone().unwrap_or_default();
        let mut once = Map::new();
        for step in run.account.provider.steps(operation) {
            self.begin_step(entry, &step)?;
            let sent = self.send_change(run, operation, &step, entry)?;
            let told = self.seal_once(run, operation, &sent.once)?;
            if !told.is_empty() {
                // The cloud tells it once, so it is kept before anything else is waited for.
                let record = Record::Stepped { result: told.clone(), at: self.on.host.now() };
                self.on.store.record(self.lease, entry, &record)?;
            }
            once.extend(told);
            self.await_step(run, operation, &step, &sent, entry)?;
        }
        let remote = self.read_back(run, operation, &id).map_err(Stopped::InDoubt)?;
        let resource = self.resource(run, entry, operation, &id, remote.as_ref(), once)?;
        self.on.store.end_with(self.lease, entry, &resource)?;
        self.publish(resource);
        Ok(id)
    }

    fn delete(&self, run: &Run<'_>, operation: &Operation, entry: &mut Entry) -> Result<Option<String>, Stopped> {
        for step in run.account.provider.steps(operation) {
            if step.kind == StepKind::Delete {
                self.spare(run, operation, entry)?;
            }
            self.begin_step(entry, &step)?;
            // Gone already, or of what an earlier step takes off only that part is: the steps that are left find out.
            if let Some(sent) = self.send_delete(run, operation, &step, entry)? {
                self.await_step(run, operation, &step, &sent, entry)?;
            }
        }
        self.on.store.end_without(self.lease, entry)?;
        locked(&self.live).remove(&operation.address);
        Ok(operation.remote_id.clone())
    }

    pub(crate) fn begin_step(&self, entry: &mut Entry, step: &CallStep) -> Result<(), Failure> {
        let record = Record::Step { name: step.name.clone(), at: self.on.host.now() };
        self.on.store.record(self.lease, entry, &record)
    }

    /// Closes the entry of an operation that certainly had no further effect; one that may have stays open.
    pub(crate) fn give_up(
        &self,
        run: &Run<'_>,
        entry: &mut Entry,
        what: &str,
        error: &CallError,
        remote: Option<&Remote>,
    ) -> Stopped {
        let failure = error.failure(what);
        if matches!(error.class, Class::Interrupted) && entry.body.remote_id.is_some() {
            return Stopped::InDoubt(failure);
        }
        let created = run.action == Action::Create && entry.body.remote_id.is_some();
        let resource = match (run.action, created) {
            // A step after the create failed: the resource is there, without that step.
            (Action::Create, true) => adopted_resource(self.on, entry, remote, run.spec).map(Some),
            (Action::Update | Action::Delete, _) => self.refreshed(run.spec, entry, remote),
            _ => Ok(None),
        };
        let closed = resource.and_then(|resource| {
            let done = if created && let Some(resource) = &resource {
                self.on.store.end_with(self.lease, entry, resource)
            } else {
                self.on.store.close_with(self.lease, entry, &error.to_string(), resource.as_ref())
            };
            done.map(|()| resource)
        });
        match closed {
            Ok(resource) => {
                if let Some(resource) = resource {
                    // Whoever refers to it is skipped anyway; the table only must not be older than the state.
                    self.publish(resource);
                }
                Stopped::Failed(failure)
            }
            Err(failure) => Stopped::InDoubt(failure),
        }
    }

    /// The state's row with what the cloud shows now, so that the next plan sees what is left to do.
    fn refreshed(&self, spec: &TypeSpec, entry: &Entry, remote: Option<&Remote>) -> Result<Option<Resource>, Failure> {
        let Some(mut resource) = self.on.store.resource(entry.body.address.as_str())? else { return Ok(None) };
        if let Some(remote) = remote {
            overlay(spec, &mut resource, remote, self.on.host.now());
            resource.restore = unrestored(spec, entry, remote);
        }
        Ok(Some(resource))
    }

    pub(crate) fn what(&self, run: &Run<'_>) -> String {
        format!("{} of `{}` failed", run.action.name(), run.planned.row.address)
    }

    fn seal_once(&self, run: &Run<'_>, operation: &Operation, once: &Map) -> Result<Map, Failure> {
        let sealer = self.on.store.sealer();
        once.iter()
            .map(|(name, value)| {
                // What is given back of an input that is secret is secret too.
                let (value, secret) = as_secret(value);
                let echo = operation.secrets.iter().any(|field| operation.inputs.get(field) == Some(value));
                let sensitive =
                    secret || echo || run.spec.attributes.get(name).is_some_and(|attribute| attribute.sensitive);
                Ok((name.clone(), if sensitive { sealer.seal(value)? } else { value.clone() }))
            })
            .collect()
    }

    pub(crate) fn resource(
        &self,
        run: &Run<'_>,
        entry: &Entry,
        operation: &Operation,
        id: &str,
        remote: Option<&Remote>,
        once: Map,
    ) -> Result<Resource, Failure> {
        let before = match run.action {
            Action::Update => self.on.store.resource(entry.body.address.as_str())?,
            _ => None,
        };
        let mut inputs = self.sealed(run, operation)?;
        // What has grown in the cloud was not sent; it stays as it was last applied, so that it is still told.
        let grows = |name: &String| run.spec.fields.get(name).is_some_and(|field| field.grows);
        for (name, value) in before.iter().flat_map(|before| &before.inputs).filter(|(name, _)| grows(name)) {
            inputs.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let mut attributes = before.as_ref().map(|before| before.attributes.clone()).unwrap_or_default();
        attributes.extend(once);
        let mut resource = Resource {
            address: entry.body.address.clone(),
            kind: entry.body.kind.clone(),
            account: entry.body.account.clone(),
            remote_id: id.to_owned(),
            inputs,
            attributes,
            depends_on: entry.body.depends_on.clone(),
            deferred: entry.body.deferred.clone(),
            generation: entry.body.generation,
            protect: entry.body.protect || before.as_ref().is_some_and(|before| before.protect),
            retain: entry.body.retain,
            tainted: false,
            marked: before.as_ref().is_some_and(|before| before.marked),
            restore: None,
            triggers: entry.body.triggers.clone(),
            made: match &before {
                Some(before) => before.made.clone(),
                None => made_with(run.spec, remote, &operation.inputs),
            },
            created_at: before.map_or_else(|| self.on.host.now(), |before| before.created_at),
            updated_at: self.on.host.now(),
        };
        if let Some(remote) = remote {
            crate::observation::overlay::attributes(&mut resource, remote);
        }
        // Made by a call whose answer was lost, it does not show again what it showed once.
        let lost = |name: &String| !resource.attributes.contains_key(name);
        resource.tainted = run.action == Action::Create && entry.body.once_wanted.iter().any(lost);
        // What refers to an attribute must know that it holds a secret.
        Ok(self.on.store.with_secrets_sealed(&resource)?.into_owned())
    }

    pub(crate) fn publish(&self, resource: Resource) {
        locked(&self.live).insert(resource.address, (resource.attributes, resource.inputs));
    }
}

fn without(fields: &Map, secrets: &HashSet<String>) -> Map {
    fields
        .iter()
        .filter(|(name, _)| !secrets.contains(*name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
