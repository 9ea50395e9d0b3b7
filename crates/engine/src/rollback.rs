//! Owns the way back: a plan to the configuration that a change of the history left.

use crate::Session;
use crate::desired::declaration_of;
use crate::plan::{Plan, PlanOptions, ROLLBACK};
use provision_diagnostic::Failure;
use provision_model::{Action, Address, Config, PlanRow};
use std::collections::HashMap;

impl Session {
    /// Plans back to what was configured after a change. It is a plan like any other: nothing is done yet, and what
    /// cannot be brought back is said in each row's reason.
    pub fn rollback(&self, serial: i64, options: &PlanOptions) -> Result<Plan, Failure> {
        let change = self.store.change(serial)?;
        let versions = self.store.versions_at(serial)?;
        let sealer = self.store.sealer();
        let state = self.store.resources()?;
        let now: HashMap<(&str, &str), &Address> =
            state.iter().map(|it| ((it.kind.as_str(), it.remote_id.as_str()), &it.address)).collect();
        let resources = versions
            .iter()
            // The old half of a replacement that was under way is nothing anybody wrote.
            .filter(|version| !version.resource.address.is_replaced())
            .map(|version| {
                let mut declaration = declaration_of(version, sealer)?;
                let then = &version.resource;
                // What was renamed since then is renamed back, and not made once more.
                let renamed =
                    now.get(&(then.kind.as_str(), then.remote_id.as_str())).filter(|it| **it != &then.address);
                declaration.lifecycle.moved_from = renamed.map(|address| (*address).clone()).into_iter().collect();
                Ok(declaration)
            })
            .collect::<Result<_, Failure>>()?;
        let name = match change.project {
            Some(name) => name,
            None => self.configured()?.name,
        };
        let config = Config {
            name,
            resources,
            accounts: self.store.accounts()?,
            outputs: self.store.outputs_at(serial)?,
            policies: change.policies,
        };
        self.plan_of(config, &PlanOptions { purpose: Some(ROLLBACK), ..options.clone() })
    }
}

/// Says what going back does not bring back: a configuration comes back, data does not.
pub(crate) fn own_up(row: &mut PlanRow) {
    let said = match row.action {
        Action::Create => "; it comes back empty, the data it held does not",
        Action::Replace => "; the data of the one that goes is lost, and that of the earlier one does not come back",
        Action::Delete => "; the data it holds is lost",
        _ => return,
    };
    row.reason.push_str(said);
}
