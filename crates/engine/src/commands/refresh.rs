//! Owns refresh: writing what the clouds show into the attributes of the state.

use crate::commands::Session;
use crate::configuration::reading::{Input, read_input};
use crate::observation::overlay::attributes;
use crate::observation::places::other_places;
use crate::observation::refresh::look_at;
use crate::observation::strays::{Stray, own_strays};
use crate::operations::settle::settle_open;
use crate::workspace::acquire;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a refresh found of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// As the state has it.
    Unchanged,
    /// Its attributes in the state were brought up to date.
    Changed,
    /// The cloud has it no more; it stays in the state, and the next plan makes it again.
    Gone,
    /// It carries our mark and is in no row of the state.
    Stray,
}

/// One row of `provision refresh`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RefreshRow {
    pub address: Option<Address>,
    #[serde(rename = "type")]
    pub kind: String,
    pub remote_id: String,
    pub outcome: Seen,
}

impl Session {
    /// Writes what the clouds show now into the attributes of the state. What was applied stays as it was, so that drift
    /// still shows.
    pub fn refresh_state(&self, deep: bool) -> Result<(Vec<RefreshRow>, Vec<Diagnostic>), Failure> {
        let config =
            read_input(&self.workspace, &Input::Project).map(|(located, _)| located.config).unwrap_or_default();
        let lease = acquire(&self.workspace, &self.actor)?;
        // What a crash left half made would look like a stray.
        let mut problems = settle_open(&self.workspace, &lease, &|_| {})?.problems;
        let state = self.workspace.store.resources()?;
        let (others, unopened) = other_places(&self.workspace, &config, &state)?;
        let world = look_at(&self.workspace, &config, &state, &others, deep)?;
        problems.extend(unopened.into_iter().chain(world.problems));
        let mut rows = Vec::new();
        let mut changed = Vec::new();
        for mut resource in state {
            let before = resource.attributes.clone();
            let outcome = match world.resources.get(&resource.address) {
                None => Seen::Unchanged,
                Some(None) => Seen::Gone,
                Some(Some(remote)) => {
                    attributes(&mut resource, remote);
                    if resource.attributes == before { Seen::Unchanged } else { Seen::Changed }
                }
            };
            rows.push(RefreshRow {
                address: Some(resource.address.clone()),
                kind: resource.kind.clone(),
                remote_id: resource.remote_id.clone(),
                outcome,
            });
            if outcome == Seen::Changed {
                resource.updated_at = self.workspace.host.now();
                changed.push(resource);
            }
        }
        if !changed.is_empty() {
            self.workspace.store.put_seen(&lease, &changed)?;
        }
        rows.extend(own_strays(&self.workspace, world.strays)?.into_iter().map(|Stray { kind, remote, .. }| {
            RefreshRow { address: None, kind, remote_id: remote.id, outcome: Seen::Stray }
        }));
        Ok((rows, problems))
    }
}
