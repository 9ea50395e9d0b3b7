//! Owns telling what one change of the history did.

use crate::commands::Session;
use crate::planning::changes::{creation, removal};
use provision_diagnostic::Failure;
use provision_model::{Action, Address, Change, Json, Map, compare};
use provision_state::Changed;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashSet;

/// What a change did to one address.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ChangeRow {
    pub address: Address,
    #[serde(rename = "type")]
    pub kind: String,
    pub action: Action,
    /// Fields as they were written, before and after; what is sensitive is masked.
    pub changes: Vec<Change>,
}

impl Session {
    /// What one change did, by address.
    pub fn change_rows(&self, serial: i64) -> Result<Vec<ChangeRow>, Failure> {
        self.workspace.store.change(serial)?;
        self.workspace
            .store
            .changed(serial)?
            .into_iter()
            .filter_map(|changed| self.change_row(changed).transpose())
            .collect()
    }

    fn change_row(&self, changed: Changed) -> Result<Option<ChangeRow>, Failure> {
        let Some(some) = changed.after.as_ref().or(changed.before.as_ref()) else { return Ok(None) };
        let kind = some.resource.kind.clone();
        let (_, spec) = self.workspace.project.registry.type_of(&kind)?;
        let masked = |value: &Json| match provision_model::is_sealed(value) {
            true => Json::from(provision_model::SENSITIVE),
            false => value.clone(),
        };
        let shown = |map: &Map| -> Map { map.iter().map(|(name, value)| (name.clone(), masked(value))).collect() };
        // Sealed anew, a value has another ciphertext and the same digest.
        let same = |a: &Json, b: &Json| a == b || (provision_model::is_sealed(a) && a.get("digest") == b.get("digest"));
        let (action, changes) = match (&changed.before, &changed.after) {
            (Some(before), None) => (Action::Delete, removal(spec, &before.resource)),
            (None, Some(after)) => (Action::Create, creation(spec, &HashSet::new(), &shown(&after.declared))),
            (Some(before), Some(after)) => {
                let mut found = compare(&spec.fields, &after.declared, &before.declared, &[], &same).changes;
                for change in &mut found {
                    change.before = masked(&change.before);
                    change.after = masked(&change.after);
                }
                // What names a secret stays as it is when the secret becomes another one.
                let (old, new) = (&before.resource.inputs, &after.resource.inputs);
                for (name, value) in new.iter().filter(|(_, value)| provision_model::is_sealed(value)) {
                    let was = old.get(name).unwrap_or(&Json::Null);
                    if !same(was, value) && !found.iter().any(|change| change.path == *name) {
                        let (path, before, after) = (name.clone(), was.clone(), value.clone());
                        let change = Change { path, before, after, sensitive: true, forces_replacement: false };
                        found.push(change.masked());
                    }
                }
                let replaced = before.resource.remote_id != after.resource.remote_id;
                (if replaced { Action::Replace } else { Action::Update }, found)
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(ChangeRow { address: changed.address, kind, action, changes }))
    }
}
