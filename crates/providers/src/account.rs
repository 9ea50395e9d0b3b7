//! Owns opening an account: resolving its settings, credentials and endpoint from the configuration and environment.

use crate::auth::Authenticator;
use crate::destination::{self, Consents, Named};
use crate::mixed::Mixed;
use crate::module::{self, ModuleProvider};
use crate::network::network_for;
use crate::{Guarded, ManifestProvider, Mask, Opened, Outside, Provider, RustProviders};
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{AccountConfig, Json, Map};
use provision_registry::{Auth, Credential, Manifest, PROJECT, Protocol};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where environment variables come from; the caller decides, nothing here reads the process's own.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What opening an account takes besides its own settings.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    pub env: &'a Environment<'a>,
    pub outside: &'a Outside,
    /// The project's folder, where relative paths begin.
    pub project: &'a Path,
    /// The providers that are written in Rust.
    pub rust: &'a RustProviders,
    /// Takes out of what is told the secrets that a cloud repeats.
    pub mask: &'a Mask,
    /// Where credentials may go.
    pub consents: Consents<'a>,
}

/// An opened account.
#[derive(Clone)]
pub struct Account {
    pub name: String,
    pub provider: Arc<dyn Provider>,
    /// The region of resources that name none.
    pub region: Option<String>,
    /// How long after it was sent a request of it may still arrive.
    pub under_way: Duration,
}

impl Account {
    /// Opens an account; an absent credential is an error that names it, before any call.
    pub fn open(
        name: &str,
        manifest: &Arc<Manifest>,
        config: Option<&AccountConfig>,
        opening: &Opening<'_>,
    ) -> Result<Account, Failure> {
        let opened = Self::unguarded(name, manifest, config, opening)?;
        Ok(Account { provider: Arc::new(Guarded::new(opened.provider, opening.mask.clone())), ..opened })
    }

    fn unguarded(
        name: &str,
        manifest: &Arc<Manifest>,
        config: Option<&AccountConfig>,
        opening: &Opening<'_>,
    ) -> Result<Account, Failure> {
        let empty = Map::new();
        let settings = config.map_or(&empty, |config| &config.settings);
        let Opening { env, outside, project, .. } = *opening;
        // What this machine does itself is over when its process is.
        let under_way = if manifest.name == "local" { Duration::ZERO } else { outside.under_way() };
        let of_module = |variable: &str| match variable {
            PROJECT => Some(project.display().to_string()),
            other => env(other),
        };
        if let (Some(module), Protocol::Nushell) = (&manifest.module, manifest.protocol) {
            let (settings, secrets) = module::settings(name, manifest, settings, env)?;
            let region = manifest.region.as_ref().and_then(|region| {
                let given = settings.get(&region.field).and_then(Json::as_str).map(str::to_owned);
                given.or_else(|| region.env.iter().find_map(|name| env(name)))
            });
            let commands = module.open(&of_module);
            let provider = ModuleProvider::new(manifest.clone(), commands, settings, secrets, region.clone());
            return Ok(Account { name: name.to_owned(), provider: Arc::new(provider), region, under_way });
        }
        let region = match &manifest.region {
            None => None,
            Some(region) => {
                setting(settings, &region.field, env)?.or_else(|| region.env.iter().find_map(|name| env(name)))
            }
        };
        if manifest.protocol == Protocol::Rust {
            let opened = Opened { account: name, manifest, settings, region: region.as_deref(), opening };
            let provider = opening.rust.open(&opened)?;
            return Ok(Account { name: name.to_owned(), provider, region, under_way });
        }
        let wire = outside.wire.clone().unwrap_or_else(|| network_for(env, outside.answer_timeout));
        let outside = &Outside { wire: Some(wire), ..outside.clone() };
        let (endpoint, named) = endpoint(manifest, settings, env)?;
        let credentials: Vec<String> = manifest
            .auth
            .iter()
            .flat_map(Auth::credentials)
            .filter_map(|credential| given(settings, credential, env).transpose())
            .collect::<Result<_, _>>()?;
        destination::check(name, manifest, &endpoint, named, &credentials, opening.consents)?;
        let authenticator = authenticator(name, manifest, settings, env)?;
        let wire = ManifestProvider::new(manifest.clone(), endpoint.clone(), authenticator, region.clone(), outside);
        let provider: Arc<dyn Provider> = match &manifest.module {
            None => Arc::new(wire),
            Some(module) => {
                let (mut told, mut secrets) = module::settings(name, manifest, settings, env)?;
                told.insert("endpoint".into(), Json::from(endpoint));
                for credential in manifest.auth.iter().flat_map(Auth::credentials) {
                    if let Some(found) = given(settings, credential, env)? {
                        secrets.push(found.clone());
                        told.insert(credential.setting.clone(), Json::from(found));
                    }
                }
                let commands = module.open(&of_module);
                let commands = ModuleProvider::new(manifest.clone(), commands, told, secrets, region.clone());
                Arc::new(Mixed { wire, commands })
            }
        };
        Ok(Account { name: name.to_owned(), provider, region, under_way })
    }
}

pub(crate) fn setting(settings: &Map, name: &str, env: &Environment<'_>) -> Result<Option<String>, Failure> {
    match settings.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(value) => {
            let inner = value.get("$secret").unwrap_or(value);
            if let Some(text) = inner.as_str() {
                return Ok(Some(text.to_owned()));
            }
            match inner.get("$env").and_then(Json::as_str) {
                Some(variable) => match env(variable).filter(|value| !value.is_empty()) {
                    Some(value) => Ok(Some(value)),
                    None => Err(absent(name, &[variable.to_owned()])),
                },
                None => {
                    Err(Failure::new(Code::ConfigInvalid, format!("the provider setting `{name}` is not a string"))
                        .with_help("Give a string, or `p.env \"NAME\"`."))
                }
            }
        }
    }
}

/// A credential: the account's setting, else the first of its variables that is set.
fn given(settings: &Map, credential: &Credential, env: &Environment<'_>) -> Result<Option<String>, Failure> {
    let variable = || credential.env.iter().find_map(|name| env(name).filter(|value| !value.is_empty()));
    Ok(setting(settings, &credential.setting, env)?.or_else(variable))
}

pub(crate) fn absent(what: &str, variables: &[String]) -> Failure {
    Failure::new(
        Code::ProviderCredential,
        format!("the credential `{what}` is absent: {} is not set", variables.join(" or ")),
    )
    .with_help(format!("Set it, for example `$env.{} = …`.", variables.first().map_or("NAME", String::as_str)))
}

/// The endpoint, and who named it. One that the file takes from a variable of its own choice is the file's.
fn endpoint(manifest: &Manifest, settings: &Map, env: &Environment<'_>) -> Result<(String, Named), Failure> {
    let own = manifest.endpoint.env.iter().find_map(|variable| {
        let value = env(&variable.name).filter(|value| !value.is_empty())?;
        Some(format!("{}{}", value.trim_end_matches('/'), variable.suffix))
    });
    let (found, named) = match (setting(settings, "endpoint", env)?, own) {
        // What the user's own environment says too is the user's.
        (Some(found), Some(own)) if found.trim_end_matches('/') == own => (found, Named::Environment),
        (Some(found), _) => (found, Named::File),
        (None, Some(own)) => (own, Named::Environment),
        (None, None) => (manifest.endpoint.default.clone(), Named::Manifest),
    };
    Ok((found.trim_end_matches('/').to_owned(), named))
}

fn authenticator(
    account: &str,
    manifest: &Manifest,
    settings: &Map,
    env: &Environment<'_>,
) -> Result<Authenticator, Failure> {
    if manifest.auth.is_empty() {
        return Ok(Authenticator::None);
    }
    let get = |credential: &Credential| given(settings, credential, env);
    for auth in &manifest.auth {
        let found = match auth {
            Auth::Bearer { token } => get(token)?
                .map(|token| Authenticator::Header { name: "Authorization".into(), value: format!("Bearer {token}") }),
            Auth::Header { name, value } => {
                get(value)?.map(|value| Authenticator::Header { name: name.clone(), value })
            }
            Auth::Basic { username, password } => match (get(username)?, get(password)?) {
                (Some(username), Some(password)) => Some(Authenticator::basic(&username, &password)),
                _ => None,
            },
            Auth::Sigv4 { service, access_key, secret_key, session_token } => {
                match (get(access_key)?, get(secret_key)?) {
                    (Some(access_key), Some(secret_key)) => Some(Authenticator::Sigv4 {
                        service: service.clone(),
                        access_key,
                        secret_key,
                        session_token: session_token.as_ref().map_or(Ok(None), get)?,
                    }),
                    _ => None,
                }
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let needed = manifest.auth.iter().take(1).flat_map(Auth::credentials);
    let diagnostics: Vec<Diagnostic> = needed
        .filter(|credential| !matches!(get(credential), Ok(Some(_))))
        .map(|credential| *absent(&format!("{account}.{}", credential.setting), &credential.env).first)
        .collect();
    Failure::check(diagnostics)?;
    Ok(Authenticator::None)
}
