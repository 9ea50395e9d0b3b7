//! Owns telling what one change of the history did.

use crate::Session;
use crate::changes::{creation, removal};
use provision_diagnostic::Failure;
use provision_model::{Action, Address, Change, Json, Map, compare};
use provision_state::Changed;
use serde::Serialize;
use std::collections::HashSet;

/// What a change did to one address.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
        self.store.change(serial)?;
        self.store.changed(serial)?.into_iter().filter_map(|changed| self.change_row(changed).transpose()).collect()
    }

    fn change_row(&self, changed: Changed) -> Result<Option<ChangeRow>, Failure> {
        let Some(some) = changed.after.as_ref().or(changed.before.as_ref()) else { return Ok(None) };
        let kind = some.resource.kind.clone();
        let (_, spec) = self.registry.type_of(&kind)?;
        let shown = |map: &Map| -> Map {
            let masked = |value: &Json| match value.get("$sealed") {
                Some(_) => Json::from(provision_model::SENSITIVE),
                None => value.clone(),
            };
            map.iter().map(|(name, value)| (name.clone(), masked(value))).collect()
        };
        let (action, changes) = match (&changed.before, &changed.after) {
            (Some(before), None) => (Action::Delete, removal(spec, &before.resource)),
            (None, Some(after)) => (Action::Create, creation(spec, &HashSet::new(), &shown(&after.declared))),
            (Some(before), Some(after)) => {
                let (old, new) = (shown(&before.declared), shown(&after.declared));
                let found = compare(&spec.fields, &new, &old, &[], &|a, b| a == b).changes;
                let replaced = before.resource.remote_id != after.resource.remote_id;
                (if replaced { Action::Replace } else { Action::Update }, found)
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(ChangeRow { address: changed.address, kind, action, changes }))
    }
}
