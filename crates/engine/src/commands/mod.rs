//! What somebody can ask of the engine, one file each: they lead through the wings from left to right.

pub(crate) mod all;
pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod catalog;
pub(crate) mod drift;
pub(crate) mod graph;
pub(crate) mod heal;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod plan_file;
pub(crate) mod policy_accept;
pub(crate) mod provider_test;
pub(crate) mod recover;
pub(crate) mod refresh;
pub(crate) mod rollback;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod trust;
pub(crate) mod upgrade;
pub(crate) mod whole;

pub use session::Session;
