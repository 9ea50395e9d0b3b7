//! Owns waiting until what an operation is about to change, or what that is attached to, has come to rest.

use crate::execute::{Executor, Run};
use provision_diagnostic::Failure;
use provision_model::Remote;
use provision_providers::Operation;
use std::time::Duration;

/// How long a state that something is passing through is waited out.
const PASSING: Duration = Duration::from_secs(120);

impl Executor<'_> {
    /// The state it is in now. One that it is passing through, after an operation that was interrupted, is waited out:
    /// which steps are needed hangs on where it comes to rest.
    pub(crate) fn settled(&self, run: &Run<'_>, operation: &Operation) -> Result<Option<Remote>, Failure> {
        let id = operation.remote_id.clone().unwrap_or_default();
        let types = &run.account.provider.manifest().types;
        let spec = run.spec.host.as_ref().and_then(|host| types.get(&host.kind)).unwrap_or(run.spec);
        let rests = |status: Option<&String>| match (&spec.status, status) {
            (Some(rules), Some(status)) => {
                rules.ready.contains(status) || rules.failed.contains(status) || rules.gone.contains(status)
            }
            _ => true,
        };
        let clock = &self.session.outside.clock;
        let until = clock.now() + PASSING;
        loop {
            let now = self.look(run, operation, &id, false)?;
            let waits = !rests(now.as_ref().and_then(|remote| run.spec.word(remote))) && clock.now() < until;
            if !waits || !self.session.sleep(Duration::from_millis(500)) {
                return Ok(now);
            }
        }
    }
}
