//! Whether a change may be made: the gate, its questions, people, approvals. It fails closed.
//!
//! Must not know how a change is made.

pub(crate) mod alone;
pub(crate) mod approvals;
pub(crate) mod gate;
pub(crate) mod people;
pub(crate) mod policies;
pub(crate) mod question;
