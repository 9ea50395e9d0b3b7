//! Owns the state by itself: what it holds, one resource in full, and what changes there alone: names, marks, protection.

use crate::Session;
use crate::apply::both;
use crate::plan::PlannedRow;
use crate::project::Input;
use provision_diagnostic::{Failure, did_you_mean};
use provision_model::{Action, Address, Json, Map, Resource, SENSITIVE};
use provision_state::{Edit, Lease, NewChange};
use serde::Serialize;
use std::collections::HashMap;

/// One resource as `provision state list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceRow {
    pub address: Address,
    pub provider: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub account: String,
    pub remote_id: String,
    pub depends_on: Vec<Address>,
    pub protect: bool,
    /// The next plan replaces it.
    pub tainted: bool,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

impl From<&Resource> for ResourceRow {
    fn from(resource: &Resource) -> Self {
        Self {
            address: resource.address.clone(),
            provider: resource.kind.split_once('.').map_or_else(String::new, |(provider, _)| provider.to_owned()),
            kind: resource.kind.clone(),
            account: resource.account.clone(),
            remote_id: resource.remote_id.clone(),
            depends_on: resource.depends_on.clone(),
            protect: resource.protect,
            tainted: resource.tainted || resource.marked,
            created_at: resource.created_at.clone(),
            updated_at: resource.updated_at.clone(),
        }
    }
}

impl Session {
    /// Every resource of the state, by address.
    pub fn list(&self) -> Result<Vec<ResourceRow>, Failure> {
        Ok(self.store.resources()?.iter().map(ResourceRow::from).collect())
    }

    /// One resource in full, sensitive values masked.
    pub fn show(&self, address: &str) -> Result<Resource, Failure> {
        let mut resource = self.find(address)?;
        mask(&mut resource.inputs);
        mask(&mut resource.attributes);
        Ok(resource)
    }

    /// Takes the protection off a resource.
    pub fn unprotect(&self, address: &str) -> Result<ResourceRow, Failure> {
        self.alter("unprotect", address, |resource| {
            resource.protect = false;
            Ok(())
        })
    }

    /// Has the next plan replace a resource, or takes that back. A protected one is not replaced.
    pub fn mark(&self, address: &str, undo: bool) -> Result<ResourceRow, Failure> {
        self.alter(if undo { "keep" } else { "replace" }, address, |resource| {
            if resource.protect && !undo {
                return Err(protected(address));
            }
            resource.marked = !undo;
            Ok(())
        })
    }

    fn alter(
        &self,
        kind: &str,
        address: &str,
        how: impl Fn(&mut Resource) -> Result<(), Failure>,
    ) -> Result<ResourceRow, Failure> {
        let lease = self.writer()?;
        let mut resource = self.find(address)?;
        let verb = if kind == "unprotect" { kind } else { "mark" };
        self.may_alter(&lease, verb, &resource, &[&resource.address])?;
        how(&mut resource)?;
        resource.updated_at = provision_state::now();
        let row = ResourceRow::from(&resource);
        let change = NewChange { subject: Some(resource.address.clone()), ..NewChange::new(kind, &self.source) };
        self.store.edit(&lease, &change, &Edit { puts: vec![resource], ..Edit::default() })?;
        self.store.checkpoint()?;
        Ok(row)
    }

    /// Forgets a resource: it stays in the cloud, and is nobody's. A protected one is not forgotten.
    pub fn forget(&self, address: &str) -> Result<ResourceRow, Failure> {
        let lease = self.writer()?;
        let resource = self.find(address)?;
        if resource.protect {
            return Err(protected(address));
        }
        let config = self.standing(&Input::Project)?.config;
        self.refuse_other_project(&config.name)?;
        let gate = self.gate(config.policies.as_deref(), Some(&lease))?;
        let (manifest, spec) = self.registry.type_of(&resource.kind)?;
        let planned = PlannedRow::removal(manifest, spec, &resource, Action::Forget, "let go of");
        let left = self.store.resources()?.len().saturating_sub(1);
        let answer = self.may_do(&gate, &config, "forget", left, None, &[(&planned, &resource.inputs)]);
        self.noted(&lease, "forget", Some(&resource.address), answer)?;
        let change = NewChange { subject: Some(resource.address.clone()), ..NewChange::new("forget", &self.source) };
        let gone = Edit { gone: vec![resource.address.clone()], ..Edit::default() };
        self.store.edit(&lease, &change, &gone)?;
        self.store.checkpoint()?;
        Ok(ResourceRow::from(&resource))
    }

    /// Asks the policies about a change of what the state says of a resource, under each of its addresses.
    fn may_alter(&self, lease: &Lease, verb: &str, resource: &Resource, addresses: &[&Address]) -> Result<(), Failure> {
        let config = self.standing(&Input::Project)?.config;
        self.refuse_other_project(&config.name)?;
        let gate = self.gate(config.policies.as_deref(), Some(lease))?;
        let (manifest, spec) = self.registry.type_of(&resource.kind)?;
        let rows: Vec<PlannedRow> = addresses
            .iter()
            .map(|address| {
                let mut planned = PlannedRow::removal(manifest, spec, resource, Action::NoOp, verb);
                planned.row.address = (*address).clone();
                planned.lifecycle.protect = resource.protect;
                planned
            })
            .collect();
        let asked: Vec<(&PlannedRow, &Map)> = rows.iter().map(|planned| (planned, &resource.inputs)).collect();
        let answer = self.may_do(&gate, &config, verb, self.store.resources()?.len(), Some(verb), &asked);
        self.noted(lease, verb, Some(&resource.address), answer)
    }

    /// Writes a refusal into the audit log before it is told.
    pub(crate) fn noted(
        &self,
        lease: &Lease,
        verb: &str,
        subject: Option<&Address>,
        answer: Result<(), Failure>,
    ) -> Result<(), Failure> {
        if let Err(failure) = &answer {
            let told: Vec<&str> = failure.diagnostics().map(|one| one.message.as_str()).take(100).collect();
            let mut detail = Map::new();
            detail.insert("denials".into(), serde_json::json!(told));
            let noted = self.store.audit(lease, &format!("{verb}.deny"), subject.map(Address::as_str), detail);
            return both(answer, noted.and_then(|()| self.store.checkpoint()));
        }
        answer
    }

    /// Gives a resource another address; what depends on it follows.
    pub fn rename(&self, from: &str, to: &str) -> Result<ResourceRow, Failure> {
        let lease = self.writer()?;
        let resource = self.find(from)?;
        if !to.split('.').all(Address::valid_part) {
            return Err(Failure::new("provision::plan::address", format!("`{to}` is not a valid address"))
                .with_help("Use lower-case letters, digits, `_` and `-`, starting with a letter."));
        }
        if self.store.resource(to)?.is_some() {
            return Err(Failure::new(
                "provision::import::address_taken",
                format!("the state has a resource `{to}` already"),
            )
            .with_help("Give it an address that is free."));
        }
        let (from, to) = (resource.address.clone(), Address::new(to));
        self.may_alter(&lease, "move", &resource, &[&from, &to])?;
        let rows = moved(self.store.resources()?, &HashMap::from([(from.clone(), to.clone())]));
        let mut detail = Map::new();
        detail.insert("from".into(), Json::from(from.as_str()));
        let change = NewChange { subject: Some(to.clone()), detail, ..NewChange::new("move", &self.source) };
        self.store.edit(&lease, &change, &rows)?;
        self.store.checkpoint()?;
        Ok(ResourceRow::from(&Resource { address: to, ..resource }))
    }

    fn find(&self, address: &str) -> Result<Resource, Failure> {
        if let Some(resource) = self.store.resource(address)? {
            return Ok(resource);
        }
        let all = self.store.resources()?;
        Err(Failure::new("provision::state::unknown_address", format!("the state has no resource `{address}`"))
            .with_help(did_you_mean(address, all.iter().map(|resource| resource.address.as_str()), || {
                "See `provision state list`.".to_owned()
            })))
    }
}

fn protected(address: &str) -> Failure {
    Failure::new("provision::plan::protected", format!("`{address}` is protected"))
        .with_help(format!("Run `provision state unprotect {address}` first."))
}

/// The rows of resources under their new addresses, and of those that depend on them.
pub(crate) fn moved(state: Vec<Resource>, moves: &HashMap<Address, Address>) -> Edit {
    let mut edit =
        Edit { moved: moves.iter().map(|(from, to)| (from.clone(), to.clone())).collect(), ..Edit::default() };
    for mut resource in state {
        let own = moves.get(&resource.address);
        let mut changed = own.is_some();
        for needed in &mut resource.depends_on {
            if let Some(to) = moves.get(needed) {
                *needed = to.clone();
                changed = true;
            }
        }
        if let Some(to) = own {
            edit.gone.push(std::mem::replace(&mut resource.address, to.clone()));
        }
        if changed {
            edit.puts.push(resource);
        }
    }
    // A chain of renames may give one the address of another that goes: it is there, and did not go.
    let there: std::collections::HashSet<&Address> = edit.puts.iter().map(|resource| &resource.address).collect();
    edit.gone.retain(|address| !there.contains(address));
    edit
}

fn mask(map: &mut Map) {
    for value in map.values_mut() {
        if provision_model::is_sealed(value) {
            *value = Json::from(SENSITIVE);
        }
    }
}
