//! Owns the documentation of a file: rows, and the official command's Markdown.

use super::query::{data, describe};
use super::{Done, Session};
use crate::guard::GuardedCache;
use crate::job::{Answer, DocRow};
use crate::request::{Request, Source};
use nickel_lang_core::ast::InputFormat;
use nickel_lang_core::error::Error;
use nickel_lang_core::eval::value::{Container, NickelValue};
use nickel_lang_core::eval::{Closure, VirtualMachine};
use nickel_lang_core::program::{FieldPath, Program, ProgramBuilder};
use nickel_lang_core::term::record::Field;
use provision_diagnostic::{Code, Failure};

/// Levels of records that are looked into; contracts may describe themselves without end.
const DEPTH: usize = 32;

impl Session {
    pub(super) fn doc(&mut self, request: &Request) -> Done {
        let main = self.main_id(request)?;
        let prepared = self.prepare(request, main)?;
        let field = self.field_path(request)?;
        let start = {
            let mut machine = VirtualMachine::new(&mut self.context);
            machine.extract_field_value_closure(Closure::from(prepared), &field).map(|closure| closure.value)
        };
        let start = start.map_err(|error| self.failure(request, Error::EvalError(error)))?;
        let mut rows = Vec::new();
        self.document(request, start, &mut field.0.iter().map(|id| id.label().to_owned()).collect(), &mut rows);
        Ok((Answer::Documented(rows), vec![main]))
    }

    fn document(&mut self, request: &Request, value: NickelValue, path: &mut Vec<String>, rows: &mut Vec<DocRow>) {
        // A part that cannot be evaluated, for example one that waits for its input, has no documentation beneath.
        let Ok(value) = VirtualMachine::new(&mut self.context).eval(value) else { return };
        let Some(Container::Alloc(record)) = value.as_record() else { return };
        let mut fields: Vec<(String, Field)> =
            record.fields.iter().map(|(id, field)| (id.label().to_owned(), field.clone())).collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, field) in fields {
            let inner = field.value_with_pending_contracts();
            path.push(name);
            if let Some(doc) = field.metadata.doc() {
                let described = describe(&field.metadata);
                let default = match (&described.priority, &inner) {
                    (Some(priority), Some(inner)) if priority == "default" => data(self, request, inner.clone()),
                    _ => None,
                };
                rows.push(DocRow {
                    path: path_text(path),
                    kind: described.kind,
                    contracts: described.contracts,
                    default,
                    optional: field.metadata.opt(),
                    doc: doc.to_owned(),
                });
            }
            if let Some(inner) = inner
                && path.len() < DEPTH
            {
                self.document(request, inner, path, rows);
            }
            path.pop();
        }
    }

    /// The official extraction works on a program of its own, cold.
    pub(super) fn markdown(&mut self, request: &Request) -> Done {
        let main = self.main_id(request)?;
        // Told in our way, and settled for the watch.
        let prepared = self.prepare(request, main)?;
        let library = self.library_on_disk()?;
        let mut builder = ProgramBuilder::new().with_trace(std::io::stderr());
        for source in &request.sources {
            builder = match source {
                Source::File(path) => builder.add_path(path),
                Source::Text { folder, text, .. } => {
                    let name = folder.join("<input>");
                    builder.add_source_with_format(std::io::Cursor::new(text.clone()), name, InputFormat::Nickel)
                }
            };
        }
        builder = builder.add_import_paths(request.import_paths.iter().cloned());
        builder = builder.add_import_paths(library.iter().map(|folder| folder.path().to_owned()));
        let failed = |what: String| Failure::new(Code::NickelIo, what);
        let mut program: Program<GuardedCache> = builder.build().map_err(|error| failed(error.to_string()))?;
        if let Some(field) = &request.field {
            program.field =
                program.parse_field_path(field.clone()).map_err(|error| self.failure(request, Error::from(error)))?;
        }
        let mut text = Vec::new();
        let written = program.extract_doc().and_then(|doc| doc.write_markdown(&mut text));
        if written.is_err() {
            // The place would be one of the other program; ours says the same with its own. Fields that lack a definition
            // are no fault there.
            let field = self.field_path(request)?;
            let (_, _, mistakes) = self.walk(request, prepared, &field)?;
            let is_fault = |one: &provision_diagnostic::Diagnostic| {
                one.code.area() == "nickel::eval"
                    && one.code != Code::NickelEvalMissingField
                    && one.code != Code::NickelEvalNotSerializable
            };
            Failure::check(mistakes.into_iter().filter(is_fault).collect())?;
            return Err(Failure::new(Code::NickelEvalType, "there is nothing to document: the value is not a record")
                .with_help("Document a file that evaluates to a record, or one of its records with --field."));
        }
        let text = String::from_utf8(text).map_err(|error| failed(error.to_string()))?;
        Ok((Answer::Text(text), vec![main]))
    }

    fn library_on_disk(&self) -> Result<Option<tempfile::TempDir>, Failure> {
        let Some(library) = &self.library else { return Ok(None) };
        let failed = |error: std::io::Error| {
            Failure::new(
                Code::NickelIo,
                format!("the built-in schemas cannot be written to a temporary folder: {error}"),
            )
        };
        let folder = tempfile::tempdir().map_err(failed)?;
        for (name, text) in &library.files {
            debug_assert!(!name.contains('/'));
            std::fs::write(folder.path().join(name), text).map_err(failed)?;
        }
        Ok(Some(folder))
    }
}

/// A path as Nickel writes it: parts that are no identifiers in quotes.
pub(super) fn path_text(path: &[String]) -> String {
    FieldPath(path.iter().map(|part| part.as_str().into()).collect()).to_string()
}
