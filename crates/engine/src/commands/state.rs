//! Owns the state by itself: what it holds, one resource in full, and what changes there alone: names, marks, protection.

use crate::commands::Session;
use crate::configuration::reading::{Input, standing};
use crate::operations::moved::moved;
use crate::planning::planned::PlannedRow;
use crate::policy::alone::{AtOnce, may_do, noted};
use crate::policy::gate::open_gate;
use crate::workspace::writer;
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_model::{Action, Address, Json, Map, Resource, SENSITIVE, Time};
use provision_state::{Edit, Lease, NewChange};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

/// One resource as `provision state list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
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
    pub created_at: Time,
    /// RFC 3339.
    pub updated_at: Time,
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
            created_at: resource.created_at,
            updated_at: resource.updated_at,
        }
    }
}

impl Session {
    /// Every resource of the state, by address.
    pub fn list(&self) -> Result<Vec<ResourceRow>, Failure> {
        Ok(self.workspace.store.resources()?.iter().map(ResourceRow::from).collect())
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
        let lease = writer(&self.workspace, &self.actor)?;
        let mut resource = self.find(address)?;
        let verb = if kind == "unprotect" { kind } else { "mark" };
        self.may_alter(&lease, verb, &resource, &[&resource.address])?;
        how(&mut resource)?;
        resource.updated_at = self.workspace.host.now();
        let row = ResourceRow::from(&resource);
        let change = NewChange { subject: Some(resource.address.clone()), ..NewChange::new(kind, &self.actor.source) };
        self.workspace.store.edit(&lease, &change, &Edit { puts: vec![resource], ..Edit::default() })?;
        self.workspace.store.checkpoint()?;
        Ok(row)
    }

    /// Forgets a resource: it stays in the cloud, and is nobody's. A protected one is not forgotten.
    pub fn forget(&self, address: &str) -> Result<ResourceRow, Failure> {
        let lease = writer(&self.workspace, &self.actor)?;
        let resource = self.find(address)?;
        if resource.protect {
            return Err(protected(address));
        }
        let config = standing(&self.workspace, &Input::Project)?.config;
        self.workspace.refuse_other_project(&config.name)?;
        let gate = open_gate(&self.workspace, &self.actor, config.policies.as_deref(), Some(&lease))?;
        let (manifest, spec) = self.workspace.project.registry.type_of(&resource.kind)?;
        let planned = PlannedRow::removal(manifest, spec, &resource, Action::Forget, "let go of");
        let left = self.workspace.store.resources()?.len().saturating_sub(1);
        let rows = [(&planned, &resource.inputs)];
        let what = AtOnce { purpose: "forget", verb: None, after: left, rows: &rows };
        let answer = may_do(&self.workspace, &self.actor, &gate, &config, &what);
        noted(&self.workspace, &lease, "forget", Some(&resource.address), answer)?;
        let change =
            NewChange { subject: Some(resource.address.clone()), ..NewChange::new("forget", &self.actor.source) };
        let gone = Edit { gone: vec![resource.address.clone()], ..Edit::default() };
        self.workspace.store.edit(&lease, &change, &gone)?;
        self.workspace.store.checkpoint()?;
        Ok(ResourceRow::from(&resource))
    }

    /// Asks the policies about a change of what the state says of a resource, under each of its addresses.
    fn may_alter(&self, lease: &Lease, verb: &str, resource: &Resource, addresses: &[&Address]) -> Result<(), Failure> {
        let config = standing(&self.workspace, &Input::Project)?.config;
        self.workspace.refuse_other_project(&config.name)?;
        let gate = open_gate(&self.workspace, &self.actor, config.policies.as_deref(), Some(lease))?;
        let (manifest, spec) = self.workspace.project.registry.type_of(&resource.kind)?;
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
        let after = self.workspace.store.resources()?.len();
        let what = AtOnce { purpose: verb, verb: Some(verb), after, rows: &asked };
        let answer = may_do(&self.workspace, &self.actor, &gate, &config, &what);
        noted(&self.workspace, lease, verb, Some(&resource.address), answer)
    }

    /// Gives a resource another address; what depends on it follows.
    pub fn rename(&self, from: &str, to: &str) -> Result<ResourceRow, Failure> {
        let lease = writer(&self.workspace, &self.actor)?;
        let resource = self.find(from)?;
        if !to.split('.').all(Address::valid_part) {
            return Err(Failure::new(Code::PlanAddress, format!("`{to}` is not a valid address"))
                .with_help("Use lower-case letters, digits, `_` and `-`, starting with a letter."));
        }
        if self.workspace.store.resource(to)?.is_some() {
            return Err(Failure::new(Code::ImportAddressTaken, format!("the state has a resource `{to}` already"))
                .with_help("Give it an address that is free."));
        }
        let (from, to) = (resource.address.clone(), Address::new(to));
        self.may_alter(&lease, "move", &resource, &[&from, &to])?;
        let rows = moved(self.workspace.store.resources()?, &HashMap::from([(from.clone(), to.clone())]));
        let mut detail = Map::new();
        detail.insert("from".into(), Json::from(from.as_str()));
        let change = NewChange { subject: Some(to.clone()), detail, ..NewChange::new("move", &self.actor.source) };
        self.workspace.store.edit(&lease, &change, &rows)?;
        self.workspace.store.checkpoint()?;
        Ok(ResourceRow::from(&Resource { address: to, ..resource }))
    }

    fn find(&self, address: &str) -> Result<Resource, Failure> {
        if let Some(resource) = self.workspace.store.resource(address)? {
            return Ok(resource);
        }
        let all = self.workspace.store.resources()?;
        Err(Failure::new(Code::StateUnknownAddress, format!("the state has no resource `{address}`")).with_help(
            did_you_mean(address, all.iter().map(|resource| resource.address.as_str()), || {
                "See `provision state list`.".to_owned()
            }),
        ))
    }
}

fn protected(address: &str) -> Failure {
    Failure::new(Code::PlanProtected, format!("`{address}` is protected"))
        .with_help(format!("Run `provision state unprotect {address}` first."))
}

fn mask(map: &mut Map) {
    for value in map.values_mut() {
        if provision_model::is_sealed(value) {
            *value = Json::from(SENSITIVE);
        }
    }
}
