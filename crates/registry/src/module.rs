//! Owns providers that are Nushell modules: what their `schema` says becomes a manifest.

use crate::lint::{Linted, lint_value};
use crate::{Call, Manifest, TypeSpec};
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_model::{Json, Map};
use provision_nickel::Evaluator;
use provision_worker::{COMMANDS, Commands, Described, MODULE, Worker, describe};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file that makes a folder a module.
pub const FILE: &str = MODULE;
const WRONG: Code = Code::ProviderModule;

/// The variable that tells a module which folder its paths are from.
pub const PROJECT: &str = "PROVISION_PROJECT";

/// The variables that a module sees: what programs need to find their way. Everything else it is told is a setting.
const ENVIRONMENT: [&str; 15] = [
    PROJECT,
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "SSH_AUTH_SOCK",
];

/// Who has the commands of a provider.
#[derive(Clone)]
pub enum Module {
    /// The `mod.nu` of a folder, and which commands it has.
    Folder { folder: PathBuf, commands: Vec<String> },
    /// Closures of a session.
    Session(Arc<dyn Commands>),
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Module::Folder { folder, .. } => write!(f, "Folder({})", folder.display()),
            Module::Session(_) => f.write_str("Session"),
        }
    }
}

impl Module {
    /// The commands for one account: a worker of its own, not started yet.
    pub fn open(&self, env: &dyn Fn(&str) -> Option<String>) -> Arc<dyn Commands> {
        match self {
            Module::Folder { folder, commands } => {
                Arc::new(Worker::new(folder.clone(), commands.clone(), environment(env)))
            }
            Module::Session(commands) => commands.clone(),
        }
    }
}

fn environment(env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    ENVIRONMENT.iter().filter_map(|name| Some(((*name).to_owned(), env(name)?))).collect()
}

/// What modules said of themselves, by folder and digest: asked again only when a file changed.
#[derive(Debug, Default)]
pub struct Schemas {
    known: Mutex<HashMap<(PathBuf, String), Manifest>>,
}

/// The manifest of the module in a folder with this digest. It is called as its folder is.
pub fn read(folder: &Path, digest: &str, evaluator: &Evaluator, schemas: &Schemas) -> Result<Manifest, Failure> {
    let key = (folder.to_path_buf(), digest.to_owned());
    let lock = || schemas.known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(&key) {
        return Ok(known.clone());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let linted = check_module(folder, &name, evaluator)?;
    let Some(manifest) = linted.sound()? else { return Err(unreadable(folder)) };
    let mut known = lock();
    // Of one folder only the last is asked for again.
    known.retain(|(other, _), _| other != folder);
    known.insert(key, manifest.clone());
    Ok(manifest)
}

fn unreadable(folder: &Path) -> Failure {
    Failure::new(WRONG, format!("what `schema` of {} gives cannot be read", folder.join(FILE).display()))
        .with_help("Run `provision provider check` on it.")
}

/// Everything wrong with the module of a folder, and its manifest where it can be read. A failure means that it cannot be
/// loaded at all.
pub fn check_module(folder: &Path, name: &str, evaluator: &Evaluator) -> Result<Linted, Failure> {
    let described = describe(folder, &COMMANDS, &environment(&|variable| std::env::var(variable).ok()))?;
    let Described { schema, commands, remarks } = described;
    let mut linted = held(name, schema, evaluator)?;
    let place = provision_worker::place(folder, "schema");
    for one in &mut linted.diagnostics {
        if one.position.is_none() {
            *one = one.clone().with_excerpt(place.clone());
        }
    }
    linted.diagnostics.splice(0..0, remarks);
    if let Some(manifest) = &mut linted.manifest {
        manifest.module = Some(Module::Folder { folder: folder.to_path_buf(), commands });
    }
    Ok(linted)
}

/// The manifest of a provider whose commands are given for one session, and what it says of itself.
pub fn given(
    name: &str,
    schema: Json,
    commands: Arc<dyn Commands>,
    evaluator: &Evaluator,
) -> Result<Manifest, Failure> {
    let mut schema = schema;
    if let Json::Object(map) = &mut schema {
        // Nobody installs it, so nobody asks for its version.
        map.entry("version").or_insert_with(|| Json::from("0.0.0"));
        map.entry("api").or_insert_with(|| Json::from(crate::ENGINE_API));
    }
    let linted = held(name, schema, evaluator)?;
    let manifest = linted.sound().map_err(|mut failure| {
        failure.first.message = format!("the provider `{name}`: {}", failure.first.message);
        failure
    })?;
    let Some(mut manifest) = manifest else {
        return Err(Failure::new(WRONG, format!("what `schema` of `{name}` gives cannot be read")));
    };
    manifest.module = Some(Module::Session(commands));
    Ok(manifest)
}

/// Holds a schema against what a manifest can say.
fn held(name: &str, schema: Json, evaluator: &Evaluator) -> Result<Linted, Failure> {
    let Json::Object(mut map) = schema else {
        return Err(Failure::new(WRONG, format!("`schema` of `{name}` does not give a record"))
            .with_help("Give `{version: …, api: …, types: {…}}`."));
    };
    let mut early = Vec::new();
    if let Some(own) = map.get("name").filter(|own| *own != name) {
        let message = format!("`schema` says that it is called {own}, and it is called `{name}`");
        early.push(Diagnostic::error(WRONG, message).with_help("Leave out `name`: the folder gives it."));
    }
    if map.get("protocol").is_some_and(|protocol| protocol != "nushell") {
        early.push(
            Diagnostic::error(WRONG, "`schema` names a protocol, which a module has not").with_help("Leave it out."),
        );
    }
    map.insert("name".to_owned(), Json::from(name));
    map.insert("protocol".to_owned(), Json::from("nushell"));
    let mut linted = lint_value(Json::Object(sorted(map)), evaluator)?;
    linted.diagnostics.splice(0..0, early);
    linted.manifest.iter_mut().flat_map(|manifest| manifest.types.values_mut()).for_each(can_be_called);
    Ok(linted)
}

/// The engine asks whether there is a way, not what it is.
fn can_be_called(spec: &mut TypeSpec) {
    let there = || Some(Call::default());
    (spec.create, spec.read, spec.list) = (there(), there(), there());
}

/// Gives the types of a manifest that say so the commands of the module beside it. What could be better is given back.
pub fn attach(manifest: &mut Manifest, folder: &Path) -> Result<Vec<Diagnostic>, Failure> {
    if manifest.types.values().all(|spec| spec.implemented_by.is_none()) {
        return Ok(Vec::new());
    }
    if !folder.join(FILE).is_file() {
        return Err(Failure::new(
            WRONG,
            format!("a type is implemented by {FILE}, which is not in {}", folder.display()),
        )
        .with_help("Put the module beside the manifest."));
    }
    let wanted = &COMMANDS[1..];
    let described = describe(folder, wanted, &environment(&|variable| std::env::var(variable).ok()))?;
    manifest.types.values_mut().filter(|spec| spec.implemented_by.is_some()).for_each(can_be_called);
    manifest.module = Some(Module::Folder { folder: folder.to_path_buf(), commands: described.commands });
    Ok(described.remarks)
}

/// Who it is comes first, whatever order a module says it in.
fn sorted(mut map: Map) -> Map {
    let first = ["name", "version", "api", "doc", "protocol"];
    let mut out: Map = first.iter().filter_map(|name| Some(((*name).to_owned(), map.shift_remove(*name)?))).collect();
    out.extend(map);
    out
}
