//! Owns what an account offers.

use crate::commands::Session;
use crate::configuration::accounts::open_account;
use crate::configuration::reading::configured;
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_model::{Json, Map};

impl Session {
    /// What the account of a provider offers: all catalogues of its manifest, or one. Every row has every column.
    pub fn catalog(&self, provider: &str, only: Option<&str>, region: Option<&str>) -> Result<Vec<Map>, Failure> {
        let Some(manifest) = self.workspace.project.registry.manifest(provider).cloned() else {
            return Err(self
                .workspace
                .project
                .registry
                .type_of(provider)
                .err()
                .unwrap_or_else(|| Failure::new(Code::ProviderUnknown, format!("there is no provider `{provider}`"))));
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
            return Err(Failure::new(Code::ProviderNoCatalog, message).with_help(help));
        }
        let config = configured(&self.workspace).unwrap_or_default();
        let kind = format!("{provider}.{}", manifest.types.keys().next().map_or("", String::as_str));
        let account = open_account(&self.workspace, provider, &kind, config.accounts.get(provider))?;
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
                .catalog(name, region, &self.workspace.host.reading())
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
