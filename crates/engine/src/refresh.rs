//! Owns looking at the world: one paged list per kind, account and region; by id only where a list does not show it.

use crate::Session;
use indexmap::IndexMap;
use provision_diagnostic::Failure;
use provision_model::{AccountConfig, Address, Config, LABEL_STATE, Map, Remote, Resource};
use provision_providers::{CallError, Control};
use std::collections::{BTreeMap, HashMap};

/// What the clouds show.
#[derive(Default)]
pub struct World {
    /// `None`: it is gone. Not in the map: nobody can tell (`local`).
    pub resources: HashMap<Address, Option<Remote>>,
    /// Carries our lineage and is in no row of the state: kind and resource.
    pub strays: Vec<(String, Remote)>,
}

type Group<'a> = (&'a str, &'a str, Option<String>);

impl Session {
    /// Lists everything the state knows. `deep` also reads each resource.
    pub(crate) fn refresh(&self, config: &Config, state: &[Resource], deep: bool) -> Result<World, Failure> {
        let accounts = self.sealed_accounts(config)?;
        let accounts = &accounts;
        let mut groups: BTreeMap<Group<'_>, Vec<&Resource>> = BTreeMap::new();
        for resource in state {
            let Ok((manifest, _)) = self.registry.type_of(&resource.kind) else { continue };
            let region = crate::desired::region_of(manifest, &resource.inputs);
            groups.entry((resource.account.as_str(), resource.kind.as_str(), region)).or_default().push(resource);
        }
        let groups: Vec<(Group<'_>, Vec<&Resource>)> = groups.into_iter().collect();
        let results: Vec<Result<World, Failure>> = std::thread::scope(|scope| {
            let handles: Vec<_> = groups
                .iter()
                .map(|(group, members)| scope.spawn(move || self.refresh_group(accounts, group, members, deep)))
                .collect();
            handles
                .into_iter()
                .map(|handle| {
                    handle
                        .join()
                        .unwrap_or_else(|_| Err(Failure::new("provision::provider::unavailable", "a refresh failed")))
                })
                .collect()
        });
        let mut world = World::default();
        for result in results {
            let part = result?;
            world.resources.extend(part.resources);
            world.strays.extend(part.strays);
        }
        Ok(world)
    }

    fn refresh_group(
        &self,
        accounts: &IndexMap<String, AccountConfig>,
        (account, kind, region): &Group<'_>,
        members: &[&Resource],
        deep: bool,
    ) -> Result<World, Failure> {
        let mut world = World::default();
        let opened = self.account(account, kind, accounts.get(*account))?;
        let type_name = kind.split_once('.').map_or("", |(_, name)| name);
        let flag = self.stop.flag();
        let control = Control { interrupt: &flag, retrying: &|_, _| {} };
        let failed = |error: CallError| error.failure(&format!("cannot list {kind}"));
        let label = Some((LABEL_STATE, self.store.lineage()));
        let Some(listed) = opened.provider.list(type_name, region.as_deref(), label, &control).map_err(failed)? else {
            return Ok(world);
        };
        let mut by_id: HashMap<String, Remote> = listed.into_iter().map(|remote| (remote.id.clone(), remote)).collect();
        for resource in members {
            let found = by_id.remove(&resource.remote_id);
            let found = match found {
                Some(remote) if !deep => Some(remote),
                // Absence from a list proves nothing: pages shift, labels can be taken off.
                _ => opened
                    .provider
                    .read(type_name, region.as_deref(), &resource.remote_id, &control)
                    .map_err(|error| error.failure(&format!("cannot read `{}`", resource.address)))?,
            };
            world.resources.insert(resource.address.clone(), found);
        }
        world.strays.extend(by_id.into_values().map(|remote| ((*kind).to_owned(), remote)));
        Ok(world)
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
