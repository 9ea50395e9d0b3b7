//! Carrying out rows: the runner, the journal protocol, sending, settling, adopting.
//!
//! Must not know files and Nickel.

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod asking;
pub(crate) mod authorize;
pub(crate) mod doubles;
pub(crate) mod events;
pub(crate) mod execute;
pub(crate) mod free;
pub(crate) mod looking;
pub(crate) mod moved;
pub(crate) mod operation;
pub(crate) mod runner;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod settle;
pub(crate) mod sparing;
pub(crate) mod taking;
