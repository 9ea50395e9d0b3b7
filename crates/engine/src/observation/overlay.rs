//! Owns putting what a cloud shows into the row of a resource, and telling whether it shows what was wanted.

use crate::observation::others::leave_out;
use provision_model::{Action, Map, Remote, Resource, Time, compare, is_sealed};
use provision_registry::TypeSpec;
use provision_state::Entry;

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
pub fn overlay(spec: &TypeSpec, resource: &mut Resource, remote: &Remote, now: Time) {
    let mut shown = remote.fields.clone();
    leave_out(spec, &mut shown, &resource.inputs, &Map::new());
    for (name, value) in &shown {
        if resource.inputs.get(name).is_some_and(|old| !is_sealed(old)) {
            resource.inputs.insert(name.clone(), value.clone());
        }
    }
    attributes(resource, remote);
    resource.updated_at = now;
}

/// Whether a cloud shows these fields as they are to be, and none of what else is `ours`.
pub(crate) fn shows(spec: &TypeSpec, remote: &Remote, wanted: &Map, ours: &dyn Fn(&String) -> bool) -> bool {
    let shown = remote.fields.iter().filter(|(name, _)| ours(name));
    let mut fields: Map = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
    leave_out(spec, &mut fields, wanted, &Map::new());
    fields.extend(remote.said_as(&spec.fields, wanted));
    compare(&spec.fields, wanted, &fields, &[], &|a, b| a == b).changes.is_empty()
}

/// The state that an interrupted update was to bring the resource back to.
pub fn unrestored(spec: &TypeSpec, entry: &Entry, remote: &Remote) -> Option<String> {
    let prior = entry.body.prior_status.as_ref().filter(|prior| spec.word(remote) != Some(prior))?;
    let brings_back =
        |step: &provision_registry::StepSpec| step.until.contains(prior) && step.when_status.contains(prior);
    (entry.body.action == Action::Update && spec.update.iter().any(brings_back)).then(|| prior.clone())
}
