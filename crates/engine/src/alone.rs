//! Owns asking about changes that are made at once, not planned first: taking a resource in, letting one go, changing what
//! the state says of one.

use crate::Session;
use crate::gate::{Answer, Gate, denial};
use crate::plan::{Plan, PlannedRow};
use crate::project::Input;
use crate::question::Questions;
use indexmap::IndexMap;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{Config, Json, Map};

impl Session {
    /// Refuses what the policies do not allow, all of it in one error. `rows` come with the fields the policies see;
    /// `after` is how many resources there will be. `verb` is the action that is asked about where no row of a plan could
    /// have it.
    pub(crate) fn may_do(
        &self,
        gate: &Gate,
        config: &Config,
        purpose: &str,
        after: usize,
        verb: Option<&str>,
        rows: &[(&PlannedRow, &Map)],
    ) -> Result<(), Failure> {
        let plan = Plan {
            version: 1,
            digest: String::new(),
            lineage: self.store.lineage().to_owned(),
            project: config.name.clone(),
            created_at: provision_state::now(),
            author: self.user.clone(),
            destroy: false,
            purpose: purpose.to_owned(),
            policies: config.policies.clone(),
            accounts: IndexMap::new(),
            outputs: Map::new(),
            rows: rows.iter().map(|(planned, _)| (*planned).clone()).collect(),
            resources_after: after,
        };
        let questions = Questions::new(self, &gate.people, &plan);
        let mut refused: Vec<Diagnostic> = Vec::new();
        for (planned, fields) in rows {
            let action = planned.row.action;
            let name = verb.unwrap_or(action.name());
            let mut question = questions.of(planned, fields, action);
            question.action = serde_json::json!({"type": "Provision::Action", "id": name});
            let what = format!("`{}`", planned.row.address);
            match gate.ask(&question)? {
                Answer::Allowed(_) => {}
                Answer::Denied(decision) | Answer::Error(decision) => {
                    refused.push(*denial(&decision, name, &what).first);
                }
                Answer::Waiting(decision) => refused.push(
                    denial(&decision, name, &what)
                        .first
                        .with_help("Approvals are for plans: who may do this at once is said without `@approval`."),
                ),
                Answer::Pending => refused.push(
                    Diagnostic::error(
                        "provision::apply::denied",
                        format!("{name} of {what} is denied: the policies do not decide it"),
                    )
                    .with_help("Write the policy so that it can be decided from what is known of the resource."),
                ),
            }
        }
        Failure::check(refused)
    }

    /// Asks the project's policies whether a provider may be tested against a cloud, where it makes and deletes real
    /// resources, and writes down that it is.
    pub fn may_test_provider(&self, provider: &str, types: &[String], endpoint: &str) -> Result<(), Failure> {
        let config = self.standing(&Input::Project)?.config;
        let lease = self.lease()?;
        let gate = self.gate(config.policies.as_deref(), Some(&lease))?;
        // A name and password before the host are nobody's business.
        let host = endpoint.rsplit_once('@').map_or(endpoint, |(_, host)| host);
        let what = format!("`{provider}` at {host}");
        let answer = self.asked_of_project(&gate, &config.name, "test_provider", &what);
        self.noted(&lease, "test_provider", None, answer)?;
        let mut detail = Map::new();
        detail.insert("provider".into(), Json::from(provider));
        detail.insert("endpoint".into(), Json::from(host));
        detail.insert("types".into(), serde_json::json!(types));
        self.store.audit(&lease, "test_provider", None, detail)?;
        self.store.checkpoint()
    }
}
