//! Owns what the flags of the group's commands name: policies, schemas and entities.

use crate::{PolicyPlugin, project};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{
    DataSource, HandlerGuard, LabeledError, PipelineData, ShellError, Signature, Span, SyntaxShape, Value,
};
use provision_diagnostic::{Code, Failure};
use provision_nu_bridge::{env_paths, labeled, resolve_path, to_json};
use provision_policy::{EntityRef, PolicySet, PolicySource, Prover, Schema};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where an error about something given is labelled.
pub struct Given<T> {
    pub what: T,
    pub span: Span,
}

/// A schema that was given, or what is wrong in it.
pub type GivenSchema = Given<Result<Arc<Schema>, Failure>>;

/// The flag for policies.
pub fn policy_flag(signature: Signature) -> Signature {
    let what = "Policies: a file, a folder, Cedar text, or a table with `name` and `text`; by default the project's folder `policies`.";
    signature.named("policies", SyntaxShape::Any, what, Some('p'))
}

/// The policies on the pipeline, if there are any: text, or the record that `open x.cedar` makes of a file, whose own text
/// has the places.
pub fn text(call: &EvaluatedCall, input: PipelineData) -> Result<Option<(PolicySource, Span)>, LabeledError> {
    let span = input.span().unwrap_or(call.head);
    let opened = match input.metadata_ref().map(|metadata| &metadata.data_source) {
        Some(DataSource::FilePath(path)) => Some(path.clone()),
        _ => None,
    };
    let name = opened.as_ref().map_or_else(|| "<input>".to_owned(), |path| path.display().to_string());
    let text = match input {
        PipelineData::ByteStream(stream, _) => stream.into_string()?,
        PipelineData::Value(Value::String { val, .. }, _) => val,
        PipelineData::Value(record @ Value::Record { .. }, _) => {
            let file = opened.filter(|path| path.extension().is_some_and(|extension| extension == "cedar"));
            match file.and_then(|path| std::fs::read_to_string(path).ok()) {
                Some(text) => text,
                None => to_json(&record)?.to_string(),
            }
        }
        PipelineData::Value(Value::Error { error, .. }, _) => return Err((*error).into()),
        _ => return Ok(None),
    };
    Ok(Some((PolicySource { name, text }, span)))
}

/// The flags for policies and their schema.
pub fn policy_flags(signature: Signature) -> Signature {
    policy_flag(signature).named(
        "schema",
        SyntaxShape::Any,
        "Schema: a file or text; by default the one generated from the installed providers.",
        Some('s'),
    )
}

/// The policies of `--policies`, else of the text given, else of the project. Bad policies are the inner failure, a
/// missing project or an unreadable file the outer one.
pub fn policies(
    plugin: &PolicyPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
    text: Option<(PolicySource, Span)>,
) -> Result<Given<Result<Arc<PolicySet>, Failure>>, LabeledError> {
    if let Some(value) = call.get_flag_value("policies") {
        return policies_of(plugin, engine, &value);
    }
    if let Some((source, span)) = text {
        return Ok(Given { what: plugin.policies(&[source], false, ""), span });
    }
    let span = call.head;
    let Some(project) = project(engine)? else {
        let failure =
            Failure::new(Code::ConfigNoProject, "there is no `infra.ncl` here or above, so no project's policies");
        return Err(labeled(&failure.with_help("Go to a project folder, or give --policies."), span, "needs policies"));
    };
    let shown = plugin
        .policy_folder(engine, &project)?
        .map_err(|failure| labeled(&failure, span, "while looking for the project's policies"))?;
    let folder = project.join(&shown);
    if !folder.exists() {
        let failure =
            Failure::new(Code::PolicyIo, format!("this project has no policies: there is no {}", folder.display()))
                .with_help(
                    "Write Cedar policies into that folder, correct `policies` in infra.ncl, or give --policies.",
                );
        return Err(labeled(&failure, span, "needs policies"));
    }
    Ok(Given { what: load(plugin, &folder, &shown, span)?, span })
}

/// Policies named by a value: a path, Cedar text, its JSON form, or rows with `name` and `text`.
pub fn policies_of(
    plugin: &PolicyPlugin,
    engine: &EngineInterface,
    value: &Value,
) -> Result<Given<Result<Arc<PolicySet>, Failure>>, LabeledError> {
    let span = value.span();
    let what = match value {
        Value::List { vals, .. } => {
            let mut sources = Vec::with_capacity(vals.len());
            let mut all: Vec<&Value> = vals.iter().collect();
            // A list may hold tables, such as those of `policy link`, beside files and text.
            while let Some(at) = all.iter().position(|value| matches!(value, Value::List { .. })) {
                if let Value::List { vals, .. } = all.remove(at) {
                    all.splice(at..at, vals.iter());
                }
            }
            for (index, row) in all.into_iter().enumerate() {
                if let Value::String { val, .. } | Value::Glob { val, .. } = row {
                    let path = resolve_path(engine, val)?;
                    if path.exists() {
                        match inner(PolicySet::sources_at(&path), row.span())? {
                            Ok(mut found) if path.is_dir() => {
                                for source in &mut found {
                                    source.name = format!("{}/{}", val.trim_end_matches('/'), source.name);
                                }
                                sources.append(&mut found);
                            }
                            Ok(found) => sources.extend(
                                found.into_iter().map(|source| PolicySource { name: val.clone(), text: source.text }),
                            ),
                            Err(failure) => return Ok(Given { what: Err(failure), span: row.span() }),
                        }
                        continue;
                    }
                }
                sources.push(source_of(index, row)?);
            }
            plugin.policies(&sources, sources.len() > 1, "")
        }
        record @ Value::Record { .. } => plugin.policies(&[source_of(0, record)?], false, ""),
        other => {
            let text = other.coerce_str().map_err(LabeledError::from)?;
            let path = resolve_path(engine, &text)?;
            if looks_like_text(&text) && !path.exists() {
                let sources = [PolicySource { name: "<policies>".to_owned(), text: text.into_owned() }];
                plugin.policies(&sources, false, "")
            } else if path.is_dir() {
                load(plugin, &path, &text, span)?
            } else {
                inner(read(&path), span)?.and_then(|content| {
                    plugin.policies(&[PolicySource { name: text.into_owned(), text: content }], false, "")
                })
            }
        }
    };
    Ok(Given { what, span })
}

/// The policies of a folder, with positions that start with it as it is shown.
fn load(
    plugin: &PolicyPlugin,
    folder: &Path,
    shown: &str,
    span: Span,
) -> Result<Result<Arc<PolicySet>, Failure>, LabeledError> {
    let sources = inner(PolicySet::sources_at(folder), span)?;
    let shown = if folder.is_dir() { format!("{}/", shown.trim_end_matches('/')) } else { String::new() };
    Ok(sources.and_then(|sources| plugin.policies(&sources, folder.is_dir(), &shown)))
}

/// Unreadable is an error of the call; wrong content is the caller's to tell.
fn inner<T>(result: Result<T, Failure>, span: Span) -> Result<Result<T, Failure>, LabeledError> {
    match result {
        Err(failure) if failure.code() == Code::PolicyIo => Err(labeled(&failure, span, "given here")),
        other => Ok(other),
    }
}

fn source_of(index: usize, row: &Value) -> Result<PolicySource, ShellError> {
    let Value::Record { val, .. } = row else {
        // Text alone, without a name.
        return Ok(PolicySource { name: format!("<policies {index}>"), text: row.as_str()?.to_owned() });
    };
    let name = ["name", "id", "file"].iter().find_map(|key| val.get(*key)?.as_str().ok());
    let Some(text) = val.get("text") else {
        // Cedar's JSON form, as `from cedar` gives it.
        let name = name.map_or_else(|| format!("<policies {index}>"), str::to_owned);
        return Ok(PolicySource { name, text: to_json(row)?.to_string() });
    };
    Ok(PolicySource {
        name: name.map_or(format!("<policies {index}>"), str::to_owned),
        text: text.as_str()?.to_owned(),
    })
}

/// A policy or a schema ends with a semicolon or a brace; a path does not.
fn looks_like_text(text: &str) -> bool {
    text.contains(';') || text.trim_end().ends_with('}') || text.contains('\n')
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => format!("there is no file or folder `{}`", path.display()),
            _ => format!("`{}` cannot be read", path.display()),
        };
        Failure::new(Code::PolicyIo, message).with_help("Check the path given with --policies, --schema or --entities.")
    })
}

/// The schema of `--schema`, or none where it was not given.
pub fn schema(
    plugin: &PolicyPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
) -> Result<Option<GivenSchema>, LabeledError> {
    let Some(value) = call.get_flag_value("schema") else { return Ok(None) };
    let span = value.span();
    let what = match &value {
        record @ Value::Record { .. } => plugin.schema("<schema>", &to_json(record)?.to_string()),
        other => {
            let text = other.coerce_str().map_err(LabeledError::from)?;
            let path = resolve_path(engine, &text)?;
            if looks_like_text(&text) && !path.exists() {
                plugin.schema("<schema>", &text)
            } else {
                inner(read(&path), span)?.and_then(|content| plugin.schema(&text, &content))
            }
        }
    };
    Ok(Some(Given { what, span }))
}

/// The generated schema of the project here, if there is one, or of the built-in manifests.
pub fn generated(
    plugin: &PolicyPlugin,
    engine: &EngineInterface,
    span: Span,
) -> Result<crate::Generated, LabeledError> {
    let project = project(engine)?;
    plugin
        .generated(engine, project.as_deref())?
        .map_err(|failure| labeled(&failure, span, "while generating the schema from the installed providers"))
}

/// The file of users and groups in the folder of a project's policies.
const PEOPLE: &str = "entities.json";

/// The entities of `--entities`, a JSON file or a table, as JSON text; a closure gives entities row by row and none here.
/// By default those of the project, where its policies are asked.
pub fn entities(
    plugin: &PolicyPlugin,
    engine: &EngineInterface,
    call: &EvaluatedCall,
) -> Result<Given<String>, LabeledError> {
    let Some(value) = call.get_flag_value("entities") else {
        let own = if call.get_flag_value("policies").is_none() { people(plugin, engine, call.head)? } else { None };
        return Ok(Given { what: own.unwrap_or_else(|| "[]".to_owned()), span: call.head });
    };
    let span = value.span();
    let what = match &value {
        Value::Closure { .. } => "[]".to_owned(),
        Value::String { val, .. } | Value::Glob { val, .. } => {
            inner(read(&resolve_path(engine, val)?), span)?.map_err(|failure| labeled(&failure, span, "given here"))?
        }
        other => in_cedar(to_json(other)?).to_string(),
    };
    Ok(Given { what, span })
}

/// The users and groups of the project.
fn people(plugin: &PolicyPlugin, engine: &EngineInterface, head: Span) -> Result<Option<String>, LabeledError> {
    let Some(project) = project(engine)? else { return Ok(None) };
    let told = |failure: Failure| labeled(&failure, head, "while looking for the project's users and groups");
    let file = project.join(plugin.policy_folder(engine, &project)?.map_err(told)?).join(PEOPLE);
    if !file.is_file() {
        return Ok(None);
    }
    read(&file).map(Some).map_err(told)
}

/// A user's name is its id unless it has another, as for `provision apply`.
fn with_name(row: &mut Json) {
    let uid = row.get("uid").and_then(|uid| serde_json::from_value::<EntityRef>(uid.clone()).ok());
    let Some(uid) = uid.filter(|uid| uid.kind == "Provision::User") else { return };
    if row.get("attrs").is_none_or(|attrs| attrs.is_null() || (attrs.is_object() && attrs["name"].is_null())) {
        row["attrs"]["name"] = Json::from(uid.id);
    }
}

/// Dates and durations of Nushell as Cedar's, sizes as numbers of bytes.
pub fn in_cedar(json: Json) -> Json {
    let call = |function: &str, arg: String| serde_json::json!({"__extn": {"fn": function, "arg": arg}});
    match json {
        Json::Object(map) => {
            let value = map.get("value");
            match (map.len(), map.get("$nu").and_then(Json::as_str)) {
                (2, Some("datetime")) => {
                    let text = value.and_then(Json::as_str).unwrap_or_default();
                    // Cedar counts milliseconds, and its offsets have no colon.
                    let time = text.parse::<chrono::DateTime<chrono::FixedOffset>>();
                    return match time {
                        Ok(time) => call("datetime", time.to_utc().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()),
                        Err(_) => Json::from(text),
                    };
                }
                (2, Some("duration")) => {
                    let millis = value.and_then(Json::as_i64).unwrap_or_default() / 1_000_000;
                    return call("duration", format!("{millis}ms"));
                }
                (2, Some("filesize")) => return value.cloned().unwrap_or_default(),
                _ => {}
            }
            Json::Object(map.into_iter().map(|(key, item)| (key, in_cedar(item))).collect())
        }
        Json::Array(items) => items.into_iter().map(in_cedar).collect(),
        other => other,
    }
}

/// The rows of entities given as JSON text.
pub fn entity_rows(text: &str) -> Result<Vec<Json>, Failure> {
    match provision_policy::read_json(text) {
        Ok(Json::Array(mut rows)) => {
            rows.iter_mut().for_each(with_name);
            Ok(rows)
        }
        Ok(mut row @ Json::Object(_)) => {
            with_name(&mut row);
            Ok(vec![row])
        }
        Ok(_) => Err(Failure::new(Code::PolicyEntity, "the entities are not rows")
            .with_help("Give a table `uid, attrs, parents`, or a JSON file of such rows.")),
        Err(error) => {
            let message = format!("the entities cannot be read: {error}");
            Err(Failure::new(Code::PolicyEntity, message).with_help("Give a table, or a file in Cedar's JSON form."))
        }
    }
}

/// The flags of the commands that prove things.
pub fn solver_flags(signature: Signature) -> Signature {
    signature.named(
        "schema",
        SyntaxShape::Any,
        "Schema: a file or text; by default the one generated from the installed providers.",
        Some('s'),
    )
}

/// The schema in which something is proved, and the program that proves it.
pub struct Solver {
    schema: Arc<Schema>,
    program: PathBuf,
    stop: Arc<AtomicBool>,
    _guard: HandlerGuard,
}

impl Solver {
    pub fn prover(&self) -> Result<Prover<'_>, Failure> {
        Prover::new(&self.schema, self.program.clone(), self.stop.clone())
    }
}

/// The solver on the shell's `PATH`.
pub fn solver(plugin: &PolicyPlugin, engine: &EngineInterface, call: &EvaluatedCall) -> Result<Solver, LabeledError> {
    let schema = match schema(plugin, engine, call)? {
        Some(own) => own.what.map_err(|failure| labeled(&failure, own.span, "in this schema"))?,
        None => generated(plugin, engine, call.head)?.schema,
    };
    let paths = env_paths(engine, "PATH")?;
    let program = paths.into_iter().map(|folder| folder.join("cvc5")).find(|program| program.is_file());
    let Some(program) = program else {
        let failure = Failure::new(Code::PolicySolver, "the solver `cvc5` is not on the PATH")
            .with_help("Install the package `cvc5` (`apt install cvc5` on Debian, `brew install cvc5` on macOS).");
        return Err(labeled(&failure, call.head, "needs a solver"));
    };
    let stop = Arc::new(AtomicBool::new(false));
    let on_signal = stop.clone();
    let guard = engine.register_signal_handler(Box::new(move |_| on_signal.store(true, Ordering::Relaxed)))?;
    Ok(Solver { schema, program, stop, _guard: guard })
}
