//! Owns what one operation is: its inputs with every reference in place, whole or in parts, and its entry in the journal.

use crate::observation::refresh::current_fields;
use crate::operations::execute::{Executor, Run};
use crate::planning::graph::Part;
use crate::planning::planned::PlannedRow;
use crate::planning::prepared::{complete, fitted};
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, Address, Identity, Json, Map, Resource, resolve, type_name};
use provision_providers::Operation;
use provision_state::{Entry, Phase, ResourceChange};
use std::collections::HashSet;

impl Executor<'_> {
    /// The operation with every reference in place. Its inputs are plain from here on.
    pub(crate) fn operation(&self, run: &Run<'_>) -> Result<Operation, Failure> {
        let planned = run.planned;
        let sealer = self.on.store.sealer();
        let address = Self::address(run);
        let generation = self.generation(run, &address)?;
        let attribute = |target: &Address, name: &str| self.attribute(target, name);
        let mut inputs = Map::new();
        let mut secrets = HashSet::new();
        // A deletion sends nothing of this; its sealed values stay sealed.
        let written = if run.action == Action::Delete { &Map::new() } else { &planned.inputs };
        let left = |field: &String| run.part == Part::First && run.planned.later.fields.contains(field);
        for (field, value) in written.iter().filter(|(field, _)| !left(field)) {
            let resolved = resolve(&sealer.open_value(value)?, &attribute, self.on)?;
            if resolved.unknown {
                return Err(Failure::new(
                    Code::PlanUnknownAttribute,
                    format!("`{address}.{field}` refers to something the cloud did not tell"),
                )
                .with_help("Refer to an attribute that the resource has in its current form."));
            }
            let secret = resolved.sensitive || provision_model::is_sealed(value);
            if secret {
                secrets.insert(field.clone());
                sealer.note(&resolved.value);
            }
            let given = match secret && run.action != Action::Delete {
                true => fitted(run.spec, &address, field, resolved.value)?,
                false => resolved.value,
            };
            inputs.insert(field.clone(), run.spec.normalised(field, given));
        }
        if run.action != Action::Delete {
            complete(&run.account, type_name(&run.place.kind), &address, &mut inputs, &mut secrets)?;
        }
        Ok(Operation {
            secrets,
            type_name: type_name(&run.place.kind).to_owned(),
            action: run.action,
            remote_id: (run.action != Action::Create).then(|| planned.remote_id.clone()).flatten(),
            inputs,
            prior: self.opened(&planned.prior_fields)?,
            prior_status: planned.prior_status.clone(),
            status: None,
            restore: planned.restore.clone(),
            host: None,
            changed: planned.changed.clone(),
            identity: Identity::new(self.on.store.lineage(), &address, generation),
            generation,
            region: run.place.region.clone(),
            name: planned.name.clone(),
            address,
        })
    }

    /// The address an operation works on. Where the new one is made first, the old one has its own by the time it goes.
    pub(crate) fn address(run: &Run<'_>) -> Address {
        let address = &run.planned.row.address;
        let goes = matches!(run.action, Action::Delete | Action::Forget) || run.part == Part::Release;
        if goes && run.planned.makes_first() {
            return address.replaced(run.planned.generation);
        }
        address.clone()
    }

    fn generation(&self, run: &Run<'_>, address: &Address) -> Result<u64, Failure> {
        match run.action {
            Action::Create => self.on.store.next_generation(address),
            Action::Adopt => Ok(run.planned.generation),
            _ => {
                let resource = self.on.store.resource(address.as_str())?;
                Ok(resource.map_or(run.planned.generation.max(1), |resource| resource.generation))
            }
        }
    }

    /// The update that sets what the creation left, or that takes out what refers to others that go. It starts from what
    /// the state and the cloud have now; `None` where nothing is there any more.
    pub(crate) fn part_operation(&self, run: &Run<'_>) -> Result<Option<Operation>, Failure> {
        let address = Self::address(run);
        let Some(resource) = self.on.store.resource(address.as_str())? else {
            return match run.part {
                Part::Release => Ok(None),
                _ => Err(Failure::new(
                    Code::PlanStale,
                    format!(
                        "`{address}` is not in the state any more, so its {} cannot be set",
                        run.planned.later.fields.join(", ")
                    ),
                )
                .with_help("Run `provision plan` again.")),
            };
        };
        let mut operation = match run.part {
            Part::Release => self.bare(run, &resource)?,
            _ => self.operation(run)?,
        };
        operation.remote_id = Some(resource.remote_id.clone());
        // What the plan says of a state is about the one that is replaced.
        (operation.restore, operation.prior_status) = (None, None);
        let remote = self.known(run, &operation, &resource.remote_id, false)?;
        if remote.is_none() && run.part == Part::Release {
            return Ok(None);
        }
        operation.prior = self.opened(&current_fields(&resource, remote.as_ref()))?;
        operation.changed.clone_from(&run.planned.later.fields);
        if run.part == Part::Release {
            let others = self.remote_ids(&resource.deferred)?;
            for (field, _) in run.spec.fields.iter().filter(|(_, rule)| rule.late) {
                let Some(before) = operation.prior.get(field) else { continue };
                let Some(after) = without_ids(before, &others) else { continue };
                operation.changed.push(field.clone());
                operation.inputs.insert(field.clone(), after);
            }
            if operation.changed.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(operation))
    }

    /// An operation on what the state has, which changes nothing of it yet.
    fn bare(&self, run: &Run<'_>, resource: &Resource) -> Result<Operation, Failure> {
        let secrets = resource.inputs.iter().filter(|(_, value)| provision_model::is_sealed(value));
        Ok(Operation {
            secrets: secrets.map(|(name, _)| name.clone()).collect(),
            type_name: type_name(&run.place.kind).to_owned(),
            action: run.action,
            remote_id: Some(resource.remote_id.clone()),
            inputs: self.opened(&resource.inputs)?,
            prior: Map::new(),
            prior_status: None,
            status: None,
            restore: None,
            host: None,
            changed: Vec::new(),
            identity: Identity::new(self.on.store.lineage(), &resource.address, resource.generation),
            generation: resource.generation,
            region: run.place.region.clone(),
            name: run.planned.name.clone(),
            address: resource.address.clone(),
        })
    }

    fn remote_ids(&self, addresses: &[Address]) -> Result<HashSet<String>, Failure> {
        let found = addresses.iter().map(|it| self.on.store.resource(it.as_str())).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().map(|it| it.remote_id).collect())
    }

    /// The entry of a part: what is about to go keeps what it needs and how it was written.
    pub(crate) fn part_entry(&self, run: &Run<'_>, entry: Entry) -> Result<Entry, Failure> {
        let resource = match run.part {
            Part::Release => self.on.store.resource(entry.body.address.as_str())?,
            _ => None,
        };
        let Some(resource) = resource else { return Ok(entry) };
        let body = ResourceChange {
            declared: Map::new(),
            depends_on: resource.depends_on,
            deferred: resource.deferred,
            triggers: resource.triggers,
            protect: resource.protect,
            retain: resource.retain,
            ..entry.body
        };
        Ok(Entry { body, ..entry })
    }

    pub(crate) fn entry(
        &self,
        run: &Run<'_>,
        operation: &Operation,
        mut allowed_by: Vec<String>,
    ) -> Result<Entry, Failure> {
        let planned = run.planned;
        allowed_by.sort_unstable();
        allowed_by.dedup();
        let body = ResourceChange {
            address: operation.address.clone(),
            kind: run.place.kind.clone(),
            account: run.place.account.clone(),
            region: run.place.region.clone(),
            action: run.action,
            inputs: self.sealed(run, operation)?,
            declared: planned.inputs.clone(),
            lifecycle: planned.lifecycle.clone(),
            identity: operation.identity.clone(),
            generation: operation.generation,
            remote_id: operation.remote_id.clone(),
            there: Vec::new(),
            once: Map::new(),
            once_wanted: planned.once_wanted.clone(),
            plan: self.plan.digest.clone(),
            prior_status: operation.prior_status.clone(),
            depends_on: planned.needs.clone(),
            deferred: planned.later.on.clone(),
            makes_first: run.action == Action::Create && planned.makes_first(),
            triggers: self.triggers(planned)?,
            protect: planned.lifecycle.protect,
            retain: planned.lifecycle.retain,
        };
        Ok(Entry {
            id: 0,
            uid: String::new(),
            parent: None,
            serial: self.serial,
            actor: self.by.id.clone(),
            allowed_by,
            phase: Phase::Begun,
            steps: Vec::new(),
            begun_at: self.on.host.now(),
            ended_at: None,
            under_way_ms: u64::try_from(run.account.under_way.as_millis()).ok(),
            silent: None,
            reason: None,
            body,
        })
    }

    /// Digest of the values of `replace_when` as they are now.
    pub(crate) fn triggers(&self, planned: &PlannedRow) -> Result<Option<String>, Failure> {
        let known = |target: &Address, name: &str| self.attribute(target, name);
        crate::configuration::desired::triggers(&planned.lifecycle.replace_when, &known, self.on)
            .map(|found| found.and_then(|found| found.known()))
    }

    /// Inputs as they are stored.
    pub(crate) fn sealed(&self, run: &Run<'_>, operation: &Operation) -> Result<Map, Failure> {
        let sealer = self.on.store.sealer();
        operation
            .inputs
            .iter()
            .map(|(name, value)| {
                let sensitive =
                    run.spec.fields.get(name).is_some_and(|field| field.sensitive) || operation.secrets.contains(name);
                Ok((name.clone(), if sensitive { sealer.seal(value)? } else { value.clone() }))
            })
            .collect()
    }
}

/// A value without the items of lists in which one of these ids stands; `None` where it has none of them.
fn without_ids(value: &Json, ids: &HashSet<String>) -> Option<Json> {
    let Json::Array(items) = value else {
        return holds(value, ids).then_some(Json::Null);
    };
    let left: Vec<Json> = items.iter().filter(|item| !holds(item, ids)).cloned().collect();
    (left.len() < items.len()).then_some(Json::Array(left))
}

fn holds(value: &Json, ids: &HashSet<String>) -> bool {
    match value {
        Json::String(text) => ids.contains(text),
        Json::Number(number) => ids.contains(&number.to_string()),
        Json::Array(items) => items.iter().any(|item| holds(item, ids)),
        Json::Object(map) => map.values().any(|item| holds(item, ids)),
        Json::Null | Json::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_items_that_hold_an_id_are_taken_out() {
        let ids = HashSet::from(["sg-1".to_owned(), "7".to_owned()]);
        let rules = json!([{"source_groups": ["sg-1"]}, {"source_groups": ["sg-10"]}, {"cidr_ips": ["10.0.0.0/8"]}, 7]);
        let left = json!([{"source_groups": ["sg-10"]}, {"cidr_ips": ["10.0.0.0/8"]}]);
        assert_eq!(without_ids(&rules, &ids), Some(left.clone()));
        assert_eq!(without_ids(&left, &ids), None);
        assert_eq!((without_ids(&json!("sg-1"), &ids), without_ids(&json!("x"), &ids)), (Some(Json::Null), None));
    }
}
