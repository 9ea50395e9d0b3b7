//! Owns the smallest change of a request's context or of entities' attributes that turns a decision.
//!
//! The values worth trying come from the policies themselves: what an attribute is compared with, and what is just
//! beside it. Every change told was tried; one that needs other values than these is not found.

mod offers;

use crate::authorize::{Authorizer, Verdict};
use crate::clause::clauses;
use crate::set::Schema;
use crate::value::to_cedar_json;
use cedar_policy_core::ast::{
    Context, Entity, EntityUID, ExprKind, Literal, PartialValue, Request, RequestSchemaAllPass, Value, ValueKind,
};
use cedar_policy_core::entities::{Dereference, Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::CoreSchema;
use offers::Offers;
use serde::Serialize;
use serde_json::{Value as Json, json};
use smol_str::SmolStr;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// So many changes at once are tried.
const CHANGES: usize = 3;

/// So many trials are made at most; each takes some ten microseconds where little can be reached.
const TRIALS: usize = 20_000;

/// So long is looked for a flip.
const PATIENCE: Duration = Duration::from_secs(1);

/// A change that turns the decision; it was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// The decision it leads to.
    pub decision: Verdict,
    pub changes: Vec<FlipChange>,
    /// The changed question, with the entities it needs: `policy authorize` takes it as it is.
    pub request: Json,
}

/// One changed attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlipChange {
    /// `context.mfa`, `resource.owner`, `User::"ann".level`.
    pub path: String,
    /// Cedar's JSON form; null where there was none.
    pub before: Json,
    /// Null where the attribute is taken away.
    pub after: Json,
}

/// Where an attribute stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Root {
    Context,
    Entity(EntityUID),
    /// The tags of an entity.
    Tags(EntityUID),
}

/// An attribute of the context, of an entity, or of a record in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    root: Root,
    path: Vec<SmolStr>,
}

/// A change to try; `None` takes the attribute away.
type Change<'a> = (&'a Place, Option<&'a Value>);

impl Authorizer {
    /// The smallest change found.
    pub(crate) fn flip(&self, request: &Request, entities: &Entities, allowed: bool) -> Option<Flip> {
        let candidates = self.policies.slices.candidates(request, entities);
        let evaluator = Evaluator::new(request.clone(), entities, Extensions::all_available());
        let mut offers = Offers::new(&evaluator, entities);
        let mut mentioned = HashSet::new();
        for (_, policy) in
            self.policies.in_order().enumerate().filter(|(at, _)| candidates.binary_search(&(*at as u32)).is_ok())
        {
            for clause in clauses(policy) {
                offers.of_condition(&clause.body, policy.as_ref().env());
                mentioned.extend(clause.body.subexpressions().filter_map(|expr| match expr.expr_kind() {
                    ExprKind::Lit(Literal::EntityUID(uid)) => Some((**uid).clone()),
                    _ => None,
                }));
            }
        }
        let world = World::new(request, entities, mentioned)?;
        let mut places: Vec<(Place, Vec<Option<Value>>)> = offers
            .into_places()
            .into_iter()
            .map(|(place, mut values)| {
                let now = world.value(&place);
                values.retain(|value| *value != now);
                (place, values)
            })
            .filter(|(_, values)| !values.is_empty())
            .collect();
        // What is asked is more easily changed than what things are.
        places.sort_by_key(|(place, _)| place.root != Root::Context);
        let trial = |changes: &[Change<'_>]| -> Option<World> {
            let changed = world.with(changes)?;
            let entities = changed.entities(None)?;
            let slices = &self.policies.slices;
            let outcome = slices.evaluate_some(&candidates, &changed.request(), &entities);
            let turned = outcome.decided().0 != allowed;
            (turned && changed.fits(self.schema.as_deref())).then_some(changed)
        };
        let mut left = Left { trials: TRIALS, until: Instant::now() + PATIENCE };
        let mut chosen = Vec::new();
        for size in 1..=CHANGES {
            if let Some(changed) = search(&places, 0, size, &mut chosen, &mut left, &trial) {
                let changes = chosen.iter().map(|(place, value)| world.told(place, *value)).collect();
                let decision = if allowed { Verdict::Deny } else { Verdict::Allow };
                return Some(Flip { decision, changes, request: changed.question() });
            }
        }
        None
    }
}

/// What may still be spent.
struct Left {
    trials: usize,
    until: Instant,
}

/// Tries every way to change `size` of the places from `from` on, beside those chosen.
fn search<'a>(
    places: &'a [(Place, Vec<Option<Value>>)],
    from: usize,
    size: usize,
    chosen: &mut Vec<Change<'a>>,
    left: &mut Left,
    trial: &impl Fn(&[Change<'_>]) -> Option<World>,
) -> Option<World> {
    if size == 0 {
        left.trials = left.trials.checked_sub(1)?;
        return trial(chosen);
    }
    for (at, (place, values)) in places.iter().enumerate().skip(from) {
        for value in values {
            if left.trials == 0 || Instant::now() > left.until {
                return None;
            }
            chosen.push((place, value.as_ref()));
            if let Some(found) = search(places, at + 1, size - 1, chosen, left, trial) {
                return Some(found);
            }
            chosen.pop();
        }
    }
    None
}

/// A request with the entities it can reach.
#[derive(Clone)]
struct World {
    principal: EntityUID,
    action: EntityUID,
    resource: EntityUID,
    context: BTreeMap<SmolStr, Value>,
    reachable: HashMap<EntityUID, Entity>,
}

impl World {
    fn new(request: &Request, entities: &Entities, mentioned: HashSet<EntityUID>) -> Option<Self> {
        let Some(Context::Value(context)) = request.context() else { return None };
        let mut world = World {
            principal: request.principal().uid()?.clone(),
            action: request.action().uid()?.clone(),
            resource: request.resource().uid()?.clone(),
            context: (**context).clone(),
            reachable: HashMap::new(),
        };
        let mut open: Vec<EntityUID> = mentioned.into_iter().collect();
        open.extend([world.principal.clone(), world.action.clone(), world.resource.clone()]);
        open.extend(world.context.values().flat_map(Value::all_literal_uids));
        let mut seen: HashSet<EntityUID> = HashSet::new();
        while let Some(uid) = open.pop() {
            if !seen.insert(uid.clone()) {
                continue;
            }
            let Dereference::Data(entity) = entities.entity(&uid) else { continue };
            open.extend(entity.ancestors().cloned());
            for (_, value) in entity.attrs().chain(entity.tags()) {
                if let PartialValue::Value(value) = value {
                    open.extend(value.all_literal_uids());
                }
            }
            world.reachable.insert(uid, entity.clone());
        }
        Some(world)
    }

    fn value(&self, place: &Place) -> Option<Value> {
        let (first, rest) = place.path.split_first()?;
        let mut value = match &place.root {
            Root::Context => self.context.get(first)?.clone(),
            Root::Entity(uid) => known(self.reachable.get(uid)?.get(first)?)?,
            Root::Tags(uid) => known(self.reachable.get(uid)?.get_tag(first)?)?,
        };
        for name in rest {
            let ValueKind::Record(fields) = value.value_kind() else { return None };
            value = fields.get(name)?.clone();
        }
        Some(value)
    }

    fn with(&self, changes: &[Change<'_>]) -> Option<World> {
        let mut changed = self.clone();
        for (place, value) in changes {
            match &place.root {
                Root::Context => put(&mut changed.context, &place.path, value.cloned())?,
                Root::Entity(uid) | Root::Tags(uid) => {
                    let entity = changed.reachable.remove(uid).unwrap_or_else(|| Entity::with_uid(uid.clone()));
                    let (uid, attrs, above, parents, tags) = entity.into_inner();
                    let plain = |all: BTreeMap<SmolStr, PartialValue>| -> Option<BTreeMap<SmolStr, Value>> {
                        all.into_iter().map(|(name, value)| Some((name, known(&value)?))).collect()
                    };
                    let (mut attrs, mut tags) = (plain(attrs)?, plain(tags)?);
                    let target = if matches!(place.root, Root::Tags(_)) { &mut tags } else { &mut attrs };
                    put(target, &place.path, value.cloned())?;
                    let partial =
                        |all: BTreeMap<SmolStr, Value>| all.into_iter().map(|(name, value)| (name, value.into()));
                    let entity =
                        Entity::new_with_attr_partial_value(uid.clone(), partial(attrs), above, parents, partial(tags));
                    changed.reachable.insert(uid, entity);
                }
            }
        }
        Some(changed)
    }

    fn context(&self) -> Context {
        Context::Value(std::sync::Arc::new(self.context.clone()))
    }

    fn request(&self) -> Request {
        let ends = [&self.principal, &self.action, &self.resource].map(|uid| (uid.clone(), None));
        let [principal, action, resource] = ends.clone();
        let schema = None::<&RequestSchemaAllPass>;
        match Request::new(principal, action, resource, self.context(), schema, Extensions::all_available()) {
            Ok(request) => request,
            Err(never) => match never.0 {},
        }
    }

    fn entities(&self, schema: Option<&Schema>) -> Option<Entities> {
        let all = self.reachable.values().cloned();
        let closed = TCComputation::AssumeAlreadyComputed;
        let extensions = Extensions::all_available();
        match schema {
            None => Entities::from_entities(all, None::<&NoEntitiesSchema>, closed, extensions).ok(),
            Some(schema) => {
                let schema = CoreSchema::new(schema.cedar.as_ref());
                Entities::from_entities(all, Some(&schema), closed, extensions).ok()
            }
        }
    }

    /// Whether the schema, where there is one, allows such a request.
    fn fits(&self, schema: Option<&Schema>) -> bool {
        let Some(schema) = schema else { return true };
        let ends = [&self.principal, &self.action, &self.resource].map(|uid| (uid.clone(), None));
        let [principal, action, resource] = ends;
        let extensions = Extensions::all_available();
        let valid: &cedar_policy_core::validator::ValidatorSchema = schema.cedar.as_ref();
        Request::new(principal, action, resource, self.context(), Some(valid), extensions).is_ok()
            && self.entities(Some(schema)).is_some()
    }

    fn told(&self, place: &Place, value: Option<&Value>) -> FlipChange {
        let mut path = match &place.root {
            Root::Context => "context".to_owned(),
            Root::Entity(uid) | Root::Tags(uid) if *uid == self.principal => "principal".to_owned(),
            Root::Entity(uid) | Root::Tags(uid) if *uid == self.resource => "resource".to_owned(),
            Root::Entity(uid) | Root::Tags(uid) => uid.to_string(),
        };
        for name in &place.path {
            let plain = name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
                && !name.starts_with(|first: char| first.is_ascii_digit());
            path += &match (&place.root, plain) {
                (Root::Tags(_), _) => format!(".getTag({})", Json::from(name.as_str())),
                (_, true) => format!(".{name}"),
                (_, false) => format!("[{}]", Json::from(name.as_str())),
            };
        }
        let json = |value: Option<&Value>| value.map_or(Json::Null, to_cedar_json);
        FlipChange { path, before: json(self.value(place).as_ref()), after: json(value) }
    }

    fn question(&self) -> Json {
        let mut entities: Vec<&Entity> = self.reachable.values().filter(|entity| !entity.uid().is_action()).collect();
        entities.sort_by_key(|entity| entity.uid().to_string());
        let rows: Vec<Json> = entities.iter().filter_map(|entity| entity.to_json_value().ok()).collect();
        json!({
            "principal": self.principal.to_string(),
            "action": self.action.to_string(),
            "resource": self.resource.to_string(),
            "context": to_cedar_json(&Value::record_arc(std::sync::Arc::new(self.context.clone()), None)),
            "entities": rows,
        })
    }
}

fn known(value: &PartialValue) -> Option<Value> {
    match value {
        PartialValue::Value(value) => Some(value.clone()),
        PartialValue::Residual(_) => None,
    }
}

/// Puts a value at a path of records, making those that are missing; `None` where something else stands in the way.
fn put(fields: &mut BTreeMap<SmolStr, Value>, path: &[SmolStr], value: Option<Value>) -> Option<()> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        match value {
            Some(value) => fields.insert(first.clone(), value),
            None => fields.remove(first),
        };
        return Some(());
    }
    let mut inner = match fields.get(first).map(Value::value_kind) {
        None => BTreeMap::new(),
        Some(ValueKind::Record(inner)) => (**inner).clone(),
        Some(_) => return None,
    };
    put(&mut inner, rest, value)?;
    fields.insert(first.clone(), Value::record_arc(std::sync::Arc::new(inner), None));
    Some(())
}
