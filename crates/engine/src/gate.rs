//! Owns enforcement: the one place that asks whether a change may be made, whoever asks for it.

use crate::Session;
use crate::people::{PEOPLE, People, USER};
use crate::question::cedar_time;
use provision_diagnostic::Failure;
use provision_model::{Question, digest};
use provision_policy::{Authorizer, Decision, Partial, PolicySet, PolicySource, Reason, Schema, Verdict};
use provision_state::PolicyInForce;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The folder of policies when the configuration names none.
pub const POLICIES: &str = "policies";

/// The name of the generated schema in positions.
const SCHEMA: &str = "provision.cedarschema";

/// The policies of a project, ready to be asked.
pub struct Gate {
    /// `None`: the project has no policies, everything is allowed.
    authorizer: Option<Authorizer>,
    pub policies: PolicyInForce,
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

impl Session {
    /// Opens the gate of this project; refuses policies that changed since the last apply.
    pub(crate) fn gate(&self, configured: Option<&str>) -> Result<Gate, Failure> {
        let folder = shown(configured);
        let policies = self.policy_sources(configured)?;
        if let Some(in_force) = self.store.policies()?
            && in_force.digest != policies.digest
            && !in_force.sources.is_empty()
        {
            let what = if policies.sources.is_empty() { "are gone" } else { "have changed" };
            return Err(Failure::new(
                "provision::apply::policy_changed",
                format!("the policies {what} since the last apply"),
            )
            .with_help("Review the difference, then run `provision policy accept`."));
        }
        let authorizer = self.authorizer(&policies, &folder)?;
        Ok(Gate { authorizer, policies })
    }

    fn authorizer(&self, policies: &PolicyInForce, folder: &str) -> Result<Option<Authorizer>, Failure> {
        // Files without a policy in force permit nothing: only a project without policy files has no gate.
        if policies.sources.is_empty() {
            return Ok(None);
        }
        let set = policy_set(policies, folder)?;
        let schema = Schema::parse(SCHEMA, &self.registry.cedar_schema())?;
        set.fits(&schema)?;
        Ok(Some(Authorizer::new(Arc::new(set), Some(Arc::new(schema)), &[])?))
    }

    /// The policy files of the project.
    pub(crate) fn policy_sources(&self, configured: Option<&str>) -> Result<PolicyInForce, Failure> {
        let folder = self.project.join(configured.unwrap_or(POLICIES));
        let sources = match folder.exists() {
            false => Vec::new(),
            true => {
                // A policy that does not parse is told before anything is decided by it.
                let set = PolicySet::load(&folder, &shown(configured))?;
                let mut sources: Vec<(String, String)> =
                    set.sources().iter().map(|source| (source.name.clone(), source.text.clone())).collect();
                // Who belongs to which group decides as much as the policies do.
                if let Some(text) = self.people_text(configured)?.filter(|_| !sources.is_empty()) {
                    self.read_people(configured, &text)?;
                    sources.push((PEOPLE.to_owned(), text));
                }
                sources
            }
        };
        Ok(PolicyInForce { digest: digest(&json!(sources)), sources })
    }

    /// Makes the project's policies the ones in force, if those in force allow it.
    pub fn accept_policies(&self, configured: Option<&str>) -> Result<PolicyInForce, Failure> {
        let lease = self.lease()?;
        let config = match self.project.join(crate::project::INFRA).is_file() {
            true => self.read(&crate::Input::Project)?.0.config,
            false => provision_model::Config::default(),
        };
        let configured = configured.or(config.policies.as_deref());
        let policies = self.policy_sources(configured)?;
        // The new ones must at least be able to decide.
        self.authorizer(&policies, &shown(configured))?;
        if let Some(in_force) = self.store.policies()?
            && let Some(previous) = self.authorizer(&in_force, &shown(configured))?
        {
            // The people in force say who may change who belongs to what.
            let people = match in_force.sources.iter().find(|(name, _)| name == PEOPLE) {
                Some((name, text)) => People::read(text, name)?,
                None => People::default(),
            };
            let gate = Gate { authorizer: Some(previous), policies: in_force };
            let question = self.policy_question(&config.name, &people);
            match gate.ask(&question)? {
                Answer::Allowed(_) => {}
                Answer::Waiting(decision) => {
                    return Err(denial(&decision, "change_policy", "the policies")
                        .with_help("Approvals are for plans: who may change policies is said without `@approval`."));
                }
                Answer::Denied(decision) | Answer::Error(decision) => {
                    return Err(denial(&decision, "change_policy", "the policies"));
                }
                Answer::Pending => {
                    return Err(Failure::new(
                        "provision::apply::denied",
                        "the policies in force do not decide who may change them",
                    ));
                }
            }
        }
        self.store.put_policies(&lease, &policies)?;
        Ok(policies)
    }

    fn policy_question(&self, name: &str, people: &People) -> Question {
        let project = json!({"type": "Provision::Project", "id": name});
        let zero = json!({"create": 0, "update": 0, "replace": 0, "delete": 0, "resources": 0});
        let mut entities = vec![json!({"uid": project, "attrs": {}, "parents": []})];
        entities.extend(people.of(&self.user));
        Question {
            principal: json!({"type": USER, "id": self.user}),
            action: json!({"type": "Provision::Action", "id": "change_policy"}),
            resource: project.clone(),
            context: json!({
                "environment": self.environment_name(), "source": self.source, "approvals": [], "mfa": false,
                "time": {"__extn": {"fn": "datetime", "arg": cedar_time(&provision_state::now())}},
                "disruption": "update", "protected": false, "plan": zero, "subset": zero, "after": zero,
            }),
            entities,
        }
    }
}

/// The folder of the policies as positions start with it.
fn shown(configured: Option<&str>) -> String {
    format!("{}/", configured.unwrap_or(POLICIES).trim_end_matches('/'))
}

fn policy_set(policies: &PolicyInForce, folder: &str) -> Result<PolicySet, Failure> {
    let sources: Vec<PolicySource> = policies
        .sources
        .iter()
        .filter(|(name, _)| name != PEOPLE)
        .map(|(name, text)| PolicySource { name: name.clone(), text: text.clone() })
        .collect();
    PolicySet::parse_folder(&sources, folder)
}

impl Gate {
    /// Asks one question.
    pub fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let Some(authorizer) = &self.authorizer else { return Ok(Answer::Allowed(None)) };
        let asked: provision_policy::Question = serde_json::from_value(
            serde_json::to_value(question).map_err(|error| Failure::new("policy::request", error.to_string()))?,
        )
        .map_err(|error| Failure::new("policy::request", format!("the question cannot be asked: {error}")))?;
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

/// The policy to speak of: the first that gives advice, else the first.
fn told(decision: &Decision) -> Option<&Reason> {
    let advises = |reason: &&Arc<Reason>| reason.annotations.contains_key("advice");
    decision.reasons.iter().find(advises).or(decision.reasons.first()).map(|reason| &**reason)
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
        return Failure::new("provision::apply::approval", message).with_help(help);
    }
    let code = if decision.errors.is_empty() { "provision::apply::denied" } else { "provision::apply::policy_error" };
    let advice = told(decision).and_then(|reason| reason.annotations.get("advice"));
    let help = match (advice, decision.errors.is_empty()) {
        (Some(advice), _) => advice.clone(),
        (None, false) => "Mend the policy, for example by guarding the attribute with `has`.".to_owned(),
        (None, true) => "Change the infrastructure, or ask who owns the policies.".to_owned(),
    };
    Failure::new(code, format!("{action} of {what} is denied: {}", because(decision))).with_help(help)
}
