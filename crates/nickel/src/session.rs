//! Owns one kept Nickel context: what it has read, whether the world still agrees with that, and evaluating in it.

use crate::explain::Explainer;
use crate::guard::GuardedCache;
use crate::positions::{Children, Mark, Node, Table};
use crate::request::{Evaluation, Input, Library, Request, Source};
use crate::walk::{Place, RawChildren, RawNode, Walk};
use crate::{Positions, explain};
use nickel_lang_core::ast::{Ast, AstAlloc, InputFormat, Node as AstNode, record::FieldPathElem};
use nickel_lang_core::cache::{CacheHub, SourcePath, normalize_abs_path};
use nickel_lang_core::error::{Error, NullReporter};
use nickel_lang_core::eval::{Closure, VirtualMachine, VmContext};
use nickel_lang_core::files::FileId;
use nickel_lang_core::position::TermPos;
use nickel_lang_core::program::FieldPath;
use nickel_lang_core::traverse::{TraverseAlloc, TraverseControl};
use nickel_lang_core::typecheck::TypecheckMode;
use provision_diagnostic::{Diagnostic, Failure};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder that library files seem to be in; it exists in memory only.
const LIBRARY_ROOT: &str = "/<built-in>";
/// Results kept beside a context, so that an unchanged request costs only the look at its files.
const RESULTS: usize = 8;

type Offsets = (u32, u32);

/// One kept context.
pub struct Session {
    library: Option<Arc<Library>>,
    import_paths: Vec<PathBuf>,
    context: VmContext<CacheHub, GuardedCache>,
    /// Texts given in requests, by folder and content.
    texts: HashMap<PathBuf, FileId>,
    /// Texts written by us to merge sources.
    joints: HashMap<String, FileId>,
    /// Names of everything that is not a file on disk.
    names: HashMap<FileId, String>,
    library_ids: HashSet<FileId>,
    /// Each import written in a file read so far, and the path it led to.
    resolved: Vec<(PathBuf, String, Option<PathBuf>)>,
    scanned: HashSet<FileId>,
    /// Place of a field's value to place of its key, per user file.
    keys: HashMap<FileId, HashMap<Offsets, Offsets>>,
    results: Vec<(String, Evaluation)>,
    pub uses: usize,
}

impl Session {
    /// A cold context for this library and import path.
    pub fn new(library: Option<Arc<Library>>, import_paths: Vec<PathBuf>) -> Self {
        let mut context = VmContext::new(CacheHub::new(), std::io::sink(), NullReporter {});
        let sources = &mut context.import_resolver.sources;
        sources.add_import_paths(import_paths.iter().cloned());
        sources.add_import_paths(std::iter::once(PathBuf::from(LIBRARY_ROOT)));
        let (mut names, mut library_ids) = (HashMap::new(), HashSet::new());
        for (name, text) in library.iter().flat_map(|library| &library.files) {
            let path = normalize_abs_path(&Path::new(LIBRARY_ROOT).join(name));
            let format = InputFormat::from_path(&path).unwrap_or_default();
            let id = sources.add_string(SourcePath::Path(path, format), text.clone());
            names.insert(id, format!("<built-in>/{name}"));
            library_ids.insert(id);
        }
        Self {
            library,
            import_paths,
            context,
            texts: HashMap::new(),
            joints: HashMap::new(),
            names,
            library_ids,
            resolved: Vec::new(),
            scanned: HashSet::new(),
            keys: HashMap::new(),
            results: Vec::new(),
            uses: 0,
        }
    }

    /// Whether this context was made for the same library and import path.
    pub fn serves(&self, request: &Request) -> bool {
        let same_library = match (&self.library, &request.library) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            _ => false,
        };
        same_library && self.import_paths == request.import_paths
    }

    /// Whether every file read is still what it was and every import would still find the same file.
    pub fn is_current(&self) -> bool {
        let sources = &self.context.import_resolver.sources;
        let files_same = sources.file_paths.iter().all(|(id, path)| match path {
            SourcePath::Path(path, _) if !self.names.contains_key(id) => {
                std::fs::read_to_string(path).is_ok_and(|now| now == sources.source(*id))
            }
            _ => true,
        });
        files_same && self.resolved.iter().all(|(folder, text, path)| self.resolve(folder, text) == *path)
    }

    /// The file that an import written in a file of this folder leads to: the first candidate that can be read.
    fn resolve(&self, folder: &Path, text: &str) -> Option<PathBuf> {
        let root = Path::new(LIBRARY_ROOT);
        let folders = std::iter::once(folder).chain(self.import_paths.iter().map(PathBuf::as_path)).chain([root]);
        folders.map(|folder| normalize_abs_path(&folder.join(text))).find(|path| match path.strip_prefix(root) {
            Ok(inside) => {
                let name = inside.to_string_lossy();
                self.library.as_ref().is_some_and(|library| library.files.contains_key(&*name))
            }
            Err(_) => path.is_file(),
        })
    }

    /// Notes the imports of every file that is new since the last call.
    pub fn scan_imports(&mut self) {
        let sources = &self.context.import_resolver.sources;
        let mut fresh = Vec::new();
        for (id, path) in &sources.file_paths {
            if let SourcePath::Path(path, InputFormat::Nickel) = path
                && !self.scanned.contains(id)
            {
                let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
                fresh.push((*id, folder, written_imports(sources.source(*id))));
            }
        }
        for (id, folder, imports) in fresh {
            self.scanned.insert(id);
            for text in imports {
                let path = self.resolve(&folder, &text);
                self.resolved.push((folder.clone(), text, path));
            }
        }
    }

    fn explainer<'a>(&'a self, request: &'a Request) -> Explainer<'a> {
        let sources = &self.context.import_resolver.sources;
        Explainer::new(sources, &self.names, &self.library_ids, self.joints.values().copied().collect(), request)
    }

    fn file_id(&mut self, source: &Source) -> Result<FileId, Failure> {
        let sources = &mut self.context.import_resolver.sources;
        match source {
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

    /// The file to evaluate: the source itself, or a text of ours that merges the sources, overrides and contracts.
    fn main_id(&mut self, request: &Request) -> Result<FileId, Failure> {
        let mut ids = Vec::new();
        for source in &request.sources {
            ids.push(self.file_id(source)?);
        }
        let mut contracts = Vec::new();
        for path in &request.contracts {
            contracts.push(self.file_id(&Source::File(path.clone()))?);
        }
        let sources = &mut self.context.import_resolver.sources;
        let format_of = |id: FileId| sources.input_format(id).unwrap_or_default();
        if let [one] = ids[..]
            && contracts.is_empty()
            && request.overrides.is_none()
            && format_of(one) == InputFormat::Nickel
        {
            return Ok(one);
        }
        let import = |id: &FileId| match sources.file_paths.get(id) {
            Some(SourcePath::Path(path, format)) => {
                format!("(import {} as '{format})", quoted(&path.to_string_lossy()))
            }
            _ => "null".to_owned(),
        };
        let mut parts: Vec<String> = ids.iter().map(import).collect();
        match &request.overrides {
            None => {}
            Some(record @ serde_json::Value::Object(_)) => parts.push(override_text(record)),
            Some(_) => return Err(Failure::new("nickel::eval::type", "the override is not a record")),
        }
        let mut text = format!("({})", parts.join(" & "));
        for contract in &contracts {
            text = format!("({text} | {})", import(contract));
        }
        if let Some(id) = self.joints.get(&text) {
            return Ok(*id);
        }
        let id = sources.add_string(SourcePath::Generated("merged sources".to_owned()), text.clone());
        self.joints.insert(text, id);
        Ok(id)
    }

    /// Evaluates a request in this context; any mistake is the failure.
    pub fn eval(&mut self, request: &Request) -> Result<Evaluation, Failure> {
        let (evaluation, found) = self.eval_partial(request)?;
        Failure::check(found)?;
        Ok(evaluation)
    }

    /// The same, giving what could be evaluated beside the mistakes; a field that failed is null.
    pub fn eval_partial(&mut self, request: &Request) -> Result<(Evaluation, Vec<Diagnostic>), Failure> {
        if request.sources.is_empty() {
            return Err(
                Failure::new("nickel::io", "there is no source to evaluate").with_help("Give a file or a text.")
            );
        }
        let question = request_key(request);
        let key = format!("{question}{:?}", request.shown_from);
        if let Some((_, kept)) = self.results.iter().find(|(known, _)| *known == key) {
            return Ok((kept.clone(), Vec::new()));
        }
        self.uses += 1;
        let main = self.main_id(request)?;
        let result = self.eval_main(request, main, &question);
        self.scan_imports();
        if let Ok((evaluation, found)) = &result
            && found.is_empty()
        {
            if self.results.len() >= RESULTS {
                self.results.remove(0);
            }
            self.results.push((key, evaluation.clone()));
        }
        result
    }

    fn eval_main(
        &mut self,
        request: &Request,
        main: FileId,
        key: &str,
    ) -> Result<(Evaluation, Vec<Diagnostic>), Failure> {
        let prepared = match self.context.prepare_eval(main) {
            Ok(value) => value,
            Err(error) => return Err(self.failure(request, error)),
        };
        let field = match &request.field {
            None => None,
            Some(text) => match FieldPath::parse(&mut self.context.import_resolver, text.clone()) {
                Ok(path) => Some(path),
                Err(error) => return Err(self.failure(request, Error::from(error))),
            },
        };
        let (value, raw, found) = {
            let mut machine = VirtualMachine::new(&mut self.context);
            let start = match &field {
                None => Ok(prepared),
                Some(path) => machine.extract_field_value_closure(Closure::from(prepared), path).map(|at| at.value),
            };
            match start {
                Err(error) => {
                    drop(machine);
                    return Err(self.failure(request, Error::EvalError(error)));
                }
                Ok(start) => {
                    let mut walk = Walk::new(&mut machine, request.inexact);
                    let (value, raw) = walk.value(start);
                    (value, raw, walk.found)
                }
            }
        };
        let found = match found.is_empty() {
            true => Vec::new(),
            false => {
                let mut explainer = self.explainer(request);
                let all = found.into_iter().map(|one| explainer.found(one, &self.context.pos_table)).collect();
                explain::distinct(all)
            }
        };
        let positions = self.positions(request, main, &raw);
        let inputs = self.inputs(main);
        let mut hash = Sha256::new();
        for input in &inputs {
            hash.update(format!("{}\0{}\0", input.file, input.digest));
        }
        hash.update(key);
        let digest = data_encoding::HEXLOWER.encode(&hash.finalize());
        Ok((Evaluation { value, positions, inputs, digest }, found))
    }

    fn failure(&self, request: &Request, error: Error) -> Failure {
        let all = self.explainer(request).error(error, &self.context.pos_table);
        match Failure::check(explain::distinct(all)) {
            Err(failure) => failure,
            Ok(()) => Failure::new("nickel::eval::type", "evaluation failed without saying why"),
        }
    }

    /// Parses and typechecks each source on its own.
    pub fn check(&mut self, request: &Request) -> Result<Vec<Diagnostic>, Failure> {
        self.uses += 1;
        let mut ids = Vec::new();
        for source in &request.sources {
            ids.push(self.file_id(source)?);
        }
        for path in &request.contracts {
            ids.push(self.file_id(&Source::File(path.clone()))?);
        }
        let mut all = Vec::new();
        for id in ids {
            if let Err(error) = self.check_one(id) {
                all.extend(self.explainer(request).error(error, &self.context.pos_table));
            }
        }
        self.scan_imports();
        Ok(explain::distinct(all))
    }

    fn check_one(&mut self, id: FileId) -> Result<(), Error> {
        let hub = &mut self.context.import_resolver;
        let format = hub.input_format(id).unwrap_or_default();
        if format != InputFormat::Nickel {
            hub.parse_to_term(&mut self.context.pos_table, id, format)?;
            return Ok(());
        }
        hub.parse_to_ast(id)?;
        hub.load_stdlib()?;
        match hub.typecheck(id, TypecheckMode::Walk) {
            Ok(_) => Ok(()),
            Err(nickel_lang_core::cache::CacheError::Error(error)) => Err(Error::TypecheckError(error)),
            // Only a source that was never parsed gives this, and it was parsed above.
            Err(nickel_lang_core::cache::CacheError::IncompatibleState { .. }) => Ok(()),
        }
    }

    fn inputs(&self, main: FileId) -> Vec<Input> {
        let hub = &self.context.import_resolver;
        let mut ids = hub.import_data.transitive_imports(main);
        ids.insert(main);
        let mut inputs: Vec<Input> = ids
            .into_iter()
            .filter_map(|id| match hub.sources.file_paths.get(&id)? {
                SourcePath::Path(path, _) => {
                    let file = self.names.get(&id).cloned().unwrap_or_else(|| path.to_string_lossy().into_owned());
                    Some(Input { file, digest: digest(hub.sources.source(id).as_bytes()) })
                }
                _ => None,
            })
            .collect();
        inputs.sort_by(|a, b| a.file.cmp(&b.file));
        inputs.dedup();
        inputs
    }

    fn positions(&mut self, request: &Request, main: FileId, raw: &RawNode) -> Positions {
        let mut ids: Vec<FileId> =
            self.context.import_resolver.import_data.transitive_imports(main).into_iter().chain([main]).collect();
        ids.retain(|id| self.explainer(request).is_user(*id));
        for id in &ids {
            if !self.keys.contains_key(id) {
                let keys = field_keys(&self.context.import_resolver, *id);
                self.keys.insert(*id, keys);
            }
        }
        let explainer = self.explainer(request);
        let sources =
            ids.iter().map(|id| (explainer.name(*id), self.context.import_resolver.sources.clone_source(*id)));
        let mut marker = Marker { session: self, index: HashMap::new() };
        for (at, id) in ids.iter().enumerate() {
            marker.index.insert(*id, u32::try_from(at).unwrap_or(u32::MAX));
        }
        let table = Table { sources: sources.collect(), root: marker.node(raw) };
        Positions { table: Arc::new(table) }
    }
}

/// Turns the walk's places into marks.
struct Marker<'a> {
    session: &'a Session,
    index: HashMap<FileId, u32>,
}

impl Marker<'_> {
    fn mark(&self, place: &Place) -> Option<(FileId, Mark)> {
        let pos = match place {
            Place::Known(pos) => *pos,
            Place::Index(index) => self.session.context.pos_table.get(*index),
        };
        let span = pos.into_opt()?;
        let source = *self.index.get(&span.src_id)?;
        Some((span.src_id, Mark { source, start: span.start.0, end: span.end.0 }))
    }

    fn node(&self, raw: &RawNode) -> Node {
        let value = raw.places.iter().find_map(|place| self.mark(place));
        // A merged field keeps the name of the left side, often the library's; the name beside the value is the user's.
        let beside = value.and_then(|(id, mark)| {
            let (start, end) = *self.session.keys.get(&id)?.get(&(mark.start, mark.end))?;
            Some(Mark { source: mark.source, start, end })
        });
        let key = beside.or_else(|| Some(self.mark(raw.key.as_ref()?)?.1));
        let children = match &raw.children {
            RawChildren::None => Children::None,
            RawChildren::Fields(fields) => {
                Children::Fields(fields.iter().map(|(name, child)| (name.clone(), self.node(child))).collect())
            }
            RawChildren::Items(items) => Children::Items(items.iter().map(|child| self.node(child)).collect()),
        };
        Node { key, value: value.map(|(_, mark)| mark), children }
    }
}

/// For each field definition of a file, the place of its value and of its name.
fn field_keys(hub: &CacheHub, id: FileId) -> HashMap<Offsets, Offsets> {
    let mut keys = HashMap::new();
    if hub.sources.input_format(id) != Some(InputFormat::Nickel) {
        return keys;
    }
    let alloc = AstAlloc::new();
    let Ok(ast) = hub.sources.parse_nickel(&alloc, id) else { return keys };
    let offsets = |pos: TermPos| -> Option<Offsets> { pos.into_opt().map(|span| (span.start.0, span.end.0)) };
    let _: Option<()> = ast.traverse_ref(
        &mut |node: &Ast<'_>, _: &()| {
            if let AstNode::Record(record) = &node.node {
                for field in record.field_defs {
                    let name = match field.path.last() {
                        Some(FieldPathElem::Ident(id)) => offsets(id.pos),
                        Some(FieldPathElem::Expr(expression)) => offsets(expression.pos),
                        None => None,
                    };
                    let value = field.value.as_ref().and_then(|value| offsets(value.pos));
                    if let (Some(name), Some(value)) = (name, value) {
                        keys.insert(value, name);
                    }
                }
            }
            TraverseControl::Continue
        },
        &(),
    );
    keys
}

/// The texts after `import` in a source. Comments may add some that are none; they do no harm.
fn written_imports(text: &str) -> Vec<String> {
    let mut imports = Vec::new();
    for part in text.split("import").skip(1) {
        let Some(rest) = part.trim_start().strip_prefix('"') else { continue };
        let mut import = String::new();
        let mut letters = rest.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '"' => break,
                '\\' => import.extend(letters.next()),
                other => import.push(other),
            }
        }
        imports.push(import);
    }
    imports.sort();
    imports.dedup();
    imports
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
    Failure::new("nickel::io", message).with_help("Check that the path exists and is readable.")
}

/// A record as Nickel text whose leaves have forced priority.
fn override_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            let fields = map.iter().map(|(name, value)| match value {
                serde_json::Value::Object(inner) if !inner.is_empty() => {
                    format!("{} = {}", quoted(name), override_text(value))
                }
                leaf => format!("{} | force = {}", quoted(name), literal(leaf)),
            });
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        other => literal(other),
    }
}

fn literal(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => quoted(text),
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        serde_json::Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| format!("{} = {}", quoted(name), literal(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) | serde_json::Value::Null => value.to_string(),
    }
}

/// A Nickel string literal.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => literal.extend(['\\', letter]),
            '%' => literal.push_str("\\%"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

fn digest(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Everything in a request that its value depends on, beside the files.
fn request_key(request: &Request) -> String {
    let Request {
        sources,
        field,
        overrides,
        contracts,
        import_paths,
        library: _,
        inexact,
        interrupt: _,
        shown_from: _,
    } = request;
    format!("{sources:?}{field:?}{overrides:?}{contracts:?}{import_paths:?}{inexact:?}")
}
