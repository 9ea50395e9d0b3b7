//! Owns looking for what a create made, by the identity its type allows, and what becomes of what is found.

use crate::observation::made::made_with;
use crate::observation::overlay::{attributes, shows};
use crate::observation::sighting::{Sighting, Window, WindowElapsed};
use crate::workspace::Workspace;
use provision_diagnostic::Failure;
use provision_model::{IdentityClass, LABEL_OP, Map, Remote, Resource, type_name};
use provision_providers::{Account, CallError, Control};
use provision_registry::TypeSpec;
use provision_state::Entry;

/// What a search by identity found.
pub enum Found {
    One(Box<Remote>),
    Many(Vec<String>),
}

/// Looks for what a create made, by the identity its type allows, until a window is over; tells when it has to wait.
pub(crate) fn search_made(
    on: &Workspace,
    account: &Account,
    spec: &TypeSpec,
    entry: &Entry,
    window: Window,
    waiting: &dyn Fn(),
    control: &Control<'_>,
) -> Result<Sighting<Found>, Failure> {
    let type_name = type_name(&entry.body.kind);
    let inputs = open_inputs(on, entry)?;
    let label = match spec.identity {
        IdentityClass::Tagged => Some((LABEL_OP, entry.body.identity.op.as_str())),
        _ => None,
    };
    let mut is_listed = true;
    let looked = window.look(control, || {
        let by_key = account.provider.find(type_name, entry.body.region.as_deref(), &inputs, control)?;
        let Some(listed) = (match by_key {
            Some(found) => Some(found),
            None => account.provider.list(type_name, entry.body.region.as_deref(), label, control)?,
        }) else {
            is_listed = false;
            return Ok(Some(Found::Many(Vec::new())));
        };
        let new = |remote: &Remote| !entry.body.there.contains(&remote.id) && is_ours(spec, entry, &inputs, remote);
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
    let looked = looked.map_err(|error| error.failure(&format!("cannot look for `{}`", entry.body.address)))?;
    // What cannot be listed lives in the state alone: an unfinished one left nothing.
    Ok(if is_listed { looked } else { Sighting::Absent(WindowElapsed::in_the_state_alone()) })
}

/// The ids of what is there already and could be taken for what a create is about to make, where nothing but its content
/// tells. Looked for before the create is written down: what is found later is its own.
pub(crate) fn there_before(
    on: &Workspace,
    account: &Account,
    spec: &TypeSpec,
    entry: &Entry,
    control: &Control<'_>,
) -> Result<Vec<String>, CallError> {
    if spec.identity == IdentityClass::Tagged {
        return Ok(Vec::new());
    }
    let (type_name, region) = (type_name(&entry.body.kind), entry.body.region.as_deref());
    let inputs = open_inputs(on, entry).unwrap_or_else(|_| entry.body.inputs.clone());
    // Where the key is the user's own, what is under it is somebody else's whatever it holds.
    if let Some(found) = account.provider.find(type_name, region, &inputs, control)? {
        return Ok(found.into_iter().map(|remote| remote.id).collect());
    }
    let listed = account.provider.list(type_name, region, None, control)?;
    // Of what nothing tells apart, everything that is there is another one.
    let all = spec.identity == IdentityClass::Anonymous;
    let taken = listed.into_iter().flatten().filter(|remote| all || is_ours(spec, entry, &inputs, remote));
    Ok(taken.map(|remote| remote.id).collect())
}

pub(crate) fn is_ours(spec: &TypeSpec, entry: &Entry, inputs: &Map, remote: &Remote) -> bool {
    match spec.identity {
        IdentityClass::Tagged => remote.identity.as_ref().is_some_and(|identity| identity.op == entry.body.identity.op),
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
pub(crate) fn adopted_resource(
    on: &Workspace,
    entry: &Entry,
    remote: Option<&Remote>,
    spec: &TypeSpec,
) -> Result<Resource, Failure> {
    let mut inputs = entry.body.inputs.clone();
    for step in spec.update.iter().filter(|step| step.on_create) {
        for field in &step.fields {
            match remote.and_then(|remote| remote.fields.get(field)) {
                Some(value) => inputs.insert(field.clone(), value.clone()),
                None => inputs.shift_remove(field),
            };
        }
    }
    let lost = entry.body.once_wanted.iter().any(|name| !entry.body.once.contains_key(name));
    let mut resource = Resource {
        address: entry.body.address.clone(),
        kind: entry.body.kind.clone(),
        account: entry.body.account.clone(),
        remote_id: remote.map(|remote| remote.id.clone()).or_else(|| entry.body.remote_id.clone()).unwrap_or_default(),
        inputs,
        attributes: entry.body.once.clone(),
        depends_on: entry.body.depends_on.clone(),
        deferred: entry.body.deferred.clone(),
        generation: entry.body.generation,
        protect: entry.body.protect,
        retain: entry.body.retain,
        tainted: lost,
        marked: false,
        restore: None,
        triggers: entry.body.triggers.clone(),
        made: made_with(spec, remote, &entry.body.inputs),
        created_at: entry.begun_at,
        updated_at: on.host.now(),
    };
    if let Some(remote) = remote {
        attributes(&mut resource, remote);
    }
    Ok(resource)
}

/// What an operation was to send, without its seals.
fn open_inputs(on: &Workspace, entry: &Entry) -> Result<Map, Failure> {
    let sealer = on.store.sealer();
    entry.body.inputs.iter().map(|(name, value)| Ok((name.clone(), sealer.open_value(value)?))).collect()
}
