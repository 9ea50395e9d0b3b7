//! Owns adopting what the state lost: written down as a creation that was carried out, and never sent.

use crate::observation::overlay::overlay;
use crate::operations::execute::{Executor, Run, Stopped};
use crate::operations::search::{adopted_resource, is_ours};
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, IdentityClass, Map, Remote, type_name};
use provision_providers::Operation;
use provision_state::{Entry, Record};
use std::collections::HashSet;

impl Executor<'_> {
    /// Takes what a row adopts into the state; gives its id.
    pub(crate) fn adopt(&self, run: &Run<'_>, index: usize) -> Result<Option<String>, Stopped> {
        let operation = self.operation(run)?;
        let allowed_by = self.ask_pending(run, index, &operation.inputs)?;
        let id = operation.remote_id.clone().unwrap_or_default();
        let remote = self.known(run, &operation, &id, false)?;
        let ours = |remote: &Remote| remote.identity.as_ref().is_some_and(|it| *it == operation.identity);
        let Some(remote) = remote.filter(ours) else {
            let message = format!("`{}` is not there any more as it was planned (id {id})", operation.address);
            let failure = Failure::new(Code::PlanStale, message).with_help("Run `provision plan` again.");
            return Err(Stopped::Failed(failure));
        };
        let mut entry = self.entry(run, &operation, allowed_by)?;
        (entry.body.action, entry.body.remote_id) = (Action::Create, None);
        self.take(run, entry, &remote).map(Some)
    }

    fn take(&self, run: &Run<'_>, entry: Entry, remote: &Remote) -> Result<String, Stopped> {
        let store = &self.on.store;
        let mut entry = store.begin(self.lease, entry)?;
        let record = Record::Created { remote_id: remote.id.clone(), once: Map::new() };
        store.record(self.lease, &mut entry, &record)?;
        let mut resource = adopted_resource(self.on, &entry, Some(remote), run.spec)?;
        overlay(run.spec, &mut resource, remote, self.on.host.now());
        store.end_with(self.lease, &mut entry, &resource)?;
        self.publish(resource);
        Ok(remote.id.clone())
    }

    /// Where an older state is applied, and what is made carries no mark: what is there with equal content, and in no row
    /// of the state, is what it lost. It is adopted; `None` where there is none.
    pub(crate) fn adopt_twin(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        entry: &Entry,
    ) -> Result<Option<String>, Stopped> {
        if run.spec.identity == IdentityClass::Tagged || !self.is_behind {
            return Ok(None);
        }
        // A part has the id of its whole: the rules of a server are known by the server's.
        let same = self.on.store.resources()?.into_iter().filter(|it| it.kind == entry.body.kind);
        let known: HashSet<String> = same.map(|it| it.remote_id).collect();
        let (kind, region) = (type_name(&run.place.kind), operation.region.as_deref());
        let found = self.with_control(run, |control| {
            match run.account.provider.find(kind, region, &operation.inputs, control)? {
                Some(found) => Ok(Some(found)),
                None => run.account.provider.list(kind, region, None, control),
            }
        });
        let found =
            found.map_err(|error| error.failure(&format!("cannot look whether `{}` is there", entry.body.address)))?;
        let is_equal = |it: &Remote| is_ours(run.spec, entry, &operation.inputs, it);
        let mut twins: Vec<Remote> =
            found.into_iter().flatten().filter(|it| !known.contains(&it.id) && is_equal(it)).collect();
        match (twins.len(), twins.pop()) {
            (0, _) | (_, None) => Ok(None),
            (1, Some(twin)) => self.take(run, entry.clone(), &twin).map(Some),
            (count, Some(_)) => {
                let message = format!(
                    "`{}` is not created: this state is an older one, and {count} of {} that are there may be what it lost",
                    entry.body.address, entry.body.kind
                );
                let help = format!(
                    "Adopt the right one with `provision import {} ID --type {}`.",
                    entry.body.address, entry.body.kind
                );
                Err(Stopped::Failed(Failure::new(Code::PlanStray, message).with_help(help)))
            }
        }
    }
}
