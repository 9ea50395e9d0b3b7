//! Owns asking about changes that are made at once, not planned first: taking a resource in, letting one go, changing what
//! the state says of one.

use crate::actor::Actor;
use crate::planning::planned::{Plan, PlannedRow};
use crate::policy::gate::{Answer, Gate, denial};
use crate::policy::question::Questions;
use crate::workspace::Workspace;
use indexmap::IndexMap;
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{Address, Config, Map};
use provision_state::Lease;

/// What is to be done at once.
pub(crate) struct AtOnce<'a> {
    pub purpose: &'a str,
    /// The action that is asked about, where no row of a plan could have it.
    pub verb: Option<&'a str>,
    /// How many resources there will be.
    pub after: usize,
    /// With the fields that the policies see.
    pub rows: &'a [(&'a PlannedRow, &'a Map)],
}

/// Refuses what the policies do not allow, all of it in one error.
pub(crate) fn may_do(
    on: &Workspace,
    by: &Actor,
    gate: &Gate,
    config: &Config,
    what: &AtOnce<'_>,
) -> Result<(), Failure> {
    let AtOnce { purpose, verb, after, rows } = *what;
    let plan = Plan {
        version: 1,
        digest: String::new(),
        lineage: on.store.lineage().to_owned(),
        project: config.name.clone(),
        created_at: on.host.now(),
        author: by.id.clone(),
        destroy: false,
        purpose: purpose.to_owned(),
        policies: config.policies.clone(),
        accounts: IndexMap::new(),
        outputs: Map::new(),
        rows: rows.iter().map(|(planned, _)| (*planned).clone()).collect(),
        resources_after: after,
    };
    let questions = Questions::new(on, by, &gate.people, &plan);
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
                    Code::ApplyDenied,
                    format!("{name} of {what} is denied: the policies do not decide it"),
                )
                .with_help("Write the policy so that it can be decided from what is known of the resource."),
            ),
        }
    }
    Failure::check(refused)
}

/// Writes a refusal into the audit log before it is told.
pub(crate) fn noted(
    on: &Workspace,
    lease: &Lease,
    verb: &str,
    subject: Option<&Address>,
    answer: Result<(), Failure>,
) -> Result<(), Failure> {
    if let Err(failure) = &answer {
        let told: Vec<&str> = failure.diagnostics().map(|one| one.message.as_str()).take(100).collect();
        let mut detail = Map::new();
        detail.insert("denials".into(), serde_json::json!(told));
        let noted = on.store.audit(lease, &format!("{verb}.deny"), subject.map(Address::as_str), detail);
        return Failure::both(answer, noted.and_then(|()| on.store.checkpoint()));
    }
    answer
}
