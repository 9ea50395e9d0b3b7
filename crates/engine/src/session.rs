//! Owns a session: one project with everything a command needs, and the way to stop it.

use indexmap::IndexMap;
use provision_diagnostic::Failure;
use provision_model::{AccountConfig, Config, Json, Map};
use provision_nickel::Evaluator;
use provision_providers::Account;
use provision_registry::Registry;
use provision_state::Store;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Environment variables as the caller sees them.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Two ways to stop: nothing new starts, or what is in flight parks too. Parked operations are settled later.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    soft: Arc<AtomicBool>,
    hard: Arc<AtomicBool>,
}

impl Stop {
    /// Starts nothing new; told again, parks what is in flight.
    pub fn request(&self) {
        if self.soft.swap(true, Ordering::SeqCst) {
            self.hard.store(true, Ordering::SeqCst);
        }
    }

    /// Starts nothing new, however often it is said.
    pub fn wind_down(&self) {
        self.soft.store(true, Ordering::SeqCst);
    }

    /// Parks what is in flight.
    pub fn park(&self) {
        self.soft.store(true, Ordering::SeqCst);
        self.hard.store(true, Ordering::SeqCst);
    }

    pub fn is_requested(&self) -> bool {
        self.soft.load(Ordering::SeqCst)
    }

    pub(crate) fn hard_flag(&self) -> &AtomicBool {
        &self.hard
    }

    /// The flag that says nothing new starts.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.soft.clone()
    }
}

/// One project and what a command needs to work on it.
pub struct Session {
    pub project: PathBuf,
    pub store: Arc<Store>,
    pub registry: Arc<Registry>,
    pub evaluator: Evaluator,
    pub env: Environment,
    /// Who asks: the principal of every policy question.
    pub user: String,
    /// `cli`, `webhook`, `mcp`, …
    pub source: String,
    pub import_paths: Vec<PathBuf>,
    /// Positions are shown relative to this folder.
    pub shown_from: PathBuf,
    pub stop: Stop,
    pub(crate) accounts: Mutex<HashMap<String, Account>>,
}

impl Session {
    /// A session on a project folder; opens its state.
    pub fn open(
        project: PathBuf,
        registry: Arc<Registry>,
        evaluator: Evaluator,
        env: Environment,
        user: String,
    ) -> Result<Session, Failure> {
        let store = Store::open(&project)?;
        Ok(Session {
            shown_from: project.clone(),
            project,
            store,
            registry,
            evaluator,
            env,
            user,
            source: "cli".into(),
            import_paths: Vec::new(),
            stop: Stop::default(),
            accounts: Mutex::default(),
        })
    }

    /// Opens an account once and keeps it, with its connections and budget.
    pub(crate) fn account(&self, name: &str, kind: &str, config: Option<&AccountConfig>) -> Result<Account, Failure> {
        let (manifest, _) = self.registry.type_of(kind)?;
        let key = format!("{name} {}", serde_json::to_string(&config).unwrap_or_default());
        let mut accounts = self.accounts.lock().map_err(|_| {
            Failure::new("provision::provider::unavailable", "the accounts cannot be used after a fault")
        })?;
        if let Some(account) = accounts.get(&key) {
            return Ok(account.clone());
        }
        let opened = config.map(|config| self.opened(config)).transpose()?;
        let account = Account::open(name, manifest, opened.as_ref(), &|variable| (self.env)(variable))?;
        accounts.insert(key, account.clone());
        Ok(account)
    }

    /// Accounts as a plan keeps them: a credential written out in the file is sealed.
    pub(crate) fn sealed_accounts(&self, config: &Config) -> Result<IndexMap<String, AccountConfig>, Failure> {
        let seal = |(name, value): (&String, &Json)| -> Result<(String, Json), Failure> {
            let open = name == "endpoint" || name == "region" || !value.is_string();
            Ok((name.clone(), if open { value.clone() } else { self.store.sealer().seal(value)? }))
        };
        // A resource may outlive its account's block in the file.
        let mut accounts: IndexMap<String, AccountConfig> = self.store.accounts()?;
        for (name, account) in &config.accounts {
            let settings = account.settings.iter().map(seal).collect::<Result<_, _>>()?;
            accounts.insert(name.clone(), AccountConfig { provider: account.provider.clone(), settings });
        }
        Ok(accounts)
    }

    /// Outputs as they are kept: an expression with a secret written out in it is sealed.
    pub(crate) fn sealed_outputs(&self, outputs: &Map) -> Result<Map, Failure> {
        outputs
            .iter()
            .map(|(name, value)| {
                let secret = provision_model::has_secret(value);
                Ok((name.clone(), if secret { self.store.sealer().seal(value)? } else { value.clone() }))
            })
            .collect()
    }

    fn opened(&self, config: &AccountConfig) -> Result<AccountConfig, Failure> {
        let settings = config
            .settings
            .iter()
            .map(|(name, value)| Ok((name.clone(), self.store.sealer().open_value(value)?)))
            .collect::<Result<_, Failure>>()?;
        Ok(AccountConfig { provider: config.provider.clone(), settings })
    }

    pub(crate) fn env_json(&self, name: &str) -> Result<Json, Failure> {
        (self.env)(name).map(Json::from).ok_or_else(|| {
            Failure::new("provision::provider::credential", format!("the environment variable {name} is not set"))
                .with_help(format!("Set it, for example `$env.{name} = …`."))
        })
    }
}
