//! Owns starting and bounding child processes: the commands of a provider's Nushell module, in a long-lived `nu` that is fed
//! structured data, and programs that are run for what they print.
//!
//! Knows how a request reaches a command and how its answer comes back; must not know what a resource is, when a command is
//! called, or what its answer means.

mod group;
mod module;
mod printed;
mod process;
mod program;
mod script;
mod worker;

pub use module::{COMMANDS, Described, MODULE, describe, place};
pub use printed::{Unprinted, printed};
pub use worker::Worker;

use provision_diagnostic::Excerpt;
use serde_json::Value as Json;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Who has the commands of a provider: a module in a process of its own, or closures of a session.
pub trait Commands: Send + Sync {
    /// Runs one command with a record and gives its value.
    fn call(&self, command: &str, request: &Json, asked: &Asked<'_>) -> Result<Json, Fault>;
}

/// What a caller brings to a call.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Set when the caller wants to stop: what runs is killed.
    pub interrupt: &'a AtomicBool,
    /// What takes longer is killed.
    pub limit: Duration,
    /// Takes what is secret out of a line that a module prints.
    pub hide: &'a (dyn Fn(&str) -> String + Sync),
}

/// Why a call gave no value.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It certainly did not begin.
    NotBegun(String),
    /// Whoever ran it ended in the middle of it.
    Ended(String),
    /// It took longer than it may, and was killed.
    Hung(Duration),
    /// The caller wanted to stop, and it was killed.
    Interrupted,
    /// It raised an error.
    Raised(Box<Raised>),
    /// Its answer is too long or cannot be read.
    Unreadable(String),
}

/// An error that a command raised.
#[derive(Debug, Clone, Default)]
pub struct Raised {
    pub message: String,
    /// What `error make {code: …}` gave; Nushell's own errors have codes that begin with `nu::`.
    pub code: Option<String>,
    pub help: Option<String>,
    /// Where in the module it was raised.
    pub place: Option<Excerpt>,
}

impl fmt::Display for Raised {
    /// With its place, as people follow it: `message (zonefile/mod.nu:12:5)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        let Some(place) = &self.place else { return Ok(()) };
        let mut parts: Vec<&str> = place.position.file.rsplit('/').take(2).collect();
        parts.reverse();
        write!(f, " ({}:{}:{})", parts.join("/"), place.position.line, place.position.column)
    }
}
