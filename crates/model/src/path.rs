//! Owns paths inside data, and problems that point at them. Who has the source text turns a path into a file position.

use crate::Json;
use provision_diagnostic::Code;

/// One step of a path inside data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Field(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Step::Field(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// Which end of a definition a problem is about: the name of the field, or its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    Key,
    Value,
}

/// Something wrong at a path of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A code of the closed list of `provision-diagnostic`.
    pub code: Code,
    pub message: String,
    pub help: Option<String>,
    pub path: Vec<Step>,
    pub site: Site,
}

impl Problem {
    /// A problem with the value at `path`.
    pub fn value(code: Code, message: impl Into<String>, path: &[Step]) -> Self {
        Self { code, message: message.into(), help: None, path: path.to_vec(), site: Site::Value }
    }

    /// A problem with the name of the field at `path`.
    pub fn key(code: Code, message: impl Into<String>, path: &[Step]) -> Self {
        Self { site: Site::Key, ..Self::value(code, message, path) }
    }

    /// Adds the next step.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// `resources.web.networks.0`, the form shown where there is no source text.
pub fn display_path(path: &[Step]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Field(name) => name.clone(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    parts.join(".")
}

/// The value at a dotted path (`a.b.0`); `None` where there is nothing or null.
pub fn lookup<'a>(value: &'a Json, path: &str) -> Option<&'a Json> {
    let mut at = value;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        at = match at {
            Json::Object(map) => map.get(part)?,
            Json::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    (!at.is_null()).then_some(at)
}
