//! Owns what crosses to the evaluating thread or process, and what comes back.

use crate::request::{Evaluation, Library, Request};
use provision_diagnostic::{Diagnostic, Failure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A format of [`crate::Evaluator::export`], as the official command names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Json,
    Yaml,
    YamlDocuments,
    Toml,
    Text,
}

impl Format {
    /// The names of all, for completions.
    pub const NAMES: [&'static str; 5] = ["json", "yaml", "yaml-documents", "toml", "text"];

    /// Every format, by name.
    pub const ALL: [(&'static str, Format); 5] = [
        ("json", Format::Json),
        ("yaml", Format::Yaml),
        ("yaml-documents", Format::YamlDocuments),
        ("toml", Format::Toml),
        ("text", Format::Text),
    ];
}

/// One import of [`crate::Evaluator::deps`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The imported file, as users see it.
    pub file: String,
    pub imported_by: String,
    /// `nickel`, `json`, `yaml`, `toml` or `text`.
    pub format: String,
    /// Hexadecimal SHA-256 of its content.
    pub digest: String,
}

/// What is known of one field without exporting it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldInfo {
    /// Dotted, empty for the whole value.
    pub path: String,
    /// The static type, as written.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The contracts, as written.
    pub contracts: Vec<String>,
    pub doc: Option<String>,
    /// The value, where it has the lowest priority.
    pub default: Option<Value>,
    /// The value; `None` where it is not there, or is not data.
    pub value: Option<Value>,
    pub optional: bool,
    pub not_exported: bool,
    /// `default`, `force`, a number as text, or `None`.
    pub priority: Option<String>,
    /// `file`, `line` and `column` of the definition.
    pub position: Option<provision_diagnostic::Position>,
    /// Names of the fields beneath, where it is a record.
    pub fields: Option<Vec<String>>,
}

/// One documented field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocRow {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub contracts: Vec<String>,
    pub default: Option<Value>,
    pub optional: bool,
    pub doc: String,
}

/// One example in a doc comment, run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestRow {
    pub file: String,
    /// `path.of.field/0`, counting the examples of one comment.
    pub test: String,
    pub passed: bool,
    pub expected: Option<String>,
    pub actual: Option<String>,
    pub message: Option<String>,
    pub elapsed: Duration,
}

/// One row of [`crate::Validation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowVerdict {
    /// The row with the contract's defaults, as far as it goes.
    pub value: Value,
    pub errors: Vec<Diagnostic>,
}

/// What an evaluator does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Job {
    Eval(Request),
    Export(Request, Format),
    Check(Request),
    Deps(Request),
    Query(Request),
    /// Rows, or Markdown text.
    Doc(Request, bool),
    Test(Request),
    /// Of its one source, a text.
    Format(Request),
    Call(Request, Vec<Value>),
    /// A batch of rows.
    Validate(Request, Vec<Value>),
    /// The names of the fields of the record at `field`.
    Fields(Request),
}

impl Job {
    /// Its request.
    pub fn request(&self) -> &Request {
        match self {
            Job::Eval(request)
            | Job::Export(request, _)
            | Job::Check(request)
            | Job::Deps(request)
            | Job::Query(request)
            | Job::Doc(request, _)
            | Job::Test(request)
            | Job::Call(request, _)
            | Job::Validate(request, _)
            | Job::Format(request)
            | Job::Fields(request) => request,
        }
    }

    /// Gives the request its library back, which does not cross with it.
    pub fn with_library(mut self, library: Option<Arc<Library>>) -> Self {
        match &mut self {
            Job::Eval(request)
            | Job::Export(request, _)
            | Job::Check(request)
            | Job::Deps(request)
            | Job::Query(request)
            | Job::Doc(request, _)
            | Job::Test(request)
            | Job::Call(request, _)
            | Job::Validate(request, _)
            | Job::Format(request)
            | Job::Fields(request) => request.library = library,
        }
        self
    }
}

/// What a job gives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// The value as far as it goes, and every mistake.
    Evaluated(Arc<Evaluation>, Vec<Diagnostic>),
    Text(String),
    Diagnostics(Vec<Diagnostic>),
    Dependencies(Vec<Dependency>),
    Field(Box<FieldInfo>),
    Documented(Vec<DocRow>),
    Tested(Vec<TestRow>),
    Rows(Vec<RowVerdict>),
    Names(Vec<String>),
}

/// What an answer depends on beside its job: it stands while these do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Each file on disk that was read, with the hexadecimal SHA-256 of its content.
    pub files: Vec<(PathBuf, String)>,
    /// Each import written in them: the importing folder, the text, and the path it led to.
    pub imports: Vec<(PathBuf, String, Option<PathBuf>)>,
}

/// An answer, or why there is none, and what it depends on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    pub result: Result<Answer, Failure>,
    pub watch: Watch,
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self { result: Err(failure), watch: Watch::default() }
    }
}
