//! Owns approving a plan, and taking an approval back.

use crate::commands::Session;
use crate::policy::approvals::{kept_plan, may_approve, roles_needed};
use crate::policy::gate::open_gate;
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_model::Address;
use provision_state::Approval;
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
        let plan = kept_plan(&self.workspace, digest)?;
        for address in &options.addresses {
            if plan.find(address.as_str()).is_none() {
                let known = plan.rows.iter().map(|planned| planned.row.address.as_str());
                let help = did_you_mean(address.as_str(), known, || "Name rows of the plan.".to_owned());
                return Err(
                    Failure::new(Code::ApplyApproval, format!("the plan has no row `{address}`")).with_help(help)
                );
            }
        }
        let gate = open_gate(&self.workspace, &self.actor, plan.policies.as_deref(), None)?;
        let roles = match &options.role {
            Some(role) => BTreeSet::from([role.clone()]),
            None => roles_needed(&self.workspace, &self.actor, &gate, &plan)?,
        };
        if roles.is_empty() {
            return Err(Failure::new(Code::ApplyApproval, "the plan waits for no approval")
                .with_help("Apply its rows; or name a role with --role to approve it all the same."));
        }
        for role in &roles {
            may_approve(&self.workspace, &self.actor, &gate, &plan, role)?;
        }
        let at = self.workspace.host.now();
        let until = at.after(options.holds.unwrap_or(HOLDS)).ok_or_else(|| {
            Failure::new(Code::ApplyApproval, "the approval would hold longer than time is counted")
                .with_help("Give --for a shorter duration, `8hr` for instance.")
        })?;
        let addresses: Vec<Option<Address>> = match options.addresses.is_empty() {
            true => vec![None],
            false => options.addresses.iter().cloned().map(Some).collect(),
        };
        let mut given = Vec::new();
        for role in &roles {
            for address in &addresses {
                let approval = Approval {
                    id: self.workspace.store.new_id(),
                    plan: plan.digest.clone(),
                    address: address.clone(),
                    role: role.clone(),
                    by: self.actor.id.clone(),
                    at,
                    until,
                    used: None,
                    policies: gate.policies.digest.clone(),
                };
                self.workspace.store.put_approval(&approval)?;
                given.push(approval);
            }
        }
        Ok(given)
    }

    /// The approvals there are, or the one that `revoke` takes back; of one plan or of all.
    pub fn approvals(&self, plan: Option<&str>, revoke: Option<&str>) -> Result<Vec<Approval>, Failure> {
        let mut found = match revoke {
            Some(id) => vec![self.revoke(id)?],
            None => self.workspace.store.approvals()?,
        };
        found.retain(|approval| plan.is_none_or(|plan| approval.plan == plan));
        Ok(found)
    }

    /// Takes an approval back: who gave it may, and who could give it.
    fn revoke(&self, id: &str) -> Result<Approval, Failure> {
        let approval = self.workspace.store.approval(id)?;
        if approval.by != self.actor.id {
            let plan = kept_plan(&self.workspace, &approval.plan)?;
            let gate = open_gate(&self.workspace, &self.actor, plan.policies.as_deref(), None)?;
            may_approve(&self.workspace, &self.actor, &gate, &plan, &approval.role)?;
        }
        self.workspace.store.revoke_approval(id, &self.actor.id)
    }
}
