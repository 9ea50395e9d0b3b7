//! Owns plan: the configuration read and checked, the clouds looked at, the rows made and kept.

use crate::commands::Session;
use crate::configuration::reading::{Input, Located, read_apart, standing};
use crate::configuration::scope::narrow;
use crate::configuration::validate::validate;
use crate::observation::lookups::look_up;
use crate::observation::refresh::{World, refresh_with};
use crate::planning::options::{HEAL, PlanOptions};
use crate::planning::planned::Plan;
use crate::planning::planner::Planner;
use crate::planning::selection::known;
use crate::planning::strays::{placed_strays, places_to_look};
use crate::policy::policies::project_rules;
use crate::policy::question::attach;
use provision_diagnostic::{Code, Failure};
use provision_model::Resource;

impl Session {
    /// Plans, keeps the plan in the state, and gives it. Errors come all at once, before any call to a cloud.
    pub fn plan(&self, input: &Input, options: &PlanOptions) -> Result<Plan, Failure> {
        if options.destroy {
            // What is to go is in the state; no mistake in the file keeps it there.
            return self.plan_located(&standing(&self.workspace, input)?, options);
        }
        let (mut located, mut diagnostics, mut problems) = read_apart(&self.workspace, input)?;
        // Where Nickel could not evaluate a field, its absence is no second mistake.
        let holes = !diagnostics.is_empty() || !problems.is_empty();
        let found = validate(&self.workspace, &located.config);
        problems.extend(found.into_iter().filter(|it| !holes || it.code != Code::PlanMissingField));
        if let Some(target) = &options.target {
            let state = self.workspace.store.resources()?;
            let names = state.iter().map(|resource| resource.address.as_str());
            let names = names.chain(located.config.resources.iter().map(|it| it.address.as_str())).collect();
            known(target.iter().chain(&options.exclude), &names)?;
            (diagnostics, problems) = narrow(&mut located, &state, target, diagnostics, problems);
        }
        diagnostics.extend(problems.into_iter().map(|problem| located.diagnostic(problem)));
        Failure::check(diagnostics)?;
        look_up(&self.workspace, &mut located)?;
        self.plan_located(&located, options)
    }

    /// Plans against a configuration that is no file: what was applied before is valid.
    pub(crate) fn plan_of(&self, config: provision_model::Config, options: &PlanOptions) -> Result<Plan, Failure> {
        self.plan_located(&Located::of(config), options)
    }

    fn plan_located(&self, located: &Located, options: &PlanOptions) -> Result<Plan, Failure> {
        self.workspace.refuse_other_project(&located.config.name)?;
        let state = self.workspace.store.resources()?;
        let world = match options.no_refresh {
            true => World::default(),
            false => {
                let config = &located.config;
                let asked: Vec<Resource> =
                    state.iter().filter(|it| !located.left_out.has(&it.address)).cloned().collect();
                let places = places_to_look(&self.workspace, config, &config.resources, &asked, options.certain)?;
                refresh_with(&self.workspace, config, &asked, &places, options.deep)?
            }
        };
        let strays = placed_strays(&self.workspace, &world, &located.config.resources, &state)?;
        let mut planner = Planner::new(&self.workspace, located, &state, &world, options.destroy)?;
        planner.strays = strays;
        planner.healing = options.purpose == Some(HEAL);
        let (mut plan, desired) = planner.plan(options, &self.actor.id)?;
        let rules = project_rules(&self.workspace, plan.policies.as_deref())?;
        attach(&self.workspace, &self.actor, &rules.people, &mut plan, &desired);
        plan.seal();
        let body = serde_json::to_string(&plan)
            .map_err(|error| Failure::new(Code::StateIo, format!("cannot store the plan: {error}")))?;
        self.workspace.store.put_plan(&plan.digest, body)?;
        Ok(plan)
    }
}
