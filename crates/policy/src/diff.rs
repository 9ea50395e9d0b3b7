//! Owns the difference two policy sets make to recorded questions.

use crate::authorize::{Authorizer, Decision};
use crate::question::Question;
use provision_diagnostic::Failure;
use serde::Serialize;

/// A question that two sets decide differently.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub before: Decision,
    pub after: Decision,
}

/// One policy that decided, before or after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decider {
    /// `before` or `after`.
    pub set: &'static str,
    pub policy: String,
    pub effect: String,
    pub file: String,
    pub line: usize,
}

impl Difference {
    /// The policies that decided, those of the old set first.
    pub fn policies(&self) -> Vec<Decider> {
        let of = |set: &'static str, decision: &Decision| -> Vec<Decider> {
            let decider = |reason: &crate::Reason| Decider {
                set,
                policy: reason.policy.clone(),
                effect: reason.effect.clone(),
                file: reason.file.clone(),
                line: reason.line,
            };
            decision.reasons.iter().map(|reason| decider(reason)).collect()
        };
        let mut all = of("before", &self.before);
        all.extend(of("after", &self.after));
        all
    }
}

/// Decides a question with both sets; `None` where the decision is the same.
pub fn difference(old: &Authorizer, new: &Authorizer, question: &Question) -> Result<Option<Difference>, Failure> {
    let (before, after) = (old.decide(question)?, new.decide(question)?);
    Ok((before.decision != after.decision).then_some(Difference { before, after }))
}
