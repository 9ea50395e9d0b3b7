//! Owns whose a part is that a cloud shows in a list of the whole too: the part's own, where it is a resource by itself.

use crate::configuration::parts::{Parts, has_parts};
use crate::observation::sighting::{Sighting, interrupted};
use crate::workspace::Workspace;
use provision_diagnostic::Failure;
use provision_model::Remote;
use provision_providers::CallError;

/// The parts that the state has, and those that are being created.
pub(crate) fn known_parts(on: &Workspace) -> Result<Parts, Failure> {
    let mut parts = Parts::default();
    for resource in on.store.resources()? {
        parts.add(&on.project.registry, &resource.kind, &resource.account, &resource.inputs);
    }
    for entry in on.store.open_entries()? {
        parts.add(&on.project.registry, &entry.body.kind, &entry.body.account, &entry.body.inputs);
    }
    Ok(parts)
}

/// What a cloud shows of a resource, without the parts that are resources by themselves. Where the state cannot tell
/// which those are, nobody knows.
pub(crate) fn own_sighting(
    on: &Workspace,
    kind: &str,
    account: &str,
    seen: Sighting<Remote>,
) -> Result<Sighting<Remote>, CallError> {
    let Sighting::There(mut remote) = seen else { return Ok(seen) };
    if has_parts(&on.project.registry, kind) {
        let parts = known_parts(on).map_err(|_| interrupted(account))?;
        parts.take_out(kind, account, &mut remote);
    }
    Ok(Sighting::There(remote))
}
