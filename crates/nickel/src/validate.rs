//! Owns applying one contract to many rows: they cross in batches, and the contract is compiled once for them all.

use crate::job::{Answer, Job, RowVerdict};
use crate::{Evaluator, Request, host};
use provision_diagnostic::Failure;
use serde_json::Value;

/// A contract applied to rows as they come. Nothing is kept of rows that were judged.
pub struct Validation {
    evaluator: Evaluator,
    request: Request,
}

impl Validation {
    /// For the contract that the sources of `request` evaluate to. An invalid contract is told with the first batch.
    pub fn new(evaluator: Evaluator, request: Request) -> Self {
        Self { evaluator, request }
    }

    /// Judges the next rows, in their order. A failure means that the contract itself cannot be applied.
    pub fn judge(&self, rows: Vec<Value>) -> Result<Vec<RowVerdict>, Failure> {
        match self.evaluator.run(Job::Validate(self.request.clone(), rows)).0.result? {
            Answer::Rows(verdicts) => Ok(verdicts),
            _ => Err(host::gave_up()),
        }
    }
}
