//! Owns enforcement: the one place that asks whether a change may be made, whoever asks for it.

use crate::actor::Actor;
use crate::configuration::environments::states;
use crate::policy::people::{People, USER};
use crate::policy::policies::{Rules, project_rules};
use crate::workspace::{Workspace, acquire};
use provision_diagnostic::{Code, Failure};
use provision_model::Question;
use provision_policy::{Authorizer, Decision, Partial, PolicySet, Reason, Schema, Verdict};
use provision_state::{Lease, PolicyInForce};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The name of the generated schema in positions.
const SCHEMA: &str = "provision.cedarschema";

/// The policies of a project, ready to be asked.
pub struct Gate {
    /// `None`: the project has no policies, everything is allowed.
    authorizer: Option<Authorizer>,
    pub policies: PolicyInForce,
    /// Who belongs to which group, read with the policies and under the same digest.
    pub(crate) people: People,
}

/// An answer.
pub enum Answer {
    Allowed(Option<Decision>),
    Denied(Decision),
    /// It hangs on what is not known yet.
    Pending,
    /// Only policies with `@approval` forbid it: it waits for these roles.
    Waiting(Decision),
    /// A policy could not be evaluated; a gate must not fail open.
    Error(Decision),
}

impl Gate {
    /// The gate that some rules make. Those that are newly written must fit what the providers have today.
    pub(crate) fn over(on: &Workspace, rules: Rules, must_fit: bool) -> Result<Gate, Failure> {
        let Rules { policies, people, set, .. } = rules;
        let authorizer = set.map(|set| authorizer(on, set, must_fit)).transpose()?;
        Ok(Gate { authorizer, policies, people })
    }

    /// Asks one question.
    pub fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let Some(authorizer) = &self.authorizer else { return Ok(Answer::Allowed(None)) };
        let asked: provision_policy::Question = serde_json::from_value(
            serde_json::to_value(question).map_err(|error| Failure::new(Code::PolicyRequest, error.to_string()))?,
        )
        .map_err(|error| Failure::new(Code::PolicyRequest, format!("the question cannot be asked: {error}")))?;
        let granted = asked.context["approvals"].as_array().into_iter().flatten();
        let mut granted: BTreeSet<String> = granted.filter_map(|role| role.as_str().map(str::to_owned)).collect();
        Ok(match authorizer.decide_partial_approved(&asked, &granted)? {
            Partial::Pending => Answer::Pending,
            Partial::Decided(decision) if !decision.errors.is_empty() => Answer::Error(decision),
            Partial::Decided(decision) => match decision.decision {
                Verdict::Allow => Answer::Allowed(Some(decision)),
                Verdict::Deny if !decision.approvals().is_empty() => {
                    // It waits only for what would let it through.
                    granted.extend(decision.approvals());
                    match authorizer.decide_partial_approved(&asked, &granted)? {
                        Partial::Decided(after) if after.decision == Verdict::Deny => Answer::Denied(after),
                        _ => Answer::Waiting(decision),
                    }
                }
                Verdict::Deny => Answer::Denied(decision),
            },
        })
    }
}

/// One sentence that names what decided.
pub fn because(decision: &Decision) -> String {
    let at = |file: &String, line: usize| format!(" ({file}:{line})");
    if let Some(error) = decision.errors.first() {
        return format!(
            "the policy `{}` cannot be evaluated{}: {}",
            error.policy,
            at(&error.file, error.line),
            error.message
        );
    }
    match told(decision) {
        Some(reason) => format!("the policy `{}` forbids it{}", reason.policy, at(&reason.file, reason.line)),
        None => "no policy permits it".to_owned(),
    }
}

/// The error of a denial.
pub fn denial(decision: &Decision, action: &str, what: &str) -> Failure {
    let roles = decision.approvals();
    if !roles.is_empty() {
        let roles = roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(" and ");
        let message = format!("{action} of {what} waits for the approval of {roles}: {}", because(decision));
        let next = "Have the plan approved with `provision approve PLAN`, then apply the same rows again.";
        let help = match told(decision).and_then(|reason| reason.annotations.get("advice")) {
            Some(advice) => format!("{advice}\n{next}"),
            None => next.to_owned(),
        };
        return Failure::new(Code::ApplyApproval, message).with_help(help);
    }
    let code = if decision.errors.is_empty() { Code::ApplyDenied } else { Code::ApplyPolicyError };
    let advice = told(decision).and_then(|reason| reason.annotations.get("advice"));
    let help = match (advice, decision.errors.is_empty()) {
        (Some(advice), _) => advice.clone(),
        (None, false) => "Mend the policy, for example by guarding the attribute with `has`.".to_owned(),
        (None, true) => "Change the infrastructure, or ask who owns the policies.".to_owned(),
    };
    Failure::new(code, format!("{action} of {what} is denied: {}", because(decision))).with_help(help)
}

/// Opens the gate of this project; refuses policies that are not the ones in force. The first that a state is asked
/// about are in force from then on, whatever they answer.
pub(crate) fn open_gate(
    on: &Workspace,
    by: &Actor,
    configured: Option<&str>,
    lease: Option<&Lease>,
) -> Result<Gate, Failure> {
    let rules = project_rules(on, configured)?;
    let in_force = in_force_beside(on, &rules)?;
    let policies = &rules.policies;
    if !in_force.is_empty() && in_force.iter().all(|known| known.digest != policies.digest) {
        return Err(Failure::new(Code::ApplyPolicyChanged, "the policies have changed since the last apply")
            .with_help("Review the difference, then run `provision policy accept`."));
    }
    let gate = Gate::over(on, rules, true)?;
    let policies = &gate.policies;
    if on.store.policies()?.is_none_or(|known| known.digest != policies.digest) {
        match lease {
            Some(lease) => on.store.put_policies(lease, policies)?,
            None => on.store.put_policies(&acquire(on, by)?, policies)?,
        }
    }
    Ok(gate)
}

/// The policies in force beside those that the project has now: one that has had some does not go on without.
pub(crate) fn in_force_beside(on: &Workspace, rules: &Rules) -> Result<Vec<PolicyInForce>, Failure> {
    let in_force = policies_in_force(on)?;
    if in_force.is_empty() || !rules.policies.sources.is_empty() {
        return Ok(in_force);
    }
    let shown = rules.shown.trim_end_matches('/');
    Err(Failure::new(
        Code::ApplyNoPolicies,
        format!("this project has policies in force, and there are none in `{shown}`"),
    )
    .with_help("Put them back, or say in infra.ncl where they are: `policies = \"FOLDER\"`. To allow everything, write a policy that does, and run `provision policy accept`."))
}

/// Asks about what is done to the project as a whole, at once and not by a plan.
pub(crate) fn asked_of_project(
    on: &Workspace,
    by: &Actor,
    gate: &Gate,
    project: &str,
    action: &str,
    what: &str,
) -> Result<(), Failure> {
    match gate.ask(&project_question(on, by, project, action, &gate.people))? {
        Answer::Allowed(_) => Ok(()),
        Answer::Waiting(decision) => Err(denial(&decision, action, what)
            .with_help("Approvals are for plans: who may do this at once is said without `@approval`.")),
        Answer::Denied(decision) | Answer::Error(decision) => Err(denial(&decision, action, what)),
        Answer::Pending => {
            Err(Failure::new(Code::ApplyDenied, format!("{action} of {what} is denied: the policies do not decide it"))
                .with_help("Write the policy so that it can be decided from what is known of the project."))
        }
    }
}

/// The policy to speak of: the first that gives advice, else the first.
fn told(decision: &Decision) -> Option<&Reason> {
    let advises = |reason: &&Arc<Reason>| reason.annotations.contains_key("advice");
    decision.reasons.iter().find(advises).or(decision.reasons.first()).map(|reason| &**reason)
}

/// Who answers by these policies. Those that are newly written must fit what the providers have today.
fn authorizer(on: &Workspace, set: PolicySet, must_fit: bool) -> Result<Authorizer, Failure> {
    let schema = Schema::parse(SCHEMA, &on.project.registry.cedar_schema())?;
    if must_fit {
        set.fits(&schema)?;
    }
    Authorizer::new(Arc::new(set), Some(Arc::new(schema)), &[])
}

/// The policies in force, any of which may be the project's: those of this state, or of the project's other states
/// where this one was never asked about any. A new environment does not begin without.
fn policies_in_force(on: &Workspace) -> Result<Vec<PolicyInForce>, Failure> {
    let known = match on.store.policies()? {
        Some(own) => vec![own],
        None if !on.at_home => Vec::new(),
        None => {
            let mut others = Vec::new();
            for (_, store) in states(&on.project.folder, &on.host.env)? {
                if store.lineage() != on.store.lineage() {
                    others.extend(store.policies()?);
                }
            }
            others
        }
    };
    Ok(known.into_iter().filter(|known| !known.sources.is_empty()).collect())
}

fn project_question(on: &Workspace, by: &Actor, name: &str, action: &str, people: &People) -> Question {
    let project = json!({"type": "Provision::Project", "id": name});
    let zero = json!({"create": 0, "update": 0, "replace": 0, "delete": 0, "resources": 0});
    let mut entities = vec![json!({"uid": project, "attrs": {}, "parents": []})];
    entities.extend(people.of(&by.id));
    Question {
        principal: json!({"type": USER, "id": by.id}),
        action: json!({"type": "Provision::Action", "id": action}),
        resource: project.clone(),
        context: json!({
            "environment": on.project.environment_name(), "source": by.source, "approvals": [],
            "time": {"__extn": {"fn": "datetime", "arg": on.host.now().to_millis()}},
            "disruption": "update", "protected": false, "plan": zero, "subset": zero, "after": zero,
        }),
        entities,
    }
}
