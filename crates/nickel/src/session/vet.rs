//! Owns looking at every file before the library reads it: that an import leads to a regular file, and no further than it
//! may, and that nothing in a data file ends or confuses the library.

use super::{Session, imports_of};
use crate::host::candidates;
use crate::request::Request;
use crate::session::LIBRARY_ROOT;
use nickel_lang_core::ast::InputFormat;
use nickel_lang_core::cache::TermEntry;
use nickel_lang_core::eval::value::{NickelValue, ValueContentRef};
use nickel_lang_core::files::FileId;
use nickel_lang_core::identifier::Ident;
use nickel_lang_core::term::Term;
use nickel_lang_core::traverse::{Traverse, TraverseOrder};
use provision_diagnostic::{Code, Diagnostic, Failure, Source, excerpt};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

impl Session {
    /// Looks at a file and at all it imports, as far as they were not prepared already.
    pub(super) fn vet(&mut self, request: &Request, main: FileId) -> Result<(), Failure> {
        let mut next = vec![main];
        let mut seen = HashSet::from([main]);
        while let Some(id) = next.pop() {
            if self.settled.contains(&id) {
                continue;
            }
            match self.context.import_resolver.input_format(id).unwrap_or_default() {
                InputFormat::Nickel => {
                    let imported = self.vet_imports(request, id)?;
                    next.extend(imported.into_iter().filter(|id| seen.insert(*id)));
                }
                InputFormat::Toml => self.vet_toml(request, id)?,
                InputFormat::Yaml => self.expand_anchors(request, id)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The files that a file imports. What cannot be parsed or found is told by the library, at its place.
    fn vet_imports(&mut self, request: &Request, from: FileId) -> Result<Vec<FileId>, Failure> {
        let Ok(imports) = imports_of(&self.context.import_resolver, from) else { return Ok(Vec::new()) };
        let folder = self.folder(from);
        // The texts of ours import what the request names.
        let is_ours = self.joints.values().any(|joint| *joint == from);
        let mut found = Vec::with_capacity(imports.len());
        for (text, format) in imports {
            let refused = |what: &str, help: &str| {
                let name = self.explainer(request).name(from);
                Failure::new(Code::NickelImport, format!("the import `{text}` of {name} {what}")).with_help(help)
            };
            for candidate in candidates(&folder, &text, &self.import_paths) {
                match std::fs::metadata(&candidate) {
                    Ok(data) if data.is_file() => break,
                    // A pipe would be waited for, a device read without an end.
                    Ok(data) if !data.is_dir() => {
                        return Err(refused("is not a regular file", "Import a file, or give the text as a source."));
                    }
                    _ => {}
                }
            }
            let Some(path) = self.resolve(&folder, &text) else { continue };
            if !is_ours && let Some(real) = request.confine.as_deref().and_then(|roots| outside(&path, roots)) {
                let what = format!("leads out of the project, to {}", real.display());
                let help = format!(
                    "A project and its extensions import their own files only; copy the file into the project, or run `provision trust add import {}`.",
                    real.display()
                );
                return Err(refused(&what, &help));
            }
            if let Ok(id) = self.context.import_resolver.sources.get_or_add_file(&path, format) {
                found.push(id.inner());
            }
        }
        Ok(found)
    }

    /// Refuses numbers that Nickel does not have: reading them ends the library.
    fn vet_toml(&mut self, request: &Request, id: FileId) -> Result<(), Failure> {
        let text = self.context.import_resolver.sources.source(id);
        let Ok(document) = text.parse::<toml_edit::Document<String>>() else { return Ok(()) };
        let Some((number, at)) = not_finite(document.as_item()) else { return Ok(()) };
        let name = self.explainer(request).name(id);
        let told = Diagnostic::error(Code::NickelParse, format!("`{number}` is not a number of Nickel"))
            .with_help("Write a finite number, or a text such as \"inf\".")
            .with_excerpt(Some(excerpt(Source { name: &name, text }, at.unwrap_or_default())));
        Err(told.into())
    }

    /// Puts in the place of each alias of a YAML file what its anchor names. The library makes variables of them, which
    /// are unbound as soon as the data are merged, imported or walked.
    fn expand_anchors(&mut self, request: &Request, id: FileId) -> Result<(), Failure> {
        let hub = &mut self.context.import_resolver;
        if !hub.sources.source(id).contains('&') {
            return Ok(());
        }
        if hub.parse_to_term(&mut self.context.pos_table, id, InputFormat::Yaml).is_err() {
            return Ok(());
        }
        let Some(entry) = hub.terms.get_entry(id).cloned() else { return Ok(()) };
        let ValueContentRef::Term(Term::Let(data)) = entry.value.content_ref() else { return Ok(()) };
        let named = data.bindings.iter().map(|(name, value)| (name.ident(), value.clone())).collect();
        let mut anchors = Anchors { named, whole: HashMap::new(), open: HashSet::new() };
        let value = anchors.expand(data.body.clone()).map_err(|Endless| {
            let name = self.explainer(request).name(id);
            Failure::new(Code::NickelParse, format!("an anchor of {name} contains itself"))
                .with_help("Data without an end cannot be evaluated; write the part out where it is meant.")
        })?;
        self.context.import_resolver.terms.insert(id, TermEntry { value, ..entry });
        Ok(())
    }
}

/// The real path of a file that is in none of the roots.
fn outside(path: &Path, roots: &[PathBuf]) -> Option<PathBuf> {
    if path.starts_with(LIBRARY_ROOT) {
        return None;
    }
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    (!roots.iter().any(|root| real.starts_with(root))).then_some(real)
}

/// The first number that is infinite or none, and where it is.
fn not_finite(item: &toml_edit::Item) -> Option<(String, Option<Range<usize>>)> {
    match item {
        toml_edit::Item::None => None,
        toml_edit::Item::Value(value) => not_finite_value(value),
        toml_edit::Item::Table(table) => table.iter().find_map(|(_, item)| not_finite(item)),
        toml_edit::Item::ArrayOfTables(tables) => {
            tables.iter().flat_map(toml_edit::Table::iter).find_map(|(_, item)| not_finite(item))
        }
    }
}

fn not_finite_value(value: &toml_edit::Value) -> Option<(String, Option<Range<usize>>)> {
    match value {
        toml_edit::Value::Float(number) if !number.value().is_finite() => {
            Some((number.value().to_string(), value.span()))
        }
        toml_edit::Value::Array(items) => items.iter().find_map(not_finite_value),
        toml_edit::Value::InlineTable(table) => table.iter().find_map(|(_, value)| not_finite_value(value)),
        _ => None,
    }
}

/// The anchors of a file, each expanded once and shared by its aliases.
struct Anchors {
    named: HashMap<Ident, NickelValue>,
    whole: HashMap<Ident, NickelValue>,
    open: HashSet<Ident>,
}

/// An anchor within itself.
struct Endless;

impl Anchors {
    fn expand(&mut self, value: NickelValue) -> Result<NickelValue, Endless> {
        let mut alias = |value: NickelValue| match value.content_ref() {
            ValueContentRef::Term(Term::Var(name)) => self.named_by(name.ident(), &value),
            _ => Ok(value),
        };
        value.traverse(&mut alias, TraverseOrder::BottomUp)
    }

    fn named_by(&mut self, name: Ident, alias: &NickelValue) -> Result<NickelValue, Endless> {
        if let Some(whole) = self.whole.get(&name) {
            return Ok(whole.clone());
        }
        let Some(value) = self.named.get(&name).cloned() else { return Ok(alias.clone()) };
        if !self.open.insert(name) {
            return Err(Endless);
        }
        let whole = self.expand(value)?;
        self.open.remove(&name);
        self.whole.insert(name, whole.clone());
        Ok(whole)
    }
}
