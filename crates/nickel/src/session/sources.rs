//! Owns making one file to evaluate of a request: the source itself, or a text of ours that merges the sources,
//! overrides and contracts.

use super::Session;
use crate::cache::digest;
use crate::request::{Request, Source};
use crate::write::quoted;
use nickel_lang_core::ast::InputFormat;
use nickel_lang_core::cache::{SourcePath, normalize_abs_path};
use nickel_lang_core::error::Error;
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::files::FileId;
use nickel_lang_core::program::FieldPath;
use provision_diagnostic::{Code, Failure};
use serde_json::Value;
use std::path::Path;

impl Session {
    /// The file of a source, read if it was not.
    pub(super) fn file_id(&mut self, source: &Source) -> Result<FileId, Failure> {
        let sources = &mut self.context.import_resolver.sources;
        match source {
            // A pipe would be read to its end once, and waited for ever after.
            Source::File(path) if path.exists() && !path.is_file() && !path.is_dir() => {
                let message = format!("`{}` is not a regular file", path.display());
                Err(Failure::new(Code::NickelIo, message).with_help("Pipe its text into the command instead."))
            }
            Source::File(path) => {
                let format = InputFormat::from_path(path).unwrap_or_default();
                match sources.get_or_add_file(path, format) {
                    Ok(id) => Ok(id.inner()),
                    Err(error) => Err(unreadable(path, &error)),
                }
            }
            Source::Text { name, folder, text } => {
                // The path is made of the content, so that no text is ever taken for another.
                let path = normalize_abs_path(&folder.join(format!("<text {}>", &digest(text.as_bytes())[..16])));
                if let Some(id) = self.texts.get(&path) {
                    self.names.insert(*id, name.clone());
                    return Ok(*id);
                }
                let id = sources.add_string(SourcePath::Path(path.clone(), InputFormat::Nickel), text.clone());
                self.names.insert(id, name.clone());
                self.texts.insert(path, id);
                Ok(id)
            }
        }
    }

    /// The file to evaluate.
    pub(super) fn main_id(&mut self, request: &Request) -> Result<FileId, Failure> {
        if request.sources.is_empty() {
            return Err(
                Failure::new(Code::NickelIo, "there is no source to evaluate").with_help("Give a file or a text.")
            );
        }
        let mut ids = Vec::new();
        for source in &request.sources {
            ids.push(self.file_id(source)?);
        }
        let mut contracts = Vec::new();
        for path in &request.contracts {
            contracts.push(self.file_id(&Source::File(path.clone()))?);
        }
        if let [one] = ids[..]
            && contracts.is_empty()
            && request.overrides.is_none()
        {
            return Ok(one);
        }
        let mut parts: Vec<String> = ids.iter().map(|id| self.import_text(*id)).collect();
        match &request.overrides {
            None => {}
            Some(record @ Value::Object(_)) => parts.push(override_text(record)),
            Some(_) => return Err(Failure::new(Code::NickelEvalType, "the override is not a record")),
        }
        let mut text = format!("({})", parts.join(" & "));
        for contract in &contracts {
            text = format!("({text} | {})", self.import_text(*contract));
        }
        Ok(self.joint(text))
    }

    /// A text of ours as a file.
    pub(super) fn joint(&mut self, text: String) -> FileId {
        if let Some(id) = self.joints.get(&text) {
            return *id;
        }
        let sources = &mut self.context.import_resolver.sources;
        let id = sources.add_string(SourcePath::Generated("merged sources".to_owned()), text.clone());
        self.joints.insert(text, id);
        id
    }

    /// An expression that imports a file.
    pub(super) fn import_text(&self, id: FileId) -> String {
        match self.context.import_resolver.sources.file_paths.get(&id) {
            Some(SourcePath::Path(path, format)) => {
                format!("(import {} as '{format})", quoted(&path.to_string_lossy()))
            }
            _ => "null".to_owned(),
        }
    }

    /// Parses, checks and compiles a file and all it imports. After a failure nothing half-done is kept.
    pub(super) fn prepare(&mut self, request: &Request, main: FileId) -> Result<NickelValue, Failure> {
        if let Err(failure) = self.vet(request, main) {
            self.forget_unsettled();
            return Err(failure);
        }
        match self.context.prepare_eval(main) {
            Ok(value) => {
                self.settle(main);
                Ok(value)
            }
            Err(error) => {
                let failure = self.failure(request, error);
                self.forget_unsettled();
                Err(failure)
            }
        }
    }

    /// The field a request is about; empty for the whole value.
    pub(super) fn field_path(&mut self, request: &Request) -> Result<FieldPath, Failure> {
        match FieldPath::parse_opt(
            &mut self.context.import_resolver,
            request.field.clone().filter(|field| !field.is_empty()),
        ) {
            Ok(path) => Ok(path),
            Err(error) => Err(self.failure(request, Error::from(error))),
        }
    }
}

/// What an unreadable file is told as.
fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display();
    let message = match error.kind() {
        _ if path.is_dir() => format!("`{shown}` is a folder, not a file"),
        std::io::ErrorKind::NotFound => format!("there is no file `{shown}`"),
        std::io::ErrorKind::PermissionDenied => format!("`{shown}` may not be read"),
        std::io::ErrorKind::InvalidData => format!("`{shown}` is not UTF-8 text"),
        _ => format!("`{shown}` cannot be read"),
    };
    Failure::new(Code::NickelIo, message).with_help("Check that the path exists and is readable.")
}

/// A record as Nickel text whose leaves have forced priority.
fn override_text(value: &Value) -> String {
    match value {
        Value::Object(map) if !is_leaf(map) => {
            let fields = map.iter().map(|(name, value)| match value {
                Value::Object(inner) if !is_leaf(inner) => format!("{} = {}", quoted(name), override_text(value)),
                leaf => format!("{} | force = {}", quoted(name), crate::write::to_ncl(leaf)),
            });
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        other => crate::write::to_ncl(other),
    }
}

/// An empty record is a value of its own, and so is one that stands for a date, a duration or a size.
fn is_leaf(map: &serde_json::Map<String, Value>) -> bool {
    map.is_empty() || map.contains_key("$nu")
}
