//! Owns the order of declarations, and what breaks a cycle of references: fields that are set after the creation. Pure.

use crate::configuration::desired::needs;
use provision_model::{Address, Declaration, Graph, Json, references};
use provision_registry::{Registry, TypeSpec};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What a creation leaves to an update of its own, because it refers to something that is created after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Later {
    /// The fields that are left.
    pub fields: Vec<String>,
    /// What they refer to, among what the resource needs; its own address is not.
    pub on: Vec<Address>,
}

impl Later {
    /// Whether the creation sets everything.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.on.is_empty()
    }
}

/// Declarations in an order in which they can be created.
pub struct Order {
    /// For each declaration what it needs, without itself.
    pub needs: Vec<Vec<Address>>,
    /// For each declaration what its creation leaves for later.
    pub later: Vec<Later>,
    /// Indices, dependencies first.
    pub order: Vec<usize>,
}

/// References that form a cycle which no field set after the creation breaks.
pub struct Cycle {
    /// The first address again at the end.
    pub addresses: Vec<Address>,
    /// `a.field → b` for each of them, where a field refers.
    pub references: Vec<String>,
}

impl Cycle {
    /// What to do about it.
    pub fn help(&self) -> String {
        format!(
            "Remove one of these: {}. A value that both need can be written out, or be a resource of its own.",
            self.references.join(", ")
        )
    }
}

impl Order {
    /// The order of some declarations. A type that nobody knows has no fields that are set later.
    pub fn of(registry: &Registry, declared: &[Declaration]) -> Result<Self, Cycle> {
        let needs: Vec<Vec<Address>> = declared.iter().map(needs).collect();
        let own: Vec<Own> = declared.iter().map(|it| Own::of(it, spec_of(registry, it))).collect();
        let cycle = |addresses: Vec<Address>| Cycle { references: told(declared, &addresses), addresses };
        if let Some(alone) = declared.iter().zip(&own).find(|(it, own)| own.firm.contains(&it.address)) {
            return Err(cycle(vec![alone.0.address.clone(), alone.0.address.clone()]));
        }
        let graph = |needs: &[Vec<Address>]| {
            Graph::new(declared.iter().map(|it| &it.address).zip(needs.iter().map(Vec::as_slice)))
        };
        let whole = graph(&needs);
        let mut deferred: Vec<HashSet<Address>> = vec![HashSet::new(); declared.len()];
        let order = match whole.order() {
            Ok(order) => order,
            Err(_) => {
                let inside = whole.cyclic();
                let is_inside = |address: &Address| whole.find(address.as_str()).is_some_and(|at| inside[at]);
                let mut firm = needs.clone();
                for (at, needs) in firm.iter_mut().enumerate().filter(|(at, _)| inside[*at]) {
                    let late = |need: &Address| !own[at].firm.contains(need) && is_inside(need);
                    deferred[at] = needs.iter().filter(|need| late(need)).cloned().collect();
                    needs.retain(|need| !deferred[at].contains(need));
                }
                graph(&firm).order().map_err(cycle)?
            }
        };
        let later = declared.iter().enumerate().map(|(at, it)| own[at].later(it, &deferred[at], &needs[at])).collect();
        Ok(Self { needs, later, order })
    }
}

/// How a declaration refers.
struct Own {
    /// What must be there before it is created.
    firm: HashSet<Address>,
    /// Fields that are set after the creation, with what each refers to.
    late: Vec<(String, HashSet<Address>)>,
}

impl Own {
    fn of(declaration: &Declaration, spec: Option<&TypeSpec>) -> Self {
        let is_late = |name: &str| spec.and_then(|spec| spec.fields.get(name)).is_some_and(|field| field.late);
        let targets = |value: &Json| references(value).into_iter().map(|it| it.address).collect::<HashSet<_>>();
        let (late, firm): (Vec<_>, Vec<_>) = declaration.fields.iter().partition(|(name, _)| is_late(name));
        let written = declaration.depends_on.iter().filter(|need| !declaration.deferred.contains(need)).cloned();
        let firm = firm.into_iter().map(|(_, value)| value).chain(&declaration.lifecycle.replace_when);
        Self {
            firm: firm.flat_map(targets).chain(written).collect(),
            late: late.into_iter().map(|(name, value)| (name.clone(), targets(value))).collect(),
        }
    }

    fn later(&self, declaration: &Declaration, deferred: &HashSet<Address>, needs: &[Address]) -> Later {
        let waits = |of: &HashSet<Address>| of.contains(&declaration.address) || !of.is_disjoint(deferred);
        Later {
            fields: self.late.iter().filter(|(_, of)| waits(of)).map(|(name, _)| name.clone()).collect(),
            on: needs.iter().filter(|need| deferred.contains(*need)).cloned().collect(),
        }
    }
}

/// Of what an imported resource refers to, what only fields that are set after the creation do.
pub fn only_late(spec: &TypeSpec, fields: &provision_model::Map, needs: &[Address]) -> Vec<Address> {
    let firm: HashSet<Address> = fields
        .iter()
        .filter(|(name, _)| !spec.fields.get(*name).is_some_and(|field| field.late))
        .flat_map(|(_, value)| references(value))
        .map(|it| it.address)
        .collect();
    needs.iter().filter(|need| !firm.contains(*need)).cloned().collect()
}

fn spec_of<'a>(registry: &'a Registry, declaration: &Declaration) -> Option<&'a TypeSpec> {
    registry.type_of(&declaration.kind).ok().map(|(_, spec)| spec)
}

/// Each reference of a cycle by the field that it stands in.
fn told(declared: &[Declaration], cycle: &[Address]) -> Vec<String> {
    let by = |from: &Address, to: &Address| {
        let declaration = declared.iter().find(|it| it.address == *from)?;
        let refers = |value: &Json| references(value).iter().any(|it| it.address == *to);
        declaration.fields.iter().find(|(_, value)| refers(value)).map(|(name, _)| name.clone())
    };
    cycle
        .windows(2)
        .filter_map(|pair| {
            let [from, to] = pair else { return None };
            Some(match by(from, to) {
                Some(field) => format!("`{from}.{field}`, which refers to `{to}`"),
                None => format!("`{to}` in `depends_on` or `lifecycle` of `{from}`"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use provision_model::Config;
    use provision_nickel::Evaluator;
    use serde_json::json;

    fn order(resources: &Json) -> Result<(Vec<String>, Vec<Later>), Cycle> {
        let registry = Registry::load(None, None, &Evaluator::default()).unwrap();
        let (config, problems) = Config::read(&json!({"name": "s", "resources": resources}));
        assert!(problems.is_empty(), "{problems:?}");
        let found = Order::of(&registry, &config.resources)?;
        let name = |at: &usize| config.resources[*at].address.to_string();
        Ok((found.order.iter().map(name).collect(), found.later))
    }

    fn group(from: &str) -> Json {
        let of = json!({"$ref": {"address": from, "attribute": "id"}});
        let rule = json!({"ip_protocol": "tcp", "from_port": 1, "to_port": 2, "source_groups": [of]});
        json!({"$type": "aws.security_group", "vpc_id": {"$ref": {"address": "vpc", "attribute": "id"}}, "ingress": [rule]})
    }

    #[test]
    fn a_field_that_is_set_later_breaks_a_cycle_and_no_other_is_left_for_later() {
        let vpc = json!({"$type": "aws.vpc", "cidr_block": "10.0.0.0/16"});
        let ingress = || vec!["ingress".to_owned()];
        let (found, later) = order(&json!({"own": group("own"), "vpc": vpc})).ok().unwrap();
        assert_eq!(found, ["vpc", "own"]);
        assert_eq!(later[0], Later { fields: ingress(), on: Vec::new() });
        let resources = json!({"a": group("b"), "b": group("a"), "c": group("a"), "vpc": vpc});
        let (found, later) = order(&resources).ok().unwrap();
        assert_eq!(found, ["vpc", "a", "b", "c"]);
        assert_eq!(later[0], Later { fields: ingress(), on: vec![Address::new("b")] });
        assert_eq!(later[1], Later { fields: ingress(), on: vec![Address::new("a")] });
        assert!(later[2].is_empty() && later[3].is_empty());
    }

    #[test]
    fn what_cannot_be_left_for_later_is_a_cycle_with_its_references() {
        let of = |of: &str| json!({"$type": "local.data", "input": {"$ref": {"address": of, "attribute": "output"}}});
        let cycle = order(&json!({"a": of("b"), "b": of("a")})).err().unwrap();
        assert_eq!(provision_model::cycle_of(&cycle.addresses), "a → b → a");
        assert!(cycle.help().contains("`a.input`, which refers to `b`, `b.input`, which refers to `a`"));
        assert_eq!(provision_model::cycle_of(&order(&json!({"a": of("a")})).err().unwrap().addresses), "a → a");
    }
}
