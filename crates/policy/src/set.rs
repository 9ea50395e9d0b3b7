//! Owns policy sets and schemas: reading, naming, validating.

use crate::tell;
use cedar_policy::{PolicyId, ValidationMode, Validator};
use provision_diagnostic::{Diagnostic, Failure, Severity, Source};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
}

/// A compiled set of policies.
#[derive(Debug, Clone)]
pub struct PolicySet {
    pub(crate) cedar: cedar_policy::PolicySet,
    infos: HashMap<String, PolicyInfo>,
    sources: Vec<PolicySource>,
    digest: String,
}

impl PolicySet {
    /// Compiles the sources. The failure holds the errors of all of them.
    pub fn parse(sources: &[PolicySource]) -> Result<PolicySet, Failure> {
        Self::compile(sources, sources.len() > 1)
    }

    /// The same for the files of a folder, whose policies are named by file even where there is only one.
    pub fn parse_folder(sources: &[PolicySource]) -> Result<PolicySet, Failure> {
        Self::compile(sources, true)
    }

    /// Reads a file, or all `*.cedar` files of a folder and the folders in it.
    pub fn load(path: &Path) -> Result<PolicySet, Failure> {
        let read = |file: &Path, name: String| match std::fs::read_to_string(file) {
            Ok(text) => Ok(PolicySource { name, text }),
            Err(error) => Err(unreadable(file, &error)),
        };
        if !path.is_dir() {
            return Self::parse(&[read(path, path.display().to_string())?]);
        }
        let mut sources = Vec::new();
        for file in cedar_files(path)? {
            let name = file.strip_prefix(path).unwrap_or(&file).display().to_string();
            sources.push(read(&file, name)?);
        }
        Self::parse_folder(&sources)
    }

    fn compile(sources: &[PolicySource], by_file: bool) -> Result<PolicySet, Failure> {
        let mut set = cedar_policy::PolicySet::new();
        let mut infos: HashMap<String, PolicyInfo> = HashMap::new();
        let mut errors = Vec::new();
        let mut hash = Sha256::new();
        for (index, source) in sources.iter().enumerate() {
            hash.update(format!("{}\0{}\0{}", source.name, source.text.len(), source.text));
            let parsed = match cedar_policy::PolicySet::from_str(&source.text) {
                Ok(parsed) => parsed,
                Err(all) => {
                    let shown = Source { name: &source.name, text: &source.text };
                    errors.extend(all.iter().map(|error| tell::diagnostic("policy::parse", error, Some(shown))));
                    continue;
                }
            };
            let by_position = |given: &PolicyId| match by_file {
                true => format!("{}:{given}", source.name),
                false => given.to_string(),
            };
            for policy in parsed.policies() {
                let annotations = owned(policy.annotations());
                let id = annotations.get("id").cloned().unwrap_or_else(|| by_position(policy.id()));
                let range = policy.as_ref().loc().map(|at| at.span.offset()..at.span.offset() + at.span.len());
                let info = info(policy.effect(), annotations, index, source, range);
                match infos.get(&id) {
                    Some(other) => errors.push(twice(&id, &info, other, source)),
                    None => {
                        // An id was looked up just before, so adding under it cannot fail.
                        let _ = set.add(policy.new_id(PolicyId::new(&id)));
                        infos.insert(id, info);
                    }
                }
            }
            for template in parsed.templates() {
                let annotations = owned(template.annotations());
                let id = annotations.get("id").cloned().unwrap_or_else(|| by_position(template.id()));
                let range = template.as_ref().loc().map(|at| at.span.offset()..at.span.offset() + at.span.len());
                let info = info(template.effect(), annotations, index, source, range);
                match infos.get(&id) {
                    Some(other) => errors.push(twice(&id, &info, other, source)),
                    None => {
                        let _ = set.add_template(template.new_id(PolicyId::new(&id)));
                        infos.insert(id, info);
                    }
                }
            }
        }
        Failure::check(errors)?;
        let digest = data_encoding::HEXLOWER.encode(&hash.finalize());
        Ok(PolicySet { cedar: set, infos, sources: sources.to_vec(), digest })
    }

    /// Hexadecimal SHA-256 of all sources and their names.
    pub fn digest(&self) -> &str {
        &self.digest
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

    /// What in the policies does not fit the schema, in the order of the files.
    pub fn validate(&self, schema: &Schema) -> Vec<Diagnostic> {
        let result = Validator::new(schema.cedar.clone()).validate(&self.cedar, ValidationMode::Strict);
        let source_of = |id: &PolicyId| {
            let info = self.infos.get(&id.to_string())?;
            let source = self.sources.get(info.source)?;
            Some(Source { name: &source.name, text: &source.text })
        };
        let mut all: Vec<Diagnostic> = result
            .validation_errors()
            .map(|error| tell::diagnostic("policy::validate", error, source_of(error.policy_id())))
            .collect();
        for warning in result.validation_warnings() {
            let mut told = tell::diagnostic("policy::validate", warning, source_of(warning.policy_id()));
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
    source: &PolicySource,
    range: Option<std::ops::Range<usize>>,
) -> PolicyInfo {
    let effect = match effect {
        cedar_policy::Effect::Permit => "permit",
        cedar_policy::Effect::Forbid => "forbid",
    };
    let before = range.and_then(|range| source.text.get(..range.start)).unwrap_or("");
    PolicyInfo { effect, annotations, file: source.name.clone(), line: before.matches('\n').count() + 1, source: index }
}

fn twice(id: &str, info: &PolicyInfo, other: &PolicyInfo, source: &PolicySource) -> Diagnostic {
    let start = source.text.split_inclusive('\n').take(info.line - 1).map(str::len).sum();
    let at = provision_diagnostic::excerpt(Source { name: &source.name, text: &source.text }, start..start + 1);
    Diagnostic::error("policy::parse", format!("two policies have the id `{id}`"))
        .with_help(format!("The other one is at {}:{}; give one of them another `@id`.", other.file, other.line))
        .with_excerpt(Some(at))
}

fn cedar_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let path = entry.path();
            // A link to a folder could lead round in a circle.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
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
    Failure::new("policy::io", message).with_help("Check the path given with --policies, --schema or --entities.")
}

/// A Cedar schema.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(crate) cedar: cedar_policy::Schema,
}

impl Schema {
    /// Reads Cedar schema syntax, or JSON where the text starts with a brace. `name` is what users see.
    pub fn parse(name: &str, text: &str) -> Result<Schema, Failure> {
        let shown = Some(Source { name, text });
        if text.trim_start().starts_with('{') {
            return match cedar_policy::Schema::from_json_str(text) {
                Ok(cedar) => Ok(Schema { cedar }),
                Err(error) => Err(tell::diagnostic("policy::schema", &error, shown).into()),
            };
        }
        match cedar_policy::Schema::from_cedarschema_str(text) {
            Ok((cedar, _)) => Ok(Schema { cedar }),
            Err(error) => Err(tell::diagnostic("policy::schema", &error, shown).into()),
        }
    }
}

/// A schema in Cedar syntax as its JSON form.
pub fn schema_json(name: &str, text: &str) -> Result<serde_json::Value, Failure> {
    let shown = Some(Source { name, text });
    let fragment = match cedar_policy::SchemaFragment::from_cedarschema_str(text) {
        Ok((fragment, _)) => fragment,
        Err(error) => return Err(tell::diagnostic("policy::schema", &error, shown).into()),
    };
    fragment.to_json_value().map_err(|error| tell::diagnostic("policy::schema", &error, shown).into())
}
