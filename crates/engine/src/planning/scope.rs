//! Owns whose mistakes concern a selection of rows. Pure.

use crate::configuration::desired::needs;
use crate::configuration::reading::Located;
use crate::configuration::scope::{LeftOut, concerns, owner};
use crate::planning::planned::PlannedRow;
use crate::planning::subset::is_removal;
use provision_diagnostic::Failure;
use provision_model::{Problem, Resource};
use std::collections::{HashMap, HashSet};

impl LeftOut {
    /// Refuses a selection that must bring along what cannot be planned: what depends on something that is taken away.
    pub fn refuse(&self, rows: &[PlannedRow], state: &HashMap<&str, &Resource>) -> Result<(), Failure> {
        let going: HashSet<&str> = rows
            .iter()
            .filter(|planned| is_removal(planned.row.action))
            .map(|planned| planned.row.address.as_str())
            .collect();
        let mut told = Vec::new();
        for (declaration, diagnostics) in &self.broken {
            let before = state.get(declaration.address.as_str()).map(|it| it.depends_on.clone()).unwrap_or_default();
            if needs(declaration).iter().chain(&before).any(|needed| going.contains(needed.as_str())) {
                told.extend(diagnostics.iter().cloned());
            }
        }
        Failure::check(told)
    }
}

/// What is wrong with rows that were selected, and with no row in particular.
pub fn concerning(located: &Located, problems: Vec<Problem>, rows: &[PlannedRow]) -> Vec<Problem> {
    let there: HashSet<String> = rows.iter().map(|planned| planned.row.address.to_string()).collect();
    let told =
        |problem: &Problem| owner(&located.config.resources, &problem.path).is_none_or(|it| concerns(&it, &there));
    problems.into_iter().filter(told).collect()
}
