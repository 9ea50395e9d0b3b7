//! Owns the calls and steps of a type as the runtime reads them: what is sent, item by item or at once, and what it spares.

use indexmap::IndexMap;
use provision_model::{Json, Map};
use serde::{Deserialize, Serialize};

/// One request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    /// HTTP method of `rest-json`.
    pub method: Option<String>,
    /// `{id}`, `{item}`, `{item.x}` and `{field.x}` are replaced.
    pub path: String,
    /// `Action` of `ec2-query`.
    pub action: Option<String>,
    pub query: IndexMap<String, Json>,
    /// Fields sent: all that are set when absent on a create; those of the step on an update.
    pub fields: Option<Vec<String>>,
    /// The object the body is wrapped in.
    pub wrap: Option<String>,
    /// Merged over the fields, placeholders replaced.
    pub body: Option<Json>,
    /// Path of the item in the answer of create and read.
    pub result: Option<String>,
    /// Path of the items in the answer of list.
    pub items: Option<String>,
    /// The id of what a create makes, where the answer has none: `{field.x}` is replaced.
    pub id: Option<String>,
    /// What an item of read and list gets from what it stands in, where it has none of that name.
    pub inherit: Vec<String>,
    /// What an item of read gets besides, `{id}` and its parts replaced.
    pub with: IndexMap<String, Json>,
    /// Paths of long-running actions (one or a list) in the answer.
    pub actions: Vec<String>,
    /// This list is not paged.
    pub unpaged: bool,
    /// The largest page of this list, where it is not the provider's.
    pub max: Option<u32>,
    /// This list cannot be filtered by label.
    pub unfiltered: bool,
}

/// One call of an update or a deletion made of several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    pub name: String,
    /// Runs when one of these fields changed; a deletion's steps always run.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Runs after the create too, when one of the fields is set.
    #[serde(default)]
    pub on_create: bool,
    /// Runs only when the status before the operation was one of these.
    #[serde(default)]
    pub when_status: Vec<String>,
    #[serde(default)]
    pub call: Option<Call>,
    #[serde(default)]
    pub collection: Option<Collection>,
    /// Waits until the status is one of these.
    #[serde(default)]
    pub until: Vec<String>,
}

/// Things of their own that the cloud deletes together with a resource. Those that were made with it go; any other is
/// spared first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Takes {
    #[serde(default)]
    pub doc: String,
    /// Paths of their ids in an item of `read`.
    pub at: Vec<String>,
    /// Fields that name such as were there before it.
    #[serde(default)]
    pub given: Vec<String>,
    /// The steps that keep one of them, `{item}`, before the deletion.
    pub spare: Vec<StepSpec>,
}

/// What puts items into a field of resources without their doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Foreign {
    /// Lists what puts them there.
    pub call: Call,
    /// Path of the item in one of that list.
    pub item: String,
    /// Path of the ids of the resources that have it from there.
    pub of: String,
    /// Path of the ids of those that have it of their own besides.
    #[serde(default)]
    pub own: Option<String>,
}

/// A list or map changed item by item.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    pub field: String,
    /// What tells items apart; the whole item when absent.
    #[serde(default)]
    pub key: Option<String>,
    /// What an item has that comes and goes by these calls; another item does as `on_change` says. All do when empty.
    #[serde(default)]
    pub only: Map,
    pub add: Call,
    pub remove: Call,
    /// For an item whose key stays; one that goes and one that comes where the cloud has no such call.
    #[serde(default)]
    pub change: Option<Call>,
}
