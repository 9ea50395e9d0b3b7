//! Owns resources as the state keeps them and as a cloud shows them.

use crate::diff::is_same;
use crate::{Address, FieldSpec, Map, Time, short_hash};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Label or tag that carries the lineage of the state a resource belongs to.
pub const LABEL_STATE: &str = "nu-provision-state";
/// Label or tag that carries the operation that created it.
pub const LABEL_OP: &str = "nu-provision-op";

/// `server` of `hetzner.server`.
pub fn type_name(kind: &str) -> &str {
    kind.split_once('.').map_or("", |(_, name)| name)
}

/// What marks a resource as ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The state's lineage.
    pub state: String,
    /// Hash of lineage, address and generation.
    pub op: String,
}

impl Identity {
    /// The identity of the creation of `address` in its `generation` (counted from 1).
    pub fn new(lineage: &str, address: &Address, generation: u64) -> Self {
        Self { state: lineage.to_owned(), op: short_hash(&format!("{lineage}\n{address}\n{generation}"), 32) }
    }
}

/// A resource in the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resource {
    pub address: Address,
    /// `hetzner.server`.
    #[serde(rename = "type")]
    pub kind: String,
    pub account: String,
    pub remote_id: String,
    /// What was last sent, sensitive values sealed.
    pub inputs: Map,
    /// What the cloud says, by attribute name (dotted), sensitive values sealed.
    pub attributes: Map,
    pub depends_on: Vec<Address>,
    /// Those of `depends_on` that closed a cycle: only fields that were set after the creation refer to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<Address>,
    pub generation: u64,
    pub protect: bool,
    pub retain: bool,
    /// Something it needs was lost; the next plan replaces it.
    pub tainted: bool,
    /// Somebody asked for its replacement; the next plan replaces it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
    /// The vendor's word for the state that an interrupted update was to bring it back to.
    #[serde(default)]
    pub restore: Option<String>,
    /// Digest of the values of `replace_when` it was made with.
    #[serde(default)]
    pub triggers: Option<String>,
    /// The ids of what was made with it and is deleted with it, by the name its manifest gives them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub made: Held,
    /// RFC 3339.
    pub created_at: Time,
    /// RFC 3339.
    pub updated_at: Time,
}

impl Resource {
    /// The first of its address, as it is before anything else is known of it.
    pub fn new(address: Address, kind: &str, account: &str, remote_id: &str, now: Time) -> Resource {
        Resource {
            address,
            kind: kind.to_owned(),
            account: account.to_owned(),
            remote_id: remote_id.to_owned(),
            inputs: Map::new(),
            attributes: Map::new(),
            depends_on: Vec::new(),
            deferred: Vec::new(),
            generation: 1,
            protect: false,
            retain: false,
            tainted: false,
            marked: false,
            restore: None,
            triggers: None,
            made: Held::new(),
            created_at: now,
            updated_at: now,
        }
    }
}

/// Ids of what a resource holds and a deletion would take along, by the name its manifest gives them.
pub type Held = IndexMap<String, Vec<String>>;

/// A resource as a cloud shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Remote {
    pub id: String,
    /// Values of the type's fields, in the user's shape; only what was visible.
    pub fields: Map,
    /// Values of the type's attributes, by dotted name.
    pub attributes: Map,
    pub identity: Option<Identity>,
    /// The vendor's word for its state, where the type has one.
    pub status: Option<String>,
    /// What its deletion would take along, as it is now.
    pub held: Held,
    /// What an import takes for fields that are never compared.
    pub adoptable: Map,
    /// What it is attached to, where its type says so and it was read by its id.
    pub host: Option<Host>,
}

/// What a resource is attached to, and the vendor's word for the state of that.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Host {
    pub id: String,
    pub status: Option<String>,
}

impl Remote {
    /// The fields that are as expected under another name: the id of an image where the cloud shows its name.
    pub fn said_as(&self, specs: &IndexMap<String, FieldSpec>, expected: &Map) -> Map {
        let same = |(name, spec): (&String, &FieldSpec)| {
            let (value, other) = (expected.get(name)?, self.attributes.get(spec.also.as_ref()?)?);
            is_same(value, other).then(|| (name.clone(), value.clone()))
        };
        specs.iter().filter_map(same).collect()
    }
}
