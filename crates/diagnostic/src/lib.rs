//! Owns the one shape in which every part of the suite says what is wrong, where, and what to do next.
//!
//! A [`Diagnostic`] is data: the same type is a row of `nickel check`, of `policy check`, and the error a command
//! raises. A [`Failure`] is one or more of them, the error type of every domain crate.

mod codes;
mod excerpt;
mod mask;
mod panics;
mod printable;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

pub use codes::Code;
pub use excerpt::{Excerpt, Source, excerpt};
pub use mask::{MASKED, Masker, SecretTexts};
pub use panics::{isolated, locked};
pub use printable::printable;

/// How bad it is. `Error` stops the command that meets it; the others are shown only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
    Note,
}

/// Whether a label marks the place of the fault or a place that explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LabelStyle {
    Primary,
    Secondary,
}

/// A range in a text file. Lines and columns count from 1 (columns in characters), `start` and `end` in bytes from 0,
/// `end` exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
    pub start: usize,
    pub end: usize,
}

impl fmt::Display for Position {
    /// `file:line:column`, the form terminals and editors make a link of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One marked place of a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    pub style: LabelStyle,
    pub message: String,
    pub position: Position,
}

/// One finding: a stable code, a sentence, a place, and the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: Code,
    /// One sentence that names the thing, without the position.
    pub message: String,
    /// Where the fault is; `None` where the data has no source text (then the message gives the path inside the data).
    pub position: Option<Position>,
    pub labels: Vec<Label>,
    /// What to do next.
    pub help: Option<String>,
    /// The source lines around the position, drawn with a gutter and carets; plain text.
    pub excerpt: Option<String>,
}

impl Diagnostic {
    /// An error with a code from the closed list.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            position: None,
            labels: Vec::new(),
            help: None,
            excerpt: None,
        }
    }

    /// Adds the next step.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds where it is, with the excerpt that shows it.
    pub fn with_excerpt(mut self, at: Option<Excerpt>) -> Self {
        if let Some(at) = at {
            self.labels
                .insert(0, Label { style: LabelStyle::Primary, message: String::new(), position: at.position.clone() });
            self.position = Some(at.position);
            self.excerpt = Some(at.text);
        }
        self
    }

    /// `message (file:line:column)`: stands alone where only one line is shown.
    pub fn headline(&self) -> String {
        match &self.position {
            Some(position) => format!("{} ({position})", self.message),
            None => self.message.clone(),
        }
    }
}

/// One or more diagnostics: what a domain call returns instead of a result. Never empty of errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The one a command raises.
    pub first: Box<Diagnostic>,
    /// The others found in the same run.
    pub others: Vec<Diagnostic>,
}

impl Failure {
    /// A failure of one diagnostic.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Diagnostic::error(code, message).into()
    }

    /// The same with the next step given.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.first.help = Some(help.into());
        self
    }

    /// `Ok` when there is nothing to report.
    pub fn check(diagnostics: Vec<Diagnostic>) -> Result<(), Failure> {
        let mut all = diagnostics.into_iter();
        match all.next() {
            None => Ok(()),
            Some(first) => Err(Failure { first: Box::new(first), others: all.collect() }),
        }
    }

    /// What came of one thing and then of another: no failure hides the other one.
    pub fn both(first: Result<(), Failure>, then: Result<(), Failure>) -> Result<(), Failure> {
        match (first, then) {
            (Err(mut first), Err(then)) => {
                first.others.extend(then.into_diagnostics());
                Err(first)
            }
            (first, then) => first.and(then),
        }
    }

    /// All diagnostics, the first one first.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        std::iter::once(&*self.first).chain(self.others.iter())
    }

    /// All diagnostics by value.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut all = vec![*self.first];
        all.extend(self.others);
        all
    }

    /// The code of the first diagnostic.
    pub fn code(&self) -> Code {
        self.first.code
    }
}

impl From<Diagnostic> for Failure {
    fn from(first: Diagnostic) -> Self {
        Failure { first: Box::new(first), others: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.headline())?;
        if !self.others.is_empty() {
            write!(f, " and {} more", self.others.len())?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The candidate a user most likely meant, or `None` when none is near (Jaro-Winkler at least 0.8).
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// What helps with a name that is unknown: the candidate that was most likely meant, else what `otherwise` says.
pub fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    nearest(name, candidates).map_or_else(otherwise, |near| format!("Did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_a_typo_and_refuses_a_stranger() {
        let names = ["server_type", "image", "location"];
        assert_eq!(nearest("server_typ", names), Some("server_type"));
        assert_eq!(nearest("zzz", names), None);
    }

    #[test]
    fn headline_gives_the_position() {
        let at = excerpt(Source { name: "a.ncl", text: "{\n  x = 1,\n}\n" }, 4..5);
        let found = Diagnostic::error(Code::NickelParse, "bad").with_excerpt(Some(at));
        assert_eq!(found.headline(), "bad (a.ncl:2:3)");
        assert!(found.excerpt.unwrap().contains("2 |   x = 1,\n  |   ^"));
    }
}
