//! Owns one kept Nickel context: what it has read, whether the world still agrees with that, and forgetting what does
//! not. The modules beneath own one job each.

mod call;
mod check;
mod deps;
mod doc;
mod eval;
mod export;
mod format;
mod places;
mod query;
mod sources;
mod test;
mod validate;
mod vet;

use crate::cache::digest;
use crate::explain::{self, Explainer};
use crate::guard::GuardedCache;
use crate::host::{read_regular, resolve};
use crate::job::{Answer, Job, Reply, Watch};
use crate::request::{Library, Request};
use nickel_lang_core::ast::{Ast, AstAlloc, Import, InputFormat, Node as AstNode};
use nickel_lang_core::cache::{CacheHub, SourcePath, TermEntry, TermEntryState, normalize_abs_path};
use nickel_lang_core::error::{Error, NullReporter};
use nickel_lang_core::eval::VmContext;
use nickel_lang_core::eval::value::NickelValue;
use nickel_lang_core::files::FileId;
use nickel_lang_core::traverse::{TraverseAlloc, TraverseControl};
use places::Offsets;
use provision_diagnostic::Code;
use provision_diagnostic::Failure;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder that library files seem to be in; it exists in memory only.
pub const LIBRARY_ROOT: &str = "/<built-in>";

/// One kept context.
pub struct Session {
    library: Option<Arc<Library>>,
    import_paths: Vec<PathBuf>,
    confine: Option<Vec<PathBuf>>,
    context: VmContext<CacheHub, GuardedCache>,
    /// Texts given in requests, by folder and content.
    texts: HashMap<PathBuf, FileId>,
    /// Texts written by us, to merge sources for example.
    joints: HashMap<String, FileId>,
    /// Names of everything that is not a file on disk.
    names: HashMap<FileId, String>,
    library_ids: HashSet<FileId>,
    /// The imports written in each file, and the path each led to.
    resolved: HashMap<FileId, Vec<(String, Option<PathBuf>)>>,
    /// Files that were prepared whole; what was met on the way to a failure is read anew.
    settled: HashSet<FileId>,
    /// Files that are read anew when they are met again. Their ids stay valid for positions.
    forgotten: HashSet<FileId>,
    /// Place of a field's value to place of its key, per user file.
    keys: HashMap<FileId, HashMap<Offsets, Offsets>>,
    /// The contract compiled last, and for what.
    validator: Option<validate::Validator>,
}

impl Session {
    /// A cold context for this library, this import path, and files from these roots alone.
    pub fn new(library: Option<Arc<Library>>, import_paths: Vec<PathBuf>, confine: Option<Vec<PathBuf>>) -> Self {
        let mut context = VmContext::new(CacheHub::new(), std::io::stderr(), NullReporter {});
        let sources = &mut context.import_resolver.sources;
        sources.add_import_paths(import_paths.iter().cloned());
        sources.add_import_paths(std::iter::once(PathBuf::from(LIBRARY_ROOT)));
        let mut session = Self {
            library: None,
            import_paths,
            confine,
            context,
            texts: HashMap::new(),
            joints: HashMap::new(),
            names: HashMap::new(),
            library_ids: HashSet::new(),
            resolved: HashMap::new(),
            settled: HashSet::new(),
            forgotten: HashSet::new(),
            keys: HashMap::new(),
            validator: None,
        };
        session.add_library(library.as_ref());
        session
    }

    /// Loads the standard library before it is asked for.
    pub fn warm_up(&mut self) {
        // A failure shows again at the first job.
        let _ = self.context.import_resolver.prepare_stdlib(&mut self.context.pos_table);
    }

    /// Whether this context was made for the same import path and roots, and for the same library or for none yet: what
    /// one request may read another need not.
    pub fn serves(&self, request: &Request) -> bool {
        let same_library = match (&self.library, &request.library) {
            (None, _) => true,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (Some(_), None) => false,
        };
        same_library && self.import_paths == request.import_paths && self.confine == request.confine
    }

    fn add_library(&mut self, library: Option<&Arc<Library>>) {
        let (None, Some(library)) = (&self.library, library) else { return };
        let sources = &mut self.context.import_resolver.sources;
        for (name, text) in &library.files {
            let path = normalize_abs_path(&Path::new(LIBRARY_ROOT).join(name));
            let format = InputFormat::from_path(&path).unwrap_or_default();
            let id = sources.add_string(SourcePath::Path(path, format), text.clone());
            self.names.insert(id, format!("<built-in>/{name}"));
            self.library_ids.insert(id);
        }
        self.library = Some(library.clone());
    }

    /// Looks at every file read and every import resolved, and forgets what changed with all that imports it.
    pub fn refresh(&mut self, request: &Request) {
        self.add_library(request.library.as_ref());
        let sources = &self.context.import_resolver.sources;
        let is_stale = |id: &FileId, path: &Path| {
            let imports = self.resolved.get(id).into_iter().flatten();
            let folder = path.parent().unwrap_or(Path::new("/"));
            let on_disk = !self.names.contains_key(id);
            (on_disk && read_regular(path).map_or(true, |now| now != sources.source(*id).as_bytes()))
                || imports.into_iter().any(|(text, led_to)| self.resolve(folder, text) != *led_to)
        };
        let stale: Vec<FileId> = sources
            .file_paths
            .iter()
            .filter(|(id, _)| !self.forgotten.contains(id))
            .filter_map(|(id, path)| match path {
                SourcePath::Path(path, _) if is_stale(id, path) => Some(*id),
                _ => None,
            })
            .collect();
        if !stale.is_empty() {
            self.forget(stale);
        }
    }

    /// Forgets these files and all that import them, so that they are read, parsed and checked anew.
    fn forget(&mut self, ids: impl IntoIterator<Item = FileId>) {
        let hub = &mut self.context.import_resolver;
        let mut all: HashSet<FileId> = ids.into_iter().collect();
        for id in all.clone() {
            all.extend(hub.import_data.transitive_rev_imports(id));
        }
        for id in &all {
            // A newer file of this path that others lean on keeps its id for them, and is still looked at.
            if let Some(path) = hub.sources.file_paths.get(id)
                && !self.library_ids.contains(id)
            {
                hub.sources.file_ids.remove(path);
            }
            hub.asts.remove(*id);
            // What was evaluated of it is memory that nobody asks for again.
            if hub.terms.contains(*id) && !self.library_ids.contains(id) {
                let (value, state, format) = (NickelValue::null(), TermEntryState::Populated, InputFormat::Nickel);
                hub.terms.insert(*id, TermEntry { value, state, format });
            }
            self.settled.remove(id);
            self.resolved.remove(id);
            self.keys.remove(id);
        }
        self.texts.retain(|_, id| !all.contains(id));
        self.joints.retain(|_, id| !all.contains(id));
        // A library file that failed stays; its text is always the same, and so is its failure.
        self.forgotten.extend(all.difference(&self.library_ids));
        self.validator = None;
    }

    /// Forgets everything that was not prepared whole, after a failure in the middle of it.
    fn forget_unsettled(&mut self) {
        let sources = &self.context.import_resolver.sources;
        let unsettled: Vec<FileId> = sources
            .file_paths
            .iter()
            .filter(|(id, path)| {
                matches!(path, SourcePath::Path(..) | SourcePath::Generated(_))
                    && !self.settled.contains(id)
                    && !self.forgotten.contains(id)
                    && !sources.is_stdlib_module(**id)
            })
            .map(|(id, _)| *id)
            .collect();
        self.forget(unsettled);
        if self.library_ids.iter().any(|id| !self.settled.contains(id)) {
            self.replace_library();
        }
    }

    /// Gives library files that were left half prepared new ids.
    fn replace_library(&mut self) {
        let Some(library) = self.library.take() else { return };
        let old: Vec<FileId> = self.library_ids.drain().collect();
        self.forget(old);
        self.add_library(Some(&library));
    }

    /// Notes that a file and all it imports were prepared whole, with where each import led.
    fn settle(&mut self, main: FileId) {
        let hub = &self.context.import_resolver;
        let mut ids = hub.import_data.transitive_imports(main);
        ids.insert(main);
        let fresh: Vec<FileId> = ids.into_iter().filter(|id| !self.settled.contains(id)).collect();
        for id in fresh {
            let folder = match hub.sources.file_paths.get(&id) {
                Some(SourcePath::Path(path, _)) => path.parent().unwrap_or(Path::new("/")).to_owned(),
                _ => PathBuf::from("/"),
            };
            let imports = hub.asts.get(id).map(written_imports).unwrap_or_default();
            let imports = imports.into_iter().map(|(text, _)| {
                let path = self.resolve(&folder, &text);
                (text, path)
            });
            let imports: Vec<_> = imports.collect();
            self.resolved.insert(id, imports);
            self.settled.insert(id);
        }
    }

    fn resolve(&self, folder: &Path, text: &str) -> Option<PathBuf> {
        resolve(folder, text, &self.import_paths, self.library.as_ref())
    }

    fn explainer<'a>(&'a self, request: &'a Request) -> Explainer<'a> {
        let sources = &self.context.import_resolver.sources;
        Explainer::new(sources, &self.names, &self.library_ids, self.joints.values().copied().collect(), request)
    }

    fn failure(&self, request: &Request, error: Error) -> Failure {
        let all = self.explainer(request).error(error, &self.context.pos_table);
        match Failure::check(explain::distinct(all)) {
            Err(failure) => failure,
            Ok(()) => Failure::new(Code::NickelEvalType, "evaluation failed without saying why"),
        }
    }

    /// Does one job.
    pub fn run(&mut self, job: &Job) -> Reply {
        let done = match job {
            Job::Eval(request) => self.eval(request),
            Job::Export(request, format) => self.export(request, *format),
            Job::Check(request) => self.check(request),
            Job::Deps(request) => self.deps(request),
            Job::Query(request) => self.query(request),
            Job::Doc(request, false) => self.doc(request),
            Job::Doc(request, true) => self.markdown(request),
            Job::Test(request) => self.test(request),
            Job::Format(request) => self.format(request),
            Job::Call(request, arguments) => self.call(request, arguments),
            Job::Validate(request, rows) => self.validate(request, rows),
            Job::Fields(request) => self.fields(request),
        };
        match done {
            Ok((answer, main)) => Reply { result: Ok(answer), watch: self.watch(&main) },
            Err(failure) => failure.into(),
        }
    }

    /// What an answer made of these files depends on.
    fn watch(&self, mains: &[FileId]) -> Watch {
        let hub = &self.context.import_resolver;
        let mut ids: HashSet<FileId> = mains.iter().copied().collect();
        for main in mains {
            ids.extend(hub.import_data.transitive_imports(*main));
        }
        let mut watch = Watch::default();
        for id in ids {
            let Some(SourcePath::Path(path, _)) = hub.sources.file_paths.get(&id) else { continue };
            if !self.names.contains_key(&id) {
                watch.files.push((path.clone(), digest(hub.sources.source(id).as_bytes())));
            }
            let folder = path.parent().unwrap_or(Path::new("/"));
            let imports = self.resolved.get(&id).into_iter().flatten();
            watch.imports.extend(imports.map(|(text, led_to)| (folder.to_owned(), text.clone(), led_to.clone())));
        }
        watch
    }
}

/// What a job gives, and the files it was made of.
type Done = Result<(Answer, Vec<FileId>), Failure>;

/// The texts after `import` in a source, with the format each asks for, in their order.
fn written_imports(ast: &Ast<'_>) -> Vec<(String, InputFormat)> {
    let mut imports = Vec::new();
    let _: Option<()> = ast.traverse_ref(
        &mut |node: &Ast<'_>, _: &()| {
            if let AstNode::Import(Import::Path { path, format }) = &node.node {
                imports.push((path.to_string_lossy().into_owned(), *format));
            }
            TraverseControl::Continue
        },
        &(),
    );
    imports
}

/// The same of a file that need not be in the cache.
fn imports_of(hub: &CacheHub, id: FileId) -> Result<Vec<(String, InputFormat)>, Error> {
    let alloc = AstAlloc::new();
    let ast = hub.sources.parse_nickel(&alloc, id).map_err(Error::ParseErrors)?;
    Ok(written_imports(&ast))
}
