//! Owns the values worth trying: what the policies compare an attribute with, and what is just beside it.

use super::{Place, Root};
use crate::clause::{children, entity_of};
use crate::value::to_cedar_json;
use cedar_policy_core::ast::{
    BinaryOp, Eid, EntityType, EntityUID, Expr, ExprKind, Literal, Name, PartialValue, Pattern, PatternElem, SlotEnv,
    UnaryOp, Value, ValueKind, Var,
};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::Evaluator;
use smol_str::SmolStr;
use std::str::FromStr;

/// Of a long set so many members are tried.
const MEMBERS: usize = 16;

/// Values for places, in the order they were found.
pub(super) struct Offers<'a> {
    evaluator: &'a Evaluator<'a>,
    entities: &'a Entities,
    places: Vec<(Place, Vec<Option<Value>>)>,
}

impl<'a> Offers<'a> {
    pub fn new(evaluator: &'a Evaluator<'a>, entities: &'a Entities) -> Self {
        Self { evaluator, entities, places: Vec::new() }
    }

    pub fn into_places(self) -> Vec<(Place, Vec<Option<Value>>)> {
        self.places
    }

    /// What is worth trying to turn a condition.
    pub fn of_condition(&mut self, expr: &Expr, slots: &SlotEnv) {
        Looking { offers: self, slots }.condition(expr);
    }

    fn offer(&mut self, place: &Place, value: Option<Value>) {
        match self.places.iter_mut().find(|(known, _)| known == place) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => self.places.push((place.clone(), vec![value])),
        }
    }
}

struct Looking<'o, 'a> {
    offers: &'o mut Offers<'a>,
    slots: &'o SlotEnv,
}

impl Looking<'_, '_> {
    fn value(&self, expr: &Expr) -> Option<Value> {
        self.offers.evaluator.interpret(expr, self.slots).ok()
    }

    /// The attribute an expression reads.
    fn place(&self, expr: &Expr) -> Option<Place> {
        match expr.expr_kind() {
            ExprKind::GetAttr { expr: of, attr } => self.attribute(of, attr),
            ExprKind::BinaryApp { op: BinaryOp::GetTag, arg1, arg2 } => self.tag(arg1, arg2),
            _ => None,
        }
    }

    fn attribute(&self, of: &Expr, attr: &SmolStr) -> Option<Place> {
        if matches!(of.expr_kind(), ExprKind::Var(Var::Context)) {
            return Some(Place { root: Root::Context, path: vec![attr.clone()] });
        }
        match self.value(of) {
            Some(value) => match entity_of(&value) {
                Some(uid) => Some(Place { root: Root::Entity(uid), path: vec![attr.clone()] }),
                None => self.inside(of, attr),
            },
            // What is missing may be a record.
            None => self.inside(of, attr),
        }
    }

    fn inside(&self, of: &Expr, attr: &SmolStr) -> Option<Place> {
        let mut place = self.place(of)?;
        place.path.push(attr.clone());
        Some(place)
    }

    fn tag(&self, of: &Expr, name: &Expr) -> Option<Place> {
        let uid = entity_of(&self.value(of)?)?;
        let ValueKind::Lit(Literal::String(name)) = self.value(name)?.value else { return None };
        Some(Place { root: Root::Tags(uid), path: vec![name] })
    }

    fn offer(&mut self, place: &Place, values: impl IntoIterator<Item = Value>) {
        for value in values {
            self.offers.offer(place, Some(value.with_maybe_source_loc(None)));
        }
    }

    /// An expression that must be a boolean.
    fn condition(&mut self, expr: &Expr) {
        if let Some(place) = self.place(expr) {
            self.offer(&place, [boolean(true), boolean(false)]);
        }
        match expr.expr_kind() {
            ExprKind::And { left, right } | ExprKind::Or { left, right } => {
                self.condition(left);
                self.condition(right);
                return;
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                self.condition(test_expr);
                self.condition(then_expr);
                self.condition(else_expr);
                return;
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => return self.condition(arg),
            _ => self.comparison(expr),
        }
        for inner in children(expr) {
            self.condition_inside(inner);
        }
    }

    /// Conditions can stand inside what is no condition: `(if a then 1 else 2) == 2`.
    fn condition_inside(&mut self, expr: &Expr) {
        match expr.expr_kind() {
            ExprKind::If { test_expr, then_expr, else_expr } => {
                self.condition(test_expr);
                self.condition_inside(then_expr);
                self.condition_inside(else_expr);
            }
            ExprKind::Lit(_) | ExprKind::Var(_) => {}
            _ => {
                self.comparison(expr);
                for inner in children(expr) {
                    self.condition_inside(inner);
                }
            }
        }
    }

    fn comparison(&mut self, expr: &Expr) {
        match expr.expr_kind() {
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                self.one_side(*op, arg1, arg2, true);
                self.one_side(*op, arg2, arg1, false);
            }
            ExprKind::Like { expr, pattern } => {
                if let Some(place) = self.place(expr) {
                    self.offer(&place, [matching(pattern), string(""), string("~")]);
                }
            }
            ExprKind::Is { expr, entity_type } => {
                if let Some(place) = self.place(expr) {
                    self.offer(&place, [entity(entity_type, "any")]);
                }
            }
            ExprKind::HasAttr { expr, attr } => {
                if let Some(place) = self.attribute(expr, attr) {
                    self.presence(&place);
                }
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                if let Some(mut place) = self.attribute(expr, &attrs.head) {
                    place.path.extend(attrs.tail.iter().cloned());
                    self.presence(&place);
                }
            }
            ExprKind::UnaryApp { op: UnaryOp::IsEmpty, arg } => {
                if let Some(place) = self.place(arg) {
                    self.offer(&place, [Value::empty_set(None), Value::set([string("any")], None)]);
                }
            }
            ExprKind::ExtensionFunctionApp { fn_name, args } => self.call(&fn_name.to_string(), args),
            _ => {}
        }
    }

    fn presence(&mut self, place: &Place) {
        self.offers.offer(place, None);
        // What others of its type have there has the right type.
        if let (Root::Entity(uid), [name]) = (&place.root, place.path.as_slice()) {
            let others = self.offers.entities.iter().filter(|other| other.uid().entity_type() == uid.entity_type());
            let values: Vec<Value> = others
                .filter_map(|other| match other.get(name) {
                    Some(PartialValue::Value(value)) => Some(value.clone()),
                    _ => None,
                })
                .take(MEMBERS)
                .collect();
            self.offer(place, values);
        }
        self.offer(place, [boolean(true), string("any"), long(1)]);
    }

    /// What to put at the place `side` reads, compared with `other`.
    fn one_side(&mut self, op: BinaryOp, side: &Expr, other: &Expr, first: bool) {
        if matches!(op, BinaryOp::HasTag) && first {
            if let Some(place) = self.tag(side, other) {
                self.presence(&place);
            }
            return;
        }
        let Some(place) = self.place(side) else { return };
        let Some(with) = self.value(other) else { return };
        let now = self.value(side);
        let here = now.as_ref().map(members).unwrap_or_default();
        let there = members(&with);
        match (op, first) {
            (BinaryOp::Eq, _) => {
                self.offer(&place, [with.clone()]);
                self.offer(&place, self.beside(&with));
            }
            (BinaryOp::Less | BinaryOp::LessEq, _) => {
                self.offer(&place, [with.clone()]);
                self.offer(&place, self.beside(&with));
            }
            (BinaryOp::In, true) => {
                let above = if there.is_empty() { vec![with.clone()] } else { there };
                self.offer(&place, above.into_iter().take(MEMBERS));
                let strange: Vec<Value> = now.iter().flat_map(|now| self.beside(now)).collect();
                self.offer(&place, strange);
            }
            (BinaryOp::In, false) => self.offer(&place, [with.clone()]),
            (BinaryOp::Contains, true) => {
                self.offer(
                    &place,
                    [joined(&here, std::slice::from_ref(&with)), without(&here, std::slice::from_ref(&with))],
                );
            }
            (BinaryOp::Contains, false) => {
                self.offer(&place, there.iter().take(MEMBERS).cloned());
                let strange: Vec<Value> = there.iter().take(1).flat_map(|one| self.beside(one)).collect();
                self.offer(&place, strange);
            }
            (BinaryOp::ContainsAll, true) => {
                self.offer(&place, [joined(&here, &there), without(&here, there.get(..1).unwrap_or_default())]);
            }
            (BinaryOp::ContainsAll, false) => {
                let strange: Vec<Value> = there.iter().take(1).flat_map(|one| self.beside(one)).take(1).collect();
                self.offer(&place, [Value::empty_set(None), joined(&here, &strange)]);
            }
            (BinaryOp::ContainsAny, _) => {
                self.offer(&place, [joined(&here, there.get(..1).unwrap_or_default()), without(&here, &there)]);
            }
            _ => {}
        }
    }

    fn call(&mut self, name: &str, args: &[Expr]) {
        let made = |function: &str, text: &str| self.made(function, text);
        match (name, args) {
            ("isInRange", [address, range]) => {
                let range = self.value(range).map(|range| to_cedar_json(&range));
                let inside = range.as_ref().and_then(|range| range["__extn"]["arg"].as_str()?.split('/').next());
                let values: Vec<Value> = inside
                    .into_iter()
                    .chain(["192.0.2.1", "198.51.100.1", "2001:db8::1"])
                    .filter_map(|text| made("ip", text))
                    .collect();
                if let Some(place) = self.place(address) {
                    self.offer(&place, values);
                }
            }
            ("isIpv4" | "isIpv6" | "isLoopback" | "isMulticast", [address]) => {
                let all = ["127.0.0.1", "192.0.2.1", "::1", "224.0.0.1"];
                let values: Vec<Value> = all.into_iter().filter_map(|text| made("ip", text)).collect();
                if let Some(place) = self.place(address) {
                    self.offer(&place, values);
                }
            }
            ("lessThan" | "lessThanOrEqual" | "greaterThan" | "greaterThanOrEqual", [one, two]) => {
                self.one_side(BinaryOp::Less, one, two, true);
                self.one_side(BinaryOp::Less, two, one, false);
            }
            _ => {}
        }
    }

    fn made(&self, function: &str, text: &str) -> Option<Value> {
        let call = Expr::call_extension_fn(Name::from_str(function).ok()?, vec![Expr::val(text)]);
        self.value(&call)
    }

    /// Values next to one: greater, smaller, or merely another.
    fn beside(&self, value: &Value) -> Vec<Value> {
        match value.value_kind() {
            ValueKind::Lit(Literal::Bool(now)) => vec![boolean(!now)],
            ValueKind::Lit(Literal::Long(now)) => {
                now.checked_add(1).into_iter().chain(now.checked_sub(1)).map(long).collect()
            }
            ValueKind::Lit(Literal::String(now)) => vec![string(&format!("not-{now}"))],
            ValueKind::Lit(Literal::EntityUID(uid)) => {
                let id: &str = uid.eid().as_ref();
                vec![entity(uid.entity_type(), &format!("not-{id}"))]
            }
            ValueKind::Set(set) if !set.is_empty() => vec![Value::empty_set(None)],
            ValueKind::ExtensionValue(_) => self.beside_call(&to_cedar_json(value)),
            _ => Vec::new(),
        }
    }

    fn beside_call(&self, json: &serde_json::Value) -> Vec<Value> {
        let call = &json["__extn"];
        let arg = call["arg"].as_str().unwrap_or_default();
        match call["fn"].as_str() {
            Some("ip") => ["192.0.2.1", "198.51.100.1"].iter().filter_map(|text| self.made("ip", text)).collect(),
            Some("decimal") => {
                let (whole, part) = arg.split_once('.').unwrap_or((arg, "0"));
                let digits = format!("{whole}{part:0<4}");
                let Ok(scaled) = digits.parse::<i64>() else { return Vec::new() };
                let near = scaled.checked_add(1).into_iter().chain(scaled.checked_sub(1));
                near.filter_map(|scaled| {
                    let sign = if scaled < 0 { "-" } else { "" };
                    let all = scaled.unsigned_abs();
                    self.made("decimal", &format!("{sign}{}.{:04}", all / 10_000, all % 10_000))
                })
                .collect()
            }
            _ => self.beside_time(json),
        }
    }

    /// A datetime or duration a millisecond later and earlier.
    fn beside_time(&self, json: &serde_json::Value) -> Vec<Value> {
        let text = crate::value::shown(json.clone());
        let Some(text) = text.as_str() else { return Vec::new() };
        let kind = if json["__extn"]["fn"] == "duration" { "duration" } else { "datetime" };
        let moved = |by: &str| {
            let expr = match kind {
                "datetime" => format!("{text}.offset(duration(\"{by}ms\"))"),
                _ => {
                    let whole = Expr::from_str(&format!("{text}.toMilliseconds() + {by}")).ok()?;
                    let ValueKind::Lit(Literal::Long(all)) = self.value(&whole)?.value else { return None };
                    format!("duration(\"{all}ms\")")
                }
            };
            self.value(&Expr::from_str(&expr).ok()?)
        };
        ["1", "-1"].into_iter().filter_map(moved).collect()
    }
}

fn members(value: &Value) -> Vec<Value> {
    match value.value_kind() {
        ValueKind::Set(set) => set.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

fn joined(some: &[Value], more: &[Value]) -> Value {
    Value::set(some.iter().chain(more).cloned(), None)
}

fn without(some: &[Value], less: &[Value]) -> Value {
    Value::set(some.iter().filter(|one| !less.contains(one)).cloned(), None)
}

fn boolean(value: bool) -> Value {
    Value::new(ValueKind::Lit(Literal::Bool(value)), None)
}

fn long(value: i64) -> Value {
    Value::new(ValueKind::Lit(Literal::Long(value)), None)
}

fn string(value: &str) -> Value {
    Value::new(ValueKind::Lit(Literal::String(value.into())), None)
}

fn entity(kind: &EntityType, id: &str) -> Value {
    let uid = EntityUID::from_components(kind.clone(), Eid::new(id), None);
    Value::new(ValueKind::Lit(Literal::EntityUID(std::sync::Arc::new(uid))), None)
}

/// A text that a pattern matches: the pattern with nothing for its wildcards.
fn matching(pattern: &Pattern) -> Value {
    let text: String = pattern
        .iter()
        .filter_map(|elem| match elem {
            PatternElem::Char(one) => Some(*one),
            PatternElem::Wildcard => None,
        })
        .collect();
    string(&text)
}
