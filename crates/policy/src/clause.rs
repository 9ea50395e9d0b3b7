//! Owns the `when` and `unless` clauses of a policy and the expressions in them, each with its place and its value.

use crate::authorize::first_line;
use crate::set::PolicySet;
use crate::slice::is_true;
use crate::value::to_shown_json;
use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal, SlotEnv, UnaryOp, Value, ValueKind};
use cedar_policy_core::evaluator::Evaluator;
use provision_diagnostic::{Position, Source, excerpt};
use serde::Serialize;
use serde_json::Value as Json;

/// Expressions nested deeper are not told one by one; the evaluator has its own limit.
const DEPTH: usize = 100;

/// A clause of a policy.
pub(crate) struct Clause {
    pub kind: &'static str,
    /// What stands between the braces.
    pub body: Expr,
}

/// The clauses of a policy in the order they stand in.
pub(crate) fn clauses(policy: &cedar_policy::Policy) -> Vec<Clause> {
    // The compiled condition is `c1 && (c2 && c3)`, with `unless` as a negation; only the JSON form tells how many
    // clauses there were and of which kind.
    let json = policy.to_json().unwrap_or_default();
    let kinds = json["conditions"].as_array().cloned().unwrap_or_default();
    let mut rest = policy.as_ref().non_scope_constraints().cloned();
    let mut all = Vec::with_capacity(kinds.len());
    for (at, kind) in kinds.iter().enumerate() {
        let Some(whole) = rest.take() else { break };
        let one = match whole.expr_kind() {
            ExprKind::And { left, right } if at + 1 < kinds.len() => {
                rest = Some((**right).clone());
                (**left).clone()
            }
            _ => whole,
        };
        all.push(match (kind["kind"].as_str(), one.expr_kind()) {
            (Some("unless"), ExprKind::UnaryApp { op: UnaryOp::Not, arg }) => {
                Clause { kind: "unless", body: (**arg).clone() }
            }
            _ => Clause { kind: "when", body: one },
        });
    }
    all
}

impl Clause {
    /// The text as written, or as Cedar writes it where the policy came from JSON.
    pub fn text(&self) -> String {
        text_of(&self.body)
    }

    /// Where it stands, if the policy was written as text.
    pub fn position(&self, policies: &PolicySet, policy: &str) -> Option<Position> {
        let loc = self.body.source_loc()?;
        let info = policies.info(policy)?;
        let source = policies.sources().get(info.source)?;
        Some(excerpt(Source { name: &info.file, text: &source.text }, loc.start()..loc.end()).position)
    }
}

/// The text of an expression.
pub(crate) fn text_of(expr: &Expr) -> String {
    match expr.source_loc().and_then(|loc| loc.snippet()) {
        Some(text) => text.to_owned(),
        None => expr.to_string(),
    }
}

/// The text of an operand. The parser gives some the place of the whole they are in: `resource.owner` in
/// `resource.owner.name` stands for itself.
pub(crate) fn text_inside(expr: &Expr, whole: Option<&Expr>) -> String {
    if !whole.is_some_and(|whole| same_place(expr, whole)) {
        return text_of(expr);
    }
    match expr.expr_kind() {
        ExprKind::GetAttr { expr: of, attr } => format!("{}.{attr}", text_inside(of, Some(expr))),
        ExprKind::Var(name) => name.to_string(),
        _ => expr.to_string(),
    }
}

fn same_place(one: &Expr, other: &Expr) -> bool {
    let place = |expr: &Expr| expr.source_loc().map(|loc| (loc.start(), loc.end()));
    place(one).is_some() && place(one) == place(other)
}

/// Whether an operand is there only because of how the whole is compiled: `a > b` is `!(a <= b)`, and `a && b && c` is
/// `(a && b) && c`.
pub(crate) fn is_compiled(expr: &Expr, whole: &Expr) -> bool {
    let both = matches!(
        (whole.expr_kind(), expr.expr_kind()),
        (ExprKind::UnaryApp { op: UnaryOp::Not, .. }, ExprKind::BinaryApp { .. })
            | (ExprKind::And { .. }, ExprKind::And { .. })
            | (ExprKind::Or { .. }, ExprKind::Or { .. })
    );
    both && same_place(expr, whole)
}

/// An expression in a clause with what it gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    pub text: String,
    /// Null where there is an error.
    pub value: Json,
    pub error: Option<String>,
    /// Whether Cedar evaluates it for this request; what stands behind a `false &&` is not.
    pub reached: bool,
}

/// Evaluates expressions for one request.
pub(crate) struct Looking<'a> {
    evaluator: &'a Evaluator<'a>,
    slots: &'a SlotEnv,
    /// The entities whose attributes, tags or parents were looked at.
    pub used: Vec<EntityUID>,
}

impl<'a> Looking<'a> {
    pub fn new(evaluator: &'a Evaluator<'a>, slots: &'a SlotEnv) -> Self {
        Self { evaluator, slots, used: Vec::new() }
    }

    pub fn value(&self, expr: &Expr) -> Result<Value, String> {
        self.evaluator.interpret(expr, self.slots).map_err(|error| first_line(&error))
    }

    /// The expression itself and those in it that say something: not the literals and variables.
    pub fn parts(&mut self, expr: &Expr, reached: bool) -> Vec<Part> {
        let mut all = Vec::new();
        self.walk(expr, None, reached, 0, &mut all);
        all
    }

    fn walk(&mut self, expr: &Expr, whole: Option<&Expr>, reached: bool, depth: usize, all: &mut Vec<Part>) {
        if depth > DEPTH {
            return;
        }
        if says_something(expr) && !whole.is_some_and(|whole| is_compiled(expr, whole)) {
            all.push(self.part(expr, whole, reached));
        }
        if reached {
            self.note_use(expr);
        }
        let mut inside = |looking: &mut Self, inner: &Expr, reached: bool| {
            looking.walk(inner, Some(expr), reached, depth + 1, all);
        };
        match expr.expr_kind() {
            ExprKind::And { left, right } => {
                inside(self, left, reached);
                let goes_on = reached && self.value(left).is_ok_and(|value| is_true(&value));
                inside(self, right, goes_on);
            }
            ExprKind::Or { left, right } => {
                inside(self, left, reached);
                let goes_on = reached && self.value(left).is_ok_and(|value| !is_true(&value));
                inside(self, right, goes_on);
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                inside(self, test_expr, reached);
                let test = self.value(test_expr).map(|value| is_true(&value));
                inside(self, then_expr, reached && test == Ok(true));
                inside(self, else_expr, reached && test == Ok(false));
            }
            _ => {
                let mut goes_on = reached;
                for inner in children(expr) {
                    inside(self, inner, goes_on);
                    goes_on = goes_on && self.value(inner).is_ok();
                }
            }
        }
    }

    fn part(&self, expr: &Expr, whole: Option<&Expr>, reached: bool) -> Part {
        let (value, error) = match self.value(expr) {
            Ok(value) => (to_shown_json(&value), None),
            Err(error) => (Json::Null, Some(error)),
        };
        Part { text: text_inside(expr, whole), value, error, reached }
    }

    fn note_use(&mut self, expr: &Expr) {
        let looked_at = match expr.expr_kind() {
            ExprKind::GetAttr { expr, .. } | ExprKind::HasAttr { expr, .. } | ExprKind::ExtHasAttr { expr, .. } => expr,
            ExprKind::BinaryApp { op: BinaryOp::In | BinaryOp::GetTag | BinaryOp::HasTag, arg1, .. } => arg1,
            _ => return,
        };
        if let Some(uid) = self.value(looked_at).ok().and_then(|value| entity_of(&value))
            && !self.used.contains(&uid)
        {
            self.used.push(uid);
        }
    }
}

/// The entity a value names.
pub(crate) fn entity_of(value: &Value) -> Option<EntityUID> {
    match value.value_kind() {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some((**uid).clone()),
        _ => None,
    }
}

fn says_something(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => false,
        ExprKind::Set(_) | ExprKind::Record(_) => false,
        // `decimal("1.5")` is a literal in all but name.
        ExprKind::ExtensionFunctionApp { args, .. } => {
            !args.iter().all(|arg| matches!(arg.expr_kind(), ExprKind::Lit(_)))
        }
        _ => true,
    }
}

/// The operands of anything but `&&`, `||` and `if`, in the order they are evaluated in.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::If { test_expr, then_expr, else_expr } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// The clause's own conditions: the operands of its `&&`, `||`, `!` and `if`, itself first, each with its text.
pub(crate) fn branches(body: &Expr) -> Vec<(&Expr, String)> {
    let mut all = Vec::new();
    let mut open = vec![(body, None)];
    while let Some((expr, whole)) = open.pop() {
        if !whole.is_some_and(|whole| is_compiled(expr, whole)) {
            all.push((expr, text_inside(expr, whole)));
        }
        let inside = match expr.expr_kind() {
            ExprKind::And { .. } | ExprKind::Or { .. } | ExprKind::If { .. } => children(expr),
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } if !is_compiled(arg, expr) => vec![&**arg],
            _ => Vec::new(),
        };
        open.extend(inside.into_iter().rev().map(|inner| (inner, Some(expr))));
    }
    all
}
