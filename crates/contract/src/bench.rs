//! Owns the bench a type is tried on: a state in memory, a cloud, and everything that was said meanwhile.

use crate::cloud::{self, Target};
use crate::record::Recorder;
use crate::samples::{CANARY, Samples};
use crate::tamper::{Tampered, TamperedCommands};
use crate::{Suite, Way};
use provision_diagnostic::{Code, Failure};
use provision_engine::{Actor, ApplyOptions, Environment, Host, Input, PlanOptions, Project, Session, Status};
use provision_model::{Action, Address, Identity, Json, Map, PlanRow, Remote};
use provision_providers::{
    Account, Clock, Consents, Control, Mask, Opening, Operation, Outside, StepKind, SystemClock, Wire,
};
use provision_registry::{Auth, Consent, Destination, Lock, Manifest, Module, PROJECT, Protocol, Registry};
use provision_state::Store;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// The lineage under which recordings are made: what marks resources is the same every time.
const LINEAGE: &str = "contractcontractcontract";

/// Where recordings are played.
const REPLAYED: &str = "https://replayed.invalid";

/// The bench of one type.
pub struct Bench<'a> {
    suite: &'a Suite,
    pub manifest: &'a Arc<Manifest>,
    pub samples: Samples<'a>,
    store: Arc<Store>,
    /// The project's folder, for types that work on this machine.
    folder: tempfile::TempDir,
    pub clock: Arc<dyn Clock>,
    pub tampered: Arc<Tampered>,
    recorder: Option<Arc<Recorder>>,
    env: Environment,
    registry: Arc<Registry>,
    /// The manifest in `registry`: that of a module has commands on which something can go wrong.
    opened: Arc<Manifest>,
    /// Everything a person could have seen.
    said: Mutex<Vec<String>>,
    secrets: Vec<String>,
}

/// How an apply went.
pub struct Applied {
    pub failure: Option<Failure>,
    pub retried: bool,
}

impl<'a> Bench<'a> {
    pub fn new(suite: &'a Suite, manifest: &'a Arc<Manifest>, samples: Samples<'a>) -> Result<Self, Failure> {
        let fixed = suite.record.is_some() || matches!(suite.target, Target::Replay(_));
        let store = if fixed { Store::in_memory_as(LINEAGE)? } else { Store::in_memory()? };
        let mut env = suite.env.clone();
        let folder = tempfile::Builder::new()
            .prefix("nup")
            .tempdir()
            .map_err(|error| Failure::new(Code::ProviderTest, format!("cannot make a folder to test in: {error}")))?;
        trust(manifest, suite, &env).write(folder.path())?;
        let is_module = manifest.has_commands(samples.spec);
        if is_module {
            let (given, project) = (env, folder.path().display().to_string());
            env = Arc::new(move |name: &str| if name == PROJECT { Some(project.clone()) } else { given(name) });
        } else if suite.target == Target::Sandbox {
            let variables = cloud::sandbox_environment();
            env = Arc::new(move |name: &str| variables.get(name).cloned());
        }
        if matches!(suite.target, Target::Replay(_)) {
            // Nothing is asked with it.
            let given = env;
            env = Arc::new(move |name: &str| given(name).or_else(|| Some(format!("{CANARY}replayed"))));
        }
        let secrets = secrets(manifest, &samples, &env);
        // A cloud may repeat a credential too.
        secrets.iter().for_each(|secret| store.sealer().note(&Json::from(secret.as_str())));
        let (mut clock, mut wire) = cloud::outside(&suite.target, &samples.kind(), &env)?;
        if is_module {
            // What a module works on takes the time it takes.
            clock = Arc::new(SystemClock);
        }
        let recorder = suite.record.as_ref().map(|folder| {
            let names = secret_names(manifest);
            let known = store.clone();
            Arc::new(Recorder::new(folder, &samples.kind(), Arc::new(move |text: &str| known.mask(text)), names))
        });
        if let Some(recorder) = &recorder {
            wire = cloud::recorded(wire, recorder.clone());
        }
        let tampered = Arc::new(Tampered::new(wire, manifest));
        let (mut registry, mut opened) = (suite.registry.clone(), manifest.clone());
        if let Some(module) = &manifest.module {
            let commands = TamperedCommands { inner: module.open(&*env), tampered: tampered.clone() };
            let module = Some(Module::Session(Arc::new(commands)));
            let own = Manifest { module, ..Manifest::clone(manifest) };
            opened = Arc::new(own.clone());
            registry = Arc::new(registry.with(vec![own]));
        }
        let said = Mutex::default();
        Ok(Self {
            suite,
            manifest,
            samples,
            store,
            folder,
            clock,
            tampered,
            recorder,
            env,
            registry,
            opened,
            said,
            secrets,
        })
    }

    /// Writes the recording, if there is one.
    pub fn finish(&self) -> Result<(), Failure> {
        self.recorder.as_ref().map_or(Ok(()), |recorder| recorder.finish())
    }

    fn outside(&self) -> Outside {
        cloud::of(&self.suite.target, self.clock.clone(), self.tampered.clone() as Arc<dyn Wire>)
    }

    /// Whether its calls go over a wire, on which something can go wrong.
    pub fn remote(&self) -> bool {
        self.manifest.protocol != Protocol::Rust
    }

    /// Whether the commands of a Nushell module are what is tested.
    pub fn is_module(&self) -> bool {
        self.manifest.has_commands(self.samples.spec)
    }

    /// Whether it can be seen past the state.
    pub fn sees(&self) -> bool {
        self.remote() || self.samples.spec.read.is_some()
    }

    /// A session of a new process over the same state.
    pub fn session(&self) -> Session {
        let folder = self.folder.path().to_path_buf();
        let project = Project::new(folder, self.registry.clone(), self.suite.evaluator.clone());
        let mut host = Host::over(self.env.clone(), self.outside());
        host.rust = self.suite.rust.clone();
        // One after the other, so that a recording is in order.
        host.readers = 1;
        Session::over(self.store.clone(), project, host, Actor::vouched("contract", "cli"))
    }

    fn endpoint(&self) -> Option<&str> {
        match &self.suite.target {
            Target::Network(endpoint) => endpoint.as_deref(),
            Target::Replay(_) => Some(REPLAYED),
            Target::Sandbox => None,
        }
    }

    /// The project with the resource, or with what it needs alone.
    pub fn project(&self, it: Option<&Map>) -> Json {
        self.samples.project(self.endpoint(), it)
    }

    fn hear(&self, text: String) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn heard(&self, failure: Failure) -> Failure {
        self.hear(serde_json::to_string(&failure).unwrap_or_default());
        failure
    }

    /// What is to be done so that the world is as configured.
    pub fn plan(&self, it: Option<&Map>) -> Result<Vec<PlanRow>, Failure> {
        let input = Input::Data { value: self.project(it), note: None };
        let options = PlanOptions { deep: true, ..PlanOptions::default() };
        let plan = self.session().plan(&input, &options).map_err(|failure| self.heard(failure))?;
        let rows: Vec<PlanRow> = plan.rows().cloned().collect();
        self.hear(serde_json::to_string(&rows).unwrap_or_default());
        Ok(rows)
    }

    /// Applies the configuration, or rows of a plan.
    pub fn apply(&self, it: Option<&Map>, rows: Option<&[PlanRow]>) -> Applied {
        self.apply_config(self.project(it), rows)
    }

    /// Takes everything down.
    pub fn clear(&self) -> Applied {
        let mut nothing = self.project(None);
        nothing["resources"] = Json::Object(Map::new());
        self.apply_config(nothing, None)
    }

    fn apply_config(&self, value: Json, rows: Option<&[PlanRow]>) -> Applied {
        let rows: Option<Vec<Json>> =
            rows.map(|rows| rows.iter().filter_map(|row| serde_json::to_value(row).ok()).collect());
        let input = Input::Data { value, note: None };
        let options = ApplyOptions { parallel: 1, yes: rows.is_none(), input, ..ApplyOptions::default() };
        let events = Mutex::new(Vec::new());
        let sink = |event| {
            if let Ok(mut events) = events.lock() {
                events.push(event);
            }
        };
        let done = self.session().apply(rows.as_deref(), &options, &sink);
        let events = events.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.hear(serde_json::to_string(&events).unwrap_or_default());
        Applied {
            failure: done.err().map(|failure| self.heard(failure)),
            retried: events.iter().any(|event| event.status == Status::Retrying),
        }
    }

    /// The resource in the state: its id and what was last sent.
    pub fn stored(&self) -> Result<Option<provision_model::Resource>, Failure> {
        self.store.resource("it")
    }

    /// What drifted of the resource, by path.
    pub fn drift(&self) -> Result<Vec<String>, Failure> {
        let (rows, problems) = self.session().drift(true).map_err(|failure| self.heard(failure))?;
        Failure::check(problems).map_err(|failure| self.heard(failure))?;
        self.hear(serde_json::to_string(&rows).unwrap_or_default());
        let ours = rows.into_iter().filter(|row| row.address.as_ref().is_some_and(|it| it.as_str() == "it"));
        Ok(ours.filter_map(|row| row.path).collect())
    }

    /// The account, asked past the engine.
    pub fn account(&self) -> Result<Account, Failure> {
        let settings = self.samples.account(self.endpoint());
        let config = provision_model::AccountConfig { provider: self.manifest.name.clone(), settings };
        let opening = Opening {
            env: &|name| (self.env)(name),
            outside: &self.outside(),
            project: self.folder.path(),
            rust: &self.suite.rust,
            mask: &self.mask(),
            consents: Consents { trust: &Lock::read(self.folder.path())?.trust, foreign: false },
        };
        Account::open(&self.manifest.name, &self.opened, Some(&config), &opening)
    }

    fn mask(&self) -> Mask {
        let store = self.store.clone();
        Arc::new(move |text: &str| store.mask(text))
    }

    /// Does something with the account that the engine does not know of.
    pub fn past<T>(&self, body: impl FnOnce(&Account, &Control<'_>) -> Result<T, String>) -> Result<T, String> {
        let account = self.account().map_err(|failure| failure.to_string())?;
        let never = AtomicBool::new(false);
        let control = Control {
            interrupt: &never,
            winding_down: &never,
            may_change: &|| true,
            clock: &*self.clock,
            retrying: &|_, _| true,
        };
        body(&account, &control)
    }

    /// The region that the resource is in.
    fn region(&self, account: &Account) -> Option<String> {
        let own = self.manifest.region.as_ref().and_then(|region| {
            let stored = self.stored().ok().flatten()?;
            stored.inputs.get(&region.field).and_then(Json::as_str).map(str::to_owned)
        });
        own.or_else(|| account.region.clone())
    }

    /// How many resources the cloud shows with the mark of this state; `None` where it lists none.
    pub fn marked(&self) -> Result<Option<Vec<Remote>>, String> {
        self.past(|account, control| {
            let label = self.samples.spec.labels.as_ref().map(|_| (provision_model::LABEL_STATE, self.store.lineage()));
            let region = self.region(account);
            account
                .provider
                .list(self.samples.name, region.as_deref(), label, control)
                .map_err(|error| error.to_string())
        })
    }

    /// The resource as the cloud shows it.
    pub fn seen(&self, id: &str) -> Result<Option<Remote>, String> {
        self.past(|account, control| {
            let region = self.region(account);
            if self.samples.spec.read.is_none() {
                let all = account.provider.list(self.samples.name, region.as_deref(), None, control);
                let found = all.map_err(|error| error.to_string())?.into_iter().flatten().find(|one| one.id == id);
                return Ok(found);
            }
            account.provider.read(self.samples.name, region.as_deref(), id, control).map_err(|error| error.to_string())
        })
    }

    /// The type of a resource of the state that the cloud does not show by its id; `None` where it does.
    pub fn is_lost(&self, address: &str) -> Result<Option<String>, String> {
        let Some(resource) = self.store.resource(address).map_err(|failure| failure.to_string())? else {
            return Ok(None);
        };
        let Ok((manifest, spec)) = self.registry.type_of(&resource.kind) else { return Ok(None) };
        if manifest.name != self.manifest.name || spec.read.is_none() {
            return Ok(None);
        }
        let found = self.past(|account, control| {
            let kind = provision_model::type_name(&resource.kind);
            let region = self.region(account);
            let read = account.provider.read(kind, region.as_deref(), &resource.remote_id, control);
            read.map_err(|error| error.to_string())
        })?;
        Ok(found.is_none().then_some(resource.kind))
    }

    /// Has the next plan replace something that the resource needs, or takes that back.
    pub fn mark(&self, address: &str, undo: bool) -> Result<(), Failure> {
        self.session().mark(address, undo).map(drop)
    }

    /// A value with its references in the place of which stands what they refer to.
    pub fn resolved(&self, value: &Json) -> Result<Json, String> {
        if let Some(reference) = value.get("$ref") {
            let part = |name: &str| reference[name].as_str().unwrap_or_default().to_owned();
            let (address, attribute) = (part("address"), part("attribute"));
            let found = self.store.resource(&address).map_err(|failure| failure.to_string())?;
            let value = found.and_then(|it| it.attributes.get(&attribute).or(it.inputs.get(&attribute)).cloned());
            return value.ok_or_else(|| format!("`{address}` has no `{attribute}`"));
        }
        match value {
            Json::Array(items) => items.iter().map(|item| self.resolved(item)).collect(),
            other => Ok(other.clone()),
        }
    }

    /// Changes a field, or deletes the resource, as somebody else would.
    pub fn meddle(&self, id: &str, change: Option<(&str, &Json)>) -> Result<(), String> {
        let remote = self.seen(id)?.ok_or("it is gone")?;
        let mut inputs = remote.fields.clone();
        if let Some((name, value)) = change {
            inputs.insert(name.to_owned(), value.get("$secret").unwrap_or(value).clone());
        }
        self.past(|account, control| {
            let operation = Operation {
                address: Address::new("it"),
                type_name: self.samples.name.to_owned(),
                action: if change.is_some() { Action::Update } else { Action::Delete },
                remote_id: Some(id.to_owned()),
                inputs,
                secrets: Default::default(),
                prior: remote.fields.clone(),
                prior_status: self.samples.spec.word(&remote).cloned(),
                status: self.samples.spec.word(&remote).cloned(),
                restore: None,
                host: remote.host.as_ref().map(|host| host.id.clone()),
                changed: change.iter().map(|(name, _)| (*name).to_owned()).collect(),
                identity: remote.identity.clone().unwrap_or(Identity { state: "nobody".into(), op: "nothing".into() }),
                generation: 1,
                region: self.region(account),
                name: "contract-it".to_owned(),
            };
            for step in account.provider.steps(&operation) {
                let sent = account.provider.send(&operation, &step, control).map_err(|error| error.to_string())?;
                let waited = account.provider.wait(&operation, &step, id, &sent, control);
                match waited {
                    Err(error) if step.kind != StepKind::Delete => return Err(error.to_string()),
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// The fields to be changed in a way, each with another value or with why there is none.
    pub fn tries(&self, way: Way) -> Vec<&'a str> {
        self.samples.fields(way)
    }

    /// The secrets that were seen where they must not be.
    pub fn leaks(&self) -> Vec<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
        let kept = self.store.export().map(|export| export.to_string()).unwrap_or_default();
        let logged = self.store.audit_page(1).map(|rows| serde_json::to_string(&rows).unwrap_or_default());
        let logged = logged.unwrap_or_default();
        let places = [("what was shown", said), ("the state", kept), ("the audit log", logged)];
        let mut found = Vec::new();
        for (place, text) in &places {
            for secret in self.secrets.iter().filter(|secret| text.contains(secret.as_str())) {
                // The secret itself must not be in the message either.
                found.push(format!("{}… in {place}", secret.chars().take(9).collect::<String>()));
            }
        }
        found
    }
}

/// Whoever runs the suite names the cloud it runs against, and so who gets the credentials.
fn trust(manifest: &Manifest, suite: &Suite, env: &Environment) -> Lock {
    let given = match &suite.target {
        Target::Network(endpoint) => endpoint.clone(),
        Target::Replay(_) => Some(REPLAYED.to_owned()),
        Target::Sandbox => None,
    };
    let variables = manifest.endpoint.env.iter().filter_map(|variable| env(&variable.name));
    let named = given.into_iter().chain(variables).chain([manifest.endpoint.default.clone()]);
    let mut lock = Lock::default();
    for destination in named.filter_map(|url| Destination::of(&url).ok()) {
        lock.trust.add(&Consent::Host { provider: manifest.name.clone(), host: destination.host });
    }
    lock
}

/// Everything that must not be seen: credentials, and the values of sensitive fields.
fn secrets(manifest: &Manifest, samples: &Samples<'_>, env: &Environment) -> Vec<String> {
    let credentials = manifest.auth.iter().flat_map(|auth| match auth {
        Auth::Bearer { token } => vec![token],
        Auth::Header { value, .. } => vec![value],
        Auth::Basic { password, .. } => vec![password],
        Auth::Sigv4 { secret_key, session_token, .. } => {
            std::iter::once(secret_key).chain(session_token.as_ref()).collect()
        }
    });
    let mut all: Vec<String> =
        credentials.flat_map(|credential| &credential.env).filter_map(|name| env(name)).collect();
    for (name, field) in samples.spec.fields.iter().filter(|(_, field)| field.sensitive) {
        let first = samples.first();
        let values = [first.get(name).cloned(), samples.another(name, first.get(name)).ok()];
        for value in values.into_iter().flatten() {
            all.extend(value.get("$secret").unwrap_or(&value).as_str().map(str::to_owned));
        }
        let _ = field;
    }
    all.retain(|secret| secret.len() > 5);
    all
}

/// The names under which a cloud answers with something secret, whatever type it is of: others are made on the way.
fn secret_names(manifest: &Manifest) -> Vec<String> {
    let fields = manifest.types.values().flat_map(|spec| spec.attributes.iter().chain(&spec.fields));
    let all = fields.filter(|(_, field)| field.sensitive);
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]").to_owned();
    all.flat_map(|(name, field)| [Some(name.clone()), field.wire.as_deref().map(last), field.read.as_deref().map(last)])
        .flatten()
        .filter(|name| !name.is_empty())
        .collect()
}
