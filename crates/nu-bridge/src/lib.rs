//! Owns the way between Nushell and the domain: values, streams, paths, settings, and errors.
//!
//! Nothing but the plugins uses it, and nothing else in the suite translates.

#![expect(
    clippy::result_large_err,
    reason = "Nushell's own error types are this large, and its traits return them by value"
)]

mod engine;
mod errors;
mod parallel;
mod streams;
mod typed;
mod values;

pub use engine::{env_paths, env_string, resolve_path, user_dir};
pub use errors::{diagnostics_table, labeled, shell};
pub use parallel::in_parallel;
pub use streams::{rows, stream, until_error};
pub use typed::{Kind, row, typed};
pub use values::{from_json, from_serialize, to_json};
