//! Owns settling: finding out what became of an operation whose end was not written down. It builds nothing.

use crate::configuration::accounts::open_account;
use crate::observation::overlay::{overlay, shows, unrestored};
use crate::observation::parts::own_sighting;
use crate::observation::refresh::{Sought, bounded};
use crate::observation::sighting::{Sighting, Window, WindowElapsed, interrupted, window};
use crate::operations::events::{Sink, event};
use crate::operations::looking::{PASSING, rests};
use crate::operations::search::{Found, adopted_resource, search_made};
use crate::planning::planned::Plan;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{Action, Map, Outcome, Recovered, Remote, Resource, Status, type_name};
use provision_providers::{Account, CallError, Control};
use provision_registry::TypeSpec;
use provision_state::{Entry, Lease, Unsettled};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What settling came to: a row of each operation, and what kept it from settling some of them.
#[derive(Default)]
pub struct Settled {
    pub rows: Vec<Recovered>,
    pub problems: Vec<Diagnostic>,
}

/// An operation being settled, with what it takes.
struct Settling<'a> {
    on: &'a Workspace,
    lease: &'a Lease,
    entry: Entry,
    account: Account,
    spec: &'a TypeSpec,
    /// From then on nothing that its process sent can arrive any more.
    arrived: Instant,
    arrives_for: Duration,
    told: AtomicBool,
    sink: Sink<'a>,
}

/// Nobody knows yet: it stays open.
const INTERRUPTED: &str = "interrupted before it was known what became of it; it stays open";

impl Settling<'_> {
    fn failed(&self, error: &CallError) -> Failure {
        error.failure(&format!("cannot settle `{}`", self.entry.body.address))
    }

    /// Tells, once, that something may still arrive and is waited for.
    fn tell(&self) {
        if self.arrives_for.is_zero() || self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        let message = format!(
            "its process ended without an answer, and what it sent may arrive for another {} s: waiting until then, or until \
             the cloud shows it",
            self.arrives_for.as_secs().max(1)
        );
        (self.sink)(event(
            self.on,
            self.entry.body.address.clone(),
            self.entry.body.action,
            Status::Waiting,
            Some(message),
        ));
    }

    fn create(&mut self, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let _session = self.on;
        let by_id = match self.entry.body.remote_id.clone() {
            Some(id) => Some(self.read(&id, control).map_err(|error| self.failed(&error))?),
            None => None,
        };
        let found = match by_id {
            Some(Sighting::There(remote)) => Sighting::There(Found::One(Box::new(remote))),
            Some(Sighting::Interrupted) => Sighting::Interrupted,
            // The answer is written down, and it is not there: it is looked for all the same.
            Some(Sighting::Absent(_)) => {
                let window = Window::until(control.clock.now() + window(self.spec));
                search_made(self.on, &self.account, self.spec, &self.entry, window, &|| {}, control)?
            }
            None => {
                let window = Window::until(self.arrived + window(self.spec));
                search_made(self.on, &self.account, self.spec, &self.entry, window, &|| self.tell(), control)?
            }
        };
        match found {
            Sighting::There(Found::One(remote)) => self.was_made(*remote, control),
            Sighting::There(Found::Many(ids)) => {
                let message = format!("{} resources may be what it made: {}", ids.len(), ids.join(", "));
                let what = format!("`{}` cannot be settled: {message}", self.entry.body.address);
                Err(Failure::new(Code::ApplyIncomplete, what)
                    .with_help("Look at the resources in the cloud's console; keep one, then run `provision recover`."))
            }
            Sighting::Absent(gone) => self.was_not_made(gone),
            Sighting::Interrupted => Ok((Outcome::InDoubt, INTERRUPTED.to_owned())),
        }
    }

    fn was_made(&mut self, remote: Remote, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let store = &self.on.store;
        if self.entry.body.remote_id.is_none() {
            let record = provision_state::Record::Created { remote_id: remote.id.clone(), once: Map::new() };
            store.record(self.lease, &mut self.entry, &record)?;
        }
        let full = match self.at_rest(&remote.id, control).map_err(|error| self.failed(&error))? {
            Sighting::There(full) => full,
            // A list shows less of it than a read: without, what refers to it would find nothing.
            Sighting::Interrupted => return Ok((Outcome::InDoubt, INTERRUPTED.to_owned())),
            Sighting::Absent(_) => remote,
        };
        let resource = adopted_resource(self.on, &self.entry, Some(&full), self.spec)?;
        let message = match resource.tainted {
            true => "it was made, but a secret it showed once is lost; the next plan replaces it",
            false => "it was made",
        };
        store.end_with(self.lease, &mut self.entry, &resource)?;
        Ok((Outcome::Adopted, message.to_owned()))
    }

    /// Reads what was made. Where it brings others along, that is known only when it has come to rest.
    fn at_rest(&self, id: &str, control: &Control<'_>) -> Result<Sighting<Remote>, CallError> {
        let mut seen = None;
        let waits = self.spec.takes.as_ref().is_some_and(|takes| !takes.is_empty());
        let passing = if waits { PASSING } else { Duration::ZERO };
        let looked = Window::until(control.clock.now() + passing).look(control, || {
            let remote = self.read(id, control)?.known(&self.account.name)?;
            let rested = remote.clone().filter(|remote| !waits || rests(self.spec, self.spec.word(remote)));
            seen = remote;
            Ok(rested)
        })?;
        Ok(match (looked, seen) {
            (Sighting::Absent(_), Some(seen)) => Sighting::There(seen),
            (looked, _) => looked,
        })
    }

    fn was_not_made(&mut self, _gone: WindowElapsed) -> Result<(Outcome, String), Failure> {
        self.on.store.close_with(self.lease, &mut self.entry, "it was not made", None)?;
        Ok((Outcome::Closed, "it was not made".to_owned()))
    }

    fn delete(&mut self, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let id = self.entry.body.remote_id.clone().unwrap_or_default();
        let mut seen = None;
        // A deletion that arrives later would take away what by then is wanted again.
        let looked = Window::until(self.arrived).look(control, || match self.read(&id, control)? {
            Sighting::There(remote) => {
                seen = Some(remote);
                self.tell();
                Ok(None)
            }
            Sighting::Absent(gone) => Ok(Some(gone)),
            Sighting::Interrupted => Err(interrupted(&self.account.name)),
        });
        match looked.map_err(|error| self.failed(&error))? {
            Sighting::There(gone) => self.is_gone(gone),
            Sighting::Interrupted => Ok((Outcome::InDoubt, INTERRUPTED.to_owned())),
            Sighting::Absent(_) => {
                let mut resource = self.on.store.resource(self.entry.body.address.as_str())?;
                if let (Some(resource), Some(remote)) = (&mut resource, &seen) {
                    overlay(self.spec, resource, remote, self.on.host.now());
                }
                let message = "it is still there";
                self.on.store.close_with(self.lease, &mut self.entry, message, resource.as_ref())?;
                Ok((Outcome::Closed, message.to_owned()))
            }
        }
    }

    fn is_gone(&mut self, _gone: WindowElapsed) -> Result<(Outcome, String), Failure> {
        self.on.store.end_without(self.lease, &mut self.entry)?;
        Ok((Outcome::Done, "it is gone".to_owned()))
    }

    fn update(&mut self, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let store = &self.on.store;
        let id = self.entry.body.remote_id.clone().unwrap_or_default();
        let resource = store.resource(self.entry.body.address.as_str())?;
        let mut seen = None;
        // A step that arrives later would change what the next plan made of it.
        let looked = Window::until(self.arrived).look(control, || match self.read(&id, control)? {
            Sighting::There(remote) => {
                let is_done = resource.as_ref().is_some_and(|resource| self.took_effect(resource, &remote));
                seen = Some(remote);
                if is_done {
                    return Ok(Some(true));
                }
                self.tell();
                Ok(None)
            }
            Sighting::Absent(_) => Ok(Some(false)),
            Sighting::Interrupted => Err(interrupted(&self.account.name)),
        });
        let is_done = match looked.map_err(|error| self.failed(&error))? {
            Sighting::There(is_done) => is_done,
            Sighting::Absent(_) => false,
            Sighting::Interrupted => return Ok((Outcome::InDoubt, INTERRUPTED.to_owned())),
        };
        let close = |entry: &mut Entry, message: &str, resource: Option<&Resource>| {
            store.close_with(self.lease, entry, message, resource)?;
            Ok((Outcome::Closed, message.to_owned()))
        };
        let (Some(remote), Some(mut resource)) = (seen, resource) else {
            return close(&mut self.entry, "it is not there", None);
        };
        overlay(self.spec, &mut resource, &remote, self.on.host.now());
        // What a step was told once is not told again.
        self.entry.steps.iter().for_each(|step| resource.attributes.extend(step.result.clone()));
        resource.restore = unrestored(self.spec, &self.entry, &remote);
        if !is_done {
            return close(&mut self.entry, "it took effect in part or not at all", Some(&resource));
        }
        resource.inputs = self.entry.body.inputs.clone();
        resource.depends_on.clone_from(&self.entry.body.depends_on);
        resource.deferred.clone_from(&self.entry.body.deferred);
        store.end_with(self.lease, &mut self.entry, &resource)?;
        Ok((Outcome::Done, "it took effect".to_owned()))
    }

    /// Whether the cloud shows everything as an update was to make it.
    fn took_effect(&self, resource: &Resource, remote: &Remote) -> bool {
        let entry = &self.entry;
        let all_seen = entry
            .body
            .inputs
            .iter()
            .all(|(name, value)| remote.fields.contains_key(name) || resource.inputs.get(name) == Some(value));
        let visible: Map = entry
            .body
            .inputs
            .iter()
            .filter(|(name, _)| remote.fields.contains_key(*name))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        // What others attach is none of ours.
        let ours = |name: &String| entry.body.inputs.contains_key(name) || resource.inputs.contains_key(name);
        all_seen && shows(self.spec, remote, &visible, &ours)
    }

    fn read(&self, id: &str, control: &Control<'_>) -> Result<Sighting<Remote>, CallError> {
        let entry = &self.entry;
        // What is being made is as old as its operation, what is changed as old as its row says. Where the row cannot be
        // read it may be young.
        let born = match entry.body.action {
            Action::Create => Some(entry.begun_at),
            _ => self.on.store.resource(entry.body.address.as_str()).ok().flatten().map(|resource| resource.created_at),
        };
        let sought = Sought {
            account: &self.account,
            spec: self.spec,
            type_name: type_name(&entry.body.kind),
            region: entry.body.region.as_deref(),
            id,
            born,
        };
        let seen = sought.read(control)?;
        own_sighting(self.on, &entry.body.kind, &entry.body.account, seen)
    }
}

/// Settles every open operation, in parallel. What cannot be told stays open, and what is known of the others is not lost
/// with it.
pub(crate) fn settle_open(on: &Workspace, lease: &Lease, sink: Sink<'_>) -> Result<Settled, Failure> {
    let open = on.store.unsettled(lease)?;
    // The windows overlap this way: whoever waits for a cloud to show something keeps nobody else waiting.
    let settle = |one: &Unsettled| settle_one(on, lease, one, sink);
    // One that panics stays open, and the others are settled.
    let done = bounded(&open, on.host.settlers, "settling", settle);
    let mut settled = Settled::default();
    for (one, done) in open.iter().zip(done) {
        let entry = &one.entry;
        if let Ok(Recovered { outcome: Outcome::InDoubt, message, .. }) = &done {
            let what = format!("`{}` cannot be settled: {message}", entry.body.address);
            let help = "Run the same command again: what is open is settled first.";
            settled.problems.push(Diagnostic::error(Code::ApplyIncomplete, what).with_help(help));
        }
        let recovered = done.unwrap_or_else(|failure| {
            let message = failure.first.message.clone();
            settled.problems.extend(failure.into_diagnostics());
            Recovered {
                address: Some(entry.body.address.clone()),
                kind: entry.body.kind.clone(),
                action: Some(entry.body.action),
                outcome: Outcome::InDoubt,
                remote_id: entry.body.remote_id.clone(),
                message,
            }
        });
        settled.rows.push(recovered);
    }
    Ok(settled)
}

/// The same for who goes on only when everything is settled.
pub(crate) fn settle_all(on: &Workspace, lease: &Lease, sink: Sink<'_>) -> Result<Vec<Recovered>, Failure> {
    let settled = settle_open(on, lease, sink)?;
    Failure::check(settled.problems)?;
    Ok(settled.rows)
}

fn settle_one(on: &Workspace, lease: &Lease, one: &Unsettled, sink: Sink<'_>) -> Result<Recovered, Failure> {
    let entry = one.entry.clone();
    // The journal has no account settings; the plan it carries out has, or the state has the last ones.
    let plan: Option<Plan> = on.store.plan(&entry.body.plan)?;
    let accounts = match plan {
        Some(plan) => plan.accounts,
        None => on.store.accounts()?,
    };
    let config = accounts.get(&entry.body.account);
    let (_, spec) = on.project.registry.type_of(&entry.body.kind)?;
    let account = open_account(on, &entry.body.account, &entry.body.kind, config)?;
    let control = on.host.reading();
    // What this machine does itself is over with its process.
    let arrives_for = if account.under_way.is_zero() { Duration::ZERO } else { one.arrives_for };
    let arrived = control.clock.now() + arrives_for;
    let told = AtomicBool::new(false);
    let mut settling = Settling { on, lease, entry, account, spec, arrived, arrives_for, told, sink };
    let (outcome, message) = match settling.entry.body.action {
        Action::Create => settling.create(&control)?,
        Action::Delete => settling.delete(&control)?,
        _ => settling.update(&control)?,
    };
    let entry = settling.entry;
    Ok(Recovered {
        address: Some(entry.body.address),
        kind: entry.body.kind,
        action: Some(entry.body.action),
        outcome,
        remote_id: entry.body.remote_id,
        message,
    })
}
