//! Owns the accounts of clouds: opened once each, with their secrets, and as a plan keeps them.

use crate::workspace::Workspace;
use indexmap::IndexMap;
use provision_diagnostic::{Code, Failure, locked};
use provision_model::{AccountConfig, Config, Json, Map, SecretSource, Sources};
use provision_providers::{Account, Consents, Mask, Opening};
use provision_registry::{Lock, Origin};
use std::sync::Arc;

/// Every account by its name: as the state knows them, as the configuration has them now.
pub(crate) fn known_accounts(on: &Workspace, config: &Config) -> Result<IndexMap<String, AccountConfig>, Failure> {
    let mut accounts: IndexMap<String, AccountConfig> = on.store.accounts()?;
    accounts.extend(config.accounts.clone());
    Ok(accounts)
}

/// Opens an account once and keeps it, with its connections and budget.
pub(crate) fn open_account(
    on: &Workspace,
    name: &str,
    kind: &str,
    config: Option<&AccountConfig>,
) -> Result<Account, Failure> {
    let (manifest, _) = on.project.registry.type_of(kind)?;
    let key = serde_json::to_string(&(name, config)).map_err(|error| {
        Failure::new(Code::ConfigInvalid, format!("the account `{name}` cannot be written down: {error}"))
            .with_help("Give its settings as texts, numbers and records.")
    })?;
    let mut accounts = locked(&on.accounts);
    if let Some(account) = accounts.get(&key) {
        return Ok(account.clone());
    }
    let opened = config.map(|config| opened_settings(on, config)).transpose()?;
    let trust = Lock::read(&on.project.folder)?.trust;
    let origin = on.project.registry.provider(&manifest.name).map(|provider| provider.origin);
    let opening = Opening {
        env: &|variable| (on.host.env)(variable),
        outside: &on.host.outside,
        project: &on.project.folder,
        rust: &on.host.rust,
        mask: &mask_of(on),
        consents: Consents { trust: &trust, foreign: origin == Some(Origin::Project) },
    };
    let account = Account::open(name, manifest, opened.as_ref(), &opening)?;
    accounts.insert(key, account.clone());
    Ok(account)
}

/// Accounts as a plan keeps them: a credential written out in the file is sealed.
pub(crate) fn sealed_accounts(on: &Workspace, config: &Config) -> Result<IndexMap<String, AccountConfig>, Failure> {
    let seal = |(name, value): (&String, &Json)| -> Result<(String, Json), Failure> {
        let names = |value: &Json| value.get("$env").is_some_and(Json::is_string);
        let source =
            value.get("$secret").is_some_and(|it| names(it) || matches!(SecretSource::read(it), Some(Some(_))));
        let plain = (name == "endpoint" || name == "region") && value.is_string();
        let open = plain || source || names(value) || value.is_boolean() || value.is_number() || value.is_null();
        Ok((name.clone(), if open { value.clone() } else { on.store.sealer().seal(value)? }))
    };
    // A resource may outlive its account's block in the file.
    let mut accounts: IndexMap<String, AccountConfig> = on.store.accounts()?;
    for (name, account) in &config.accounts {
        let settings = account.settings.iter().map(seal).collect::<Result<_, _>>()?;
        accounts.insert(name.clone(), AccountConfig { provider: account.provider.clone(), settings });
    }
    Ok(accounts)
}

/// Outputs as they are kept: an expression with a secret written out in it is sealed.
pub(crate) fn sealed_outputs(on: &Workspace, outputs: &Map) -> Result<Map, Failure> {
    outputs
        .iter()
        .map(|(name, value)| {
            let secret = provision_model::has_secret(value);
            Ok((name.clone(), if secret { on.store.sealer().seal(value)? } else { value.clone() }))
        })
        .collect()
}

pub(crate) fn env_json(on: &Workspace, name: &str) -> Result<Json, Failure> {
    (on.host.env)(name).map(Json::from).ok_or_else(|| {
        Failure::new(Code::ProviderCredential, format!("the environment variable {name} is not set"))
            .with_help(format!("Set it, for example `$env.{name} = …`."))
    })
}

/// Takes out of a text what the state keeps as secret, and what this session came to know.
fn mask_of(on: &Workspace) -> Mask {
    let store = on.store.clone();
    Arc::new(move |text: &str| store.mask(text))
}

fn opened_settings(on: &Workspace, config: &AccountConfig) -> Result<AccountConfig, Failure> {
    let settings = config
        .settings
        .iter()
        .map(|(name, value)| {
            let value = on.store.sealer().open_value(value)?;
            let value = match value.get("$secret").and_then(SecretSource::read).flatten() {
                Some(source) => on.secret(&source)?,
                None => value,
            };
            Ok((name.clone(), value))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(AccountConfig { provider: config.provider.clone(), settings })
}
