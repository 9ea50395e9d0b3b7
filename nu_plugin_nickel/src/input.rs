//! Owns what the commands share: sources from arguments and the pipeline, flags, interruption.

use crate::NickelPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{
    Completion, DataSource, Flag, HandlerGuard, LabeledError, PipelineData, ShellError, Signature, Span, Spanned,
    SyntaxShape, Value,
};
use provision_diagnostic::Failure;
use provision_nickel::{Inexact, Request, Source};
use provision_nu_bridge::{env_paths, labeled, resolve_path, to_json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sources and what an error about them is labelled at.
pub struct Sources {
    pub sources: Vec<Source>,
    pub span: Span,
    pub label: &'static str,
}

impl Sources {
    /// The files named in the call, else the text on the pipeline.
    pub fn read(engine: &EngineInterface, call: &EvaluatedCall, input: PipelineData) -> Result<Self, LabeledError> {
        let files: Vec<Spanned<String>> = call.rest(0)?;
        if let Some(first) = files.first() {
            let span = first.span;
            let mut sources = Vec::with_capacity(files.len());
            for file in &files {
                sources.push(Source::File(resolve_path(engine, &file.item)?));
            }
            return Ok(Self { sources, span, label: "while evaluating this file" });
        }
        Self::text(engine, call, input)
    }

    /// The text on the pipeline. Where it was opened from a file, its imports are looked up beside that.
    pub fn text(engine: &EngineInterface, call: &EvaluatedCall, input: PipelineData) -> Result<Self, LabeledError> {
        let opened = match input.metadata_ref().map(|metadata| &metadata.data_source) {
            Some(DataSource::FilePath(path)) => Some(path.clone()),
            _ => None,
        };
        let span = input.span().unwrap_or(call.head);
        let text = match input {
            PipelineData::ByteStream(stream, _) => stream.into_string()?,
            PipelineData::ListStream(stream, _) => return Err(no_source(stream.span())),
            PipelineData::Value(Value::String { val, .. }, _) => val,
            PipelineData::Value(Value::Error { error, .. }, _) => return Err((*error).into()),
            PipelineData::Value(..) | PipelineData::Empty => return Err(no_source(span)),
        };
        let folder = match opened.as_deref().and_then(Path::parent) {
            Some(folder) => folder.to_owned(),
            None => PathBuf::from(engine.get_current_dir()?),
        };
        let name = match &opened {
            Some(path) => shown(engine, path)?,
            None => "<input>".to_owned(),
        };
        Ok(Self { sources: vec![Source::Text { name, folder, text }], span, label: "while evaluating this text" })
    }

    /// The folder of the first source, in which its project is looked for.
    pub fn folder(&self) -> PathBuf {
        match self.sources.first() {
            Some(Source::File(path)) => path.parent().unwrap_or(Path::new("/")).to_owned(),
            Some(Source::Text { folder, .. }) => folder.clone(),
            None => PathBuf::from("/"),
        }
    }

    /// The error a failure about them is raised as.
    pub fn error(&self, failure: &Failure) -> LabeledError {
        labeled(failure, self.span, self.label)
    }
}

fn shown(engine: &EngineInterface, path: &Path) -> Result<String, ShellError> {
    let here = engine.get_current_dir()?;
    Ok(path.strip_prefix(&here).unwrap_or(path).display().to_string())
}

fn no_source(span: Span) -> LabeledError {
    let failure = Failure::new("nickel::io", "there is no Nickel source to read");
    labeled(&failure.with_help("Name a file, or pipe in text."), span, "expected Nickel text here")
}

/// The flags every evaluating command has.
pub fn evaluation_flags(signature: Signature) -> Signature {
    let paths = |of: SyntaxShape| SyntaxShape::OneOf(vec![SyntaxShape::List(Box::new(of.clone())), of]);
    signature
        .named("field", SyntaxShape::String, "Evaluate only the field at this dotted path.", Some('f'))
        .named(
            "override",
            SyntaxShape::Record(Vec::new().into()),
            "Merge this record over the sources, with forced priority.",
            Some('o'),
        )
        .named(
            "contract",
            paths(SyntaxShape::Filepath),
            "Apply the contract in this file, or in each of a list.",
            Some('c'),
        )
        .named(
            "import-path",
            paths(SyntaxShape::Directory),
            "Folders to look up imports in, after the file's own.",
            Some('I'),
        )
        .param(
            Flag::new("inexact")
                .arg(SyntaxShape::String)
                .desc("Allow numbers without an exact decimal form, as a float or as the fraction in a string.")
                .completion(Completion::new_list(&["float", "string"])),
        )
}

/// The request of a call, with the import path of its flags, the environment and the built-in schemas, in this order.
pub struct Prepared {
    pub request: Request,
    /// Why the built-in schemas could not be made; told only where something is missed because of it.
    library_failure: Option<Failure>,
    _interrupt: HandlerGuard,
}

impl Prepared {
    pub fn new(
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        sources: &Sources,
    ) -> Result<Self, LabeledError> {
        let flag = Arc::new(AtomicBool::new(false));
        let seen = flag.clone();
        let guard = engine.register_signal_handler(Box::new(move |_| seen.store(true, Ordering::Relaxed)))?;
        let (library, library_failure) = match plugin.library(engine, &sources.folder())? {
            Ok(library) => (Some(library), None),
            Err(failure) => (None, Some(failure)),
        };
        let overrides = match call.get_flag_value("override") {
            Some(record) => Some(to_json(&record)?),
            None => None,
        };
        let mut import_paths = path_list(engine, call, "import-path")?;
        import_paths.extend(env_paths(engine, "NICKEL_IMPORT_PATH")?);
        let request = Request {
            sources: sources.sources.clone(),
            field: call.get_flag("field")?,
            overrides,
            contracts: path_list(engine, call, "contract")?,
            import_paths,
            library,
            inexact: inexact(call)?,
            interrupt: Some(flag),
            shown_from: Some(PathBuf::from(engine.get_current_dir()?)),
        };
        Ok(Self { request, library_failure, _interrupt: guard })
    }

    /// A failure to import may come from the manifests that could not be loaded; then they are what to mend.
    pub fn blame<'a>(&'a self, failure: &'a Failure) -> &'a Failure {
        match &self.library_failure {
            Some(cause) if failure.code() == "nickel::import" => cause,
            _ => failure,
        }
    }
}

fn path_list(engine: &EngineInterface, call: &EvaluatedCall, name: &str) -> Result<Vec<PathBuf>, ShellError> {
    match call.get_flag_value(name) {
        None => Ok(Vec::new()),
        Some(Value::List { vals, .. }) => vals.iter().map(|value| resolve_path(engine, value.as_str()?)).collect(),
        Some(other) => Ok(vec![resolve_path(engine, other.as_str()?)?]),
    }
}

fn inexact(call: &EvaluatedCall) -> Result<Inexact, LabeledError> {
    let given: Option<Spanned<String>> = call.get_flag("inexact")?;
    match given.as_ref().map(|given| given.item.as_str()) {
        None | Some("error") => Ok(Inexact::Error),
        Some("float") => Ok(Inexact::Float),
        Some("string") => Ok(Inexact::String),
        Some(other) => Err(LabeledError::new(format!("`{other}` is not a way to treat inexact numbers"))
            .with_label("expected float or string", given.as_ref().map_or(call.head, |given| given.span))
            .with_code("nickel::eval::inexact")
            .with_help("Give --inexact float or --inexact string.")),
    }
}
