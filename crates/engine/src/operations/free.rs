//! Owns looking before a create: what is there already is somebody else's, and must not be taken for what is about to be made.

use crate::operations::execute::{Executor, Run};
use crate::operations::search::there_before;
use provision_diagnostic::{Code, Failure};
use provision_state::Entry;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

impl Executor<'_> {
    /// Refuses to make what is there already and belongs to somebody else, or to another row.
    pub(crate) fn is_free(&self, run: &Run<'_>, entry: &Entry) -> Result<(), Failure> {
        let address = &entry.body.address;
        let found = self.there(run, entry)?;
        // The old one of a replacement may show for a while.
        let Some(id) = found.into_iter().find(|id| Some(id) != run.planned.remote_id.as_ref()) else { return Ok(()) };
        let known = self.on.store.resources()?.into_iter().find(|it| it.kind == entry.body.kind && it.remote_id == id);
        let (what, help) = match known {
            Some(known) => (format!("it is `{}`", known.address), "Declare it once.".to_owned()),
            None => (
                "this state does not know it: it is somebody else's, or was made after this state was saved".to_owned(),
                format!(
                    "Take it in with `provision import {address} {id} --type {}`, or make another one.",
                    entry.body.kind
                ),
            ),
        };
        let message = format!("`{address}` is there already with the id `{id}`, and {what}");
        Err(Failure::new(Code::PlanSomeoneElses, message).with_help(help))
    }

    /// The ids of what is there already and must not be taken for what is about to be made.
    pub(crate) fn there(&self, run: &Run<'_>, entry: &Entry) -> Result<Vec<String>, Failure> {
        let found = self.with_control(run, |control| there_before(self.on, &run.account, run.spec, entry, control));
        found.map_err(|error| error.failure(&format!("cannot look whether `{}` is there", entry.body.address)))
    }

    /// Waits for its turn among what is made one after the other.
    pub(crate) fn alone<'b>(&self, among: &'b Mutex<()>) -> Result<MutexGuard<'b, ()>, Failure> {
        loop {
            match among.try_lock() {
                Ok(guard) => return Ok(guard),
                // Another one panicked; what it may have made is in its own open entry.
                Err(TryLockError::Poisoned(held)) => return Ok(held.into_inner()),
                Err(TryLockError::WouldBlock) if self.on.host.sleep(Duration::from_millis(20)) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::new(Code::ApplyIncomplete, "stopped before anything was sent"));
                }
            }
        }
    }
}
