//! Owns the plan that undoes drift alone.

use crate::commands::Session;
use crate::configuration::accounts::known_accounts;
use crate::configuration::desired::{declaration, ignored};
use crate::configuration::reading::{Input, read_input};
use crate::planning::heal::relink;
use crate::planning::options::{HEAL, PlanOptions};
use crate::planning::planned::Plan;
use provision_diagnostic::Failure;
use provision_model::{Address, Config, Lifecycle, Map};
use std::collections::{HashMap, HashSet};

impl Session {
    /// The plan of drift alone: it makes everything as it was last applied. What is new in the project's file is no part of
    /// it; of that file only its name, its policies, its accounts and what is to be left alone count.
    pub fn heal(&self, options: &PlanOptions) -> Result<Plan, Failure> {
        let (located, diagnostics) = read_input(&self.workspace, &Input::Project)?;
        Failure::check(diagnostics)?;
        let accounts = known_accounts(&self.workspace, &located.config)?;
        let Config { name, policies, resources: now, .. } = located.config;
        let state = self.workspace.store.resources()?;
        let there: HashSet<&str> = state.iter().map(|resource| resource.address.as_str()).collect();
        let written: HashMap<Address, (Map, Lifecycle)> = self
            .workspace
            .store
            .versions_at(self.workspace.store.serial()?)?
            .into_iter()
            .map(|version| (version.resource.address, (version.declared, version.lifecycle)))
            .collect();
        let ignored = ignored(&now);
        let mut resources = Vec::with_capacity(state.len());
        // The old half of a replacement that was under way is nothing anybody wrote.
        for resource in state.iter().filter(|resource| !resource.address.is_replaced()) {
            let mut declared = declaration(resource, self.workspace.store.sealer())?;
            if let Some((written, lifecycle)) = written.get(&resource.address) {
                // Protection lives in the state, and it has the address already.
                let Lifecycle { protect, retain, .. } = declared.lifecycle;
                declared.lifecycle = Lifecycle { protect, retain, moved_from: Vec::new(), ..lifecycle.clone() };
                for (field, value) in &mut declared.fields {
                    if let Some(written) = written.get(field) {
                        relink(value, written, &there);
                    }
                }
            }
            if let Some(ignore) = ignored.get(resource.address.as_str()) {
                declared.lifecycle.ignore = ignore.to_vec();
            }
            // It is there: whether the catalogue knows its size is no question any more.
            declared.lifecycle.allow_unknown = true;
            resources.push(declared);
        }
        let config = Config { name, resources, accounts, outputs: self.workspace.store.outputs()?, policies };
        self.plan_of(config, &PlanOptions { purpose: Some(HEAL), ..options.clone() })
    }
}
