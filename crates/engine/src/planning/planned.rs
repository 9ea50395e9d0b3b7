//! Owns a plan as it is kept: its rows, with what carrying them out needs.

use crate::configuration::deferred::Later;
use crate::configuration::desired::region_of;
use crate::planning::changes::removal;
use indexmap::IndexMap;
use provision_model::{
    AccountConfig, Action, Address, Disruption, Json, Lifecycle, Map, PlanRow, Question, Resource, Time, digest,
    digest_of_many,
};
use provision_registry::{Manifest, TypeSpec};
use serde::{Deserialize, Serialize};

/// A plan as the state keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    pub digest: String,
    pub lineage: String,
    pub project: String,
    pub created_at: Time,
    /// Who made it; the policies may say that this is not who approves it.
    #[serde(default)]
    pub author: String,
    pub destroy: bool,
    /// What it is for: `apply`, `destroy`, `heal`, `rollback`.
    #[serde(default = "apply")]
    pub purpose: String,
    pub policies: Option<String>,
    pub accounts: IndexMap<String, AccountConfig>,
    pub outputs: Map,
    pub rows: Vec<PlannedRow>,
    /// Resources in the state once all rows are applied.
    pub resources_after: usize,
}

/// A row with what carrying it out needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRow {
    pub row: PlanRow,
    pub account: String,
    pub region: Option<String>,
    /// The default cloud name.
    pub name: String,
    /// Desired fields, references unresolved, sensitive literals sealed.
    pub inputs: Map,
    /// Current fields, for what is changed item by item.
    pub prior_fields: Map,
    pub prior_status: Option<String>,
    /// The state that an interrupted update was to bring it back to.
    #[serde(default)]
    pub restore: Option<String>,
    pub remote_id: Option<String>,
    /// Digest of the state's row; `None` where there was none.
    pub prior: Option<String>,
    pub changed: Vec<String>,
    pub lifecycle: Lifecycle,
    /// What the resource needs, in the plan or not.
    pub needs: Vec<Address>,
    /// What its creation leaves to an update.
    #[serde(default, skip_serializing_if = "Later::is_empty")]
    pub later: Later,
    pub disruption: Disruption,
    pub once_wanted: Vec<String>,
    /// Where the one that a replacement takes away is: another type, account or region than the new one may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Place>,
    /// A replacement makes the new one first, because something that is replaced that way needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub makes_first: bool,
    /// The address the state has it under.
    #[serde(default)]
    pub moved_from: Option<Address>,
    /// The generation of what the state has.
    #[serde(default)]
    pub generation: u64,
}

/// Where a resource is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `hetzner.server`.
    pub kind: String,
    pub account: String,
    pub region: Option<String>,
}

impl Place {
    /// Where the state has a resource.
    pub(crate) fn of(manifest: &Manifest, resource: &Resource) -> Self {
        Self {
            kind: resource.kind.clone(),
            account: resource.account.clone(),
            region: region_of(manifest, &resource.inputs),
        }
    }
}

impl PlannedRow {
    /// A row that takes a resource away, or lets it go.
    pub(crate) fn removal(
        manifest: &Manifest,
        spec: &TypeSpec,
        resource: &Resource,
        action: Action,
        reason: &str,
    ) -> PlannedRow {
        PlannedRow {
            row: PlanRow {
                address: resource.address.clone(),
                provider: manifest.name.clone(),
                kind: resource.kind.clone(),
                action,
                changes: removal(spec, resource),
                depends_on: Vec::new(),
                reason: reason.to_owned(),
                request: Question::empty().into(),
                plan: String::new(),
            },
            account: resource.account.clone(),
            region: region_of(manifest, &resource.inputs),
            old: None,
            makes_first: false,
            name: String::new(),
            inputs: resource.inputs.clone(),
            prior_fields: Map::new(),
            prior_status: None,
            restore: None,
            remote_id: Some(resource.remote_id.clone()),
            prior: Some(ground(resource)),
            changed: Vec::new(),
            lifecycle: Lifecycle::default(),
            needs: resource.depends_on.clone(),
            later: Later::default(),
            disruption: Disruption::Replace,
            once_wanted: Vec::new(),
            moved_from: None,
            generation: resource.generation,
        }
    }

    /// Whether it is a replacement that makes the new one before the old one goes.
    pub fn makes_first(&self) -> bool {
        self.row.action == Action::Replace && (self.makes_first || self.lifecycle.create_before_destroy)
    }

    /// Where an action of this row works: what a replacement deletes may be elsewhere than what it makes.
    pub fn place(&self, action: Action) -> Place {
        let new = || Place { kind: self.row.kind.clone(), account: self.account.clone(), region: self.region.clone() };
        self.old.clone().filter(|_| matches!(action, Action::Delete | Action::Forget)).unwrap_or_else(new)
    }
}

impl Plan {
    /// The rows people see.
    pub fn rows(&self) -> impl Iterator<Item = &PlanRow> {
        self.rows.iter().map(|planned| &planned.row)
    }

    /// The plan as a document for other programs: `{format_version, project, digest, created_at, author, purpose, rows}`,
    /// rows as people see them. Fields are added within a format version, never changed or removed.
    pub fn document(&self) -> Json {
        serde_json::json!({
            "format_version": "1",
            "project": self.project,
            "digest": self.digest,
            "created_at": self.created_at,
            "author": self.author,
            "purpose": self.purpose,
            "rows": self.rows().collect::<Vec<_>>(),
        })
    }

    /// The digest that it should have: of all of it but for the digest itself.
    pub fn own_digest(&mut self) -> String {
        // Row by row: as one tree they would be many times their size.
        let (rows, given) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.digest));
        let head = serde_json::to_value(&*self).unwrap_or(Json::Null);
        (self.rows, self.digest) = (rows, given);
        let rows = self.rows.iter().map(|planned| {
            let mut row = serde_json::to_value(planned).unwrap_or(Json::Null);
            row["row"]["plan"] = Json::from("");
            row
        });
        digest_of_many(head.as_object().unwrap_or(&Map::new()), "rows", rows)
    }

    /// Gives the plan its digest, which every row carries.
    pub(crate) fn seal(&mut self) {
        self.digest = self.own_digest();
        for planned in &mut self.rows {
            planned.row.plan.clone_from(&self.digest);
        }
    }

    /// A row by address.
    pub fn find(&self, address: &str) -> Option<&PlannedRow> {
        self.rows.iter().find(|planned| planned.row.address.as_str() == address)
    }
}

/// Digest of a row of the state: the ground a plan row stands on.
pub fn ground(resource: &Resource) -> String {
    let mut value = serde_json::to_value(resource).unwrap_or(Json::Null);
    if let Json::Object(map) = &mut value {
        map.shift_remove("updated_at");
    }
    digest(&value)
}

fn apply() -> String {
    "apply".to_owned()
}
