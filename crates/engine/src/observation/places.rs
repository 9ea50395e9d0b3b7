//! Owns where something of ours may be that the state does not have: account, type and region.

use crate::configuration::accounts::{known_accounts, open_account};
use crate::configuration::desired::{region_of, with_defaults};
use crate::observation::refresh::Place;
use crate::workspace::Workspace;
use indexmap::IndexMap;
use provision_diagnostic::{Diagnostic, Failure};
use provision_model::{AccountConfig, Config, Declaration, Resource};
use std::collections::{BTreeMap, HashSet};

/// Where something of ours may be that the state does not have: what is declared and what was there once, by account,
/// type and region. With it comes why an account could not be opened, once each.
pub(crate) fn other_places(
    on: &Workspace,
    config: &Config,
    state: &[Resource],
) -> Result<(Vec<Place>, Vec<Diagnostic>), Failure> {
    let (mut places, mut unopened) = declared_places(on, &config.resources, &config.accounts);
    let accounts = known_accounts(on, config)?;
    for (kind, account, inputs) in on.store.places_of_gone()? {
        let Ok((manifest, _)) = on.project.registry.type_of(&kind) else { continue };
        match open_account(on, &account, &kind, accounts.get(&account)) {
            Ok(_) => drop(places.insert((account, kind, region_of(manifest, &inputs)))),
            Err(failure) => drop(unopened.entry(account).or_insert(failure)),
        }
    }
    for resource in state {
        let Ok((manifest, _)) = on.project.registry.type_of(&resource.kind) else { continue };
        let region = region_of(manifest, &resource.inputs);
        places.remove(&(resource.account.clone(), resource.kind.clone(), region));
    }
    let mut places: Vec<Place> = places.into_iter().collect();
    places.sort();
    Ok((places, unopened.into_values().flat_map(Failure::into_diagnostics).collect()))
}

/// Where what is declared would be made and nothing of the state is: account, type and region. With it comes why an
/// account could not be opened.
pub(crate) fn declared_places(
    on: &Workspace,
    declared: &[Declaration],
    accounts: &IndexMap<String, AccountConfig>,
) -> (HashSet<Place>, BTreeMap<String, Failure>) {
    let mut places = HashSet::new();
    let mut unopened = BTreeMap::new();
    for declaration in declared {
        let Ok((manifest, spec)) = on.project.registry.type_of(&declaration.kind) else { continue };
        let settings = accounts.get(&declaration.account);
        // An account that cannot be opened holds nothing back of what can be seen.
        let account = match open_account(on, &declaration.account, &declaration.kind, settings) {
            Ok(account) => account,
            Err(failure) => {
                unopened.entry(declaration.account.clone()).or_insert(failure);
                continue;
            }
        };
        let fields = with_defaults(declaration, manifest, spec, "", account.region.as_deref());
        let region = region_of(manifest, &fields);
        places.insert((declaration.account.clone(), declaration.kind.clone(), region));
    }
    (places, unopened)
}
