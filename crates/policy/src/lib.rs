//! Owns Cedar: compiled policy sets, schemas, requests, and decisions that say which policy at which line decided.
//!
//! Knows no Nushell type, no project and no provider; the schema and the entities come from its callers.

mod authorize;
mod convert;
mod list;
mod question;
mod set;
mod tell;

pub use authorize::{Authorizer, Decision, Partial, PolicyError, Reason, Verdict};
pub use convert::{format, policies_from_json, policies_to_json, schema_from_json};
pub use list::PolicyRow;
pub use question::{EntityRef, Question};
pub use set::{PolicyInfo, PolicySet, PolicySource, Schema, schema_json};
