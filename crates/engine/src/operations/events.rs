//! Owns what an operation tells while it goes on.

use crate::workspace::Workspace;
use provision_model::{Action, Address, Event, Status};

/// Takes events as they happen.
pub type Sink<'a> = &'a (dyn Fn(Event) + Sync);

pub(crate) fn event(
    on: &Workspace,
    address: Address,
    action: Action,
    status: Status,
    message: Option<String>,
) -> Event {
    Event { time: on.host.now(), address, action, status, attempt: 1, elapsed: 0, remote_id: None, message }
}
