//! Owns looking at the world: one paged list per kind, account and region; by id only where a list does not show it.

use crate::configuration::accounts::{open_account, sealed_accounts};
use crate::configuration::desired::region_of;
use crate::configuration::parts::has_parts;
use crate::observation::parts::known_parts;
use crate::observation::sighting::{Sighting, Window};
use crate::observation::strays::Stray;
use crate::workspace::Workspace;
use indexmap::IndexMap;
use provision_diagnostic::{Code, Diagnostic, Failure, isolated};
use provision_model::{AccountConfig, Address, Config, LABEL_STATE, Map, Remote, Resource, Time, type_name};
use provision_providers::{Account, CallError, Control};
use provision_registry::TypeSpec;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What the clouds show.
#[derive(Default)]
pub struct World {
    /// `None`: it is gone. Not in the map: nobody can tell (`local`).
    pub resources: HashMap<Address, Option<Remote>>,
    /// Carries our lineage and is in no row of the state.
    pub strays: Vec<Stray>,
    /// Why some places could not be looked at: of them nothing is known.
    pub problems: Vec<Diagnostic>,
}

type Group<'a> = (&'a str, &'a str, Option<String>);

/// Account, type and region.
pub(crate) type Place = (String, String, Option<String>);

/// What `work` makes of each item, in their order, `at_once` at a time. One that panics takes nothing of the others with it.
pub(crate) fn bounded<T: Sync, R: Send>(
    items: &[T],
    at_once: usize,
    what: &str,
    work: impl Fn(&T) -> Result<R, Failure> + Sync,
) -> Vec<Result<R, Failure>> {
    let next = AtomicUsize::new(0);
    let (next, work) = (&next, &work);
    let mut results: Vec<Option<Result<R, Failure>>> = items.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.min(items.len()))
            .map(|_| {
                scope.spawn(move || {
                    let mut made = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(at) else { return made };
                        made.push((at, isolated(what, || work(item)).unwrap_or_else(Err)));
                    }
                })
            })
            .collect();
        for (at, result) in workers.into_iter().filter_map(|worker| worker.join().ok()).flatten() {
            results[at] = Some(result);
        }
    });
    let lost = || Err(Failure::new(Code::InternalPanic, format!("{what} came to nothing")));
    results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
}

/// One resource that is asked for by its id.
pub(crate) struct Sought<'a> {
    pub account: &'a Account,
    pub spec: &'a TypeSpec,
    pub type_name: &'a str,
    pub region: Option<&'a str>,
    pub id: &'a str,
    /// When it was made, where that is known.
    pub born: Option<Time>,
}

/// How far the clocks of two machines may be apart: one that was set wrong is often wrong by a day. What is younger than that
/// may have been made a moment ago, so its absence is waited for.
const SKEW: Duration = Duration::from_secs(25 * 60 * 60);

impl Sought<'_> {
    /// Reads it. What was made a moment ago may be there unseen, now and then even after it was seen: it counts as gone
    /// only when its type's consistency window is over.
    pub fn read(&self, control: &Control<'_>) -> Result<Sighting<Remote>, CallError> {
        self.read_within(control.clock.now(), control)
    }

    /// The same where looking began at an instant: those that are looked for one after the other do not wait each for itself.
    pub fn read_within(&self, begun: Instant, control: &Control<'_>) -> Result<Sighting<Remote>, CallError> {
        // Whoever made it may have another clock. Made in what is now the future, it is as young as can be.
        let age = self.born.map_or(SKEW, |born| Time::from(control.clock.wall()).since(born));
        let window = crate::observation::sighting::window(self.spec);
        let is_settled = (self.spec.read.is_none() && self.spec.list.is_none()) || age >= window + SKEW;
        let window = Window::until(if is_settled { begun } else { begun + window });
        window.look(control, || self.account.provider.read(self.type_name, self.region, self.id, control))
    }
}

/// What a resource is now: as the cloud shows it where it does, as last sent elsewhere.
pub fn current_fields(resource: &Resource, remote: Option<&Remote>) -> Map {
    let mut fields = resource.inputs.clone();
    if let Some(remote) = remote {
        for (name, value) in &remote.fields {
            fields.insert(name.clone(), value.clone());
        }
    }
    fields
}

/// Lists everything the state knows, and looks for strays in other places too; all of it or an error. `deep` also reads
/// each resource.
pub(crate) fn refresh_with(
    on: &Workspace,
    config: &Config,
    state: &[Resource],
    others: &[Place],
    deep: bool,
) -> Result<World, Failure> {
    let mut world = look_at(on, config, state, others, deep)?;
    Failure::check(std::mem::take(&mut world.problems))?;
    Ok(world)
}

/// The same; what cannot be looked at hides nothing of the rest.
pub(crate) fn look_at(
    on: &Workspace,
    config: &Config,
    state: &[Resource],
    others: &[Place],
    deep: bool,
) -> Result<World, Failure> {
    let accounts = sealed_accounts(on, config)?;
    let accounts = &accounts;
    let mut groups: BTreeMap<Group<'_>, Vec<&Resource>> = BTreeMap::new();
    for resource in state {
        // One that nobody can ask about is not one that has not drifted.
        let (manifest, _) = on.project.registry.type_of(&resource.kind)?;
        let region = region_of(manifest, &resource.inputs);
        groups.entry((resource.account.as_str(), resource.kind.as_str(), region)).or_default().push(resource);
    }
    for (account, kind, region) in others {
        groups.entry((account.as_str(), kind.as_str(), region.clone())).or_default();
    }
    let groups: Vec<(Group<'_>, Vec<&Resource>)> = groups.into_iter().collect();
    let ask = |(group, members): &(Group<'_>, Vec<&Resource>)| refresh_group(on, accounts, group, members, deep);
    let mut world = World::default();
    for result in bounded(&groups, on.host.readers, "a refresh", ask) {
        match result {
            Ok(part) => {
                world.resources.extend(part.resources);
                world.strays.extend(part.strays);
            }
            Err(failure) => world.problems.extend(failure.into_diagnostics()),
        }
    }
    if state.iter().any(|resource| has_parts(&on.project.registry, &resource.kind)) {
        let parts = known_parts(on)?;
        for resource in state {
            if let Some(Some(remote)) = world.resources.get_mut(&resource.address) {
                parts.take_out(&resource.kind, &resource.account, remote);
            }
        }
    }
    Ok(world)
}

fn refresh_group(
    on: &Workspace,
    accounts: &IndexMap<String, AccountConfig>,
    (account, kind, region): &Group<'_>,
    members: &[&Resource],
    deep: bool,
) -> Result<World, Failure> {
    let mut world = World::default();
    let opened = open_account(on, account, kind, accounts.get(*account))?;
    let (_, spec) = on.project.registry.type_of(kind)?;
    let type_name = type_name(kind);
    let control = on.host.reading();
    let failed = |error: CallError| error.failure(&format!("cannot list {kind}"));
    // What carries no labels is found among all.
    let label = spec.labels.as_ref().map(|_| (LABEL_STATE, on.store.lineage()));
    let listed = match opened.provider.list(type_name, region.as_deref(), label, &control).map_err(failed)? {
        Some(listed) => listed,
        // What cannot be listed is asked for one by one, where it can be.
        None if spec.read.is_some() => Vec::new(),
        None => return Ok(world),
    };
    let mut by_id: HashMap<String, Remote> = listed.into_iter().map(|remote| (remote.id.clone(), remote)).collect();
    let begun = control.clock.now();
    for resource in members {
        let found = by_id.remove(&resource.remote_id);
        let found = match found {
            Some(remote) if !deep => Some(remote),
            // Absence from a list proves nothing: pages shift, labels can be taken off.
            _ => {
                let sought = Sought {
                    account: &opened,
                    spec,
                    type_name,
                    region: region.as_deref(),
                    id: &resource.remote_id,
                    born: Some(resource.created_at),
                };
                sought
                    .read_within(begun, &control)
                    .and_then(|sighting| sighting.known(account))
                    .map_err(|error| error.failure(&format!("cannot read `{}`", resource.address)))?
            }
        };
        world.resources.insert(resource.address.clone(), found);
    }
    // Where a list cannot be narrowed to ours, somebody else's mark is not ours.
    let ours = |remote: &Remote| remote.identity.as_ref().is_some_and(|it| it.state == on.store.lineage());
    let strays = by_id.into_values().filter(ours);
    world.strays.extend(strays.map(|remote| Stray {
        kind: (*kind).to_owned(),
        account: (*account).to_owned(),
        region: region.clone(),
        remote,
    }));
    Ok(world)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_are_under_way_and_the_order_stays() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..100).collect();
        let results = bounded(&items, 4, "it", |item| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(1));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(item * 2)
        });
        assert_eq!(results, items.iter().map(|item| Ok(item * 2)).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 4, "{most:?}");
        assert_eq!(bounded(&[] as &[usize], 4, "it", |item| Ok(*item)), Vec::new());
    }

    #[test]
    fn one_that_panics_takes_nothing_of_the_others_with_it() {
        let results = bounded(&[0, 1, 2], 1, "looking", |item| match item {
            1 => panic!("no"),
            other => Ok(*other),
        });
        assert_eq!((&results[0], &results[2]), (&Ok(0), &Ok(2)));
        assert_eq!(results[1].as_ref().unwrap_err().code(), Code::InternalPanic);
    }
}
