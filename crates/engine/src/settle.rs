//! Owns settling: finding out what became of an operation whose end was not written down. It builds nothing.

use crate::Session;
use crate::refresh::{Sought, bounded};
use crate::session::Sabotage;
use provision_diagnostic::{Failure, isolated};
use provision_model::IdentityClass;
use provision_model::{Action, LABEL_OP, Map, Outcome, Recovered, Remote, Resource, compare, is_sealed, type_name};
use provision_providers::{Account, CallError, Control};
use provision_registry::TypeSpec;
use provision_state::{Entry, Lease, now};
use std::time::Duration;

/// What a search by identity found.
pub enum Found {
    None,
    One(Box<Remote>),
    Many(Vec<String>),
}

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
    /// Settles every open operation, in parallel. What cannot be told stays open and is reported.
    pub fn settle(&self, lease: &Lease) -> Result<Vec<Recovered>, Failure> {
        let entries = self.store.open_entries()?;
        // The windows overlap this way: whoever waits for a cloud to show something keeps nobody else waiting.
        let settle = |entry: &Entry| {
            let what = format!("settling `{}`", entry.address);
            // One that panics stays open, and the others are settled.
            isolated(&what, || self.settle_one(lease, entry.clone())).unwrap_or_else(|failure| {
                Ok(Recovered {
                    address: Some(entry.address.clone()),
                    kind: entry.kind.clone(),
                    action: Some(entry.action),
                    outcome: Outcome::InDoubt,
                    remote_id: entry.remote_id.clone(),
                    message: failure.first.message,
                })
            })
        };
        bounded(&entries, self.readers.max(1) * 4, "settling", settle).into_iter().collect()
    }

    /// Settles what a crash left open, and looks for what carries our mark and is in no row.
    pub fn recover(&self) -> Result<Vec<Recovered>, Failure> {
        let lease = self.lease()?;
        // Whoever asks for this has seen that the state is an older one: the audit log tells of it from here on.
        self.store.own_older(&lease)?;
        let mut rows = self.settle(&lease)?;
        rows.extend(self.recovered_strays()?);
        Ok(rows)
    }

    fn settle_one(&self, lease: &Lease, mut entry: Entry) -> Result<Recovered, Failure> {
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
        let (outcome, message) = match entry.action {
            Action::Create => self.settle_create(lease, &mut entry, &account, spec, &control)?,
            Action::Delete => self.settle_delete(lease, &mut entry, &account, spec, &control)?,
            _ => self.settle_update(lease, &mut entry, &account, spec, &control)?,
        };
        Ok(Recovered {
            address: Some(entry.address.clone()),
            kind: entry.kind.clone(),
            action: Some(entry.action),
            outcome,
            remote_id: entry.remote_id.clone(),
            message,
        })
    }

    fn settle_create(
        &self,
        lease: &Lease,
        entry: &mut Entry,
        account: &Account,
        spec: &TypeSpec,
        control: &Control<'_>,
    ) -> Result<(Outcome, String), Failure> {
        let found = match entry.remote_id.clone() {
            _ if self.sabotage == Some(Sabotage::SettleForgets) => Found::None,
            Some(id) => match self.read_entry(account, entry, &id, control)? {
                Some(remote) => Found::One(Box::new(remote)),
                // Written down as made and not there: wait out the window before believing it.
                None => self.search(account, spec, entry, control)?,
            },
            None => self.search(account, spec, entry, control)?,
        };
        match found {
            Found::One(remote) => {
                if entry.remote_id.is_none() {
                    let record = provision_state::Record::Created { remote_id: remote.id.clone(), once: Map::new() };
                    self.store.record(lease, entry, &record)?;
                }
                let full = self.read_entry(account, entry, &remote.id, control)?.unwrap_or(*remote);
                let resource = self.adopted(entry, Some(&full), spec)?;
                let message = if resource.tainted {
                    "it was made, but a secret it showed once is lost; the next plan replaces it"
                } else {
                    "it was made"
                };
                self.store.end_with(lease, entry, &resource)?;
                Ok((Outcome::Adopted, message.to_owned()))
            }
            Found::None => {
                self.store.close_with(lease, entry, "it was not made", None)?;
                Ok((Outcome::Closed, "it was not made".to_owned()))
            }
            Found::Many(ids) => {
                Ok((Outcome::InDoubt, format!("{} resources may be what it made: {}", ids.len(), ids.join(", "))))
            }
        }
    }

    fn settle_delete(
        &self,
        lease: &Lease,
        entry: &mut Entry,
        account: &Account,
        spec: &TypeSpec,
        control: &Control<'_>,
    ) -> Result<(Outcome, String), Failure> {
        let id = entry.remote_id.clone().unwrap_or_default();
        let found = match self.sabotage {
            Some(Sabotage::SettleTrusts) => None,
            _ => self.read_entry(account, entry, &id, control)?,
        };
        match found {
            None => {
                self.store.end_without(lease, entry)?;
                Ok((Outcome::Done, "it is gone".to_owned()))
            }
            Some(remote) => {
                let resource = self.store.resource(entry.address.as_str())?.map(|mut resource| {
                    overlay(spec, &mut resource, &remote);
                    resource
                });
                self.store.close_with(lease, entry, "it is still there", resource.as_ref())?;
                Ok((Outcome::Closed, "it is still there".to_owned()))
            }
        }
    }

    fn settle_update(
        &self,
        lease: &Lease,
        entry: &mut Entry,
        account: &Account,
        spec: &TypeSpec,
        control: &Control<'_>,
    ) -> Result<(Outcome, String), Failure> {
        let id = entry.remote_id.clone().unwrap_or_default();
        let remote = self.read_entry(account, entry, &id, control)?;
        let resource = self.store.resource(entry.address.as_str())?;
        let (Some(remote), Some(mut resource)) = (remote, resource) else {
            self.store.close_with(lease, entry, "it is not there", None)?;
            return Ok((Outcome::Closed, "it is not there".to_owned()));
        };
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
        let equal = shows(spec, &remote, &visible, &ours);
        overlay(spec, &mut resource, &remote);
        resource.restore = unrestored(spec, entry, &remote);
        if equal && all_seen {
            resource.inputs = entry.inputs.clone();
            resource.depends_on.clone_from(&entry.depends_on);
            resource.deferred.clone_from(&entry.deferred);
            self.store.end_with(lease, entry, &resource)?;
            return Ok((Outcome::Done, "it took effect".to_owned()));
        }
        self.store.close_with(lease, entry, "it took effect in part or not at all", Some(&resource))?;
        Ok((Outcome::Closed, "it took effect in part or not at all".to_owned()))
    }

    fn read_entry(
        &self,
        account: &Account,
        entry: &Entry,
        id: &str,
        control: &Control<'_>,
    ) -> Result<Option<Remote>, Failure> {
        let (_, spec) = self.registry.type_of(&entry.kind)?;
        // What is being made is as old as its operation, what is changed as old as its row says.
        let born = match entry.action {
            Action::Create => Some(entry.begun_at.clone()),
            _ => self.store.resource(entry.address.as_str())?.map(|resource| resource.created_at),
        };
        let sought = Sought {
            account,
            spec,
            type_name: type_name(&entry.kind),
            region: entry.region.as_deref(),
            id,
            born: born.as_deref(),
        };
        let found = sought.read(control).map_err(|error| error.failure(&format!("cannot read `{}`", entry.address)))?;
        found.map(|remote| self.own_part(&entry.kind, &entry.account, remote)).transpose()
    }

    /// Looks for what a create made, by the identity its type allows, until its consistency window is over.
    pub(crate) fn search(
        &self,
        account: &Account,
        spec: &TypeSpec,
        entry: &Entry,
        control: &Control<'_>,
    ) -> Result<Found, Failure> {
        let type_name = type_name(&entry.kind);
        let failed = |error: CallError| error.failure(&format!("cannot look for `{}`", entry.address));
        let inputs = self.open_inputs(entry)?;
        let window = window(spec);
        // However old the entry is: nobody wrote down when its call was sent for the last time.
        let until = control.clock.now() + window;
        loop {
            // What was asked before the window was over tells nothing, however late the answer is looked at: a process that
            // slept in between would make the thing once more.
            let over = control.clock.now() >= until;
            let label = match spec.identity {
                IdentityClass::Tagged => Some((LABEL_OP, entry.identity.op.as_str())),
                _ => None,
            };
            let by_key = account.provider.find(type_name, entry.region.as_deref(), &inputs, control).map_err(failed)?;
            let Some(listed) = (match by_key {
                Some(found) => Some(found),
                None => account.provider.list(type_name, entry.region.as_deref(), label, control).map_err(failed)?,
            }) else {
                // What cannot be listed lives in the state alone: an unfinished one left nothing.
                return Ok(Found::None);
            };
            let new = |remote: &Remote| !entry.there.contains(&remote.id) && self.is_ours(spec, entry, &inputs, remote);
            let mut hits: Vec<Remote> = listed.into_iter().filter(new).collect();
            match hits.len() {
                0 => {}
                1 => return Ok(hits.pop().map_or(Found::None, |remote| Found::One(Box::new(remote)))),
                _ => return Ok(Found::Many(hits.into_iter().map(|remote| remote.id).collect())),
            }
            if over || !control.sleep(Duration::from_millis(300)) {
                return Ok(Found::None);
            }
        }
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
