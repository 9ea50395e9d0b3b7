//! Owns what a plan does about strays: the rows that adopt what the state lost.

use crate::observation::made::made_with;
use crate::observation::places::{declared_places, other_places};
use crate::observation::refresh::{Place, World};
use crate::observation::strays::{Origin, Stray, origins, own_strays};
use crate::planning::planned::PlannedRow;
use crate::planning::planner::Planner;
use crate::workspace::Workspace;
use provision_diagnostic::Failure;
use provision_model::{Action, Address, Config, Declaration, Map, Resource};
use provision_registry::{Manifest, TypeSpec};
use std::collections::{HashMap, HashSet};

/// The strays that a plan has to do with.
#[derive(Default)]
pub(crate) struct Strays {
    /// The newest one of each address that lost one.
    lost: HashMap<Address, (Stray, u64)>,
    /// Those that nobody can say an address of, or not one that is free.
    unplaced: Vec<Stray>,
}

impl Planner<'_> {
    /// The one that the state lost of a declaration.
    fn lost(&self, address: &Address) -> Option<&(Stray, u64)> {
        self.strays.lost.get(address)
    }

    /// What an adopted one is known by to those that refer to it.
    pub(crate) fn lost_attributes(&self, address: &Address) -> Map {
        let Some((stray, _)) = self.lost(address) else { return Map::new() };
        let fields = stray.remote.fields.iter().chain(&stray.remote.attributes);
        fields.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Makes the row of a creation the row that adopts what the state lost.
    pub(crate) fn adopt_row(&self, planned: &mut PlannedRow, spec: &TypeSpec) -> Result<(), Failure> {
        let Some((stray, generation)) =
            self.lost(&planned.row.address).filter(|_| planned.row.action == Action::Create)
        else {
            return Ok(());
        };
        planned.row.action = Action::Adopt;
        planned.row.changes = Vec::new();
        planned.row.reason = format!(
            "exists (id {}), but this state lost it: `provision apply` adopts it, and the next plan changes what differs",
            stray.remote.id
        );
        planned.remote_id = Some(stray.remote.id.clone());
        planned.region.clone_from(&stray.region);
        planned.prior_fields = self.kept_fields(spec, &stray.remote.fields)?;
        planned.prior_status.clone_from(&stray.remote.status);
        planned.generation = *generation;
        planned.changed = Vec::new();
        Ok(())
    }

    /// Fields as they may be kept: a cloud may show what is secret here.
    fn kept_fields(&self, spec: &TypeSpec, shown: &Map) -> Result<Map, Failure> {
        let mut kept = Map::new();
        for (name, value) in shown {
            let Some(field) = spec.fields.get(name) else { continue };
            let sealed = field.sensitive && !value.is_null();
            kept.insert(name.clone(), if sealed { self.on.store.sealer().seal(value)? } else { value.clone() });
        }
        Ok(kept)
    }

    /// The rows of strays that nothing declares: the state lost them too.
    pub(crate) fn plan_strays(&self, rows: &mut Vec<PlannedRow>) -> Result<(), Failure> {
        if self.healing {
            return Ok(());
        }
        let planned: HashSet<Address> = rows.iter().map(|planned| planned.row.address.clone()).collect();
        let mut lost: Vec<(&Address, &(Stray, u64))> =
            self.strays.lost.iter().filter(|(address, _)| !planned.contains(*address)).collect();
        lost.sort_by_key(|(address, _)| *address);
        for (address, (stray, generation)) in lost {
            let next = if self.destroy { "the next destroy deletes it" } else { "the next plan deletes it" };
            let reason = format!(
                "exists (id {}), but this state lost it and nothing declares it: `provision apply` adopts it, and {next}",
                stray.remote.id
            );
            rows.push(self.stray_row(stray, address.clone(), *generation, reason)?);
        }
        for stray in &self.strays.unplaced {
            let Stray { kind, remote, .. } = stray;
            let reason = format!(
                "carries this state's mark, and the state does not know for which address: `provision import ADDRESS {} --type {kind}` adopts it",
                remote.id
            );
            // No declaration can have this address, and nothing is ever stored under it.
            let address = Address::new(format!("stray~{}", remote.id));
            rows.push(self.stray_row(stray, address, 0, reason)?);
        }
        Ok(())
    }

    fn stray_row(
        &self,
        stray: &Stray,
        address: Address,
        generation: u64,
        reason: String,
    ) -> Result<PlannedRow, Failure> {
        let (manifest, spec): (_, &TypeSpec) = self.on.project.registry.type_of(&stray.kind)?;
        let manifest: &Manifest = manifest;
        let now = self.on.host.now();
        let inputs = self.kept_fields(spec, &stray.remote.fields)?;
        let resource = Resource {
            inputs,
            generation,
            made: made_with(spec, Some(&stray.remote), &Map::new()),
            ..Resource::new(address, &stray.kind, &stray.account, &stray.remote.id, now)
        };
        let planned = PlannedRow::removal(manifest, spec, &resource, Action::Adopt, &reason);
        let mut planned = PlannedRow {
            region: stray.region.clone(),
            prior: None,
            prior_fields: planned.inputs.clone(),
            prior_status: stray.remote.status.clone(),
            disruption: provision_model::Disruption::Update,
            ..planned
        };
        planned.row.changes = Vec::new();
        Ok(planned)
    }
}

impl PlannedRow {
    /// Whether it is a stray that nobody can say the address of.
    pub(crate) fn is_unplaced(&self) -> bool {
        self.row.action == Action::Adopt && self.generation == 0
    }
}

/// What a plan has to do with, of what was found. `moved` are the addresses that a declaration had before.
pub(crate) fn placed_strays(
    on: &Workspace,
    world: &World,
    declared: &[Declaration],
    state: &[Resource],
) -> Result<Strays, Failure> {
    let strays = own_strays(on, world.strays.clone())?;
    let before = declared.iter().flat_map(|it| it.lifecycle.moved_from.iter().map(move |old| (old, &it.address)));
    let moved: HashMap<&Address, &Address> = before.collect();
    let addresses = declared.iter().map(|it| &it.address).chain(moved.keys().copied());
    let origins = origins(on, &strays, addresses.chain(state.iter().map(|it| &it.address)))?;
    let mut placed = Strays::default();
    let kinds: HashMap<&Address, (&str, &str)> =
        declared.iter().map(|it| (&it.address, (it.kind.as_str(), it.account.as_str()))).collect();
    // One that is there still, in the state and in the cloud, has its address for itself.
    let there: HashSet<&Address> = state
        .iter()
        .map(|it| &it.address)
        .filter(|address| !matches!(world.resources.get(*address), Some(None)))
        .collect();
    for (stray, origin) in strays.into_iter().zip(origins) {
        let (address, generation) = match origin {
            Origin::LetGo => continue,
            Origin::Unknown => {
                placed.unplaced.push(stray);
                continue;
            }
            Origin::Lost(address, generation) => (address, generation),
        };
        let address = moved.get(&address).copied().filter(|_| !kinds.contains_key(&address)).unwrap_or(&address);
        let fits = kinds.get(address).is_none_or(|place| *place == (stray.kind.as_str(), stray.account.as_str()));
        let newest = placed.lost.get(address).map(|(_, newest)| *newest);
        if there.contains(address) || !fits || newest == Some(generation) {
            placed.unplaced.push(stray);
        } else if newest.is_none_or(|newest| newest < generation) {
            // An older one of the same address was let go of by what the state lost.
            placed.lost.insert(address.clone(), (stray, generation));
        }
    }
    Ok(placed)
}

/// Where a plan looks for what the state lost: where something is declared that the state has nothing beside, and
/// where something was once if the state is an older one. A state that was never applied lost nothing, unless an
/// apply that is about to make something must be sure of that (`certain`).
pub(crate) fn places_to_look(
    on: &Workspace,
    config: &Config,
    declared: &[Declaration],
    state: &[Resource],
    certain: bool,
) -> Result<Vec<Place>, Failure> {
    let behind = on.store.is_behind()?;
    if behind {
        return Ok(other_places(on, config, state)?.0);
    }
    if !certain && state.is_empty() && on.store.generations()?.is_empty() {
        return Ok(Vec::new());
    }
    let there: HashSet<&Address> = state.iter().map(|it| &it.address).collect();
    let missing: Vec<Declaration> = declared.iter().filter(|it| !there.contains(&it.address)).cloned().collect();
    let mut places: Vec<Place> = declared_places(on, &missing, &config.accounts).0.into_iter().collect();
    places.sort();
    Ok(places)
}
