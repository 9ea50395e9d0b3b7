//! Owns settling: finding out what became of an operation whose end was not written down. It builds nothing.

use crate::Session;
use crate::apply::{Sink, event};
use crate::looking::{PASSING, rests};
use crate::refresh::{Sought, bounded};
use crate::session::Sabotage;
use crate::sighting::{Sighting, Window, WindowElapsed, interrupted};
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::IdentityClass;
use provision_model::{
    Action, LABEL_OP, Map, Outcome, Recovered, Remote, Resource, Status, compare, is_sealed, type_name,
};
use provision_providers::{Account, CallError, Control};
use provision_registry::TypeSpec;
use provision_state::{Entry, Lease, Unsettled, now};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a search by identity found.
pub enum Found {
    One(Box<Remote>),
    Many(Vec<String>),
}

/// What settling came to: a row of each operation, and what kept it from settling some of them.
#[derive(Default)]
pub struct Settled {
    pub rows: Vec<Recovered>,
    pub problems: Vec<Diagnostic>,
}

/// An operation being settled, with what it takes.
struct Settling<'a> {
    session: &'a Session,
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

/// The consistency window of a type. One that cannot be read, which `provision provider check` tells, is none.
pub fn window(spec: &TypeSpec) -> Duration {
    provision_registry::time_of(&spec.window).unwrap_or_default()
}

/// Puts what a cloud shows into a resource's attributes.
pub fn attributes(resource: &mut Resource, remote: &Remote) {
    for (name, value) in remote.fields.iter().chain(&remote.attributes) {
        // A sealed value stays sealed.
        if resource.attributes.get(name).is_none_or(|old| !is_sealed(old))
            && resource.inputs.get(name).is_none_or(|old| !is_sealed(old))
        {
            resource.attributes.insert(name.clone(), value.clone());
        }
    }
}

/// The same, and for the inputs that the cloud shows: the next plan compares with what is there.
pub fn overlay(spec: &TypeSpec, resource: &mut Resource, remote: &Remote) {
    let mut shown = remote.fields.clone();
    crate::others::leave_out(spec, &mut shown, &resource.inputs, &Map::new());
    for (name, value) in &shown {
        if resource.inputs.get(name).is_some_and(|old| !is_sealed(old)) {
            resource.inputs.insert(name.clone(), value.clone());
        }
    }
    attributes(resource, remote);
    resource.updated_at = now();
}

/// Whether a cloud shows these fields as they are to be, and none of what else is `ours`.
pub(crate) fn shows(spec: &TypeSpec, remote: &Remote, wanted: &Map, ours: &dyn Fn(&String) -> bool) -> bool {
    let shown = remote.fields.iter().filter(|(name, _)| ours(name));
    let mut fields: Map = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
    crate::others::leave_out(spec, &mut fields, wanted, &Map::new());
    fields.extend(remote.said_as(&spec.fields, wanted));
    compare(&spec.fields, wanted, &fields, &[], &|a, b| a == b).changes.is_empty()
}

/// The state that an interrupted update was to bring the resource back to.
pub fn unrestored(spec: &TypeSpec, entry: &Entry, remote: &Remote) -> Option<String> {
    let prior = entry.prior_status.as_ref().filter(|prior| spec.word(remote) != Some(prior))?;
    let brings_back =
        |step: &provision_registry::StepSpec| step.until.contains(prior) && step.when_status.contains(prior);
    (entry.action == Action::Update && spec.update.iter().any(brings_back)).then(|| prior.clone())
}

impl Session {
    /// Settles every open operation, in parallel. What cannot be told stays open, and what is known of the others is not lost
    /// with it.
    pub fn settle(&self, lease: &Lease, sink: Sink<'_>) -> Result<Settled, Failure> {
        let open = self.store.unsettled(lease)?;
        // The windows overlap this way: whoever waits for a cloud to show something keeps nobody else waiting.
        let settle = |one: &Unsettled| self.settle_one(lease, one, sink);
        // One that panics stays open, and the others are settled.
        let done = bounded(&open, self.readers.max(1) * 4, "settling", settle);
        let mut settled = Settled::default();
        for (one, done) in open.iter().zip(done) {
            let entry = &one.entry;
            if let Ok(Recovered { outcome: Outcome::InDoubt, message, .. }) = &done {
                let what = format!("`{}` cannot be settled: {message}", entry.address);
                let help = "Run the same command again: what is open is settled first.";
                settled.problems.push(Diagnostic::error("provision::apply::incomplete", what).with_help(help));
            }
            let recovered = done.unwrap_or_else(|failure| {
                let message = failure.first.message.clone();
                settled.problems.extend(failure.into_diagnostics());
                Recovered {
                    address: Some(entry.address.clone()),
                    kind: entry.kind.clone(),
                    action: Some(entry.action),
                    outcome: Outcome::InDoubt,
                    remote_id: entry.remote_id.clone(),
                    message,
                }
            });
            settled.rows.push(recovered);
        }
        Ok(settled)
    }

    /// The same for who goes on only when everything is settled.
    pub(crate) fn settle_all(&self, lease: &Lease, sink: Sink<'_>) -> Result<Vec<Recovered>, Failure> {
        let settled = self.settle(lease, sink)?;
        Failure::check(settled.problems)?;
        Ok(settled.rows)
    }

    /// Settles what a crash left open, and looks for what carries our mark and is in no row.
    pub fn recover(&self, sink: Sink<'_>) -> Result<Settled, Failure> {
        let lease = self.lease()?;
        // Whoever asks for this has seen that the state is an older one: the audit log tells of it from here on.
        self.store.own_older(&lease)?;
        let mut settled = self.settle(&lease, sink)?;
        // What cannot be looked at hides nothing of what was settled.
        let (strays, problems) = self.recovered_strays()?;
        settled.rows.extend(strays);
        settled.problems.extend(problems);
        Ok(settled)
    }

    fn settle_one(&self, lease: &Lease, one: &Unsettled, sink: Sink<'_>) -> Result<Recovered, Failure> {
        let entry = one.entry.clone();
        // The journal has no account settings; the plan it carries out has, or the state has the last ones.
        let plan: Option<crate::Plan> = self.store.plan(&entry.plan)?;
        let accounts = match plan {
            Some(plan) => plan.accounts,
            None => self.store.accounts()?,
        };
        let config = accounts.get(&entry.account);
        let (_, spec) = self.registry.type_of(&entry.kind)?;
        let account = self.account(&entry.account, &entry.kind, config)?;
        let control = self.reading();
        // What this machine does itself is over with its process.
        let forgets = self.sabotage == Some(Sabotage::SettleForgetsLate);
        let arrives_for = if account.under_way.is_zero() || forgets { Duration::ZERO } else { one.arrives_for };
        let arrived = control.clock.now() + arrives_for;
        let told = AtomicBool::new(false);
        let mut settling = Settling { session: self, lease, entry, account, spec, arrived, arrives_for, told, sink };
        let (outcome, message) = match settling.entry.action {
            Action::Create => settling.create(&control)?,
            Action::Delete => settling.delete(&control)?,
            _ => settling.update(&control)?,
        };
        let entry = settling.entry;
        Ok(Recovered {
            address: Some(entry.address),
            kind: entry.kind,
            action: Some(entry.action),
            outcome,
            remote_id: entry.remote_id,
            message,
        })
    }
}

impl Settling<'_> {
    fn failed(&self, error: &CallError) -> Failure {
        error.failure(&format!("cannot settle `{}`", self.entry.address))
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
        (self.sink)(event(self.entry.address.clone(), self.entry.action, Status::Waiting, Some(message)));
    }

    fn create(&mut self, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let session = self.session;
        if session.sabotage == Some(Sabotage::SettleForgets) {
            return self.was_not_made(WindowElapsed::in_the_state_alone());
        }
        let by_id = match self.entry.remote_id.clone() {
            Some(id) => Some(self.read(&id, control).map_err(|error| self.failed(&error))?),
            None => None,
        };
        let found = match by_id {
            Some(Sighting::There(remote)) => Sighting::There(Found::One(Box::new(remote))),
            Some(Sighting::Interrupted) => Sighting::Interrupted,
            // The answer is written down, and it is not there: it is looked for all the same.
            Some(Sighting::Absent(_)) => {
                let window = Window::until(control.clock.now() + window(self.spec));
                session.search(&self.account, self.spec, &self.entry, window, &|| {}, control)?
            }
            None => {
                let window = Window::until(self.arrived + window(self.spec));
                session.search(&self.account, self.spec, &self.entry, window, &|| self.tell(), control)?
            }
        };
        match found {
            Sighting::There(Found::One(remote)) => self.was_made(*remote, control),
            Sighting::There(Found::Many(ids)) => {
                let message = format!("{} resources may be what it made: {}", ids.len(), ids.join(", "));
                let what = format!("`{}` cannot be settled: {message}", self.entry.address);
                Err(Failure::new("provision::apply::incomplete", what)
                    .with_help("Look at the resources in the cloud's console; keep one, then run `provision recover`."))
            }
            Sighting::Absent(gone) => self.was_not_made(gone),
            Sighting::Interrupted if session.sabotage == Some(Sabotage::SettleHurries) => {
                self.was_not_made(WindowElapsed::in_the_state_alone())
            }
            Sighting::Interrupted => Ok((Outcome::InDoubt, INTERRUPTED.to_owned())),
        }
    }

    fn was_made(&mut self, remote: Remote, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let store = &self.session.store;
        if self.entry.remote_id.is_none() {
            let record = provision_state::Record::Created { remote_id: remote.id.clone(), once: Map::new() };
            store.record(self.lease, &mut self.entry, &record)?;
        }
        let full = match self.at_rest(&remote.id, control).map_err(|error| self.failed(&error))? {
            Sighting::There(full) => full,
            // A list shows less of it than a read: without, what refers to it would find nothing.
            Sighting::Interrupted => return Ok((Outcome::InDoubt, INTERRUPTED.to_owned())),
            Sighting::Absent(_) => remote,
        };
        let resource = self.session.adopted(&self.entry, Some(&full), self.spec)?;
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
        self.session.store.close_with(self.lease, &mut self.entry, "it was not made", None)?;
        Ok((Outcome::Closed, "it was not made".to_owned()))
    }

    fn delete(&mut self, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let id = self.entry.remote_id.clone().unwrap_or_default();
        if self.session.sabotage == Some(Sabotage::SettleTrusts) {
            return self.is_gone(WindowElapsed::in_the_state_alone());
        }
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
                let mut resource = self.session.store.resource(self.entry.address.as_str())?;
                if let (Some(resource), Some(remote)) = (&mut resource, &seen) {
                    overlay(self.spec, resource, remote);
                }
                let message = "it is still there";
                self.session.store.close_with(self.lease, &mut self.entry, message, resource.as_ref())?;
                Ok((Outcome::Closed, message.to_owned()))
            }
        }
    }

    fn is_gone(&mut self, _gone: WindowElapsed) -> Result<(Outcome, String), Failure> {
        self.session.store.end_without(self.lease, &mut self.entry)?;
        Ok((Outcome::Done, "it is gone".to_owned()))
    }

    fn update(&mut self, control: &Control<'_>) -> Result<(Outcome, String), Failure> {
        let store = &self.session.store;
        let id = self.entry.remote_id.clone().unwrap_or_default();
        let resource = store.resource(self.entry.address.as_str())?;
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
        overlay(self.spec, &mut resource, &remote);
        resource.restore = unrestored(self.spec, &self.entry, &remote);
        if !is_done {
            return close(&mut self.entry, "it took effect in part or not at all", Some(&resource));
        }
        resource.inputs = self.entry.inputs.clone();
        resource.depends_on.clone_from(&self.entry.depends_on);
        resource.deferred.clone_from(&self.entry.deferred);
        store.end_with(self.lease, &mut self.entry, &resource)?;
        Ok((Outcome::Done, "it took effect".to_owned()))
    }

    /// Whether the cloud shows everything as an update was to make it.
    fn took_effect(&self, resource: &Resource, remote: &Remote) -> bool {
        let entry = &self.entry;
        let all_seen = entry
            .inputs
            .iter()
            .all(|(name, value)| remote.fields.contains_key(name) || resource.inputs.get(name) == Some(value));
        let visible: Map = entry
            .inputs
            .iter()
            .filter(|(name, _)| remote.fields.contains_key(*name))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        // What others attach is none of ours.
        let ours = |name: &String| entry.inputs.contains_key(name) || resource.inputs.contains_key(name);
        all_seen && shows(self.spec, remote, &visible, &ours)
    }

    fn read(&self, id: &str, control: &Control<'_>) -> Result<Sighting<Remote>, CallError> {
        let entry = &self.entry;
        // What is being made is as old as its operation, what is changed as old as its row says. Where the row cannot be
        // read it may be young.
        let born = match entry.action {
            Action::Create => Some(entry.begun_at.clone()),
            _ => self.session.store.resource(entry.address.as_str()).ok().flatten().map(|resource| resource.created_at),
        };
        let sought = Sought {
            account: &self.account,
            spec: self.spec,
            type_name: type_name(&entry.kind),
            region: entry.region.as_deref(),
            id,
            born: born.as_deref(),
        };
        let seen = sought.read(control)?;
        self.session.own_sighting(&entry.kind, &entry.account, seen)
    }
}

impl Session {
    /// Looks for what a create made, by the identity its type allows, until a window is over; tells when it has to wait.
    pub(crate) fn search(
        &self,
        account: &Account,
        spec: &TypeSpec,
        entry: &Entry,
        window: Window,
        waiting: &dyn Fn(),
        control: &Control<'_>,
    ) -> Result<Sighting<Found>, Failure> {
        let type_name = type_name(&entry.kind);
        let inputs = self.open_inputs(entry)?;
        let label = match spec.identity {
            IdentityClass::Tagged => Some((LABEL_OP, entry.identity.op.as_str())),
            _ => None,
        };
        let mut is_listed = true;
        let looked = window.look(control, || {
            let by_key = account.provider.find(type_name, entry.region.as_deref(), &inputs, control)?;
            let Some(listed) = (match by_key {
                Some(found) => Some(found),
                None => account.provider.list(type_name, entry.region.as_deref(), label, control)?,
            }) else {
                is_listed = false;
                return Ok(Some(Found::Many(Vec::new())));
            };
            let new = |remote: &Remote| !entry.there.contains(&remote.id) && self.is_ours(spec, entry, &inputs, remote);
            let mut hits: Vec<Remote> = listed.into_iter().filter(new).collect();
            match (hits.len(), hits.pop()) {
                (1, Some(remote)) => Ok(Some(Found::One(Box::new(remote)))),
                (_, Some(last)) => {
                    let ids = hits.into_iter().chain([last]).map(|remote| remote.id);
                    Ok(Some(Found::Many(ids.collect())))
                }
                (_, None) => {
                    waiting();
                    Ok(None)
                }
            }
        });
        let looked = looked.map_err(|error| error.failure(&format!("cannot look for `{}`", entry.address)))?;
        // What cannot be listed lives in the state alone: an unfinished one left nothing.
        Ok(if is_listed { looked } else { Sighting::Absent(WindowElapsed::in_the_state_alone()) })
    }

    /// The ids of what is there already and could be taken for what a create is about to make, where nothing but its content
    /// tells. Looked for before the create is written down: what is found later is its own.
    pub(crate) fn there_before(
        &self,
        account: &Account,
        spec: &TypeSpec,
        entry: &Entry,
        control: &Control<'_>,
    ) -> Result<Vec<String>, CallError> {
        if spec.identity == IdentityClass::Tagged {
            return Ok(Vec::new());
        }
        let (type_name, region) = (type_name(&entry.kind), entry.region.as_deref());
        let inputs = self.open_inputs(entry).unwrap_or_else(|_| entry.inputs.clone());
        // Where the key is the user's own, what is under it is somebody else's whatever it holds.
        if let Some(found) = account.provider.find(type_name, region, &inputs, control)? {
            return Ok(found.into_iter().map(|remote| remote.id).collect());
        }
        let listed = account.provider.list(type_name, region, None, control)?;
        // Of what nothing tells apart, everything that is there is another one.
        let all = spec.identity == IdentityClass::Anonymous;
        let taken = listed.into_iter().flatten().filter(|remote| all || self.is_ours(spec, entry, &inputs, remote));
        Ok(taken.map(|remote| remote.id).collect())
    }

    /// What an operation was to send, without its seals.
    fn open_inputs(&self, entry: &Entry) -> Result<Map, Failure> {
        let sealer = self.store.sealer();
        entry.inputs.iter().map(|(name, value)| Ok((name.clone(), sealer.open_value(value)?))).collect()
    }

    pub(crate) fn is_ours(&self, spec: &TypeSpec, entry: &Entry, inputs: &Map, remote: &Remote) -> bool {
        match spec.identity {
            IdentityClass::Tagged => remote.identity.as_ref().is_some_and(|identity| identity.op == entry.identity.op),
            // One per key: what is there with equal inputs is ours, because it was not there before (`there_before`).
            _ => {
                // What a later step sets may not be set yet.
                let later = |name: &String| spec.update.iter().any(|step| step.on_create && step.fields.contains(name));
                let seen: Map = inputs
                    .iter()
                    .filter(|(name, _)| remote.fields.contains_key(*name) && !later(name))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                !seen.is_empty() && shows(spec, remote, &seen, &|_| true)
            }
        }
    }

    /// The row of a resource whose creation was interrupted. What later steps were to set and cannot be seen is left
    /// out, so that the next plan sets it.
    pub(crate) fn adopted(&self, entry: &Entry, remote: Option<&Remote>, spec: &TypeSpec) -> Result<Resource, Failure> {
        let mut inputs = entry.inputs.clone();
        for step in spec.update.iter().filter(|step| step.on_create) {
            for field in &step.fields {
                match remote.and_then(|remote| remote.fields.get(field)) {
                    Some(value) => inputs.insert(field.clone(), value.clone()),
                    None => inputs.shift_remove(field),
                };
            }
        }
        let lost = entry.once_wanted.iter().any(|name| !entry.once.contains_key(name));
        let mut resource = Resource {
            address: entry.address.clone(),
            kind: entry.kind.clone(),
            account: entry.account.clone(),
            remote_id: remote.map(|remote| remote.id.clone()).or_else(|| entry.remote_id.clone()).unwrap_or_default(),
            inputs,
            attributes: entry.once.clone(),
            depends_on: entry.depends_on.clone(),
            deferred: entry.deferred.clone(),
            generation: entry.generation,
            protect: entry.protect,
            retain: entry.retain,
            tainted: lost,
            marked: false,
            restore: None,
            triggers: entry.triggers.clone(),
            made: crate::held::made_with(spec, remote, &entry.inputs),
            created_at: entry.begun_at.clone(),
            updated_at: now(),
        };
        if let Some(remote) = remote {
            attributes(&mut resource, remote);
        }
        Ok(resource)
    }
}
