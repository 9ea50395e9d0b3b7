//! Owns approvals of plans: who may give them, for which role, and which ones an apply may use.

use crate::Session;
use crate::gate::{Answer, Gate, denial};
use crate::people::USER;
use crate::plan::Plan;
use crate::question::{Questions, cedar_time, totals};
use provision_diagnostic::{Failure, did_you_mean};
use provision_model::{Action, Address, Question};
use provision_state::Approval;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// What to approve.
#[derive(Debug, Clone, Default)]
pub struct ApproveOptions {
    /// In which role; `None` for every role the plan waits for.
    pub role: Option<String>,
    /// The rows approved; empty for all.
    pub addresses: Vec<Address>,
    /// How long it holds.
    pub holds: Option<Duration>,
}

/// An approval holds this long unless told otherwise.
const HOLDS: Duration = Duration::from_secs(24 * 60 * 60);

impl Session {
    /// Approves a plan as its policies allow, and keeps the approvals.
    pub fn approve(&self, digest: &str, options: &ApproveOptions) -> Result<Vec<Approval>, Failure> {
        let plan = self.kept_plan(digest)?;
        for address in &options.addresses {
            if plan.find(address.as_str()).is_none() {
                let known = plan.rows.iter().map(|planned| planned.row.address.as_str());
                let help = did_you_mean(address.as_str(), known, || "Name rows of the plan.".to_owned());
                return Err(Failure::new("provision::apply::approval", format!("the plan has no row `{address}`"))
                    .with_help(help));
            }
        }
        let gate = self.gate(plan.policies.as_deref(), None)?;
        let roles = match &options.role {
            Some(role) => BTreeSet::from([role.clone()]),
            None => self.roles_needed(&gate, &plan)?,
        };
        if roles.is_empty() {
            return Err(Failure::new("provision::apply::approval", "the plan waits for no approval")
                .with_help("Apply its rows; or name a role with --role to approve it all the same."));
        }
        for role in &roles {
            self.may_approve(&gate, &plan, role)?;
        }
        let at = chrono::Utc::now();
        let until =
            chrono::Duration::from_std(options.holds.unwrap_or(HOLDS)).ok().and_then(|d| at.checked_add_signed(d));
        let until = until.ok_or_else(|| {
            Failure::new("provision::apply::approval", "the approval would hold longer than time is counted")
                .with_help("Give --for a shorter duration, `8hr` for instance.")
        })?;
        let text = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let addresses: Vec<Option<Address>> = match options.addresses.is_empty() {
            true => vec![None],
            false => options.addresses.iter().cloned().map(Some).collect(),
        };
        let mut given = Vec::new();
        for role in &roles {
            for address in &addresses {
                let approval = Approval {
                    id: provision_state::new_id(),
                    plan: plan.digest.clone(),
                    address: address.clone(),
                    role: role.clone(),
                    by: self.user.clone(),
                    at: text(at),
                    until: text(until),
                    used: None,
                    policies: gate.policies.digest.clone(),
                };
                self.store.put_approval(&approval)?;
                given.push(approval);
            }
        }
        Ok(given)
    }

    /// The approvals that an apply of a plan may use; each id asked for must be one of them.
    pub(crate) fn given_approvals(
        &self,
        gate: &Gate,
        digest: &str,
        ids: Option<&[String]>,
    ) -> Result<Vec<Approval>, Failure> {
        let mut given: Vec<Approval> =
            self.store.approvals()?.into_iter().filter(|approval| approval.plan == digest).collect();
        for approval in &given {
            if !self.store.is_vouched(approval)? {
                let message = format!("the approval `{}` was not written by this state", approval.id);
                return Err(Failure::new("provision::state::forged", message)
                    .with_help("Run `provision audit verify`, take it back with `provision approvals --revoke`, and have the plan approved again."));
            }
        }
        let in_force = &gate.policies.digest;
        let Some(ids) = ids else {
            given.retain(|approval| approval.policies == *in_force);
            return Ok(given);
        };
        for id in ids {
            let wrong = |what: String| {
                Failure::new("provision::apply::approval", what)
                    .with_help("Run `provision approvals` to see which plan each one is for.")
            };
            match given.iter().find(|approval| approval.id == *id) {
                None => return Err(wrong(format!("`{id}` is no approval of this plan"))),
                Some(Approval { used: Some(at), .. }) => {
                    return Err(wrong(format!("the approval `{id}` was used at {at}")));
                }
                Some(approval) if approval.until <= provision_state::now() => {
                    return Err(wrong(format!("the approval `{id}` held until {}", approval.until)));
                }
                Some(approval) if approval.policies != *in_force => {
                    return Err(wrong(format!("the approval `{id}` was given under other policies or groups")));
                }
                Some(_) => {}
            }
        }
        given.retain(|approval| ids.contains(&approval.id));
        Ok(given)
    }

    /// Takes an approval back: who gave it may, and who could give it.
    pub fn revoke(&self, id: &str) -> Result<Approval, Failure> {
        let approval = self.store.approval(id)?;
        if approval.by != self.user {
            let plan = self.kept_plan(&approval.plan)?;
            let gate = self.gate(plan.policies.as_deref(), None)?;
            self.may_approve(&gate, &plan, &approval.role)?;
        }
        self.store.revoke_approval(id, &self.user)
    }

    /// Refuses who may not approve a plan in a role.
    fn may_approve(&self, gate: &Gate, plan: &Plan, role: &str) -> Result<(), Failure> {
        match gate.ask(&self.approve_question(gate, plan, role))? {
            Answer::Allowed(_) => Ok(()),
            Answer::Denied(decision) | Answer::Waiting(decision) | Answer::Error(decision) => {
                Err(denial(&decision, "approve", &format!("this plan as `{role}`")))
            }
            Answer::Pending => {
                Err(Failure::new("provision::apply::denied", "the policies do not decide who may approve the plan"))
            }
        }
    }

    /// The roles whose approval the rows of a plan wait for when its author applies them.
    fn roles_needed(&self, gate: &Gate, plan: &Plan) -> Result<BTreeSet<String>, Failure> {
        let rows: Vec<_> = plan.rows.iter().filter(|planned| planned.row.action != Action::NoOp).collect();
        let questions =
            Questions::of_subset(self, &gate.people, plan, &rows, provision_state::now()).asked_by(&plan.author);
        let mut roles = BTreeSet::new();
        for (_, question) in rows.iter().flat_map(|planned| questions.again(planned)) {
            if let Answer::Waiting(decision) = gate.ask(&question)? {
                roles.extend(decision.approvals());
            }
        }
        Ok(roles)
    }

    fn approve_question(&self, gate: &Gate, plan: &Plan, role: &str) -> Question {
        let people = &gate.people;
        let project = json!({"type": "Provision::Project", "id": plan.project});
        let mut entities = vec![json!({"uid": project, "attrs": {}, "parents": []})];
        entities.extend(people.of(&self.user));
        entities.extend(people.of(&plan.author));
        Question {
            principal: json!({"type": USER, "id": self.user}),
            action: json!({"type": "Provision::Action", "id": "approve"}),
            resource: project,
            context: json!({
                "environment": self.environment_name(),
                "source": self.source,
                "time": {"__extn": {"fn": "datetime", "arg": cedar_time(&provision_state::now())}},
                "role": role,
                "author": {"__entity": {"type": USER, "id": plan.author}},
                "plan": totals(plan.rows.iter()),
            }),
            entities,
        }
    }

    fn kept_plan(&self, digest: &str) -> Result<Plan, Failure> {
        self.store.plan(digest)?.ok_or_else(|| {
            Failure::new("provision::plan::unknown_plan", format!("this project knows no plan {digest}"))
                .with_help("Give the `plan` column of `provision plan`'s rows.")
        })
    }
}
