//! Owns what the commands share: sources from arguments and the pipeline, flags, interruption, the built-in schemas.

use crate::NickelPlugin;
use nu_plugin::{EngineInterface, EvaluatedCall};
use nu_protocol::{
    Completion, DataSource, Flag, HandlerGuard, LabeledError, PipelineData, ShellError, Signature, Span, Spanned,
    SyntaxShape, Value,
};
use provision_diagnostic::{Code, Diagnostic, Failure};
use provision_nickel::{Inexact, Request, Source};
use provision_nu_bridge::{env_paths, labeled, to_json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sources and what an error about them is labelled at.
pub struct Sources {
    pub sources: Vec<Source>,
    pub span: Span,
    pub label: &'static str,
    /// The shell's folder.
    pub here: PathBuf,
}

impl Sources {
    /// The files named in the call, else the text on the pipeline.
    pub fn read(engine: &EngineInterface, call: &EvaluatedCall, input: PipelineData) -> Result<Self, LabeledError> {
        let files: Vec<Spanned<String>> = call.rest(0)?;
        match files.is_empty() {
            true => Self::text(engine, call, input),
            false => Self::files(engine, &files),
        }
    }

    /// The file named by the first argument, else the text on the pipeline.
    pub fn one(engine: &EngineInterface, call: &EvaluatedCall, input: PipelineData) -> Result<Self, LabeledError> {
        let file: Option<Spanned<String>> = call.opt(0)?;
        match file {
            Some(file) => Self::files(engine, &[file]),
            None => Self::text(engine, call, input),
        }
    }

    /// These files, of which there is at least one.
    pub fn files(engine: &EngineInterface, files: &[Spanned<String>]) -> Result<Self, LabeledError> {
        let here = PathBuf::from(engine.get_current_dir()?);
        let sources = files.iter().map(|file| Source::File(here.join(&file.item))).collect();
        let span = files.first().map_or(Span::unknown(), |file| file.span);
        Ok(Self { sources, span, label: "while evaluating this file", here })
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
        let here = PathBuf::from(engine.get_current_dir()?);
        let folder = opened.as_deref().and_then(Path::parent).map_or_else(|| here.clone(), Path::to_owned);
        let name = match &opened {
            Some(path) => path.strip_prefix(&here).unwrap_or(path).display().to_string(),
            None => "<input>".to_owned(),
        };
        let sources = vec![Source::Text { name, folder, text }];
        Ok(Self { sources, span, label: "while evaluating this text", here })
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

fn no_source(span: Span) -> LabeledError {
    let failure = Failure::new(Code::NickelIo, "there is no Nickel source to read");
    labeled(&failure.with_help("Name a file, or pipe in text."), span, "expected Nickel text here")
}

fn paths(of: SyntaxShape) -> SyntaxShape {
    SyntaxShape::OneOf(vec![SyntaxShape::List(Box::new(of.clone())), of])
}

/// The flag of every command that takes one field of its sources.
pub fn field_flag(signature: Signature, what: &str) -> Signature {
    signature.named("field", SyntaxShape::String, what, Some('f'))
}

/// The flag of every command that follows imports.
pub fn import_path_flag(signature: Signature) -> Signature {
    let what = "Folders to look up imports in, after the file's own.";
    signature.named("import-path", paths(SyntaxShape::Directory), what, Some('I'))
}

/// The flag of every command that gives data.
pub fn inexact_flag(signature: Signature) -> Signature {
    signature.param(
        Flag::new("inexact")
            .arg(SyntaxShape::String)
            .desc("What numbers without an exact decimal form become: float (the nearest) or string (the fraction).")
            .completion(Completion::new_list(&["float", "string"])),
    )
}

/// The flags of the commands that evaluate whole files.
pub fn evaluation_flags(signature: Signature) -> Signature {
    let signature =
        field_flag(signature, "Evaluate only the field at this dotted path, its parts quoted as in Nickel.");
    let signature = signature
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
        );
    import_path_flag(signature)
}

/// The request of a call, with the import path of its flags, the environment and the built-in schemas, in this order.
pub struct Prepared {
    pub request: Request,
    folder: PathBuf,
    _interrupt: HandlerGuard,
}

impl Prepared {
    pub fn new(
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        call: &EvaluatedCall,
        sources: &Sources,
    ) -> Result<Self, LabeledError> {
        crate::settings::apply(plugin, engine)?;
        let flag = Arc::new(AtomicBool::new(false));
        let seen = flag.clone();
        let guard = engine.register_signal_handler(Box::new(move |_| seen.store(true, Ordering::Relaxed)))?;
        let overrides = match call.get_flag_value("override") {
            Some(record) => Some(to_json(&record)?),
            None => None,
        };
        let mut import_paths = path_list(&sources.here, call, "import-path")?;
        import_paths.extend(env_paths(engine, "NICKEL_IMPORT_PATH")?);
        let request = Request {
            sources: sources.sources.clone(),
            field: call.get_flag("field")?,
            overrides,
            contracts: path_list(&sources.here, call, "contract")?,
            // As the official command has it: an import may lead anywhere.
            confine: None,
            import_paths,
            library: None,
            inexact: inexact(call)?,
            positions: false,
            interrupt: Some(flag),
            shown_from: Some(sources.here.clone()),
        };
        Ok(Self { request, folder: sources.folder(), _interrupt: guard })
    }

    /// Works on the request. The built-in schemas are made only for files that import them: it is tried without, and
    /// again with them where an import was not found.
    pub fn run<T>(
        &mut self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        work: impl Fn(&Request) -> Result<T, Failure>,
    ) -> Result<Result<T, Failure>, LabeledError> {
        self.run_unless(plugin, engine, work, |_| false)
    }

    /// The same, for work that may give a missed import as a result.
    pub fn run_unless<T>(
        &mut self,
        plugin: &NickelPlugin,
        engine: &EngineInterface,
        work: impl Fn(&Request) -> Result<T, Failure>,
        misses: impl Fn(&T) -> bool,
    ) -> Result<Result<T, Failure>, LabeledError> {
        if !plugin.imports_schemas(&self.folder) {
            let done = work(&self.request);
            let missed = match &done {
                Ok(result) => misses(result),
                Err(failure) => failure.diagnostics().any(misses_import),
            };
            if !missed {
                return Ok(done);
            }
        }
        match plugin.library(engine, &self.folder)? {
            Ok(library) => {
                plugin.note_schemas(&self.folder);
                self.request.library = Some(library);
                Ok(work(&self.request))
            }
            // What is missed may come from the manifests that could not be loaded; then they are what to mend.
            Err(failure) => Ok(Err(failure)),
        }
    }
}

/// Whether a diagnostic is about an import that was not found.
pub fn misses_import(diagnostic: &Diagnostic) -> bool {
    diagnostic.code == Code::NickelImport
}

fn path_list(here: &Path, call: &EvaluatedCall, name: &str) -> Result<Vec<PathBuf>, ShellError> {
    match call.get_flag_value(name) {
        None => Ok(Vec::new()),
        Some(Value::List { vals, .. }) => vals.iter().map(|value| Ok(here.join(value.as_str()?))).collect(),
        Some(other) => Ok(vec![here.join(other.as_str()?)]),
    }
}

fn inexact(call: &EvaluatedCall) -> Result<Inexact, LabeledError> {
    match one_of(call, "inexact", &[("float", Inexact::Float), ("string", Inexact::String)])? {
        Some(inexact) => Ok(inexact),
        None => Ok(Inexact::Error),
    }
}

/// The value of a flag that takes one of a few words.
pub fn one_of<T: Copy>(call: &EvaluatedCall, flag: &str, words: &[(&str, T)]) -> Result<Option<T>, LabeledError> {
    let Some(given) = call.get_flag::<Spanned<String>>(flag)? else { return Ok(None) };
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == given.item) {
        return Ok(Some(*meant));
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(LabeledError::new(format!("`{}` is not a value for --{flag}", given.item))
        .with_label(format!("expected {}", words.join(", ")), given.span)
        .with_code(Code::NickelConfig)
        .with_help(format!("Give --{flag} one of {}.", words.join(", "))))
}
