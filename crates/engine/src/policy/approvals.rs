//! Owns who may approve a plan in a role, and which approvals an apply may use.

use crate::actor::Actor;
use crate::planning::planned::Plan;
use crate::policy::gate::{Answer, Gate, denial};
use crate::policy::people::USER;
use crate::policy::question::{Questions, totals};
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, Question};
use provision_state::Approval;
use serde_json::json;
use std::collections::BTreeSet;

/// The approvals that an apply of a plan may use; each id asked for must be one of them.
pub(crate) fn given_approvals(
    on: &Workspace,
    gate: &Gate,
    digest: &str,
    ids: Option<&[String]>,
) -> Result<Vec<Approval>, Failure> {
    let mut given: Vec<Approval> =
        on.store.approvals()?.into_iter().filter(|approval| approval.plan == digest).collect();
    for approval in &given {
        if !on.store.is_vouched(approval)? {
            let message = format!("the approval `{}` was not written by this state", approval.id);
            return Err(Failure::new(Code::StateForged, message)
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
            Failure::new(Code::ApplyApproval, what)
                .with_help("Run `provision approvals` to see which plan each one is for.")
        };
        match given.iter().find(|approval| approval.id == *id) {
            None => return Err(wrong(format!("`{id}` is no approval of this plan"))),
            Some(Approval { used: Some(at), .. }) => {
                return Err(wrong(format!("the approval `{id}` was used at {at}")));
            }
            Some(approval) if approval.until <= on.host.now() => {
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

/// Refuses who may not approve a plan in a role.
pub(crate) fn may_approve(on: &Workspace, by: &Actor, gate: &Gate, plan: &Plan, role: &str) -> Result<(), Failure> {
    match gate.ask(&approve_question(on, by, gate, plan, role))? {
        Answer::Allowed(_) => Ok(()),
        Answer::Denied(decision) | Answer::Waiting(decision) | Answer::Error(decision) => {
            Err(denial(&decision, "approve", &format!("this plan as `{role}`")))
        }
        Answer::Pending => Err(Failure::new(Code::ApplyDenied, "the policies do not decide who may approve the plan")),
    }
}

/// The roles whose approval the rows of a plan wait for when its author applies them.
pub(crate) fn roles_needed(on: &Workspace, by: &Actor, gate: &Gate, plan: &Plan) -> Result<BTreeSet<String>, Failure> {
    let rows: Vec<_> = plan.rows.iter().filter(|planned| planned.row.action != Action::NoOp).collect();
    let questions = Questions::of_subset(on, by, &gate.people, plan, &rows, on.host.now()).asked_by(&plan.author);
    let mut roles = BTreeSet::new();
    for (_, question) in rows.iter().flat_map(|planned| questions.again(planned)) {
        if let Answer::Waiting(decision) = gate.ask(&question)? {
            roles.extend(decision.approvals());
        }
    }
    Ok(roles)
}

pub(crate) fn kept_plan(on: &Workspace, digest: &str) -> Result<Plan, Failure> {
    on.store.plan(digest)?.ok_or_else(|| {
        Failure::new(Code::PlanUnknownPlan, format!("this project knows no plan {digest}"))
            .with_help("Give the `plan` column of `provision plan`'s rows.")
    })
}

fn approve_question(on: &Workspace, by: &Actor, gate: &Gate, plan: &Plan, role: &str) -> Question {
    let people = &gate.people;
    let project = json!({"type": "Provision::Project", "id": plan.project});
    let mut entities = vec![json!({"uid": project, "attrs": {}, "parents": []})];
    entities.extend(people.of(&by.id));
    entities.extend(people.of(&plan.author));
    Question {
        principal: json!({"type": USER, "id": by.id}),
        action: json!({"type": "Provision::Action", "id": "approve"}),
        resource: project,
        context: json!({
            "environment": on.project.environment_name(),
            "source": by.source,
            "time": {"__extn": {"fn": "datetime", "arg": on.host.now().to_millis()}},
            "role": role,
            "author": {"__entity": {"type": USER, "id": plan.author}},
            "plan": totals(plan.rows.iter()),
        }),
        entities,
    }
}
