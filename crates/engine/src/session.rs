//! Owns a session: one project with everything a command needs, and the way to stop it.

use crate::sources::Slot;
use indexmap::IndexMap;
use provision_diagnostic::{Failure, locked};
use provision_model::{AccountConfig, Address, Config, Json, Map, SecretSource, Sources};
use provision_nickel::Evaluator;
use provision_providers::{
    ANSWER_TIMEOUT, Account, CallError, Consents, Control, Mask, Opening, Outside, RustProviders,
};
use provision_registry::{Lock, Origin, Registry};
use provision_state::{Lease, Location, Store};
use provision_worker::Worker;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Environment variables as the caller sees them.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Two ways to stop: nothing new starts, or what is in flight parks too. Parked operations are settled later.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    soft: Arc<AtomicBool>,
    hard: Arc<AtomicBool>,
}

impl Stop {
    /// Ctrl-C: starts nothing new; a second one parks what is in flight.
    pub fn interrupt(&self) {
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

/// Faults that can be built in.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The call is sent before it is written down.
    CallBeforeJournal,
    /// A create whose answer was lost is sent again without looking.
    BlindResend,
    /// Settling takes an interrupted create for one that was not made.
    SettleForgets,
    /// Settling takes an interrupted deletion for done.
    SettleTrusts,
    /// Settling takes a wait that was interrupted for one that is over.
    SettleHurries,
    /// Settling takes what was sent for arrived.
    SettleForgetsLate,
    /// A deletion is written down without being sent.
    DeleteUnsent,
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
    /// The environment of the configuration that is worked on; `None` where there are none.
    pub environment: Option<String>,
    pub stop: Stop,
    /// Clock and wire.
    pub outside: Outside,
    /// The providers that are written in Rust.
    pub rust: RustProviders,
    /// Asked when somebody else holds the lease: waits until it may be given back, false when that is not to be expected.
    pub patience: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// How many kinds are listed at a time.
    pub readers: usize,
    /// What chance decides: which of those that are ready goes first, and how long somebody waits. `None`: the machine's.
    pub dice: Option<Mutex<StdRng>>,
    /// A fault that was built in to see that the simulation finds it; never set but by it.
    #[doc(hidden)]
    pub sabotage: Option<Sabotage>,
    /// Whether its state is where the environment keeps those of this project, so that the others are found beside it.
    pub(crate) at_home: bool,
    pub(crate) accounts: Mutex<HashMap<String, Account>>,
    /// What sources of secrets gave; nothing keeps it longer than the session.
    pub(crate) asked: Mutex<HashMap<SecretSource, Slot>>,
    /// The modules that give secrets, by their folders.
    pub(crate) secret_workers: Mutex<HashMap<PathBuf, Arc<Worker>>>,
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
        Self::open_in(project, None, registry, evaluator, env, user)
    }

    /// A session on one environment of a project, which has a state of its own.
    pub fn open_in(
        project: PathBuf,
        environment: Option<String>,
        registry: Arc<Registry>,
        evaluator: Evaluator,
        env: Environment,
        user: String,
    ) -> Result<Session, Failure> {
        let outside = Outside { answer_timeout: answer_timeout(&*env)?, ..Outside::default() };
        let store = Store::open_at(&project, &location(&*env, environment.as_deref())?)?;
        Ok(Self { environment, outside, at_home: true, ..Self::over(store, project, registry, evaluator, env, user) })
    }

    /// A session over a state that is open already.
    pub fn over(
        store: Arc<Store>,
        project: PathBuf,
        registry: Arc<Registry>,
        evaluator: Evaluator,
        env: Environment,
        user: String,
    ) -> Session {
        Session {
            environment: None,
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
            outside: Outside::default(),
            rust: RustProviders::default(),
            patience: None,
            readers: 16,
            dice: None,
            sabotage: None,
            at_home: false,
            accounts: Mutex::default(),
            asked: Mutex::default(),
            secret_workers: Mutex::default(),
        }
    }

    /// The right to change something here: the lease, of a state that is not an older one than its audit log shows.
    pub(crate) fn writer(&self) -> Result<Lease, Failure> {
        let lease = self.lease()?;
        self.store.refuse_older()?;
        Ok(lease)
    }

    /// Refuses the state of another project: what it holds would be taken for what this one has no more.
    pub(crate) fn refuse_other_project(&self, name: &str) -> Result<(), Failure> {
        match self.store.project()? {
            Some(own) if !name.is_empty() && own != name => Err(Failure::new(
                "provision::state::project",
                format!("this state belongs to the project `{own}`, and the configuration is of `{name}`"),
            )
            .with_help(
                "Check PROVISION_STATE, --project and the `name` in infra.ncl. If the project was renamed, run `provision state adopt-project`.",
            )),
            _ => Ok(()),
        }
    }

    /// The right to write, once a holder that is about to give it back has done so.
    pub(crate) fn lease(&self) -> Result<Lease, Failure> {
        loop {
            match Lease::acquire(&self.store, &self.user) {
                Err(failure) if failure.code() == "provision::lease::held" => match &self.patience {
                    Some(patience) if patience() => {}
                    _ => return Err(failure),
                },
                taken => return taken,
            }
        }
    }

    /// For an operation: it ends only when it is parked.
    pub(crate) fn control<'a>(
        &'a self,
        may_change: &'a (dyn Fn() -> bool + Sync),
        retrying: &'a (dyn Fn(u32, &CallError) -> bool + Sync),
    ) -> Control<'a> {
        let (interrupt, winding_down) = (self.stop.hard_flag(), &*self.stop.soft);
        Control { interrupt, winding_down, may_change, clock: &*self.outside.clock, retrying }
    }

    /// Waits as an operation does; false when it was parked meanwhile.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        self.control(&|| false, &|_, _| true).sleep(time)
    }

    /// For what only reads: it ends as soon as a stop is asked for.
    pub(crate) fn reading(&self) -> Control<'_> {
        let clock = &*self.outside.clock;
        let soft = &*self.stop.soft;
        Control { interrupt: soft, winding_down: soft, may_change: &|| false, clock, retrying: &|_, _| true }
    }

    /// A number from 0 up to, not including, 1.
    pub(crate) fn chance(&self) -> f64 {
        match &self.dice {
            Some(dice) => dice.lock().unwrap_or_else(PoisonError::into_inner).random(),
            None => rand::random(),
        }
    }

    /// What default cloud names begin with.
    pub(crate) fn scope(&self, project: &str) -> String {
        match &self.environment {
            Some(environment) => format!("{project}-{environment}"),
            None => project.to_owned(),
        }
    }

    /// The environment's name in policies.
    pub(crate) fn environment_name(&self) -> &str {
        self.environment.as_deref().unwrap_or("default")
    }

    /// Opens an account once and keeps it, with its connections and budget.
    pub(crate) fn account(&self, name: &str, kind: &str, config: Option<&AccountConfig>) -> Result<Account, Failure> {
        let (manifest, _) = self.registry.type_of(kind)?;
        let key = serde_json::to_string(&(name, config)).map_err(|error| {
            Failure::new("provision::config::invalid", format!("the account `{name}` cannot be written down: {error}"))
                .with_help("Give its settings as texts, numbers and records.")
        })?;
        let mut accounts = locked(&self.accounts);
        if let Some(account) = accounts.get(&key) {
            return Ok(account.clone());
        }
        let opened = config.map(|config| self.opened(config)).transpose()?;
        let trust = Lock::read(&self.project)?.trust;
        let origin = self.registry.provider(&manifest.name).map(|provider| provider.origin);
        let opening = Opening {
            env: &|variable| (self.env)(variable),
            outside: &self.outside,
            project: &self.project,
            rust: &self.rust,
            mask: &self.mask(),
            consents: Consents { trust: &trust, foreign: origin == Some(Origin::Project) },
        };
        let account = Account::open(name, manifest, opened.as_ref(), &opening)?;
        accounts.insert(key, account.clone());
        Ok(account)
    }

    /// Takes out of a text what the state keeps as secret, and what this session came to know.
    pub(crate) fn mask(&self) -> Mask {
        let store = self.store.clone();
        Arc::new(move |text: &str| store.mask(text))
    }

    /// Accounts as a plan keeps them: a credential written out in the file is sealed.
    pub(crate) fn sealed_accounts(&self, config: &Config) -> Result<IndexMap<String, AccountConfig>, Failure> {
        let seal = |(name, value): (&String, &Json)| -> Result<(String, Json), Failure> {
            let names = |value: &Json| value.get("$env").is_some_and(Json::is_string);
            let source =
                value.get("$secret").is_some_and(|it| names(it) || matches!(SecretSource::read(it), Some(Some(_))));
            let plain = (name == "endpoint" || name == "region") && value.is_string();
            let open = plain || source || names(value) || value.is_boolean() || value.is_number() || value.is_null();
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
            .map(|(name, value)| {
                let value = self.store.sealer().open_value(value)?;
                let value = match value.get("$secret").and_then(SecretSource::read).flatten() {
                    Some(source) => self.secret(&source)?,
                    None => value,
                };
                Ok((name.clone(), value))
            })
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

/// The variable with the longest time that an answer of a cloud may take.
const REQUEST_TIMEOUT: &str = "PROVISION_REQUEST_TIMEOUT";

/// Longest an answer of a cloud may take.
fn answer_timeout(env: &dyn Fn(&str) -> Option<String>) -> Result<Duration, Failure> {
    let Some(text) = env(REQUEST_TIMEOUT).filter(|text| !text.is_empty()) else { return Ok(ANSWER_TIMEOUT) };
    provision_registry::time_of(&text).filter(|time| TIMEOUTS.contains(time)).ok_or_else(|| {
        Failure::new(
            "provision::config::invalid",
            format!("{REQUEST_TIMEOUT} is no time to wait for an answer: `{text}`"),
        )
        .with_help("Set it to a time from `1s` to `10min`, or remove it for one minute.")
    })
}

/// The times that can be waited for an answer.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// Where the state of an environment is kept: `PROVISION_STATE` names a database, `PROVISION_STATE_PASSWORD` and
/// `PROVISION_STATE_KEY` hold what must not stand in it.
pub fn location(env: &dyn Fn(&str) -> Option<String>, environment: Option<&str>) -> Result<Location, Failure> {
    if let Some(name) = environment
        && !Address::valid_part(name)
    {
        return Err(Failure::new(
            "provision::config::invalid",
            format!("`{name}` is not a valid name of an environment"),
        )
        .with_help("Use lower-case letters, digits, `_` and `-`, starting with a letter."));
    }
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    Ok(Location {
        url: set("PROVISION_STATE"),
        password: set("PROVISION_STATE_PASSWORD").or_else(|| set("PGPASSWORD")),
        key: set("PROVISION_STATE_KEY"),
        environment: environment.map(str::to_owned),
    })
}
