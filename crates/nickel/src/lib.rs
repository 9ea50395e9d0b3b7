//! Owns the warm Nickel evaluator: sources in, JSON data with positions out, or every mistake found in one run.
//!
//! Nickel values are not `Send`, so one thread with a large stack owns them and this crate's types are what crosses.
//! A kept context makes the second evaluation cheap; before each one, every file it has read and every import it has
//! resolved is looked at again, and any change starts a fresh context.
//!
//! The limits: data nested deeper than 256 levels is refused (`nickel::eval::limit`), so is an evaluation that outgrows
//! [`Options::memory_limit`]; source text nested so deeply that the parser itself outgrows [`Options::stack_bytes`]
//! still ends the process, as it does in the official command.

mod explain;
mod guard;
mod number;
mod positions;
mod request;
mod session;
mod walk;
mod worker;

use provision_diagnostic::{Diagnostic, Failure};
use std::sync::Arc;

pub use positions::{PathElement, Positions, path_text};
pub use request::{Evaluation, Inexact, Input, Library, Options, Request, Source};

/// A cheap handle to the evaluating thread, which starts on the first call and ends with the last handle.
#[derive(Clone)]
pub struct Evaluator {
    worker: Arc<worker::Worker>,
}

impl Evaluator {
    /// Creates a handle; nothing is started or loaded yet.
    pub fn new(options: Options) -> Self {
        Self { worker: Arc::new(worker::Worker::new(options)) }
    }

    /// Evaluates the merged sources to data. Every field is evaluated on its own, so the failure holds all mistakes.
    pub fn eval(&self, request: &Request) -> Result<Evaluation, Failure> {
        self.worker.eval(request)
    }

    /// Evaluates as far as it goes: the value, with null where a field failed, and every mistake. A failure means that
    /// there is no value at all (a syntax error, an unreadable file).
    pub fn eval_partial(&self, request: &Request) -> Result<(Evaluation, Vec<Diagnostic>), Failure> {
        self.worker.eval_partial(request)
    }

    /// Parses and typechecks the sources. What is wrong in them is the result; only unreadable files are a failure.
    pub fn check(&self, request: &Request) -> Result<Vec<Diagnostic>, Failure> {
        self.worker.check(request)
    }
}

impl Default for Evaluator {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator").finish_non_exhaustive()
    }
}
