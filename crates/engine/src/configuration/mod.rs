//! Text in, typed declarations out: files, look-ups as they are written, renames, sources of secrets, accounts.
//!
//! Must not know plans, policies or operations.

pub(crate) mod accounts;
pub(crate) mod deferred;
pub(crate) mod desired;
pub(crate) mod environments;
pub(crate) mod lookups;
pub(crate) mod moves;
pub(crate) mod named;
pub(crate) mod parts;
pub(crate) mod reading;
pub(crate) mod scope;
pub(crate) mod secret_module;
pub(crate) mod sources;
pub(crate) mod validate;
