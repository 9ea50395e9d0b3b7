//! Owns what stands beside resources: what an account offers, and which resources of a provider the states of a project
//! hold.

use crate::Session;
use crate::session::{Environment, location};
use indexmap::IndexMap;
use provision_diagnostic::{Failure, did_you_mean};
use provision_model::{Json, Map};
use provision_nickel::Evaluator;
use provision_registry::{Manifest, Registry};
use provision_state::{Edit, Lease, NewChange, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Session {
    /// A session that belongs to no project: its state is in memory and gone with it.
    pub fn of_no_project(
        registry: Arc<Registry>,
        evaluator: Evaluator,
        env: Environment,
        user: String,
    ) -> Result<Session, Failure> {
        Ok(Session::over(Store::in_memory()?, PathBuf::from("/nonexistent/no-project"), registry, evaluator, env, user))
    }

    /// What the account of a provider offers: all catalogues of its manifest, or one. Every row has every column.
    pub fn catalog(&self, provider: &str, only: Option<&str>, region: Option<&str>) -> Result<Vec<Map>, Failure> {
        let Some(manifest) = self.registry.manifest(provider).cloned() else {
            return Err(self.registry.type_of(provider).err().unwrap_or_else(|| {
                Failure::new("provision::provider::unknown", format!("there is no provider `{provider}`"))
            }));
        };
        let names: Vec<&String> =
            manifest.listings.keys().filter(|name| only.is_none_or(|only| only == name.as_str())).collect();
        if names.is_empty() {
            let known = manifest.listings.keys().map(String::as_str);
            let (message, help) = match only {
                Some(only) if !manifest.listings.is_empty() => (
                    format!("{provider} has no catalogue `{only}`"),
                    did_you_mean(only, known.clone(), || {
                        format!("There are {}.", known.collect::<Vec<_>>().join(", "))
                    }),
                ),
                _ => (
                    format!("the manifest of {provider} does not say how a catalogue is read"),
                    "Add `listings` to it; docs/manifest.md shows how.".to_owned(),
                ),
            };
            return Err(Failure::new("provision::provider::no_catalog", message).with_help(help));
        }
        let config = self.configured().unwrap_or_default();
        let kind = format!("{provider}.{}", manifest.types.keys().next().map_or("", String::as_str));
        let account = self.account(provider, &kind, config.accounts.get(provider))?;
        let region = region.or(account.region.as_deref());
        let mut columns: Vec<&String> = Vec::new();
        for column in names.iter().filter_map(|name| manifest.listings.get(*name)).flat_map(|it| it.columns.keys()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let mut out = Vec::new();
        for name in names {
            let rows = account
                .provider
                .catalog(name, region, &self.reading())
                .map_err(|error| error.failure(&format!("cannot read the catalogue `{name}`")))?;
            for mut row in rows {
                let mut whole = Map::new();
                whole.insert("catalog".to_owned(), Json::from(name.as_str()));
                for column in &columns {
                    whole.insert((*column).clone(), row.shift_remove(*column).unwrap_or(Json::Null));
                }
                out.push(whole);
            }
        }
        Ok(out)
    }
}

/// A state and the name of its environment.
pub(crate) type Kept = (Option<String>, Arc<Store>);

/// The states that a project has.
pub(crate) fn states(project: &Path, env: &Environment) -> Result<Vec<Kept>, Failure> {
    let mut environments: Vec<Option<String>> = vec![None];
    if let Ok(entries) = std::fs::read_dir(project.join(".provision/environments")) {
        let mut names: Vec<String> =
            entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        environments.extend(names.into_iter().map(Some));
    }
    let mut found = Vec::new();
    for environment in environments {
        let location = location(&**env, environment.as_deref())?;
        // Looking must not make a state where there is none.
        if location.url.is_none() && !location.folder(project).join("state.db").is_file() {
            continue;
        }
        found.push((environment, Store::open_at(project, &location)?));
    }
    Ok(found)
}

/// The resources of a provider in the states of a project, `ADDRESS`, or `ENVIRONMENT: ADDRESS`, with their types.
pub fn held_of(project: &Path, env: &Environment, provider: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut held = Vec::new();
    for (environment, store) in states(project, env)? {
        for resource in store.resources()? {
            if resource.kind.split_once('.').is_some_and(|(of, _)| of == provider) {
                let address = match &environment {
                    Some(environment) => format!("{environment}: {}", resource.address),
                    None => resource.address.to_string(),
                };
                held.push((address, resource.kind));
            }
        }
    }
    Ok(held)
}

/// Gives the fields of stored resources the names that a new version of their manifest has for them. Once done it finds
/// nothing to do; it says which resources it changed.
pub fn migrate(project: &Path, env: &Environment, user: &str, manifest: &Manifest) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for (environment, store) in states(project, env)? {
        let mut puts = Vec::new();
        for mut resource in store.resources()? {
            let spec = resource.kind.split_once('.').filter(|(of, _)| *of == manifest.name);
            let Some(spec) = spec.and_then(|(_, kind)| manifest.types.get(kind)) else { continue };
            let renamed = [&mut resource.inputs, &mut resource.attributes].map(|fields| rename(fields, &spec.renamed));
            if renamed.contains(&true) {
                resource.updated_at = provision_state::now();
                puts.push(resource);
            }
        }
        if puts.is_empty() {
            continue;
        }
        all.extend(puts.iter().map(|resource| match &environment {
            Some(environment) => format!("{environment}: {}", resource.address),
            None => resource.address.to_string(),
        }));
        let lease = Lease::acquire(&store, user)?;
        store.refuse_older()?;
        store.edit(&lease, &NewChange::new("upgrade", "cli"), &Edit { puts, ..Edit::default() })?;
        store.checkpoint()?;
    }
    Ok(all)
}

/// Renames fields, keeping their order; whether any had its old name.
fn rename(fields: &mut Map, renamed: &IndexMap<String, String>) -> bool {
    let had = fields.keys().any(|name| renamed.contains_key(name));
    if had {
        let old = std::mem::take(fields);
        fields.extend(old.into_iter().map(|(name, value)| (renamed.get(&name).cloned().unwrap_or(name), value)));
    }
    had
}
