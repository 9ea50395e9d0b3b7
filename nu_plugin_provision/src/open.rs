//! Owns opening a session for a command: the project, the environment, who asks, what the settings say.

use crate::{ProvisionPlugin, settling};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{HandlerGuard, LabeledError, SignalAction, Signature, Span, Spanned, SyntaxShape, Value};
use provision_diagnostic::{Code, Failure};
use provision_engine::{Actor, Host, Project, Session, find_project};
use provision_nu_bridge::{env_paths, labeled, resolve_path, user_dir};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Adds the flag every command of a project has.
pub fn project_flag(signature: Signature) -> Signature {
    signature
        .named("project", SyntaxShape::Directory, "Folder of the project; found upwards from here by default.", None)
        .named(
            "environment",
            SyntaxShape::String,
            "Environment of the project, `$env.PROVISION_ENVIRONMENT` by default.",
            None,
        )
}

/// The environment that `--environment` names, or the variable.
pub fn environment(engine: &EngineInterface, call: &EvaluatedCall) -> Result<Option<String>, LabeledError> {
    if let Some(given) = call.get_flag::<String>("environment")? {
        return Ok(Some(given));
    }
    let variable = engine.get_env_var("PROVISION_ENVIRONMENT")?;
    Ok(variable.and_then(|value| value.coerce_into_string().ok()).filter(|name| !name.is_empty()))
}

/// The folder `--project` names, or the one found upwards from the current folder.
pub fn project_folder(engine: &EngineInterface, call: &EvaluatedCall) -> Result<Option<PathBuf>, LabeledError> {
    match call.get_flag::<Spanned<String>>("project")? {
        Some(given) => {
            let folder = resolve_path(engine, &given.item)?;
            if folder.is_dir() {
                return Ok(Some(folder));
            }
            let failure = Failure::new(Code::ConfigNoProject, format!("there is no folder {}", folder.display()))
                .with_help("Name an existing folder with --project.");
            Err(labeled(&failure, given.span, "this folder"))
        }
        None => Ok(find_project(&PathBuf::from(engine.get_current_dir()?))),
    }
}

/// The project folder of a command that needs one.
pub fn required_project(engine: &EngineInterface, call: &EvaluatedCall) -> Result<PathBuf, LabeledError> {
    project_folder(engine, call)?.ok_or_else(|| {
        let failure = Failure::new(Code::ConfigNoProject, "there is no infra.ncl here or in a folder above")
            .with_help("Go to a project folder, or name one with --project.");
        labeled(&failure, call.head, "this needs a project")
    })
}

/// The folder of the state, which may be damaged.
pub fn state_folder(engine: &EngineInterface, call: &EvaluatedCall) -> Result<PathBuf, LabeledError> {
    let location = provision_engine::Location { environment: environment(engine, call)?, ..Default::default() };
    Ok(location.folder(&required_project(engine, call)?))
}

/// A session on the project of this call.
pub fn session(
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
) -> Result<Session, LabeledError> {
    let project = required_project(engine, call)?;
    session_in(plugin, engine, call.head, &project, environment(engine, call)?)
}

/// A session on a folder.
pub fn session_in(
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    span: Span,
    project: &Path,
    environment: Option<String>,
) -> Result<Session, LabeledError> {
    check_settings(engine)?;
    settling::wait(engine, project);
    let raised = |failure: Failure| labeled(&failure, span, "while opening the project");
    let (project, mut host, actor) = parts(plugin, engine, span, project, environment)?;
    settling::be_patient(&mut host, &project.folder, engine);
    Session::open(project, host, actor).map_err(raised)
}

/// A session on a folder whose state cannot be opened: its own is in memory, and gone with it.
pub fn session_without_state(
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    span: Span,
    project: &Path,
    environment: Option<String>,
) -> Result<Session, LabeledError> {
    let (project, host, actor) = parts(plugin, engine, span, project, environment)?;
    Session::in_memory(project, host, actor).map_err(|failure| labeled(&failure, span, "while opening the project"))
}

/// What a session on a folder consists of.
fn parts(
    plugin: &ProvisionPlugin,
    engine: &EngineInterface,
    span: Span,
    folder: &Path,
    environment: Option<String>,
) -> Result<(Project, Host, Actor), LabeledError> {
    let raised = |failure: Failure| labeled(&failure, span, "while opening the project");
    let user_dir = user_dir(engine)?;
    let registry = plugin.registry.get(Some(folder), user_dir.as_deref(), &plugin.evaluator).map_err(raised)?;
    let mut project = Project::new(folder.to_path_buf(), registry, plugin.evaluator.clone());
    project.environment = environment;
    project.import_paths = env_paths(engine, "NICKEL_IMPORT_PATH")?;
    project.shown_from = PathBuf::from(engine.get_current_dir()?);
    // Asked for once: the engine does not answer any more when the events of an apply are being streamed.
    let variables = variables(engine)?;
    let actor = actor(&variables).map_err(raised)?;
    let mut host = Host::new(Arc::new(move |name: &str| variables.get(name).cloned())).map_err(raised)?;
    host.rust = plugin.rust.clone();
    Ok((project, host, actor))
}

/// Has Ctrl-C stop what a session does, for as long as the guard is kept.
pub fn stoppable(engine: &EngineInterface, session: &Session) -> Result<HandlerGuard, LabeledError> {
    let stop = session.workspace.host.stop.clone();
    Ok(engine.register_signal_handler(Box::new(move |action| {
        if action == SignalAction::Interrupt {
            stop.interrupt();
        }
    }))?)
}

/// The environment variables that are texts, and `PATH`, which Nushell has as a list.
pub fn variables(engine: &EngineInterface) -> Result<HashMap<String, String>, LabeledError> {
    let text = |(name, value): (String, Value)| match value {
        Value::List { vals, .. } if name == "PATH" => {
            let folders = vals.into_iter().filter_map(|folder| folder.coerce_into_string().ok());
            let joined = std::env::join_paths(folders).ok()?;
            Some((name, joined.to_string_lossy().into_owned()))
        }
        other => other.coerce_into_string().ok().map(|text| (name, text)),
    };
    Ok(engine.get_env_vars()?.into_iter().filter_map(text).collect())
}

/// Who asks: the user of this process, unless the environment is told to name another.
pub fn actor(variables: &HashMap<String, String>) -> Result<Actor, Failure> {
    let id = nix::unistd::getuid();
    // In a container a process may run as a number that has no name.
    let known = nix::unistd::User::from_uid(id).ok().flatten();
    let name = known.map_or_else(|| format!("uid-{id}"), |user| user.name);
    Actor::local(&|variable| variables.get(variable).cloned(), &name)
}

/// Settings are refused by name when they are unknown: a typo must not be ignored.
fn check_settings(engine: &EngineInterface) -> Result<(), LabeledError> {
    let Some(Value::Record { val, .. }) = engine.get_plugin_config()? else { return Ok(()) };
    for (name, value) in val.iter() {
        let right = match name.as_str() {
            "parallel" => value.as_int().is_ok_and(|number| number > 0),
            _ => {
                let failure = Failure::new(Code::ConfigSetting, format!("unknown setting `{name}`"))
                    .with_help("The settings of $env.config.plugins.provision are: parallel.");
                return Err(labeled(&failure, value.span(), "this setting"));
            }
        };
        if !right {
            let failure = Failure::new(Code::ConfigSetting, format!("the setting `{name}` has a wrong value"))
                .with_help("`parallel` is a positive integer.");
            return Err(labeled(&failure, value.span(), "this value"));
        }
    }
    Ok(())
}

/// Operations at a time: the flag, then the setting, then 16.
pub fn parallel(engine: &EngineInterface, call: &EvaluatedCall) -> Result<usize, LabeledError> {
    if let Some(given) = call.get_flag::<Spanned<i64>>("parallel")? {
        return usize::try_from(given.item).ok().filter(|number| *number > 0).ok_or_else(|| {
            let failure = Failure::new(Code::ConfigSetting, "`--parallel` takes a positive integer")
                .with_help("Give a number from 1 to 256.");
            labeled(&failure, given.span, "this number")
        });
    }
    let setting = match engine.get_plugin_config()? {
        Some(Value::Record { val, .. }) => val.get("parallel").and_then(|value| value.as_int().ok()),
        _ => None,
    };
    Ok(setting.and_then(|number| usize::try_from(number).ok()).unwrap_or(16))
}
