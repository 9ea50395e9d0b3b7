//! Owns asking the policies about every row of an apply, before the first call.

use crate::actor::Actor;
use crate::operations::events::{Sink, event};
use crate::planning::planned::PlannedRow;
use crate::planning::subset::Subset;
use crate::policy::approvals::given_approvals;
use crate::policy::gate::{Answer, Gate, because, denial};
use crate::policy::question::Questions;
use crate::workspace::Workspace;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{Question, Status};
use provision_state::Approval;
use std::collections::{BTreeSet, HashMap};

/// What asking about the rows of a plan gave, by row.
#[derive(Debug, Default)]
pub struct Asked {
    /// Questions to be asked again when more is known.
    pub pending: HashMap<usize, Vec<Question>>,
    /// The policies that allow it.
    pub allowed_by: HashMap<usize, Vec<String>>,
    denials: Vec<Diagnostic>,
    waiting: Vec<Diagnostic>,
    /// The approvals without which a row would not pass.
    pub(crate) used: BTreeSet<String>,
}

/// Asks about every row; denials come as rows and then as the error, before the first call.
pub(crate) fn authorize(
    on: &Workspace,
    by: &Actor,
    gate: &Gate,
    subset: &Subset,
    ids: Option<&[String]>,
    sink: Sink<'_>,
) -> Result<Asked, Failure> {
    let chosen: Vec<&PlannedRow> = subset.todo.iter().map(|at| &subset.plan.rows[*at]).collect();
    let now = on.host.now();
    let questions = Questions::of_subset(on, by, &gate.people, &subset.plan, &chosen, now);
    let given = given_approvals(on, gate, &subset.plan.digest, ids)?;
    let mut asked = Asked::default();
    for (&at, planned) in subset.todo.iter().zip(&chosen) {
        let address = &planned.row.address;
        let holding: Vec<&Approval> = given.iter().filter(|one| one.holds(&subset.plan.digest, address, now)).collect();
        authorize_row(on, gate, &questions, at, planned, &holding, &mut asked, sink)?;
    }
    // What no approval helps is told first.
    let mut denials = std::mem::take(&mut asked.denials);
    denials.append(&mut asked.waiting);
    Failure::check(denials)?;
    Ok(asked)
}

/// The roles without which a question would not be answered with yes; all of them where any one would do.
fn needed_roles(gate: &Gate, question: &Question, roles: &BTreeSet<&str>) -> Result<BTreeSet<String>, Failure> {
    let passes = |roles: &BTreeSet<&str>| -> Result<bool, Failure> {
        let mut question = question.clone();
        question.context["approvals"] = serde_json::json!(roles);
        Ok(matches!(gate.ask(&question)?, Answer::Allowed(_)))
    };
    let owned = |roles: &BTreeSet<&str>| roles.iter().map(|role| (*role).to_owned()).collect();
    if roles.is_empty() || passes(&BTreeSet::new())? {
        return Ok(BTreeSet::new());
    }
    let mut needed = BTreeSet::new();
    for role in roles {
        let mut others = roles.clone();
        others.remove(role);
        if !passes(&others)? {
            needed.insert(*role);
        }
    }
    Ok(owned(if needed.is_empty() { roles } else { &needed }))
}

#[expect(clippy::too_many_arguments, reason = "one row of the loop above, which would be too long with it")]
fn authorize_row(
    on: &Workspace,
    gate: &Gate,
    questions: &Questions<'_>,
    at: usize,
    planned: &PlannedRow,
    approvals: &[&Approval],
    asked: &mut Asked,
    sink: Sink<'_>,
) -> Result<(), Failure> {
    let row = &planned.row;
    let roles: BTreeSet<&str> = approvals.iter().map(|approval| approval.role.as_str()).collect();
    let mut status = Status::Authorized;
    let mut message = None;
    for (action, mut question) in questions.again(planned) {
        question.context["approvals"] = serde_json::json!(roles);
        match gate.ask(&question)? {
            Answer::Allowed(decision) => {
                let Some(decision) = decision else { continue };
                let needed = needed_roles(gate, &question, &roles)?;
                for approval in approvals.iter().filter(|approval| needed.contains(approval.role.as_str())) {
                    asked.used.insert(approval.id.clone());
                    message = Some(format!("approved by {} as {}", approval.by, approval.role));
                }
                if let Some(reason) = decision.reasons.first() {
                    message = message.or(Some(format!("permitted by `{}`", reason.policy)));
                }
                let policies = decision.reasons.iter().map(|reason| reason.policy.clone());
                asked.allowed_by.entry(at).or_default().extend(policies);
            }
            Answer::Pending => {
                if status == Status::Authorized {
                    status = Status::Pending;
                }
                message = Some("decided once its values are known".to_owned());
                asked.pending.entry(at).or_default().push(question.clone());
                // What may decide it then is taken now: an approval is not used twice.
                asked.used.extend(approvals.iter().map(|approval| approval.id.clone()));
            }
            Answer::Waiting(decision) => {
                status = Status::Waiting;
                let told = *denial(&decision, action.name(), &format!("`{}`", row.address)).first;
                message = Some(told.message.clone());
                let help = told.help.as_ref().map(|help| help.replace("PLAN", &row.plan)).unwrap_or_default();
                asked.waiting.push(told.with_help(help));
                break;
            }
            Answer::Denied(decision) | Answer::Error(decision) => {
                status = Status::Denied;
                message = Some(because(&decision));
                asked.denials.push(*denial(&decision, action.name(), &format!("`{}`", row.address)).first);
                break;
            }
        }
    }
    sink(event(on, row.address.clone(), row.action, status, message));
    Ok(())
}
