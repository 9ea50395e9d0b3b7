//! Owns the way back: a plan to the configuration that a change of the history left.

use crate::commands::Session;
use crate::configuration::desired::declaration_of;
use crate::configuration::reading::configured;
use crate::planning::options::{PlanOptions, ROLLBACK};
use crate::planning::planned::Plan;
use provision_diagnostic::Failure;
use provision_model::{Address, Config};
use std::collections::HashMap;

impl Session {
    /// Plans back to what was configured after a change. It is a plan like any other: nothing is done yet, and what
    /// cannot be brought back is said in each row's reason.
    pub fn rollback(&self, serial: i64, options: &PlanOptions) -> Result<Plan, Failure> {
        let change = self.workspace.store.change(serial)?;
        let versions = self.workspace.store.versions_at(serial)?;
        let sealer = self.workspace.store.sealer();
        let state = self.workspace.store.resources()?;
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
            None => configured(&self.workspace)?.name,
        };
        let config = Config {
            name,
            resources,
            accounts: self.workspace.store.accounts()?,
            outputs: self.workspace.store.outputs_at(serial)?,
            policies: change.policies,
        };
        self.plan_of(config, &PlanOptions { purpose: Some(ROLLBACK), ..options.clone() })
    }
}
