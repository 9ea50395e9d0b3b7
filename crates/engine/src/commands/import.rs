//! Owns import: taking what exists into the state. It changes nothing in the clouds.

use crate::commands::Session;
use crate::configuration::accounts::known_accounts;
use crate::configuration::reading::configured;
use crate::observation::finding::{
    Found, ImportOptions, account_of, accounts_of, free, is_someone_elses, labelled, listable, name_all, read_by_id,
    region, valid,
};
use crate::observation::refresh::bounded;
use crate::operations::taking::{ImportedRow, take_in};
use provision_diagnostic::{Code, Failure};
use provision_model::Address;
use std::collections::HashSet;

impl Session {
    /// Takes the resource of a type with this id into the state, under an address.
    pub fn import(&self, address: &str, id: &str, kind: &str, options: &ImportOptions) -> Result<ImportedRow, Failure> {
        let config = configured(&self.workspace)?;
        self.workspace.refuse_other_project(&config.name)?;
        let (manifest, spec) = self.workspace.project.registry.type_of(kind)?;
        let address = valid(address)?;
        if spec.read.is_none() {
            return Err(Failure::new(
                Code::ImportNotImportable,
                format!("{kind} cannot be read by an id, so it cannot be imported"),
            )
            .with_help("Declare it in infra.ncl; `provision apply` makes it."));
        }
        let state = self.workspace.store.resources()?;
        free(&state, &address, kind, id)?;
        let account = account_of(&self.workspace, &config, manifest, kind, options.account.as_deref())?;
        let region = region(manifest, kind, &account, options.region.as_deref())?;
        let Some(remote) = read_by_id(&self.workspace, &account, kind, region.as_deref(), id)? else {
            return Err(Failure::new(Code::ImportNotFound, format!("there is no {kind} with the id `{id}`"))
                .with_help(match manifest.region {
                    Some(_) => "Check the id, the account and the region (--region).",
                    None => "Check the id and the account (--account).",
                }));
        };
        if is_someone_elses(&self.workspace, &remote) && !options.adopt {
            return Err(Failure::new(
                Code::ImportSomeoneElses,
                format!("the {kind} `{id}` carries the mark of another state"),
            )
            .with_help("Have the other project let go of it first, or take it all the same with --adopt."));
        }
        let found = Found { address, kind: kind.to_owned(), manifest, spec, account, region, remote };
        let mut rows = take_in(&self.workspace, &self.actor, &config, &state, vec![found])?;
        rows.pop().ok_or_else(|| Failure::new(Code::ImportNotFound, format!("there is no {kind} `{id}`")))
    }

    /// Takes everything with a label into the state, of some types or all, of one provider or all. What is in a state
    /// already is left out; addresses are made from the names.
    pub fn import_tagged(
        &self,
        label: (&str, &str),
        kinds: Option<&[String]>,
        provider: Option<&str>,
        options: &ImportOptions,
    ) -> Result<Vec<ImportedRow>, Failure> {
        let config = configured(&self.workspace)?;
        self.workspace.refuse_other_project(&config.name)?;
        let wanted = listable(&self.workspace, kinds, provider)?;
        if let Some(name) = &options.account
            && !known_accounts(&self.workspace, &config)?.contains_key(name)
            && self.workspace.project.registry.manifest(name).is_none()
        {
            return Err(Failure::new(Code::ConfigInvalid, format!("there is no account `{name}`"))
                .with_help("Name one of `providers` in infra.ncl, or a provider for its own account."));
        }
        let named = kinds.is_some() || provider.is_some() || options.account.is_some();
        let state = self.workspace.store.resources()?;
        let owned: HashSet<(&str, &str)> =
            state.iter().map(|resource| (resource.kind.as_str(), resource.remote_id.as_str())).collect();
        let mut seen: HashSet<(String, String)> = HashSet::new();
        let mut found = Vec::new();
        let (mut looked, mut closed) = (false, None);
        for (manifest, type_name, spec) in wanted {
            let kind = format!("{}.{type_name}", manifest.name);
            let (accounts, absent) = accounts_of(&self.workspace, &config, manifest, &kind, options)?;
            closed = closed.or(absent.filter(|_| !named || accounts.is_empty()));
            for account in accounts {
                // Only some providers have regions.
                let asked = options.region.as_deref().filter(|_| manifest.region.is_some());
                let region = match region(manifest, &kind, &account, asked) {
                    Ok(region) => region,
                    Err(failure) => {
                        closed = closed.or(Some(failure));
                        continue;
                    }
                };
                looked = true;
                for remote in labelled(&self.workspace, &account, type_name, spec, region.as_deref(), label)? {
                    let free = !owned.contains(&(kind.as_str(), remote.id.as_str()))
                        && (options.adopt || !is_someone_elses(&self.workspace, &remote));
                    if free && seen.insert((kind.clone(), remote.id.clone())) {
                        let (kind, account, region) = (kind.clone(), account.clone(), region.clone());
                        found.push(Found { address: Address::new(""), kind, manifest, spec, account, region, remote });
                    }
                }
            }
        }
        // A cloud that nobody named and that cannot be asked is left out, but not all of them.
        if let Some(failure) = closed.filter(|_| named || !looked) {
            return Err(failure);
        }
        // A list does not show everything of a resource.
        let read = bounded(&found, self.workspace.host.readers, "a look", |it| {
            read_by_id(&self.workspace, &it.account, &it.kind, it.region.as_deref(), &it.remote.id)
        });
        let mut there = Vec::with_capacity(found.len());
        for (mut one, read) in found.into_iter().zip(read) {
            match read? {
                Some(remote) => one.remote = remote,
                None => continue,
            }
            there.push(one);
        }
        name_all(&mut there, &config, &state);
        take_in(&self.workspace, &self.actor, &config, &state, there)
    }
}
