//! Owns what a deletion would take along: everything that was not made with the resource is spared first.

use crate::observation::sighting::{Sighting, Window, interrupted};
use crate::operations::execute::{Executor, Run, Stopped};
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::Held;
use provision_providers::Operation;
use provision_state::Entry;
use std::collections::HashSet;
use std::time::Duration;

/// How long a cloud may take to let go of what is spared.
const LETTING_GO: Duration = Duration::from_secs(120);

impl Executor<'_> {
    /// Spares what the deletion would take along and was not made with the resource, as it is held at the last moment.
    pub(crate) fn spare(&self, run: &Run<'_>, operation: &Operation, entry: &mut Entry) -> Result<(), Stopped> {
        if run.spec.takes.as_ref().is_none_or(|takes| takes.is_empty()) {
            return Ok(());
        }
        let may_go = may_go(self.on, operation)?;
        let mut spared: HashSet<String> = HashSet::new();
        loop {
            // What an interrupted deletion began is waited for: a cloud detaches nothing from what is still stopping.
            let Some(remote) = self.settled(run, operation).map_err(Stopped::InDoubt)? else { return Ok(()) };
            let goes = |name: &String, id: &String| may_go.get(name).is_some_and(|ids| ids.contains(id));
            let mut held = remote.held.iter().flat_map(|(name, ids)| ids.iter().map(move |id| (name, id)));
            let Some((name, item)) = held.find(|(name, id)| !spared.contains(*id) && !goes(name, id)) else {
                return self.tell_kept(run, spared);
            };
            let mut operation = operation.clone();
            operation.status = run.spec.word(&remote).cloned();
            operation.prior_status.clone_from(&operation.status);
            for step in run.account.provider.spare(&operation, name, item) {
                self.begin_step(entry, &step)?;
                let sent = self.send_change(run, &operation, &step, entry)?;
                self.await_step(run, &operation, &step, &sent, entry)?;
            }
            self.let_go(run, &operation, name, item)?;
            spared.insert(item.clone());
        }
    }

    /// Says what stays behind of which nobody knows whether it was made with the resource; what is a row of the state has its
    /// own.
    fn tell_kept(&self, run: &Run<'_>, mut spared: HashSet<String>) -> Result<(), Stopped> {
        // Before every deletion, and hardly ever is there anything: the state is not read for nothing.
        if spared.is_empty() {
            return Ok(());
        }
        self.on.store.resources()?.iter().for_each(|resource| _ = spared.remove(&resource.remote_id));
        if !spared.is_empty() {
            let mut ids: Vec<String> = spared.into_iter().map(|id| format!("`{id}`")).collect();
            ids.sort();
            let note =
                format!("detached and kept: {}; this state does not know that they were made with it", ids.join(", "));
            let _ = run.note.set(note);
        }
        Ok(())
    }

    /// Waits until a resource does not hold something any more: what a cloud is still letting go of could go with it.
    fn let_go(&self, run: &Run<'_>, operation: &Operation, name: &str, item: &str) -> Result<(), Stopped> {
        let (what, id) = (self.what(run), operation.remote_id.clone().unwrap_or_default());
        let window = Window::until(self.on.host.outside.clock.now() + LETTING_GO);
        let looked = self.with_control(run, |control| {
            window.look(control, || {
                let remote = self.look(run, operation, &id, false)?.known(&run.account.name)?;
                let ids = remote.as_ref().and_then(|remote| remote.held.get(name));
                Ok((!ids.is_some_and(|ids| ids.iter().any(|held| held == item))).then_some(()))
            })
        });
        match looked {
            Ok(Sighting::There(())) => Ok(()),
            Ok(Sighting::Interrupted) => Err(Stopped::InDoubt(interrupted(&run.account.name).failure(&what))),
            Ok(Sighting::Absent(_)) => Err(Stopped::InDoubt(
                Failure::new(
                    Code::ApplyIncomplete,
                    format!("{what}: the cloud has not let go of {name} `{item}` within {} s", LETTING_GO.as_secs()),
                )
                .with_help("Nothing was deleted. Look at it in the cloud's console, then apply again."),
            )),
            Err(error) => Err(Stopped::InDoubt(error.failure(&what))),
        }
    }
}

/// What may go with a resource: what was made with it and is no resource of the state.
fn may_go(on: &Workspace, operation: &Operation) -> Result<Held, Failure> {
    let own = on.store.resource(operation.address.as_str())?;
    let mut made = own.map(|resource| resource.made).unwrap_or_default();
    let rows: HashSet<String> = on.store.resources()?.into_iter().map(|resource| resource.remote_id).collect();
    made.values_mut().for_each(|ids| ids.retain(|id| !rows.contains(id)));
    Ok(made)
}
