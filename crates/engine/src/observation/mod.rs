//! What the clouds show: lists, reads, drift, strays, what can be imported.
//!
//! Must not know plans, policies or operations; it writes nothing.

pub(crate) mod drift;
pub(crate) mod finding;
pub(crate) mod lookups;
pub(crate) mod made;
pub(crate) mod others;
pub(crate) mod overlay;
pub(crate) mod parts;
pub(crate) mod places;
pub(crate) mod refresh;
pub(crate) mod shown;
pub(crate) mod sighting;
pub(crate) mod strays;
pub(crate) mod written;
