//! Owns finding what exists and could be taken into the state: by its id, or by a label.

use crate::configuration::accounts::{known_accounts, open_account};
use crate::observation::shown::part;
use crate::workspace::Workspace;
use provision_diagnostic::{Code, Failure};
use provision_model::{Address, Config, Json, Remote, Resource, is_account_of, type_name};
use provision_providers::{Account, Class};
use provision_registry::{Manifest, TypeSpec};
use std::collections::HashSet;
use std::sync::Arc;

/// A type that can be listed: its provider, its name there, and its specification.
type Listable<'a> = (&'a Arc<Manifest>, &'a str, &'a TypeSpec);

/// Where to look for what is imported, and whether to take what is another state's.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The region; the account's by default.
    pub region: Option<String>,
    /// The account's name under `providers`; the provider's own by default.
    pub account: Option<String>,
    /// Take it although it carries the mark of another state.
    pub adopt: bool,
}

/// Something that exists, and where.
pub(crate) struct Found<'a> {
    pub(crate) address: Address,
    pub(crate) kind: String,
    pub(crate) manifest: &'a Manifest,
    pub(crate) spec: &'a TypeSpec,
    pub(crate) account: Account,
    /// The region asked for, where it is not the account's own.
    pub(crate) region: Option<String>,
    pub(crate) remote: Remote,
}

/// The address, if it is one: a name, or a group and the key of a member.
pub(crate) fn valid(text: &str) -> Result<Address, Failure> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() <= 2 && parts.iter().all(|part| Address::valid_part(part)) {
        return Ok(Address::new(text));
    }
    Err(Failure::new(Code::PlanAddress, format!("`{text}` is not a valid address")).with_help(
        "Use lower-case letters, digits, `_` and `-`, starting with a letter; a member of a group is `pool.blue`.",
    ))
}

/// Refuses an address that is taken and a resource that has one.
pub(crate) fn free(state: &[Resource], address: &Address, kind: &str, id: &str) -> Result<(), Failure> {
    if let Some(there) = state.iter().find(|resource| resource.address == *address) {
        return Err(Failure::new(
            Code::ImportAddressTaken,
            format!("`{address}` is in the state already: it is the {} `{}`", there.kind, there.remote_id),
        )
        .with_help("Choose another address; `provision state list` shows those that are taken."));
    }
    match state.iter().find(|resource| resource.kind == kind && resource.remote_id == id) {
        Some(there) => Err(Failure::new(
            Code::ImportAlreadyOurs,
            format!("the {kind} `{id}` is in the state already, as `{}`", there.address),
        )
        .with_help(format!("Use that address; `provision state show {}` shows it.", there.address))),
        None => Ok(()),
    }
}

/// The region to look in; `None` where the provider has none.
pub(crate) fn region(
    manifest: &Manifest,
    kind: &str,
    account: &Account,
    asked: Option<&str>,
) -> Result<Option<String>, Failure> {
    let Some(rule) = &manifest.region else {
        return match asked {
            None => Ok(None),
            Some(asked) => Err(Failure::new(
                Code::PlanUnknownField,
                format!("{} has no regions, so `{asked}` is none of them", manifest.name),
            )
            .with_help("Leave out --region.")),
        };
    };
    match asked.or(account.region.as_deref()) {
        Some(region) => Ok(Some(region.to_owned())),
        None => Err(Failure::new(Code::PlanMissingField, format!("{kind} is in a region, and its account has none"))
            .with_help(format!("Give --region, or set {}.", rule.env.join(" or ")))),
    }
}

/// Gives each an address of its own, made from its name.
pub(crate) fn name_all(found: &mut [Found<'_>], config: &Config, state: &[Resource]) {
    let known = state.iter().map(|it| &it.address).chain(config.resources.iter().map(|it| &it.address));
    // A group takes its name as a whole.
    let group = |address: &Address| address.as_str().split('.').next().unwrap_or_default().to_owned();
    let mut taken: HashSet<String> = known.map(group).collect();
    for one in found {
        let type_name = type_name(&one.kind);
        let base = part(one.spec, &one.remote, type_name);
        let mut name = base.clone();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{base}-{number}");
        }
        one.address = Address::new(name);
    }
}

/// The types whose resources can be listed and have labels.
pub(crate) fn listable<'a>(
    on: &'a Workspace,
    kinds: Option<&[String]>,
    provider: Option<&str>,
) -> Result<Vec<Listable<'a>>, Failure> {
    if let Some(provider) = provider
        && on.project.registry.manifest(provider).is_none()
    {
        // The error names the providers there are.
        on.project.registry.type_of(provider)?;
    }
    for kind in kinds.unwrap_or_default() {
        let (manifest, spec) = on.project.registry.type_of(kind)?;
        if let Some(provider) = provider.filter(|provider| manifest.name != *provider) {
            return Err(Failure::new(Code::ImportArguments, format!("{kind} is no type of {provider}"))
                .with_help("Leave out --provider: the type names its own."));
        }
        if spec.list.is_none() || spec.read.is_none() || spec.labels.is_none() {
            return Err(Failure::new(Code::ImportNotImportable, format!("{kind} cannot be found by a label"))
                .with_help("Import it by its id, or declare it in infra.ncl."));
        }
    }
    let mut all = Vec::new();
    for manifest in on.project.registry.manifests().filter(|it| provider.is_none_or(|name| it.name == name)) {
        for (type_name, spec) in &manifest.types {
            let kind = format!("{}.{type_name}", manifest.name);
            let wanted = kinds.is_none_or(|kinds| kinds.contains(&kind));
            if wanted && spec.list.is_some() && spec.read.is_some() && spec.labels.is_some() {
                all.push((manifest, type_name.as_str(), spec));
            }
        }
    }
    Ok(all)
}

/// One account of a provider, opened.
pub(crate) fn account_of(
    on: &Workspace,
    config: &Config,
    manifest: &Manifest,
    kind: &str,
    name: Option<&str>,
) -> Result<Account, Failure> {
    let accounts = known_accounts(on, config)?;
    let name = name.unwrap_or(&manifest.name);
    let account = accounts.get(name);
    if !is_account_of(&accounts, name, &manifest.name) {
        let known = accounts.iter().filter(|(_, it)| it.provider == manifest.name).map(|(name, _)| name.as_str());
        let others = known.filter(|name| *name != manifest.name);
        let known: Vec<&str> = std::iter::once(manifest.name.as_str()).chain(others).collect();
        let help = provision_diagnostic::did_you_mean(name, known.iter().copied(), || {
            format!("Accounts of {} are {}.", manifest.name, known.join(", "))
        });
        return Err(Failure::new(Code::ConfigInvalid, format!("there is no account `{name}` of {}", manifest.name))
            .with_help(help));
    }
    open_account(on, name, kind, account)
}

/// The accounts of a provider to look into, and why one of them cannot be opened, where that is for want of a
/// credential.
pub(crate) fn accounts_of(
    on: &Workspace,
    config: &Config,
    manifest: &Manifest,
    kind: &str,
    options: &ImportOptions,
) -> Result<(Vec<Account>, Option<Failure>), Failure> {
    let accounts = known_accounts(on, config)?;
    let own = std::iter::once(&manifest.name).filter(|name| !accounts.contains_key(*name));
    let configured = accounts.iter().filter(|(_, it)| it.provider == manifest.name).map(|(name, _)| name);
    let (mut opened, mut absent) = (Vec::new(), None);
    for name in own.chain(configured).filter(|name| options.account.as_ref().is_none_or(|only| only == *name)) {
        match open_account(on, name, kind, accounts.get(name)) {
            Ok(account) => opened.push(account),
            Err(failure) if failure.code() == Code::ProviderCredential => absent = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Ok((opened, absent))
}

/// One resource by its id, as its cloud shows it.
pub(crate) fn read_by_id(
    on: &Workspace,
    account: &Account,
    kind: &str,
    region: Option<&str>,
    id: &str,
) -> Result<Option<Remote>, Failure> {
    let type_name = type_name(kind);
    let control = on.host.reading();
    match account.provider.read(type_name, region, id, &control) {
        // Some clouds refuse what cannot be an id of theirs.
        Err(error) if error.class == Class::Rejected => Ok(None),
        read => read.map_err(|error| error.failure(&format!("cannot read the {kind} `{id}`"))),
    }
}

/// The resources of a type that carry a label.
pub(crate) fn labelled(
    on: &Workspace,
    account: &Account,
    type_name: &str,
    spec: &TypeSpec,
    region: Option<&str>,
    (key, value): (&str, &str),
) -> Result<Vec<Remote>, Failure> {
    let control = on.host.reading();
    // A provider finds its resources by the marks of a state; for any other label all are looked at.
    let listed = account
        .provider
        .list(type_name, region, None, &control)
        .map_err(|error| error.failure(&format!("cannot list {type_name}")))?;
    let has = |remote: &Remote| {
        let labels = spec.labels.as_ref().and_then(|field| remote.fields.get(field));
        labels.and_then(|labels| labels.get(key)).and_then(Json::as_str) == Some(value)
    };
    let mut found: Vec<Remote> = listed.unwrap_or_default().into_iter().filter(has).collect();
    found.sort_by(|a, b| a.id.len().cmp(&b.id.len()).then_with(|| a.id.cmp(&b.id)));
    Ok(found)
}

pub(crate) fn is_someone_elses(on: &Workspace, remote: &Remote) -> bool {
    remote.identity.as_ref().is_some_and(|identity| identity.state != on.store.lineage())
}
