//! Owns telling what is not as it was last applied.

use crate::commands::Session;
use crate::configuration::desired::ignored;
use crate::configuration::reading::{Input, read_input};
use crate::observation::drift::{DriftRow, differences};
use crate::observation::places::other_places;
use crate::observation::refresh::look_at;
use crate::observation::strays::{Stray, own_strays};
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{Json, Time};

impl Session {
    /// What is not as it was last applied, path by path; resources that are gone, and strays. `deep` also reads each
    /// resource, for what lists do not show. With the rows comes what could not be looked at.
    pub fn drift(&self, deep: bool) -> Result<(Vec<DriftRow>, Vec<Diagnostic>), Failure> {
        // Read for its accounts and for what is not ours to change; a mistake in it does not hide drift.
        let config =
            read_input(&self.workspace, &Input::Project).map(|(located, _)| located.config).unwrap_or_default();
        let state = self.workspace.store.resources()?;
        let (others, mut problems) = other_places(&self.workspace, &config, &state)?;
        let world = look_at(&self.workspace, &config, &state, &others, deep)?;
        problems.extend(world.problems);
        let ignored = ignored(&config.resources);
        let mut rows = Vec::new();
        for resource in &state {
            let row = |path: Option<String>, expected: Json, actual: Json| DriftRow {
                address: Some(resource.address.clone()),
                kind: resource.kind.clone(),
                path,
                expected,
                actual,
                since: Time::default(),
                remote_id: resource.remote_id.clone(),
            };
            match world.resources.get(&resource.address) {
                // It lives in the state alone.
                None => {}
                Some(None) => rows.push(row(None, Json::from(resource.remote_id.as_str()), Json::Null)),
                Some(Some(remote)) => {
                    let ignore = ignored.get(resource.address.as_str()).copied().unwrap_or_default();
                    let changes = differences(&self.workspace, resource, remote, ignore)?;
                    rows.extend(changes.into_iter().map(|it| row(Some(it.path), it.after, it.before)));
                }
            }
        }
        rows.extend(own_strays(&self.workspace, world.strays)?.into_iter().map(|Stray { kind, remote, .. }| {
            DriftRow {
                address: None,
                kind,
                path: None,
                expected: Json::Null,
                actual: Json::from(remote.id.as_str()),
                since: Time::default(),
                remote_id: remote.id,
            }
        }));
        let keys: Vec<_> = rows.iter().map(DriftRow::key).collect();
        for (row, since) in rows.iter_mut().zip(self.workspace.store.first_seen(&keys)?) {
            row.since = since;
        }
        Ok((rows, problems))
    }
}
