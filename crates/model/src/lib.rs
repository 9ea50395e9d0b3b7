//! Owns what infrastructure is: addresses, references, the configuration, field types, the graph, the diff and the rows
//! people see. Pure functions over data: no IO, no clock, no Nushell, no Nickel.

mod address;
mod config;
mod diff;
mod digest;
mod graph;
mod lookups;
mod normal;
mod path;
mod reference;
mod resource;
mod rows;
mod spec;
mod time;

pub use address::Address;
pub use config::{AccountConfig, Condition, Config, Declaration, Lifecycle, RESERVED, is_account_of};
pub use diff::{Comparison, brought, compare, shown};
pub use digest::{canonical, digest, digest_of_many, short_hash};
pub use graph::{Graph, cycle_of};
pub use lookups::{Lookup, NEWEST, lookups, parse_lookup, put_found};
pub use normal::{Normal, normalised};
pub use path::{Problem, Site, Step, display_path, lookup};
pub use reference::{
    AttributeOf, Malformed, Reference, Resolution, SecretSource, Sources, has_secret, is_sealed, malformed, parse_ref,
    references, resolve, secret_sources, secret_texts, unknown, variables, without_secrets,
};
pub use resource::{Held, Host, Identity, LABEL_OP, LABEL_STATE, Remote, Resource, type_name};
pub use rows::{
    Action, Change, Event, Outcome, PackedQuestion, PlanRow, Question, Recovered, SENSITIVE, Status, UNKNOWN,
};
pub use spec::{Disruption, Encode, FieldSpec, FieldType, IdentityClass, Visible, check_fields, is_later};
pub use time::Time;

/// JSON object type used throughout; keeps the order fields were written in.
pub type Map = serde_json::Map<String, serde_json::Value>;
/// JSON data.
pub type Json = serde_json::Value;
