//! Owns tests of policies: cases with the decision they expect, and what of the policies the cases reach.

use crate::authorize::{Authorizer, Decision, Verdict};
use crate::clause::{Clause, branches, clauses};
use crate::explain::ScopeMatch;
use crate::question::Question;
use crate::set::PolicySet;
use crate::slice::is_true;
use cedar_policy_core::ast::{Expr, ExprKind, Policy, SlotEnv};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use provision_diagnostic::{Code, Failure, nearest};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub name: String,
    pub question: Question,
    pub expected: Verdict,
    /// The determining policies expected.
    pub policies: Option<Expected>,
    /// How many policies are expected to fail.
    pub errors: Option<usize>,
}

/// Expected policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Exactly these.
    All(BTreeSet<String>),
    /// At least these, as in the official test format.
    Some(BTreeSet<String>),
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseResult {
    pub case: String,
    pub passed: bool,
    pub expected: Verdict,
    /// `None` where the question could not be asked.
    pub actual: Option<Verdict>,
    /// The ids of the determining policies.
    pub reasons: Vec<String>,
    /// What is not as expected.
    pub message: Option<String>,
    pub elapsed: Duration,
}

/// Reads cases from data: a list of cases, or a record with `cases` and what they share.
///
/// A case has `name`, the parts of the question (or a `request` record with them), `decision` (or `expected`), and may
/// have `policies` (exactly those that decide) and `errors` (how many policies fail). The official format (`reason`,
/// `num_errors`) is read too. `entities` may name a JSON file; `read` gives its content.
pub fn read_cases(json: Json, read: &impl Fn(&str) -> Result<Json, Failure>) -> Result<Vec<Case>, Failure> {
    let (shared, cases) = match json {
        Json::Array(cases) => (Map::new(), cases),
        Json::Object(mut map) => match map.remove("cases") {
            Some(Json::Array(cases)) => (map, cases),
            Some(_) => return Err(wrong("`cases` is not a list")),
            None => (Map::new(), vec![Json::Object(map)]),
        },
        _ => return Err(wrong("the file holds no cases")),
    };
    cases.into_iter().enumerate().map(|(index, case)| read_case(index, case, &shared, read)).collect()
}

/// What a case, or a file of cases for all of them, may have.
const KEYS: [&str; 15] = [
    "name",
    "case",
    "description",
    "request",
    "principal",
    "action",
    "resource",
    "context",
    "entities",
    "decision",
    "expected",
    "policies",
    "reason",
    "errors",
    "num_errors",
];

fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(Code::PolicyRequest, message).with_help(
        "A case has `name`, `principal`, `action`, `resource`, maybe `context` and `entities`, and `decision`.",
    )
}

fn read_case(
    index: usize,
    case: Json,
    shared: &Map<String, Json>,
    read: &impl Fn(&str) -> Result<Json, Failure>,
) -> Result<Case, Failure> {
    let Json::Object(mut case) = case else { return Err(wrong(format!("case {index} is not a record"))) };
    for (name, value) in shared {
        case.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if let Some(unknown) = case.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let help = nearest(unknown, KEYS).map(|near| format!("Did you mean `{near}`?"));
        let failure = wrong(format!("case {index} has a field `{unknown}` that no case has"));
        return Err(match help {
            Some(help) => failure.with_help(help),
            None => failure,
        });
    }
    let name = ["name", "case", "description"].iter().find_map(|key| case.get(*key)?.as_str()).map(str::to_owned);
    let name = name.unwrap_or_else(|| index.to_string());
    let told = |message: String| wrong(format!("case `{name}`: {message}"));
    let mut question = match case.remove("request") {
        Some(Json::Object(request)) => request,
        Some(_) => return Err(told("`request` is not a record".to_owned())),
        None => Map::new(),
    };
    for part in ["principal", "action", "resource", "context", "entities"] {
        if let Some(value) = case.remove(part) {
            question.entry(part).or_insert(value);
        }
    }
    if let Some(Json::String(file)) = question.get("entities") {
        let rows = read(file)?;
        question.insert("entities".to_owned(), rows);
    }
    for part in ["principal", "action", "resource"] {
        if question.get(part).is_none_or(Json::is_null) {
            return Err(told(format!("it does not say which {part} is meant")));
        }
    }
    let question = serde_json::from_value(Json::Object(question)).map_err(|error| told(error.to_string()))?;
    let decision = ["decision", "expected"].iter().find_map(|key| case.get(*key)?.as_str());
    let expected = match decision.map(str::to_ascii_lowercase).as_deref() {
        Some("allow") => Verdict::Allow,
        Some("deny") => Verdict::Deny,
        _ => return Err(told("`decision` is neither allow nor deny".to_owned())),
    };
    let names = |key: &str| -> Result<Option<BTreeSet<String>>, Failure> {
        match case.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|_| told(format!("`{key}` is not a list of policy ids"))),
        }
    };
    let policies = match (names("policies")?, names("reason")?) {
        (Some(exactly), _) => Some(Expected::All(exactly)),
        (None, Some(some)) => Some(Expected::Some(some)),
        (None, None) => None,
    };
    let count = |value: &Json| value.as_u64().and_then(|count| usize::try_from(count).ok());
    let errors = match ["errors", "num_errors"].iter().find_map(|key| case.get(*key).filter(|value| !value.is_null())) {
        Some(value) => Some(count(value).ok_or_else(|| told(format!("{value} is no number of failing policies")))?),
        None => None,
    };
    Ok(Case { name, question, expected, policies, errors })
}

impl Authorizer {
    /// Runs one case.
    pub fn test(&self, case: &Case) -> CaseResult {
        let start = Instant::now();
        let decided = self.decide(&case.question);
        let elapsed = start.elapsed();
        let (actual, reasons, message) = match &decided {
            Ok(decision) => {
                let reasons = decision.reasons.iter().map(|reason| reason.policy.clone()).collect();
                (Some(decision.decision), reasons, unexpected(case, decision))
            }
            Err(failure) => (None, Vec::new(), Some(failure.first.headline())),
        };
        CaseResult {
            case: case.name.clone(),
            passed: message.is_none(),
            expected: case.expected,
            actual,
            reasons,
            message,
            elapsed,
        }
    }
}

/// What is not as the case expects.
fn unexpected(case: &Case, decision: &Decision) -> Option<String> {
    let actual: BTreeSet<String> = decision.reasons.iter().map(|reason| reason.policy.clone()).collect();
    let listed = |all: &BTreeSet<String>| match all.is_empty() {
        true => "no policy".to_owned(),
        false => all.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", "),
    };
    if decision.decision != case.expected {
        let by = match (decision.decision, actual.is_empty()) {
            (Verdict::Deny, true) => "no policy permits it".to_owned(),
            _ => format!("decided by {}", listed(&actual)),
        };
        return Some(format!("expected {}, got {}: {by}", case.expected.word(), decision.decision.word()));
    }
    let (wanted, good) = match &case.policies {
        None => (None, true),
        Some(Expected::All(wanted)) => (Some(wanted), *wanted == actual),
        Some(Expected::Some(wanted)) => (Some(wanted), wanted.is_subset(&actual)),
    };
    if let Some(wanted) = wanted.filter(|_| !good) {
        return Some(format!("expected {} to decide, but {} did", listed(wanted), listed(&actual)));
    }
    match case.errors {
        Some(wanted) if wanted != decision.errors.len() => {
            let failed = decision.errors.iter().map(|error| format!("`{}` ({})", error.policy, error.message));
            let failed: Vec<String> = failed.collect();
            let told = if failed.is_empty() { "none".to_owned() } else { failed.join(", ") };
            Some(format!("expected failures of policies: {wanted}, actual: {told}"))
        }
        _ => None,
    }
}

/// How often a policy, or a condition in it, was true, false or an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverageRow {
    pub policy: String,
    /// The condition: a whole clause, or an operand of its `&&`, `||`, `!` or `if`; `None` for the policy as a whole.
    pub clause: Option<String>,
    /// How many cases the policy decided.
    pub decided: usize,
    pub r#true: usize,
    pub r#false: usize,
    pub error: usize,
    pub file: String,
    pub line: usize,
}

impl PolicySet {
    /// What of these policies the cases reach, each asked by its authorizer. A question that cannot be asked is an error.
    pub fn coverage(&self, cases: &[(&Authorizer, &Case)]) -> Result<Vec<CoverageRow>, Failure> {
        crate::deep::on_deep_stack(|| self.coverage_here(cases))
    }

    fn coverage_here(&self, cases: &[(&Authorizer, &Case)]) -> Result<Vec<CoverageRow>, Failure> {
        let mut all = Vec::new();
        for policy in self.in_order() {
            all.push(Covered::new(policy));
        }
        for (authorizer, case) in cases {
            let named = |mut failure: Failure| {
                failure.first.message = format!("case `{}` cannot be asked: {}", case.name, failure.first.message);
                failure
            };
            let request = authorizer.request(&case.question).map_err(named)?;
            let entities = authorizer.entities(&case.question).map_err(named)?;
            let evaluator = Evaluator::new(request.clone(), entities.as_ref().as_ref(), Extensions::all_available());
            let (_, determining, _) = self.slices.evaluate(&request, entities.as_ref().as_ref()).decided();
            for (at, covered) in all.iter_mut().enumerate() {
                covered.run(&evaluator, determining.contains(&at));
            }
        }
        let mut rows = Vec::new();
        for covered in all {
            let id = covered.policy.id().to_string();
            let (file, line) = self.info(&id).map_or((String::new(), 0), |info| (info.file.clone(), info.line));
            let row = |clause: Option<String>, line: usize, [yes, no, error]: [usize; 3]| CoverageRow {
                policy: id.clone(),
                clause,
                decided: covered.decided,
                r#true: yes,
                r#false: no,
                error,
                file: file.clone(),
                line,
            };
            rows.push(row(None, line, covered.whole));
            for clause in covered.clauses.iter() {
                let line = clause.position(self, &id).map_or(line, |at| at.line);
                for (branch, text) in branches(&clause.body) {
                    rows.push(row(Some(text), line, covered.counts(branch)));
                }
            }
        }
        Ok(rows)
    }
}

/// One policy while the cases run.
struct Covered<'a> {
    policy: &'a cedar_policy::Policy,
    decided: usize,
    whole: [usize; 3],
    clauses: Rc<Vec<Clause>>,
    /// By the address of the condition in `clauses`, which stay where they are.
    conditions: HashMap<usize, [usize; 3]>,
}

fn key(expr: &Expr) -> usize {
    std::ptr::from_ref(expr) as usize
}

impl<'a> Covered<'a> {
    fn new(policy: &'a cedar_policy::Policy) -> Self {
        let clauses = Rc::new(clauses(policy));
        Covered { policy, decided: 0, whole: [0; 3], clauses, conditions: HashMap::new() }
    }

    fn counts(&self, condition: &Expr) -> [usize; 3] {
        self.conditions.get(&key(condition)).copied().unwrap_or_default()
    }

    fn run(&mut self, evaluator: &Evaluator<'_>, determining: bool) {
        let ast: &Policy = self.policy.as_ref();
        self.decided += usize::from(determining);
        let outcome = evaluator.interpret(&ast.condition(), ast.env()).map(|value| is_true(&value));
        self.whole[place(&outcome)] += 1;
        if !ScopeMatch::of(ast, evaluator).holds() {
            return;
        }
        for clause in self.clauses.clone().iter() {
            let value = self.condition(evaluator, &clause.body, ast.env());
            if value.is_none_or(|value| value == (clause.kind == "unless")) {
                break;
            }
        }
    }

    /// Counts a condition and those it reaches.
    fn condition(&mut self, evaluator: &Evaluator<'_>, expr: &Expr, slots: &SlotEnv) -> Option<bool> {
        let outcome = evaluator.interpret(expr, slots).map(|value| is_true(&value));
        self.conditions.entry(key(expr)).or_default()[place(&outcome)] += 1;
        match expr.expr_kind() {
            ExprKind::And { left, right } => {
                let goes_on = self.condition(evaluator, left, slots) == Some(true);
                if goes_on {
                    self.condition(evaluator, right, slots);
                }
            }
            ExprKind::Or { left, right } => {
                let goes_on = self.condition(evaluator, left, slots) == Some(false);
                if goes_on {
                    self.condition(evaluator, right, slots);
                }
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                match self.condition(evaluator, test_expr, slots) {
                    Some(true) => self.condition(evaluator, then_expr, slots),
                    Some(false) => self.condition(evaluator, else_expr, slots),
                    None => None,
                };
            }
            ExprKind::UnaryApp { op: cedar_policy_core::ast::UnaryOp::Not, arg } => {
                self.condition(evaluator, arg, slots);
            }
            _ => {}
        }
        outcome.ok()
    }
}

fn place<E>(outcome: &Result<bool, E>) -> usize {
    match outcome {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(_) => 2,
    }
}
