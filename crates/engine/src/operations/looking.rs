//! Owns looking at the resource of an operation while it is carried out: its state before, and what a call left.

use crate::observation::overlay::shows;
use crate::observation::parts::own_sighting;
use crate::observation::refresh::Sought;
use crate::observation::sighting::{Sighting, window};
use crate::operations::execute::{Executor, Run};
use provision_diagnostic::Failure;
use provision_model::Remote;
use provision_providers::{CallError, Operation};
use provision_registry::TypeSpec;
use std::time::Duration;

/// How long a state that something is passing through is waited out.
pub(crate) const PASSING: Duration = Duration::from_secs(120);

/// Whether a resource in this state is not on its way to another one.
pub(crate) fn rests(spec: &TypeSpec, status: Option<&String>) -> bool {
    match (&spec.status, status) {
        (Some(rules), Some(status)) => {
            rules.ready.contains(status) || rules.failed.contains(status) || rules.gone.contains(status)
        }
        _ => true,
    }
}

impl Executor<'_> {
    /// The state it is in now. One that it is passing through, after an operation that was interrupted, is waited out:
    /// which steps are needed hangs on where it comes to rest.
    pub(crate) fn settled(&self, run: &Run<'_>, operation: &Operation) -> Result<Option<Remote>, Failure> {
        let id = operation.remote_id.clone().unwrap_or_default();
        let types = &run.account.provider.manifest().types;
        let spec = run.spec.host.as_ref().and_then(|host| types.get(&host.kind)).unwrap_or(run.spec);
        let clock = &self.on.host.outside.clock;
        let until = clock.now() + PASSING;
        loop {
            let now = self.known(run, operation, &id, false)?;
            let waits = !rests(spec, now.as_ref().and_then(|remote| run.spec.word(remote))) && clock.now() < until;
            if !waits || !self.on.host.sleep(Duration::from_millis(500)) {
                return Ok(now);
            }
        }
    }

    /// Reads the resource; right after a create a cloud may not show it yet.
    pub(crate) fn look(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        id: &str,
        fresh: bool,
    ) -> Result<Sighting<Remote>, CallError> {
        let known = || self.on.store.resource(operation.address.as_str()).ok().flatten();
        let born = match fresh {
            true => Some(self.on.host.now()),
            // Where the row cannot be read it may be young.
            false => known().map(|resource| resource.created_at),
        };
        let sought = Sought {
            account: &run.account,
            spec: run.spec,
            type_name: &operation.type_name,
            region: operation.region.as_deref(),
            id,
            born,
        };
        let seen = self.with_control(run, |control| sought.read(control))?;
        own_sighting(self.on, &run.place.kind, &run.place.account, seen)
    }

    /// What is there, where it can be known; an error where looking was interrupted.
    pub(crate) fn known(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        id: &str,
        fresh: bool,
    ) -> Result<Option<Remote>, Failure> {
        let known = self.look(run, operation, id, fresh).and_then(|sighting| sighting.known(&run.account.name));
        known.map_err(|error| error.failure(&format!("cannot read `{}`", operation.address)))
    }

    /// Reads what an update left. A cloud may show the values from before for as long as its type's consistency window;
    /// what it shows otherwise than it was sent after that is told, and the next plan shows what is left to do.
    pub(crate) fn read_back(&self, run: &Run<'_>, operation: &Operation, id: &str) -> Result<Option<Remote>, Failure> {
        let clock = &self.on.host.outside.clock;
        let until = clock.now() + window(run.spec);
        loop {
            let over = clock.now() >= until;
            let remote = self.known(run, operation, id, false)?;
            let other = remote.as_ref().map(|remote| otherwise(run.spec, operation, remote)).unwrap_or_default();
            if other.is_empty() {
                return Ok(remote);
            }
            if over || !self.on.host.sleep(Duration::from_millis(300)) {
                let names: Vec<String> = other.iter().map(|name| format!("`{name}`")).collect();
                let note = format!("the cloud still shows another value of {} than was sent", names.join(", "));
                let _ = run.note.set(note);
                return Ok(remote);
            }
        }
    }
}

/// The fields of an update that a resource shows with another value than they were sent with.
fn otherwise(spec: &TypeSpec, operation: &Operation, remote: &Remote) -> Vec<String> {
    let differs = |name: &&String| {
        if !remote.fields.contains_key(*name) || spec.fields.get(*name).is_none_or(|field| field.sensitive) {
            return false;
        }
        let wanted = operation.inputs.get(*name).map(|value| ((*name).clone(), value.clone()));
        !shows(spec, remote, &wanted.into_iter().collect(), &|other| other == *name)
    };
    operation.changed.iter().filter(differs).cloned().collect()
}
