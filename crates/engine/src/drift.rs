//! Owns drift: the clouds against what was last applied, writing down what they show, and the plan that undoes drift.

use crate::Session;
use crate::changes::masked;
use crate::desired::{declaration, region_of};
use crate::plan::{HEAL, Plan, PlanOptions};
use crate::prepared::left_alone;
use crate::project::{INFRA, Input};
use crate::refresh::Place;
use crate::settle::attributes;
use crate::strays::Stray;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{
    Address, Change, Config, Declaration, Json, Lifecycle, Map, Remote, Resource, compare, digest, references,
    variables,
};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// One thing in a cloud that is not as it was last applied.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftRow {
    /// `None` for what carries our mark and is in no row of the state.
    pub address: Option<Address>,
    #[serde(rename = "type")]
    pub kind: String,
    /// Dotted path of the field; `None` where it is the resource as a whole.
    pub path: Option<String>,
    /// As it was last applied; the id of a resource that is gone.
    pub expected: Json,
    /// As the cloud shows it; the id of a stray.
    pub actual: Json,
    /// When it was first seen so, RFC 3339.
    pub since: String,
    pub remote_id: String,
}

/// What a refresh found of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefreshRow {
    pub address: Option<Address>,
    #[serde(rename = "type")]
    pub kind: String,
    pub remote_id: String,
    pub outcome: Seen,
}

impl DriftRow {
    /// What is remembered of it to tell since when: address, path, digest of the actual value. A stray has no address, so
    /// it is found by type and id.
    fn key(&self) -> (String, String, String) {
        let (address, path) = match (&self.address, &self.path) {
            (None, _) => (String::new(), format!("{} {}", self.kind, self.remote_id)),
            (Some(address), path) => (address.to_string(), path.clone().unwrap_or_default()),
        };
        (address, path, digest(&self.actual))
    }
}

impl Session {
    /// What is not as it was last applied, path by path; resources that are gone, and strays. `deep` also reads each
    /// resource, for what lists do not show. With the rows comes what could not be looked at.
    pub fn drift(&self, deep: bool) -> Result<(Vec<DriftRow>, Vec<Diagnostic>), Failure> {
        // Read for its accounts and for what is not ours to change; a mistake in it does not hide drift.
        let config = self.read(&Input::Project).map(|(located, _)| located.config).unwrap_or_default();
        let state = self.store.resources()?;
        let (others, mut problems) = self.other_places(&config, &state)?;
        let world = self.look_at(&config, &state, &others, deep)?;
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
                since: String::new(),
                remote_id: resource.remote_id.clone(),
            };
            match world.resources.get(&resource.address) {
                // It lives in the state alone.
                None => {}
                Some(None) => rows.push(row(None, Json::from(resource.remote_id.as_str()), Json::Null)),
                Some(Some(remote)) => {
                    let ignore = ignored.get(resource.address.as_str()).copied().unwrap_or_default();
                    let changes = self.differences(resource, remote, ignore)?;
                    rows.extend(changes.into_iter().map(|it| row(Some(it.path), it.after, it.before)));
                }
            }
        }
        rows.extend(self.strays(world.strays)?.into_iter().map(|Stray { kind, remote, .. }| DriftRow {
            address: None,
            kind,
            path: None,
            expected: Json::Null,
            actual: Json::from(remote.id.as_str()),
            since: String::new(),
            remote_id: remote.id,
        }));
        let keys: Vec<_> = rows.iter().map(DriftRow::key).collect();
        for (row, since) in rows.iter_mut().zip(self.store.first_seen(&keys)?) {
            row.since = since;
        }
        Ok((rows, problems))
    }

    /// Writes what the clouds show now into the attributes of the state. What was applied stays as it was, so that drift
    /// still shows.
    pub fn refresh_state(&self, deep: bool) -> Result<(Vec<RefreshRow>, Vec<Diagnostic>), Failure> {
        let config = self.read(&Input::Project).map(|(located, _)| located.config).unwrap_or_default();
        let lease = self.lease()?;
        // What a crash left half made would look like a stray.
        let mut problems = self.settle(&lease, &|_| {})?.problems;
        let state = self.store.resources()?;
        let (others, unopened) = self.other_places(&config, &state)?;
        let world = self.look_at(&config, &state, &others, deep)?;
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
                resource.updated_at = provision_state::now();
                changed.push(resource);
            }
        }
        if !changed.is_empty() {
            self.store.put_seen(&lease, &changed)?;
        }
        rows.extend(self.strays(world.strays)?.into_iter().map(|Stray { kind, remote, .. }| RefreshRow {
            address: None,
            kind,
            remote_id: remote.id,
            outcome: Seen::Stray,
        }));
        Ok((rows, problems))
    }

    /// The plan of drift alone: it makes everything as it was last applied. What is new in the project's file is no part of
    /// it; of that file only its name, its policies, its accounts and what is to be left alone count.
    pub fn heal(&self, options: &PlanOptions) -> Result<Plan, Failure> {
        let (located, diagnostics) = self.read(&Input::Project)?;
        Failure::check(diagnostics)?;
        let accounts = self.known_accounts(&located.config)?;
        let Config { name, policies, resources: now, .. } = located.config;
        let state = self.store.resources()?;
        let there: HashSet<&str> = state.iter().map(|resource| resource.address.as_str()).collect();
        let written: HashMap<Address, (Map, Lifecycle)> = self
            .store
            .versions_at(self.store.serial()?)?
            .into_iter()
            .map(|version| (version.resource.address, (version.declared, version.lifecycle)))
            .collect();
        let ignored = ignored(&now);
        let mut resources = Vec::with_capacity(state.len());
        // The old half of a replacement that was under way is nothing anybody wrote.
        for resource in state.iter().filter(|resource| !resource.address.is_replaced()) {
            let mut declared = declaration(resource, self.store.sealer())?;
            if let Some((written, lifecycle)) = written.get(&resource.address) {
                // Protection lives in the state, and it has the address already.
                let Lifecycle { protect, retain, .. } = declared.lifecycle;
                declared.lifecycle = Lifecycle { protect, retain, moved_from: Vec::new(), ..lifecycle.clone() };
                for (field, value) in &mut declared.fields {
                    if let Some(written) = written.get(field) {
                        relink(value, written, &there);
                    }
                }
            }
            if let Some(ignore) = ignored.get(resource.address.as_str()) {
                declared.lifecycle.ignore = ignore.to_vec();
            }
            // It is there: whether the catalogue knows its size is no question any more.
            declared.lifecycle.allow_unknown = true;
            resources.push(declared);
        }
        let config = Config { name, resources, accounts, outputs: self.store.outputs()?, policies };
        self.plan_of(config, &PlanOptions { purpose: Some(HEAL), ..options.clone() })
    }

    /// Where something of ours may be that the state does not have: what is declared and what was there once, by account,
    /// type and region. With it comes why an account could not be opened, once each.
    pub(crate) fn other_places(
        &self,
        config: &Config,
        state: &[Resource],
    ) -> Result<(Vec<Place>, Vec<Diagnostic>), Failure> {
        let (mut places, mut unopened) = self.declared_places(&config.resources, &config.accounts);
        let accounts = self.known_accounts(config)?;
        for (kind, account, inputs) in self.store.places_of_gone()? {
            let Ok((manifest, _)) = self.registry.type_of(&kind) else { continue };
            match self.account(&account, &kind, accounts.get(&account)) {
                Ok(_) => drop(places.insert((account, kind, region_of(manifest, &inputs)))),
                Err(failure) => drop(unopened.entry(account).or_insert(failure)),
            }
        }
        for resource in state {
            let Ok((manifest, _)) = self.registry.type_of(&resource.kind) else { continue };
            let region = region_of(manifest, &resource.inputs);
            places.remove(&(resource.account.clone(), resource.kind.clone(), region));
        }
        let mut places: Vec<Place> = places.into_iter().collect();
        places.sort();
        Ok((places, unopened.into_values().flat_map(Failure::into_diagnostics).collect()))
    }

    /// The project's configuration, whose mistakes are an error; an empty one where the project has no file.
    pub(crate) fn configured(&self) -> Result<Config, Failure> {
        if !self.project.join(INFRA).is_file() {
            return Ok(Config::default());
        }
        let (located, diagnostics) = self.read(&Input::Project)?;
        Failure::check(diagnostics)?;
        Ok(located.config)
    }

    /// The fields that the cloud shows otherwise than they were sent; what is secret is masked.
    fn differences(&self, resource: &Resource, remote: &Remote, ignore: &[String]) -> Result<Vec<Change>, Failure> {
        let (_, spec) = self.registry.type_of(&resource.kind)?;
        let mut expected = Map::new();
        let mut actual = Map::new();
        let mut secret = HashSet::new();
        // What the cloud does not show counts as it was sent, and what was never ours to set is no drift.
        for (field, value) in &resource.inputs {
            let Some(shown) = remote.fields.get(field) else { continue };
            if provision_model::is_sealed(value) {
                secret.insert(field.as_str());
            }
            expected.insert(field.clone(), self.store.sealer().open_value(value)?);
            actual.insert(field.clone(), shown.clone());
        }
        actual.extend(remote.said_as(&spec.fields, &expected));
        crate::others::leave_out(spec, &mut actual, &expected, &Map::new());
        let secrets = self.store.secrets_of(resource)?;
        let found = compare(&spec.fields, &expected, &actual, &left_alone(spec, ignore), &|a, b| a == b);
        Ok(found
            .changes
            .into_iter()
            .map(|change| {
                let field = change.path.split('.').next().unwrap_or_default();
                let repeats = [&change.before, &change.after].iter().any(|value| secrets.is_in_json(value));
                if secret.contains(field) || repeats { masked(&change) } else { change }
            })
            .collect())
    }
}

/// The fields whose changes are not ours to make, by address.
fn ignored(declared: &[Declaration]) -> HashMap<&str, &[String]> {
    declared.iter().map(|it| (it.address.as_str(), it.lifecycle.ignore.as_slice())).collect()
}

/// Puts the references of a value as it was written into the place of what they were last resolved to: what is made again
/// has another id. What came from the environment stays as it was sent.
fn relink(value: &mut Json, written: &Json, there: &HashSet<&str>) {
    if written.get("$ref").is_some() || written.get("$join").is_some() {
        let found = references(written);
        let known = found.iter().all(|reference| there.contains(reference.address.as_str()));
        if known && !found.is_empty() && variables(written).is_empty() {
            *value = written.clone();
        }
        return;
    }
    match (value, written) {
        (Json::Object(map), Json::Object(written)) => {
            for (key, item) in map {
                if let Some(written) = written.get(key) {
                    relink(item, written, there);
                }
            }
        }
        (Json::Array(items), Json::Array(written)) if items.len() == written.len() => {
            for (item, written) in items.iter_mut().zip(written) {
                relink(item, written, there);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_come_back_and_what_came_from_the_environment_stays() {
        let reference = json!({"$ref": {"address": "net", "attribute": "id"}});
        let lost = json!({"$ref": {"address": "gone", "attribute": "id"}});
        let mut value = json!({"a": [7], "b": "n7", "c": "x7", "d": [1, 2], "e": {"$secret": "s"}, "f": 3});
        let written = json!({"a": [reference], "b": {"$join": ["n", reference]},
            "c": {"$join": [{"$env": "X"}, reference]}, "d": [reference], "e": {"$sealed": "…"}, "f": lost});
        relink(&mut value, &written, &HashSet::from(["net"]));
        assert_eq!(
            value,
            json!({"a": [reference], "b": {"$join": ["n", reference]}, "c": "x7", "d": [1, 2], "e": {"$secret": "s"}, "f": 3})
        );
    }

    #[test]
    fn each_drift_is_remembered_by_its_own_key() {
        let row = DriftRow {
            address: Some(Address::new("web")),
            kind: "hetzner.server".into(),
            path: Some("labels.tier".into()),
            expected: json!("web"),
            actual: json!("other"),
            since: String::new(),
            remote_id: "7".into(),
        };
        let gone = DriftRow { path: None, actual: Json::Null, ..row.clone() };
        let stray = DriftRow { address: None, path: None, actual: json!("7"), ..row.clone() };
        let second = DriftRow { remote_id: "8".into(), actual: json!("8"), ..stray.clone() };
        let keys: HashSet<_> = [&row, &gone, &stray, &second].map(|row| (row.key().0, row.key().1)).into();
        assert_eq!(keys.len(), 4);
        assert_ne!(row.key().2, DriftRow { actual: json!("third"), ..row.clone() }.key().2);
    }
}
