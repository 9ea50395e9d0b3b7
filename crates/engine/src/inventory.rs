//! Owns looking at the state: what it holds, one resource in full, and lifting protection.

use crate::Session;
use provision_diagnostic::{Failure, nearest};
use provision_model::{Address, Json, Map, Resource, SENSITIVE};
use provision_state::Lease;
use serde::Serialize;

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
            tainted: resource.tainted,
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
        let lease = Lease::acquire(&self.store, &self.user)?;
        let mut resource = self.find(address)?;
        resource.protect = false;
        resource.updated_at = provision_state::now();
        self.store.put(&lease, &resource)?;
        Ok(ResourceRow::from(&resource))
    }

    fn find(&self, address: &str) -> Result<Resource, Failure> {
        if let Some(resource) = self.store.resource(address)? {
            return Ok(resource);
        }
        let all = self.store.resources()?;
        let near = nearest(address, all.iter().map(|resource| resource.address.as_str()));
        Err(Failure::new("provision::state::unknown_address", format!("the state has no resource `{address}`"))
            .with_help(
                near.map_or_else(|| "See `provision state list`.".to_owned(), |near| format!("Did you mean `{near}`?")),
            ))
    }
}

fn mask(map: &mut Map) {
    for value in map.values_mut() {
        if value.get("$sealed").is_some() {
            *value = Json::from(SENSITIVE);
        }
    }
}
