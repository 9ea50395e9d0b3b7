//! Owns strays: what carries this state's mark and is in no row of it. Whose each was, what a plan does about it, and that
//! nothing is made once more which is there.

use crate::Session;
use crate::plan::Planner;
use crate::planned::PlannedRow;
use crate::refresh::{Place, World};
use crate::subset::Subset;
use indexmap::IndexMap;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{
    AccountConfig, Action, Address, Config, Declaration, Identity, LABEL_STATE, Map, Outcome, Recovered, Remote,
    Resource, type_name,
};
use provision_registry::{Manifest, TypeSpec};
use provision_state::Lease;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Generations of an address that are looked for beyond the newest one the state knows: an older state has seen so many
/// fewer creations.
const AHEAD: u64 = 64;

/// What carries this state's mark and is in no row of it.
#[derive(Debug, Clone)]
pub struct Stray {
    /// `hetzner.server`.
    pub kind: String,
    pub account: String,
    pub region: Option<String>,
    pub remote: Remote,
}

impl Stray {
    fn op(&self) -> &str {
        self.remote.identity.as_ref().map_or("", |identity| identity.op.as_str())
    }
}

/// Whose a stray was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This state made it, or one before it, and let go of it.
    LetGo,
    /// It was made for this address after the state was saved: the state is an older one.
    Lost(Address, u64),
    /// It was made for an address that neither the state nor the configuration has.
    Unknown,
}

/// The strays that a plan has to do with.
#[derive(Default)]
pub(crate) struct Strays {
    /// The newest one of each address that lost one.
    lost: HashMap<Address, (Stray, u64)>,
    /// Those that nobody can say an address of, or not one that is free.
    unplaced: Vec<Stray>,
}

impl Session {
    /// What carries our mark and is nobody's, in a fixed order: neither being made just now nor in the state since it was
    /// listed, under whichever account.
    pub(crate) fn strays(&self, found: Vec<Stray>) -> Result<Vec<Stray>, Failure> {
        if found.is_empty() {
            return Ok(found);
        }
        let under_way: HashSet<String> =
            self.store.open_entries()?.into_iter().map(|entry| entry.identity.op).collect();
        let ours: HashSet<(String, String)> =
            self.store.resources()?.into_iter().map(|resource| (resource.kind, resource.remote_id)).collect();
        let mut seen = HashSet::new();
        let mut strays: Vec<Stray> = found
            .into_iter()
            .filter(|stray| {
                let id = (stray.kind.clone(), stray.remote.id.clone());
                !under_way.contains(stray.op()) && !ours.contains(&id) && seen.insert(id)
            })
            .collect();
        strays.sort_by(|a, b| (&a.kind, &a.remote.id).cmp(&(&b.kind, &b.remote.id)));
        Ok(strays)
    }

    /// Whose each of them was: their marks are hashes of an address and a generation, so both are tried. A state made
    /// everything up to the generation it knows itself, whatever it let go of; what is newer it has lost.
    pub(crate) fn origins<'a>(
        &self,
        strays: &[Stray],
        addresses: impl Iterator<Item = &'a Address>,
    ) -> Result<Vec<Origin>, Failure> {
        if strays.is_empty() {
            return Ok(Vec::new());
        }
        let mut known: HashMap<Address, u64> = self.store.generations()?;
        for address in addresses {
            known.entry(address.clone()).or_default();
        }
        let mut wanted: HashSet<&str> = strays.iter().map(Stray::op).collect();
        let mut found: HashMap<String, Origin> = HashMap::new();
        let lineage = self.store.lineage();
        let mut look = |address: &Address, generation: u64, origin: Origin| {
            let op = Identity::new(lineage, address, generation).op;
            if wanted.remove(op.as_str()) {
                found.insert(op, origin);
            }
            wanted.is_empty()
        };
        let made = known.iter().any(|(address, newest)| {
            (1..=*newest).rev().take(AHEAD as usize).any(|generation| look(address, generation, Origin::LetGo))
        });
        let _ = made
            || (1..=AHEAD).any(|step| {
                known
                    .iter()
                    .any(|(address, newest)| look(address, newest + step, Origin::Lost(address.clone(), newest + step)))
            });
        Ok(strays.iter().map(|stray| found.get(stray.op()).cloned().unwrap_or(Origin::Unknown)).collect())
    }

    /// What a plan has to do with, of what was found. `moved` are the addresses that a declaration had before.
    pub(crate) fn placed(
        &self,
        world: &World,
        declared: &[Declaration],
        state: &[Resource],
    ) -> Result<Strays, Failure> {
        let strays = self.strays(world.strays.clone())?;
        let before = declared.iter().flat_map(|it| it.lifecycle.moved_from.iter().map(move |old| (old, &it.address)));
        let moved: HashMap<&Address, &Address> = before.collect();
        let addresses = declared.iter().map(|it| &it.address).chain(moved.keys().copied());
        let origins = self.origins(&strays, addresses.chain(state.iter().map(|it| &it.address)))?;
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
        &self,
        config: &Config,
        declared: &[Declaration],
        state: &[Resource],
        certain: bool,
    ) -> Result<Vec<Place>, Failure> {
        let behind = self.store.is_behind()?;
        if behind {
            return Ok(self.other_places(config, state)?.0);
        }
        if !certain && state.is_empty() && self.store.generations()?.is_empty() {
            return Ok(Vec::new());
        }
        let there: HashSet<&Address> = state.iter().map(|it| &it.address).collect();
        let missing: Vec<Declaration> = declared.iter().filter(|it| !there.contains(&it.address)).cloned().collect();
        let mut places: Vec<Place> = self.declared_places(&missing, &config.accounts).0.into_iter().collect();
        places.sort();
        Ok(places)
    }

    /// The strays of everywhere, and what becomes of each; with them comes what could not be looked at.
    pub(crate) fn recovered_strays(&self) -> Result<(Vec<Recovered>, Vec<Diagnostic>), Failure> {
        // Read for where to look; a mistake in it does not hide what is there.
        let config = self.read(&crate::Input::Project).map(|(located, _)| located.config).unwrap_or_default();
        let state = self.store.resources()?;
        let (places, mut problems) = self.other_places(&config, &state)?;
        let world = self.look_at(&config, &state, &places, false)?;
        problems.extend(world.problems);
        let strays = self.strays(world.strays)?;
        let origins = self.origins(&strays, config.resources.iter().map(|it| &it.address))?;
        let told = strays.into_iter().zip(origins).map(|(stray, origin)| {
            let (address, message) = match origin {
                Origin::LetGo => (None, "carries this state's mark, and the state let go of it".to_owned()),
                Origin::Lost(address, _) => {
                    let message = "this state lost it: `provision plan` shows the row that adopts it".to_owned();
                    (Some(address), message)
                }
                Origin::Unknown => {
                    let id = &stray.remote.id;
                    let how = format!("`provision import ADDRESS {id} --type {}` adopts it", stray.kind);
                    (None, format!("carries this state's mark, and the state does not know for which address: {how}"))
                }
            };
            let (kind, remote_id) = (stray.kind, Some(stray.remote.id));
            Recovered { address, kind, action: None, outcome: Outcome::Stray, message, remote_id }
        });
        Ok((told.collect(), problems))
    }

    /// Where what is declared would be made and nothing of the state is: account, type and region. With it comes why an
    /// account could not be opened.
    pub(crate) fn declared_places(
        &self,
        declared: &[Declaration],
        accounts: &IndexMap<String, AccountConfig>,
    ) -> (HashSet<Place>, BTreeMap<String, Failure>) {
        let mut places = HashSet::new();
        let mut unopened = BTreeMap::new();
        for declaration in declared {
            let Ok((manifest, spec)) = self.registry.type_of(&declaration.kind) else { continue };
            let settings = accounts.get(&declaration.account);
            // An account that cannot be opened holds nothing back of what can be seen.
            let account = match self.account(&declaration.account, &declaration.kind, settings) {
                Ok(account) => account,
                Err(failure) => {
                    unopened.entry(declaration.account.clone()).or_insert(failure);
                    continue;
                }
            };
            let fields = crate::desired::with_defaults(declaration, manifest, spec, "", account.region.as_deref());
            let region = crate::desired::region_of(manifest, &fields);
            places.insert((declaration.account.clone(), declaration.kind.clone(), region));
        }
        (places, unopened)
    }

    /// Refuses to make what is there already. `looks` also asks the clouds: the rows may be of a plan that did not.
    pub(crate) fn refuse_doubles(&self, lease: &Lease, subset: &mut Subset, looks: bool) -> Result<(), Failure> {
        let plan = &subset.plan;
        let makes = |at: &usize| matches!(plan.rows[*at].row.action, Action::Create | Action::Replace);
        let making: Vec<&PlannedRow> = subset.todo.iter().filter(|at| makes(at)).map(|at| &plan.rows[*at]).collect();
        let mut problems = Vec::new();
        let mut lost = false;
        let unplaced = plan.rows.iter().filter(|planned| planned.is_unplaced());
        for planned in unplaced.clone() {
            let twin = |it: &&&PlannedRow| it.row.kind == planned.row.kind && it.account == planned.account;
            if let Some(twin) = making.iter().find(twin) {
                let id = planned.remote_id.as_deref().unwrap_or_default();
                problems.push(unplaced_problem(&twin.row.address, &planned.row.kind, id));
            }
        }
        if looks && !making.is_empty() {
            let places: HashSet<Place> = making
                .iter()
                .map(|planned| planned.place(Action::Create))
                .map(|place| (place.account, place.kind, place.region))
                .collect();
            let mut found = Vec::new();
            for place in &places {
                found.extend(self.marked(&plan.accounts, place)?);
            }
            let strays = self.strays(found)?;
            let origins = self.origins(&strays, plan.rows.iter().map(|planned| &planned.row.address))?;
            for (stray, origin) in strays.iter().zip(origins) {
                let known = unplaced.clone().any(|it| it.remote_id.as_ref() == Some(&stray.remote.id));
                match origin {
                    Origin::Lost(address, _) if making.iter().any(|planned| planned.row.address == address) => {
                        lost = true;
                        problems.push(lost_problem(&address, &stray.kind, &stray.remote.id));
                    }
                    Origin::Unknown if !known => {
                        let twin = |it: &&&PlannedRow| it.row.kind == stray.kind && it.account == stray.account;
                        if let Some(twin) = making.iter().find(twin) {
                            lost = true;
                            problems.push(unplaced_problem(&twin.row.address, &stray.kind, &stray.remote.id));
                        }
                    }
                    _ => {}
                }
            }
        }
        if lost {
            // From now on a plan looks for them wherever they may be.
            self.store.set_behind(lease)?;
        }
        Failure::check(problems)?;
        let unplaced = |at: &usize| subset.plan.rows[*at].is_unplaced();
        let (out, todo): (Vec<usize>, Vec<usize>) = subset.todo.iter().copied().partition(unplaced);
        subset.skipped.extend(out);
        subset.todo = todo;
        Ok(())
    }

    /// What carries our mark in one place.
    fn marked(
        &self,
        accounts: &IndexMap<String, AccountConfig>,
        (account, kind, region): &Place,
    ) -> Result<Vec<Stray>, Failure> {
        let opened = self.account(account, kind, accounts.get(account))?;
        let (_, spec) = self.registry.type_of(kind)?;
        let label = spec.labels.as_ref().map(|_| (LABEL_STATE, self.store.lineage()));
        let listed = opened
            .provider
            .list(type_name(kind), region.as_deref(), label, &self.reading())
            .map_err(|error| error.failure(&format!("cannot list {kind}")))?;
        let ours = |remote: &Remote| remote.identity.as_ref().is_some_and(|it| it.state == self.store.lineage());
        let strays = listed.unwrap_or_default().into_iter().filter(ours);
        Ok(strays
            .map(|remote| Stray { kind: kind.clone(), account: account.clone(), region: region.clone(), remote })
            .collect())
    }
}

fn lost_problem(address: &Address, kind: &str, id: &str) -> Diagnostic {
    let message = format!("`{address}` exists already ({kind} {id}), but this state lost it: it is an older one");
    Diagnostic::error("provision::plan::stray", message).with_help("Run `provision plan` again: its row adopts it.")
}

fn unplaced_problem(address: &Address, kind: &str, id: &str) -> Diagnostic {
    let message = format!(
        "`{address}` is not created: the {kind} `{id}` carries this state's mark, and the state does not know for which address it was created"
    );
    Diagnostic::error("provision::plan::stray", message).with_help(format!(
        "Adopt it with `provision import ADDRESS {id} --type {kind}`, under `{address}` if that is what it is; or delete it, or remove its label {LABEL_STATE}, in the cloud."
    ))
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
            kept.insert(name.clone(), if sealed { self.session.store.sealer().seal(value)? } else { value.clone() });
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
        let (manifest, spec): (_, &TypeSpec) = self.session.registry.type_of(&stray.kind)?;
        let manifest: &Manifest = manifest;
        let now = provision_state::now();
        let inputs = self.kept_fields(spec, &stray.remote.fields)?;
        let resource = Resource {
            address,
            kind: stray.kind.clone(),
            account: stray.account.clone(),
            remote_id: stray.remote.id.clone(),
            inputs,
            attributes: Map::new(),
            depends_on: Vec::new(),
            deferred: Vec::new(),
            generation,
            protect: false,
            retain: false,
            tainted: false,
            marked: false,
            restore: None,
            triggers: None,
            made: crate::held::made_with(spec, Some(&stray.remote), &Map::new()),
            created_at: now.clone(),
            updated_at: now,
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
