//! Owns Cedar: compiled policy sets, schemas, requests, and decisions that say which policy at which line decided.
//!
//! Knows no Nushell type, no project and no provider; the schema and the entities come from its callers.

mod analyze;
mod authorize;
mod cases;
mod clause;
mod convert;
mod deep;
mod diff;
mod explain;
mod flip;
mod link;
mod list;
mod once;
mod query;
mod question;
mod set;
mod slice;
mod tell;
mod value;

pub use analyze::{Finding, Prover};
pub use authorize::{Authorizer, Decision, Partial, PolicyError, Reason, Verdict};
pub use cases::{Case, CaseResult, CoverageRow, Expected, read_cases};
pub use clause::Part;
pub use convert::{format, policies_from_json, policies_to_json, schema_from_json};
pub use diff::{Decider, Difference, difference};
pub use explain::{ExplainedClause, ExplainedPolicy, Explanation, ScopeMatch};
pub use flip::{Flip, FlipChange};
pub use link::{Link, LinkedPolicy};
pub use list::PolicyRow;
pub use once::read_json;
pub use query::{Allowed, Query};
pub use question::{EntityRef, Question};
pub use set::{PolicyInfo, PolicySet, PolicySource, Schema, schema_json};
