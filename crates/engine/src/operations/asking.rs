//! Owns asking the policies again, once the values that a question of the plan hung on are known.

use crate::operations::execute::{Executor, Run};
use crate::planning::planned::PlannedRow;
use crate::policy::gate::{Answer, denial};
use crate::policy::question::Questions;
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, Address, Map, Question, resolve};

impl Executor<'_> {
    /// The inputs as far as they are known now; what is not is marked unknown.
    pub(crate) fn inputs_known(&self, run: &Run<'_>) -> Result<Map, Failure> {
        let sealer = self.on.store.sealer();
        let known = |target: &Address, name: &str| self.attribute(target, name);
        let inputs = run.planned.inputs.iter();
        inputs
            .map(|(field, value)| Ok((field.clone(), resolve(&sealer.open_value(value)?, &known, self.on)?.value)))
            .collect()
    }

    /// Values without their seals.
    pub(crate) fn opened(&self, values: &Map) -> Result<Map, Failure> {
        let sealer = self.on.store.sealer();
        values.iter().map(|(name, value)| Ok((name.clone(), sealer.open_value(value)?))).collect()
    }

    /// Asks what hung on values that are known now; gives the policies that allow the row.
    pub(crate) fn ask_pending(&self, run: &Run<'_>, index: usize, inputs: &Map) -> Result<Vec<String>, Failure> {
        let mut allowed_by = self.asked.allowed_by.get(&index).cloned().unwrap_or_default();
        for question in self.asked.pending.get(&index).into_iter().flatten() {
            allowed_by.extend(self.ask_again(run, question, &[inputs])?);
        }
        Ok(allowed_by)
    }

    /// The same of a creation that leaves something for later: where that decides, what is sent now must be allowed by
    /// itself. All of it is asked again before the rest is sent.
    pub(crate) fn ask_first(
        &self,
        run: &Run<'_>,
        index: usize,
        whole: &Map,
        sent: &Map,
    ) -> Result<Vec<String>, Failure> {
        let mut allowed_by = self.asked.allowed_by.get(&index).cloned().unwrap_or_default();
        for question in self.asked.pending.get(&index).into_iter().flatten() {
            allowed_by.extend(self.ask_again(run, question, &[whole, sent])?);
        }
        Ok(allowed_by)
    }

    /// Asks one of them, of the first of the inputs that decide it. What is secret is looked at here, and shown nowhere.
    fn ask_again(&self, run: &Run<'_>, question: &Question, inputs: &[&Map]) -> Result<Vec<String>, Failure> {
        let Some((inputs, others)) = inputs.split_first() else { return Ok(Vec::new()) };
        let questions = Questions::of_subset(self.on, self.by, &self.gate.people, self.plan, &[], self.on.host.now());
        let planned = PlannedRow { prior_fields: self.opened(&run.planned.prior_fields)?, ..run.planned.clone() };
        let mut asked = questions.of(&planned, inputs, action_of(question).unwrap_or(run.action));
        asked.context = question.context.clone();
        asked.action = question.action.clone();
        let what = format!("`{}`", run.planned.row.address);
        match self.gate.ask(&asked)? {
            Answer::Allowed(decision) => {
                let reasons = decision.map(|decision| decision.reasons).unwrap_or_default();
                Ok(reasons.iter().map(|reason| reason.policy.clone()).collect())
            }
            Answer::Denied(decision) | Answer::Waiting(decision) | Answer::Error(decision) => {
                Err(denial(&decision, run.action.name(), &what))
            }
            Answer::Pending if !others.is_empty() => self.ask_again(run, question, others),
            Answer::Pending => Err(Failure::new(
                Code::ApplyDenied,
                format!("{} of {what} is denied: the policies do not decide it", run.action.name()),
            )
            .with_help(
                "Write the policy so that it can be decided from the resource's fields, or apply what it depends on first.",
            )),
        }
    }
}

/// The action that a question is about.
fn action_of(question: &Question) -> Option<Action> {
    serde_json::from_value(question.action["id"].clone()).ok()
}
