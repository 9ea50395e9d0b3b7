//! Owns what the flags of the group's commands name: policies, schemas and entities.

use crate::{PolicyPlugin, project};
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{LabeledError, PipelineData, ShellError, Signature, Span, SyntaxShape, Value};
use provision_diagnostic::Failure;
use provision_nu_bridge::{labeled, resolve_path, to_json};
use provision_policy::{PolicySet, PolicySource, Schema};
use serde_json::Value as Json;
use std::path::Path;
use std::sync::Arc;

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

/// The text on the pipeline, if there is any.
pub fn text(call: &EvaluatedCall, input: PipelineData) -> Result<Option<(String, Span)>, LabeledError> {
    let span = input.span().unwrap_or(call.head);
    Ok(match input {
        PipelineData::ByteStream(stream, _) => Some((stream.into_string()?, span)),
        PipelineData::Value(Value::String { val, .. }, _) => Some((val, span)),
        _ => None,
    })
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
    engine: &EngineInterface,
    call: &EvaluatedCall,
    text: Option<(String, Span)>,
) -> Result<Given<Result<PolicySet, Failure>>, LabeledError> {
    if let Some(value) = call.get_flag_value("policies") {
        let span = value.span();
        return Ok(Given { what: inner(policies_of(engine, &value)?, span)?, span });
    }
    if let Some((text, span)) = text {
        return Ok(Given { what: PolicySet::parse(&[PolicySource { name: "<input>".to_owned(), text }]), span });
    }
    let span = call.head;
    let Some(project) = project(engine)? else {
        let failure = Failure::new(
            "provision::config::no_project",
            "there is no `infra.ncl` here or above, so no project's policies",
        );
        return Err(labeled(&failure.with_help("Go to a project folder, or give --policies."), span, "needs policies"));
    };
    let folder = project.join("policies");
    if !folder.exists() {
        let failure = Failure::new("policy::io", format!("this project has no policies: there is no {}", folder.display()))
            .with_help("Write Cedar policies into that folder, or give --policies. Without policies `provision apply` asks nobody.");
        return Err(labeled(&failure, span, "needs policies"));
    }
    Ok(Given { what: inner(PolicySet::load(&folder), span)?, span })
}

/// Unreadable is an error of the call; wrong content is the caller's to tell.
fn inner<T>(result: Result<T, Failure>, span: Span) -> Result<Result<T, Failure>, LabeledError> {
    match result {
        Err(failure) if failure.code() == "policy::io" => Err(labeled(&failure, span, "given here")),
        other => Ok(other),
    }
}

fn policies_of(engine: &EngineInterface, value: &Value) -> Result<Result<PolicySet, Failure>, ShellError> {
    match value {
        Value::List { vals, .. } => {
            let mut sources = Vec::with_capacity(vals.len());
            for (index, row) in vals.iter().enumerate() {
                sources.push(source_of(index, row)?);
            }
            Ok(PolicySet::parse(&sources))
        }
        record @ Value::Record { .. } => Ok(PolicySet::parse(&[source_of(0, record)?])),
        other => {
            let text = other.coerce_str()?;
            let path = resolve_path(engine, &text)?;
            if looks_like_text(&text) && !path.exists() {
                return Ok(PolicySet::parse(&[PolicySource {
                    name: "<policies>".to_owned(),
                    text: text.into_owned(),
                }]));
            }
            if path.is_dir() {
                return Ok(PolicySet::load(&path));
            }
            Ok(read(&path)
                .and_then(|content| PolicySet::parse(&[PolicySource { name: text.into_owned(), text: content }])))
        }
    }
}

fn source_of(index: usize, row: &Value) -> Result<PolicySource, ShellError> {
    let Value::Record { val, .. } = row else {
        return Ok(PolicySource { name: format!("<policies {index}>"), text: row.as_str()?.to_owned() });
    };
    let name = val.get("name").or_else(|| val.get("file")).and_then(|name| name.as_str().ok());
    let text = val.get("text").ok_or_else(|| ShellError::CantFindColumn {
        col_name: "text".to_owned(),
        span: Some(row.span()),
        src_span: row.span(),
    })?;
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
        Failure::new("policy::io", message).with_help("Check the path given with --policies, --schema or --entities.")
    })
}

/// The schema of `--schema`, or none where it was not given.
pub fn schema(engine: &EngineInterface, call: &EvaluatedCall) -> Result<Option<GivenSchema>, LabeledError> {
    let Some(value) = call.get_flag_value("schema") else { return Ok(None) };
    let span = value.span();
    let what = match &value {
        record @ Value::Record { .. } => Schema::parse("<schema>", &to_json(record)?.to_string()),
        other => {
            let text = other.coerce_str().map_err(LabeledError::from)?;
            let path = resolve_path(engine, &text)?;
            if looks_like_text(&text) && !path.exists() {
                Schema::parse("<schema>", &text)
            } else {
                inner(read(&path), span)?.and_then(|content| Schema::parse(&text, &content))
            }
        }
    };
    Ok(Some(Given { what: what.map(Arc::new), span }))
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

/// The rows of `--entities`: a JSON file, or a table.
pub fn entities(engine: &EngineInterface, call: &EvaluatedCall) -> Result<Vec<Json>, LabeledError> {
    let Some(value) = call.get_flag_value("entities") else { return Ok(Vec::new()) };
    let span = value.span();
    let json = match &value {
        Value::String { val, .. } | Value::Glob { val, .. } => {
            let text = inner(read(&resolve_path(engine, val)?), span)?
                .map_err(|failure| labeled(&failure, span, "given here"))?;
            match serde_json::from_str(&text) {
                Ok(json) => json,
                Err(error) => {
                    let message = format!("`{val}` is not JSON: line {}, column {}", error.line(), error.column());
                    return Err(labeled(&Failure::new("policy::entity", message), span, "given here"));
                }
            }
        }
        other => to_json(other)?,
    };
    match json {
        Json::Array(rows) => Ok(rows),
        row @ Json::Object(_) => Ok(vec![row]),
        _ => Err(labeled(
            &Failure::new("policy::entity", "the entities are not rows"),
            span,
            "expected a table or a JSON file",
        )),
    }
}
