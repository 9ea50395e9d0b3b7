//! Owns listing what a file imports, and what that imports.

use super::{Done, Session, imports_of};
use crate::cache::digest;
use crate::job::{Answer, Dependency};
use crate::request::Request;
use nickel_lang_core::ast::InputFormat;
use nickel_lang_core::cache::SourcePath;
use nickel_lang_core::files::FileId;
use provision_diagnostic::{Code, Diagnostic, Failure};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// One import: who imports whom, how it is written and as what.
pub(super) struct Edge {
    pub from: FileId,
    pub to: FileId,
    pub format: InputFormat,
}

impl Session {
    pub(super) fn deps(&mut self, request: &Request) -> Done {
        let mut mains = Vec::new();
        for source in &request.sources {
            mains.push(self.file_id(source)?);
        }
        let (edges, missing) = self.edges(request, &mains)?;
        Failure::check(missing)?;
        let mut rows: Vec<Dependency> = Vec::new();
        {
            let explainer = self.explainer(request);
            let sources = &self.context.import_resolver.sources;
            for edge in &edges {
                let row = Dependency {
                    file: explainer.name(edge.to),
                    imported_by: explainer.name(edge.from),
                    format: edge.format.to_string().to_lowercase(),
                    digest: digest(sources.source(edge.to).as_bytes()),
                };
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
        // Files are read here without being prepared, so that nothing else may lean on them.
        let mut read: Vec<FileId> = edges.iter().flat_map(|edge| [edge.from, edge.to]).chain(mains).collect();
        read.dedup();
        for id in &read {
            let edges = edges.iter().filter(|edge| edge.from == *id);
            self.context.import_resolver.import_data.imports.entry(*id).or_default().extend(
                edges.map(|edge| nickel_lang_core::cache::ImportTarget { file_id: edge.to, format: edge.format }),
            );
        }
        let watched = read.clone();
        Ok((Answer::Dependencies(rows), watched))
    }

    /// The folder in which the imports of a file are looked up first.
    pub(super) fn folder(&self, id: FileId) -> PathBuf {
        match self.context.import_resolver.sources.file_paths.get(&id) {
            Some(SourcePath::Path(path, _)) => path.parent().unwrap_or(Path::new("/")).to_owned(),
            _ => PathBuf::from("/"),
        }
    }

    /// Every import reached from some files, breadth first, and what is wrong with the others. Where each leads is noted
    /// for the next look at the files.
    pub(super) fn edges(
        &mut self,
        request: &Request,
        mains: &[FileId],
    ) -> Result<(Vec<Edge>, Vec<Diagnostic>), Failure> {
        let (mut edges, mut missing) = (Vec::new(), Vec::new());
        let mut seen: HashSet<FileId> = mains.iter().copied().collect();
        let mut next: std::collections::VecDeque<FileId> = mains.iter().copied().collect();
        while let Some(from) = next.pop_front() {
            let format = self.context.import_resolver.input_format(from).unwrap_or_default();
            if format != InputFormat::Nickel {
                continue;
            }
            let imports = match imports_of(&self.context.import_resolver, from) {
                Ok(imports) => imports,
                Err(error) => return Err(self.failure(request, error)),
            };
            let folder = self.folder(from);
            let mut resolved = Vec::with_capacity(imports.len());
            for (text, format) in imports {
                let led_to = self.resolve(&folder, &text);
                resolved.push((text.clone(), led_to.clone()));
                let Some(path) = led_to else {
                    let name = self.explainer(request).name(from);
                    let message = format!("the import `{text}` of {name} cannot be found");
                    missing.push(Diagnostic::error(Code::NickelImport, message).with_help(
                        "Imports are looked up beside the importing file, then along --import-path and NICKEL_IMPORT_PATH.",
                    ));
                    continue;
                };
                let sources = &mut self.context.import_resolver.sources;
                let to = match sources.get_or_add_file(&path, format) {
                    Ok(id) => id.inner(),
                    Err(error) => {
                        let message = format!("the import `{text}` cannot be read as text: {error}");
                        missing.push(Diagnostic::error(Code::NickelImport, message).with_help("Check the file."));
                        continue;
                    }
                };
                edges.push(Edge { from, to, format });
                if seen.insert(to) {
                    next.push_back(to);
                }
            }
            self.resolved.insert(from, resolved);
        }
        Ok((edges, missing))
    }
}
