//! Owns which replacements make the new one before the old one goes, and whether both can be there at once.

use crate::planning::planned::PlannedRow;
use crate::planning::planner::Planner;
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, Address, Declaration, Problem};
use std::collections::HashMap;

impl Planner<'_> {
    /// Which replacements make the new one first: those that say so, and what these need, for the old one cannot go before
    /// what needs it. `rows` come in the order of their dependencies.
    pub(crate) fn make_first(
        &self,
        rows: &mut [(usize, PlannedRow)],
        problems: &mut Vec<Problem>,
    ) -> Result<(), Failure> {
        let places: HashMap<Address, usize> =
            rows.iter().enumerate().map(|(at, (_, row))| (row.row.address.clone(), at)).collect();
        for at in (0..rows.len()).rev() {
            let (declared, planned) = &mut rows[at];
            let retained = planned.row.action == Action::Replace && planned.lifecycle.retain;
            if retained {
                planned.row.reason.push_str("; the old one is left in the cloud");
            }
            if !planned.makes_first() {
                if retained {
                    self.check_first(&self.located.config.resources[*declared], planned, problems)?;
                }
                continue;
            }
            planned.row.reason.push_str("; the new one is made first");
            self.check_first(&self.located.config.resources[*declared], planned, problems)?;
            let firm = planned.needs.iter().filter(|need| !planned.later.on.contains(need));
            let needed = firm.filter_map(|need| places.get(need).copied()).collect::<Vec<_>>();
            needed.into_iter().for_each(|need| rows[need].1.makes_first = rows[need].1.row.action == Action::Replace);
        }
        Ok(())
    }

    /// Both are there for a while: what there may be one of must differ.
    fn check_first(
        &self,
        declaration: &Declaration,
        planned: &PlannedRow,
        problems: &mut Vec<Problem>,
    ) -> Result<(), Failure> {
        let (_, spec) = self.on.project.registry.type_of(&declaration.kind)?;
        let Some(resource) = self.there(&declaration.address) else { return Ok(()) };
        let elsewhere = planned.old.as_ref().is_some_and(|old| *old != planned.place(Action::Create));
        let desired = self.desired.borrow();
        let wanted = |field: &str| desired.get(&declaration.address)?.get(field);
        let stays = |field: &&str| wanted(field).is_some_and(|it| resource.inputs.get(*field) == Some(it));
        if let Some(key) = spec.keys().find(|key| key.iter().all(&stays)).filter(|_| !elsewhere) {
            let field = key.join(", ");
            let message = format!(
                "`{}` cannot be made before the old one goes: both would have the same {field}",
                declaration.address
            );
            problems.push(Problem::value(Code::PlanDuplicateName, message, &declaration.path).help(format!(
                "Give `{field}` a value that changes with it, or leave out `create_before_destroy` here and where something needs it.",
            )));
        }
        Ok(())
    }
}
