//! Declarations, state and what the clouds show in, rows and their graph out.
//!
//! Must not call a cloud and must not know what the policies decide.

pub(crate) mod changes;
pub(crate) mod conditions;
pub(crate) mod first;
pub(crate) mod graph;
pub(crate) mod heal;
pub(crate) mod known;
pub(crate) mod limits;
pub(crate) mod options;
pub(crate) mod planned;
pub(crate) mod planner;
pub(crate) mod prepared;
pub(crate) mod rollback;
pub(crate) mod scope;
pub(crate) mod selection;
pub(crate) mod strays;
pub(crate) mod subset;
pub(crate) mod verdict;
