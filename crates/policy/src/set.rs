//! Owns policy sets and schemas: reading, naming, validating.

use crate::authorize::Reason;
use crate::slice::Slices;
use crate::tell;
use cedar_policy::{PolicyId, ValidationMode, Validator};
use cedar_policy_core::ast::{BinaryOp, ExprKind};
use provision_diagnostic::{Code, Diagnostic, Failure, Severity, Source};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// One file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// The relative path shown to users.
    pub name: String,
    pub text: String,
}

/// What is known of a policy beside its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    /// `permit` or `forbid`.
    pub effect: &'static str,
    pub annotations: BTreeMap<String, String>,
    pub file: String,
    /// The line it starts on, from 1.
    pub line: usize,
    pub(crate) source: usize,
    /// Where it starts in its source, in bytes.
    pub(crate) start: usize,
}

impl PolicyInfo {
    fn reason(&self, id: &PolicyId) -> Reason {
        Reason {
            policy: id.to_string(),
            effect: self.effect.to_owned(),
            annotations: self.annotations.clone(),
            file: self.file.clone(),
            line: self.line,
        }
    }
}

/// A compiled set of policies.
#[derive(Debug, Clone)]
pub struct PolicySet {
    pub(crate) cedar: cedar_policy::PolicySet,
    pub(crate) slices: Slices,
    /// What to say of each policy, in the order of `slices`.
    pub(crate) reasons: Vec<Arc<Reason>>,
    places: HashMap<String, usize>,
    tag_readers: HashSet<String>,
    infos: HashMap<String, PolicyInfo>,
    sources: Vec<PolicySource>,
    digest: String,
    shown: String,
}

/// A set while it is read.
#[derive(Default)]
struct Build {
    set: cedar_policy::PolicySet,
    infos: HashMap<String, PolicyInfo>,
    errors: Vec<Diagnostic>,
    /// What the names of the sources are shown with in front.
    shown: String,
}

impl Build {
    /// Adds what one source has: Cedar text, or the JSON form of a policy set, of a policy, or of a list of them.
    fn add_source(&mut self, index: usize, source: &PolicySource, by_file: bool) {
        let file = format!("{}{}", self.shown, source.name);
        let shown = Source { name: &file, text: &source.text };
        if let Some(at) = crate::deep::too_deep(&source.text) {
            let told = Diagnostic::error(Code::PolicyParse, "this is nested too deeply");
            let told = told.with_help("Write it flatter: a set with `contains`, several clauses, or several policies.");
            self.errors.push(told.with_excerpt(Some(provision_diagnostic::excerpt(shown, at..at))));
            return;
        }
        let json = source.text.trim_start().starts_with(['{', '[']);
        let parsed = if json {
            match crate::convert::read_json(&source.text) {
                Ok(parsed) => parsed,
                Err((message, at)) => {
                    let told = Diagnostic::error(Code::PolicyParse, message);
                    let told = told.with_help("Give Cedar text, or Cedar's JSON form as `from cedar` gives it.");
                    self.errors.push(told.with_excerpt(at.map(|at| provision_diagnostic::excerpt(shown, at))));
                    return;
                }
            }
        } else {
            match cedar_policy::PolicySet::from_str(&source.text) {
                Ok(parsed) => parsed,
                Err(all) => {
                    self.errors.extend(all.iter().map(|error| tell::diagnostic(Code::PolicyParse, error, Some(shown))));
                    return;
                }
            }
        };
        let name = |given: &PolicyId, annotations: &BTreeMap<String, String>| match annotations.get("id") {
            Some(id) => id.clone(),
            // In JSON a policy has a name of its own.
            None if by_file && !json => format!("{}:{given}", source.name),
            None => given.to_string(),
        };
        let range = |given: &PolicyId, at: Option<&cedar_policy_core::parser::Loc>| match at {
            Some(at) => at.start()..at.end(),
            None => {
                let key = format!("{}", serde_json::Value::from(given.to_string()));
                let start = source.text.find(&key).unwrap_or(0);
                start..start
            }
        };
        let mut templates = HashMap::new();
        for template in parsed.templates() {
            let annotations = owned(template.annotations());
            let id = name(template.id(), &annotations);
            templates.insert(template.id().clone(), PolicyId::new(&id));
            let info =
                info(template.effect(), annotations, index, shown, range(template.id(), template.as_ref().loc()));
            if self.new_name(&id, info, shown) {
                // An id was looked up just before, so adding under it cannot fail.
                let _ = self.set.add_template(template.new_id(PolicyId::new(&id)));
            }
        }
        for policy in parsed.policies() {
            let annotations = owned(policy.annotations());
            let linked = policy.template_id().and_then(|template| templates.get(template)).zip(policy.template_links());
            let id = match linked {
                // The annotations of a linked policy are its template's.
                Some(_) => policy.id().to_string(),
                None => name(policy.id(), &annotations),
            };
            let info = info(policy.effect(), annotations, index, shown, range(policy.id(), policy.as_ref().loc()));
            if self.new_name(&id, info, shown) {
                let _ = match linked {
                    Some((template, values)) => self.set.link(template.clone(), PolicyId::new(&id), values),
                    None => self.set.add(policy.new_id(PolicyId::new(&id))),
                };
            }
        }
    }

    fn new_name(&mut self, id: &str, info: PolicyInfo, source: Source<'_>) -> bool {
        if let Some(other) = self.infos.get(id) {
            self.errors.push(twice(id, &info, other, source));
            return false;
        }
        self.infos.insert(id.to_owned(), info);
        true
    }
}

impl PolicySet {
    /// Compiles the sources. The failure holds the errors of all of them.
    pub fn parse(sources: &[PolicySource]) -> Result<PolicySet, Failure> {
        Self::compile(sources, sources.len() > 1, "")
    }

    /// The same for the files of a folder, whose policies are named by file even where there is only one. Positions
    /// start with the folder as it is shown to users, `policies/` for instance.
    pub fn parse_folder(sources: &[PolicySource], shown: &str) -> Result<PolicySet, Failure> {
        Self::compile(sources, true, shown)
    }

    /// Reads a file, or all `*.cedar` files of a folder and the folders in it; `shown` as for
    /// [`PolicySet::parse_folder`].
    pub fn load(path: &Path, shown: &str) -> Result<PolicySet, Failure> {
        let sources = Self::sources_at(path)?;
        Self::compile(&sources, path.is_dir(), shown)
    }

    /// The sources that [`PolicySet::load`] compiles.
    pub fn sources_at(path: &Path) -> Result<Vec<PolicySource>, Failure> {
        let read = |file: &Path, name: String| match std::fs::read_to_string(file) {
            Ok(text) => Ok(PolicySource { name, text }),
            Err(error) => Err(unreadable(file, &error)),
        };
        if !path.is_dir() {
            return Ok(vec![read(path, path.display().to_string())?]);
        }
        let mut sources = Vec::new();
        for file in cedar_files(path)? {
            let name = file.strip_prefix(path).unwrap_or(&file).display().to_string();
            sources.push(read(&file, name)?);
        }
        Ok(sources)
    }

    fn compile(sources: &[PolicySource], by_file: bool, shown: &str) -> Result<PolicySet, Failure> {
        crate::deep::on_deep_stack(|| Self::compile_here(sources, by_file, shown))
    }

    fn compile_here(sources: &[PolicySource], by_file: bool, shown: &str) -> Result<PolicySet, Failure> {
        let mut build = Build { shown: shown.to_owned(), ..Build::default() };
        let mut hash = Sha256::new();
        for (index, source) in sources.iter().enumerate() {
            hash.update(format!("{}\0{}\0{}", source.name, source.text.len(), source.text));
            build.add_source(index, source, by_file);
        }
        Failure::check(build.errors)?;
        // In the order of the files, so that a decision's reasons need no sorting.
        let mut ordered: Vec<&cedar_policy::Policy> = build.set.policies().collect();
        ordered.sort_by_key(|policy| {
            let info = build.infos.get(policy.id().as_ref() as &str);
            (info.map(|info| (info.source, info.start)), policy.id().to_string())
        });
        let slices = Slices::new(ordered.iter().map(|policy| policy.as_ref()));
        let reasons: Vec<Arc<Reason>> = ordered
            .iter()
            .filter_map(|policy| Some(Arc::new(build.infos.get(policy.id().as_ref() as &str)?.reason(policy.id()))))
            .collect();
        let places = reasons.iter().enumerate().map(|(at, reason)| (reason.policy.clone(), at)).collect();
        let reads_tags = |policy: &&cedar_policy::Policy| {
            let condition = policy.as_ref().condition();
            condition.subexpressions().any(|expr| {
                let tag = |op: &BinaryOp| matches!(op, BinaryOp::GetTag | BinaryOp::HasTag);
                matches!(expr.expr_kind(), ExprKind::BinaryApp { op, .. } if tag(op))
            })
        };
        let tag_readers = ordered.iter().filter(|policy| reads_tags(policy)).map(|one| one.id().to_string()).collect();
        let digest = data_encoding::HEXLOWER.encode(&hash.finalize());
        Ok(PolicySet {
            tag_readers,
            infos: build.infos,
            sources: sources.to_vec(),
            digest,
            shown: shown.to_owned(),
            slices,
            reasons,
            places,
            cedar: build.set,
        })
    }

    /// The policies a decision asks, in the order of the files.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &cedar_policy::Policy> {
        self.reasons.iter().filter_map(|reason| self.cedar.policy(&PolicyId::new(&reason.policy)))
    }

    /// Whether a policy looks at tags.
    pub(crate) fn reads_tags(&self, id: &str) -> bool {
        self.tag_readers.contains(id)
    }

    /// The position of a policy in that order.
    pub(crate) fn place_of(&self, id: &PolicyId) -> Option<usize> {
        self.places.get(id.as_ref() as &str).copied()
    }

    /// Hexadecimal SHA-256 of all sources and their names.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the names of the sources are shown with in front.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The sources it was compiled from.
    pub fn sources(&self) -> &[PolicySource] {
        &self.sources
    }

    /// Whether it has no policy at all.
    pub fn is_empty(&self) -> bool {
        self.infos.is_empty()
    }

    /// What is known of a policy.
    pub fn info(&self, id: &str) -> Option<&PolicyInfo> {
        self.infos.get(id)
    }

    /// Refuses policies that do not fit the schema; what is only doubtful passes.
    pub fn fits(&self, schema: &Schema) -> Result<(), Failure> {
        Failure::check(self.validate(schema).into_iter().filter(|one| one.severity == Severity::Error).collect())
    }

    /// What in the policies does not fit the schema, in the order of the files.
    pub fn validate(&self, schema: &Schema) -> Vec<Diagnostic> {
        let validator = Validator::new(schema.cedar.clone());
        let result = crate::deep::on_deep_stack(|| validator.validate(&self.cedar, ValidationMode::Strict));
        let source_of = |id: &PolicyId| {
            let info = self.infos.get(&id.to_string())?;
            let source = self.sources.get(info.source)?;
            Some(Source { name: &info.file, text: &source.text })
        };
        let mut all: Vec<Diagnostic> = result
            .validation_errors()
            .map(|error| tell::diagnostic(Code::PolicyValidate, error, source_of(error.policy_id())))
            .collect();
        for warning in result.validation_warnings() {
            let mut told = tell::diagnostic(Code::PolicyValidate, warning, source_of(warning.policy_id()));
            told.severity = Severity::Warning;
            all.push(told);
        }
        all.sort_by_key(|one| one.position.as_ref().map(|at| (at.file.clone(), at.start)));
        all
    }
}

fn owned<'a>(annotations: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn info(
    effect: cedar_policy::Effect,
    annotations: BTreeMap<String, String>,
    index: usize,
    source: Source<'_>,
    range: std::ops::Range<usize>,
) -> PolicyInfo {
    let effect = match effect {
        cedar_policy::Effect::Permit => "permit",
        cedar_policy::Effect::Forbid => "forbid",
    };
    let line = source.text.get(..range.start).unwrap_or("").matches('\n').count() + 1;
    PolicyInfo { effect, annotations, file: source.name.to_owned(), line, source: index, start: range.start }
}

fn twice(id: &str, info: &PolicyInfo, other: &PolicyInfo, source: Source<'_>) -> Diagnostic {
    let start = source.text.split_inclusive('\n').take(info.line - 1).map(str::len).sum();
    let at = provision_diagnostic::excerpt(source, start..start + 1);
    Diagnostic::error(Code::PolicyParse, format!("two policies have the id `{id}`"))
        .with_help(format!("The other one is at {}:{}; give one of them another `@id`.", other.file, other.line))
        .with_excerpt(Some(at))
}

fn cedar_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    // A link to a folder could lead round in a circle; one that was skipped could hide a `forbid`.
    let mut seen: HashSet<PathBuf> = HashSet::new();
    while let Some(folder) = folders.pop() {
        let real = folder.canonicalize().map_err(|error| unreadable(&folder, &error))?;
        if !seen.insert(real) {
            continue;
        }
        let entries = std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_symlink() && !path.exists() {
                // It may have led to a `forbid`.
                return Err(unreadable(&path, &std::io::ErrorKind::NotFound.into()));
            } else if path.extension().is_some_and(|extension| extension == "cedar") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file or folder `{}`", path.display()),
        _ => format!("`{}` cannot be read", path.display()),
    };
    Failure::new(Code::PolicyIo, message).with_help("Check the path given with --policies, --schema or --entities.")
}

/// A Cedar schema.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(crate) cedar: cedar_policy::Schema,
    digest: String,
}

impl Schema {
    /// Reads Cedar schema syntax, or JSON where the text starts with a brace. `name` is what users see.
    pub fn parse(name: &str, text: &str) -> Result<Schema, Failure> {
        let shown = Some(Source { name, text });
        let told = |error: &dyn miette::Diagnostic| Failure::from(tell::diagnostic(Code::PolicySchema, error, shown));
        let cedar = if text.trim_start().starts_with('{') {
            cedar_policy::Schema::from_json_str(text).map_err(|error| told(&error))?
        } else {
            cedar_policy::Schema::from_cedarschema_str(text).map_err(|error| told(&error))?.0
        };
        Ok(Schema { cedar, digest: data_encoding::HEXLOWER.encode(&Sha256::digest(text)) })
    }

    /// Hexadecimal SHA-256 of its text.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// A schema in Cedar syntax as its JSON form.
pub fn schema_json(name: &str, text: &str) -> Result<serde_json::Value, Failure> {
    let shown = Some(Source { name, text });
    let fragment = match cedar_policy::SchemaFragment::from_cedarschema_str(text) {
        Ok((fragment, _)) => fragment,
        Err(error) => return Err(tell::diagnostic(Code::PolicySchema, &error, shown).into()),
    };
    fragment.to_json_value().map_err(|error| tell::diagnostic(Code::PolicySchema, &error, shown).into())
}
