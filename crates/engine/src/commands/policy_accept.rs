//! Owns accepting policies: those in force decide whether.

use crate::commands::Session;
use crate::configuration::reading::{Input, read_input};
use crate::policy::gate::{Gate, asked_of_project, in_force_beside};
use crate::policy::policies::{Rules, project_rules, rules_in};
use crate::workspace::writer;
use provision_diagnostic::Failure;
use provision_state::PolicyInForce;

impl Session {
    /// Makes the project's policies the ones in force, if those in force allow it. `named` is their folder, where it is
    /// not the one that the project names.
    pub fn accept_policies(&self, named: Option<&str>) -> Result<PolicyInForce, Failure> {
        let lease = writer(&self.workspace, &self.actor)?;
        let config = match self.workspace.project.folder.join(crate::project::INFRA).is_file() {
            true => read_input(&self.workspace, &Input::Project)?.0.config,
            false => provision_model::Config::default(),
        };
        self.workspace.refuse_other_project(&config.name)?;
        let rules = match named {
            Some(_) => rules_in(&self.workspace, named)?,
            None => project_rules(&self.workspace, config.policies.as_deref())?,
        };
        let in_force = in_force_beside(&self.workspace, &rules)?;
        let shown = rules.shown.clone();
        // The new ones must at least be able to decide.
        let Gate { policies, .. } = Gate::over(&self.workspace, rules, true)?;
        for known in in_force {
            // What those in force cannot decide they do not allow.
            let gate = Gate::over(&self.workspace, Rules::of(known, &shown)?, false)?;
            asked_of_project(&self.workspace, &self.actor, &gate, &config.name, "change_policy", "the policies")?;
        }
        self.workspace.store.put_policies(&lease, &policies)?;
        Ok(policies)
    }
}
