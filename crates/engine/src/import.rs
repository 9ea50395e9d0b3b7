//! Owns import: taking what exists into the state, asked of the policies, and the Nickel that declares it. It changes
//! nothing in the clouds.

use crate::Session;
use crate::changes::creation;
use crate::deferred::{Later, only_late};
use crate::desired::with_defaults;
use crate::plan::PlannedRow;
use crate::refresh::bounded;
use crate::shown::{Shown, part};
use crate::written::{Ids, Referring, nickel};
use indexmap::IndexMap;
use provision_diagnostic::Failure;
use provision_model::{
    AccountConfig, Action, Address, Config, Declaration, Disruption, Json, Lifecycle, Map, PlanRow, Question, Remote,
    Resource, is_account_of, type_name, unknown,
};
use provision_providers::{Account, Class};
use provision_registry::{Manifest, TypeSpec};
use provision_state::{Edit, NewChange};
use serde::Serialize;
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

/// One resource that was taken into the state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportedRow {
    pub address: Address,
    #[serde(rename = "type")]
    pub kind: String,
    pub remote_id: String,
    /// What declares it: to be put into `resources` of `infra.ncl`.
    pub nickel: String,
}

/// Something that exists, and where.
struct Found<'a> {
    address: Address,
    kind: String,
    manifest: &'a Manifest,
    spec: &'a TypeSpec,
    account: Account,
    /// The region asked for, where it is not the account's own.
    region: Option<String>,
    remote: Remote,
}

/// What becomes of it: the row of the state, the Nickel, and what the policies are asked.
struct Draft {
    resource: Resource,
    nickel: String,
    planned: PlannedRow,
    /// What the policies see of it.
    fields: Map,
}

impl Session {
    /// Takes the resource of a type with this id into the state, under an address.
    pub fn import(&self, address: &str, id: &str, kind: &str, options: &ImportOptions) -> Result<ImportedRow, Failure> {
        let config = self.configured()?;
        self.refuse_other_project(&config.name)?;
        let (manifest, spec) = self.registry.type_of(kind)?;
        let address = valid(address)?;
        if spec.read.is_none() {
            return Err(Failure::new(
                "provision::import::not_importable",
                format!("{kind} cannot be read by an id, so it cannot be imported"),
            )
            .with_help("Declare it in infra.ncl; `provision apply` makes it."));
        }
        let state = self.store.resources()?;
        free(&state, &address, kind, id)?;
        let account = self.account_of(&config, manifest, kind, options.account.as_deref())?;
        let region = region(manifest, kind, &account, options.region.as_deref())?;
        let Some(remote) = self.look(&account, kind, region.as_deref(), id)? else {
            return Err(Failure::new("provision::import::not_found", format!("there is no {kind} with the id `{id}`"))
                .with_help(match manifest.region {
                    Some(_) => "Check the id, the account and the region (--region).",
                    None => "Check the id and the account (--account).",
                }));
        };
        if self.is_someone_elses(&remote) && !options.adopt {
            return Err(Failure::new(
                "provision::import::someone_elses",
                format!("the {kind} `{id}` carries the mark of another state"),
            )
            .with_help("Have the other project let go of it first, or take it all the same with --adopt."));
        }
        let found = Found { address, kind: kind.to_owned(), manifest, spec, account, region, remote };
        let mut rows = self.take(&config, &state, vec![found])?;
        rows.pop().ok_or_else(|| Failure::new("provision::import::not_found", format!("there is no {kind} `{id}`")))
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
        let config = self.configured()?;
        self.refuse_other_project(&config.name)?;
        let wanted = self.listable(kinds, provider)?;
        if let Some(name) = &options.account
            && !self.known_accounts(&config)?.contains_key(name)
            && self.registry.manifest(name).is_none()
        {
            return Err(Failure::new("provision::config::invalid", format!("there is no account `{name}`"))
                .with_help("Name one of `providers` in infra.ncl, or a provider for its own account."));
        }
        let named = kinds.is_some() || provider.is_some() || options.account.is_some();
        let state = self.store.resources()?;
        let owned: HashSet<(&str, &str)> =
            state.iter().map(|resource| (resource.kind.as_str(), resource.remote_id.as_str())).collect();
        let mut seen: HashSet<(String, String)> = HashSet::new();
        let mut found = Vec::new();
        let (mut looked, mut closed) = (false, None);
        for (manifest, type_name, spec) in wanted {
            let kind = format!("{}.{type_name}", manifest.name);
            let (accounts, absent) = self.accounts_of(&config, manifest, &kind, options)?;
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
                for remote in self.labelled(&account, type_name, spec, region.as_deref(), label)? {
                    let free = !owned.contains(&(kind.as_str(), remote.id.as_str()))
                        && (options.adopt || !self.is_someone_elses(&remote));
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
        let read = bounded(&found, self.readers, "a look", |it| {
            self.look(&it.account, &it.kind, it.region.as_deref(), &it.remote.id)
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
        self.take(&config, &state, there)
    }

    /// The types whose resources can be listed and have labels.
    fn listable(&self, kinds: Option<&[String]>, provider: Option<&str>) -> Result<Vec<Listable<'_>>, Failure> {
        if let Some(provider) = provider
            && self.registry.manifest(provider).is_none()
        {
            // The error names the providers there are.
            self.registry.type_of(provider)?;
        }
        for kind in kinds.unwrap_or_default() {
            let (manifest, spec) = self.registry.type_of(kind)?;
            if let Some(provider) = provider.filter(|provider| manifest.name != *provider) {
                return Err(Failure::new("provision::import::arguments", format!("{kind} is no type of {provider}"))
                    .with_help("Leave out --provider: the type names its own."));
            }
            if spec.list.is_none() || spec.read.is_none() || spec.labels.is_none() {
                return Err(Failure::new(
                    "provision::import::not_importable",
                    format!("{kind} cannot be found by a label"),
                )
                .with_help("Import it by its id, or declare it in infra.ncl."));
            }
        }
        let mut all = Vec::new();
        for manifest in self.registry.manifests().filter(|it| provider.is_none_or(|name| it.name == name)) {
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

    /// Every account by its name: as the state knows them, as the configuration has them now.
    pub(crate) fn known_accounts(&self, config: &Config) -> Result<IndexMap<String, AccountConfig>, Failure> {
        let mut accounts: IndexMap<String, AccountConfig> = self.store.accounts()?;
        accounts.extend(config.accounts.clone());
        Ok(accounts)
    }

    /// One account of a provider, opened.
    fn account_of(
        &self,
        config: &Config,
        manifest: &Manifest,
        kind: &str,
        name: Option<&str>,
    ) -> Result<Account, Failure> {
        let accounts = self.known_accounts(config)?;
        let name = name.unwrap_or(&manifest.name);
        let account = accounts.get(name);
        if !is_account_of(&accounts, name, &manifest.name) {
            let known = accounts.iter().filter(|(_, it)| it.provider == manifest.name).map(|(name, _)| name.as_str());
            let others = known.filter(|name| *name != manifest.name);
            let known: Vec<&str> = std::iter::once(manifest.name.as_str()).chain(others).collect();
            let help = provision_diagnostic::did_you_mean(name, known.iter().copied(), || {
                format!("Accounts of {} are {}.", manifest.name, known.join(", "))
            });
            return Err(Failure::new(
                "provision::config::invalid",
                format!("there is no account `{name}` of {}", manifest.name),
            )
            .with_help(help));
        }
        self.account(name, kind, account)
    }

    /// The accounts of a provider to look into, and why one of them cannot be opened, where that is for want of a
    /// credential.
    fn accounts_of(
        &self,
        config: &Config,
        manifest: &Manifest,
        kind: &str,
        options: &ImportOptions,
    ) -> Result<(Vec<Account>, Option<Failure>), Failure> {
        let accounts = self.known_accounts(config)?;
        let own = std::iter::once(&manifest.name).filter(|name| !accounts.contains_key(*name));
        let configured = accounts.iter().filter(|(_, it)| it.provider == manifest.name).map(|(name, _)| name);
        let (mut opened, mut absent) = (Vec::new(), None);
        for name in own.chain(configured).filter(|name| options.account.as_ref().is_none_or(|only| only == *name)) {
            match self.account(name, kind, accounts.get(name)) {
                Ok(account) => opened.push(account),
                Err(failure) if failure.code() == "provision::provider::credential" => absent = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        Ok((opened, absent))
    }

    /// One resource by its id, as its cloud shows it.
    fn look(&self, account: &Account, kind: &str, region: Option<&str>, id: &str) -> Result<Option<Remote>, Failure> {
        let type_name = type_name(kind);
        let control = self.reading();
        match account.provider.read(type_name, region, id, &control) {
            // Some clouds refuse what cannot be an id of theirs.
            Err(error) if error.class == Class::Rejected => Ok(None),
            read => read.map_err(|error| error.failure(&format!("cannot read the {kind} `{id}`"))),
        }
    }

    /// The resources of a type that carry a label.
    fn labelled(
        &self,
        account: &Account,
        type_name: &str,
        spec: &TypeSpec,
        region: Option<&str>,
        (key, value): (&str, &str),
    ) -> Result<Vec<Remote>, Failure> {
        let control = self.reading();
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

    fn is_someone_elses(&self, remote: &Remote) -> bool {
        remote.identity.as_ref().is_some_and(|identity| identity.state != self.store.lineage())
    }

    /// Asks the policies about all, then writes all as one change of the history.
    fn take(
        &self,
        config: &Config,
        state: &[Resource],
        mut found: Vec<Found<'_>>,
    ) -> Result<Vec<ImportedRow>, Failure> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut parts = self.parts()?;
        found.iter().for_each(|it| parts.add(&self.registry, &it.kind, &it.account.name, &it.remote.fields));
        found.iter_mut().for_each(|it| parts.take_out(&it.kind, &it.account.name, &mut it.remote));
        let mut ids = Ids::of(found.iter().map(|one| one.spec));
        for resource in state {
            if let Ok((_, spec)) = self.registry.type_of(&resource.kind) {
                ids.add(&resource.address, &resource.kind, spec, &resource.remote_id, &resource.attributes);
            }
        }
        for one in &found {
            let mut shown = one.remote.fields.clone();
            shown.extend(one.remote.attributes.clone());
            ids.add(&one.address, &one.kind, one.spec, &one.remote.id, &shown);
        }
        let drafts = found.iter().map(|one| self.draft(config, &ids, one)).collect::<Result<Vec<_>, Failure>>()?;
        let lease = self.writer()?;
        let gate = self.gate(config.policies.as_deref(), Some(&lease))?;
        let asked: Vec<(&PlannedRow, &Map)> = drafts.iter().map(|draft| (&draft.planned, &draft.fields)).collect();
        let answer = self.may_do(&gate, config, "import", state.len() + drafts.len(), None, &asked);
        let subject = match drafts.as_slice() {
            [one] => Some(&one.resource.address),
            _ => None,
        };
        self.noted(&lease, "import", subject, answer)?;
        // What a crash left half made may be the very thing, or have the address.
        self.settle_all(&lease, &|_| {})?;
        let now = self.store.resources()?;
        for draft in &drafts {
            let resource = &draft.resource;
            free(&now, &resource.address, &resource.kind, &resource.remote_id)?;
        }
        self.store.pin_project(&lease, &config.name)?;
        self.store.put_accounts(&lease, &serde_json::json!(self.sealed_accounts(config)?))?;
        let change = NewChange {
            project: Some(config.name.clone()),
            policies: config.policies.clone(),
            outputs: self.store.outputs()?,
            subject: subject.cloned(),
            ..NewChange::new("import", &self.source)
        };
        let puts = drafts.iter().map(|draft| draft.resource.clone()).collect();
        self.store.edit(&lease, &change, &Edit { puts, ..Edit::default() })?;
        self.store.checkpoint()?;
        Ok(drafts
            .into_iter()
            .map(|draft| ImportedRow {
                address: draft.resource.address,
                kind: draft.resource.kind,
                remote_id: draft.resource.remote_id,
                nickel: draft.nickel,
            })
            .collect())
    }

    fn draft(&self, config: &Config, ids: &Ids, found: &Found<'_>) -> Result<Draft, Failure> {
        let Found { address, kind, manifest, spec, account, region, remote } = found;
        let scope = self.scope(&config.name);
        let name = address.cloud_name(&scope);
        let mut shown = Shown::of(spec, remote);
        if let (Some(rule), Some(region)) = (&manifest.region, region)
            && spec.fields.contains_key(&rule.field)
            && account.region.as_ref() != Some(region)
        {
            shown.fields.insert(rule.field.clone(), Json::from(region.as_str()));
        }
        // Without a project's name nobody knows the default names.
        shown.leave_out_names(spec, Some(name.as_str()).filter(|_| !config.name.is_empty()));
        shown.complete(manifest, spec);
        let fields = shown.fields.clone();
        let mut declared = fields.clone();
        let mut depends_on = Vec::new();
        let from = Referring { address, provider: &manifest.name, spec };
        for (field, value) in &mut declared {
            ids.refer(&from, field, value, &mut depends_on);
        }
        let declaration = Declaration {
            address: address.clone(),
            kind: kind.clone(),
            account: account.name.clone(),
            fields,
            lifecycle: Lifecycle::default(),
            depends_on: depends_on.clone(),
            deferred: Vec::new(),
            path: Vec::new(),
        };
        let at = region.as_deref().or(account.region.as_deref());
        let inputs = self.inputs(with_defaults(&declaration, manifest, spec, &scope, at), spec, remote, &shown)?;
        let now = provision_state::now();
        let mut resource = Resource {
            address: address.clone(),
            kind: kind.clone(),
            account: account.name.clone(),
            remote_id: remote.id.clone(),
            inputs: inputs.clone(),
            attributes: Map::new(),
            depends_on: depends_on.clone(),
            deferred: only_late(spec, &declared, &depends_on),
            generation: self.store.next_generation(address)?,
            protect: false,
            retain: false,
            tainted: false,
            marked: false,
            restore: None,
            triggers: None,
            made: crate::held::made_with(spec, Some(remote), &inputs),
            created_at: now.clone(),
            updated_at: now,
        };
        crate::settle::attributes(&mut resource, remote);
        let mut seen = inputs.clone();
        seen.extend(shown.unseen.iter().map(|field| (field.clone(), unknown())));
        let planned = PlannedRow {
            row: PlanRow {
                address: address.clone(),
                provider: manifest.name.clone(),
                kind: kind.clone(),
                action: Action::Adopt,
                changes: creation(spec, &HashSet::new(), &inputs),
                depends_on: depends_on.clone(),
                reason: "exists".to_owned(),
                request: Question::empty().into(),
                plan: String::new(),
            },
            account: account.name.clone(),
            region: region.clone(),
            name,
            inputs,
            prior_fields: Map::new(),
            prior_status: remote.status.clone(),
            restore: None,
            remote_id: Some(remote.id.clone()),
            prior: None,
            changed: Vec::new(),
            lifecycle: Lifecycle::default(),
            needs: depends_on,
            later: Later::default(),
            disruption: Disruption::Update,
            once_wanted: Vec::new(),
            old: None,
            makes_first: false,
            moved_from: None,
            generation: 0,
        };
        let account = (account.name != manifest.name).then_some(account.name.as_str());
        let nickel = nickel(address, kind, &shown.lines(account, declared));
        Ok(Draft { resource, nickel, planned, fields: seen })
    }

    /// The inputs as if they had been applied: as declared, but nothing that the cloud has not.
    fn inputs(&self, mut inputs: Map, spec: &TypeSpec, remote: &Remote, shown: &Shown) -> Result<Map, Failure> {
        for field in shown.unseen.iter().chain(&shown.unnamed) {
            match remote.fields.get(field) {
                Some(value) => inputs.insert(field.clone(), value.clone()),
                None => inputs.shift_remove(field),
            };
        }
        for (field, value) in &mut inputs {
            if spec.fields.get(field).is_some_and(|rule| rule.sensitive) {
                *value = self.store.sealer().seal(value)?;
            }
        }
        Ok(inputs)
    }
}

/// The address, if it is one: a name, or a group and the key of a member.
fn valid(text: &str) -> Result<Address, Failure> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() <= 2 && parts.iter().all(|part| Address::valid_part(part)) {
        return Ok(Address::new(text));
    }
    Err(Failure::new("provision::plan::address", format!("`{text}` is not a valid address")).with_help(
        "Use lower-case letters, digits, `_` and `-`, starting with a letter; a member of a group is `pool.blue`.",
    ))
}

/// Refuses an address that is taken and a resource that has one.
fn free(state: &[Resource], address: &Address, kind: &str, id: &str) -> Result<(), Failure> {
    if let Some(there) = state.iter().find(|resource| resource.address == *address) {
        return Err(Failure::new(
            "provision::import::address_taken",
            format!("`{address}` is in the state already: it is the {} `{}`", there.kind, there.remote_id),
        )
        .with_help("Choose another address; `provision state list` shows those that are taken."));
    }
    match state.iter().find(|resource| resource.kind == kind && resource.remote_id == id) {
        Some(there) => Err(Failure::new(
            "provision::import::already_ours",
            format!("the {kind} `{id}` is in the state already, as `{}`", there.address),
        )
        .with_help(format!("Use that address; `provision state show {}` shows it.", there.address))),
        None => Ok(()),
    }
}

/// The region to look in; `None` where the provider has none.
fn region(manifest: &Manifest, kind: &str, account: &Account, asked: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(rule) = &manifest.region else {
        return match asked {
            None => Ok(None),
            Some(asked) => Err(Failure::new(
                "provision::plan::unknown_field",
                format!("{} has no regions, so `{asked}` is none of them", manifest.name),
            )
            .with_help("Leave out --region.")),
        };
    };
    match asked.or(account.region.as_deref()) {
        Some(region) => Ok(Some(region.to_owned())),
        None => Err(Failure::new(
            "provision::plan::missing_field",
            format!("{kind} is in a region, and its account has none"),
        )
        .with_help(format!("Give --region, or set {}.", rule.env.join(" or ")))),
    }
}

/// Gives each an address of its own, made from its name.
fn name_all(found: &mut [Found<'_>], config: &Config, state: &[Resource]) {
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
